//! What is kept beside the rows: attempts, dead letters with their history and copies, parking, names, replays.

use dispatcher_core::Response;

use super::*;
use crate::{Attempt, Change, Consumer, Dead, DeadPage, NewReplay, Parked, Pending, Reader, Skipped};

fn commit_of(consumer: &str) -> Commit {
    Commit { consumer: consumer.into(), ..Commit::default() }
}

fn change(journal: &Journal, change: Change) -> Result<u64, JournalError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(journal.change(change))
}

fn attempt(seq: u64, n: u32, error: Option<&str>) -> Attempt {
    let response = error.map(|_| Response { status: 500 + n as u16, excerpt: format!("no, for the {n}. time") });
    Attempt { seq, n, at: Timestamp::from_millis(i64::from(n) * 1000), error: error.map(ToOwned::to_owned), response }
}

fn dead(seq: u64) -> Dead {
    Dead { seq, reason: "status 400".to_owned(), attempts: 2, first_at: Timestamp::from_millis(10) }
}

fn pending(seq: u64) -> Pending {
    Pending {
        seq,
        key: Some("k".into()),
        app: 7,
        attempt: 2,
        first_at: Timestamp::from_millis(10),
        age: Duration::from_secs(5),
        due: Timestamp::from_millis(20),
        error: "status 503".to_owned(),
    }
}

fn replay(target: &str, stream: Stream, dead_of: Option<&str>) -> NewReplay {
    let spec = r#"{"rate":1}"#.to_owned();
    NewReplay { target: target.into(), stream, dead_of: dead_of.map(Into::into), first: 2, last: 100, spec }
}

fn places(reader: &mut Reader, consumer: &str) -> Vec<(u64, u64)> {
    reader.dead(consumer, 0, 100).unwrap().iter().map(|letter| (letter.seq, letter.place)).collect()
}

#[test]
fn attempts_are_kept_by_item_and_consumer_and_go_into_the_dead_letter() {
    let place = Place::new();
    let journal = place.open();
    fill(&journal, 3);
    journal.register("sink:s", Stream::Events, Start::Oldest).unwrap();
    let tried = [attempt(2, 1, Some("refused")), attempt(2, 2, None), attempt(3, 1, Some("late"))];
    commit(&journal, Commit { attempts: tried[..2].to_vec(), ..commit_of("sink:s") }).unwrap();
    commit(&journal, Commit { attempts: tried[2..].to_vec(), ..commit_of("sink:s") }).unwrap();
    // Of the other stream, and of another consumer.
    commit(&journal, Commit { attempts: vec![attempt(2, 1, None)], ..commit_of(CONSUMER) }).unwrap();
    commit(
        &journal,
        Commit { dead: vec![dead(2), dead(3)], attempts: vec![attempt(3, 2, Some("gone"))], ..commit_of("sink:s") },
    )
    .unwrap();
    for restarted in [false, true] {
        let journal = if restarted {
            journal.close();
            place.open()
        } else {
            journal.clone()
        };
        let mut reader = journal.reader().unwrap();
        let of = |reader: &mut Reader, stream, seq| reader.attempts(stream, seq).unwrap();
        assert_eq!(of(&mut reader, Stream::Events, 2), [("sink:s".to_owned(), tried[..2].to_vec())].into());
        assert_eq!(of(&mut reader, Stream::Callbacks, 2), [(CONSUMER.to_owned(), vec![attempt(2, 1, None)])].into());
        assert!(of(&mut reader, Stream::Events, 1).is_empty());
        let letters = reader.dead("sink:s", 0, 10).unwrap();
        assert_eq!(letters[0].history, tried[..2]);
        assert_eq!(letters[1].history, [tried[2].clone(), attempt(3, 2, Some("gone"))], "that of its own commit too");
    }
}

