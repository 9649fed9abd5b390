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
    assert_eq!(tally.failed, [FailedItem { seq: 1, key: key("a"), is_permanent: true, is_answered: false }]);
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

#[test]
fn the_age_counts_from_the_first_failure_and_only_while_up() {
    let mut now = now();
    let mut options = options();
    (options.attempts, options.give_up_after) = (None, Some(Duration::from_secs(600)));
    let mut window: Window<(), ()> = Window::new(options.clone(), 0, Vec::new(), 1, now);
    window.push(1, None, 1, ());
    // Waiting before the first attempt is no age.
    now = later(now, Duration::from_secs(100_000));
    let fail = |window: &mut Window<(), ()>, now| {
        window.advance(now);
        let (batch, _) = window.take(usize::MAX, now).unwrap();
        window.finish(batch, vec![Outcome::Failed(Failure::retry("status 500"))], now);
        let plan = window.plan(now).unwrap();
        window.committed();
        plan
    };
    let first = fail(&mut window, now).pending.remove(0);
    assert_eq!((first.age, first.first_at), (Duration::ZERO, now.wall));
    // An hour in which it is down, and 400 seconds in which it is up.
    now = later(now, Duration::from_secs(4000));
    now.up -= Duration::from_secs(3600);
    let row = fail(&mut window, now).pending.remove(0);
    assert_eq!((row.age, row.first_at), (Duration::from_secs(400), first.first_at));

    // After a start the clock begins at nothing, and the age goes on.
    now = Now { up: Duration::ZERO, ..later(now, Duration::from_secs(3600)) };
    let mut window = Window::new(options, 1, vec![row], 1, now);
    now = later(now, Duration::from_secs(199));
    let row = fail(&mut window, now).pending.remove(0);
    assert_eq!((row.age, row.attempt), (Duration::from_secs(599), 3));
    now = later(now, Duration::from_secs(61));
    let dead = fail(&mut window, now).dead.remove(0);
    assert_eq!(dead.reason, "gave up after 11m of failing, in 4 attempts; the last: status 500");
    assert_eq!((dead.attempts, dead.first_at), (4, first.first_at));
}

#[test]
fn a_wish_to_be_left_alone_is_longer_than_any_backoff_and_no_longer_than_an_hour() {
    for (wish, from, upto) in [(0, 0, 1), (300, 300, 300), (100_000, 3600, 3600)] {
        let now = now();
        let mut window = window(&["a"], now);
        let (batch, _) = window.take(usize::MAX, now).unwrap();
        let failure = Failure::retry("status 429").retry_after(Duration::from_secs(wish));
        window.finish(batch, vec![Outcome::Failed(failure)], now);
        let wait = window.next_wake().unwrap() - now.instant;
        assert!((Duration::from_secs(from)..=Duration::from_secs(upto)).contains(&wait), "{wish}: {wait:?}");
        let due = window.plan(now).unwrap().pending[0].due;
        assert_eq!(due, now.wall.after(wait), "what is stored is the same");
    }
}

#[test]
fn a_plan_tells_each_attempt_once_with_what_came_back() {
    let mut now = now();
    let mut options = options();
    options.backoff.max = Duration::from_millis(200);
    let mut window: Window<(), ()> = Window::new(options, 0, Vec::new(), 1, now);
    window.push(1, key("a").as_ref(), 1, ());
    window.push(2, key("b").as_ref(), 1, ());
    // While the first is under way, the second fails twice, and nothing of it is committed.
    let (slow, _) = window.take_probe(0, now).unwrap();
    for _ in 0..2 {
        let (batch, _) = window.take(usize::MAX, now).unwrap();
        let failure = Failure::retry("status 500").with_response(500, "x".repeat(5000));
        window.finish(batch, vec![Outcome::Failed(failure)], now);
        assert!(window.plan(now).is_none());
        now = later(now, Duration::from_millis(200));
        window.advance(now);
    }
    window.finish(slow, vec![Outcome::Done(())], now);
    let plan = window.plan(now).unwrap();
    window.committed();
    let told: Vec<_> = plan.attempts.iter().map(|attempt| (attempt.seq, attempt.n)).collect();
    assert_eq!(told, [(2, 1), (2, 2)]);
    assert_eq!(plan.attempts[1].at.since(plan.attempts[0].at), Duration::from_millis(200));
    let response = plan.attempts[1].response.as_ref().unwrap();
    assert_eq!((response.status, response.excerpt.len()), (500, 1024 + '…'.len_utf8()));
    let (batch, _) = window.take(usize::MAX, now).unwrap();
    window.finish(batch, vec![Outcome::Done(())], now);
    let plan = window.plan(now).unwrap();
    window.committed();
    let told: Vec<_> = plan.attempts.iter().map(|attempt| (attempt.n, attempt.error.as_deref())).collect();
    assert_eq!(told, [(3, None)], "the one that worked, of an item that had failed");
}

