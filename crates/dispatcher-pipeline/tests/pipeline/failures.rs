//! Whose failure it is, and what plugins can do to themselves.

use std::time::Duration;

use dispatcher_core::{DeliveryError, Failure, OpenError};
use dispatcher_journal::Stream;
use dispatcher_pipeline::{ConsumerOptions, ConsumerStatus, Pipeline, State};

use crate::plugins::{Act, Item, Plugin, Store, handler, quick, sink, wait_for};

/// Starts a willing handler and this sink.
fn start(store: &Store, http: &Plugin, options: ConsumerOptions) -> Pipeline {
    let forward = handler("forward", &Plugin::willing(), &["http"], quick(ConsumerOptions::handler()));
    Pipeline::start(&store.journal, vec![forward], vec![sink("http", http, options)]).unwrap()
}

#[tokio::test]
async fn what_is_refused_for_good_or_too_often_becomes_a_dead_letter() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let http = Plugin::new(|item, _| match item.n {
        0 => Act::Refuse(Failure::permanent("status 400")),
        1 => Act::Refuse(Failure::retry("status 500")),
        _ => Act::Take,
    });
    let pipeline = start(&store, &http, quick(ConsumerOptions::single(4)));
    for n in 0..3 {
        store.append(n, "a");
    }
    http.took(1).await;
    assert_eq!(http.taken_of("a"), [2], "it waited for both to end");
    assert_eq!((http.times_asked(0), http.times_asked(1)), (1, 5));
    let is_over = |status: &ConsumerStatus| status.dead + status.done == 3 && status.pending == 0;
    let status = wait_for(&pipeline, "sink:http", "done", is_over).await;
    assert_eq!((status.dead, status.state), (2, State::Up));
    let dead = store.dead("sink:http");
    assert_eq!((dead.len(), &dead[0]), (2, &(1, "status 400".to_owned())));
    assert!(dead[1].1.starts_with("gave up after 5 attempts") && dead[1].1.ends_with("; the last: status 500"));
    let attempts = store.journal.reader().unwrap().attempts(Stream::Events, 2).unwrap();
    let told: Vec<_> = attempts["sink:http"].iter().map(|attempt| (attempt.n, attempt.error.as_deref())).collect();
    assert_eq!(told, [1, 2, 3, 4, 5].map(|n| (n, Some("status 500"))));
}

#[tokio::test]
async fn a_handlers_failures_are_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let strict = Plugin::new(|item, seen| match (item.n, seen) {
        (0, _) => Act::Refuse(Failure::permanent("no such member")),
        (1, 0) => Act::Panic,
        (2, 0) => Act::Hang,
        _ => Act::Take,
    });
    let (other, http) = (Plugin::willing(), Plugin::willing());
    let options = ConsumerOptions { timeout: Duration::from_millis(50), ..quick(ConsumerOptions::handler()) };
    let pipeline = Pipeline::start(
        &store.journal,
        vec![
            handler("strict", &strict, &["http"], options),
            handler("other", &other, &[], quick(ConsumerOptions::handler())),
        ],
        vec![sink("http", &http, quick(ConsumerOptions::single(4)))],
    );
    let pipeline = pipeline.unwrap();
    for n in 0..6 {
        store.append(n, "a");
    }
    http.took(5).await;
    assert_eq!(http.taken_of("a"), [1, 2, 3, 4, 5]);
    assert_eq!(other.taken_of("a"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(strict.openings(), 2, "opened anew after the panic, and not after the late call");
    assert_eq!(store.dead("handler:strict"), [(1, "no such member".to_owned())]);
    drop(pipeline);
}

#[tokio::test]
async fn a_sink_that_is_down_uses_no_attempts_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let refused = |_: &Item| Act::Down(DeliveryError::down("connection refused"));
    let (http, mend) = Plugin::switched(refused, |_| Act::Take);
    let pipeline = start(&store, &http, quick(ConsumerOptions::single(4)));
    for n in 0..50 {
        store.append(n, &format!("group-{}", n % 3));
    }
    let is_down = |status: &dispatcher_pipeline::ConsumerStatus| matches!(status.state, State::Down { .. });
    let status = wait_for(&pipeline, "sink:http", "down", is_down).await;
    assert_eq!(status.last_error.as_deref(), Some("connection refused"));
    // More probes than an item has attempts.
    while http.times_asked(0) < 8 {
        tokio::task::yield_now().await;
    }
    let status = wait_for(&pipeline, "sink:http", "down", is_down).await;
    assert_eq!((status.failed, status.dead), (0, 0));
    mend.throw();
    http.took(50).await;
    assert!(http.taken().iter().all(|item| item.attempt == 1));
    wait_for(&pipeline, "sink:http", "up", |status| status.state == State::Up && status.backlog == 0).await;
}

