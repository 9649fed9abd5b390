#![doc = include_str!("../README.md")]

mod catalogue;
mod envelope;
mod path;
mod query;
mod reply;
mod request;
mod signature;

pub use catalogue::{CommandInBody, CommandInfo, OrderKey, Phase, ReplyKind, command, commands};
pub use envelope::{Envelope, EnvelopeError, inspect};
pub use path::{Path, Step};
pub use query::{Query, QueryError, without_signature};
pub use reply::{DecisionRules, IllegalReply, OK, Reply, ReplyFamily, ResultItem, decision_rules, failure, targets};
pub use request::{query_string, resign};
pub use signature::{Signature, sign, verify};