#[test]
fn attempts_that_no_commit_can_tell_are_bounded() {
    let mut now = now();
    let mut options = options();
    (options.attempts, options.max_pending) = (None, 1);
    let mut window: Window<(), ()> = Window::new(options, 0, Vec::new(), 1, now);
    window.push(1, key("a").as_ref(), 1, ());
    window.push(2, key("b").as_ref(), 1, ());
    let mut told = 0;
    for round in 0..60 {
        while let Some((batch, _)) = window.take(usize::MAX, now) {
            window.finish(batch, vec![Outcome::Failed(Failure::retry("status 500"))], now);
        }
        if let Some(plan) = window.plan(now) {
            assert!(round == 0 || plan.pending.iter().all(|row| row.seq == 1), "there is room for one");
            told += plan.attempts.iter().filter(|attempt| attempt.seq == 2).count();
            window.committed();
        }
        now = later(now, Duration::from_secs(60));
        window.advance(now);
    }
    assert_eq!(told, 0);
    // The second one can be committed once the first is done.
    let untold = |window: &Window<(), ()>| {
        window.entries.iter().filter_map(|entry| entry.trouble.as_ref()).map(|trouble| trouble.untold.len()).max()
    };
    assert_eq!(untold(&window), Some(fail::MAX_UNTOLD));
}

#[test]
fn what_is_skipped_leaves_untried_and_is_told_once() {
    let now = now();
    let mut window = window(&["a", "b", "a", "", "c"], now);
    // 1 is under way, 2 is pending, 3 waits behind 1; 5 and what comes after may stay.
    let (slow, _) = window.take_probe(0, now).unwrap();
    let (batch, _) = window.take_probe(1, now).unwrap();
    window.finish(batch, vec![Outcome::Failed(Failure::retry("status 500"))], now);
    let parked = later(now, Duration::from_secs(1));
    assert_eq!(window.plan(parked).unwrap().pending.len(), 3);
    window.committed();
    assert_eq!(window.evict(4, LetGo::Skip, "too old"), Some((1, 4)));
    assert_eq!(window.evict(3, LetGo::Skip, "too old"), None, "that is over");
    let plan = window.plan(parked).unwrap();
    window.committed();
    let skipped = plan.skipped.unwrap();
    assert_eq!((skipped.first, skipped.last, skipped.reason.as_str()), (1, 4, "too old"));
    assert_eq!((plan.checkpoint, plan.settled, plan.dead.len(), plan.made.len()), (4, vec![2], 0, 0));
    assert_eq!(plan.attempts.len(), 0, "they were told before");
    // What was under way, and what is behind it, goes when it ends.
    window.finish(slow, vec![Outcome::Failed(Failure::retry("status 500"))], parked);
    let plan = window.plan(parked).unwrap();
    window.committed();
    assert_eq!((plan.settled, plan.skipped, plan.attempts.len()), (vec![1, 3], None, 1));
    assert_eq!(seqs(&window.take(usize::MAX, parked)), [5]);
    assert_eq!(window.pending(), 0);
}

#[test]
fn what_is_under_way_and_succeeds_is_done_although_it_was_to_go() {
    let now = now();
    let mut window = window(&["a"], now);
    let (batch, _) = window.take(usize::MAX, now).unwrap();
    assert_eq!(window.evict(1, LetGo::Skip, "too old"), Some((1, 1)));
    window.finish(batch, vec![Outcome::Done(())], now);
    let plan = window.plan(now).unwrap();
    assert_eq!((plan.made.len(), plan.skipped), (1, None), "nothing was let go of");
}

#[test]
fn rows_skipped_unread_are_passed_at_once_and_what_follows_waits_for_that() {
    let now = now();
    let mut window = window(&[], now);
    assert_eq!(window.evict(1_000_000, LetGo::Skip, "too old"), Some((1, 1_000_000)));
    assert_eq!((window.loaded(), window.room()), (1_000_000, 0));
    assert!(!window.has_to_read());
    let plan = window.plan(now).unwrap();
    assert_eq!((plan.checkpoint, plan.skipped.map(|skipped| skipped.last)), (1_000_000, Some(1_000_000)));
    window.committed();
    assert_eq!(window.room(), 100);
}