#[tokio::test]
async fn a_handler_that_is_down_uses_no_attempts_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    // What it did before it went down is not lost: it is down from the 20th on, in the middle of a batch.
    let refused = |item: &Item| match item.n {
        0..20 => Act::Take,
        _ => Act::Down(DeliveryError::down("connection refused")),
    };
    let (endpoint, mend) = Plugin::switched(refused, |_| Act::Take);
    let endpoint_of = handler("endpoint", &endpoint, &[], quick(ConsumerOptions::handler()));
    let pipeline = Pipeline::start(&store.journal, vec![endpoint_of], vec![]).unwrap();
    for n in 0..50 {
        store.append(n, &format!("group-{}", n % 3));
    }
    let is_down = |status: &ConsumerStatus| matches!(status.state, State::Down { .. }) && status.done == 20;
    let status = wait_for(&pipeline, "handler:endpoint", "down", is_down).await;
    assert_eq!(status.last_error.as_deref(), Some("connection refused"));
    // More probes than an item has attempts.
    while (20..23).map(|n| endpoint.times_asked(n)).max() < Some(8) {
        tokio::task::yield_now().await;
    }
    let status = wait_for(&pipeline, "handler:endpoint", "down", is_down).await;
    assert_eq!((status.failed, status.dead), (0, 0));
    mend.throw();
    endpoint.took(50).await;
    let taken = endpoint.taken();
    assert_eq!(taken.len(), 50, "each once");
    assert!(taken.iter().all(|item| item.attempt == 1));
    for key in 0..3 {
        let in_order: Vec<u64> = (0..50).filter(|n| n % 3 == key).collect();
        assert_eq!(endpoint.taken_of(&format!("group-{key}")), in_order);
    }
    wait_for(&pipeline, "handler:endpoint", "up", |status| status.state == State::Up && status.backlog == 0).await;
}

#[tokio::test]
async fn a_handler_whose_receiver_refuses_everything_is_down_and_one_that_refuses_by_itself_is_not() {
    for (failure, n_dead) in [
        (Failure::permanent("status 404").with_response(404, ""), 8),
        (Failure::permanent("the body does not fit"), 40),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path());
        let is_down = n_dead < 40;
        let (endpoint, mend) = Plugin::switched(move |_| Act::Refuse(failure.clone()), |_| Act::Take);
        let options = ConsumerOptions { lanes: 1, batch: 1, ..quick(ConsumerOptions::handler()) };
        let endpoint_of = handler("endpoint", &endpoint, &[], options);
        let pipeline = Pipeline::start(&store.journal, vec![endpoint_of], vec![]).unwrap();
        for n in 0..40 {
            store.append(n, &format!("group-{n}"));
        }
        wait_for(&pipeline, "handler:endpoint", "down, or through", |status| {
            if is_down { matches!(status.state, State::Down { .. }) } else { status.dead == 40 }
        })
        .await;
        mend.throw();
        let is_over = |status: &ConsumerStatus| status.dead + status.done == 40 && status.state == State::Up;
        let status = wait_for(&pipeline, "handler:endpoint", "done", is_over).await;
        assert_eq!(status.dead, n_dead);
    }
}

