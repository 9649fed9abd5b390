//! The rounds of the scenarios behind the intake: what they need, who goes first, and what is said of each.

use std::slice;

use anyhow::Result;

use crate::{
    backlog::Backlog,
    cli::Cli,
    dead_sink, decide_blocked, decide_hang, drain,
    figures::{Trial, Values, figures, short},
    machine, overload,
    programs::Programs,
    relay::{self, Relay},
    reopen::{Reopen, check_drop_caches},
    scenario::Scenario,
    slow_clients,
};

/// What takes long to make, and is made once.
pub(crate) struct Prepared {
    backlog: Option<Backlog>,
    reopen: Option<Reopen>,
}

impl Prepared {
    pub(crate) async fn make(scenarios: &[Scenario], cli: &Cli, programs: &Programs) -> Result<Self> {
        let mut prepared = Self { backlog: None, reopen: None };
        if cli.drop_caches {
            check_drop_caches()?; // Before minutes have been spent.
        }
        if scenarios.iter().any(|scenario| scenario.needs_backlog()) {
            let backlog = Backlog::make(cli, programs).await?;
            if scenarios.contains(&Scenario::Reopen) {
                prepared.reopen = Some(Reopen::prepare(&backlog, cli, programs).await?);
            }
            prepared.backlog = Some(backlog);
        }
        Ok(prepared)
    }

    fn backlog(&self) -> &Backlog {
        self.backlog.as_ref().expect("made, as a scenario needs it")
    }

    fn reopen(&self) -> &Reopen {
        self.reopen.as_ref().expect("made, as a scenario needs it")
    }
}

/// Measures `scenario` once, and what it is measured beside.
pub(crate) async fn run_trial(
    round: usize,
    scenario: Scenario,
    prepared: &Prepared,
    cli: &Cli,
    programs: &Programs,
) -> Result<Trial> {
    let fdatasync_us = machine::fdatasync_us(&cli.dir())?;
    let beside_first = round % 2 == 1;
    let (measured, beside): (Values, Option<Values>) = match scenario {
        Scenario::Drain => (drain::measure(prepared.backlog(), cli, programs).await?, None),
        Scenario::Reopen => (prepared.reopen().measure(cli, programs).await?, None),
        Scenario::DecideHang => (decide_hang::measure(cli, programs).await?, None),
        Scenario::DecideBlocked => {
            let of = |blocks| decide_blocked::measure(blocks, cli, programs);
            in_turn(beside_first, of, true, false).await?
        }
        Scenario::SlowClients => {
            let of = |are_there| slow_clients::measure(are_there, cli, programs);
            in_turn(beside_first, of, true, false).await?
        }
        Scenario::Overload => {
            let (measured, before) = overload::measure(cli, programs).await?;
            (measured, Some(before))
        }
        Scenario::DeadSink => {
            let of = |dead| dead_sink::measure(dead, cli, programs);
            let (dead, without) = (Some(prepared.backlog()), None);
            in_turn(beside_first, of, dead, without).await?
        }
        scenario => {
            let of = |relay| relay::measure(scenario, relay, cli, programs);
            in_turn(beside_first, of, Relay::Dispatcher, Relay::Floor).await?
        }
    };
    Ok(Trial { round, scenario, fdatasync_us, measured, beside })
}

/// Measures both, one right after the other.
async fn in_turn<T, F: Future<Output = Result<Values>>>(
    beside_first: bool,
    measure: impl Fn(T) -> F,
    measured: T,
    beside: T,
) -> Result<(Values, Option<Values>)> {
    if beside_first {
        let beside = measure(beside).await?;
        Ok((measure(measured).await?, Some(beside)))
    } else {
        let measured = measure(measured).await?;
        Ok((measured, Some(measure(beside).await?)))
    }
}

/// A line of progress.
pub(crate) fn summary(trial: &Trial) -> String {
    let mut figures = figures(trial.scenario, slice::from_ref(trial));
    figures.dedup_by_key(|figure| figure.name);
    let parts = figures.iter().map(|figure| {
        let beside = figure.beside.map_or_else(String::new, |beside| format!(" (beside {})", short(beside)));
        format!("{} {}{beside}", figure.text, short(figure.measured))
    });
    let parts = parts.collect::<Vec<_>>().join(", ");
    let others = trial.taken_by_others().map_or_else(String::new, |taken| format!("  others {:.0} %", taken * 100.0));
    format!("{}  {parts}; fdatasync {:.0} µs{others}", trial.scenario, trial.fdatasync_us)
}
