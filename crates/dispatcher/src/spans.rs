//! Spans of what the log says about callbacks, where `[observe.otlp]` asks for them.
//!
//! Like the log they are the program's: one exporter, from its start to its end.

use dispatcher_observe::Spans;

pub(crate) use imp::{SpanLayer, TARGETS, close, counts, start};

/// In a program with the feature `otlp`.
#[cfg(feature = "otlp")]
mod imp {
    use std::{sync::OnceLock, time::Duration};

    use dispatcher_config::{Config, Finding};
    use dispatcher_otlp::Exporter;
    pub(crate) use dispatcher_otlp::{SpanLayer, TARGETS};

    use super::Spans;

    static EXPORTER: OnceLock<Exporter> = OnceLock::new();

    /// Starts what `[observe.otlp]` asks for. What it gives is to be part of the log.
    ///
    /// # Errors
    /// When TLS cannot be used, or the machine gives no thread.
    pub(crate) fn start(config: &Config) -> Result<Option<SpanLayer>, Finding> {
        let Some(options) = config.otlp.clone() else { return Ok(None) };
        let started = Exporter::start(options, env!("CARGO_PKG_VERSION"));
        let (exporter, layer) = started.map_err(|err| config.finding("observe.otlp", err))?;
        // A second one would be another start in the same program: it ends with the process.
        let _ = EXPORTER.set(exporter);
        Ok(Some(layer))
    }

    /// Exports what waits for that. Blocks, no longer than `within` and a moment.
    pub(crate) fn close(within: Duration) {
        if let Some(exporter) = EXPORTER.get() {
            exporter.close(within);
        }
    }

    pub(crate) fn counts() -> Spans {
        let counts = EXPORTER.get().map(Exporter::counts).unwrap_or_default();
        Spans { exported: counts.exported, dropped: counts.dropped }
    }
}

/// In any other.
#[cfg(not(feature = "otlp"))]
mod imp {
    use std::time::Duration;

    use dispatcher_config::{Config, Finding};
    use tracing::{Level, Subscriber};
    use tracing_subscriber::Layer;

    use super::Spans;

    /// There is none.
    pub(crate) enum SpanLayer {}

    impl<S: Subscriber> Layer<S> for SpanLayer {}

    pub(crate) const TARGETS: [(&str, Level); 0] = [];

    #[expect(clippy::unnecessary_wraps, reason = "with the feature it may fail")]
    pub(crate) fn start(_: &Config) -> Result<Option<SpanLayer>, Finding> {
        Ok(None)
    }

    pub(crate) fn close(_: Duration) {}

    pub(crate) fn counts() -> Spans {
        Spans::default()
    }
}
