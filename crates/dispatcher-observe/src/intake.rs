//! What the intake knows.

use dispatcher_core::Timestamp;
use dispatcher_intake::{Outcome, Refusal};

use crate::{names, page::Page, sources::Observed};

pub(crate) fn write(page: &mut Page, observed: &Observed) {
    let counters = &observed.sources.intake;
    let now = Timestamp::now();
    for app in counters.apps() {
        let name = app.app.name();
        for count in &app.commands {
            let labels = [("app", name), ("command", count.command), ("outcome", count.outcome.name())];
            page.count(&names::CALLBACKS, &labels, count.count);
        }
        let since = now.since(app.last.unwrap_or(observed.since));
        page.add(&names::SINCE_LAST, &[("app", name)], since.as_secs_f64());
    }
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
            Outcome::HeadLate | Outcome::Idle | Outcome::ReplyUnread | Outcome::NotHttp => {
                page.count(&names::CLOSED, &[("cause", outcome.name())], count);
            }
        }
    }
    page.count(&names::OPEN_CONNECTIONS, &[], counters.open_connections() as u64);
    page.add(&names::LONGEST, &[], counters.longest_decision().as_secs_f64());
}
