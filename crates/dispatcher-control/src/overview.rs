//! How everything is; and consumers: paused, renamed, dropped.

use dispatcher_core::{Key, Timestamp};
use dispatcher_decider::{self as decider, DeciderStatus};
use dispatcher_journal::{Change, Consumer, Health, JournalError, Reader, Row, Stream};
use dispatcher_pipeline::{ConsumerStatus, PipelineHandle, State};

use crate::{
    Answer, Asker, ConfiguredDecider, ConsumerState, ConsumerView, DeciderState, DeciderView, DeciderWork, Done,
    HeldUpView, JournalStatus, KeyView, Running, SkippedView, Status, StreamStatus, WorkView,
    id::is_consumer,
    operations::{Operations, Stop, wait_for},
    replay,
};

pub(crate) fn status(operations: &Operations, asker: &mut dyn Asker) -> Result<Done, Stop> {
    let mut reader = operations.reader()?;
    let consumers = consumers(operations, &mut reader)?;
    let mut replays = replay::all(&mut reader)?;
    replays.retain(|replay| replay.ended_at.is_none());
    let running = operations.setup.running.as_ref().map(|running| Running {
        pid: std::process::id(),
        since: running.since.into(),
        uptime_secs: Timestamp::now().since(running.since).as_secs(),
        listen: running.listen.clone(),
        admin: running.admin.clone(),
        configuration: operations.setup.configuration.clone(),
        apps: (running.apps)(),
        longest_decision_us: Some((running.longest_decision)())
            .filter(|longest| !longest.is_zero())
            .map(|longest| u64::try_from(longest.as_micros()).unwrap_or(u64::MAX)),
    });
    let status = Status {
        version: operations.setup.version.clone(),
        running,
        journal: journal(operations, &mut reader)?,
        dead_letters: reader.dead_counts()?.values().sum(),
        consumers,
        deciders: deciders(operations)?,
        replays,
    };
    asker.tell(Answer::Status(Box::new(status)))?;
    Ok(Done::default())
}

fn journal(operations: &Operations, reader: &mut Reader) -> Result<JournalStatus, Stop> {
    let (health, reason) = match operations.journal.health() {
        Health::Ok => ("ok", None),
        Health::Failing(reason) => ("failing", Some(reason.to_string())),
        Health::Poisoned(reason) => ("poisoned", Some(reason.to_string())),
    };
    let counts = operations.journal.counts();
    let skipped = reader.skipped()?.into_iter().map(|(consumer, at, range)| SkippedView {
        consumer,
        at: at.into(),
        first: range.first,
        last: range.last,
        reason: range.reason,
    });
    Ok(JournalStatus {
        path: operations.setup.journal.display().to_string(),
        health: health.to_owned(),
        reason,
        bytes: operations.file_size(""),
        free_bytes: counts.free_bytes,
        wal_bytes: operations.file_size("-wal"),
        stored: counts.appended,
        repeats: counts.repeats,
        unrecorded: counts.unrecorded,
        unrecorded_decisions: counts.unrecorded_decisions,
        retention: operations.setup.retention.clone(),
        deleted_callbacks: counts.deleted_callbacks,
        deleted_events: counts.deleted_events,
        deleted_dead_letters: counts.deleted_dead,
        held_up: operations.journal.held_up().map(|held| HeldUpView {
            consumer: held.consumer.as_ref().to_owned(),
            stream: held.stream.to_string(),
            since: held.since.into(),
            rows: held.rows,
        }),
        skipped: skipped.collect(),
        callbacks: stream(reader, Stream::Callbacks)?,
        events: stream(reader, Stream::Events)?,
    })
}

fn stream(reader: &mut Reader, stream: Stream) -> Result<StreamStatus, Stop> {
    let last = reader.end(stream);
    let (first, oldest) = match stream {
        Stream::Callbacks => match reader.callbacks(0, 1, 1)?.into_iter().next() {
            Some(Row::Intact(row)) => (row.seq, Some(row.callback.received_at())),
            Some(Row::Damaged { seq, .. }) => (seq, None),
            None => (0, None),
        },
        Stream::Events => match reader.events(0, 1, 1)?.into_iter().next() {
            Some(Row::Intact(row)) => (row.event.seq, Some(row.event.callback.received_at())),
            Some(Row::Damaged { seq, .. }) => (seq, None),
            None => (0, None),
        },
    };
    Ok(StreamStatus { first, last, oldest: oldest.map(Into::into) })
}

