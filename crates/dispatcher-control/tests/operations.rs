//! Requests on a real journal that no dispatcher runs on: pages, ids, damage, and who asks through the socket.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{iter, path::PathBuf, sync::mpsc, thread, time::Duration};

use bytes::Bytes;
use dispatcher_control::{
    Answer, Asker, Audit, Client, Configured, Done, Gone, Operations, Request, Search, Server, Setup, socket_path,
};
use dispatcher_core::{App, Callback, CallbackId, CallbackParts, Command, NewEvent, Timestamp};
use dispatcher_journal::{Commit, Emitted, Journal, JournalOptions, Start, Stream};
use tempfile::TempDir;

/// More than three pages of a search, and not a whole number of them.
const ROWS: u64 = 900;

struct Place {
    folder: TempDir,
    journal: Journal,
}

impl Place {
    /// A journal with `ROWS` callbacks: the n-th has the text `<n>.` in it, every third the key `three`.
    fn new() -> Place {
        let folder = TempDir::new().unwrap();
        let journal = Journal::open(JournalOptions::new(folder.path().join("journal.db"))).unwrap();
        let place = Place { folder, journal };
        place.append((1..=ROWS).map(|n| callback(CallbackId::mint(), n)));
        place
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    fn append(&self, callbacks: impl Iterator<Item = Callback>) {
        let port = self.journal.port();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let appends: Vec<_> = callbacks.map(|callback| port.append(callback)).collect();
            let all = async {
                for append in appends {
                    append.await.unwrap();
                }
            };
            tokio::select! {
                () = port.pump() => {}
                () = all => {}
            }
        });
    }

    fn operations(&self) -> Operations {
        let consumer = Configured { name: "handler:h".into(), stream: Stream::Callbacks, enabled: true, selects: None };
        let setup = Setup {
            version: "0".into(),
            configuration: String::new(),
            journal: self.path(),
            retention: None,
            running: None,
            consumers: vec![consumer],
            deciders: Vec::new(),
        };
        Operations::new(self.journal.clone(), None, setup)
    }

    fn ask(&self, request: &Request) -> Vec<Answer> {
        let mut all = All(Vec::new());
        self.operations().answer(request, &mut all).unwrap();
        all.0
    }

    /// The seqs that a search finds, and its last answer.
    fn search(&self, search: Search) -> (Vec<u64>, Done) {
        let mut answers = self.ask(&Request::Callbacks(search));
        let Some(Answer::Done(done)) = answers.pop() else { panic!("no last answer") };
        let seq = |answer: &Answer| match answer {
            Answer::Callback(callback) => Some(callback.seq),
            Answer::Damaged(damaged) => Some(damaged.seq),
            Answer::Progress(_) => None,
            other => panic!("{other:?}"),
        };
        (answers.iter().filter_map(seq).collect(), done)
    }

    fn shown(&self, id: &str) -> Result<u64, String> {
        let answers = self.ask(&Request::Show { id: id.into(), contents: false });
        let seq = answers.into_iter().find_map(|answer| match answer {
            Answer::Story(story) => Some(Ok(story.callback.seq)),
            Answer::Failed(message) => Some(Err(message)),
            _ => None,
        });
        seq.unwrap()
    }
}

struct All(Vec<Answer>);

impl Asker for All {
    fn tell(&mut self, answer: Answer) -> Result<(), Gone> {
        self.0.push(answer);
        Ok(())
    }

    fn wait(&mut self, _: Duration) -> Result<(), Gone> {
        Ok(())
    }
}

fn callback(id: CallbackId, n: u64) -> Callback {
    Callback::new(CallbackParts {
        id,
        app: App::new(1, "main"),
        command: Command::new("Group.CallbackAfterGroupFull"),
        query: "SdkAppid=1".into(),
        body: Bytes::from(format!("{{\"text\":\"{n}.\"}}")),
        received_at: Timestamp::now(),
        event_time: None,
        key: n.is_multiple_of(3).then(|| "three".into()),
        identity: None,
    })
}

#[test]
fn searches_go_through_all_pages_from_either_end() {
    let place = Place::new();
    let all: Vec<u64> = (1..=ROWS).collect();
    let threes: Vec<u64> = all.iter().copied().filter(|n| n % 3 == 0).collect();
    let three = Search { key: Some("three".into()), ..Search::default() };
    for oldest in [false, true] {
        assert_eq!(place.search(Search { oldest, ..Search::default() }).0, all);
        assert_eq!(place.search(Search { oldest, ..three.clone() }).0, threes);
        for limit in [1, 299, 300, 301] {
            let (found, done) = place.search(Search { oldest, limit, ..three.clone() });
            let n = threes.len().min(usize::try_from(limit).unwrap());
            let expected = if oldest { &threes[..n] } else { &threes[threes.len() - n..] };
            assert_eq!((found.as_slice(), done.more), (expected, limit < 300), "limit {limit}, oldest {oldest}");
        }
        let text = Search { oldest, text: Some("\"257.".into()), ..Search::default() };
        assert_eq!(place.search(text).0, [257]);
    }
}

