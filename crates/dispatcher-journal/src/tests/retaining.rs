//! What retention deletes, and what it leaves.

use dispatcher_core::CommandPattern;

use super::*;
use crate::{Attempt, Change, Dead, DeadPage, Ends, HeldUp, NewReplay, Overdue, Pending, WhenBlocked};

/// Everything is old as soon as it is there.
fn nothing() -> Retention {
    Retention::keeping(Duration::ZERO)
}

fn rule(pattern: &str, keep_for: Duration) -> (CommandPattern, Duration) {
    (CommandPattern::new(pattern).unwrap(), keep_for)
}

fn pending(seq: u64) -> Pending {
    Pending {
        seq,
        key: None,
        app: 1,
        attempt: 2,
        first_at: Timestamp::from_millis(5),
        age: Duration::ZERO,
        due: Timestamp::from_millis(6),
        error: "status 503".to_owned(),
    }
}

fn dead(seq: u64) -> Dead {
    Dead { seq, reason: "status 400".to_owned(), attempts: 1, first_at: Timestamp::from_millis(5) }
}

fn progress(consumer: &str, seq: u64) -> Commit {
    Commit { consumer: consumer.into(), checkpoint: Some(seq), ..Commit::default() }
}

fn change(journal: &Journal, change: Change) -> u64 {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(journal.change(change)).unwrap()
}

/// The seqs that are left of a stream. None of them may be damaged.
fn seqs(journal: &Journal, stream: Stream) -> Vec<u64> {
    let mut reader = journal.reader().unwrap();
    let (mut seqs, mut after) = (Vec::new(), 0);
    loop {
        let page: Vec<u64> = match stream {
            Stream::Callbacks => {
                let page = reader.callbacks(after, 7, usize::MAX).unwrap();
                page.into_iter().map(|row| row.intact().expect("a callback is damaged").seq).collect()
            }
            Stream::Events => {
                let page = reader.events(after, 7, usize::MAX).unwrap();
                page.into_iter().map(|row| row.intact().expect("an event is damaged").event.seq).collect()
            }
        };
        let Some(&last) = page.last() else { return seqs };
        after = last;
        seqs.extend(page);
    }
}

/// Seqs in order, shown as ranges: there may be thousands.
#[derive(PartialEq)]
struct Seqs(Vec<u64>);

impl std::fmt::Debug for Seqs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chunk_by(|a, b| a + 1 == *b).try_for_each(|run| write!(f, "{}-{} ", run[0], run[run.len() - 1]))
    }
}

fn left(journal: &Journal) -> (Seqs, Seqs) {
    (Seqs(seqs(journal, Stream::Callbacks)), Seqs(seqs(journal, Stream::Events)))
}

fn range(first: u64, last: u64) -> Seqs {
    Seqs((first..=last).collect())
}

fn none() -> Seqs {
    Seqs(Vec::new())
}

#[test]
fn what_everybody_is_done_with_goes_and_its_seqs_never_come_again() {
    let place = Place::new();
    let journal = place.open_with(nothing());
    fill(&journal, 1200);
    trim(&journal);
    assert_eq!(left(&journal), (none(), none()));
    let reader = journal.reader().unwrap();
    assert_eq!([Stream::Callbacks, Stream::Events].map(|stream| reader.floor(stream)), [1200, 1200]);
    let counts = journal.counts();
    assert_eq!((counts.deleted_callbacks, counts.deleted_events), (1200, 1200));
    assert!(counts.last_trim.is_some() && counts.file_bytes > 0);
    journal.close();
    // With no checkpoint to tell it either.
    place.tamper("DELETE FROM checkpoint");
    // And without retention, which would take what comes at once.
    let journal = place.open();
    assert_eq!(*journal.ends().borrow(), Ends { callbacks: 1200, events: 1200 });
    assert_eq!(append(&journal, &callback(None)), Appended::New { seq: 1201 });
    assert_eq!(left(&journal), (range(1201, 1201), none()));
}

