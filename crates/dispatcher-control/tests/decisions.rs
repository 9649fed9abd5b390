//! Records of decisions in a journal that no dispatcher runs on: searched page by page, shown, and shadows.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{path::PathBuf, time::Duration};

use dispatcher_control::{
    Answer, Asker, Configured, ConfiguredDecider, Done, Gone, Operations, Request, Search, Setup, ShadowDiff, Story,
};
use dispatcher_core::{App, Callback, CallbackId, CallbackParts, Command, Timestamp};
use dispatcher_journal::{Change, DecisionKind, DecisionRecord, Journal, JournalOptions, Place as Whereabouts, Stream};
use tempfile::TempDir;

/// More than five pages of a search, and not a whole number of them.
const ROWS: u64 = 1500;
/// Of these there is no record: of two pages and more.
const BARE: std::ops::Range<u64> = 601..1200;
/// The one callback that wants no decision.
const AFTER: u64 = 1499;

struct Place {
    folder: TempDir,
    journal: Journal,
}

impl Place {
    /// A journal with `ROWS` callbacks that want a decision: every tenth was refused, every 25th defaulted, and of every
    /// 300th two shadows would have had it otherwise. Of the others there is no record.
    fn new() -> Place {
        let folder = TempDir::new().unwrap();
        let journal = Journal::open(JournalOptions::new(folder.path().join("journal.db"))).unwrap();
        let place = Place { folder, journal };
        let port = place.journal.port();
        for n in 1..=ROWS {
            let command = if n == AFTER { "Group.CallbackAfterGroupFull" } else { "Group.CallbackBeforeSendMsg" };
            let callback = callback(command, n);
            if !BARE.contains(&n) && (n.is_multiple_of(10) || n.is_multiple_of(25)) {
                let late = r#"[{"name":"h","said":"late","then":"allow","took_us":8}]"#;
                let (result, json) = match n.is_multiple_of(25) {
                    true => ("allowed", format!(r#"{{"defaulted":true,"took_us":9,"deciders":{late}}}"#)),
                    false => (
                        "refused",
                        format!(
                            r#"{{"by":"h","reason":"it says {n}.","took_us":1500,"reply":"{{\"ErrorCode\":1}}",
                                "deciders":[{{"name":"h","said":"refused","took_us":7}}]}}"#
                        ),
                    ),
                };
                let whereabouts = Whereabouts::new();
                assert!(port.append_decided(
                    callback.clone(),
                    record(DecisionKind::Decided, result, &json),
                    Some(&whereabouts)
                ));
                // So many that those of its page are read in several steps.
                let n_late = if n == 300 { 250 } else { 0 };
                for _ in 0..n_late {
                    let late = record(DecisionKind::Late, "dropped", r#"{"by":"h","took_us":3}"#);
                    assert!(place.journal.attach(&whereabouts, late, callback.clone().into()));
                }
                for shadow in ["one", "two"].iter().filter(|_| n.is_multiple_of(300)) {
                    let json = format!(r#"{{"by":"{shadow}","answered":"{result}","took_us":3}}"#);
                    assert!(place.journal.attach(
                        &whereabouts,
                        record(DecisionKind::Shadow, "dropped", &json),
                        callback.clone().into()
                    ));
                }
            } else {
                assert!(port.append_detached(callback));
            }
        }
        place.settle();
        place
    }

    /// Waits for the commit of all that was appended, and then of what was attached to it.
    fn settle(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let _ = self.journal.ends().wait_for(|ends| ends.callbacks == ROWS).await.unwrap();
            let change = Change::Shadow { handler: "nobody".into(), until: None };
            self.journal.change(change).await.unwrap();
        });
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("journal.db")
    }

    fn ask(&self, request: &Request) -> Vec<Answer> {
        let handles = Configured { name: "handler:h".into(), stream: Stream::Callbacks, enabled: true, selects: None };
        let decider = |name: &str, shadow| ConfiguredDecider { name: name.into(), enabled: true, shadow };
        let setup = Setup {
            version: "0".into(),
            configuration: String::new(),
            journal: self.path(),
            retention: None,
            running: None,
            consumers: vec![handles],
            deciders: vec![decider("d", false), decider("e", true)],
        };
        let mut all = All(Vec::new());
        Operations::new(self.journal.clone(), None, setup).answer(request, &mut all).unwrap();
        all.0.retain(|answer| !matches!(answer, Answer::Progress(_)));
        all.0
    }