/// All consumers but replays: those of the configuration in its order, then those that are in the journal alone.
fn consumers(operations: &Operations, reader: &mut Reader) -> Result<Vec<ConsumerView>, Stop> {
    let known = reader.consumers()?;
    let dead = reader.dead_counts()?;
    let running = operations.pipeline.as_ref().map(PipelineHandle::status).unwrap_or_default();
    let configured = &operations.setup.consumers;
    let mut names: Vec<(&str, Stream)> = configured.iter().map(|one| (one.name.as_str(), one.stream)).collect();
    for consumer in known.iter().filter(|consumer| !consumer.name.starts_with("replay:")) {
        if !names.iter().any(|(name, _)| *name == consumer.name) {
            names.push((&consumer.name, consumer.stream));
        }
    }
    let mut views = Vec::new();
    for (name, stream) in names {
        let stored = known.iter().find(|consumer| consumer.name == name);
        let is_enabled = operations.configured(name).map(|configured| configured.enabled);
        let mut view = match running.iter().find(|consumer| consumer.name == name) {
            Some(running) => of_pipeline(running),
            None => of_journal(reader, name, stream, stored, is_enabled)?,
        };
        let pending = running.iter().find(|consumer| consumer.name == name).and_then(|running| running.oldest_pending);
        let oldest = next_of(reader, stream, view.checkpoint)?.into_iter().chain(pending).min();
        view.oldest = oldest.map(Into::into);
        view.oldest_secs = oldest.map(|oldest| Timestamp::now().since(oldest).as_secs());
        view.stream = stream.to_string();
        view.dead_letters = dead.get(name).copied().unwrap_or(0);
        views.push(view);
    }
    Ok(views)
}

/// When the callback came in that is next behind this checkpoint, or that the next event was made of; `None` if there is no
/// next, or it is damaged, which is passed over.
///
/// # Errors
/// The journal cannot be read.
pub fn next_of(reader: &mut Reader, stream: Stream, checkpoint: u64) -> Result<Option<Timestamp>, JournalError> {
    if reader.end(stream) <= checkpoint {
        return Ok(None);
    }
    Ok(match stream {
        Stream::Callbacks => match reader.callbacks(checkpoint, 1, 1)?.into_iter().next() {
            Some(Row::Intact(row)) => Some(row.callback.received_at()),
            _ => None,
        },
        Stream::Events => match reader.events(checkpoint, 1, 1)?.into_iter().next() {
            Some(Row::Intact(row)) => Some(row.event.callback.received_at()),
            _ => None,
        },
    })
}

fn of_pipeline(consumer: &ConsumerStatus) -> ConsumerView {
    let (state, since) = match &consumer.state {
        State::Up => (ConsumerState::Up, None),
        State::Down { since, error } => (ConsumerState::Down, Some((since, error))),
        State::Parked { since, error } => (ConsumerState::Parked, Some((since, error))),
        State::Stopped { since, error } => (ConsumerState::Stopped, Some((since, error))),
    };
    ConsumerView {
        name: consumer.name.clone(),
        stream: String::new(),
        state,
        since: since.map(|(since, _)| (*since).into()),
        reason: since.map(|(_, error)| error.clone()),
        checkpoint: consumer.checkpoint,
        backlog: consumer.backlog,
        oldest: None,
        oldest_secs: None,
        pending: consumer.pending as u64,
        dead_letters: 0,
        work: Some(WorkView {
            under_way: consumer.under_way as u64,
            done: consumer.done,
            failed: consumer.failed,
            dead: consumer.dead,
            last_error: consumer.last_error.clone(),
            longest_keys: consumer.longest_keys.iter().map(key).collect(),
            oldest_pending: consumer.oldest_pending.map(Into::into),
        }),
    }
}

/// The handlers that decide, in the order in which they are asked.
fn deciders(operations: &Operations) -> Result<Vec<DeciderView>, Stop> {
    let running = operations.setup.running.as_ref().map(|running| running.deciders.status()).unwrap_or_default();
    let shadows = operations.journal.shadows()?;
    let view = |decider: &ConfiguredDecider| match running.iter().find(|one| one.name == decider.name) {
        Some(running) => of_deciders(running),
        None => {
            let until = shadows.iter().find(|(handler, _)| *handler == decider.name).map(|(_, until)| (*until).into());
            DeciderView {
                name: decider.name.clone(),
                state: if decider.enabled { DeciderState::NotRunning } else { DeciderState::SwitchedOff },
                reason: None,
                shadow: decider.shadow || until.is_some(),
                shadow_until: until,
                work: None,
            }
        }
    };
    Ok(operations.setup.deciders.iter().map(view).collect())
}

fn of_deciders(decider: &DeciderStatus) -> DeciderView {
    let (state, reason) = match &decider.state {
        decider::State::Opening => (DeciderState::Opening, None),
        decider::State::Up => (DeciderState::Up, None),
        decider::State::Down(reason) => (DeciderState::Down, Some(reason.clone())),
        decider::State::Blocked => (DeciderState::Blocked, None),
        decider::State::Off(reason) => (DeciderState::Off, Some(reason.clone())),
    };
    DeciderView {
        name: decider.name.clone(),
        state,
        reason,
        shadow: decider.is_shadow,
        shadow_until: decider.shadow_until.map(|millis| Timestamp::from_millis(millis).into()),
        work: Some(DeciderWork {
            in_flight: decider.in_flight as u64,
            late_in_flight: decider.late_in_flight as u64,
            counts: decider.counts,
        }),
    }
}

