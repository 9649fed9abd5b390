//! What the scenarios behind the intake measure, how it is compared, and the bars that the project set itself.

use std::{collections::BTreeMap, iter};

use serde::Serialize;

use crate::{
    scenario::Scenario,
    statistics::{highest, median},
};

pub(crate) const PER_SECOND: &str = "per_second";
/// Per event, all threads, user and kernel.
pub(crate) const CPU_US: &str = "cpu_us";
pub(crate) const PEAK_RSS_MIB: &str = "peak_rss_mib";
pub(crate) const P50_MS: &str = "p50_ms";
pub(crate) const P99_MS: &str = "p99_ms";
/// The longest answer by the dispatcher's own clock, from a request's head to its reply.
pub(crate) const LONGEST_MS: &str = "longest_ms";
/// The longest answer to a callback whose decider does not come back, by the client's clock, from when it was due.
pub(crate) const HUNG_LONGEST_MS: &str = "hung_longest_ms";
/// Answers to such callbacks that are not the default.
pub(crate) const HUNG_OTHERWISE: &str = "hung_otherwise";
/// Answers to all others that are not what they ought to be.
pub(crate) const UNDECIDED: &str = "undecided";
pub(crate) const DECIDED_P50_MS: &str = "decided_p50_ms";
pub(crate) const DECIDED_P99_MS: &str = "decided_p99_ms";
pub(crate) const ACCEPTED_P50_MS: &str = "accepted_p50_ms";
pub(crate) const ACCEPTED_P99_MS: &str = "accepted_p99_ms";
/// Where the machine's host took no core.
pub(crate) const DECIDED_CALM_P99_MS: &str = "decided_calm_p99_ms";
pub(crate) const ACCEPTED_CALM_P99_MS: &str = "accepted_calm_p99_ms";
/// The share of the callbacks that were due where it took none.
pub(crate) const CALM: &str = "calm";
/// The longest time that a slow client held a place.
pub(crate) const HELD_SECONDS: &str = "held_seconds";
/// How many slow clients were there at the end.
pub(crate) const SLOW_OPEN: &str = "slow_open";
/// Callbacks per second that it took when as many came as it could answer.
pub(crate) const SUSTAINED: &str = "sustained";
/// Callbacks per second that were answered under overload, however.
pub(crate) const OFFERED: &str = "offered";
/// After callbacks answered OK, and refused, under overload, per second.
pub(crate) const ACCEPTED: &str = "accepted";
pub(crate) const REFUSED: &str = "refused";
/// Acknowledged callbacks that are not in the journal.
pub(crate) const LOST: &str = "lost";
/// With the page cache as the killed process left it.
pub(crate) const WARM_SECONDS: &str = "warm_seconds";
/// With the page cache dropped.
pub(crate) const COLD_SECONDS: &str = "cold_seconds";
pub(crate) const JOURNAL_GB: &str = "journal_gb";
/// The share of all cores that went to neither the server nor the benchmark.
pub(crate) const OTHERS: &str = "taken_by_others";

/// What one measurement gave, by the names above.
pub(crate) type Values = BTreeMap<&'static str, f64>;

/// One round of one scenario.
#[derive(Serialize)]
pub(crate) struct Trial {
    pub(crate) round: usize,
    pub(crate) scenario: Scenario,
    /// What the disk gave just before.
    pub(crate) fdatasync_us: f64,
    pub(crate) measured: Values,
    /// The same without what is measured, or by the floor; right before or after.
    pub(crate) beside: Option<Values>,
}

impl Trial {
    /// In the worse of both measurements; none where it was not measured.
    pub(crate) fn taken_by_others(&self) -> Option<f64> {
        let all = iter::once(&self.measured).chain(&self.beside);
        all.filter_map(|values| values.get(OTHERS).copied()).reduce(f64::max)
    }
}

