//! What the intake knows.

use dispatcher_core::Timestamp;
use dispatcher_intake::{Outcome, Refusal, Road};

use crate::{
    names,
    page::{MICROS, Page},
    sources::Observed,
};

pub(crate) fn write(page: &mut Page, observed: &Observed) {
    let counters = &observed.sources.intake;
    let now = Timestamp::now();
    for app in counters.apps() {
        let name = app.app.name();
        for count in &app.commands {
            let labels = [("app", name), ("command", count.command), ("outcome", count.outcome.name())];
            page.count(&names::CALLBACKS, &labels, count.count);
        }
        for (token, &count) in app.signed.iter().enumerate().filter(|&(_, &count)| count > 0) {
            page.count(&names::TOKENS, &[("app", name), ("token", &token.to_string())], count);
        }
        // Nothing is expected of an app that is no longer configured.
        if app.is_configured {
            let since = now.since(app.last.unwrap_or(observed.since));
            page.add(&names::SINCE_LAST, &[("app", name)], since.as_secs_f64());
        }
    }
    for (road, name) in [(Road::Before, "before"), (Road::After, "after")] {
        let times = counters.snapshot_answer_times(road);
        page.distribution(&names::ANSWER, &[("road", name)], &times, MICROS);
        page.count(&names::LATE_ANSWERS, &[("road", name)], counters.late_answers(road));
    }
    let skew = counters.snapshot_clock_skew();
    page.distribution(&names::SKEW, &[], &skew, MICROS);
    for refusal in Refusal::ALL {
        page.count(&names::REFUSALS, &[("cause", refusal.name())], counters.refused(refusal));
    }
    for outcome in Outcome::ALL {
        let count = counters.count(outcome);
        match outcome {
            Outcome::Accepted | Outcome::Decided | Outcome::NotJournaled => {} // By app and command, above.
            Outcome::Unrecorded => page.count(&names::UNRECORDED, &[("at", "queue")], count),
            Outcome::Probe => page.count(&names::PROBES, &[], count),
            Outcome::Connection => page.count(&names::CONNECTIONS, &[], count),
            Outcome::Full => page.count(&names::FULL, &[], count),
            Outcome::Held => page.count(&names::HELD, &[], count),
            Outcome::SignatureReused => page.count(&names::REUSED, &[], count),
            Outcome::AddressFull
            | Outcome::HeadLate
            | Outcome::Idle
            | Outcome::ReplyUnread
            | Outcome::NotHttp
            | Outcome::HeadTooLarge
            | Outcome::TlsFailed => {
                page.count(&names::CLOSED, &[("cause", outcome.name())], count);
            }
        }
    }
    page.count(&names::OPEN_CONNECTIONS, &[], counters.open_connections() as u64);
    page.count(&names::MAX_CONNECTIONS, &[], counters.max_connections() as u64);
    page.count(&names::CERTIFICATE, &[], counters.certificate_expires().unwrap_or_default());
    page.add(&names::LONGEST, &[], counters.longest_decision().as_secs_f64());
}
