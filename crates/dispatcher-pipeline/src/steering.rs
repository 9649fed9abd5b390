//! What a consumer does next, and what comes of a batch that came back: window, health and limiter together, without I/O.
//!
//! `consumer` drives real lanes by this, and the simulations drive simulated ones.

use std::{cell::RefCell, rc::Rc, time::Instant};

use dispatcher_core::Failure;

use crate::{
    State,
    health::{Health, May},
    limiter::Limiter,
    window::{Batch, Now, Outcome, Tally, Task, Window},
    worker::Report,
};

/// With how many items, each of another key, a plugin that is down can be tried. Two, so that one that fails by its own
/// fault does not keep it down.
pub(crate) const PROBES: usize = 2;

/// How fast a consumer may start items: what all of these let start. Some are shared with others.
pub(crate) type Rate = Vec<Rc<RefCell<Limiter>>>;

/// What a batch came to, for people.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) tally: Tally,
    /// The last failure in it, the items' or the plugin's.
    pub(crate) error: Option<String>,
    /// Whether it is another state now.
    pub(crate) has_changed: bool,
}

/// What starts now on a lane that is idle, if anything does. It counts as started.
pub(crate) fn take<P: Clone, M>(
    window: &mut Window<P, M>,
    health: &mut Health,
    rate: &Rate,
    now: Now,
) -> Option<(Batch, Vec<Task<P>>)> {
    let most = most(rate, now.instant);
    if most == 0 {
        return None;
    }
    let (batch, tasks) = match health.may_start(now) {
        May::All => window.take(most, now)?,
        May::Probe(after) => window.take_probe(after, now)?,
        May::Nothing => return None,
    };
    rate.iter().for_each(|limiter| limiter.borrow_mut().started(tasks.len()));
    if health.is_down()
        && let Some(task) = tasks.first()
    {
        health.probing(batch.number, task.seq);
    }
    Some((batch, tasks))
}

/// Whether something would start now, if there were an idle lane.
pub(crate) fn wants<P: Clone, M>(window: &Window<P, M>, health: &Health, rate: &Rate, now: Now) -> bool {
    window.n_ready() > 0 && health.may_start(now) != May::Nothing && most(rate, now.instant) > 0
}

fn most(rate: &Rate, now: Instant) -> usize {
    rate.iter().map(|limiter| limiter.borrow_mut().may_start(now)).min().unwrap_or(usize::MAX)
}

/// When something may start although nothing has happened: for a consumer with an idle lane for which [`take`] had
/// nothing. A time that nobody would act upon is not told: once it is over, there would be no waiting at all.
pub(crate) fn next_start<P: Clone, M>(window: &Window<P, M>, health: &Health, rate: &Rate) -> Option<Instant> {
    if window.n_ready() == 0 {
        return None;
    }
    let by_rate = rate.iter().filter_map(|limiter| limiter.borrow().next()).max();
    match health.state() {
        State::Up => by_rate,
        State::Down { .. } => health.next_probe().map(|probe| by_rate.map_or(probe, |at| at.max(probe))),
        State::Parked { .. } | State::Stopped { .. } => None,
    }
}

/// Whether more rows are of use: always while it is up, while it is down until there are two items to try it with, and
/// otherwise only what is to become dead letters.
pub(crate) fn may_read<P: Clone, M>(window: &Window<P, M>, health: &Health) -> bool {
    health.is_up() || (health.is_down() && window.n_ready() < PROBES) || window.has_to_read()
}

/// What else is to be known of a consumer to judge a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// Whether a permanent failure that no receiver answered with says something about the plugin's health.
    pub(crate) permanent_counts: bool,
    /// Whether its items are a closed set: nothing new will ever show that the plugin works again.
    pub(crate) is_replay: bool,
    /// Whether all that there is has been read.
    pub(crate) is_exhausted: bool,
}

impl Terms {
    /// Whether a failure says something about the plugin's health. One that a receiver answered with always does: a receiver
    /// that refuses everything is more likely misconfigured than given nothing but bad items.
    fn counts(self, is_permanent: bool, is_answered: bool) -> bool {
        self.permanent_counts || !is_permanent || is_answered
    }
}