/// One figure over all rounds.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) scenario: Scenario,
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
    pub(crate) measured: f64,
    pub(crate) beside: Option<f64>,
    /// What the bar is about: the median of the rounds' own ratios or differences, or the figure itself.
    pub(crate) compared: f64,
    pub(crate) comparison: Comparison,
    pub(crate) bar: Option<Bar>,
    pub(crate) is_met: Option<bool>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Comparison {
    /// With nothing but its bar.
    Itself,
    Ratio,
    Difference,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bar {
    AtLeast(f64),
    AtMost(f64),
}

use Bar::{AtLeast, AtMost};
use Comparison::{Difference, Itself, Ratio};

/// The deadline, and what an answer may take beyond it.
const IN_TIME: Option<Bar> = Some(AtMost(1_550.0));

/// Figures whose worst counts over all rounds: what may never be, and memory, which was once taken.
const WORST: &[&str] = &[PEAK_RSS_MIB, LONGEST_MS, HUNG_LONGEST_MS, HUNG_OTHERWISE, UNDECIDED, HELD_SECONDS, LOST];

type Spec = (&'static str, &'static str, Comparison, Option<Bar>);

/// The figures of a scenario, in the order in which they are shown.
fn specs(scenario: Scenario) -> &'static [Spec] {
    match scenario {
        Scenario::Relay => &[
            (PER_SECOND, "arrived/s", Ratio, Some(AtLeast(0.5))),
            (CPU_US, "CPU µs each", Ratio, Some(AtMost(2.2))),
            (PEAK_RSS_MIB, "peak RSS MiB", Itself, None),
        ],
        Scenario::RelaySlow => &[
            (PER_SECOND, "arrived/s", Ratio, Some(AtLeast(0.9))),
            (CPU_US, "CPU µs each", Ratio, None),
            (PEAK_RSS_MIB, "peak RSS MiB", Itself, None),
        ],
        Scenario::Drain => &[
            (PER_SECOND, "events/s", Itself, Some(AtLeast(50_000.0))),
            (CPU_US, "CPU µs each", Itself, None),
            (PEAK_RSS_MIB, "peak RSS MiB", Itself, None),
        ],
        Scenario::DeadSink => &[
            (PER_SECOND, "other sink, lines/s", Ratio, Some(AtLeast(0.9))),
            (CPU_US, "CPU µs per callback", Ratio, None),
            (P99_MS, "intake p99 ms", Ratio, Some(AtMost(1.5))),
            (P99_MS, "intake p99 ms", Difference, Some(AtMost(5.0))),
            (P50_MS, "intake p50 ms", Ratio, None),
            (PEAK_RSS_MIB, "peak RSS MiB", Itself, Some(AtMost(96.0))),
        ],
        Scenario::Reopen => &[
            (WARM_SECONDS, "s to the first OK, page cache kept", Itself, Some(AtMost(1.0))),
            (COLD_SECONDS, "s to the first OK, page cache dropped", Itself, Some(AtMost(1.0))),
            (JOURNAL_GB, "journal GB", Itself, None),
        ],
        Scenario::DecideHang => &[
            (LONGEST_MS, "longest answer by the dispatcher's clock, ms", Itself, IN_TIME),
            (HUNG_LONGEST_MS, "longest by the client's clock, from when it was due, ms", Itself, IN_TIME),
            (UNDECIDED, "the half that is decided: answers not as decided", Itself, Some(AtMost(0.0))),
            (HUNG_OTHERWISE, "the half that hangs: answers not the default", Itself, Some(AtMost(0.0))),
            (P50_MS, "the half that is decided: p50 ms", Itself, None),
            (P99_MS, "the half that is decided: p99 ms", Itself, None),
            (CPU_US, "CPU µs per callback", Itself, None),
            (PEAK_RSS_MIB, "peak RSS MiB", Itself, None),
        ],
        Scenario::DecideBlocked => &[
            (DECIDED_P99_MS, "other decider, p99 ms", Ratio, Some(AtMost(1.5))),
            (DECIDED_P99_MS, "other decider, p99 ms", Difference, Some(AtMost(5.0))),
            (DECIDED_P50_MS, "other decider, p50 ms", Ratio, None),
            (ACCEPTED_P99_MS, "after callbacks, p99 ms", Ratio, Some(AtMost(1.5))),
            (ACCEPTED_P99_MS, "after callbacks, p99 ms", Difference, Some(AtMost(5.0))),
            (ACCEPTED_P50_MS, "after callbacks, p50 ms", Ratio, None),
            (UNDECIDED, "both: answers not as they ought to be", Itself, Some(AtMost(0.0))),
            (HUNG_OTHERWISE, "the blocked one's callers: answers not the default", Itself, Some(AtMost(0.0))),
            (HUNG_LONGEST_MS, "their longest wait, ms", Itself, IN_TIME),
            (PEAK_RSS_MIB, "peak RSS MiB", Itself, None),
        ],
        Scenario::SlowClients => &[
            (ACCEPTED_CALM_P99_MS, "after callbacks, p99 ms where the host took no core", Ratio, Some(AtMost(1.5))),
            (
                ACCEPTED_CALM_P99_MS,
                "after callbacks, p99 ms where the host took no core",
                Difference,
                Some(AtMost(5.0)),
            ),
            (ACCEPTED_P99_MS, "after callbacks, p99 ms", Ratio, None),
            (ACCEPTED_P50_MS, "after callbacks, p50 ms", Ratio, None),
            (DECIDED_CALM_P99_MS, "before callbacks, p99 ms where the host took no core", Ratio, Some(AtMost(1.5))),
            (
                DECIDED_CALM_P99_MS,
                "before callbacks, p99 ms where the host took no core",
                Difference,
                Some(AtMost(5.0)),
            ),
            (DECIDED_P99_MS, "before callbacks, p99 ms", Ratio, None),
            (DECIDED_P50_MS, "before callbacks, p50 ms", Ratio, None),
            (CALM, "share of callbacks due where the host took no core", Ratio, None),
            // Ten seconds is the longest limit, from when the server has accepted the connection.
            (HELD_SECONDS, "longest that a slow one held a place, s", Itself, Some(AtMost(11.0))),
            (SLOW_OPEN, "slow clients at the end", Itself, None),
            (PEAK_RSS_MIB, "peak RSS MiB", Itself, None),
        ],
        Scenario::Overload => &[
            (SUSTAINED, "callbacks/s it can take", Itself, None),
            (OFFERED, "callbacks/s answered, refusals included", Itself, None),
            (ACCEPTED, "answered OK/s", Itself, None),
            (REFUSED, "refused/s", Itself, None),
            (LOST, "acknowledged and not in the journal", Itself, Some(AtMost(0.0))),
            (LONGEST_MS, "longest decision by the dispatcher's clock, ms", Itself, IN_TIME),
            (PEAK_RSS_MIB, "peak RSS MiB", Itself, Some(AtMost(128.0))),
            (ACCEPTED_P99_MS, "p99 ms from two seconds after, beside before", Ratio, Some(AtMost(1.5))),
            (ACCEPTED_P99_MS, "p99 ms from two seconds after, beside before", Difference, Some(AtMost(5.0))),
            (ACCEPTED_P50_MS, "p50 ms, the same", Ratio, None),
        ],
        scenario => {
            debug_assert!(scenario.is_of_intake(), "those have a table of their own");
            &[]
        }
    }
}

