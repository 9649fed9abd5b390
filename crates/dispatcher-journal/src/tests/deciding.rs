//! Records of decisions: with their callbacks, behind them, and instead of them.

use dispatcher_core::Event;

use super::*;
use crate::{Change, DecisionKind, Place as Whereabouts, trouble::Trouble};

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

#[test]
fn all_of_it_is_durable_or_nothing() {
    let place = Place::new();
    let journal = place.open();
    append(&journal, &callback(None));
    let (from, crashed) = (place.path(), Place::new());
    let to = crashed.path();
    journal.hook(move |hooked| {
        let outcome = hooked.tables.transact(|tables| {
            let seen = Arc::new(callback(None));
            let seq = tables.append(&seen)?;
            tables.decide(seq, &seen, &record(DecisionKind::Decided, "x", &["h"]))?;
            tables.connection().cache_flush()?;
            // The power goes.
            for end in ["", "-wal"] {
                let name = |path: &std::path::Path| PathBuf::from(format!("{}{end}", path.display()));
                std::fs::copy(name(&from), name(&to)).unwrap();
            }
            Err(Trouble::own("the power went".into()))
        });
        assert!(outcome.is_err());
    });
    for place in [crashed, place] {
        journal.close();
        let journal = place.open();
        assert_eq!(*journal.ends().borrow(), crate::Ends { callbacks: 1, events: 0 });
        assert_eq!(journal.reader().unwrap().decisions_page(0, 9).unwrap().rows, []);
        assert_eq!(append(&journal, &callback(None)), Appended::New { seq: 2 });
        assert_eq!(on_record(&journal, 2), []);
    }
}

#[test]
fn a_commit_that_fails_takes_what_would_have_followed() {
    let place = Place::new();
    let journal = place.open();
    let port = journal.port();
    let (seen, whereabouts) = (Arc::new(callback(None)), Whereabouts::new());
    journal.hook(|hooked| hooked.tables.fault = Some(super::trouble::full()));
    let go_on = hold(&journal);
    assert!(journal.attach(&whereabouts, late("x"), seen.clone()));
    assert!(port.append_decided(seen.clone(), record(DecisionKind::Decided, "y", &["h"]), Some(&whereabouts)));
    go_on();
    settle(&journal);
    assert_eq!((journal.counts().unrecorded, journal.counts().unrecorded_decisions), (1, 1));
    assert!(journal.attach(&whereabouts, late("z"), seen));
    let counts = journal.counts();
    assert_eq!((counts.unrecorded_decisions, counts.queued_bytes, whereabouts.seq()), (2, 0, None));
    assert_eq!(*journal.ends().borrow(), crate::Ends::default());
    // The next is not in its place.
    assert!(port.append_decided(callback(None), decided("w"), None));
    settle(&journal);
    assert_eq!(on_record(&journal, 1), [word(DecisionKind::Decided, 0, "w")]);
}

#[test]
fn what_the_queue_has_no_room_for_is_refused_with_what_waits_for_it() {
    let place = Place::new();
    let journal = Journal::open(JournalOptions { queue_bytes: 3_000, ..place.options() }).unwrap();
    let port = journal.port();
    let seen = Arc::new(callback(None));
    let go_on = hold(&journal);
    let places: Vec<Whereabouts> = (0..20).map(|_| Whereabouts::new()).collect();
    // Waiting records take room as well.
    let taken = |place: &&Whereabouts| journal.attach(place, late("x"), seen.clone());
    let n = places.iter().filter(taken).count();
    assert!((2..8).contains(&n), "{n}");
    assert!(!port.append_decided(seen.clone(), decided("y"), Some(&places[0])));
    assert_eq!(journal.counts().unrecorded_decisions, 1);
    assert!(port.append_decided(seen.clone(), decided("y"), Some(&places[1])));
    go_on();
    settle(&journal);
    assert_eq!((places[0].seq(), places[1].seq()), (None, Some(1)));
    assert_eq!(on_record(&journal, 1).len(), 2);
    // What waits for a callback that never comes goes with its place.
    drop(places);
    assert_eq!((journal.counts().unrecorded_decisions, journal.counts().queued_bytes), (n as u64 - 1, 0));
}