#[test]
fn what_a_consumer_still_needs_stays_and_it_is_named() {
    let place = Place::new();
    let journal = place.open_with(nothing());
    journal.register("sink:slow", Stream::Events, Start::Oldest).unwrap();
    fill(&journal, 40);
    trim(&journal);
    assert_eq!(left(&journal), (range(1, 40), range(1, 40)));
    let held = journal.held_up().unwrap();
    assert_eq!(
        held,
        HeldUp { consumer: "sink:slow".into(), stream: Stream::Events, since: held.since, seq: 0, rows: 40 }
    );

    // Past its checkpoint, but pending. The callback of the event stays, and all behind it: a floor has no holes.
    commit(&journal, Commit { pending: vec![pending(11)], ..progress("sink:slow", 30) }).unwrap();
    trim(&journal);
    assert_eq!(left(&journal), (range(11, 40), range(11, 40)));
    assert_eq!(journal.held_up().map(|held| (held.seq, held.rows, held.since)), Some((10, 30, held.since)));
    journal.close();

    // Not even when it is not configured any more.
    let journal = place.open_with(nothing());
    trim(&journal);
    assert_eq!(left(&journal), (range(11, 40), range(11, 40)));
    commit(&journal, Commit { settled: vec![11], ..progress("sink:slow", 40) }).unwrap();
    trim(&journal);
    assert_eq!((left(&journal), journal.held_up()), ((none(), none()), None));
}

#[test]
fn a_callback_stays_as_long_as_an_event_of_it() {
    let place = Place::new();
    let journal = place.open_with(nothing());
    journal.register("handler:h", Stream::Callbacks, Start::Oldest).unwrap();
    journal.register("sink:s", Stream::Events, Start::Oldest).unwrap();
    let callback = callback(None);
    let mut events = Vec::new();
    append_all(&journal, &vec![callback.clone(); 3000]);
    for seq in 1..=3000 {
        events.push(emitted(seq, &callback, vec![NewEvent::forwarding("t")]));
    }
    // One came late: an item of the handler was pending for long.
    events.push(emitted(17, &callback, vec![NewEvent::forwarding("late")]));
    commit(&journal, Commit { events, ..progress("handler:h", 3000) }).unwrap();
    commit(&journal, progress("sink:s", 2000)).unwrap();
    for _restarted in [false, true] {
        trim(&journal);
        assert_eq!(left(&journal), (range(17, 3000), range(2001, 3001)));
    }
    journal.close();
    let journal = place.open_with(nothing());
    trim(&journal);
    assert_eq!(left(&journal), (range(17, 3000), range(2001, 3001)));
    commit(&journal, progress("sink:s", 3000)).unwrap();
    trim(&journal);
    assert_eq!(left(&journal), (range(17, 3000), range(3001, 3001)));
    commit(&journal, progress("sink:s", 3001)).unwrap();
    trim(&journal);
    assert_eq!(left(&journal), (none(), none()));
}

#[test]
fn commands_go_at_times_of_their_own() {
    let place = Place::new();
    let retention = Retention { rules: vec![rule("State.*", Duration::ZERO)], ..Retention::keeping(long()) };
    let journal = place.open_with(retention.clone());
    journal.register("handler:h", Stream::Callbacks, Start::Oldest).unwrap();
    journal.register("sink:s", Stream::Events, Start::Oldest).unwrap();
    // Every third is kept; of each one event.
    let kept: Vec<u64> = (1..=3000).filter(|seq: &u64| seq.is_multiple_of(3)).collect();
    let command = |seq: u64| if seq.is_multiple_of(3) { "Group.Kept" } else { "State.StateChange" };
    let callbacks: Vec<Callback> = (1..=3000).map(|seq| callback_of(command(seq), None)).collect();
    append_all(&journal, &callbacks);
    let events = (1..).zip(&callbacks).map(|(seq, callback)| emitted(seq, callback, vec![NewEvent::forwarding("t")]));
    let events = events.collect();
    commit(&journal, Commit { events, ..progress("handler:h", 3000) }).unwrap();
    trim(&journal);
    assert_eq!(left(&journal), (range(1, 3000), range(1, 3000)), "the sink has done nothing yet");
    commit(&journal, Commit { pending: vec![pending(2995)], ..progress("sink:s", 3000) }).unwrap();
    trim(&journal);
    let with = |from: u64| Seqs(kept.iter().copied().filter(|&seq| seq < from).chain(from..=3000).collect());
    assert_eq!(left(&journal), (with(2995), with(2995)));
    commit(&journal, Commit { settled: vec![2995], consumer: "sink:s".into(), ..Commit::default() }).unwrap();
    {
        trim(&journal);
        let kept = || Seqs(kept.clone());
        assert_eq!(left(&journal), (kept(), kept()));
        let mut reader = journal.reader().unwrap();
        assert_eq!((reader.floor(Stream::Callbacks), reader.floor(Stream::Events)), (2, 2));
        let gone = "was deleted, since it was kept for long enough";
        assert!(matches!(reader.event(1000).unwrap(), Row::Damaged { seq: 1000, reason } if reason == gone));
        assert!(matches!(reader.event(999).unwrap(), Row::Intact(row) if row.event.seq == 999));
    }
    // What is missing above the sweep is damage; what is damaged below it is damage too.
    append(&journal, &callback_of("Group.Kept", None));
    append(&journal, &callback_of("Group.Kept", None));
    journal.close();
    place.tamper("DELETE FROM callbacks WHERE seq = 3001; UPDATE callbacks SET query = 'x' WHERE seq = 1500");
    let journal = place.open_with(retention);
    let mut reader = journal.reader().unwrap();
    let mut rows = Vec::new();
    loop {
        let after = rows.last().map_or(0, |row| match row {
            Row::Intact(CallbackRow { seq, .. }) | Row::Damaged { seq, .. } => *seq,
        });
        let page = reader.callbacks(after, 10, usize::MAX).unwrap();
        if page.is_empty() {
            break;
        }
        rows.extend(page);
    }
    assert_eq!(damaged(&rows), [(1500, "fails its checksum"), (3001, "is missing")]);
    assert_eq!(rows.len(), kept.len() + 2);
}