/// The figures of `scenario`, as far as they were measured.
pub(crate) fn figures(scenario: Scenario, trials: &[Trial]) -> Vec<Figure> {
    let trials: Vec<_> = trials.iter().filter(|trial| trial.scenario == scenario).collect();
    let mut figures = Vec::new();
    for &(name, text, comparison, bar) in specs(scenario) {
        let beside = |trial: &Trial| trial.beside.as_ref()?.get(name).copied();
        let values = trials.iter().filter_map(|trial| Some((*trial.measured.get(name)?, beside(trial))));
        let (measured, besides): (Vec<_>, Vec<_>) =
            values.filter(|(_, beside)| comparison == Itself || beside.is_some()).unzip();
        if measured.is_empty() {
            continue;
        }
        let besides: Vec<_> = besides.into_iter().flatten().collect();
        let over = if WORST.contains(&name) { highest } else { median };
        let pairs = measured.iter().zip(&besides);
        let compared = match comparison {
            Itself => over(measured.clone()),
            Ratio => median(pairs.map(|(measured, beside)| measured / beside).collect()),
            Difference => median(pairs.map(|(measured, beside)| measured - beside).collect()),
        };
        figures.push(Figure {
            scenario,
            name,
            text,
            measured: over(measured),
            beside: (!besides.is_empty()).then(|| over(besides)),
            compared,
            comparison,
            bar,
            is_met: bar.map(|bar| bar.is_met(compared)),
        });
    }
    figures
}