#[test]
fn close_stores_what_was_handed_over_and_takes_nothing_more() {
    let place = Place::new();
    let journal = place.open();
    let (seen, whereabouts) = (Arc::new(callback(None)), Whereabouts::new());
    let go_on = hold(&journal);
    assert!(journal.attach(&whereabouts, late("y"), seen.clone()));
    assert!(journal.port().append_decided(seen.clone(), decided("x"), Some(&whereabouts)));
    go_on();
    journal.close();
    assert!(!journal.attach(&whereabouts, late("z"), seen.clone()));
    assert!(!journal.port().append_decided(seen, decided("z"), None));
    assert_eq!((journal.counts().unrecorded_decisions, journal.counts().queued_bytes), (0, 0));
    let expected = [word(DecisionKind::Decided, 0, "x"), word(DecisionKind::Late, 1, "y")];
    assert_eq!(on_record(&place.open(), 1), expected);
}

#[test]
fn a_flipped_bit_costs_its_record_alone() {
    let place = Place::new();
    let journal = place.open();
    fill(&journal, 30);
    for seq in 1..=30 {
        attach(&journal, seq, decided(&format!("word-{seq:02}")));
    }
    journal.close();
    let whole = std::fs::read(place.path()).unwrap();
    for (column, value) in
        [("at", "at + 1"), ("kind", "'late'"), ("result", "'Refused'"), ("record", "'{}'"), ("crc", "crc + 1")]
    {
        std::fs::write(place.path(), &whole).unwrap();
        place.tamper(&format!("UPDATE decisions SET {column} = {value} WHERE id = 7 * 256"));
        let journal = place.open();
        let page = journal.reader().unwrap().decisions_page(0, 99).unwrap();
        assert_eq!((page.rows.len(), page.damaged), (29, vec![(7, "fails its checksum".to_owned())]), "{column}");
        assert_eq!(on_record(&journal, 7), []);
        journal.close();
    }
    let mut file = whole;
    let at = file.windows(7).position(|bytes| bytes == b"word-07").unwrap();
    file[at + 2] ^= 1;
    std::fs::write(place.path(), &file).unwrap();
    let journal = place.open();
    assert_eq!(on_record(&journal, 7), []);
    assert_eq!(on_record(&journal, 8), [word(DecisionKind::Decided, 0, "word-08")]);
}

#[test]
fn pages_go_on_where_the_last_one_ended() {
    let place = Place::new();
    let journal = place.open();
    fill(&journal, 30);
    for seq in [3, 9, 10, 30] {
        attach(&journal, seq, decided("x"));
        attach(&journal, seq, late("y"));
    }
    settle(&journal);
    let mut reader = journal.reader().unwrap();
    let (mut seen, mut after) = (Vec::new(), 0);
    while let Some(upto) = {
        let page = reader.decisions_page(after, 3).unwrap();
        assert!(page.rows.len() <= 3);
        seen.extend(page.rows.iter().map(|row| (row.callback_seq, row.n)));
        page.upto
    } {
        after = upto;
    }
    assert_eq!(seen, [(3, 0), (3, 1), (9, 0), (9, 1), (10, 0), (10, 1), (30, 0), (30, 1)]);
    let page = reader.decisions_page(10 * 256 - 1, 1).unwrap();
    assert_eq!((page.rows[0].callback_seq, page.upto), (10, Some(page.rows[0].id())));
    assert_eq!(reader.decisions_page(u64::MAX, 1).unwrap(), crate::DecisionPage::default());
}

#[test]
fn pages_of_one_go_on_behind_what_cannot_be_read() {
    let place = Place::new();
    let journal = place.open();
    fill(&journal, 60);
    for seq in 1..=60 {
        attach(&journal, seq, decided(&format!("word-{seq:02}{}", "x".repeat(1000))));
    }
    journal.close();
    let mut file = std::fs::read(place.path()).unwrap();
    let page = file.windows(7).position(|bytes| bytes == b"word-30").unwrap() / 8192;
    file[page * 8192..(page + 1) * 8192].fill(0xff);
    std::fs::write(place.path(), &file).unwrap();
    let journal = place.open();
    let mut reader = journal.reader().unwrap();
    let (mut seen, mut damaged, mut after) = (Vec::new(), Vec::new(), 0);
    while let Some(upto) = {
        let page = reader.decisions_page(after, 1).unwrap();
        seen.extend(page.rows.iter().map(|row| row.callback_seq));
        damaged.extend(page.damaged.iter().map(|(seq, _)| *seq));
        page.upto
    } {
        after = upto;
    }
    assert!(damaged.contains(&30) && damaged.len() < 20, "{damaged:?}");
    // The last callback before it is among both: it may have had more.
    seen.extend(&damaged);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen, (1..=60).collect::<Vec<_>>());
}