fn key((sdk_app_id, key, waiting): &(u64, Key, usize)) -> KeyView {
    KeyView { sdk_app_id: *sdk_app_id, key: key.as_ref().to_owned(), waiting: *waiting as u64 }
}

fn of_journal(
    reader: &mut Reader,
    name: &str,
    stream: Stream,
    stored: Option<&Consumer>,
    is_enabled: Option<bool>,
) -> Result<ConsumerView, Stop> {
    let parked = stored.and_then(|consumer| consumer.parked.as_ref());
    let state = match is_enabled {
        None => ConsumerState::Unconfigured,
        Some(false) => ConsumerState::SwitchedOff,
        Some(true) if parked.is_some() => ConsumerState::Parked,
        Some(true) => ConsumerState::NotRunning,
    };
    // One that was never registered starts at the end.
    let checkpoint = stored.map_or(reader.end(stream), |consumer| consumer.checkpoint);
    Ok(ConsumerView {
        name: name.to_owned(),
        stream: String::new(),
        state,
        since: parked.map(|parked| parked.at.into()),
        reason: parked.map(|parked| parked.reason.clone()),
        checkpoint,
        backlog: reader.end(stream).saturating_sub(checkpoint),
        oldest: None,
        oldest_secs: None,
        pending: reader.pending(name)?.len() as u64,
        dead_letters: 0,
        work: None,
    })
}

pub(crate) fn pause(operations: &Operations, consumer: &str, reason: Option<&str>) -> Result<Done, Stop> {
    let reason = reason.unwrap_or("paused by hand");
    known(operations, consumer)?;
    match running(operations, consumer) {
        Some(pipeline) => wait_for(pipeline.park(consumer, reason))??,
        None => {
            let reason = Some(reason.to_owned());
            operations.change(Change::Park { consumer: consumer.into(), reason })?;
        }
    }
    Ok(Done { n: 1, ..Done::default() })
}

pub(crate) fn resume(operations: &Operations, consumer: &str) -> Result<Done, Stop> {
    known(operations, consumer)?;
    match running(operations, consumer) {
        Some(pipeline) => wait_for(pipeline.resume(consumer))??,
        None => _ = operations.change(Change::Park { consumer: consumer.into(), reason: None })?,
    }
    Ok(Done { n: 1, ..Done::default() })
}

pub(crate) fn rename(operations: &Operations, from: &str, to: &str) -> Result<Done, Stop> {
    known(operations, from)?;
    not_running(operations, from, "renamed")?;
    if !is_consumer(to) {
        return Err(Stop::Failed(format!("{to:?} is no name of a consumer; write handler:NAME or sink:NAME")));
    }
    if from.split(':').next() != to.split(':').next() {
        return Err(Stop::Failed(format!(
            "{from} consumes something else than {to}; only the part behind the colon can change"
        )));
    }
    if operations.reader()?.consumers()?.iter().any(|consumer| consumer.name == to) {
        return Err(Stop::Failed(format!(
            "there is a consumer {to} already, with a place of its own: a rename comes before the first start with the new \
             name. Now, `dispatcher replay --{} --to NAME --since TIME` delivers what {from} has not got to, and \
             `dispatcher consumers drop {from}` ends it",
            from.replacen(':', " ", 1)
        )));
    }
    operations.change(Change::Rename { from: from.into(), to: to.into() })?;
    Ok(Done { n: 1, ..Done::default() })
}

pub(crate) fn drop_consumer(operations: &Operations, consumer: &str) -> Result<Done, Stop> {
    known(operations, consumer)?;
    not_running(operations, consumer, "dropped")?;
    if operations.configured(consumer).is_some() {
        return Err(Stop::Failed(format!(
            "{consumer} is in the configuration, switched off or not; take it out there, then drop it"
        )));
    }
    operations.change(Change::Drop { consumer: consumer.into() })?;
    Ok(Done { n: 1, ..Done::default() })
}

/// That the journal knows a consumer; else what it does know.
fn known(operations: &Operations, consumer: &str) -> Result<(), Stop> {
    let consumers = operations.reader()?.consumers()?;
    if is_consumer(consumer) && consumers.iter().any(|known| known.name == consumer) {
        return Ok(());
    }
    let names = consumers.iter().map(|known| known.name.as_str()).filter(|name| is_consumer(name));
    let names: Vec<&str> = names.collect();
    let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(Stop::Failed(format!("the journal knows no consumer {consumer}; it knows {names}")))
}

fn running<'a>(operations: &'a Operations, consumer: &str) -> Option<&'a PipelineHandle> {
    let pipeline = operations.pipeline.as_ref()?;
    pipeline.status().iter().any(|one| one.name == consumer).then_some(pipeline)
}

fn not_running(operations: &Operations, consumer: &str, what: &str) -> Result<(), Stop> {
    match running(operations, consumer) {
        None => Ok(()),
        Some(_) => Err(Stop::Failed(format!(
            "{consumer} runs, and what runs cannot be {what}; take it out of the configuration and restart, or stop the \
             dispatcher"
        ))),
    }
}