impl Bar {
    fn is_met(self, value: f64) -> bool {
        match self {
            AtLeast(limit) => value >= limit,
            AtMost(limit) => value <= limit,
        }
    }
}

/// The cells of a figure's row, under [`HEAD`].
pub(crate) fn cells(figure: &Figure) -> Vec<String> {
    let compared = match figure.comparison {
        Itself => String::new(),
        Ratio => format!("× {:.2}", figure.compared),
        Difference => format!("{:+.2}", figure.compared),
    };
    let bar = match figure.bar {
        Some(AtLeast(limit)) => format!("≥ {limit}"),
        Some(AtMost(limit)) => format!("≤ {limit}"),
        None => String::new(),
    };
    let verdict = figure.is_met.map_or("", |is_met| if is_met { "met" } else { "MISSED" });
    let beside = figure.beside.map_or_else(String::new, short);
    vec![format!("{}: {}", figure.scenario, figure.text), short(figure.measured), beside, compared, bar, verdict.into()]
}

pub(crate) const HEAD: &[&str] = &["scenario", "measured", "beside", "compared", "bar", ""];

/// Three digits are more than any of this is good for, but people look for the rest.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        1_000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(scenario: Scenario, measured: &[(&'static str, f64)], beside: &[(&'static str, f64)]) -> Trial {
        let values = |values: &[(&'static str, f64)]| values.iter().copied().collect::<Values>();
        let beside = (!beside.is_empty()).then(|| values(beside));
        Trial { round: 1, scenario, fdatasync_us: 300.0, measured: values(measured), beside }
    }

    #[test]
    fn ratios_and_differences_are_those_of_the_rounds() {
        // The machine is half as fast in the second round.
        let rounds = [(60.0, 100.0, 4.0, 2.0), (28.0, 50.0, 8.0, 4.0), (70.0, 100.0, 3.0, 2.0)];
        let trials = rounds.map(|(lines, without, p99, p99_without)| {
            let beside = [(PER_SECOND, without), (P99_MS, p99_without), (PEAK_RSS_MIB, 20.0)];
            trial(Scenario::DeadSink, &[(PER_SECOND, lines), (P99_MS, p99), (PEAK_RSS_MIB, lines)], &beside)
        });
        let rows: Vec<_> = figures(Scenario::DeadSink, &trials).iter().map(cells).collect();
        let expected = [
            ["dead-sink: other sink, lines/s", "60.0", "100.0", "× 0.60", "≥ 0.9", "MISSED"],
            ["dead-sink: intake p99 ms", "4.000", "2.000", "× 2.00", "≤ 1.5", "MISSED"],
            ["dead-sink: intake p99 ms", "4.000", "2.000", "+2.00", "≤ 5", "met"],
            ["dead-sink: peak RSS MiB", "70.0", "20.0", "", "≤ 96", "met"],
        ];
        assert_eq!(rows, expected.map(|row| row.map(String::from).to_vec()));
    }

    #[test]
    fn one_answer_that_is_late_or_wrong_in_any_round_misses_the_bar() {
        let rounds = [(1_501.0, 0.0), (1_551.0, 0.0), (1_502.0, 1.0)];
        let trials = rounds.map(|(longest, undecided)| {
            trial(Scenario::DecideHang, &[(LONGEST_MS, longest), (UNDECIDED, undecided)], &[])
        });
        let rows: Vec<_> = figures(Scenario::DecideHang, &trials).iter().map(cells).collect();
        let expected = [
            ["decide-hang: longest answer by the dispatcher's clock, ms", "1551", "", "", "≤ 1550", "MISSED"],
            ["decide-hang: the half that is decided: answers not as decided", "1.000", "", "", "≤ 0", "MISSED"],
        ];
        assert_eq!(rows, expected.map(|row| row.map(String::from).to_vec()));
    }

    #[test]
    fn what_was_not_measured_is_not_shown() {
        let trials = [trial(Scenario::Reopen, &[(WARM_SECONDS, 1.25)], &[])];
        let rows: Vec<_> = figures(Scenario::Reopen, &trials).iter().map(cells).collect();
        let expected = ["reopen: s to the first OK, page cache kept", "1.250", "", "", "≤ 1", "MISSED"];
        assert_eq!(rows, [expected.map(String::from).to_vec()]);
        assert!(figures(Scenario::Relay, &trials).is_empty());
    }
}
