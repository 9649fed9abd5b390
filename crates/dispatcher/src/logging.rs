//! Sets up the log.

use std::{
    fmt,
    io::IsTerminal as _,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use dispatcher_config::{LogFormat, LogLevel, LogSection};
use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter, warn};
use tracing_subscriber::{
    Registry,
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer, layer, writer::MakeWriterExt as _},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    reload,
    util::{SubscriberInitExt as _, TryInitError},
};

use crate::spans::{SpanLayer, TARGETS};

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

/// The level from which on the log is written, by its place in [`LEVELS`].
static WRITTEN: AtomicUsize = AtomicUsize::new(0);

/// As [`LogLevel`] has them.
const LEVELS: [LevelFilter; 5] =
    [LevelFilter::ERROR, LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG, LevelFilter::TRACE];

/// Whether lines about callbacks are switched on for spans, whatever the log's level.
static HAS_SPANS: AtomicBool = AtomicBool::new(false);

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

/// What is let through from this level on, which is from now on the one that is written.
fn targets(level: LogLevel) -> Targets {
    WRITTEN.store(level as usize, Relaxed);
    let level = LEVELS[level as usize];
    // What libraries have to say about single requests drowns what we have to say, and may quote headers and URLs.
    let libraries = level.min(LevelFilter::INFO);
    let targets = ["h2", "hyper", "hyper_util", "reqwest", "rustls", "warp"].map(|name| (name, libraries));
    let targets = Targets::new().with_default(level).with_targets(targets);
    if !HAS_SPANS.load(Relaxed) {
        return targets;
    }
    targets.with_targets(TARGETS.map(|(name, least)| (name, level.max(least.into()))))
}

/// Whether the log says so, and not only a span.
fn is_written(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= LEVELS[WRITTEN.load(Relaxed).min(LEVELS.len() - 1)]
}

/// Writes the log to standard error from now on, and hands `spans` what spans are made of. A second call changes nothing.
pub(crate) fn start(section: &LogSection, spans: Option<SpanLayer>) {
    HAS_SPANS.store(spans.is_some(), Relaxed);
    let (filter, handle) = reload::Layer::new(targets(section.level));
    let subscriber = tracing_subscriber::registry().with(filter);
    // An error means that a log is set up already, by a test or by a program around this one: that one stays.
    let started = match spans {
        Some(spans) => write(subscriber.with(spans), format(section)),
        None => write(subscriber, format(section)),
    };
    match started {
        Ok(()) => _ = FILTER.set(handle),
        Err(_) if HAS_SPANS.load(Relaxed) => {
            warn!("no spans are exported: the log of this program is set up by another part of it");
        }
        Err(_) => {}
    }
}

fn write<S>(subscriber: S, format: Format) -> Result<(), TryInitError>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    let writer = || std::io::stderr.with_filter(is_written);
    match format {
        Format::Human => {
            let is_terminal = std::io::stderr().is_terminal();
            let layer = layer().with_ansi(is_terminal).with_target(false);
            subscriber.with(layer.with_writer(writer()).map_event_format(Written)).try_init()
        }
        Format::Json => {
            let layer = layer().json().flatten_event(true).with_target(true);
            subscriber.with(layer.with_writer(writer()).map_event_format(Written)).try_init()
        }
    }
}

/// Puts together what is written, and nothing else.
struct Written<F>(F);

impl<S, N, F> FormatEvent<S, N> for Written<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, cx: &FmtContext<'_, S, N>, writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        match is_written(event.metadata()) {
            true => self.0.format_event(cx, writer, event),
            false => Ok(()),
        }
    }
}
