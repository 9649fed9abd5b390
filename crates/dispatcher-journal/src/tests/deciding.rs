//! Records of decisions: with their callbacks, behind them, and instead of them.

use dispatcher_core::Event;

use super::*;
use crate::{DecisionEvents, DecisionKind, DecisionRecord, DecisionRow, Place as Whereabouts};

/// A record with a word in it, and events of these handlers.
fn record(kind: DecisionKind, word: &str, handlers: &[&str]) -> DecisionRecord {
    let events = handlers.iter().map(|handler| DecisionEvents {
        handler: (*handler).into(),
        sinks: "a".into(),
        event: NewEvent::new("tencent-chat.decision", &serde_json::json!({"word": word})).unwrap(),
    });
    DecisionRecord {
        kind,
        result: "refused".into(),
        record: format!(r#"{{"word":"{word}"}}"#),
        events: events.collect(),
    }
}

fn decided(word: &str) -> DecisionRecord {
    record(DecisionKind::Decided, word, &[])
}

fn late(word: &str) -> DecisionRecord {
    record(DecisionKind::Late, word, &[])
}

/// Waits until all that was handed over before has been seen to.
fn settle(journal: &Journal) {
    // A hook runs before the batch that it comes with, and what waited at a place comes one batch after its callback.
    for _ in 0..3 {
        journal.hook(|_| {});
    }
}

/// What is on record of a callback: kinds, places and words.
fn on_record(journal: &Journal, seq: u64) -> Vec<(DecisionKind, u8, String)> {
    let rows = journal.reader().unwrap().decisions(seq).unwrap();
    rows.into_iter()
        .map(|row| {
            let DecisionRow { callback_seq, n, kind, result, record, .. } = row;
            assert_eq!((callback_seq, result.as_str()), (seq, "refused"));
            let word = record.strip_prefix(r#"{"word":""#).and_then(|rest| rest.strip_suffix(r#""}"#)).unwrap();
            (kind, n, word.to_owned())
        })
        .collect()
}

fn word(kind: DecisionKind, n: u8, word: &str) -> (DecisionKind, u8, String) {
    (kind, n, word.to_owned())
}

#[test]
fn a_decision_becomes_durable_with_its_callback_and_its_events() {
    let place = Place::new();
    let journal = place.open();
    let _keeps_the_tail = journal.reader().unwrap();
    let mut ends = journal.ends();
    let port = journal.port();
    let seen = callback(None);
    assert!(port.append_decided(seen.clone(), record(DecisionKind::Decided, "no", &["h", "i"]), None));
    // Whoever waits for events is woken.
    let told = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(async { *ends.wait_for(|ends| ends.events == 2).await.unwrap() });
    assert_eq!(told.callbacks, 1);
    // Another process sees all of it.
    let rows: i64 = Connection::open(place.path())
        .unwrap()
        .query_row("SELECT count(*) FROM decisions WHERE id = 256", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 1);
    for from in ["memory", "the file"] {
        let read: Vec<_> = events(&journal).into_iter().map(|row| row.intact().unwrap()).collect();
        let ids: Vec<String> = read.iter().map(|row| row.event.id()).collect();
        assert_eq!(ids, [format!("{}.h.decision", seen.id()), format!("{}.i.decision", seen.id())], "{from}");
        assert!(read.iter().all(|row| row.callback_seq == 1 && &*row.sinks == "a"), "{from}");
        assert_eq!(read[0].event.key, seen.key().cloned(), "{from}");
        journal.hook(|hooked| hooked.forget_tail());
    }
    assert_eq!(on_record(&journal, 1), [word(DecisionKind::Decided, 0, "no")]);
    assert_eq!(on_record(&journal, 2), []);
    assert_eq!((journal.counts().queued_bytes, journal.counts().unrecorded_decisions), (0, 0));
}

#[test]
fn late_verdicts_find_their_callback_before_and_after_its_commit() {
    let place = Place::new();
    let journal = place.open();
    let port = journal.port();
    let (seen, whereabouts) = (Arc::new(callback(None)), Whereabouts::new());
    // Even before the callback is appended.
    assert!(journal.attach(&whereabouts, late("first"), seen.clone()));
    let go_on = hold(&journal);
    assert!(port.append_decided(seen.clone(), decided("none"), Some(&whereabouts)));
    assert!(journal.attach(&whereabouts, record(DecisionKind::Shadow, "second", &["s"]), seen.clone()));
    assert_eq!(whereabouts.seq(), None);
    go_on();
    settle(&journal);
    assert_eq!(whereabouts.seq(), Some(1));
    assert!(journal.attach(&whereabouts, record(DecisionKind::Late, "third", &["h"]), seen.clone()));
    settle(&journal);
    assert_eq!(
        on_record(&journal, 1),
        [
            word(DecisionKind::Decided, 0, "none"),
            word(DecisionKind::Late, 1, "first"),
            word(DecisionKind::Shadow, 2, "second"),
            word(DecisionKind::Late, 3, "third"),
        ]
    );
    let ids: Vec<_> = events(&journal).into_iter().map(|row| row.intact().unwrap().event.id()).collect();
    assert_eq!(ids, [format!("{}.s.late", seen.id()), format!("{}.h.late", seen.id())]);
    assert_eq!((journal.counts().queued_bytes, journal.counts().unrecorded_decisions), (0, 0));
}

#[test]
fn what_is_decided_of_a_repeat_goes_to_the_callback_that_is_there() {
    let place = Place::new();
    let journal = place.open();
    let _keeps_the_tail = journal.reader().unwrap();
    let port = journal.port();
    let (first, again, third) = (callback(Some(7)), callback(Some(7)), callback(Some(7)));
    // Two in one batch, one later.
    let go_on = hold(&journal);
    assert!(port.append_decided(first.clone(), decided("one"), None));
    assert!(port.append_decided(again, record(DecisionKind::Decided, "two", &["h"]), None));
    go_on();
    settle(&journal);
    let whereabouts = Whereabouts::new();
    assert!(port.append_decided(third.clone(), decided("three"), Some(&whereabouts)));
    assert!(journal.attach(&whereabouts, record(DecisionKind::Late, "four", &["h"]), Arc::new(third)));
    settle(&journal);
    assert_eq!(whereabouts.seq(), Some(1));
    assert_eq!(journal.counts().repeats, 2);
    let kinds = [DecisionKind::Decided, DecisionKind::Decided, DecisionKind::Decided, DecisionKind::Late];
    let expected: Vec<_> = kinds
        .into_iter()
        .zip(["one", "two", "three", "four"])
        .zip(0..)
        .map(|((kind, of), n)| word(kind, n, of))
        .collect();
    assert_eq!(on_record(&journal, 1), expected);
    // The events are of the callback that is stored, wherever they are read.
    for from in ["memory", "the file"] {
        let read: Vec<_> = events(&journal).into_iter().map(|row| row.intact().unwrap()).collect();
        let ids: Vec<_> = read.iter().map(|row| row.event.id()).collect();
        assert_eq!(ids, [format!("{}.h.decision", first.id()), format!("{}.h.late", first.id())], "{from}");
        journal.hook(|hooked| hooked.forget_tail());
    }
}

#[test]
fn the_first_place_is_the_answers_and_there_is_an_end_to_places() {
    let place = Place::new();
    let journal = place.open();
    let port = journal.port();
    let whereabouts = Whereabouts::new();
    let seen = callback(Some(9));
    append(&journal, &seen);
    // A repeat of what was appended without a decision.
    assert!(port.append_decided(seen.clone(), late("x"), Some(&whereabouts)));
    for _ in 0..300 {
        assert!(journal.attach(&whereabouts, late("y"), Arc::new(seen.clone())));
    }
    settle(&journal);
    let read = on_record(&journal, 1);
    assert_eq!((read.len(), read[0].1, read[254].1), (255, 1, 255));
    assert_eq!(journal.counts().unrecorded_decisions, 301 - 255);
    assert_eq!(Event::LATE, u32::MAX);
}
