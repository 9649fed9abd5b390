//! A dispatcher that kills itself, as `kill -9` does, at a named step: `DISPATCHER_STEP=name:n` is the n-th time that it
//! comes by. `DISPATCHER_STEPS_SEEN` names a file to which each step is appended when it is first seen.
//!
//! Steps are trace events of the target `dispatcher::step`, so that the dispatcher itself knows nothing of crashes.

use std::{
    collections::HashSet,
    env,
    fmt::Debug,
    fs::File,
    io::Write as _,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::{Signal, getpid, kill_process};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{
    filter::filter_fn,
    fmt,
    layer::{Context, Layer, SubscriberExt as _},
    util::SubscriberInitExt as _,
};

const TARGET: &str = "dispatcher::step";

fn main() -> ExitCode {
    let steps = Steps::from_env().with_filter(filter_fn(is_step));
    // The log as ever, for what the harness looks for in it.
    let log = fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_target(false);
    let log = log.with_filter(LevelFilter::INFO);
    if tracing_subscriber::registry().with(steps).with(log).try_init().is_err() {
        return ExitCode::FAILURE;
    }
    dispatcher::run(dispatcher::plugins! {})
}

fn is_step(metadata: &Metadata<'_>) -> bool {
    metadata.target() == TARGET && *metadata.level() == Level::TRACE
}

struct Steps {
    fatal: Option<(String, u64)>,
    count: AtomicU64,
    seen: Option<(PathBuf, Mutex<HashSet<String>>)>,
}

impl Steps {
    fn from_env() -> Steps {
        let fatal = env::var("DISPATCHER_STEP").ok().and_then(|text| {
            let (name, n) = text.rsplit_once(':')?;
            Some((name.to_owned(), n.parse().ok()?))
        });
        let seen = env::var_os("DISPATCHER_STEPS_SEEN").map(|path| (path.into(), Mutex::default()));
        Steps { fatal, count: AtomicU64::new(0), seen }
    }

    fn reached(&self, step: &str) {
        if let Some((path, seen)) = &self.seen
            && let Ok(mut seen) = seen.lock()
            && seen.insert(step.to_owned())
        {
            let file = File::options().create(true).append(true).open(path);
            let _ = file.and_then(|mut file| file.write_all(format!("{step}\n").as_bytes()));
        }
        if let Some((name, n)) = &self.fatal
            && name == step
            && self.count.fetch_add(1, Ordering::Relaxed) + 1 == *n
        {
            die();
        }
    }
}

/// A signal that a process sends to itself is there before the call returns.
fn die() {
    let _ = kill_process(getpid(), Signal::KILL);
}

impl<S: Subscriber> Layer<S> for Steps {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut Reached(self));
    }
}

struct Reached<'a>(&'a Steps);

impl Visit for Reached<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "step" {
            self.0.reached(value);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}
