//! The rounds: every scenario back to back with what it is measured beside, then again.

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::Cli,
    figures::Trial,
    machine,
    measure::{Measurement, measure},
    programs::Programs,
    scenario::Scenario,
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
    pub(crate) measured: Measurement,
}

impl Pair {
    pub(crate) fn throughput_ratio(&self) -> f64 {
        self.measured.per_second / self.floor.per_second
    }

    pub(crate) fn cpu_ratio(&self) -> f64 {
        self.measured.cpu_us / self.floor.cpu_us
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
                    "round {round}/{}  {connections:>4} connections  {scenario:<15}  {:>7.0}/s  {:.2} of floor's {:.0}/s  CPU {:.1} µs  fdatasync {:.0} µs  others {:.0} %",
                    cli.rounds,
                    pair.measured.per_second,
                    pair.throughput_ratio(),
                    pair.floor.per_second,
                    pair.measured.cpu_us,
                    pair.fdatasync_us,
                    pair.floor.taken_by_others.max(pair.measured.taken_by_others) * 100.0,
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
            soaks.push(measure(scenario, cli.connections[0], seconds, cli, programs).await?);
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
    let of = |scenario| measure(scenario, connections, cli.seconds, cli, programs);
    // Who goes first changes from round to round: a machine that slows down meanwhile favours neither.
    let (floor, measured) = if round % 2 == 1 {
        let floor = of(Scenario::Floor).await?;
        (floor, of(scenario).await?)
    } else {
        let measured = of(scenario).await?;
        (of(Scenario::Floor).await?, measured)
    };
    Ok(Pair { round, fdatasync_us, floor, measured })
}
