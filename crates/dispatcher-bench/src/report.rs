//! What was measured, as a table and the bars for people, and as JSON.

use std::fmt;

use clap::ValueEnum;
use serde::Serialize;

use crate::{
    cli::Cli,
    figures::{self, Figure, Trial, figures},
    machine::Machine,
    measure::{Measurement, Sample},
    rounds::{Pair, Rounds},
    scenario::Scenario,
    statistics::{highest, median},
    table::table,
    traffic::Kind,
};

/// Everything, in the order in which it is printed.
#[derive(Serialize)]
pub(crate) struct Report {
    machine: Machine,
    rounds: usize,
    seconds: f64,
    warmup: f64,
    server_cores: Option<String>,
    generator_cores: Option<String>,
    fdatasync_us: Option<f64>,
    /// In the worst of all measurements.
    taken_by_others: f64,
    /// Callbacks that were answered and not journaled, in all measurements.
    unrecorded: u64,
    rows: Vec<Row>,
    bars: Vec<Bar>,
    /// Of the scenarios behind the intake, with their bars.
    figures: Vec<Figure>,
    soaks: Vec<Measurement>,
    pairs: Vec<Pair>,
    trials: Vec<Trial>,
}

/// Medians over the rounds.
#[derive(Serialize)]
struct Row {
    name: String,
    connections: usize,
    per_second: f64,
    /// The median of the rounds' ratios, not the ratio of the medians.
    throughput_ratio: f64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    cpu_us: f64,
    cpu_ratio: f64,
    /// The highest of all rounds.
    peak_rss_mib: f64,
    generator_cpu_us: f64,
}

#[derive(Serialize)]
struct Bar {
    name: String,
    must: f64,
    aim: Option<f64>,
    measured: f64,
    #[serde(skip)]
    better: Better,
    verdict: &'static str,
}

#[derive(Clone, Copy)]
enum Better {
    More,
    Less,
}

impl Report {
    pub(crate) fn new(cli: &Cli, rounds: Rounds) -> Self {
        let Rounds { pairs, trials, soaks } = rounds;
        let rows = rows(&pairs);
        let disk = pairs.iter().map(|pair| pair.fdatasync_us).chain(trials.iter().map(|trial| trial.fdatasync_us));
        let disk: Vec<_> = disk.collect();
        let measurements = pairs.iter().flat_map(Pair::all);
        let taken = measurements.map(|measurement| measurement.taken_by_others);
        Self {
            machine: Machine::this(),
            rounds: cli.rounds,
            seconds: cli.seconds,
            warmup: cli.warmup,
            server_cores: cli.server_cores.clone(),
            generator_cores: cli.generator_cores.clone(),
            fdatasync_us: (!disk.is_empty()).then(|| median(disk)),
            taken_by_others: highest(taken.chain(trials.iter().filter_map(Trial::taken_by_others))),
            unrecorded: pairs.iter().flat_map(Pair::all).map(|measurement| measurement.unrecorded).sum(),
            bars: bars(&rows, &pairs, &soaks),
            rows,
            figures: Scenario::value_variants().iter().flat_map(|&scenario| figures(scenario, &trials)).collect(),
            soaks,
            pairs,
            trials,
        }
    }
}

/// Each floor first, then the scenarios that were measured beside it, each in ascending connections.
fn rows(pairs: &[Pair]) -> Vec<Row> {
    let mut counts: Vec<_> = pairs.iter().map(|pair| pair.measured.connections).collect();
    counts.sort_unstable();
    counts.dedup();
    let mut rows = Vec::new();
    for (kind, floor) in [(Kind::AttributesChanged, "floor"), (Kind::Message, "floor, messages")] {
        for &connections in &counts {
            let is_meant =
                |pair: &&Pair| pair.measured.connections == connections && pair.measured.scenario.kind() == kind;
            let floors: Vec<_> = pairs.iter().filter(is_meant).map(|pair| &pair.floor).collect();
            if !floors.is_empty() {
                rows.push(row(floor.into(), &floors, 1.0, 1.0));
            }
        }
        for &scenario in Scenario::value_variants().iter().filter(|scenario| scenario.kind() == kind) {
            rows.extend(counts.iter().filter_map(|&connections| row_of(scenario, connections, pairs)));
        }
    }
    rows
}

