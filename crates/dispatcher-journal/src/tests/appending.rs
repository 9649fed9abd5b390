use dispatcher_core::TraceParent;

use super::*;

const TRACE: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

#[test]
fn a_callback_comes_back_byte_for_byte_with_all_columns_or_none() {
    let place = Place::new();
    let full = Callback::new(CallbackParts {
        id: CallbackId::mint(),
        app: App::new(u64::MAX, "ä \"quoted\" name"),
        command: Command::new("Made.Up"),
        query: TraceParent::read(TRACE).unwrap().behind("a=1&b=%20"),
        body: Bytes::from(format!("{{ \"x\" :\t\"\\u0000 ü {}\" }}", "y".repeat(100_000))),
        received_at: Timestamp::from_millis(1_764_000_000_001),
        event_time: Some(Timestamp::from_millis(-5)),
        key: Some("k\0ey".into()),
        identity: Some(u128::MAX - 3),
    });
    let bare = Callback::new(CallbackParts {
        id: CallbackId::from_bytes([0; 16]),
        app: App::new(0, ""),
        command: Command::new(""),
        query: "".into(),
        body: Bytes::new(),
        received_at: Timestamp::from_millis(0),
        event_time: None,
        key: None,
        identity: None,
    });
    let known = callback(Some(0));
    let all = [full, bare, known];
    let journal = place.open();
    let _keeps_the_tail = journal.reader().unwrap();
    for (idx, result) in append_all(&journal, &all).into_iter().enumerate() {
        assert_eq!(result, Ok(Appended::New { seq: idx as u64 + 1 }));
    }
    for from in ["memory", "the file"] {
        let read: Vec<_> = callbacks(&journal).into_iter().map(|row| row.intact().unwrap()).collect();
        assert_eq!(read.len(), 3);
        for (row, callback) in read.iter().zip(&all) {
            assert_eq!(facts(&row.callback), facts(callback), "from {from}");
        }
        assert_eq!(read[0].callback.traceparent().map(str::as_bytes), Some(TRACE), "from {from}");
        journal.hook(|hooked| hooked.forget_tail());
    }
}

#[test]
fn an_append_is_in_the_file_when_it_resolves() {
    let place = Place::new();
    let journal = place.open();
    append(&journal, &callback(None));
    // Another process sees what is committed, and nothing else.
    let rows: i64 = Connection::open(place.path())
        .unwrap()
        .query_row("SELECT count(*) FROM callbacks", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 1);
}

#[test]
fn a_page_ends_at_its_rows_or_its_bytes() {
    let place = Place::new();
    let journal = place.open();
    let mut reader = journal.reader().unwrap();
    append_all(&journal, &vec![callback(None); 600]);
    let one = crate::port::weight(&callback(None));
    for from in ["memory", "the file"] {
        for (max_rows, max_bytes, rows) in
            [(10, usize::MAX, 10), (usize::MAX, usize::MAX, 512), (100, one * 5, 5), (100, one * 5 + 1, 6), (100, 1, 1)]
        {
            let page = reader.callbacks(3, max_rows, max_bytes).unwrap();
            assert_eq!(page.len(), rows, "{max_rows} rows, {max_bytes} bytes, from {from}");
        }
        assert!(reader.callbacks(600, 10, usize::MAX).unwrap().is_empty());
        journal.hook(|hooked| hooked.forget_tail());
    }
}

#[test]
fn a_reader_that_comes_and_goes_misses_nothing() {
    let place = Place::new();
    let journal = place.open();
    for round in 1..=4 {
        append_all(&journal, &vec![callback(None); 10]);
        let reader = journal.reader().unwrap();
        append_all(&journal, &vec![callback(None); 10]);
        assert!(callbacks(&journal).into_iter().all(|row| row.intact().is_some()));
        assert_eq!(callbacks(&journal).len(), round * 20);
        drop(reader);
    }
}

#[test]
fn what_was_handed_over_is_stored_though_nobody_waits_any_more() {
    let place = Place::new();
    let journal = place.open();
    let port = journal.port();
    drop(port.append(callback(None)));
    assert!(port.append_detached(callback(None)));
    drive(&port, port.append(callback(None))).unwrap();
    assert_eq!(callbacks(&journal).len(), 3);
}