#[tokio::test]
async fn failures_of_eight_keys_in_a_row_are_the_sinks() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let (http, mend) = Plugin::switched(|_| Act::Refuse(Failure::permanent("status 404")), |_| Act::Take);
    let pipeline = start(&store, &http, quick(ConsumerOptions::single(1)));
    for n in 0..100 {
        store.append(n, &format!("group-{n}"));
    }
    wait_for(&pipeline, "sink:http", "down", |status| matches!(status.state, State::Down { .. })).await;
    mend.throw();
    http.took(92).await;
    // What is dead counts once it is durable.
    let status = wait_for(&pipeline, "sink:http", "done", |status| status.dead + status.done == 100).await;
    assert_eq!((status.dead, status.done), (8, 92));
}

#[tokio::test]
async fn a_sink_that_went_down_with_nothing_left_to_try_comes_back_with_what_is_new() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let http = Plugin::new(|item, _| match item.n {
        0..8 => Act::Refuse(Failure::permanent("status 404")),
        _ => Act::Take,
    });
    let pipeline = start(&store, &http, quick(ConsumerOptions::single(1)));
    for n in 0..8 {
        store.append(n, &format!("group-{n}"));
    }
    wait_for(&pipeline, "sink:http", "down", |status| {
        matches!(status.state, State::Down { .. }) && status.dead == 8 && status.backlog == 0
    })
    .await;
    store.append(8, "group-8");
    http.took(1).await;
    wait_for(&pipeline, "sink:http", "up", |status| status.state == State::Up).await;
}

#[tokio::test]
async fn one_bad_event_does_not_keep_a_sink_down() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let refused = |_: &Item| Act::Down(DeliveryError::down("connection refused"));
    let (http, mend) = Plugin::switched(refused, |item| match item.n {
        0 => Act::Refuse(Failure::retry("status 500")),
        _ => Act::Take,
    });
    let pipeline = start(&store, &http, quick(ConsumerOptions::single(1)));
    store.append(0, "bad");
    wait_for(&pipeline, "sink:http", "down", |status| matches!(status.state, State::Down { .. })).await;
    mend.throw();
    wait_for(&pipeline, "sink:http", "tried again", |_| http.times_asked(0) >= 4).await;
    store.append(1, "good");
    http.took(1).await;
    let status = wait_for(&pipeline, "sink:http", "done", |status| status.backlog == 0 && status.dead == 1).await;
    assert_eq!(status.state, State::Up);
}

#[tokio::test]
async fn what_no_attempt_can_help_is_given_up_on_though_nothing_else_is_there_to_try() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let refused = |_: &Item| Act::Down(DeliveryError::down("connection refused"));
    let (http, mend) = Plugin::switched(refused, |_| Act::Refuse(Failure::permanent("status 400")));
    let pipeline = start(&store, &http, quick(ConsumerOptions::single(1)));
    store.append(0, "bad");
    wait_for(&pipeline, "sink:http", "down", |status| matches!(status.state, State::Down { .. })).await;
    mend.throw();
    wait_for(&pipeline, "sink:http", "done", |status| status.dead == 1).await;
}

#[tokio::test]
async fn a_sink_that_is_gone_is_parked_until_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let gone = Plugin::new(|_, _| Act::Down(DeliveryError::gone("status 410")));
    let pipeline = start(&store, &gone, quick(ConsumerOptions::single(1)));
    store.append(0, "a");
    wait_for(&pipeline, "sink:http", "parked", |status| matches!(status.state, State::Parked { .. })).await;
    assert_eq!(gone.times_asked(0), 1);
    pipeline.drain(Duration::from_secs(10)).await;
    let willing = Plugin::willing();
    let _pipeline = start(&store, &willing, quick(ConsumerOptions::single(1)));
    willing.took(1).await;
}

