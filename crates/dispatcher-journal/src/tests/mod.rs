//! The journal on a real disk, with the writer's own thread and real connections.

mod appending;
mod checking;
mod committing;
mod damage;
mod deciding;
mod keeping;
mod migrating;
mod opening;
mod repeats;
mod retaining;
mod retention_model;
mod trouble;

use std::{
    path::PathBuf,
    sync::{Arc, mpsc},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dispatcher_core::{App, Callback, CallbackId, CallbackParts, Command, Event, EventData, NewEvent, Timestamp};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::{
    AppendError, Appended, CallbackRow, Commit, DecisionEvents, DecisionKind, DecisionRecord, DecisionRow, Emitted,
    EventRow, Journal, JournalError, JournalOptions, Port, Retention, Row, Start, Stream,
};

const CONSUMER: &str = "handler:h";

/// A journal in a folder of its own, which can be closed, tampered with, and opened again.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Place {
        Place { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    fn options(&self) -> JournalOptions {
        JournalOptions::new(self.path())
    }

    #[track_caller]
    fn open_with(&self, retention: Retention) -> Journal {
        Journal::open(JournalOptions { retention: Some(retention), sync: crate::Sync::Off, ..self.options() }).unwrap()
    }

    #[track_caller]
    fn open(&self) -> Journal {
        Journal::open(self.options()).unwrap()
    }

    /// Does to the closed file what nobody should.
    #[track_caller]
    fn tamper(&self, sql: &str) {
        Connection::open(self.path()).unwrap().execute_batch(sql).unwrap();
    }
}

/// Runs `work` beside the port's pump.
fn drive<T>(port: &Port, work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        tokio::select! {
            () = port.pump() => unreachable!("a pump never ends"),
            done = work => done,
        }
    })
}

/// Keeps the writer busy until it is told to go on: whatever is handed over meanwhile goes into one batch.
fn hold(journal: &Journal) -> impl FnOnce() + use<> {
    hold_then(journal, || {})
}

/// The same, and runs `then` on the writer's thread before it goes on.
fn hold_then<F: FnOnce() + Send + 'static>(journal: &Journal, then: F) -> impl FnOnce() + use<F> {
    let (go, wait) = mpsc::channel::<()>();
    let (here, arrived) = mpsc::channel();
    let journal = journal.clone();
    let held = thread::spawn(move || {
        journal.hook(move |_| {
            here.send(()).unwrap();
            let _ = wait.recv();
            then();
        });
    });
    arrived.recv().unwrap();
    move || {
        drop(go);
        held.join().unwrap();
    }
}

/// Appends all in one batch, unless they are too many, and waits for all.
fn append_all(journal: &Journal, callbacks: &[Callback]) -> Vec<Result<Appended, AppendError>> {
    let port = journal.port();
    let go_on = hold(journal);
    let appends: Vec<_> = callbacks.iter().map(|callback| port.append(callback.clone())).collect();
    go_on();
    drive(&port, async {
        let mut results = Vec::new();
        for append in appends {
            results.push(append.await);
        }
        results
    })
}

#[track_caller]
fn append(journal: &Journal, callback: &Callback) -> Appended {
    let port = journal.port();
    drive(&port, port.append(callback.clone())).unwrap()
}

fn commit(journal: &Journal, commit: Commit) -> Result<(), JournalError> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(journal.commit(commit))
}

/// Appends `n` callbacks, and has a handler emit one event for each.
#[track_caller]
fn fill(journal: &Journal, n: u64) {
    journal.register(CONSUMER, Stream::Callbacks, Start::Oldest).unwrap();
    let callbacks: Vec<Callback> = (0..n).map(|_| callback(None)).collect();
    let appended = append_all(journal, &callbacks);
    let events = appended
        .into_iter()
        .zip(&callbacks)
        .map(|(appended, callback)| emitted(appended.unwrap().seq(), callback, vec![NewEvent::forwarding("t")]));
    let events = events.collect();
    commit(journal, Commit { consumer: CONSUMER.into(), checkpoint: Some(n), events, ..Commit::default() }).unwrap();
}

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