#[test]
fn a_dead_letter_is_replayed_from_its_copy_when_its_row_is_gone() {
    let place = Place::new();
    let journal = place.open();
    journal.register(CONSUMER, Stream::Callbacks, Start::Oldest).unwrap();
    journal.register("sink:s", Stream::Events, Start::Oldest).unwrap();
    let source = callback(Some(u128::MAX - 5));
    append(&journal, &source);
    let own = NewEvent::new("own", &serde_json::json!({"ü": [1, null]})).unwrap().with_key(None);
    let made = vec![own, NewEvent::forwarding("f")];
    commit(&journal, Commit { events: vec![emitted(1, &source, made)], dead: vec![dead(1)], ..commit_of(CONSUMER) })
        .unwrap();
    commit(&journal, Commit { dead: vec![dead(1), dead(2)], ..commit_of("sink:s") }).unwrap();
    let read = |journal: &Journal| {
        let mut reader = journal.reader().unwrap();
        let events =
            reader.dead_events(&DeadPage { last: 9, last_place: 9, max_rows: 9, ..DeadPage::all("sink:s") }).unwrap();
        let events: Vec<_> = events.into_iter().map(|row| row.intact().unwrap()).collect();
        let callbacks = reader
            .dead_callbacks(&DeadPage { last: 9, last_place: 9, max_rows: 9, ..DeadPage::all(CONSUMER) })
            .unwrap();
        let callbacks: Vec<_> = callbacks.into_iter().map(|row| facts(&row.intact().unwrap().callback)).collect();
        let sinks: Vec<_> = events.iter().map(|row| (row.sinks.clone(), row.callback_seq)).collect();
        (events.iter().map(|row| event_facts(&row.event)).collect::<Vec<_>>(), sinks, callbacks)
    };
    let from_rows = read(&journal);
    assert_eq!((from_rows.0.len(), from_rows.2.len()), (2, 1));
    journal.close();
    place.tamper("DELETE FROM callbacks; DELETE FROM events");
    let journal = place.open();
    assert!(read(&journal) == from_rows, "the copies are as good");

    // It fails again: the copy it has is all that there is of it, and stays.
    commit(&journal, Commit { dead: vec![dead(2)], ..commit_of("sink:s") }).unwrap();
    assert!(read(&journal) == from_rows);
    let mut reader = journal.reader().unwrap();
    assert_eq!(places(&mut reader, "sink:s"), [(1, 2), (2, 4)], "and is a new dead letter");
    let until = |reader: &mut Reader, last, last_place| {
        reader.dead_events(&DeadPage { last, last_place, max_rows: 9, ..DeadPage::all("sink:s") }).unwrap().len()
    };
    assert_eq!([until(&mut reader, 1, 9), until(&mut reader, 9, 3), until(&mut reader, 9, 4)], [1, 1, 2]);
    journal.close();

    // A bit of it flips: what nobody can vouch for is not delivered.
    place.tamper("UPDATE dead SET copy = replace(copy, 'TGS', 'TGT') WHERE seq = 2");
    let journal = place.open();
    let mut reader = journal.reader().unwrap();
    let damaged_ones: Vec<bool> = reader.dead("sink:s", 0, 9).unwrap().iter().map(|letter| letter.damaged).collect();
    assert_eq!(damaged_ones, [false, true]);
    let rows =
        reader.dead_events(&DeadPage { last: 9, last_place: 9, max_rows: 9, ..DeadPage::all("sink:s") }).unwrap();
    assert_eq!(damaged(&rows), [(2, "is missing")]);
    // Nor does giving up on it once more make it good.
    commit(&journal, Commit { dead: vec![dead(2)], ..commit_of("sink:s") }).unwrap();
    assert!(reader.dead("sink:s", 1, 9).unwrap()[0].damaged);
}