/// What was measured of a scenario beside the floor, whether for itself or for another to be compared with.
fn row_of(scenario: Scenario, connections: usize, pairs: &[Pair]) -> Option<Row> {
    let is_meant = |measured: &&Measurement| measured.scenario == scenario && measured.connections == connections;
    let of_scenario: Vec<_> =
        pairs.iter().filter_map(|pair| Some((pair.not_floor().find(is_meant)?, &pair.floor))).collect();
    if of_scenario.is_empty() {
        return None;
    }
    let name = if scenario == Scenario::Floor { "floor again".into() } else { scenario.to_string() };
    let measured: Vec<_> = of_scenario.iter().map(|&(measured, _)| measured).collect();
    let of = |figure| median_ratio(of_scenario.iter().copied(), figure);
    Some(row(name, &measured, of(|m| m.per_second), of(|m| m.cpu_us)))
}

/// The median of the rounds' ratios.
fn median_ratio<'a>(
    pairs: impl Iterator<Item = (&'a Measurement, &'a Measurement)>,
    figure: fn(&Measurement) -> f64,
) -> f64 {
    median(pairs.map(|(measured, beside)| figure(measured) / figure(beside)).collect())
}

fn row(name: String, measured: &[&Measurement], throughput_ratio: f64, cpu_ratio: f64) -> Row {
    let of = |figure: fn(&Measurement) -> f64| median(measured.iter().map(|measurement| figure(measurement)).collect());
    Row {
        name,
        connections: measured[0].connections,
        per_second: of(|m| m.per_second),
        throughput_ratio,
        p50_us: of(|m| m.load.p50_us),
        p99_us: of(|m| m.load.p99_us),
        p999_us: of(|m| m.load.p999_us),
        cpu_us: of(|m| m.cpu_us),
        cpu_ratio,
        peak_rss_mib: highest(measured.iter().map(|m| m.peak_rss_mib)),
        generator_cpu_us: of(|m| m.load.generator_cpu_us),
    }
}

/// The bars that the project set itself, as far as they were measured.
fn bars(rows: &[Row], pairs: &[Pair], soaks: &[Measurement]) -> Vec<Bar> {
    let mut bars = Vec::new();
    for row in rows {
        let (name, connections) = (row.name.as_str(), row.connections);
        let mut bar = |figure: &str, must, aim, measured, better| {
            let name = format!("{name}, {connections} connections: {figure}");
            bars.push(Bar::new(name, must, Some(aim), measured, better));
        };
        let throughput = row.throughput_ratio;
        match (name, connections) {
            ("accept", 64) => bar("throughput ÷ floor", 0.55, 0.65, throughput, Better::More),
            ("accept", 256) => bar("throughput ÷ floor", 0.60, 0.75, throughput, Better::More),
            ("accept-sync-off", _) => bar("throughput ÷ floor", 0.80, 1.0, throughput, Better::More),
            ("whole-path", _) => bar("callbacks until the last line ÷ floor", 0.30, 0.45, throughput, Better::More),
            _ => {}
        }
        if name == "accept" {
            bar("CPU per callback ÷ floor", 1.8, 1.5, row.cpu_ratio, Better::Less);
        }
        if name == Scenario::Decide.to_string() {
            let of_row = pairs.iter().filter(|pair| pair.measured.scenario == Scenario::Decide);
            let of_row = of_row.filter(|pair| pair.measured.connections == connections);
            let beside = of_row.filter_map(|pair| Some((&pair.measured, pair.without.as_ref()?)));
            let ratio = median_ratio(beside, |m| m.cpu_us);
            let name = format!("{name}, {connections} connections: CPU per callback ÷ allow");
            bars.push(Bar::new(name, 1.5, None, ratio, Better::Less));
        }
    }
    // Where the answer does not wait for the journal, what waits for that at full load is memory, up to a limit of its own.
    let is_meant = |row: &&Row| ["accept", "whole-path"].iter().any(|name| row.name.starts_with(name));
    let peaks = rows.iter().filter(is_meant).map(|row| row.peak_rss_mib);
    let peak = peaks.chain(soaks.iter().map(|soak| soak.peak_rss_mib)).fold(0.0, f64::max);
    if peak > 0.0 {
        bars.push(Bar::new("highest peak RSS, MiB".into(), 48.0, Some(24.0), peak, Better::Less));
    }
    bars
}

impl Bar {
    fn new(name: String, must: f64, aim: Option<f64>, measured: f64, better: Better) -> Self {
        let meets = |limit| match better {
            Better::More => measured >= limit,
            Better::Less => measured <= limit,
        };
        let verdict = match (meets(must), aim.map(meets)) {
            (false, _) => "must MISSED",
            (true, None) => "must met",
            (true, Some(false)) => "must met, aim missed",
            (true, Some(true)) => "must met, aim met",
        };
        Self { name, must, aim, measured, better, verdict }
    }
}