/// Puts a record beside a callback that is there.
#[track_caller]
fn attach(journal: &Journal, seq: u64, record: DecisionRecord) {
    let whereabouts = crate::Place::new();
    whereabouts.settle(Some(crate::place::Seat { seq, is_repeat: false }));
    assert!(journal.attach(&whereabouts, record, Arc::new(callback(None))));
}

/// Lets retention do all that it would.
fn trim(journal: &Journal) {
    journal.hook(|hooked| hooked.trim());
}

fn callback(identity: Option<u128>) -> Callback {
    callback_of("Group.CallbackAfterGroupFull", identity)
}

fn callback_of(command: &str, identity: Option<u128>) -> Callback {
    Callback::new(CallbackParts {
        id: CallbackId::mint(),
        app: App::new(1_400_000_001, "main"),
        command: Command::new(command),
        query: "SdkAppid=1400000001&contenttype=json".into(),
        body: Bytes::from_static(br#"{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"@TGS#1"}"#),
        received_at: Timestamp::from_millis(1_764_000_000_000),
        event_time: None,
        key: Some("@TGS#1".into()),
        identity,
    })
}

fn emitted(callback_seq: u64, callback: &Callback, events: Vec<NewEvent>) -> Emitted {
    Emitted {
        callback_seq,
        callback: Arc::new(callback.clone()),
        handler: "h".into(),
        sinks: "a,b".into(),
        events,
        replay: false,
    }
}

/// All rows of a stream, read in small pages, each as its seq and whether it is intact.
fn callbacks(journal: &Journal) -> Vec<Row<CallbackRow>> {
    let mut reader = journal.reader().unwrap();
    pages(|after| reader.callbacks(after, 7, usize::MAX).unwrap(), |row| row.seq)
}

fn events(journal: &Journal) -> Vec<Row<EventRow>> {
    let mut reader = journal.reader().unwrap();
    pages(|after| reader.events(after, 7, usize::MAX).unwrap(), |row| row.event.seq)
}

fn pages<T>(mut read: impl FnMut(u64) -> Vec<Row<T>>, seq: impl Fn(&T) -> u64) -> Vec<Row<T>> {
    let mut all: Vec<Row<T>> = Vec::new();
    loop {
        let page = read(all.len() as u64);
        if page.is_empty() {
            return all;
        }
        for row in page {
            let seq = match &row {
                Row::Intact(row) => seq(row),
                Row::Damaged { seq, .. } => *seq,
            };
            assert_eq!(seq, all.len() as u64 + 1, "a seq is left out, or comes twice");
            all.push(row);
        }
    }
}

/// The damaged ones among these rows, with what is wrong with them.
fn damaged<T>(rows: &[Row<T>]) -> Vec<(u64, &str)> {
    rows.iter()
        .filter_map(|row| match row {
            Row::Intact(_) => None,
            Row::Damaged { seq, reason } => Some((*seq, reason.as_str())),
        })
        .collect()
}

/// All that a callback is made of, for comparison.
fn facts(callback: &Callback) -> impl PartialEq + std::fmt::Debug + use<> {
    (
        callback.id(),
        callback.app().clone(),
        callback.command().clone(),
        (callback.query_and_trace().to_owned(), callback.body_bytes().clone()),
        (callback.received_at(), callback.event_time()),
        callback.key().cloned(),
        callback.identity(),
    )
}

/// All that an event is made of.
fn event_facts(event: &Event) -> impl PartialEq + std::fmt::Debug + use<> {
    let data = match &event.data {
        EventData::Json(json) => Some(json.clone()),
        EventData::Callback => None,
    };
    (
        (event.seq, event.handler.clone(), event.n, event.event_type.clone()),
        (event.key.clone(), event.time, data, event.replay),
        facts(&event.callback),
    )
}

fn long() -> Duration {
    Duration::from_secs(3600)
}