#[test]
fn dead_letters_are_discarded_and_raised_and_their_places_do_not_come_again() {
    let place = Place::new();
    let journal = place.open();
    fill(&journal, 9);
    journal.register("sink:s", Stream::Events, Start::Oldest).unwrap();
    commit(&journal, Commit { dead: (1..=6).map(dead).collect(), ..commit_of("sink:s") }).unwrap();
    let mut reader = journal.reader().unwrap();
    assert_eq!(reader.dead_counts().unwrap(), [("sink:s".to_owned(), 6)].into());
    let discard = |seqs: &[u64]| change(&journal, Change::Discard { consumer: "sink:s".into(), seqs: seqs.to_vec() });
    assert_eq!((discard(&[6, 5, 17]), discard(&[5])), (Ok(2), Ok(0)));
    assert_eq!(places(&mut reader, "sink:s"), [(1, 1), (2, 2), (3, 3), (4, 4)]);

    // A replay has an upper end: dead letters made later are none of it, however many were deleted.
    let id = change(&journal, Change::BeginReplay(replay("sink:s", Stream::Events, Some("sink:s")))).unwrap();
    let consumer = format!("replay:{id}");
    let made = reader.replays().unwrap().remove(0);
    assert_eq!((made.first, made.last, made.last_place), (2, 9, 6));
    commit(&journal, Commit { dead: vec![dead(7)], ..commit_of("sink:s") }).unwrap();
    assert_eq!(places(&mut reader, "sink:s").last(), Some(&(7, 7)));
    let raise = Commit {
        checkpoint: Some(3),
        in_name_of: Some("sink:s".into()),
        raised: vec![2],
        dead: vec![dead(3)],
        attempts: vec![attempt(3, 1, Some("again"))],
        done: 1,
        ..commit_of(&consumer)
    };
    commit(&journal, raise).unwrap();
    assert_eq!(places(&mut reader, "sink:s"), [(1, 1), (3, 8), (4, 4), (7, 7)]);
    assert_eq!(
        reader.dead("sink:s", 1, 1).unwrap()[0].history,
        [attempt(3, 1, Some("again"))],
        "what the replay tried"
    );
    let page = DeadPage {
        after: made.first - 1,
        last: made.last,
        last_place: made.last_place,
        max_rows: 9,
        ..DeadPage::all("sink:s")
    };
    let rows = reader.dead_events(&page).unwrap();
    assert_eq!(rows.into_iter().map(|row| row.intact().unwrap().event.seq).collect::<Vec<_>>(), [4]);
    let done = reader.replays().unwrap().remove(0);
    assert_eq!((done.done, done.dead, done.ended_at), (1, 1, None));

    commit(&journal, Commit { pending: vec![pending(4)], ..commit_of(&consumer) }).unwrap();
    assert_eq!(change(&journal, Change::EndReplay { id, cancelled: true }), Ok(id));
    let ended = reader.replays().unwrap().remove(0);
    assert!(ended.cancelled && ended.ended_at.is_some());
    assert_eq!((reader.checkpoint(&consumer), reader.pending(&consumer)), (Ok(None), Ok(vec![])));
    let again = Err(JournalError::Failed(format!("there is no replay {id} under way").into()));
    assert_eq!(change(&journal, Change::EndReplay { id, cancelled: false }), again);
}

#[test]
fn a_consumer_is_parked_renamed_and_dropped() {
    let place = Place::new();
    let journal = place.open();
    fill(&journal, 5);
    journal.register("sink:a", Stream::Events, Start::Oldest).unwrap();
    let skipped = Skipped { first: 1, last: 1, reason: "overdue".to_owned() };
    let all = Commit {
        checkpoint: Some(4),
        pending: vec![pending(3)],
        dead: vec![dead(2)],
        attempts: vec![attempt(2, 1, Some("no"))],
        skipped: Some(skipped.clone()),
        ..commit_of("sink:a")
    };
    commit(&journal, all).unwrap();
    let park = |consumer: &str, reason: Option<&str>| {
        change(&journal, Change::Park { consumer: consumer.into(), reason: reason.map(ToOwned::to_owned) })
    };
    let unknown = |name: &str| Err(JournalError::Failed(format!("there is no consumer {name:?}").into()));
    assert_eq!((park("sink:a", Some("410")), park("sink:x", Some("410"))), (Ok(1), unknown("sink:x")));
    let rename = |from: &str, to: &str| change(&journal, Change::Rename { from: from.into(), to: to.into() });
    assert_eq!(rename("sink:x", "sink:b"), unknown("sink:x"));
    let taken = Err(JournalError::Failed(format!("there is a consumer {CONSUMER:?} already").into()));
    assert_eq!(rename("sink:a", CONSUMER), taken);
    assert_eq!(rename("sink:a", "sink:b"), Ok(1));
    journal.close();

    let journal = place.open();
    let mut reader = journal.reader().unwrap();
    let known = reader.consumers().unwrap().into_iter().find(|known| known.name == "sink:b").unwrap();
    let Consumer { checkpoint: 4, parked: Some(Parked { reason, .. }), .. } = known else { panic!("{known:?}") };
    assert_eq!(reason, "410");
    assert_eq!(reader.checkpoint("sink:a"), Ok(None));
    assert_eq!(reader.pending("sink:b"), Ok(vec![pending(3)]));
    assert_eq!(places(&mut reader, "sink:b"), [(2, 1)]);
    assert!(!reader.dead("sink:b", 0, 1).unwrap()[0].damaged);
    assert_eq!(reader.attempts(Stream::Events, 2).unwrap().keys().collect::<Vec<_>>(), ["sink:b"]);
    assert_eq!(
        reader.skipped().unwrap().iter().map(|(name, _, range)| (&**name, range)).collect::<Vec<_>>(),
        [("sink:b", &skipped)]
    );
    assert!(reader.passed("sink:b", 4).unwrap().1.is_some(), "when it got there came with it");
    // It goes on under its new name, and under no other.
    commit(&journal, Commit { checkpoint: Some(5), ..commit_of("sink:b") }).unwrap();
    assert!(commit(&journal, Commit { checkpoint: Some(5), ..commit_of("sink:a") }).is_err());
    let resume = Change::Park { consumer: "sink:b".into(), reason: None };
    assert_eq!(change(&journal, resume), Ok(1));
    assert!(reader.consumers().unwrap().iter().all(|known| known.parked.is_none()));

    assert_eq!(change(&journal, Change::Drop { consumer: "sink:b".into() }), Ok(1));
    assert_eq!(reader.checkpoint("sink:b"), Ok(None));
    assert_eq!((reader.pending("sink:b"), reader.dead_counts()), (Ok(vec![]), Ok([].into())));
    assert_eq!((reader.attempts(Stream::Events, 2), reader.skipped()), (Ok([].into()), Ok(vec![])));
    // Known no more: it begins where it is told to.
    assert_eq!(journal.register("sink:b", Stream::Events, Start::End), Ok(5));
}

