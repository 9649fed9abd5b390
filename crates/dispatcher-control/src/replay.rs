//! Replays: made, watched, ended.

use std::time::Duration;

use dispatcher_journal::{Change, Reader, Replay};
use dispatcher_pipeline::{PipelineHandle, ReplayFilter, ReplaySpec, State};

use crate::{
    Answer, Asker, DeadFilter, DeadSelection, Done, Progress, ReplayPlan, ReplayView, dead,
    operations::{Meter, Operations, Stop, wait_for},
};

/// How often a replay that is watched is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// The most items that a replay can name one by one: they are stored with it.
const MOST_SEQS: usize = 100_000;

pub(crate) fn begin(
    operations: &Operations,
    spec: &ReplaySpec,
    watched: bool,
    asker: &mut dyn Asker,
) -> Result<Done, Stop> {
    begin_all(operations, std::slice::from_ref(spec), watched, asker)
}

/// A replay of dead letters for each consumer that has any of those.
pub(crate) fn dead(
    operations: &Operations,
    which: &DeadSelection,
    to: Option<&str>,
    rate: Option<f64>,
    watched: bool,
    asker: &mut dyn Asker,
) -> Result<Done, Stop> {
    let selected = dead::select(&mut operations.reader()?, which, asker)?;
    if selected.is_empty() {
        return Ok(Done { note: Some("there are no such dead letters".to_owned()), ..Done::default() });
    }
    // All of a consumer's need not be named one by one.
    let are_all = matches!(
        which,
        DeadSelection::Filter(DeadFilter {
            consumer: _,
            since: None,
            until: None,
            app: None,
            command: None,
            key: None,
            reason: None
        })
    );
    if !are_all && let Some((consumer, seqs)) = selected.iter().find(|(_, seqs)| seqs.len() > MOST_SEQS) {
        return Err(Stop::Failed(format!(
            "these are {} dead letters of {consumer}, and a replay can name {MOST_SEQS} one by one; narrow them down, \
             or take all of {consumer}",
            seqs.len()
        )));
    }
    let spec = |(consumer, seqs): (String, Vec<u64>)| ReplaySpec {
        of: consumer,
        to: to.map(str::to_owned),
        dead: true,
        filter: ReplayFilter { seqs: (!are_all).then_some(seqs), ..ReplayFilter::default() },
        rate,
    };
    let specs: Vec<ReplaySpec> = selected.into_iter().map(spec).collect();
    begin_all(operations, &specs, watched, asker)
}

fn begin_all(
    operations: &Operations,
    specs: &[ReplaySpec],
    watched: bool,
    asker: &mut dyn Asker,
) -> Result<Done, Stop> {
    let pipeline = pipeline(operations)?;
    // All that can be wrong with them is found before the first of them begins.
    for spec in specs {
        pipeline.check(spec)?;
    }
    let mut ids = Vec::new();
    for spec in specs {
        let replay = wait_for(pipeline.replay(spec))??;
        ids.push(replay.id);
        asker.tell(Answer::ReplayBegun(ReplayView::new(&replay, Some(replay.first.saturating_sub(1)))))?;
    }
    if watched { watch(operations, &ids, asker) } else { Ok(Done { n: ids.len() as u64, ..Done::default() }) }
}

pub(crate) fn plan(operations: &Operations, spec: &ReplaySpec, asker: &mut dyn Asker) -> Result<Done, Stop> {
    let mut meter = Meter::new("counting", asker);
    let mut gone = Ok(());
    let items = pipeline(operations)?.count(spec, |done, total| {
        gone = meter.at(done, total);
        gone.is_ok()
    })?;
    gone?;
    asker.tell(Answer::ReplayPlan(ReplayPlan { of: spec.of.clone(), items }))?;
    Ok(Done { n: items, ..Done::default() })
}