#[tokio::test]
async fn what_cannot_be_opened_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let twice = |openings| match openings {
        0..2 => Err(OpenError::key("path", "no such folder")),
        _ => Ok(()),
    };
    let (forward, http) = (Plugin::opening(twice, |_, _| Act::Take), Plugin::opening(twice, |_, _| Act::Take));
    let pipeline = Pipeline::start(
        &store.journal,
        vec![handler("forward", &forward, &["http"], quick(ConsumerOptions::handler()))],
        vec![sink("http", &http, quick(ConsumerOptions::single(1)))],
    );
    let _pipeline = pipeline.unwrap();
    store.append(0, "a");
    http.took(1).await;
    assert_eq!((forward.openings(), http.openings()), (3, 3));
    assert_eq!(http.taken()[0].attempt, 1);
}

#[tokio::test]
async fn an_event_that_a_sink_cannot_survive_is_found_among_others() {
    for act in [Act::Panic, Act::Hang] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path());
        let poison = act.clone();
        let file = Plugin::new(move |item, _| if item.n == 30 { poison.clone() } else { Act::Take });
        let options = ConsumerOptions {
            attempts: Some(2),
            timeout: Duration::from_millis(40),
            ..quick(ConsumerOptions::batched())
        };
        let pipeline = start(&store, &file, options);
        for n in 0..60 {
            store.append(n, &format!("group-{}", n % 20));
        }
        let done = |status: &dispatcher_pipeline::ConsumerStatus| status.done + status.dead == 60;
        let status = wait_for(&pipeline, "sink:http", "done", done).await;
        assert_eq!((status.dead, status.done), (1, 59), "{act:?}");
        let dead = store.dead("sink:http");
        assert!(dead[0].1.starts_with("gave up after 2 attempts"), "{dead:?}");
        let firsts: std::collections::BTreeSet<u64> = file.taken().iter().map(|item| item.n).collect();
        assert_eq!(firsts.len(), 59);
    }
}

#[tokio::test]
async fn a_plugin_that_blocks_its_thread_is_left_and_opened_anew() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let blocks_once = |item: &Item, seen: u32| match (item.n, seen) {
        (3, 0) => Act::Block,
        _ => Act::Take,
    };
    let (forward, http) = (Plugin::new(blocks_once), Plugin::new(blocks_once));
    let options = |options| ConsumerOptions { timeout: Duration::from_millis(30), ..quick(options) };
    let pipeline = Pipeline::start(
        &store.journal,
        vec![handler("forward", &forward, &["http"], options(ConsumerOptions::handler()))],
        vec![sink("http", &http, options(ConsumerOptions::single(2)))],
    );
    let pipeline = pipeline.unwrap();
    for n in 0..10 {
        store.append(n, "a");
    }
    http.took(10).await;
    assert_eq!(http.taken_of("a"), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(forward.openings(), 2);
    wait_for(&pipeline, "sink:http", "done", |status| status.backlog == 0 && status.pending == 0).await;
    pipeline.drain(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_plugin_that_always_blocks_is_off_and_harms_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let (stuck, well) = (Plugin::new(|_, _| Act::Block), Plugin::willing());
    let options = ConsumerOptions {
        timeout: Duration::from_millis(20),
        attempts: Some(100),
        ..quick(ConsumerOptions::single(1))
    };
    let forward = handler("forward", &Plugin::willing(), &["stuck", "well"], quick(ConsumerOptions::handler()));
    let sinks = vec![sink("stuck", &stuck, options), sink("well", &well, quick(ConsumerOptions::batched()))];
    let pipeline = Pipeline::start(&store.journal, vec![forward], sinks).unwrap();
    for n in 0..100 {
        store.append(n, &format!("group-{n}"));
    }
    well.took(100).await;
    let status =
        wait_for(&pipeline, "sink:stuck", "stopped", |status| matches!(status.state, State::Stopped { .. })).await;
    assert_eq!(stuck.openings(), 4, "once, and three times anew");
    assert_eq!((status.done, status.dead), (0, 0));
    pipeline.drain(Duration::from_secs(10)).await;
}
