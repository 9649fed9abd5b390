//! Single rules of the window that the model does not tell apart.

use std::time::{Duration, Instant};

use dispatcher_core::{Failure, Timestamp};
use dispatcher_journal::Pending;

use super::*;

fn options() -> WindowOptions {
    WindowOptions {
        max_items: 100,
        max_bytes: 10_000,
        batch: 8,
        batch_bytes: 1000,
        max_pending: 50,
        attempts: Some(3),
        give_up_after: None,
        backoff: Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60), factor: 2.0 },
        park_after: Duration::from_secs(1),
        flaw: None,
    }
}

fn now() -> Now {
    Now { instant: Instant::now(), wall: Timestamp::from_millis(1_000_000), up: Duration::ZERO }
}

fn later(now: Now, span: Duration) -> Now {
    Now { instant: now.instant + span, wall: now.wall.after(span), up: now.up + span }
}

fn key(text: &str) -> Option<OrderKey> {
    (!text.is_empty()).then(|| OrderKey { app: 1, key: text.into() })
}

/// A window with these keys at seq 1, 2, …; an empty one is none.
fn window(keys: &[&str], now: Now) -> Window<(), ()> {
    let mut window = Window::new(options(), 0, Vec::new(), 1, now);
    for (seq, text) in (1..).zip(keys) {
        window.push(seq, key(text).as_ref(), 100, ());
    }
    window
}

fn seqs<P>(taken: &Option<(Batch, Vec<Task<P>>)>) -> Vec<u64> {
    taken.iter().flat_map(|(_, tasks)| tasks).map(|task| task.seq).collect()
}

