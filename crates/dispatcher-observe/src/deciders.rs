//! What those that decide know.

use dispatcher_decider::{DeciderCounts, DeciderStatus, State};

use crate::{
    names,
    page::{MICROS, Page},
};

const STATES: [&str; 5] = ["up", "opening", "down", "blocked", "off"];

pub(crate) fn write(page: &mut Page, deciders: &[DeciderStatus]) {
    for decider in deciders {
        let handler = ("handler", decider.name.as_str());
        for (result, count) in results(&decider.counts) {
            page.count(&names::DECISIONS, &[handler, ("result", result)], count);
        }
        page.distribution(&names::DECIDER_TIME, &[handler], &decider.took, MICROS);
        page.state(&names::DECIDER_STATE, &[handler], &STATES, state(&decider.state));
        page.count(&names::DECIDING, &[handler], decider.in_flight as u64);
        let counts = &decider.counts;
        page.count(&names::ILLEGAL, &[handler], counts.illegal);
        page.count(&names::SKIPPED, &[handler], counts.skipped);
        for (name, all, differ) in [
            (&names::LATE, counts.came_late, counts.late_differs),
            (&names::SHADOW, counts.shadow, counts.shadow_differs),
        ] {
            page.count(name, &[handler, ("differs", "yes")], differ);
            // The two were not read at one moment.
            page.count(name, &[handler, ("differs", "no")], all.saturating_sub(differ));
        }
    }
}

fn state(state: &State) -> &'static str {
    match state {
        State::Up => "up",
        State::Opening => "opening",
        State::Down(_) => "down",
        State::Blocked => "blocked",
        State::Off(_) => "off",
    }
}

fn results(counts: &DeciderCounts) -> [(&'static str, u64); 11] {
    [
        ("no_opinion", counts.no_opinion),
        ("allowed", counts.allowed),
        ("refused", counts.refused),
        ("refused_some", counts.refused_some),
        ("dropped", counts.dropped),
        ("rewritten", counts.rewritten),
        ("answered", counts.answered),
        ("late", counts.late),
        ("failed", counts.failed),
        ("busy", counts.busy),
        ("unreached", counts.unreached),
    ]
}