#[test]
fn seqs_and_times_go_on_after_a_restart_even_if_all_rows_are_gone() {
    let place = Place::new();
    let journal = place.open();
    fill(&journal, 5);
    journal.register("sink:a", Stream::Events, Start::End).unwrap();
    journal.close();
    place.tamper("DELETE FROM callbacks; DELETE FROM events;");

    let journal = place.open();
    assert_eq!(append(&journal, &callback(None)), Appended::New { seq: 6 });
    let mut ends = journal.ends();
    let told = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap()
        .block_on(async { *ends.wait_for(|ends| ends.callbacks == 6).await.unwrap() });
    assert_eq!(told, crate::Ends { callbacks: 6, events: 5 });
    journal.close();
    // Retention leaves a mark where no checkpoint does.
    let mark = crate::meta::text("callbacks_mark", 40);
    place.tamper(&format!(
        "DELETE FROM callbacks; DELETE FROM checkpoint; INSERT INTO meta VALUES ('callbacks_mark', '{mark}');"
    ));
    let journal = place.open();
    assert_eq!(append(&journal, &callback(None)), Appended::New { seq: 41 });
    journal.close();
    // The clock was set back an hour since rows that are gone.
    let later = Timestamp::now().after(long()).as_millis();
    let at = crate::meta::text("at", later.cast_unsigned());
    place.tamper(&format!("INSERT OR REPLACE INTO meta VALUES ('at', '{at}')"));
    let journal = place.open();
    append(&journal, &callback(None));
    journal.close();
    let read =
        |sql: &str| Connection::open(place.path()).unwrap().query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(read("SELECT at FROM callbacks ORDER BY seq DESC LIMIT 1"), later);
}

#[test]
fn ends_are_told_once_a_batch_is_committed() {
    let place = Place::new();
    let journal = place.open();
    let mut ends = journal.ends();
    assert_eq!(ends.borrow_and_update().callbacks, 0);
    let port = journal.port();
    assert!(port.append_detached(callback(None)));
    let seen = tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
        ends.changed().await.unwrap();
        ends.borrow().callbacks
    });
    assert_eq!(seen, 1);
}

#[test]
fn close_commits_what_waits_and_takes_nothing_more() {
    let place = Place::new();
    let journal = place.open();
    let port = journal.port();
    let appends: Vec<_> = (0..1500).map(|_| port.append(callback(None))).collect();
    journal.close();
    journal.close();
    drive(&port, async {
        for append in appends {
            append.await.unwrap();
        }
        assert_eq!(port.append(callback(None)).await, Err(AppendError::Closed));
    });
    assert!(!port.append_detached(callback(None)));
    assert_eq!(journal.register(CONSUMER, Stream::Callbacks, Start::End), Err(JournalError::Closed));
    assert!(!place.folder.path().join("journal.db-wal").exists(), "the log is emptied");
    assert_eq!(callbacks(&place.open()).len(), 1500);
}

#[test]
fn dropping_the_last_handle_closes() {
    let place = Place::new();
    let port = {
        let journal = place.open();
        let port = journal.port();
        drop(port.append(callback(None)));
        port
    };
    assert_eq!(drive(&port, port.append(callback(None))), Err(AppendError::Closed));
    assert_eq!(callbacks(&place.open()).len(), 1);
}

#[test]
fn many_ports_keep_the_order_of_each() {
    let place = Place::new();
    let journal = place.open();
    let seqs: Vec<Vec<u64>> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            (0..4).map(|_| scope.spawn(|| append_all(&journal, &vec![callback(None); 700]))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap().into_iter().map(|result| result.unwrap().seq()).collect())
            .collect()
    });
    assert!(seqs.iter().all(|seqs| seqs.is_sorted()));
    let mut all = seqs.concat();
    all.sort_unstable();
    assert_eq!(all, (1..=2800).collect::<Vec<_>>());
    assert!(callbacks(&journal).into_iter().all(|row| row.intact().is_some()));
}

#[test]
fn a_writer_that_does_not_come_round_is_seen() {
    let place = Place::new();
    let journal = place.open();
    // Whoever is not seen within a minute is not seen.
    let wait_until = |is_so: &dyn Fn(Duration) -> bool| {
        let until = Instant::now() + Duration::from_secs(60);
        while !is_so(journal.busy_for()) {
            assert!(Instant::now() < until, "busy for {:?}", journal.busy_for());
            std::thread::yield_now();
        }
    };
    wait_until(&|busy| busy.is_zero());
    let (release, released) = std::sync::mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            journal.hook(move |_| {
                let _ = released.recv();
            })
        });
        wait_until(&|busy| busy > Duration::from_millis(20));
        drop(release);
    });
    wait_until(&|busy| busy.is_zero());
}
