//! Where what is shown is read.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use dispatcher_control::AdminCounters;
use dispatcher_core::Timestamp;
use dispatcher_decider::DeciderStatus;
use dispatcher_intake::Counters;
use dispatcher_journal::{Journal, Reader};
use dispatcher_pipeline::PipelineHandle;
use prometheus::process_collector::ProcessCollector;

/// What is shown, as the parts of a dispatcher know it. It is read when someone asks, and at no other time.
pub struct Sources {
    /// The program's version.
    pub version: String,
    /// What the intake counts.
    pub intake: Arc<Counters>,
    /// What is counted of those who ask over TCP; nothing where nobody can.
    pub admin: Arc<AdminCounters>,
    /// How those that decide fare; asked each time, so that they may be replaced.
    pub deciders: Box<dyn Fn() -> Vec<DeciderStatus> + Send + Sync>,
    /// How often the configuration was reloaded; asked each time.
    pub reloads: Box<dyn Fn() -> Reloads + Send + Sync>,
    /// How many spans were exported; asked each time.
    pub spans: Box<dyn Fn() -> Spans + Send + Sync>,
    /// The journal.
    pub journal: Journal,
    /// Handlers and sinks.
    pub pipeline: PipelineHandle,
}

/// How many spans of callbacks were to be exported since the start, by what came of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spans {
    /// They were taken.
    pub exported: u64,
    /// There was no room for them, or nobody took them.
    pub dropped: u64,
}

/// How often the configuration was to be reloaded since the start, by what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloads {
    /// It was applied, whether anything in it had changed or not.
    pub applied: u64,
    /// It was wrong.
    pub invalid: u64,
    /// It could not be read or applied, through no fault of its own.
    pub failed: u64,
    /// When it was last applied; at first, when the dispatcher was started.
    pub last: Timestamp,
}

/// The sources, and what is kept between two times that someone asks.
pub(crate) struct Observed {
    pub(crate) sources: Sources,
    pub(crate) process: ProcessCollector,
    is_draining: AtomicBool,
    reader: Mutex<Option<Reader>>,
}

impl Observed {
    pub(crate) fn new(sources: Sources) -> Observed {
        Observed {
            sources,
            process: ProcessCollector::for_self(),
            is_draining: AtomicBool::new(false),
            reader: Mutex::default(),
        }
    }

    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Relaxed);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.is_draining.load(Relaxed)
    }

    /// What `read` finds in the journal; nothing where it cannot be read now.
    pub(crate) fn with_reader<T>(&self, read: impl FnOnce(&mut Reader) -> T) -> Option<T> {
        let mut reader = self.reader();
        if reader.is_none() {
            *reader = self.sources.journal.reader().ok();
        }
        reader.as_mut().map(read)
    }

    // A reader is whole between any two of its calls.
    fn reader(&self) -> MutexGuard<'_, Option<Reader>> {
        self.reader.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
