//! What a consumer makes of receivers that fail in every way, over hours of virtual time, with many seeds.

use std::time::Duration;

use dispatcher_core::Failure;

use crate::{Backoff, State};

mod world;

use world::{Action, Answer, Plot, TIMEOUT, run};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// What timers and answers may add to any time here.
const SLACK: Duration = Duration::from_secs(2);

/// `n` items in `span`, at random times, of these keys at random.
fn traffic(rng: &mut fastrand::Rng, n: usize, span: Duration, keys: u64) -> Vec<(Duration, Option<u64>)> {
    let mut times: Vec<Duration> = (0..n).map(|_| span.mul_f64(rng.f64())).collect();
    times.sort_unstable();
    times.into_iter().map(|at| (at, Some(rng.u64(0..keys)))).collect()
}

/// How many runs: `SIMULATION_FACTOR` times as many by hand.
fn seeds(usual: u64) -> u64 {
    usual * std::env::var("SIMULATION_FACTOR").ok().and_then(|factor| factor.parse().ok()).unwrap_or(1)
}

fn status(status: u16) -> Failure {
    Failure::retry(format!("status {status}")).with_response(status, "no")
}

#[test]
fn a_receiver_that_is_down_for_six_hours_costs_no_dead_letter() {
    let broken = HOUR..7 * HOUR;
    let refused = || Answer::Down("connection refused", None);
    let busy = || Answer::Down("status 503", Some(90 * Duration::from_secs(1)));
    let (failing, hanging) = (|| Answer::Refuse(status(500)), || Answer::Hang);
    let kinds: [(&str, &dyn Fn() -> Answer); 4] =
        [("refused", &refused), ("503", &busy), ("500", &failing), ("hanging", &hanging)];
    for (name, answer) in kinds {
        let (mut latest, mut last, mut most_requests) = (Duration::ZERO, Duration::ZERO, 0);
        for seed in 0..seeds(10) {
            let mut rng = fastrand::Rng::with_seed(seed);
            let plot = Plot::single(traffic(&mut rng, 2500, 8 * HOUR, 60));
            let story = run(&plot, seed, |request| if broken.contains(&request.at) { answer() } else { Answer::Take });
            assert!(story.dead.is_empty(), "{name} {seed}: {:?}", story.dead);
            let since = story.states.iter().find(|(_, state)| matches!(state, State::Down { .. })).unwrap().0;
            let counted = story.failures().filter(|at| *at > since + TIMEOUT + SLACK).count();
            assert_eq!(counted, 0, "{name} {seed}: attempts that were counted while it was down");
            let taken = story.taken();
            let first = taken.values().filter(|&&at| at >= broken.end).min().unwrap();
            latest = latest.max(*first - broken.end);
            // What had come before the receiver was well again.
            let n_behind = plot.arrivals.partition_point(|(at, _)| *at < broken.end) as u64;
            last = last.max(taken.range(..=n_behind).map(|(_, at)| at.saturating_sub(broken.end)).max().unwrap());
            most_requests = most_requests.max(story.requests.iter().filter(|(at, ..)| broken.contains(at)).count());
        }
        println!("{name}: first after {latest:?}, backlog after {last:?}, {most_requests} requests in vain");
        assert!(latest <= Backoff::default().max + TIMEOUT + SLACK, "{name}: tried again after {latest:?}");
        assert!(last <= latest + MINUTE, "{name}: the last of the backlog after {last:?}");
        assert!(most_requests < 400, "{name}: {most_requests} requests");
    }
}

#[test]
fn a_404_by_mistake_costs_a_streak_and_what_was_under_way() {
    let broken = 2 * MINUTE..7 * MINUTE;
    let mut most = 0;
    for seed in 0..seeds(10) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut arrivals = traffic(&mut rng, 9000, 10 * MINUTE, 1);
        // They come in bursts that fill all lanes, and neighbours are of different keys, as under the load of many.
        for (arrival, n) in arrivals.iter_mut().zip(0..) {
            *arrival = (Duration::from_secs(arrival.0.as_secs() / 5 * 5), Some(n % 300));
        }
        let plot = Plot { lanes: rng.usize(1..33), ..Plot::single(arrivals) };
        let story = run(&plot, seed, |request| match broken.contains(&request.at) {
            true => Answer::Refuse(Failure::permanent("status 404")),
            false => Answer::Take,
        });
        assert!(story.was_down(), "{seed}");
        assert!(story.dead.len() < 8 + plot.lanes, "{seed}: {} dead with {} lanes", story.dead.len(), plot.lanes);
        assert!(story.dead.len() >= 8, "{seed}: the streak itself");
        let last = story.taken().values().max().copied().unwrap();
        assert!(last <= broken.end + Backoff::default().max + MINUTE, "{seed}: the last came at {last:?}");
        most = most.max(story.dead.len());
    }
    println!("at most {most} dead letters");
}