#[test]
fn a_batch_takes_several_of_one_key_and_the_next_batch_none_of_it() {
    let now = now();
    let mut window = window(&["a", "a", "b", "", "a", "b", "", "", "a", "c"], now);
    let first = window.take(usize::MAX, now);
    assert_eq!(seqs(&first), [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(seqs(&window.take(usize::MAX, now)), [10]);
    assert!(window.take(usize::MAX, now).is_none(), "9 waits for its key");
}

#[test]
fn a_batch_ends_where_its_bytes_end_but_takes_one_item_at_any_rate() {
    let now = now();
    let mut window: Window<(), ()> = Window::new(options(), 0, Vec::new(), 1, now);
    for (seq, bytes) in [(1, 5000), (2, 600), (3, 400), (4, 1)] {
        window.push(seq, None, bytes, ());
    }
    assert_eq!(seqs(&window.take(usize::MAX, now)), [1]);
    assert_eq!(seqs(&window.take(usize::MAX, now)), [2, 3]);
    assert_eq!(seqs(&window.take(usize::MAX, now)), [4]);
}

#[test]
fn a_failure_holds_up_its_key_alone_and_is_tried_alone() {
    let now = now();
    let mut window = window(&["a", "b", "a", "b"], now);
    let (batch, _) = window.take(usize::MAX, now).unwrap();
    let failed = || Outcome::Failed(Failure::retry("no"));
    window.finish(batch, vec![failed(), Outcome::Done(()), Outcome::NotTried, Outcome::Done(())], now);
    assert_eq!(window.n_ready(), 0);
    let plan = window.plan(now).unwrap();
    assert_eq!(plan.checkpoint, 4);
    let rows: Vec<_> = plan.pending.iter().map(|row| (row.seq, row.attempt, row.error.as_str())).collect();
    assert_eq!(rows, [(1, 1, "no"), (3, 0, "")]);
    window.committed();

    let now = later(now, Duration::from_secs(1));
    window.advance(now);
    let (batch, tasks) = window.take(usize::MAX, now).unwrap();
    assert_eq!(tasks.len(), 1);
    assert_eq!((tasks[0].seq, tasks[0].attempt, tasks[0].item), (1, 2, None), "its item is to be read again");
    window.finish(batch, vec![Outcome::Done(())], now);
    assert_eq!(seqs(&window.take(usize::MAX, now)), [3]);
}

#[test]
fn what_runs_for_long_is_passed_by() {
    let start = now();
    let mut window = window(&["a", "b", "a"], start);
    let (stuck, _) = window.take_probe(0, start).unwrap();
    let (quick, _) = window.take(usize::MAX, start).unwrap();
    window.finish(quick, vec![Outcome::Done(())], start);
    assert!(window.plan(start).is_none());
    let wake = window.next_wake().unwrap();
    assert_eq!(wake, start.instant + Duration::from_secs(1));
    let parked = later(start, Duration::from_secs(1));
    let plan = window.plan(parked).unwrap();
    assert_eq!((plan.checkpoint, plan.pending.len(), plan.made.len()), (3, 2, 1));
    window.committed();
    window.finish(stuck, vec![Outcome::Done(())], parked);
    let plan = window.plan(parked).unwrap();
    assert_eq!(plan.settled, [1]);
}

#[test]
fn the_last_attempt_and_a_permanent_failure_make_dead_letters_with_a_reason() {
    for (failure, attempts, reason) in [
        (Failure::permanent("status 400"), 1, "status 400"),
        (Failure::retry("status 500"), 3, "gave up after 3 attempts over 2m; the last: status 500"),
    ] {
        let mut now = now();
        let mut window = window(&["a"], now);
        let mut plan = None;
        for _ in 0..attempts {
            now = later(now, Duration::from_secs(60));
            window.advance(now);
            let (batch, _) = window.take(usize::MAX, now).unwrap();
            window.finish(batch, vec![Outcome::Failed(failure.clone())], now);
            plan = window.plan(now);
            window.committed();
        }
        let dead = plan.unwrap().dead.remove(0);
        assert_eq!((dead.attempts, dead.reason.as_str()), (attempts, reason));
    }
}

#[test]
fn a_dead_letter_frees_its_key_once_it_is_durable() {
    let now = now();
    let mut window = window(&["a", "a"], now);
    let (batch, _) = window.take_probe(0, now).unwrap();
    let tally = window.finish(batch, vec![Outcome::Failed(Failure::permanent("no"))], now);
    assert_eq!(tally.failed, [FailedItem { seq: 1, key: key("a"), is_permanent: true }]);
    assert_eq!(window.n_ready(), 0);
    let plan = window.plan(now).unwrap();
    assert_eq!((plan.checkpoint, plan.dead.len()), (1, 1));
    assert_eq!(window.n_ready(), 0);
    window.committed();
    assert_eq!(seqs(&window.take(usize::MAX, now)), [2]);
}

#[test]
fn a_due_time_beyond_reason_is_brought_to_one_longest_backoff() {
    let now = now();
    let row = |seq, due| Pending {
        seq,
        key: None,
        app: 0,
        age: Duration::ZERO,
        attempt: 1,
        first_at: Timestamp::from_millis(0),
        due: Timestamp::from_millis(due),
        error: "no".into(),
    };
    let mut window: Window<(), ()> = Window::new(options(), 9, vec![row(5, i64::MAX), row(3, 0)], 1, now);
    assert_eq!(seqs(&window.take(usize::MAX, now)), [3]);
    assert!(window.take(usize::MAX, now).is_none());
    let now = later(now, Duration::from_secs(60));
    window.advance(now);
    assert_eq!(seqs(&window.take(usize::MAX, now)), [5]);
}

#[test]
fn a_checkpoint_that_passes_only_others_items_waits_for_company() {
    let start = now();
    let mut window: Window<(), ()> = Window::new(options(), 0, Vec::new(), 1, start);
    window.skip(1);
    assert!(window.plan(start).is_none());
    let wake = window.next_wake().unwrap();
    assert_eq!(wake, start.instant + Duration::from_secs(1));
    let plan = window.plan(later(start, Duration::from_secs(1))).unwrap();
    assert_eq!(plan.checkpoint, 1);
    window.committed();
    window.skip(400);
    assert_eq!(window.plan(start).unwrap().checkpoint, 400, "this far it does not wait");
    window.committed();
    window.skip(401);
    assert_eq!(window.last_plan(start).unwrap().checkpoint, 401, "nor at the end");
}

#[test]
fn items_given_back_lose_no_attempt_and_can_be_tried_one_by_one() {
    let now = now();
    let mut window = window(&["a", "a", ""], now);
    let (batch, _) = window.take(usize::MAX, now).unwrap();
    window.give_back(batch, false);
    let taken = window.take(usize::MAX, now);
    assert_eq!(seqs(&taken), [1, 2, 3]);
    let (batch, tasks) = taken.unwrap();
    assert!(tasks.iter().all(|task| task.attempt == 1));
    window.give_back(batch, true);
    assert_eq!(seqs(&window.take(usize::MAX, now)), [1]);
    assert_eq!(seqs(&window.take(usize::MAX, now)), [3]);
}

#[test]
fn probes_go_from_one_item_to_the_next() {
    let now = now();
    let mut window = window(&["a", "b", "c"], now);
    for (after, seq) in [(0, 1), (1, 2), (2, 3), (3, 1)] {
        let (batch, tasks) = window.take_probe(after, now).unwrap();
        assert_eq!(tasks[0].seq, seq);
        window.give_back(batch, false);
    }
}