#[test]
fn records_go_with_their_callbacks() {
    let place = Place::new();
    let journal = place.open();
    // Every other one is kept for no time at all.
    let commands = ["State.StateChange", "Group.CallbackAfterGroupFull"];
    let all: Vec<Callback> = (0..40).map(|idx| callback_of(commands[idx % 2], None)).collect();
    append_all(&journal, &all);
    for seq in 1..=40 {
        attach(&journal, seq, decided("x"));
    }
    attach(&journal, 7, late("y"));
    journal.close();
    let rules = vec![(dispatcher_core::CommandPattern::new("State.*").unwrap(), Duration::ZERO)];
    let journal = place.open_with(Retention { rules, ..Retention::keeping(long()) });
    trim(&journal);
    let left = |journal: &Journal| -> Vec<u64> {
        let page = journal.reader().unwrap().decisions_page(0, 99).unwrap();
        assert_eq!(page.damaged, []);
        page.rows.iter().map(|row| row.callback_seq).collect()
    };
    assert_eq!(left(&journal), (1..=20).map(|half| half * 2).collect::<Vec<_>>());
    assert_eq!((journal.counts().deleted_callbacks, journal.counts().deleted_decisions), (20, 21));
    // What comes later is lost, and counted.
    attach(&journal, 7, late("z"));
    settle(&journal);
    assert_eq!((left(&journal).len(), journal.counts().unrecorded_decisions), (20, 1));

    // From the front, up to what a consumer needs.
    journal.register(CONSUMER, Stream::Callbacks, Start::Oldest).unwrap();
    commit(&journal, Commit { consumer: CONSUMER.into(), checkpoint: Some(30), ..Commit::default() }).unwrap();
    journal.close();
    let journal = place.open_with(Retention::keeping(Duration::ZERO));
    trim(&journal);
    assert_eq!(left(&journal), [32, 34, 36, 38, 40]);
    assert_eq!(journal.counts().deleted_decisions, 15);
}