/// Whether memory stopped growing: after a third of the time, it stays within 10 % and 1 MiB of what it was there.
/// `None` when there are too few samples to tell.
fn is_flat(memory: &[Sample]) -> Option<bool> {
    let (settled, later) = memory.get(memory.len() / 3..)?.split_first()?;
    let most = later.iter().map(|sample| sample.rss_mib).reduce(f64::max)?;
    Some(most <= settled.rss_mib * 1.1 + 1.0)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { cores, cpu, kernel } = &self.machine;
        writeln!(f, "\n{cpu}, {cores} cores shared with the load generator, Linux {kernel}")?;
        for (who, cores) in [("servers", &self.server_cores), ("generator", &self.generator_cores)] {
            if let Some(cores) = cores {
                writeln!(f, "{who} kept on cores {cores}")?;
            }
        }
        if let Some(fdatasync_us) = self.fdatasync_us {
            let (n_rounds, seconds) = (self.rounds, self.seconds);
            writeln!(f, "rounds: {n_rounds}, {seconds} s each; one fdatasync takes {fdatasync_us:.0} µs")?;
            if fdatasync_us < 10.0 {
                writeln!(f, "NOT A DISK: nothing here shows what durability costs; choose another --dir")?;
            }
            let taken = self.taken_by_others * 100.0;
            writeln!(f, "other programs took up to {taken:.0} % of the cores")?;
            if taken > 10.0 {
                writeln!(f, "NOT QUIET: something else was running; what follows is coarse")?;
            }
        }
        if self.unrecorded > 0 {
            let unrecorded = self.unrecorded;
            writeln!(
                f,
                "NOT ALL RECORDED: {unrecorded} decisions are not in the journal, and cost less than the others"
            )?;
        }
        if !self.rows.is_empty() {
            writeln!(f, "\n{}", table(HEAD, self.rows.iter().map(cells)))?;
        }
        for Bar { name, must, aim, measured, better, verdict } in &self.bars {
            let sign = match better {
                Better::More => '≥',
                Better::Less => '≤',
            };
            let aim = aim.map_or_else(String::new, |aim| format!(", aim {sign} {aim}"));
            writeln!(f, "{name}: {measured:.2}  (must {sign} {must}{aim}: {verdict})")?;
        }
        if !self.figures.is_empty() {
            writeln!(f, "\n{}", table(figures::HEAD, self.figures.iter().map(figures::cells)))?;
        }
        for Measurement { scenario, connections, memory, peak_rss_mib, load, behind_seconds, .. } in &self.soaks {
            let rate = load.requests as f64 / load.seconds;
            write!(f, "\nsoak {scenario}, {connections} connections, {:.0} s at {rate:.0}/s: RSS MiB", load.seconds)?;
            for Sample { at_seconds, rss_mib } in memory {
                write!(f, "  {at_seconds} s {rss_mib:.1}")?;
            }
            let verdict = match is_flat(memory) {
                Some(true) => "flat",
                Some(false) => "NOT flat",
                None => "too short to tell",
            };
            writeln!(f, "  peak {peak_rss_mib:.1}: {verdict}")?;
            if *behind_seconds > 0.0 {
                writeln!(f, "  the last line was written {behind_seconds:.1} s after the last answer")?;
            }
        }
        Ok(())
    }
}

const HEAD: &[&str] = &[
    "scenario",
    "connections",
    "callbacks/s",
    "÷ floor",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "CPU µs",
    "÷ floor",
    "peak RSS MiB",
    "generator µs",
];