#[test]
fn the_file_may_be_too_large_before_anything_is_old() {
    let place = Place::new();
    let retention = Retention { max_bytes: Some(1 << 20), ..Retention::keeping(long()) };
    let journal = place.open_with(retention.clone());
    fill(&journal, 10);
    trim(&journal);
    assert_eq!(left(&journal), (range(1, 10), range(1, 10)));
    for _ in 0..20 {
        append_all(&journal, &vec![callback(None); 500]);
    }
    commit(&journal, progress(CONSUMER, 10_010)).unwrap();
    trim(&journal);
    let used = || {
        let counts = journal.counts();
        counts.file_bytes - counts.free_bytes
    };
    assert!(used() <= 1 << 20, "{}", used());
    let (Seqs(callbacks), Seqs(events)) = left(&journal);
    assert_eq!(callbacks.last(), Some(&10_010));
    assert!(callbacks.len() > 1000 && events.is_empty(), "{} and {}", callbacks.len(), events.len());
    // What a consumer needs stays all the same, and it is named.
    let floor = callbacks[0] - 1;
    for _ in 0..10 {
        append_all(&journal, &vec![callback(None); 500]);
    }
    trim(&journal);
    trim(&journal);
    assert!(used() > 1 << 20);
    assert_eq!(seqs(&journal, Stream::Callbacks).first(), Some(&10_011), "and not {floor}");
    assert_eq!(journal.held_up().map(|held| (held.consumer, held.seq)), Some((CONSUMER.into(), 10_010)));
}