/// Takes back a batch with what its worker says of it.
pub(crate) fn end<P: Clone, M>(
    window: &mut Window<P, M>,
    health: &mut Health,
    batch: Batch,
    report: Report<M>,
    terms: Terms,
    now: Now,
) -> Verdict {
    let number = batch.number;
    match report {
        Report::Tried(outcomes) => end_tried(window, health, batch, outcomes, terms, now),
        Report::Down { error, wait, alone } => {
            window.give_back(batch, alone);
            let has_changed = health.down(number, error.clone(), wait, now);
            Verdict { error: Some(error), has_changed, ..Verdict::default() }
        }
        Report::Untouched => {
            window.give_back(batch, false);
            if health.is_probe(number) {
                health.skip_probe(now);
            }
            Verdict::default()
        }
        Report::Gone { error } => {
            window.give_back(batch, false);
            Verdict { has_changed: health.park(error, now), ..Verdict::default() }
        }
        Report::Off { error } => {
            window.give_back(batch, false);
            Verdict { has_changed: health.stop(error, now), ..Verdict::default() }
        }
    }
}

fn end_tried<P: Clone, M>(
    window: &mut Window<P, M>,
    health: &mut Health,
    batch: Batch,
    outcomes: Vec<Outcome<M>>,
    terms: Terms,
    now: Now,
) -> Verdict {
    let number = batch.number;
    if outcomes.iter().all(|outcome| matches!(outcome, Outcome::NotTried)) {
        window.give_back(batch, false);
        let error = "it tried none of the items that it was given".to_owned();
        let has_changed = health.down(number, error.clone(), None, now);
        return Verdict { error: Some(error), has_changed, ..Verdict::default() };
    }
    let is_probe = health.is_probe(number);
    if is_probe
        && let Some(failure) = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Failed(failure) if terms.counts(failure.is_permanent(), failure.response().is_some()) => {
                Some(failure)
            }
            _ => None,
        })
    {
        // Attempts count only while it is up. The next probe is another item, should this one be to blame; where no
        // other can be had, because all that has room is of its key, the failure is its own after all; and so it is where
        // nothing else is there, if trying again cannot help or if nothing else will ever come.
        let (error, wish) = (failure.to_string(), failure.wait());
        let is_alone = window.n_ready() == 0;
        let is_own = (is_alone && window.room() == 0)
            || (is_alone && terms.is_exhausted && failure.is_permanent())
            || (terms.is_replay && terms.is_exhausted);
        let tally = if is_own {
            window.finish(batch, outcomes, now)
        } else {
            window.give_back(batch, false);
            Tally::default()
        };
        let has_changed = health.down(number, error.clone(), wish, now);
        return Verdict { tally, error: Some(error), has_changed };
    }
    if is_probe {
        health.up(now);
    }
    // Before an item is given up on for what may pass, there has to be a sign that it is to blame and not the plugin: that
    // nothing of another key has failed since anything worked.
    if let ([Outcome::Failed(failure)], true) = (&outcomes[..], health.is_up())
        && !failure.is_permanent()
        && !(terms.is_replay && terms.is_exhausted)
        && window.last_try(&batch, failure, now).is_some_and(|item| health.others_fail(&item))
    {
        let (error, wish) = (format!("everything it is given fails; the last: {failure}"), failure.wait());
        window.give_back(batch, false);
        let has_changed = health.down(number, error.clone(), wish, now) || is_probe;
        return Verdict { error: Some(error), has_changed, ..Verdict::default() };
    }
    let last_failure: Option<Failure> = outcomes.iter().rev().find_map(|outcome| match outcome {
        Outcome::Failed(failure) => Some(failure.clone()),
        Outcome::Done(_) | Outcome::NotTried => None,
    });
    let tally = window.finish(batch, outcomes, now);
    let mut verdict = Verdict { tally, error: None, has_changed: is_probe };
    if health.is_up() {
        if verdict.tally.done > 0 {
            health.succeeded();
        } else {
            let mut is_streak = false;
            for item in verdict.tally.failed.iter().filter(|item| terms.counts(item.is_permanent, item.is_answered)) {
                is_streak |= health.failed(item);
            }
            if is_streak && let Some(failure) = &last_failure {
                let error = format!("everything it is given fails; the last: {failure}");
                verdict.has_changed |= health.down(number, error, failure.wait(), now);
            }
        }
    }
    verdict.error = last_failure.map(|failure| failure.to_string());
    verdict
}
