use rusqlite::{Error, ffi};

use super::*;
use crate::Health;

/// What SQLite says when the disk is full.
pub(super) fn full() -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), None)
}

#[test]
fn a_full_disk_fails_appends_until_there_is_room() {
    let place = Place::new();
    let journal = place.open();
    append(&journal, &callback(None));
    journal.hook(|hooked| hooked.limit_pages(Some(0)));
    let many = vec![callback(None); 100];
    let results = append_all(&journal, &many);
    let reason = "database or disk is full (SQLite error 13)";
    assert!(results.iter().all(|result| *result == Err(AppendError::Failed(reason.into()))), "{results:?}");
    assert_eq!(journal.health(), Health::Failing(reason.into()));
    let port = journal.port();
    // Each too large for what room its page may have.
    for _ in 0..100 {
        assert!(port.append_detached(large()));
    }
    while journal.counts().unrecorded < 100 {
        thread::yield_now();
    }
    assert_eq!(journal.counts().unrecorded, 100);

    journal.hook(|hooked| hooked.limit_pages(None));
    assert_eq!(append(&journal, &callback(None)), Appended::New { seq: 2 });
    assert_eq!(journal.health(), Health::Ok);
    assert_eq!(callbacks(&journal).len(), 2);
    assert_eq!(journal.counts().queued_bytes, 0);
}

#[test]
fn a_full_disk_keeps_nobody_from_saying_that_he_does_not_run() {
    let place = Place::new();
    let journal = place.open();
    journal.register(CONSUMER, Stream::Callbacks, Start::End).unwrap();
    journal.hook(|hooked| hooked.limit_pages(Some(0)));
    let go_on = hold(&journal);
    let port = journal.port();
    for _ in 0..10 {
        assert!(port.append_detached(large()));
    }
    journal.set_running(CONSUMER, false);
    go_on();
    while journal.counts().unrecorded < 10 {
        thread::yield_now();
    }
    let (tell, told) = mpsc::channel();
    journal.hook(move |hooked| tell.send(hooked.tables.running.contains(CONSUMER)).unwrap());
    assert!(!told.recv().unwrap());
}

#[test]
fn a_failed_sync_ends_all_writing() {
    for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_DIR_FSYNC] {
        let place = Place::new();
        let journal = place.open();
        journal.register(CONSUMER, Stream::Callbacks, Start::End).unwrap();
        append(&journal, &callback(None));
        journal.hook(move |hooked| hooked.tables.fault = Some(Error::SqliteFailure(ffi::Error::new(code), None)));
        let reason: Arc<str> = format!("Error code {code}: disk I/O error (SQLite error {code})").into();
        let port = journal.port();
        // The one that met it, and those that come later, though the disk would take them.
        for _ in 0..2 {
            assert_eq!(drive(&port, port.append(callback(None))), Err(AppendError::Poisoned(reason.clone())));
        }
        assert_eq!(journal.health(), Health::Poisoned(reason.clone()));
        assert!(!port.append_detached(callback(None)));
        let progress = Commit { consumer: CONSUMER.into(), checkpoint: Some(1), ..Commit::default() };
        assert_eq!(commit(&journal, progress), Err(JournalError::Poisoned(reason)));
        journal.close();
        let journal = place.open();
        assert_eq!((callbacks(&journal).len(), journal.health()), (1, Health::Ok));
    }
}

#[test]
fn a_full_queue_refuses_and_has_room_again_later() {
    let place = Place::new();
    let journal = Journal::open(JournalOptions { queue_bytes: 5_000, ..place.options() }).unwrap();
    let port = journal.port();
    let go_on = hold(&journal);
    let appends: Vec<_> = (0..100).map(|_| port.append(callback(None))).collect();
    assert!(!port.append_detached(callback(None)));
    let waiting = journal.counts().queued_bytes;
    assert!((4_000..=5_000).contains(&waiting), "{waiting}");
    go_on();
    drive(&port, async {
        let (mut taken, mut refused) = (0, 0);
        for append in appends {
            match append.await {
                Ok(_) => taken += 1,
                Err(AppendError::QueueFull) => refused += 1,
                Err(err) => panic!("{err}"),
            }
        }
        assert!(taken > 5 && taken + refused == 100, "{taken} taken");
        port.append(callback(None)).await.unwrap();
    });
    assert_eq!(journal.counts().queued_bytes, 0);
}

#[test]
fn the_log_stays_small() {
    let place = Place::new();
    let journal = Journal::open(JournalOptions { sync: crate::Sync::Off, ..place.options() }).unwrap();
    let mut most = 0;
    for _ in 0..60 {
        append_all(&journal, &vec![large(); 50]);
        most = most.max(journal.counts().wal_bytes);
    }
    // 60 × 50 × 10 KiB were written.
    assert!(most < 12 << 20, "{most} bytes");
}

fn large() -> Callback {
    let small = callback(None);
    Callback::new(CallbackParts {
        id: small.id(),
        app: small.app().clone(),
        command: small.command().clone(),
        query: small.query().into(),
        body: vec![b' '; 10 << 10].into(),
        received_at: small.received_at(),
        event_time: None,
        key: None,
        identity: None,
    })
}

#[test]
fn a_writer_that_panics_leaves_nobody_waiting() {
    let place = Place::new();
    let journal = place.open();
    let port = journal.port();
    let go_on = hold_then(&journal, || panic!("as a bug would"));
    let append = port.append(callback(None));
    go_on();
    let result = drive(&port, append);
    assert_eq!(result, Err(AppendError::Poisoned("its writer has failed".into())));
    journal.close();
}