    /// The seqs that a search finds, what it counts, and its last answer.
    fn search(&self, search: Search) -> (Vec<u64>, Vec<ShadowDiff>, Done) {
        let (mut seqs, mut diffs, mut done) = (Vec::new(), Vec::new(), Done::default());
        for answer in self.ask(&Request::Callbacks(search)) {
            match answer {
                Answer::Callback(callback) => seqs.push(callback.seq),
                Answer::ShadowDiffs(all) => diffs = all,
                Answer::Done(last) => done = last,
                other => panic!("{other:?}"),
            }
        }
        (seqs, diffs, done)
    }

    fn fails(&self, request: &Request) -> String {
        match self.ask(request).pop() {
            Some(Answer::Failed(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    fn story(&self, seq: u64) -> Story {
        let answers = self.ask(&Request::Show { id: format!("callbacks/{seq}"), contents: false });
        let story =
            answers.into_iter().find_map(|answer| if let Answer::Story(story) = answer { Some(*story) } else { None });
        story.unwrap()
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

fn callback(command: &str, n: u64) -> Callback {
    Callback::new(CallbackParts {
        id: CallbackId::mint(),
        app: App::new(1, if n.is_multiple_of(2) { "even" } else { "odd" }),
        command: Command::new(command),
        query: "SdkAppid=1".into(),
        body: format!("{{\"text\":\"{n}.\"}}").into(),
        received_at: Timestamp::now(),
        event_time: None,
        key: None,
        identity: None,
    })
}

fn record(kind: DecisionKind, result: &'static str, json: &str) -> DecisionRecord {
    DecisionRecord { kind, result: result.into(), record: json.into(), events: Vec::new() }
}

fn by(decision: &str) -> Search {
    Search { decision: Some(decision.into()), ..Search::default() }
}

#[test]
fn decisions_are_searched_page_by_page_from_either_end() {
    let place = Place::new();
    let all = |wanted: fn(u64) -> bool| (1..=ROWS).filter(|n| wanted(*n)).collect::<Vec<_>>();
    let refused = all(|n| !BARE.contains(&n) && n.is_multiple_of(10) && !n.is_multiple_of(25));
    let defaulted = all(|n| !BARE.contains(&n) && n.is_multiple_of(25));
    let allowed = all(|n| n != AFTER && (BARE.contains(&n) || n.is_multiple_of(25) || !n.is_multiple_of(10)));
    for oldest in [false, true] {
        for (decision, expected) in
            [("refused", &refused), ("defaulted", &defaulted), ("allowed", &allowed), ("dropped", &vec![])]
        {
            let (found, _, done) = place.search(Search { oldest, ..by(decision) });
            assert_eq!((&found, done.more), (expected, false), "{decision}");
        }
        let (found, _, done) = place.search(Search { oldest, limit: 3, ..by("refused") });
        let expected = if oldest { &refused[..3] } else { &refused[refused.len() - 3..] };
        assert_eq!((found.as_slice(), done.more), (expected, true));

        // What is counted is all of it, whatever is listed.
        let shadow_diff = Search { shadow_diff: true, oldest, ..Search::default() };
        for (limit, seqs) in [(0, vec![300, 600, 1200, 1500]), (1, vec![if oldest { 300 } else { 1500 }])] {
            let (found, diffs, _) = place.search(Search { limit, ..shadow_diff.clone() });
            assert_eq!(found, seqs);
            let diff = |handler: &str| ShadowDiff {
                handler: handler.into(),
                answered: "allowed".into(),
                would_be: "dropped".into(),
                n: 4,
            };
            assert_eq!(diffs, [diff("one"), diff("two")], "limit {limit}");
        }
        let text = Search { text: Some("\"600.".into()), ..shadow_diff };
        assert_eq!((place.search(text.clone()).0, place.search(text).1[0].n), (vec![600], 1), "of what matches only");
    }
    let odd = Search { apps: vec!["odd".into()], ..by("defaulted") };
    assert!(place.search(odd).0.iter().all(|seq| seq % 2 == 1));
    let after = Search { commands: vec!["Group.CallbackAfterGroupFull".into()], ..Search::default() };
    assert_eq!(place.search(after).0, [AFTER]);
    let contents = Search { contents: true, limit: 1, ..by("refused") };
    let answers = place.ask(&Request::Callbacks(contents));
    let Answer::Callback(callback) = &answers[0] else { panic!("{answers:?}") };
    assert_eq!(callback.decisions[0].reply.as_ref().unwrap().get(), "{\"ErrorCode\":1}");
    assert_eq!(callback.decisions[0].text(), "refused by h, after 1.5 ms: it says 1490.");

    for (request, why) in [
        (Request::Callbacks(by("maybe")), "\"maybe\" is no decision; write one of allowed, refused, "),
        (Request::Events(by("refused")), "decisions are about callbacks"),
        (Request::Callbacks(Search { shadow_diff: true, ..by("refused") }), "ask for a decision or "),
        (
            Request::Callbacks(Search { shadow_diff: true, follow: true, ..Search::default() }),
            "what a shadow says comes",
        ),
    ] {
        assert!(place.fails(&request).starts_with(why), "{request:?}: {}", place.fails(&request));
    }
}

#[test]
fn a_damaged_record_is_said_and_is_nobodys_word() {
    let place = Place::new();
    assert_eq!(place.story(7).answer, "allowed, as nobody was asked; or none, if whoever sent it hung up before");
    assert_eq!(place.story(20).answer, "refused by h, after 1.5 ms: it says 20.");
    assert_eq!(place.story(25).answer, "allowed, by default, since h was late, after 0.0 ms");
    place.journal.close();
    let mut file = std::fs::read(place.path()).unwrap();
    // Wherever it is: pages that were split keep what they had.
    let places: Vec<usize> =
        file.windows(11).enumerate().filter(|(_, w)| w == b"it says 20.").map(|(at, _)| at).collect();
    places.into_iter().for_each(|at| file[at] = b'I');
    std::fs::write(place.path(), file).unwrap();
    let place = Place { journal: Journal::open(JournalOptions::new(place.path())).unwrap(), folder: place.folder };
    let (refused, _, done) = place.search(by("refused"));
    assert_eq!(done.note.unwrap(), "1 damaged rows could not be searched; without a filter they are listed");
    assert_eq!(refused[..2], [10, 30]);
    let story = place.story(20);
    assert_eq!(story.answer, "the record of it is damaged");
    assert_eq!(story.damaged, ["a record of a decision about it fails its checksum"]);
}

#[test]
fn a_shadow_is_kept_in_the_journal_until_its_time_is_up() {
    let place = Place::new();
    let shadow = |handler: &str, until| Request::Shadow { handler: handler.into(), until };
    let later = Timestamp::now().as_millis() + 3_600_000;
    let note = |request: &Request| match place.ask(request).pop() {
        Some(Answer::Done(done)) => done.note.unwrap_or_default(),
        other => panic!("{other:?}"),
    };
    assert_eq!(note(&shadow("d", Some(later))), "no dispatcher runs; the next start knows of it");
    assert_eq!(place.journal.shadows().unwrap(), [("d".to_owned(), Timestamp::from_millis(later))]);
    assert!(place.fails(&shadow("d", Some(1))).starts_with("that moment has passed"));
    assert_eq!(place.fails(&shadow("h", None)), "the handler h does not decide; those that do: d, e");
    assert_eq!(place.fails(&shadow("x", None)), "no handler \"x\" in the configuration decides; those that do: d, e");
    assert_eq!(place.journal.shadows().unwrap().len(), 1, "nothing of that changed anything");
    assert!(note(&shadow("e", None)).starts_with("e stays a shadow, since the configuration says so"));
    note(&shadow("d", None));
    assert_eq!(place.journal.shadows().unwrap(), []);
}
