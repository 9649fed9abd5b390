//! The socket beside the journal: any bytes are a request or told why not, and every request gets its last answer.

use std::{
    cell::OnceCell,
    fs,
    io::Write as _,
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use dispatcher_control::{Answer, Asker, Configured, ConfiguredDecider, Gone, Operations, Request, Setup, fuzzing};
use dispatcher_core::{App, Callback, CallbackId, CallbackParts, Command, NewEvent, Timestamp};
use dispatcher_journal::{Attempt, Commit, Dead, Emitted, Journal, JournalOptions, Start, Stream, Sync};
use serde::de::IgnoredAny;
use serde_json::Value;
use tempfile::TempDir;

use crate::json::has_repeats;

/// What a client writes before it waits for answers: read as a plain reader reads it, the same after it was written again,
/// and answered on a small journal.
///
/// # Panics
/// It is not.
pub fn control(bytes: &[u8]) {
    let request = sent(bytes);
    check_read(bytes, &request);
    let Some(Ok(request)) = request else { return };
    let line = fuzzing::request_line(&request).expect("what was read can be written");
    assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1), "{request:?} is not one line");
    assert!(is_same(&sent(&line), &request), "{request:?} became {:?}", sent(&line));
    if changes(&request) {
        let place = Place::new();
        place.answer(request);
    } else {
        // What changes nothing can share a journal.
        thread_local!(static PLACE: OnceCell<Place> = const { OnceCell::new() });
        PLACE.with(|place| place.get_or_init(Place::new).answer(request));
    }
}

/// What the server reads of these bytes, after which nothing more comes.
fn sent(bytes: &[u8]) -> Option<Result<Request, String>> {
    let (mut client, server) = UnixStream::pair().expect("there are sockets");
    std::thread::scope(|scope| {
        let mut send = || client.write_all(bytes).and_then(|()| client.shutdown(Shutdown::Write));
        // What the system keeps for a socket is far more than this.
        if bytes.len() <= 32 << 10 {
            send().expect("so little fits in");
        } else {
            scope.spawn(move || drop(send()));
        }
        let read = fuzzing::read(&server).ok();
        drop(server);
        read
    })
}

fn check_read(bytes: &[u8], read: &Option<Result<Request, String>>) {
    assert_eq!(read.is_none(), bytes.is_empty(), "{read:?}");
    let line = bytes.iter().position(|byte| *byte == b'\n').map(|end| &bytes[..end]);
    let text = || String::from_utf8_lossy(bytes);
    match (read, line) {
        (None, _) => {}
        (Some(Ok(request)), Some(line)) => {
            assert!(serde_json::from_slice::<IgnoredAny>(line).is_ok(), "{:?} is not JSON", text());
            let Ok(Value::Object(tree)) = serde_json::from_slice(line) else { return };
            assert_eq!(tree["version"], 1, "{:?}", text());
            let plain = serde_json::from_value::<Request>(tree["request"].clone());
            assert_eq!(plain.ok().as_ref(), Some(request), "{:?}", text());
        }
        (Some(Err(what)), Some(line)) => {
            let Ok(Value::Object(tree)) = serde_json::from_slice(line) else { return };
            let plain = tree.get("request").and_then(|request| serde_json::from_value::<Request>(request.clone()).ok());
            let is_request = tree.get("version") == Some(&Value::from(1)) && plain.is_some();
            assert!(!is_request || str::from_utf8(line).is_ok_and(has_repeats), "{:?}: {what}", text());
        }
        (Some(request), None) => assert!(request.is_err(), "{:?} does not end, and is {request:?}", text()),
    }
}

/// Whether this is the request, but for the last bit of a rate.
fn is_same(read: &Option<Result<Request, String>>, request: &Request) -> bool {
    let Some(Ok(read)) = read else { return false };
    let (mut read, mut request) = (read.clone(), request.clone());
    let (one, other) = (take_rate(&mut read), take_rate(&mut request));
    let is_near = match (one, other) {
        (Some(one), Some(other)) => (one - other).abs() <= one.abs() * f64::EPSILON,
        (one, other) => one.is_none() && other.is_none(),
    };
    read == request && is_near
}

fn take_rate(request: &mut Request) -> Option<f64> {
    match request {
        Request::ReplayDead { rate, .. } => rate.take(),
        Request::Replay { spec, .. } | Request::DryRun { spec } => spec.rate.take(),
        _ => None,
    }
}

fn changes(request: &Request) -> bool {
    use Request::{
        Callbacks, Check, DeadLetters, DryRun, Events, LogLevel, Reload, Replays, Show, Status, WatchReplay,
    };
    !matches!(
        request,
        Callbacks(_)
            | Events(_)
            | Show { .. }
            | DeadLetters { .. }
            | DryRun { .. }
            | Replays
            | WatchReplay { .. }
            | Status
            | Check
            | Reload // There is nothing that runs.
            | LogLevel { .. }
    )
}

/// A journal that no dispatcher runs on: three callbacks, two events of the first, dead letters of a handler and a sink.
struct Place {
    folder: TempDir,
    operations: Operations,
}

const HANDLER: &str = "handler:h";
const SINK: &str = "sink:s";

