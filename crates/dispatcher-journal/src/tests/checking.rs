//! The check and the backup, beside a writer that goes on.

use std::{cell::Cell, fs, ops::ControlFlow, os::unix::fs::PermissionsExt};

use super::*;
use crate::{Attempt, Backup, Check, Checked, DamagedRange, Dead, Pending, Progress};

fn on(_: Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn check(journal: &Journal) -> Check {
    journal.reader().unwrap().check(on).unwrap()
}

fn range(first: u64, last: u64, reason: &str) -> DamagedRange {
    DamagedRange { first, last, reason: reason.to_owned() }
}

fn dead(seq: u64) -> Dead {
    Dead { seq, reason: "status 400".to_owned(), attempts: 1, first_at: Timestamp::from_millis(5) }
}

fn pending(seq: u64) -> Pending {
    Pending {
        seq,
        key: None,
        app: 1,
        attempt: 1,
        first_at: Timestamp::from_millis(5),
        age: Duration::ZERO,
        due: Timestamp::from_millis(6),
        error: String::new(),
    }
}

/// Of everything something.
fn fill_all(journal: &Journal) {
    journal.register("sink:a", Stream::Events, Start::Oldest).unwrap();
    fill(journal, 1500);
    let attempt =
        Attempt { seq: 700, n: 1, at: Timestamp::from_millis(9), error: Some("no".to_owned()), response: None };
    let all = Commit {
        consumer: "sink:a".into(),
        checkpoint: Some(800),
        pending: vec![pending(600), pending(700)],
        dead: vec![dead(5), dead(650)],
        attempts: vec![attempt],
        ..Commit::default()
    };
    commit(journal, all).unwrap();
    for seq in [5, 650, 900, 901, 1400] {
        attach(journal, seq, decided("x"));
    }
    attach(journal, 900, late("y"));
    settle(journal);
}

#[test]
fn a_sound_journal_is_found_sound_with_what_is_in_it() {
    let place = Place::new();
    let journal = place.open_with(Retention::keeping(Duration::ZERO));
    fill_all(&journal);
    trim(&journal);
    let checked = Checked { intact: 901, deleted: 599, damaged: vec![] };
    let decisions = Checked { intact: 5, ..Checked::default() };
    let expected =
        Check { callbacks: checked.clone(), events: checked, decisions, dead: 2, pending: 2, problems: vec![] };
    assert_eq!(check(&journal), expected);
    assert!(expected.is_sound());
    let mut told = Vec::new();
    let mut reader = journal.reader().unwrap();
    let _ = reader.check(|progress| {
        told.push(progress);
        ControlFlow::Continue(())
    });
    assert!(told.iter().all(|told| told.done <= told.of && told.of > 0), "{told:?}");
    assert_eq!(told.iter().filter(|told| told.at == "events").map(|told| told.done).max(), Some(901));
    let stopped = reader.check(|_| ControlFlow::Break(()));
    assert_eq!(stopped, Err(JournalError::Failed("it was stopped".into())));
}

#[test]
fn all_damage_is_found_and_told_in_ranges() {
    let place = Place::new();
    let journal = place.open();
    fill_all(&journal);
    journal.close();
    place.tamper(
        "UPDATE decisions SET result = 'x' WHERE id / 256 IN (900, 901); UPDATE decisions SET id = id + 1000000 WHERE id / 256 = 1400;
         UPDATE decisions SET id = 3 WHERE id / 256 = 5;
         UPDATE callbacks SET body = '{}' WHERE seq BETWEEN 20 AND 22; DELETE FROM callbacks WHERE seq IN (23, 24);
         DELETE FROM events WHERE seq > 1490; UPDATE dead SET reason = 'x' WHERE seq = 650;
         INSERT INTO pending (consumer, seq, app, attempt, first_at, due, error) VALUES ('sink:z', 3, 1, 1, 1, 1, '');",
    );
    let journal = place.open();
    // While it is open: so that the start does not put it right.
    journal.hook(|hooked| {
        let sql = "UPDATE checkpoint SET seq = 9999 WHERE consumer = 'sink:a'";
        hooked.tables.connection().execute_batch(sql).unwrap();
    });
    let found = check(&journal);
    assert!(!found.is_sound());
    assert_eq!(found.callbacks.damaged, [range(20, 22, "fails its checksum"), range(23, 24, "is missing")]);
    assert_eq!((found.callbacks.intact, found.events.intact), (1495, 1485));
    assert_eq!(
        (found.decisions.intact, &found.decisions.damaged[..]),
        (1, &[range(900, 901, "fails its checksum")][..])
    );
    let events = &found.events.damaged;
    assert_eq!(events[0], range(20, 20, "its callback 20 fails its checksum"));
    // The file tells where the callbacks end; of the events nothing but the sink's checkpoint does, and it lies.
    assert_eq!(events.len(), 5);
    let problems: Vec<&str> = found.problems.iter().map(String::as_str).collect();
    assert_eq!(
        problems,
        [
            "a record of a decision has the number 3, and fails its checksum",
            "a record of a decision has the number 1358400, and fails its checksum",
            "a row of checkpoint fails its checksum: \"sink:a\" \"events\" 9999",
            "sink:a is at 9999, and the events end at 1490",
            "there are rows in pending of \"sink:z\", which is no consumer",
            "the dead letter sink:a/650 fails its checksum",
        ]
    );
}

#[test]
fn the_check_goes_on_behind_a_page_that_cannot_be_read() {
    let place = Place::new();
    let journal = place.open();
    append_all(&journal, &(0..400).map(|_| callback(None)).collect::<Vec<_>>());
    journal.close();
    let connection = Connection::open(place.path()).unwrap();
    let id: Vec<u8> = connection.query_row("SELECT id FROM callbacks WHERE seq = 200", [], |row| row.get(0)).unwrap();
    drop(connection);
    let mut file = fs::read(place.path()).unwrap();
    let page = file.windows(16).position(|bytes| bytes == id).unwrap() / 8192;
    file[page * 8192..(page + 1) * 8192].fill(0xff);
    fs::write(place.path(), &file).unwrap();
    let journal = place.open();
    let found = check(&journal).callbacks;
    assert_eq!(found.damaged.len(), 1);
    let lost = &found.damaged[0];
    assert!(lost.reason.starts_with("cannot be read: ") && (lost.first..=lost.last).contains(&200), "{lost:?}");
    assert_eq!(found.intact + (lost.last - lost.first + 1), 400);
    // The copy has all but those.
    let copy = place.folder.path().join("copy.db");
    let made = journal.reader().unwrap().backup(&copy, on).unwrap();
    assert_eq!((made.callbacks, made.unreadable), (found.intact, lost.last - lost.first + 1));
    let copied = Journal::open(JournalOptions::new(&copy)).unwrap();
    let again = check(&copied).callbacks;
    assert_eq!((again.intact, again.damaged), (found.intact, vec![range(lost.first, lost.last, "is missing")]));
}

#[test]
fn a_copy_is_a_journal_of_one_moment() {
    let place = Place::new();
    let retention = Retention::keeping(Duration::ZERO);
    let journal = place.open_with(retention.clone());
    fill_all(&journal);
    trim(&journal);
    let copy = place.folder.path().join("copy.db");
    let steps = Cell::new(0);
    let mut reader = journal.reader().unwrap();
    let made = reader.backup(&copy, |_| {
        // Everything goes on meanwhile: new rows, new progress, and what is done is deleted.
        if steps.replace(steps.get() + 1) == 0 {
            let callback = callback(None);
            let seq = append(&journal, &callback).seq();
            let events = vec![emitted(seq, &callback, vec![NewEvent::forwarding("t")])];
            commit(&journal, Commit { consumer: CONSUMER.into(), checkpoint: Some(seq), events, ..Commit::default() })
                .unwrap();
            let done = Commit {
                consumer: "sink:a".into(),
                checkpoint: Some(1501),
                settled: vec![600, 700],
                dead: vec![dead(1501)],
                ..Commit::default()
            };
            commit(&journal, done).unwrap();
            trim(&journal);
            assert_eq!(journal.reader().unwrap().floor(Stream::Events), 1501);
        }
        ControlFlow::Continue(())
    });
    let made = made.unwrap();
    assert!(steps.get() > 1 && made.bytes > 0);
    let mode = |path: &PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&copy), fs::read_dir(place.folder.path()).unwrap().count()), (0o600, 5));

    // Opened with no retention, so that it stays what it is.
    let copied = Journal::open(JournalOptions::new(&copy)).unwrap();
    assert_eq!(*copied.ends().borrow(), crate::Ends { callbacks: 1500, events: 1500 });
    let mut reader = copied.reader().unwrap();
    assert_eq!((reader.checkpoint(CONSUMER), reader.checkpoint("sink:a")), (Ok(Some(1500)), Ok(Some(800))));
    assert_eq!(reader.pending("sink:a").unwrap().len(), 2);
    let found = check(&copied);
    assert!(found.is_sound(), "{found:?}");
    assert_eq!((found.callbacks.intact, found.events.intact, found.dead), (made.callbacks, made.events, made.dead));
    // By the time they were copied retention had taken them, with their callbacks.
    assert_eq!((found.decisions.intact, made.decisions), (0, 0));
    // The first page of callbacks was read before the rest went.
    assert_eq!((found.callbacks.intact, found.callbacks.deleted), (500, 1000));
    assert_eq!(append(&copied, &callback(None)), Appended::New { seq: 1501 });
    copied.close();
    // And retention goes on in it.
    let copied = Journal::open(JournalOptions { retention: Some(retention), ..JournalOptions::new(&copy) }).unwrap();
    copied.register("sink:a", Stream::Events, Start::End).unwrap();
    let done =
        Commit { consumer: "sink:a".into(), checkpoint: Some(1500), settled: vec![600, 700], ..Commit::default() };
    commit(&copied, done).unwrap();
    commit(&copied, Commit { consumer: CONSUMER.into(), checkpoint: Some(1501), ..Commit::default() }).unwrap();
    trim(&copied);
    assert_eq!((callbacks_left(&copied), copied.reader().unwrap().floor(Stream::Callbacks)), (0, 1501));
}