pub(crate) fn list(operations: &Operations, asker: &mut dyn Asker) -> Result<Done, Stop> {
    let mut n = 0;
    for replay in all(&mut operations.reader()?)? {
        asker.tell(Answer::Replay(replay))?;
        n += 1;
    }
    Ok(Done { n, ..Done::default() })
}

/// Tells how far these are until all have ended.
pub(crate) fn watch(operations: &Operations, ids: &[u64], asker: &mut dyn Asker) -> Result<Done, Stop> {
    let mut reader = operations.reader()?;
    let mut ended = Vec::new();
    loop {
        let all = all(&mut reader)?;
        let (mut done, mut total) = (0, 0);
        for id in ids {
            let replay = all.iter().find(|replay| replay.id == *id).ok_or_else(|| unknown(*id))?;
            let span = (replay.last + 1).saturating_sub(replay.first);
            total += span;
            done += replay.checkpoint.map_or(span, |seq| (seq + 1).saturating_sub(replay.first).min(span));
            if replay.ended_at.is_some() && !ended.contains(id) {
                ended.push(*id);
                asker.tell(Answer::Replay(replay.clone()))?;
            }
        }
        if ended.len() == ids.len() {
            return Ok(Done { n: ids.len() as u64, ..Done::default() });
        }
        let what = format!("replaying{}", trouble(operations, ids));
        asker.tell(Answer::Progress(Progress { what, done, total }))?;
        asker.wait(LOOK)?;
    }
}

/// Why these do not get on, if they do not.
fn trouble(operations: &Operations, ids: &[u64]) -> String {
    let statuses = operations.pipeline.as_ref().map(PipelineHandle::status).unwrap_or_default();
    if !ids.iter().any(|id| statuses.iter().any(|status| status.name == format!("replay:{id}"))) {
        return ", waiting for something that does not run".to_owned();
    }
    let of_these =
        |name: &str| name.strip_prefix("replay:").and_then(|id| id.parse().ok()).is_some_and(|id| ids.contains(&id));
    let trouble = statuses.iter().filter(|status| of_these(&status.name)).find_map(|status| match &status.state {
        State::Up => None,
        State::Down { error, .. } => Some(format!(", down ({error})")),
        State::Parked { error, .. } => Some(format!(", parked ({error})")),
        State::Stopped { error, .. } => Some(format!(", stopped ({error})")),
    });
    trouble.unwrap_or_default()
}

pub(crate) fn cancel(operations: &Operations, id: u64) -> Result<Done, Stop> {
    let replay = one(&mut operations.reader()?, id)?;
    if let Some(ended) = replay.ended_at {
        return Err(Stop::Failed(format!("replay {id} ended at {ended}")));
    }
    match &operations.pipeline {
        // False: it has ended since.
        Some(pipeline) => _ = wait_for(pipeline.cancel_replay(id))??,
        None => _ = operations.change(Change::EndReplay { id, cancelled: true })?,
    }
    Ok(Done { n: 1, ..Done::default() })
}

/// All replays, the newest first, with how far those are that have not ended.
pub(crate) fn all(reader: &mut Reader) -> Result<Vec<ReplayView>, Stop> {
    let consumers = reader.consumers()?;
    let checkpoint = |replay: &Replay| {
        let name = replay.consumer();
        consumers.iter().find(|consumer| consumer.name == name).map(|consumer| consumer.checkpoint)
    };
    Ok(reader.replays()?.iter().map(|replay| ReplayView::new(replay, checkpoint(replay))).collect())
}

fn one(reader: &mut Reader, id: u64) -> Result<ReplayView, Stop> {
    all(reader)?.into_iter().find(|replay| replay.id == id).ok_or_else(|| unknown(id))
}

fn unknown(id: u64) -> Stop {
    Stop::Failed(format!("there is no replay {id}; `dispatcher replay list` lists them"))
}

fn pipeline(operations: &Operations) -> Result<&PipelineHandle, Stop> {
    let none = || Stop::Failed("no handlers and sinks run here that could replay".to_owned());
    operations.pipeline.as_ref().ok_or_else(none)
}