impl Place {
    fn new() -> Place {
        thread_local!(static FILLED: OnceCell<(TempDir, PathBuf)> = const { OnceCell::new() });
        let folder = TempDir::new().expect("there is a folder for temporary files");
        let path = folder.path().join("journal.db");
        FILLED.with(|filled| {
            let (_, filled) = filled.get_or_init(filled_journal);
            fs::copy(filled, &path).expect("a journal that is closed is one file");
        });
        let journal = open(&path);
        let configured = |name: &str, stream| Configured { name: name.into(), stream, enabled: true, selects: None };
        let setup = Setup {
            version: "0".into(),
            configuration: String::new(),
            journal: path,
            retention: None,
            running: None,
            consumers: vec![configured(HANDLER, Stream::Callbacks), configured(SINK, Stream::Events)],
            deciders: vec![ConfiguredDecider { name: "d".into(), enabled: true, shadow: false }],
        };
        Place { operations: Operations::new(journal, None, setup), folder }
    }

    fn answer(&self, mut request: Request) {
        if let Request::Backup { to } = &mut request {
            // Wherever it was meant to go: a copy here, and nothing outside.
            *to = self.folder.path().join(if to.is_absolute() { "copy.db" } else { "journal.db" });
        }
        let mut asker = Heard { answers: Vec::new(), patience: 3 };
        let answered = self.operations.answer(&request, &mut asker);
        let Heard { answers, patience } = asker;
        for answer in &answers {
            let line = fuzzing::answer_line(answer).expect("an answer can be written");
            assert_eq!(line.iter().position(|byte| *byte == b'\n'), Some(line.len() - 1), "{answer:?} is not one line");
            let again: Answer = serde_json::from_slice(&line).expect("an answer can be read");
            assert_eq!(fuzzing::answer_line(&again).ok(), Some(line), "{answer:?} became {again:?}");
        }
        let is_last = |answer: &Answer| matches!(answer, Answer::Done(_) | Answer::Failed(_));
        let n_last = answers.iter().filter(|answer| is_last(answer)).count();
        match answered {
            Ok(()) => assert!(n_last == 1 && answers.last().is_some_and(is_last), "{request:?}: {answers:?}"),
            Err(Gone) => assert!(patience == 0 && n_last == 0, "{request:?}: {answers:?}"),
        }
        let refused = answers.iter().any(|answer| matches!(answer, Answer::Failed(what) if what.is_empty()));
        assert!(!refused, "{request:?} failed without a word");
    }
}

/// Someone who hears everything, and leaves when there is nothing to do but wait.
struct Heard {
    answers: Vec<Answer>,
    patience: u32,
}

impl Asker for Heard {
    fn tell(&mut self, answer: Answer) -> Result<(), Gone> {
        self.answers.push(answer);
        Ok(())
    }

    fn wait(&mut self, span: Duration) -> Result<(), Gone> {
        if span.is_zero() {
            return Ok(()); // Between two steps of long work.
        }
        self.patience = self.patience.saturating_sub(1);
        if self.patience == 0 { Err(Gone) } else { Ok(()) }
    }
}

fn open(path: &Path) -> Journal {
    let options = JournalOptions { sync: Sync::Off, ..JournalOptions::new(path) };
    Journal::open(options).expect("a journal opens in a new folder")
}

fn filled_journal() -> (TempDir, PathBuf) {
    let folder = TempDir::new().expect("there is a folder for temporary files");
    let path = folder.path().join("journal.db");
    let journal = open(&path);
    for (consumer, stream) in [(HANDLER, Stream::Callbacks), (SINK, Stream::Events)] {
        journal.register(consumer, stream, Start::Oldest).expect("a consumer gets its place");
    }
    let callbacks = [callback(0, None), callback(1, Some("k")), callback(2, Some("k"))];
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime is only memory");
    let port = journal.port();
    runtime.block_on(async {
        let append = async {
            for callback in &callbacks {
                port.append(callback.clone()).await.expect("a new journal takes callbacks");
            }
        };
        tokio::select! { () = port.pump() => {}, () = append => {} }
    });
    let [first, ..] = callbacks;
    let data = ["text", "more"];
    let emitted = Emitted {
        callback_seq: 1,
        callback: Arc::new(first),
        handler: "h".into(),
        sinks: "s,t".into(),
        events: data.iter().map(|data| NewEvent::new("t", data).expect("a string is JSON")).collect(),
        replay: false,
    };
    let at = Timestamp::from_millis(1_700_000_000_000);
    let dead = |seq| Dead { seq, reason: "refused: \"never\"".into(), attempts: 1, first_at: at };
    let attempt = |seq| Attempt { seq, n: 1, at, error: Some("refused".into()), response: None };
    let commits = [
        Commit {
            consumer: HANDLER.into(),
            checkpoint: Some(2),
            events: vec![emitted],
            dead: vec![dead(2)],
            attempts: vec![attempt(2)],
            ..Commit::default()
        },
        Commit {
            consumer: SINK.into(),
            checkpoint: Some(1),
            dead: vec![dead(1)],
            attempts: vec![attempt(1)],
            ..Commit::default()
        },
    ];
    for commit in commits {
        runtime.block_on(journal.commit(commit)).expect("a new journal takes commits");
    }
    journal.close();
    (folder, path)
}

fn callback(n: u8, key: Option<&str>) -> Callback {
    // A fixed id, so that an input can name it.
    let mut id = *b"\x01\x8b\xcf\xe5\x68\x00\x70\x00\x80\x00\x00\x00\x00\x00\x00\x00";
    id[15] = n;
    Callback::new(CallbackParts {
        id: CallbackId::from_bytes(id),
        app: App::new(1_400_000_001, "main"),
        command: Command::new("Group.CallbackAfterGroupFull"),
        query: "SdkAppid=1400000001".into(),
        body: Bytes::from(format!("{{\"text\":\"{n}.\"}}")),
        received_at: Timestamp::from_millis(1_700_000_000_000),
        event_time: None,
        key: key.map(Into::into),
        identity: None,
    })
}
