//! Files of earlier formats, each written by the code that was released with it, and opened by this.
//!
//! Each released format has a file in `tests/fixtures`, a line in `FIXTURES`, and what has come to it since in `compare`.

use std::{fs, os::unix::fs::PermissionsExt};

use rusqlite::types::Value;

use super::*;
use crate::{Attempt, OpenError, migration, safety_copy};

const FIXTURES: [(i64, &[u8]); 2] =
    [(1, include_bytes!("../../tests/fixtures/format-1.db")), (2, include_bytes!("../../tests/fixtures/format-2.db"))];

fn place_with(fixture: &[u8]) -> Place {
    let place = Place::new();
    fs::write(place.path(), fixture).unwrap();
    place
}

fn copy_path(place: &Place, format: i64) -> PathBuf {
    place.folder.path().join(format!("journal.db.format{format}.bak"))
}

/// All of these columns, read with nothing of the journal's.
fn raw(path: &std::path::Path, sql: &str) -> Vec<Vec<Value>> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    let width = statement.column_count();
    let rows = statement.query_map([], |row| (0..width).map(|idx| row.get(idx)).collect()).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn files_of_all_formats_are_opened_with_all_that_is_in_them() {
    for (format, fixture) in FIXTURES {
        let place = place_with(fixture);
        let journal = place.open();
        // The copy is the file as it was.
        let before = copy_path(&place, format);
        assert_eq!(fs::read(&before).unwrap(), fixture);
        assert_eq!(fs::metadata(&before).unwrap().permissions().mode() & 0o777, 0o600);
        compare(&journal, &before, format);
        assert!(journal.reader().unwrap().check(|_| std::ops::ControlFlow::Continue(())).unwrap().is_sound());
        assert_eq!((journal.reader().unwrap().decisions(8), journal.shadows()), (Ok(vec![]), Ok(vec![])));
        // And it goes on from there.
        assert_eq!(append(&journal, &callback(None)), Appended::New { seq: 9 });
        let progress =
            Commit { consumer: "sink:archive".into(), checkpoint: Some(9), settled: vec![], ..Commit::default() };
        commit(&journal, progress).unwrap();
        assert!(journal.port().append_decided(callback(None), decided("x"), None));
        journal.close();
        let journal = place.open();
        assert_eq!(on_record(&journal, 10), [word(DecisionKind::Decided, 0, "x")]);
        journal.close();
        // Once more, now that there is nothing to bring forward; the copy is not made anew.
        fs::write(&before, "kept").unwrap();
        place.open().close();
        assert_eq!(fs::read(&before).unwrap(), b"kept");
    }
}