#[test]
fn what_is_buried_becomes_dead_letters_a_few_at_a_time() {
    let now = now();
    let mut options = options();
    options.max_items = 1000;
    let mut window: Window<(), ()> = Window::new(options, 0, Vec::new(), 1, now);
    for seq in 1..=100 {
        window.push(seq, key("a").as_ref(), 100, ());
    }
    let (batch, _) = window.take_probe(0, now).unwrap();
    assert_eq!(window.evict(400, LetGo::Bury, "too old"), Some((1, 400)));
    assert!(window.has_to_read() && window.loaded() == 100);
    for seq in 101..=450 {
        match seq % 10 {
            0 => window.skip(seq),
            _ => window.push(seq, key(if seq % 2 == 0 { "a" } else { "" }).as_ref(), 0, ()),
        }
    }
    assert!(!window.has_to_read());
    window.finish(batch, vec![Outcome::Failed(Failure::retry("status 500"))], now);
    let (mut dead, mut commits) = (Vec::new(), 0);
    while let Some(plan) = window.plan(now) {
        assert!(plan.evicted.len() <= 128 && plan.dead.is_empty() && plan.skipped.is_none());
        dead.extend(plan.evicted);
        commits += 1;
        window.committed();
    }
    assert_eq!((dead.len(), commits, window.checkpoint()), (370, 3, 400));
    assert_eq!(dead[0].reason, "too old; the last attempt: status 500");
    assert_eq!((dead[1].reason.as_str(), dead[1].attempts), ("too old", 0));
    assert_eq!(window.room_in_bytes(), 10_000, "they hold nothing");
    let (_, tasks) = window.take(usize::MAX, now).unwrap();
    assert_eq!(tasks[0].seq, 401);
}

#[test]
fn the_longest_keys_are_told_with_what_is_pending() {
    let start = now();
    let mut window = window(&["a", "b", "a", "c", "a", "b", "", "d"], start);
    assert_eq!(window.longest_keys(2), [(key("a").unwrap(), 3), (key("b").unwrap(), 2)]);
    assert_eq!(window.oldest_pending(), None);
    let (batch, _) = window.take_probe(0, start).unwrap();
    window.finish(batch, vec![Outcome::Failed(Failure::retry("status 500"))], start);
    window.plan(later(start, Duration::from_secs(5))).unwrap();
    window.committed();
    assert_eq!(window.oldest_pending(), Some(start.wall));
    assert_eq!(window.longest_keys(9).len(), 4);
    let (batch, tasks) = window.take(usize::MAX, start).unwrap();
    window.finish(batch, tasks.iter().map(|_| Outcome::Done(())).collect(), start);
    assert_eq!(window.longest_keys(9), [(key("a").unwrap(), 3)]);
}

#[test]
fn a_batch_is_cut_to_what_may_start() {
    let now = now();
    let mut window = window(&["a", "a", "b", ""], now);
    assert_eq!(seqs(&window.take(2, now)), [1, 2]);
    assert_eq!(seqs(&window.take(1, now)), [3]);
    assert_eq!(seqs(&window.take(9, now)), [4]);
}

#[test]
fn what_is_done_at_the_end_is_stored_whatever_lies_before_it() {
    let now = now();
    let mut window = window(&["a", "b", "c", "d"], now);
    let [running, given_back, done] = [(); 3].map(|()| window.take(1, now).unwrap().0);
    window.give_back(given_back, false);
    window.finish(done, vec![Outcome::Done(())], now);
    assert!(window.plan(now).is_none(), "it goes on, and the first is waited for");
    let plan = window.last_plan(now).unwrap();
    let pending: Vec<(u64, u32)> = plan.pending.iter().map(|row| (row.seq, row.attempt)).collect();
    let made: Vec<u64> = plan.made.iter().map(|(seq, ())| *seq).collect();
    assert_eq!((plan.checkpoint, made), (3, vec![3]), "and nothing behind what is done");
    assert_eq!(pending.iter().map(|(seq, _)| *seq).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(pending[1].1, 0, "it was not tried");
    window.committed();
    assert!(window.last_plan(now).is_none());
    drop(running);
}
