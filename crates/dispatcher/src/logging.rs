//! Sets up the log.

use std::{io::IsTerminal as _, sync::OnceLock};

use dispatcher_config::{LogFormat, LogLevel, LogSection};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Registry, filter::Targets, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

/// How the log looks, once `auto` is decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Human,
    Json,
}

/// Decides what `auto` means here.
pub(crate) fn format(section: &LogSection) -> Format {
    match section.format {
        LogFormat::Human => Format::Human,
        LogFormat::Json => Format::Json,
        LogFormat::Auto if std::io::stderr().is_terminal() => Format::Human,
        LogFormat::Auto => Format::Json,
    }
}

/// How the level of a log that was started here is changed.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Reads a level, as the configuration writes it.
///
/// # Errors
/// What to write.
pub(crate) fn level(text: &str) -> Result<LogLevel, String> {
    Ok(match text {
        "error" => LogLevel::Error,
        "warn" => LogLevel::Warn,
        "info" => LogLevel::Info,
        "debug" => LogLevel::Debug,
        "trace" => LogLevel::Trace,
        _ => return Err(format!("{text:?} is not a level; write error, warn, info, debug or trace")),
    })
}

/// Writes the log from this level on.
///
/// # Errors
/// The log is not ours.
pub(crate) fn set_level(level: LogLevel) -> Result<(), String> {
    let changed = FILTER.get().and_then(|filter| filter.reload(targets(level)).ok());
    changed.ok_or_else(|| "the log of this program is set up by another part of it; change it there".to_owned())
}

fn targets(level: LogLevel) -> Targets {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // What libraries have to say about single requests drowns what we have to say, and may quote headers and URLs.
    let libraries = level.min(LevelFilter::INFO);
    let targets = ["h2", "hyper", "hyper_util", "reqwest", "rustls", "warp"].map(|name| (name, libraries));
    Targets::new().with_default(level).with_targets(targets)
}

/// Writes the log to standard error from now on. A second call changes nothing.
pub(crate) fn start(section: &LogSection) {
    let (filter, handle) = reload::Layer::new(targets(section.level));
    let subscriber = tracing_subscriber::registry().with(filter);
    // An error means that a log is set up already, by a test or by a program around this one: that one stays.
    let started = match format(section) {
        Format::Human => {
            let is_terminal = std::io::stderr().is_terminal();
            subscriber
                .with(fmt::layer().with_writer(std::io::stderr).with_ansi(is_terminal).with_target(false))
                .try_init()
        }
        Format::Json => {
            let layer = fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).with_target(true);
            subscriber.with(layer).try_init()
        }
    };
    if started.is_ok() {
        let _ = FILTER.set(handle);
    }
}