fn cells(row: &Row) -> Vec<String> {
    vec![
        row.name.clone(),
        row.connections.to_string(),
        format!("{:.0}", row.per_second),
        format!("{:.2}", row.throughput_ratio),
        format!("{:.2}", row.p50_us / 1e3),
        format!("{:.2}", row.p99_us / 1e3),
        format!("{:.2}", row.p999_us / 1e3),
        format!("{:.1}", row.cpu_us),
        format!("{:.2}", row.cpu_ratio),
        format!("{:.1}", row.peak_rss_mib),
        format!("{:.1}", row.generator_cpu_us),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Load;

    fn measurement(scenario: Scenario, per_second: f64, cpu_us: f64) -> Measurement {
        let load = Load {
            requests: 1_000,
            seconds: 1.0,
            p50_us: 600.0,
            p99_us: 1_234.0,
            p999_us: 5_678.0,
            generator_cpu_us: 4.5,
            parts: vec![],
        };
        Measurement {
            scenario,
            connections: 64,
            per_second,
            cpu_us,
            unrecorded: 0,
            peak_rss_mib: 6.0,
            taken_by_others: 0.0,
            behind_seconds: 0.0,
            memory: vec![],
            load,
        }
    }

    fn pair(round: usize, floor: (f64, f64), accept: (f64, f64)) -> Pair {
        Pair {
            round,
            fdatasync_us: 300.0,
            floor: measurement(Scenario::Floor, floor.0, floor.1),
            without: None,
            measured: measurement(Scenario::Accept, accept.0, accept.1),
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        // The machine is twice as fast in the second round: the medians' ratio would be 0.75, and wrong.
        let pairs = [
            pair(1, (100.0, 10.0), (60.0, 15.0)),
            pair(2, (200.0, 5.0), (120.0, 7.5)),
            pair(3, (100.0, 10.0), (75.0, 18.0)),
        ];
        let rows = rows(&pairs);
        assert_eq!(rows[1].name, "accept");
        assert_eq!(rows[1].throughput_ratio, 0.6);
        assert_eq!(rows[1].cpu_ratio, 1.5);
        assert_eq!(rows[1].per_second, 75.0);
    }

    #[test]
    fn the_table_is_aligned_markdown() {
        let rows = rows(&[pair(1, (98_765.4, 10.0), (60_000.0, 15.25))]);
        let expected = "\
| scenario | connections | callbacks/s | ÷ floor | p50 ms | p99 ms | p99.9 ms | CPU µs | ÷ floor | peak RSS MiB | generator µs |
|----------|------------:|------------:|--------:|-------:|-------:|---------:|-------:|--------:|-------------:|-------------:|
| floor    |          64 |       98765 |    1.00 |   0.60 |   1.23 |     5.68 |   10.0 |    1.00 |          6.0 |          4.5 |
| accept   |          64 |       60000 |    0.61 |   0.60 |   1.23 |     5.68 |   15.2 |    1.52 |          6.0 |          4.5 |
";
        assert_eq!(table(HEAD, rows.iter().map(cells)), expected);
    }

    #[test]
    fn a_bar_says_what_was_met() {
        let verdicts: Vec<_> = bars(&rows(&[pair(1, (100.0, 10.0), (60.0, 19.0))]), &[], &[])
            .into_iter()
            .map(|bar| (bar.name, bar.verdict))
            .collect();
        let expected = [
            ("accept, 64 connections: throughput ÷ floor", "must met, aim missed"),
            ("accept, 64 connections: CPU per callback ÷ floor", "must MISSED"),
            ("highest peak RSS, MiB", "must met, aim met"),
        ];
        assert_eq!(verdicts, expected.map(|(name, verdict)| (name.to_owned(), verdict)));
    }

    #[test]
    fn what_deciding_costs_is_a_ratio_to_not_deciding() {
        let pair = |allow_us, decide_us| Pair {
            without: Some(measurement(Scenario::Allow, 90.0, allow_us)),
            measured: measurement(Scenario::Decide, 50.0, decide_us),
            ..pair(1, (100.0, 10.0), (0.0, 0.0))
        };
        let pairs = [pair(20.0, 28.0), pair(20.0, 31.0), pair(40.0, 64.0)];
        let rows = rows(&pairs);
        let named: Vec<_> = rows.iter().map(|row| (&*row.name, row.cpu_ratio, row.throughput_ratio)).collect();
        assert_eq!(named, [("floor, messages", 1.0, 1.0), ("allow", 2.0, 0.9), ("decide", 3.1, 0.5)]);
        let bars = bars(&rows, &pairs, &[]);
        assert_eq!(bars.len(), 1);
        assert_eq!((bars[0].measured, bars[0].verdict), (1.55, "must MISSED"));
    }

    #[test]
    fn memory_is_flat_when_it_stays_where_it_settled() {
        for (rss, flat) in [
            (&[10.0, 20.0, 20.0, 21.0, 20.5, 22.0][..], Some(true)),
            (&[10.0, 20.0, 22.0, 24.0, 26.0, 28.0], Some(false)),
            (&[10.0], None),
            (&[], None),
        ] {
            let memory: Vec<_> =
                rss.iter().enumerate().map(|(i, &rss_mib)| Sample { at_seconds: 10 * i as u64, rss_mib }).collect();
            assert_eq!(is_flat(&memory), flat, "{rss:?}");
        }
    }
}
