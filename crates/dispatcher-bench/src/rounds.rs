//! The rounds: every scenario back to back with what it is measured beside, then again.

use anyhow::Result;
use serde::Serialize;

use crate::{
    backlog::Backlog,
    cli::Cli,
    dead_sink, drain,
    figures::{Trial, Values, figures},
    machine,
    measure::{Measurement, measure},
    programs::Programs,
    relay::{self, Relay},
    reopen::Reopen,
    scenario::Scenario,
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

/// What takes long to make, and is made once.
struct Prepared {
    backlog: Option<Backlog>,
    reopen: Option<Reopen>,
}

impl Prepared {
    async fn make(scenarios: &[Scenario], cli: &Cli, programs: &Programs) -> Result<Self> {
        let mut prepared = Self { backlog: None, reopen: None };
        if scenarios.iter().any(|scenario| !scenario.is_relay()) {
            let backlog = Backlog::make(cli, programs).await?;
            if scenarios.contains(&Scenario::Reopen) {
                prepared.reopen = Some(Reopen::prepare(&backlog, cli)?);
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

async fn run_trial(
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

fn summary(trial: &Trial) -> String {
    let figures = figures(trial.scenario, std::slice::from_ref(trial));
    let parts = figures.iter().map(|figure| {
        let beside = figure.beside.map_or_else(String::new, |beside| format!(" (beside {beside:.2})"));
        format!("{} {:.2}{beside}", figure.text, figure.measured)
    });
    let parts: Vec<_> = parts.collect();
    let (fdatasync_us, others) = (trial.fdatasync_us, trial.taken_by_others() * 100.0);
    format!("{}  {}; fdatasync {fdatasync_us:.0} µs  others {others:.0} %", trial.scenario, parts.join(", "))
}