/// What the journal reads is what stands in the file of the old format.
fn compare(journal: &Journal, before: &std::path::Path, format: i64) {
    // What came with the second format.
    let second = |columns: &'static str| if format < 2 { "" } else { columns };
    let text = |value: &Value| match value {
        Value::Text(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    let number = |value: &Value| match value {
        Value::Integer(number) => *number,
        other => panic!("{other:?}"),
    };
    let optional = |value: Option<&str>| value.map_or(Value::Null, |text| Value::Text(text.to_owned()));

    let rows = raw(
        before,
        "SELECT seq, received, event_time, id, app, app_name, command, key, identity, query, body FROM callbacks",
    );
    let read: Vec<Vec<Value>> = callbacks(journal)
        .into_iter()
        .map(|row| {
            let CallbackRow { seq, callback } = row.intact().unwrap();
            vec![
                Value::Integer(seq.cast_signed()),
                Value::Integer(callback.received_at().as_millis()),
                callback.event_time().map_or(Value::Null, |time| Value::Integer(time.as_millis())),
                Value::Blob(callback.id().as_bytes().to_vec()),
                Value::Integer(callback.app().sdk_app_id().cast_signed()),
                Value::Text(callback.app().name().to_owned()),
                Value::Text(callback.command().as_str().to_owned()),
                optional(callback.key().map(|key| &**key)),
                callback.identity().map_or(Value::Null, |identity| Value::Blob(identity.to_be_bytes().to_vec())),
                Value::Text(callback.query().to_owned()),
                Value::Text(String::from_utf8(callback.body_bytes().to_vec()).unwrap()),
            ]
        })
        .collect();
    assert_eq!((read.len(), read), (8, rows));

    let sql = "SELECT seq, callback, handler, n, type, key, time, data, sinks";
    let rows = raw(before, &format!("{sql}{} FROM events", second(", replay")));
    let mut replayed = 0;
    let read: Vec<Vec<Value>> = events(journal)
        .into_iter()
        .map(|row| {
            let EventRow { event, callback_seq, sinks } = row.intact().unwrap();
            replayed += u64::from(event.replay);
            let mut row = vec![
                Value::Integer(event.seq.cast_signed()),
                Value::Integer(callback_seq.cast_signed()),
                Value::Text(event.handler.to_string()),
                Value::Integer(event.n.into()),
                Value::Text(event.event_type.to_string()),
                optional(event.key.as_deref()),
                Value::Integer(event.time.as_millis()),
                match &event.data {
                    EventData::Json(json) => Value::Text(String::from_utf8(json.to_vec()).unwrap()),
                    EventData::Callback => Value::Null,
                },
                Value::Text(sinks.to_string()),
            ];
            row.extend((format >= 2).then_some(if event.replay { Value::Integer(1) } else { Value::Null }));
            row
        })
        .collect();
    assert_eq!((read.len(), read), (9, rows));
    assert_eq!(replayed, u64::from(format >= 2));

    let rows = raw(before, "SELECT consumer, stream, seq FROM checkpoint ORDER BY consumer");
    let known = journal.consumers().unwrap();
    let parked: Vec<_> = known.iter().filter(|known| known.parked.is_some()).map(|known| &*known.name).collect();
    assert_eq!(parked, if format < 2 { &[][..] } else { &["sink:busy"] });
    let former: usize = known.iter().map(|known| known.former.len()).sum();
    assert_eq!(former, usize::from(format >= 2));
    let known: Vec<_> =
        known.iter().map(|known| (known.name.clone(), known.stream.as_str(), known.checkpoint)).collect();
    assert_eq!(known.len(), if format < 2 { 5 } else { 6 });
    for (known, row) in known.iter().zip(&rows) {
        assert_eq!(*known, (text(&row[0]), known.1, number(&row[2]).cast_unsigned()));
        assert_eq!(known.1, text(&row[1]));
    }

    let mut reader = journal.reader().unwrap();
    let sql = "SELECT seq, app, key, attempt, first_at, due, error";
    let rows = raw(before, &format!("{sql}{} FROM pending WHERE consumer = 'sink:busy'", second(", age")));
    let read = reader.pending("sink:busy").unwrap();
    assert!(format >= 2 || read.iter().all(|pending| pending.age == Duration::ZERO));
    let read: Vec<Vec<Value>> = read
        .iter()
        .map(|pending| {
            let age = i64::try_from(pending.age.as_millis()).unwrap();
            let mut row = vec![
                Value::Integer(pending.seq.cast_signed()),
                Value::Integer(pending.app.cast_signed()),
                optional(pending.key.as_deref()),
                Value::Integer(pending.attempt.into()),
                Value::Integer(pending.first_at.as_millis()),
                Value::Integer(pending.due.as_millis()),
                Value::Text(pending.error.clone()),
            ];
            row.extend((format >= 2).then_some(Value::Integer(age)));
            row
        })
        .collect();
    assert_eq!((read.len(), read), (8, rows));

    let rows = raw(before, "SELECT rowid, seq, at, first_at, reason, attempts, copy FROM dead");
    let read = reader.dead("sink:refusing", 0, 100).unwrap();
    assert!(read.iter().all(|dead| !dead.damaged));
    let histories: Vec<Attempt> = read.iter().flat_map(|dead| dead.history.clone()).collect();
    assert_eq!(histories.len(), usize::from(format >= 2));
    let attempts = reader.attempts(Stream::Events, 3).unwrap();
    let replays: Vec<_> =
        reader.replays().unwrap().iter().map(|replay| (replay.id, replay.ended_at.is_some())).collect();
    let (n_attempts, known) = if format < 2 { (0, vec![]) } else { (1, vec![(2, false), (1, true)]) };
    assert_eq!((attempts.len(), replays, reader.skipped().unwrap().len()), (n_attempts, known, n_attempts));
    let read: Vec<Vec<Value>> = read
        .iter()
        .map(|dead| {
            vec![
                Value::Integer(dead.place.cast_signed()),
                Value::Integer(dead.seq.cast_signed()),
                Value::Integer(dead.at.as_millis()),
                Value::Integer(dead.first_at.as_millis()),
                Value::Text(dead.reason.clone()),
                Value::Integer(dead.attempts.into()),
                Value::Text(dead.copy.clone()),
            ]
        })
        .collect();
    assert_eq!((read.len(), read), (8, rows));
}

#[test]
fn a_large_file_is_copied_without_the_rows_that_stay_as_they_are() {
    let (format, fixture) = FIXTURES[0];
    let place = place_with(fixture);
    // What an earlier try left behind.
    fs::write(place.folder.path().join("journal.db.format1.bak.part"), "half of it").unwrap();
    let made = safety_copy::make(&place.path(), format, 0).unwrap();
    assert_eq!(made.path, copy_path(&place, format));
    if made.holds == "the whole journal" {
        // This file system shares blocks between files: the other way cannot be tried here.
        assert_eq!(fs::read(&made.path).unwrap(), fixture);
        return;
    }
    assert_eq!(made.holds, "all but the rows of callbacks, events and decisions, which stay as they are");
    assert_eq!(fs::metadata(&made.path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(raw(&made.path, "PRAGMA user_version"), [[Value::Integer(format)]]);
    for table in ["checkpoint", "pending", "dead", "meta"] {
        let sql = format!("SELECT * FROM {table}");
        assert_eq!(raw(&made.path, &sql), raw(&place.path(), &sql), "{table}");
    }
    for table in ["callbacks", "events"] {
        assert_eq!(raw(&made.path, &format!("SELECT count(*) FROM {table}")), [[Value::Integer(0)]]);
    }
    let schema = "SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
    assert_eq!(raw(&made.path, schema), raw(&place.path(), schema));
    assert!(!place.folder.path().join("journal.db.format1.bak.part").exists());
}

#[test]
fn a_crash_in_the_middle_leaves_the_old_format() {
    let (format, fixture) = FIXTURES[0];
    let place = place_with(fixture);
    let mut connection = Connection::open(place.path()).unwrap();
    // So that what was not committed reaches the disk all the same.
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA cache_size = 1; PRAGMA cache_spill = 1").unwrap();
    let transaction = connection.transaction().unwrap();
    migration::steps(&transaction, format).unwrap();
    // The power goes.
    let after = Place::new();
    for name in ["journal.db", "journal.db-wal"] {
        fs::copy(place.folder.path().join(name), after.folder.path().join(name)).unwrap();
    }
    drop(transaction);
    assert_eq!(raw(&after.path(), "PRAGMA user_version"), [[Value::Integer(format)]]);
    let journal = after.open();
    compare(&journal, &copy_path(&after, format), format);
}

#[test]
fn no_copy_means_no_migration() {
    let (format, fixture) = FIXTURES[0];
    let place = place_with(fixture);
    // Where the copy would be written, a folder is in the way.
    fs::create_dir(place.folder.path().join("journal.db.format1.bak.part")).unwrap();
    let err = Journal::open(place.options()).err().unwrap();
    let said = format!(
        "{}: cannot copy the journal before it is brought from format 1 to 3; make room beside it, or see to the folder: ",
        place.path().display()
    );
    assert!(matches!(&err, OpenError::Other(text) if text.starts_with(&said)), "{err}");
    assert_eq!(raw(&place.path(), "PRAGMA user_version"), [[Value::Integer(format)]]);
}

#[test]
fn callbacks_of_blocks_that_an_old_format_filled_stay_as_long_as_those() {
    let place = Place::new();
    // Three blocks of events in a file of the first format, all of them made of the first callbacks.
    let connection = Connection::open(place.path()).unwrap();
    connection.execute_batch(migration::FIRST).unwrap();
    connection
        .execute_batch(
            "PRAGMA user_version = 1;
             WITH RECURSIVE seqs (seq) AS (SELECT 1 UNION ALL SELECT seq + 1 FROM seqs WHERE seq < 2500)
             INSERT INTO events SELECT seq, 1, 7, 'h', 0, 't', NULL, 1, NULL, 'a', 0 FROM seqs;",
        )
        .unwrap();
    drop(connection);
    let journal = place.open();
    journal.hook(|hooked| {
        let (last, connection) = (hooked.tables.last_block, hooked.tables.connection());
        assert_eq!(last.unreferred(connection, 0).unwrap(), 0, "nobody knows of the second block");
        assert_eq!(last.unreferred(connection, 1024).unwrap(), 6, "it is read, and the last is known");
        assert_eq!(last.unreferred(connection, 2500).unwrap(), u64::MAX - 1, "there is none");
    });
}
