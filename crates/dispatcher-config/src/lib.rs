//! `dispatcher.toml`: what it may say, and everything that is wrong with it, at once.
//!
//! [`Config::load`] reads one file into plain values. It decodes the settings of plugins too, through the
//! [`Registry`](dispatcher_core::Registry), so that a misspelt key of any plugin is reported like one of the
//! dispatcher's own; what the settings mean is the plugins' affair. It looks at the file system and the environment, and
//! changes neither.

mod config;
mod decide;
mod decode;
mod effective;
mod finding;
mod fingerprint;
mod glimpse;
mod key_path;
mod limit;
mod otlp;
mod plugins;
mod reference;
mod run;
mod schema;
mod sections;
mod source;

pub use config::Config;
pub use decide::{DecideSettings, DefaultDecision, Emit};
pub use effective::{EffectiveSetting, SettingOrigin, effective};
pub use finding::{Finding, Findings};
pub use fingerprint::contents_of;
pub use glimpse::Glimpse;
pub use limit::Limit;
pub use otlp::OtlpOptions;
pub use plugins::{HandlerInstance, SinkInstance};
pub use reference::reference;
pub use run::{BackoffSettings, Order, RunSettings, StartAt};
pub use schema::schema;
pub use sections::{
    AdminSection, AppSection, AuditFile, CertSection, ClientAuth, CommandRule, DedupeSection, IntakeSection,
    JournalRule, JournalSection, LogFormat, LogLevel, LogSection, ObserveSection, OtlpSection, ReloadSection,
    SignaturePolicy, Sync, TlsSection, WhenBlocked, WhenNotDurable,
};