#[test]
fn a_receiver_that_fails_every_third_request_gets_everything() {
    for seed in 0..seeds(20) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let plot = Plot { lanes: rng.usize(1..17), ..Plot::single(traffic(&mut rng, 1500, HOUR, 30)) };
        let story = run(&plot, seed, |request| match request.n % 3 {
            2 => Answer::Refuse(status(500)),
            _ => Answer::Take,
        });
        assert!(story.dead.is_empty() && !story.was_down(), "{seed}: {:?} {:?}", story.dead, story.states);
        assert!(!story.attempts.is_empty());
    }
}

#[test]
fn a_receiver_that_asks_for_time_gets_it() {
    let wish = Duration::from_secs(1000);
    for seed in 0..seeds(20) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let plot = Plot::single(traffic(&mut rng, 400, HOUR, 30));
        // Asks once a while, as the sink's own failure.
        let mut asked = None;
        let story = run(&plot, seed, |request| match asked {
            None if request.at > 10 * MINUTE => {
                asked = Some(request.at);
                Answer::Down("status 429", Some(wish))
            }
            _ => Answer::Take,
        });
        let asked = asked.unwrap();
        // What was under way already may still arrive; nothing new does.
        let early = story.requests.iter().filter(|(at, ..)| (asked + SLACK..asked + wish).contains(at)).count();
        assert_eq!(early, 0, "{seed}");
        assert!(story.dead.is_empty());

        // Of one item.
        let story = run(&plot, seed, |request| match request.seq {
            40 if request.at < 20 * MINUTE => Answer::Refuse(status(429).retry_after(wish)),
            _ => Answer::Take,
        });
        let asks: Vec<Duration> = story.requests.iter().filter(|(_, seq, _)| *seq == 40).map(|(at, ..)| *at).collect();
        assert!(asks.len() > 1 && asks.windows(2).all(|pair| pair[1] - pair[0] >= wish), "{seed}: {asks:?}");
        assert!(!story.was_down(), "{seed}: the others went on");
    }
}

#[test]
fn a_poisoned_event_holds_up_its_key_alone_and_ends() {
    let backoff = Backoff::default();
    let longest: Duration = (1..20).map(|attempts| backoff.longest(attempts)).sum();
    let (mut waited, n_seeds) = (Duration::ZERO, seeds(60));
    for seed in 0..n_seeds {
        let mut rng = fastrand::Rng::with_seed(seed);
        let plot = Plot::single(traffic(&mut rng, 3000, 3 * HOUR, 12));
        let (came, key) = plot.arrivals[99];
        let story = run(&plot, seed, |request| match request.seq {
            100 => Answer::Refuse(status(500)),
            _ => Answer::Take,
        });
        let dead: Vec<_> = story.dead.iter().collect();
        assert_eq!(dead.len(), 1, "{seed}: {dead:?}");
        let reason = dead[0].1;
        assert!(reason.starts_with("gave up after 20 attempts over ") && reason.ends_with("status 500"), "{reason}");
        assert!(!story.was_down(), "{seed}: {:?}", story.states);
        let asks: Vec<Duration> = story.requests.iter().filter(|(_, seq, _)| *seq == 100).map(|(at, ..)| *at).collect();
        assert_eq!((asks.len(), story.attempts[&100].len()), (20, 20));
        for (pair, n) in asks.windows(2).zip(1..) {
            assert!(pair[1] - pair[0] <= backoff.longest(n) + SLACK, "{seed}: attempt {n}: {asks:?}");
        }
        let died = *asks.last().unwrap();
        waited += died - asks[0];
        for (seq, at) in story.taken() {
            let (arrived, its) = plot.arrivals[seq as usize - 1];
            let is_behind = its == key && seq > 100;
            // Those behind it come one after the other.
            let from = if is_behind { arrived.max(died + MINUTE) } else { arrived };
            assert!(at <= from + SLACK, "{seed}: {seq} came at {arrived:?}, and was delivered at {at:?}");
            assert!(!is_behind || at >= died, "{seed}: {seq} did not wait for 100, which came at {came:?}");
        }
    }
    let mean = waited.as_secs_f64() / n_seeds as f64 / longest.as_secs_f64();
    println!("waited for {mean:.2} of {longest:?}");
    // Each wait is anywhere between nothing and its longest.
    assert!((0.45..0.55).contains(&mean), "{mean}");
}

#[test]
fn what_fails_for_too_long_is_given_up_on_and_time_down_does_not_count() {
    for seed in 0..seeds(20) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut plot = Plot::single(traffic(&mut rng, 3000, 20 * HOUR, 40));
        (plot.options.attempts, plot.options.give_up_after) = (None, Some(4 * HOUR));
        let broken = 2 * HOUR..10 * HOUR;
        let story = run(&plot, seed, |request| match request.seq {
            _ if broken.contains(&request.at) => Answer::Down("connection refused", None),
            50 => Answer::Refuse(status(500)),
            _ => Answer::Take,
        });
        assert_eq!(story.dead.keys().collect::<Vec<_>>(), [&50], "{seed}: {:?}", story.dead);
        assert!(story.dead[&50].starts_with("gave up after 4h "), "{seed}: {:?}", story.dead);
        let attempts = &story.attempts[&50];
        let span = attempts.last().unwrap().at.since(attempts[0].at);
        // Four hours of its own, those that the receiver was away, and at most three longest waits: for the probe that finds
        // it back, for one more should that probe be this very item, and for the item's next failure.
        assert!(span >= 12 * HOUR - MINUTE && span <= 12 * HOUR + 3 * Backoff::default().max + MINUTE, "{span:?}");
    }
}

