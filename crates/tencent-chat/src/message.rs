//! What a message consists of: `MsgBody`, a list of elements.
//!
//! The elements are described at <https://www.tencentcloud.com/document/product/1047/33527>.

mod content;
mod element;
mod relay;
#[cfg(test)]
mod tests;
mod texts;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use content::{
    Custom, Face, File, Image, ImageFormat, ImageInfo, ImageSize, Location, PlainText, Sound, Stream, StreamChunk,
    Video,
};
pub use element::{Content, Element};
pub use relay::{Relay, RelayedMessage};

use crate::{survey::Surveyor, wire::Wire};

/// The elements of one message, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MessageBody<'a>(pub Vec<Element<'a>>);

impl<'a> MessageBody<'a> {
    /// Its elements.
    pub fn iter(&self) -> std::slice::Iter<'_, Element<'a>> {
        self.0.iter()
    }
}

impl<'a> From<Vec<Element<'a>>> for MessageBody<'a> {
    fn from(elements: Vec<Element<'a>>) -> MessageBody<'a> {
        MessageBody(elements)
    }
}

impl<'m, 'a> IntoIterator for &'m MessageBody<'a> {
    type Item = &'m Element<'a>;
    type IntoIter = std::slice::Iter<'m, Element<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl Serialize for MessageBody<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for MessageBody<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::read(deserializer)
    }
}

impl<'de: 'a, 'a> Wire<'de> for MessageBody<'a> {
    fn read<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::read(deserializer).map(MessageBody)
    }

    fn survey_into(&self, surveyor: &mut Surveyor) {
        self.0.survey_into(surveyor);
    }
}
