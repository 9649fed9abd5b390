//! What the pipeline knows of handlers and sinks, and the journal of those that do not run.

use std::collections::BTreeMap;

use dispatcher_control::next_of;
use dispatcher_core::Timestamp;
use dispatcher_journal::{JournalError, Stream};
use dispatcher_pipeline::{ConsumerStatus, State};

use crate::{names, page::Page, sources::Observed};

const STATES: [&str; 5] = ["up", "down", "parked", "stopped", "not_running"];

pub(crate) fn write(page: &mut Page, observed: &Observed) {
    let all = observed.sources.pipeline.status();
    let is_replay = |name: &str| name.starts_with("replay:");
    page.count(&names::REPLAYS, &[], all.iter().filter(|one| is_replay(&one.name)).count() as u64);
    // Replays come and go, each under a new name: as labels they would never end.
    let running: Vec<&ConsumerStatus> = all.iter().filter(|one| !is_replay(&one.name)).collect();
    running.iter().for_each(|consumer| of_running(page, consumer));
    observed.with_reader(|reader| {
        // What cannot be read now is not on this page; the journal's state is.
        let mut places: Vec<(String, u64, Option<Timestamp>)> = running
            .iter()
            .map(|consumer| (consumer.name.clone(), consumer.checkpoint, consumer.oldest_pending))
            .collect();
        for consumer in reader.consumers().unwrap_or_default() {
            let is_known = places.iter().any(|(name, ..)| *name == consumer.name);
            if !is_known && !is_replay(&consumer.name) {
                let label = [("consumer", consumer.name.as_str())];
                page.state(&names::CONSUMER_STATE, &label, &STATES, "not_running");
                page.count(&names::BACKLOG, &label, reader.end(consumer.stream).saturating_sub(consumer.checkpoint));
                places.push((consumer.name, consumer.checkpoint, None));
            }
        }
        let dead = reader.dead_counts().ok();
        for (name, checkpoint, oldest_pending) in &places {
            let stream = if name.starts_with("handler:") { Stream::Callbacks } else { Stream::Events };
            let oldest_row = next_of(reader, stream, *checkpoint);
            of_journal(page, name, oldest_row, *oldest_pending, dead.as_ref());
        }
    });
}

/// What the journal says of a consumer. What it did not say is left out: nothing old and no dead letters would be good news.
fn of_journal(
    page: &mut Page,
    name: &str,
    oldest_row: Result<Option<Timestamp>, JournalError>,
    oldest_pending: Option<Timestamp>,
    dead: Option<&BTreeMap<String, u64>>,
) {
    let label = [("consumer", name)];
    if let Ok(oldest_row) = oldest_row {
        let oldest = oldest_row.into_iter().chain(oldest_pending).min();
        let age = oldest.map_or(0.0, |oldest| Timestamp::now().since(oldest).as_secs_f64());
        page.add(&names::OLDEST, &label, age);
    }
    if let Some(dead) = dead {
        page.count(&names::DEAD, &label, dead.get(name).copied().unwrap_or(0));
    }
}

fn of_running(page: &mut Page, consumer: &ConsumerStatus) {
    let label = ("consumer", consumer.name.as_str());
    let state = match consumer.state {
        State::Up => "up",
        State::Down { .. } => "down",
        State::Parked { .. } => "parked",
        State::Stopped { .. } => "stopped",
    };
    page.state(&names::CONSUMER_STATE, &[label], &STATES, state);
    page.count(&names::BACKLOG, &[label], consumer.backlog);
    page.count(&names::PENDING, &[label], consumer.pending as u64);
    page.count(&names::IN_FLIGHT, &[label], consumer.under_way as u64);
    page.count(&names::DONE, &[label], consumer.done);
    page.count(&names::ATTEMPTS, &[label], consumer.done + consumer.failed);
    let failures = consumer.failures;
    for (class, count) in [
        ("refused", failures.refused),
        ("unanswered", failures.unanswered),
        ("permanent", failures.permanent),
        ("own", failures.own),
    ] {
        page.count(&names::FAILURES, &[label, ("class", class)], count);
    }
    page.count(&names::GIVEN_UP, &[label], consumer.dead);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_journal_does_not_say_is_not_zero() {
        let mut page = Page::default();
        of_journal(&mut page, "sink:unread", Err(JournalError::Closed), None, None);
        assert_eq!(page.text().unwrap(), "");
        of_journal(&mut page, "sink:read", Ok(None), None, Some(&BTreeMap::new()));
        let text = page.text().unwrap();
        for line in ["oldest_seconds{consumer=\"sink:read\"} 0", "dead_letters{consumer=\"sink:read\"} 0"] {
            assert!(text.contains(line), "{text}");
        }
    }
}
