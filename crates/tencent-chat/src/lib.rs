#![doc = include_str!("../README.md")]

pub mod alert;
pub mod bot;
pub mod c2c;
pub mod chatbot;
pub mod content;
pub mod follow;
pub mod group;
pub mod message;
pub mod official_account;
pub mod profile;
pub mod push;
pub mod sns;
pub mod state;

mod body;
mod catalogue;
mod decode_error;
mod envelope;
mod open;
mod packet;
mod path;
mod query;
mod reply;
mod request;
mod signature;
mod survey;
mod text;
mod wire;

pub use body::{Body, TypedBody, decode};
pub use catalogue::{CommandInBody, CommandInfo, OrderKey, Phase, ReplyKind, command, commands};
pub use decode_error::DecodeError;
pub use envelope::{Envelope, EnvelopeError, inspect};
pub use open::Spelling;
pub use path::{Path, Step};
pub use query::{Query, QueryError, without_signature};
pub use reply::{DecisionRules, IllegalReply, OK, Reply, ReplyFamily, ResultItem, decision_rules, failure, targets};
pub use request::{query_string, resign};
pub use signature::{Signature, sign, verify};
pub use survey::Survey;
pub use text::Text;
