//! What is sent: callbacks of one kind, or of several in turn, and the answer that each ought to get.

use serde::{Deserialize, Serialize};

/// A kind of callback.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Kind {
    /// After the fact: a group's attributes were changed. 291 bytes of JSON.
    AttributesChanged,
    /// Before the fact: a message from one user to another, 300 bytes of text.
    Message,
    /// Before the fact: the same text to a group.
    GroupMessage,
}

/// A part of the traffic.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Part {
    pub(crate) kind: Kind,
    /// How the sender's account begins: deciders can tell parts of one kind apart by it.
    pub(crate) sender: String,
    /// Of so many parts of the whole, beside those of the others; at least 1.
    pub(crate) share: u32,
    /// The body that every answer has to have; with `None`, any that says OK.
    pub(crate) reply: Option<String>,
}

impl Part {
    /// All of the traffic, and any answer that says OK.
    pub(crate) fn all(kind: Kind) -> Vec<Self> {
        vec![Self { kind, sender: "sender".into(), share: 1, reply: None }]
    }
}

/// The places of the parts in a sequence that repeats itself: each as often as its share says, spread as evenly as can be.
pub(crate) fn turns(parts: &[Part]) -> Vec<usize> {
    let total: i64 = parts.iter().map(|part| i64::from(part.share)).sum();
    let mut due = vec![0; parts.len()];
    let turn = |_| {
        due.iter_mut().zip(parts).for_each(|(due, part)| *due += i64::from(part.share));
        let next = (0..parts.len()).max_by_key(|&idx| (due[idx], parts.len() - idx)).unwrap_or(0);
        due[next] -= total;
        next
    };
    (0..total).map(turn).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_share_of_the_turns() {
        let parts = [3, 1, 2].map(|share| Part { share, ..Part::all(Kind::Message).remove(0) });
        assert_eq!(turns(&parts), [0, 2, 0, 1, 2, 0]);
        assert_eq!(turns(&Part::all(Kind::Message)), [0]);
    }
}
