//! What the intake knows.

use std::collections::BTreeMap;

use dispatcher_core::Timestamp;
use dispatcher_intake::{AppCount, Outcome, Refusal, Road};

use crate::{
    names,
    page::{MICROS, Page},
    sources::Observed,
};

pub(crate) fn write(page: &mut Page, observed: &Observed) {
    let counters = &observed.sources.intake;
    let now = Timestamp::now();
    let apps = counters.apps();
    callbacks(page, &apps);
    // Nothing is expected of an app that is no longer configured.
    for app in apps.iter().filter(|app| app.is_configured) {
        let since = now.since(app.last.unwrap_or(app.since));
        page.add(&names::SINCE_LAST, &[("app", app.app.name())], since.as_secs_f64());
    }
    tokens(page, &apps);
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
            | Outcome::TlsFailed
            | Outcome::ProxyUnknown
            | Outcome::ProxyHeader => {
                page.count(&names::CLOSED, &[("cause", outcome.name())], count);
            }
        }
    }
    page.count(&names::OPEN_CONNECTIONS, &[], counters.open_connections() as u64);
    page.count(&names::MAX_CONNECTIONS, &[], counters.max_connections() as u64);
    let certificates = counters.certificates();
    if certificates.is_empty() {
        page.count(&names::CERTIFICATE, &[("certificate", "")], 0);
    }
    for certificate in &certificates {
        let expires = certificate.expires.unwrap_or_default();
        page.count(&names::CERTIFICATE, &[("certificate", certificate.name())], expires);
    }
    page.add(&names::LONGEST, &[], counters.longest_decision().as_secs_f64());
}

// One name may have been that of several SDKAppIDs, one after the other. A label is the name, and a series is there once.

fn callbacks(page: &mut Page, apps: &[AppCount]) {
    let mut sums = BTreeMap::<_, u64>::new();
    for app in apps {
        for one in &app.commands {
            *sums.entry((app.app.name(), one.command, one.outcome.name())).or_default() += one.count;
        }
    }
    for ((app, command, outcome), count) in sums {
        page.count(&names::CALLBACKS, &[("app", app), ("command", command), ("outcome", outcome)], count);
    }
}

fn tokens(page: &mut Page, apps: &[AppCount]) {
    let mut sums = BTreeMap::<_, u64>::new();
    for app in apps {
        for (token, &count) in app.signed.iter().enumerate().filter(|&(_, &count)| count > 0) {
            *sums.entry((app.app.name(), token)).or_default() += count;
        }
    }
    for ((app, token), count) in sums {
        page.count(&names::TOKENS, &[("app", app), ("token", &token.to_string())], count);
    }
}

#[cfg(test)]
mod tests {
    use dispatcher_core::App;
    use dispatcher_intake::{CallbackOutcome, CommandCount};

    use super::*;

    #[test]
    fn a_name_that_went_to_another_app_is_one_series() {
        let app = |id, is_configured| AppCount {
            app: App::new(id, "main"),
            is_configured,
            since: Timestamp::from_millis(0),
            last: None,
            commands: vec![CommandCount { command: "other", outcome: CallbackOutcome::Accepted, count: id }],
            signed: [id, 0],
        };
        let (apps, mut page) = ([app(2, false), app(5, true)], Page::default());
        callbacks(&mut page, &apps);
        tokens(&mut page, &apps);
        let text = page.text().unwrap();
        let series: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "dispatcher_callbacks_total{app=\"main\",command=\"other\",outcome=\"accepted\"} 7",
            "dispatcher_signatures_total{app=\"main\",token=\"0\"} 7",
        ];
        assert_eq!(series, expected);
    }
}