#[test]
fn a_damaged_row_is_listed_and_keeps_no_search_from_the_others() {
    let place = Place::new();
    place.journal.close();
    let mut file = std::fs::read(place.path()).unwrap();
    let at = file.windows(7).position(|window| window == b"\"400.\"}").unwrap();
    file[at + 1] = b'9';
    std::fs::write(place.path(), file).unwrap();
    let place = Place { journal: Journal::open(JournalOptions::new(place.path())).unwrap(), folder: place.folder };
    assert_eq!(place.search(Search::default()).0.len() as u64, ROWS);
    let (found, done) = place.search(Search { text: Some(".".into()), ..Search::default() });
    assert_eq!(found.len() as u64, ROWS - 1);
    assert_eq!(done.note.unwrap(), "1 damaged rows could not be searched; without a filter they are listed");
    assert_eq!(place.shown("callbacks/400").unwrap_err(), "callbacks/400 fails its checksum");
}

#[test]
fn a_callback_is_found_by_its_id_also_after_the_clock_was_set_back() {
    let place = Place::new();
    let id = |answer| if let Answer::Callback(callback) = answer { Some(callback.id) } else { None };
    let answers = place.ask(&Request::Callbacks(Search::default()));
    let ids: Vec<String> = answers.into_iter().filter_map(id).collect();
    for n in [1, 256, 257, ROWS] {
        assert_eq!(place.shown(&ids[usize::try_from(n).unwrap() - 1]), Ok(n));
    }
    assert!(place.shown(&ids[0][..8]).unwrap_err().starts_with("several callbacks begin with "));
    // Minted an hour before it was stored: so it looks when the clock was set back by that.
    let mut bytes = *CallbackId::mint().as_bytes();
    let hour_ago = (Timestamp::now().as_millis() - 3_600_000).to_be_bytes();
    bytes[..6].copy_from_slice(&hour_ago[2..]);
    let id = CallbackId::from_bytes(bytes);
    place.append(iter::once(callback(id, ROWS + 1)));
    assert_eq!(place.shown(&id.to_string()), Ok(ROWS + 1));
}

#[test]
fn the_events_of_a_callback_are_found_wherever_they_are() {
    let place = Place::new();
    place.journal.register("handler:h", Stream::Callbacks, Start::Oldest).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut reader = place.journal.reader().unwrap();
    for seq in [7, 8, 7, 9, 7] {
        let emitted = Emitted {
            callback_seq: seq,
            callback: reader.callback(seq).unwrap().intact().unwrap().callback,
            handler: "h".into(),
            sinks: "a,b".into(),
            events: vec![NewEvent::new("t", &seq).unwrap()],
            replay: false,
        };
        let commit = Commit { consumer: "handler:h".into(), events: vec![emitted], ..Commit::default() };
        runtime.block_on(place.journal.commit(commit)).unwrap();
    }
    let answers = place.ask(&Request::Show { id: "callbacks/7".into(), contents: true });
    let story = answers.iter().find_map(|answer| if let Answer::Story(story) = answer { Some(story) } else { None });
    let events = &story.unwrap().events;
    assert_eq!(events.iter().map(|event| event.event.seq).collect::<Vec<_>>(), [1, 3, 5]);
    assert_eq!(events[0].event.sinks, ["a", "b"]);
    assert_eq!(events[0].event.data.as_ref().unwrap().get(), "7");
}

#[test]
fn who_asks_through_the_socket_gets_the_same_and_a_stop_ends_it() {
    let place = Place::new();
    let mut server = Server::start(&place.path(), place.operations(), Audit::default()).unwrap();
    let client = || Client::connect(&place.path());
    let request = Request::Callbacks(Search { contents: true, ..Search::default() });
    let mut n = 0;
    let count = |answer: Answer| {
        n += u64::from(matches!(answer, Answer::Callback(_)));
        true
    };
    client().unwrap().ask(&request, count).unwrap();
    assert_eq!(n, ROWS);
    // A follower waits for more; the stop ends it.
    let follow = Request::Callbacks(Search { limit: 1, follow: true, ..Search::default() });
    let follower = client().unwrap();
    let (told, heard) = mpsc::channel();
    let following = thread::spawn(move || follower.ask(&follow, |_| told.send(()).is_ok()));
    heard.recv().unwrap();
    server.stop();
    let ended = following.join().unwrap().unwrap_err();
    assert_eq!(ended.to_string(), "the dispatcher stopped before it had answered; ask again");
    assert!(client().is_none());
    assert!(!socket_path(&place.path()).exists());
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_an_error_and_no_panic() {
    let place = Place::new();
    let long = place.folder.path().join("x".repeat(120)).join("journal.db");
    assert!(Server::start(&long, place.operations(), Audit::default()).is_err());
    assert!(Client::connect(&long).is_none());
}