#[test]
fn space_is_returned_and_all_of_it_when_asked_for() {
    let place = Place::new();
    let journal = place.open_with(nothing());
    let large = callback(None);
    journal.register(CONSUMER, Stream::Callbacks, Start::Oldest).unwrap();
    for _ in 0..80 {
        append_all(&journal, &vec![large.clone(); 500]);
    }
    let before = journal.counts();
    commit(&journal, progress(CONSUMER, 40_000)).unwrap();
    trim(&journal);
    let after = journal.counts();
    assert!(after.file_bytes < 9 << 20, "{} bytes of {}", after.file_bytes, before.file_bytes);
    assert!(after.free_bytes > 0);
    let mut told = Vec::new();
    let compact = journal.compact(|progress| {
        told.push(progress);
        std::ops::ControlFlow::Continue(())
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let returned = runtime.block_on(compact).unwrap();
    assert_eq!(journal.counts().free_bytes, 0);
    assert!(returned > 0 && !told.is_empty() && told.iter().all(|told| told.done <= told.of));
    assert_eq!(runtime.block_on(journal.compact(|_| std::ops::ControlFlow::Continue(()))), Ok(0));
    assert!(std::fs::metadata(place.path()).unwrap().len() <= 1 << 20, "the file itself is smaller");
}

#[test]
fn those_who_do_not_run_are_let_go_of_as_the_policy_says() {
    for policy in [WhenBlocked::Skip, WhenBlocked::DeadLetter] {
        let place = Place::new();
        let journal = place.open();
        fill(&journal, 250);
        journal.register("sink:a", Stream::Events, Start::Oldest).unwrap();
        journal.register("sink:c", Stream::Events, Start::Oldest).unwrap();
        journal.register("handler:gone", Stream::Callbacks, Start::Oldest).unwrap();
        journal.register("sink:runs", Stream::Events, Start::Oldest).unwrap();
        let replay = change(&journal, Change::BeginReplay(replay("sink:a", None)));
        commit(&journal, Commit { pending: vec![pending(3), pending(4)], ..progress("sink:a", 10) }).unwrap();
        journal.close();

        let journal = place.open_with(Retention { when_blocked: policy, ..nothing() });
        journal.register("sink:runs", Stream::Events, Start::End).unwrap();
        trim(&journal);
        // The one that runs does it by itself.
        assert_eq!(*journal.overdue().borrow(), Overdue { callbacks: 250, events: 250, policy });
        assert_eq!(left(&journal).1, range(1, 250));
        let mut reader = journal.reader().unwrap();
        let checkpoints: Vec<(String, u64)> =
            reader.consumers().unwrap().into_iter().map(|known| (known.name, known.checkpoint)).collect();
        let expected = ["handler:gone", CONSUMER, &format!("replay:{replay}"), "sink:a", "sink:c"];
        for consumer in expected {
            assert!(checkpoints.contains(&(consumer.to_owned(), 250)), "{consumer} of {checkpoints:?}");
        }
        assert!(checkpoints.contains(&("sink:runs".to_owned(), 0)));
        assert_eq!(reader.pending("sink:a").unwrap(), vec![]);

        let skipped: Vec<(String, u64, u64)> = reader
            .skipped()
            .unwrap()
            .into_iter()
            .map(|(consumer, _, range)| (consumer, range.first, range.last))
            .collect();
        let letters = |reader: &mut crate::Reader, consumer: &str| -> Vec<u64> {
            let mut seqs = Vec::new();
            loop {
                let page = reader.dead(consumer, seqs.last().copied().unwrap_or(0), 100).unwrap();
                if page.is_empty() {
                    return seqs;
                }
                assert!(page.iter().all(|letter| crate::copy::is_whole(&letter.copy)));
                seqs.extend(page.iter().map(|letter| letter.seq));
            }
        };
        let [of_a, of_c, of_handler] = ["sink:a", "sink:c", "handler:gone"].map(|name| letters(&mut reader, name));
        let replays = (format!("replay:{replay}"), 1, 250);
        if policy == WhenBlocked::Skip {
            let mut all = vec![("handler:gone".to_owned(), 1, 250), replays];
            all.extend([("sink:a".to_owned(), 3, 250), ("sink:c".to_owned(), 1, 250)]);
            let mut skipped = skipped;
            skipped.sort();
            assert_eq!(skipped, all);
            assert_eq!([of_a, of_c, of_handler], [const { Vec::<u64>::new() }; 3]);
            assert_eq!(journal.counts().let_go, 250 * 3 + 248);
        } else {
            assert_eq!(skipped, [replays], "its items are no dead letters of anybody");
            // What was pending, and what came later; no event names the sink c.
            let expected: Vec<u64> = [3, 4].into_iter().chain(11..=250).collect();
            assert_eq!([of_a, of_c, of_handler], [expected, vec![], (1..=250).collect()]);
            let letter = &reader.dead("sink:a", 2, 1).unwrap()[0];
            let reason = "it was overdue for deletion, and its consumer does not run; its last attempt: status 503";
            assert_eq!((letter.reason.as_str(), letter.attempts, letter.first_at.as_millis()), (reason, 2, 5));
        }
        commit(&journal, progress("sink:runs", 250)).unwrap();
        trim(&journal);
        assert_eq!(left(&journal), (none(), none()));
        assert_eq!(journal.held_up(), None);
    }
}

fn replay(target: &str, dead_of: Option<&str>) -> NewReplay {
    let stream = if target.starts_with("sink:") { Stream::Events } else { Stream::Callbacks };
    NewReplay {
        target: target.into(),
        stream,
        dead_of: dead_of.map(Into::into),
        first: 1,
        last: u64::MAX,
        spec: "{}".to_owned(),
    }
}

#[test]
fn a_dead_letter_outlives_its_row_and_its_callback_comes_back_for_new_events() {
    let place = Place::new();
    let journal = place.open_with(nothing());
    journal.register("handler:holds", Stream::Callbacks, Start::Oldest).unwrap();
    fill(&journal, 30);
    let attempt = Attempt { seq: 7, n: 1, at: Timestamp::from_millis(9), error: Some("no".to_owned()), response: None };
    commit(&journal, Commit { dead: vec![dead(7)], attempts: vec![attempt], ..progress(CONSUMER, 30) }).unwrap();
    change(&journal, Change::Drop { consumer: "handler:holds".into() });
    trim(&journal);
    assert_eq!(left(&journal), (none(), none()), "it has a copy, and blocks nothing");
    let id = change(&journal, Change::BeginReplay(replay(CONSUMER, Some(CONSUMER))));
    let mut reader = journal.reader().unwrap();
    assert_eq!(reader.attempts(Stream::Callbacks, 7).unwrap().len(), 0);
    let mut rows = reader.dead_callbacks(&DeadPage { last: 30, max_rows: 10, ..DeadPage::all(CONSUMER) }).unwrap();
    let Some(Row::Intact(row)) = rows.pop() else { panic!("the copy is as good as the row") };
    assert_eq!((row.seq, rows.len()), (7, 0));
    let again = Commit {
        consumer: format!("replay:{id}").into(),
        checkpoint: Some(7),
        events: vec![emitted(7, &row.callback, vec![NewEvent::forwarding("again")])],
        in_name_of: Some(CONSUMER.into()),
        raised: vec![7],
        ..Commit::default()
    };
    journal.register("sink:s", Stream::Events, Start::End).unwrap();
    commit(&journal, again).unwrap();
    journal.close();
    let journal = place.open_with(nothing());
    trim(&journal);
    // Its event can be read, for as long as it is there; among the callbacks nothing of it is seen.
    let rows = {
        let mut reader = journal.reader().unwrap();
        reader.events(0, 10, usize::MAX).unwrap()
    };
    assert!(matches!(&rows[..], [Row::Intact(row)] if row.event.seq == 31 && row.callback_seq == 7));
    assert_eq!(left(&journal).0, none());
    // It keeps no other callback from going.
    append(&journal, &callback(None));
    commit(&journal, progress(CONSUMER, 31)).unwrap();
    trim(&journal);
    assert_eq!(journal.reader().unwrap().floor(Stream::Callbacks), 31);
    let count = |table: &str| {
        let journal = journal.clone();
        let (tell, told) = mpsc::channel();
        let sql = format!("SELECT count(*) FROM {table}");
        journal.hook(move |hooked| {
            tell.send(hooked.tables.connection().query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap()).unwrap();
        });
        told.recv().unwrap()
    };
    assert_eq!((count("callbacks"), count("restored")), (1, 1));
    commit(&journal, progress("sink:s", 31)).unwrap();
    trim(&journal);
    assert_eq!((count("callbacks"), count("events"), count("restored"), count("blocks")), (0, 0, 0, 0));
}

#[test]
fn what_goes_with_the_rows_goes_too() {
    let place = Place::new();
    let journal = place.open_with(Retention { keep_dead_for: Some(Duration::ZERO), ..nothing() });
    fill(&journal, 5);
    let attempts =
        |seq| (1..=3).map(move |n| Attempt { seq, n, at: Timestamp::from_millis(9), error: None, response: None });
    commit(&journal, Commit { attempts: attempts(2).chain(attempts(5)).collect(), ..progress(CONSUMER, 5) }).unwrap();
    commit(&journal, Commit { consumer: CONSUMER.into(), dead: vec![dead(5)], ..Commit::default() }).unwrap();
    let first = change(&journal, Change::BeginReplay(replay(CONSUMER, None)));
    change(&journal, Change::EndReplay { id: first, cancelled: true });
    let second = change(&journal, Change::BeginReplay(replay(CONSUMER, None)));
    change(&journal, Change::EndReplay { id: second, cancelled: false });
    // Longer ago than a week.
    journal.hook(|hooked| hooked.tables.connection().execute_batch("UPDATE replays SET ended_at = 1").unwrap());
    trim(&journal);
    let mut reader = journal.reader().unwrap();
    assert_eq!(left(&journal), (none(), none()));
    assert!(reader.attempts(Stream::Callbacks, 2).unwrap().is_empty());
    assert!(reader.attempts(Stream::Callbacks, 5).unwrap().is_empty());
    assert_eq!(reader.dead_counts().unwrap().len(), 0);
    assert_eq!(journal.counts().deleted_dead, 1);
    // The last stays, so that its number does not come again.
    assert_eq!(reader.replays().unwrap().iter().map(|replay| replay.id).collect::<Vec<_>>(), [second]);
    assert!(change(&journal, Change::BeginReplay(replay(CONSUMER, None))) > second);
    // Nor does the place of a dead letter.
    commit(&journal, Commit { consumer: CONSUMER.into(), dead: vec![dead(5)], ..Commit::default() }).unwrap();
    assert_eq!(
        reader.dead(CONSUMER, 0, 9).map(|letters| letters.iter().map(|letter| letter.place).collect()),
        Ok(vec![2])
    );
}

#[test]
fn progress_keeps_what_tells_of_rows_that_are_left() {
    let place = Place::new();
    let journal = place.open_with(nothing());
    journal.register("sink:s", Stream::Events, Start::Oldest).unwrap();
    fill(&journal, 20);
    journal.hook(|hooked| {
        let notes = "INSERT INTO progress VALUES ('sink:s', 3, 100), ('sink:s', 6, 200), ('sink:s', 9, 300)";
        hooked.tables.connection().execute_batch(notes).unwrap();
    });
    commit(&journal, Commit { pending: vec![pending(8)], ..progress("sink:s", 9) }).unwrap();
    trim(&journal);
    let mut reader = journal.reader().unwrap();
    let at = |at| Some(Timestamp::from_millis(at));
    assert_eq!(reader.passed("sink:s", 8).unwrap().0, at(200), "between there and the next it was passed");
    assert_eq!(reader.passed("sink:s", 6).unwrap().0, None, "of what is gone nobody asks");
}

#[test]
fn a_page_that_cannot_be_read_does_not_hold_up_the_rest() {
    let place = Place::new();
    let journal = place.open();
    append_all(&journal, &vec![callback(None); 400]);
    journal.close();
    let connection = Connection::open(place.path()).unwrap();
    let id: Vec<u8> = connection.query_row("SELECT id FROM callbacks WHERE seq = 200", [], |row| row.get(0)).unwrap();
    drop(connection);
    let mut file = std::fs::read(place.path()).unwrap();
    // All of these callbacks are equal, their ids among them: the page in the middle of the file's is taken.
    let pages: Vec<usize> = (0..file.len() / 8192)
        .filter(|page| file[page * 8192..(page + 1) * 8192].windows(16).any(|bytes| bytes == id))
        .collect();
    let page = pages[pages.len() / 2];
    file[page * 8192..(page + 1) * 8192].fill(0xff);
    std::fs::write(place.path(), &file).unwrap();
    let journal = place.open_with(nothing());
    let end = append(&journal, &callback(None)).seq();
    trim(&journal);
    assert_eq!(journal.reader().unwrap().floor(Stream::Callbacks), end);
    assert_eq!(left(&journal), (none(), none()));
}

#[test]
fn rules_that_change_are_applied_to_what_was_looked_at_before() {
    let place = Place::new();
    let with = |pattern: &str| Retention { rules: vec![rule(pattern, Duration::ZERO)], ..Retention::keeping(long()) };
    let journal = place.open_with(with("State.*"));
    journal.register(CONSUMER, Stream::Callbacks, Start::Oldest).unwrap();
    append_all(&journal, &["Group.A", "State.B", "C2C.C", "Group.D"].map(|command| callback_of(command, None)));
    commit(&journal, progress(CONSUMER, 4)).unwrap();
    trim(&journal);
    assert_eq!(left(&journal).0, Seqs(vec![1, 3, 4]));
    journal.close();
    let journal = place.open_with(with("Group.*"));
    trim(&journal);
    assert_eq!(left(&journal).0, range(3, 3));
}