#[test]
fn a_parked_sink_is_left_alone_until_it_is_resumed() {
    for seed in 0..seeds(20) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut plot = Plot::single(traffic(&mut rng, 1000, 6 * HOUR, 30));
        // By its own word, then by a person's while it is down.
        plot.actions = vec![(3 * HOUR, Action::Resume), (4 * HOUR, Action::Park), (5 * HOUR, Action::Resume)];
        let story = run(&plot, seed, |request| match request.at {
            at if (HOUR..2 * HOUR).contains(&at) => Answer::Gone,
            at if (4 * HOUR - 10 * MINUTE..4 * HOUR).contains(&at) => Answer::Down("connection refused", None),
            _ => Answer::Take,
        });
        assert!(story.dead.is_empty());
        let parked = story.states.iter().filter(|(_, state)| matches!(state, State::Parked { .. })).count();
        assert_eq!(parked, 2, "{seed}: {:?}", story.states);
        let begin = story.states.iter().find(|(_, state)| matches!(state, State::Parked { .. })).unwrap().0;
        for (from, to) in [(begin, 3 * HOUR), (4 * HOUR, 5 * HOUR)] {
            let early = story.requests.iter().filter(|(at, ..)| *at >= from && *at < to).count();
            assert_eq!(early, 0, "{seed}: between {from:?} and {to:?}");
            let first = story.requests.iter().map(|(at, ..)| *at).find(|at| *at >= to).unwrap();
            assert!(first <= to + MINUTE, "{seed}: after {to:?} it went on at {first:?}");
        }
    }
}

#[test]
fn a_wall_clock_that_jumps_moves_no_wait_by_more_than_the_longest() {
    let max = Duration::from_secs(300);
    for seed in 0..seeds(60) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut plot = Plot::single(traffic(&mut rng, 300, 8 * HOUR, 20));
        plot.options.backoff = Backoff { max, ..Backoff::default() };
        plot.options.attempts = None;
        (plot.arrivals[19].1, plot.arrivals[29].1) = (Some(100), Some(101));
        let crashes = seed % 2 == 0;
        for _ in 0..16 {
            let (at, hour) = ((8 * HOUR).mul_f64(rng.f64()), 3_600_000);
            plot.actions.push((at, Action::Jump(if rng.bool() { hour } else { -hour })));
            if crashes {
                plot.actions.push((at, Action::Crash));
            }
        }
        plot.actions.sort_by_key(|(at, _)| *at);
        // Two that fail for hours, and others that do not.
        let story = run(&plot, seed, |request| match request.seq {
            20 | 30 if request.at < 7 * HOUR => Answer::Refuse(status(500)),
            _ => Answer::Take,
        });
        assert!(story.dead.is_empty(), "{seed}: {:?}", story.dead);
        for item in [20, 30] {
            let asks = story.requests.iter().filter(|(_, seq, _)| *seq == item).map(|(at, ..)| *at);
            let asks: Vec<Duration> = asks.collect();
            assert!(asks.len() > 30, "{seed}: {asks:?}");
            for pair in asks.windows(2) {
                // Each start may move it by one longest wait.
                let starts = plot
                    .actions
                    .iter()
                    .filter(|(at, action)| matches!(action, Action::Crash) && (pair[0]..=pair[1]).contains(at));
                let (most, gap) = (max * (1 + starts.count() as u32), pair[1] - pair[0]);
                assert!(gap <= most + SLACK, "{seed}: {item} waited for {gap:?}");
            }
        }
    }
}

#[test]
fn a_rate_is_kept_to_with_probes_and_all() {
    for seed in 0..seeds(20) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let rate = [0.5, 5.0, 40.0][rng.usize(0..3)];
        let mut plot = Plot::single(traffic(&mut rng, 1000, MINUTE, 100));
        plot.rate = Some(rate);
        let broken = 2 * MINUTE..5 * MINUTE;
        let story = run(&plot, seed, |request| match broken.contains(&request.at) {
            true => Answer::Down("connection refused", None),
            false => Answer::Take,
        });
        let burst = (rate / 10.0_f64).max(1.0);
        let times: Vec<Duration> = story.requests.iter().map(|(at, ..)| *at).collect();
        for (n, from) in times.iter().enumerate() {
            let within = times[n..].partition_point(|at| *at < *from + MINUTE);
            assert!(within as f64 <= rate * 60.0 + burst + 1e-3, "{seed}: {within} in a minute at {rate}");
        }
        let took = times.last().unwrap().as_secs_f64();
        let down = (broken.end + Backoff::default().max - broken.start).as_secs_f64();
        assert!(took <= 1000.0 / rate * 1.02 + 60.0 + down, "{seed}: {took} s at {rate}");
    }
}
