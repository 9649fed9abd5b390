//! The contract between the dispatcher and its plugins.
//!
//! A plugin is a crate that registers a **handler** or a **sink** with one line, describes its settings with one
//! struct, and does its work in one `impl`. This crate holds what such a crate needs and nothing else: it knows neither
//! HTTP nor disks nor configuration files.
//!
//! - What arrives: [`Callback`], with its [`App`], [`Command`] and [`CallbackId`].
//! - What is decided about it, and made of it: a handler ([`HandlerConfig`], [`Handler`]) returns a [`Decision`], and
//!   [`NewEvent`]s.
//! - Where that goes: a sink ([`SinkConfig`], [`Sink`]) takes [`Event`]s and gives an [`Outcome`] for each.
//! - How the dispatcher finds both: [`handler!`], [`sink!`] and the [`Registry`].
//!
//! Bodies of single commands are not typed here; the crate `tencent-chat` knows the wire.

mod callback;
mod command;
mod decision;
mod error;
mod event;
mod handler;
mod network;
mod registry;
mod route;
mod secret;
mod settings;
mod sink;
mod timestamp;
mod trace;
mod units;

pub use callback::{App, Callback, CallbackId, CallbackParts, Key};
pub use command::{Command, CommandPattern, InvalidPattern};
pub use decision::{
    DecideContext, Decision, DecisionResult, FriendRequest, Invitation, Message, Purpose, Rewrite, Signal, Subscription,
};
pub use error::{Failure, HandlerError, OpenError, Response};
pub use event::{Event, EventData, EventN, NewEvent};
pub use handler::{HandleContext, Handler, HandlerConfig, HandlerPlugin, HandlerSettings, Role};
pub use network::Network;
pub use registry::{Listed, Origin, Registry, RegistryError};
pub use route::{PhaseFilter, Route};
pub use secret::Secret;
pub use settings::{CheckContext, OpenContext, RESERVED_KEYS, SettingError};
pub use sink::{
    DeliverContext, DeliveryError, Lanes, Outcome, Outcomes, Sink, SinkConfig, SinkPlugin, SinkSettings, Takes,
};
pub use timestamp::Timestamp;
pub use trace::TraceParent;
pub use units::{ByteSize, InvalidUnit, Rate, TimeSpan};