#[test]
fn when_a_checkpoint_passed_is_known_to_a_second() {
    let place = Place::new();
    let journal = place.open();
    fill(&journal, 30);
    journal.register("sink:s", Stream::Events, Start::Oldest).unwrap();
    commit(&journal, Commit { checkpoint: Some(10), ..commit_of("sink:s") }).unwrap();
    // Within the same second as the first: not noted.
    commit(&journal, Commit { checkpoint: Some(20), ..commit_of("sink:s") }).unwrap();
    let mut reader = journal.reader().unwrap();
    let (before, after) = reader.passed("sink:s", 10).unwrap();
    assert!(before.is_none() && after.is_some());
    let first = after;
    journal.hook(|hooked| hooked.tables.at = hooked.tables.at.after(Duration::from_secs(2)));
    commit(&journal, Commit { checkpoint: Some(25), ..commit_of("sink:s") }).unwrap();
    let second = reader.passed("sink:s", 25).unwrap().1;
    assert!(second > first);
    for (seq, between) in [(10, (None, first)), (11, (first, second)), (25, (first, second)), (26, (second, None))] {
        assert_eq!(reader.passed("sink:s", seq), Ok(between), "{seq}");
    }
}

#[test]
fn a_time_is_found_though_rows_are_missing() {
    let place = Place::new();
    let journal = place.open();
    append_all(&journal, &vec![callback(None); 100]);
    journal.close();
    // Times of 10, 20, … with holes; nobody checks the sums here.
    place.tamper("UPDATE callbacks SET at = seq * 10; DELETE FROM callbacks WHERE seq < 5 OR seq BETWEEN 30 AND 60");
    let journal = place.open();
    let mut reader = journal.reader().unwrap();
    for (at, first) in [
        (0, Some(5)),
        (50, Some(5)),
        (51, Some(6)),
        (290, Some(29)),
        (291, Some(61)),
        (610, Some(61)),
        (1000, Some(100)),
        (1001, None),
    ] {
        let found = reader.first_at(Stream::Callbacks, Timestamp::from_millis(at));
        assert_eq!(found, Ok(first), "{at}");
    }
    assert_eq!(reader.first_at(Stream::Events, Timestamp::from_millis(0)), Ok(None));
}

