//! The rounds: every scenario back to back with what it is measured beside, then again.

use std::iter;

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::Cli,
    figures::Trial,
    machine,
    measure::{Measurement, measure},
    programs::Programs,
    scenario::Scenario,
    statistics::highest,
    trials::{Prepared, run_trial, summary},
};

/// All that was measured.
pub(crate) struct Rounds {
    pub(crate) pairs: Vec<Pair>,
    pub(crate) trials: Vec<Trial>,
    pub(crate) soaks: Vec<Measurement>,
}

/// One scenario and the floor, measured one right after the other.
#[derive(Serialize)]
pub(crate) struct Pair {
    pub(crate) round: usize,
    /// What the disk gave just before.
    pub(crate) fdatasync_us: f64,
    pub(crate) floor: Measurement,
    /// What it is measured beside as well, if anything.
    pub(crate) without: Option<Measurement>,
    pub(crate) measured: Measurement,
}

impl Pair {
    pub(crate) fn all(&self) -> impl Iterator<Item = &Measurement> {
        iter::once(&self.floor).chain(self.not_floor())
    }

    /// Those that were measured beside the floor.
    pub(crate) fn not_floor(&self) -> impl Iterator<Item = &Measurement> {
        self.without.iter().chain(iter::once(&self.measured))
    }
}

/// Measures all that `cli` asks for, with a line of progress each.
pub(crate) async fn run(cli: &Cli, programs: &Programs) -> Result<Rounds> {
    let (of_intake, behind): (Vec<_>, Vec<_>) = cli.scenarios().into_iter().partition(|it| it.is_of_intake());
    let prepared = Prepared::make(&behind, cli, programs).await?;
    let (mut pairs, mut trials) = (Vec::new(), Vec::new());
    for round in 1..=cli.rounds {
        for &connections in &cli.connections {
            for &scenario in &of_intake {
                let pair = run_pair(round, scenario, connections, cli, programs).await?;
                eprintln!(
                    "round {round}/{}  {connections:>4} connections  {scenario:<15}  {:>7.0}/s  {:.2} of floor's {:.0}/s  CPU {:.1} µs{}  fdatasync {:.0} µs  others {:.0} %",
                    cli.rounds,
                    pair.measured.per_second,
                    pair.measured.per_second / pair.floor.per_second,
                    pair.floor.per_second,
                    pair.measured.cpu_us,
                    pair.without
                        .as_ref()
                        .map_or_else(String::new, |without| format!(" (beside {:.1})", without.cpu_us)),
                    pair.fdatasync_us,
                    highest(pair.all().map(|measurement| measurement.taken_by_others)) * 100.0,
                );
                pairs.push(pair);
            }
        }
        for &scenario in &behind {
            let trial = run_trial(round, scenario, &prepared, cli, programs).await?;
            eprintln!("round {round}/{}  {}", cli.rounds, summary(&trial));
            trials.push(trial);
        }
    }
    let mut soaks = Vec::new();
    if let Some(seconds) = cli.soak {
        for scenario in [Scenario::Accept, Scenario::WholePath] {
            eprintln!("soak  {scenario}  {seconds} s …");
            soaks.push(measure(scenario, scenario.kind(), cli.connections[0], seconds, cli, programs).await?);
        }
    }
    Ok(Rounds { pairs, trials, soaks })
}

async fn run_pair(
    round: usize,
    scenario: Scenario,
    connections: usize,
    cli: &Cli,
    programs: &Programs,
) -> Result<Pair> {
    let fdatasync_us = machine::fdatasync_us(&cli.dir())?;
    // Who goes first changes from round to round: a machine that slows down meanwhile favours nobody.
    let mut order = vec![Scenario::Floor];
    order.extend(scenario.without());
    order.push(scenario);
    let is_backwards = round.is_multiple_of(2);
    if is_backwards {
        order.reverse();
    }
    let mut measured = Vec::with_capacity(order.len());
    for one in order {
        measured.push(measure(one, scenario.kind(), connections, cli.seconds, cli, programs).await?);
    }
    if is_backwards {
        measured.reverse();
    }
    let (floor, last) = (measured.remove(0), measured.pop().expect("two at least"));
    Ok(Pair { round, fdatasync_us, floor, without: measured.pop(), measured: last })
}
