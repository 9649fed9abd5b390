//! What of a body its type does not know, and what of its type the body does not have.

use serde_json::{Map, Value};

/// What is found when a body is compared with its documentation; by [`TypedBody::survey`](crate::TypedBody::survey).
///
/// Each entry is the place of a field, as in `MsgBody[0].MsgContent.Text`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// Fields of the body that its type does not know. They are kept in `extra`.
    pub unknown: Vec<String>,
    /// Documented fields that the body does not have, or has as `null`. Not inside of what is absent itself. Tencent
    /// promises few of its fields, so this is no fault.
    pub absent: Vec<String>,
}

/// A survey under way: the findings so far, and the place it is at.
#[derive(Default)]
pub(crate) struct Surveyor {
    survey: Survey,
    place: String,
}

impl Surveyor {
    /// A field that the type knows.
    pub(crate) fn field<T>(&mut self, name: &str, value: Option<&T>, inside: impl FnOnce(&T, &mut Surveyor)) {
        let parent = self.enter(name);
        match value {
            Some(value) => inside(value, self),
            None => self.survey.absent.push(self.place.clone()),
        }
        self.place.truncate(parent);
    }

    /// The fields of an object that its type does not know.
    pub(crate) fn extra(&mut self, extra: &Map<String, Value>) {
        for name in extra.keys() {
            self.unknown(name);
        }
    }

    /// A field that the type does not know, or not what is in it.
    pub(crate) fn unknown(&mut self, name: &str) {
        let parent = self.enter(name);
        self.survey.unknown.push(self.place.clone());
        self.place.truncate(parent);
    }

    /// An element of the array that this is at.
    pub(crate) fn within_element(&mut self, idx: usize, inside: impl FnOnce(&mut Surveyor)) {
        let parent = self.place.len();
        self.place.push_str(&format!("[{idx}]"));
        inside(self);
        self.place.truncate(parent);
    }

    pub(crate) fn finish(self) -> Survey {
        self.survey
    }

    fn enter(&mut self, name: &str) -> usize {
        let parent = self.place.len();
        if parent > 0 {
            self.place.push('.');
        }
        self.place.push_str(name);
        parent
    }
}