#[test]
fn a_replayed_event_is_marked_and_the_mark_is_guarded() {
    let place = Place::new();
    let journal = place.open();
    journal.register(CONSUMER, Stream::Callbacks, Start::Oldest).unwrap();
    let source = callback(None);
    append(&journal, &source);
    let mut replayed = emitted(1, &source, vec![NewEvent::forwarding("t")]);
    replayed.replay = true;
    let live = emitted(1, &source, vec![NewEvent::forwarding("t")]);
    commit(&journal, Commit { events: vec![live, replayed], ..commit_of(CONSUMER) }).unwrap();
    journal.close();
    let whole = std::fs::read(place.path()).unwrap();
    for (tampered, expected) in [
        ("", [Some(false), Some(true)]),
        ("UPDATE events SET replay = NULL WHERE seq = 2", [Some(false), None]),
        ("UPDATE events SET replay = 3 WHERE seq = 2", [Some(false), None]),
        ("UPDATE events SET replay = 1 WHERE seq = 1", [None, Some(true)]),
        ("UPDATE events SET replay = 0 WHERE seq = 1", [None, Some(true)]),
    ] {
        std::fs::write(place.path(), &whole).unwrap();
        place.tamper(tampered);
        let journal = place.open();
        let marks: Vec<_> = events(&journal).into_iter().map(|row| row.intact().map(|row| row.event.replay)).collect();
        assert_eq!(marks, expected, "{tampered}");
        journal.close();
    }
}

#[test]
fn a_damaged_checkpoint_or_pending_item_is_put_right() {
    let place = Place::new();
    let journal = place.open();
    fill(&journal, 100);
    journal.register("sink:a", Stream::Events, Start::Oldest).unwrap();
    let noted = Commit { checkpoint: Some(16), ..commit_of("sink:a") };
    commit(&journal, noted).unwrap();
    commit(&journal, Commit { checkpoint: Some(64), pending: vec![pending(33), pending(40)], ..commit_of("sink:a") })
        .unwrap();
    journal.close();
    let whole = std::fs::read(place.path()).unwrap();
    // One bit each, except for the last two.
    for (tampered, checkpoint, left) in [
        ("", 64, [33, 40]),
        ("UPDATE checkpoint SET seq = 96 WHERE consumer = 'sink:a'", 64, [33, 40]),
        ("UPDATE checkpoint SET seq = 0 WHERE consumer = 'sink:a'", 64, [33, 40]),
        ("UPDATE checkpoint SET stream = 'evenps' WHERE consumer = 'sink:a'", 64, [33, 40]),
        ("UPDATE checkpoint SET consumer = 'cink:a' WHERE consumer = 'sink:a'", 64, [33, 40]),
        ("UPDATE checkpoint SET crc = crc + 1 - 2 * (crc & 1) WHERE consumer = 'sink:a'", 64, [33, 40]),
        ("UPDATE pending SET seq = 35 WHERE seq = 33", 64, [33, 40]),
        ("UPDATE pending SET consumer = 'sink:c' WHERE seq = 40", 64, [33, 40]),
        ("UPDATE pending SET error = 'status 513' WHERE seq = 40", 64, [33, 40]),
        ("UPDATE pending SET due = due + 3 WHERE seq = 40", 64, [33, 40]),
        // More than one: back to where it was seen for certain.
        ("UPDATE checkpoint SET seq = 99 WHERE consumer = 'sink:a'", 16, [33, 40]),
        ("UPDATE checkpoint SET seq = 97, crc = NULL WHERE consumer = 'sink:a'", 16, [33, 40]),
    ] {
        std::fs::write(place.path(), &whole).unwrap();
        place.tamper(tampered);
        let journal = place.open();
        let mut reader = journal.reader().unwrap();
        assert_eq!(reader.checkpoint("sink:a"), Ok(Some(checkpoint)), "{tampered}");
        let pending = reader.pending("sink:a").unwrap();
        assert_eq!(pending.iter().map(|pending| pending.seq).collect::<Vec<_>>(), left, "{tampered}");
        assert_eq!(reader.consumers().unwrap().len(), 2, "{tampered}");
        commit(&journal, Commit { checkpoint: Some(65), settled: vec![33], ..commit_of("sink:a") }).unwrap();
        assert_eq!(reader.pending("sink:a").unwrap().len(), 1, "{tampered}: it can be found to be ended");
        journal.close();
    }
}
