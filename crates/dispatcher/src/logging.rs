//! Sets up the log.

use std::io::IsTerminal as _;

use dispatcher_config::{LogFormat, LogLevel, LogSection};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

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

/// Writes the log to standard error from now on. A second call changes nothing.
pub(crate) fn start(section: &LogSection) {
    let level = match section.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // What libraries have to say about single requests drowns what we have to say, and may quote headers and URLs.
    let libraries = level.min(LevelFilter::INFO);
    let targets = ["h2", "hyper", "hyper_util", "reqwest", "rustls", "warp"].map(|name| (name, libraries));
    let filter = Targets::new().with_default(level).with_targets(targets);
    let subscriber = tracing_subscriber::registry().with(filter);
    // An error means that a log is set up already, by a test or by a program around this one: that one stays.
    let _ = match format(section) {
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
}