fn callbacks_left(journal: &Journal) -> usize {
    journal.reader().unwrap().callbacks(0, 512, usize::MAX).unwrap().len()
}

#[test]
fn a_copy_takes_nobodys_place_and_leaves_nothing_half_done() {
    let place = Place::new();
    let journal = place.open();
    fill_all(&journal);
    let mut reader = journal.reader().unwrap();
    let copy = place.folder.path().join("copy.db");
    let whole = reader.backup(&copy, on).unwrap();
    assert_eq!(
        whole,
        Backup { callbacks: 1500, events: 1500, decisions: 6, dead: 2, bytes: whole.bytes, unreadable: 0 }
    );
    let said =
        format!("{}: cannot write the copy: there is something of this name already; choose another", copy.display());
    assert_eq!(reader.backup(&copy, on), Err(JournalError::Failed(said.into())));
    let other = place.folder.path().join("other.db");
    assert!(reader.backup(&other, |_| ControlFlow::Break(())).is_err());
    let nowhere = place.folder.path().join("no/such/folder.db");
    let err = reader.backup(&nowhere, on).unwrap_err().to_string();
    assert!(err.starts_with(&format!("{}: cannot write the copy: ", nowhere.display())), "{err}");
    let left: Vec<_> = fs::read_dir(place.folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("other")), "{left:?}");
    // The same rows, byte for byte.
    let copied = Journal::open(JournalOptions::new(&copy)).unwrap();
    let of = |journal: &Journal| -> Vec<_> {
        events(journal).into_iter().map(|row| event_facts(&row.intact().unwrap().event)).collect()
    };
    assert!(of(&journal) == of(&copied));
    let decisions = |journal: &Journal| journal.reader().unwrap().decisions_page(0, 99).unwrap();
    assert_eq!((decisions(&journal), decisions(&journal).rows.len()), (decisions(&copied), 6));
    let letters = |journal: &Journal| journal.reader().unwrap().dead("sink:a", 0, 9).unwrap();
    assert_eq!(letters(&journal), letters(&copied));
    let attempts = |journal: &Journal| journal.reader().unwrap().attempts(Stream::Events, 700).unwrap();
    assert_eq!((attempts(&journal).len(), attempts(&journal)), (1, attempts(&copied)));
}