#[test]
fn a_callback_that_comes_back_for_events_has_its_record_until_they_go() {
    let place = Place::new();
    let journal = place.open_with(Retention::keeping(Duration::ZERO));
    journal.register("sink:a", Stream::Events, Start::Oldest).unwrap();
    append(&journal, &callback(None));
    trim(&journal);
    assert_eq!(journal.reader().unwrap().floor(Stream::Callbacks), 1);
    attach(&journal, 1, record(DecisionKind::Late, "x", &["h"]));
    settle(&journal);
    trim(&journal);
    let expected = [word(DecisionKind::Late, 1, "x")];
    assert_eq!(on_record(&journal, 1), expected);
    // A copy has it as well.
    let copy = place.folder.path().join("copy.db");
    let made = journal.reader().unwrap().backup(&copy, |_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!((made.callbacks, made.decisions), (1, 1));
    assert_eq!(on_record(&Journal::open(JournalOptions::new(&copy)).unwrap(), 1), expected);
    commit(&journal, Commit { consumer: "sink:a".into(), checkpoint: Some(1), ..Commit::default() }).unwrap();
    trim(&journal);
    assert_eq!((on_record(&journal, 1), journal.counts().deleted_decisions), (vec![], 1));
}

#[test]
fn a_page_of_records_that_cannot_be_written_costs_nothing_else() {
    let place = Place::new();
    let journal = place.open();
    fill(&journal, 30);
    attach(&journal, 7, decided("x"));
    journal.close();
    let root: u32 = Connection::open(place.path())
        .unwrap()
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'decisions'", [], |row| row.get(0))
        .unwrap();
    let mut file = std::fs::read(place.path()).unwrap();
    let root = root as usize;
    file[(root - 1) * 8192..root * 8192].fill(0xff);
    std::fs::write(place.path(), &file).unwrap();

    let journal = place.open();
    let port = journal.port();
    let go_on = hold(&journal);
    let whereabouts = Whereabouts::new();
    let seen = Arc::new(callback(None));
    assert!(journal.attach(&whereabouts, late("z"), seen.clone()));
    assert!(port.append_decided(seen, decided("y"), Some(&whereabouts)));
    let appended = port.append(callback(None));
    go_on();
    assert_eq!(drive(&port, appended), Ok(Appended::New { seq: 32 }));
    settle(&journal);
    assert_eq!((journal.counts().unrecorded, journal.counts().unrecorded_decisions), (0, 2));
    assert_eq!((whereabouts.seq(), journal.health()), (Some(31), crate::Health::Ok));
    let check = journal.reader().unwrap().check(|_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!((check.callbacks.intact, check.callbacks.damaged), (32, vec![]));
    assert!(!check.decisions.damaged.is_empty());
    // The copy has all but those.
    let copy = place.folder.path().join("copy.db");
    let made = journal.reader().unwrap().backup(&copy, |_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!((made.callbacks, made.events, made.decisions, made.unreadable > 0), (32, 30, 0, true));
    // Nor does it hold up retention.
    commit(&journal, Commit { consumer: CONSUMER.into(), checkpoint: Some(32), ..Commit::default() }).unwrap();
    journal.close();
    let journal = place.open_with(Retention::keeping(Duration::ZERO));
    trim(&journal);
    assert_eq!(journal.counts().deleted_callbacks, 32);
    assert_eq!(journal.reader().unwrap().floor(Stream::Callbacks), 32);
}

#[test]
fn shadows_last_until_their_time_is_up() {
    let change = |journal: &Journal, handler: &str, until: Option<Timestamp>| {
        let change = Change::Shadow { handler: handler.into(), until };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(journal.change(change)).unwrap()
    };
    let place = Place::new();
    let journal = place.open();
    let (soon, later, past) =
        (Timestamp::now().after(long()), Timestamp::now().after(2 * long()), Timestamp::from_millis(5));
    assert_eq!(change(&journal, "one", Some(soon)), 1);
    assert_eq!(change(&journal, "two", Some(soon)), 1);
    assert_eq!(change(&journal, "two", Some(later)), 1);
    assert_eq!(change(&journal, "three", Some(past)), 1);
    assert_eq!(change(&journal, "four", None), 0);
    journal.close();
    // One whose time is up is not there, whether it was forgotten or not.
    let stored =
        |sql: &str| -> i64 { Connection::open(place.path()).unwrap().query_row(sql, [], |row| row.get(0)).unwrap() };
    assert_eq!(stored("SELECT count(*) FROM shadows"), 2);
    let crc = crate::row::checksum(&[crate::row::text("five"), rusqlite::types::ValueRef::Integer(5)]);
    place.tamper(&format!("INSERT INTO shadows VALUES ('five', 5, {crc})"));
    let journal = place.open();
    assert_eq!(journal.shadows().unwrap(), [("one".to_owned(), soon), ("two".to_owned(), later)]);
    assert_eq!(change(&journal, "one", None), 1);
    journal.close();
    assert_eq!(stored("SELECT count(*) FROM shadows"), 1);
    // A flipped bit is flipped back at the start; more than one ends it.
    place.tamper("UPDATE shadows SET until = until | (1 << 50)");
    assert_eq!(place.open().shadows().unwrap(), [("two".to_owned(), later)]);
    let journal = place.open();
    journal.hook(|hooked| {
        hooked.tables.connection().execute_batch("UPDATE shadows SET until = until | (7 << 50)").unwrap();
    });
    assert_eq!(journal.shadows().unwrap(), []);
    let check = journal.reader().unwrap().check(|_| std::ops::ControlFlow::Continue(())).unwrap();
    assert_eq!(check.problems.len(), 1, "{:?}", check.problems);
    journal.close();
    let journal = place.open();
    assert_eq!(journal.shadows().unwrap(), []);
    assert!(journal.reader().unwrap().check(|_| std::ops::ControlFlow::Continue(())).unwrap().is_sound());
}
