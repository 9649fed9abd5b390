//! What is delivered again because someone asked for it, and what waits because someone said so.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use dispatcher_core::{DeliveryError, Failure};
use dispatcher_journal::{Change, Replay, Start};
use dispatcher_pipeline::{ConsumerOptions, ControlError, Pipeline, ReplayFilter, ReplaySpec, State};

use crate::plugins::{Act, Plugin, Store, handler, quick, sink, wait_for};

fn of(consumer: &str) -> ReplaySpec {
    ReplaySpec { of: consumer.to_owned(), ..ReplaySpec::default() }
}

/// A willing handler, a sink called `a` and one called `b`; the handler's events are for `a`.
fn start(store: &Store, a: &Plugin, b: &Plugin) -> Pipeline {
    let forward = handler("forward", &Plugin::willing(), &["a"], quick(ConsumerOptions::handler()));
    let sinks = vec![sink("a", a, quick(ConsumerOptions::single(4))), sink("b", b, quick(ConsumerOptions::single(4)))];
    Pipeline::start(&store.journal, vec![forward], sinks).unwrap()
}

/// Waits for the end of a replay.
async fn ended(store: &Store, id: u64) -> Replay {
    let look = async {
        loop {
            let replays = store.journal.reader().unwrap().replays().unwrap();
            let replay = replays.into_iter().find(|replay| replay.id == id).unwrap();
            if replay.ended_at.is_some() {
                return replay;
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(crate::plugins::PATIENCE, look).await.unwrap()
}

fn numbers(plugin: &Plugin) -> Vec<u64> {
    plugin.taken().iter().map(|item| item.n).collect()
}

#[tokio::test]
async fn what_was_delivered_is_delivered_again_in_order_and_marked() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let (a, b) = (Plugin::willing(), Plugin::willing());
    let pipeline = start(&store, &a, &b);
    for n in 0..600 {
        store.append(n, if n % 2 == 0 { "even" } else { "odd" });
    }
    a.took(600).await;
    let spec =
        ReplaySpec { filter: ReplayFilter { key: Some("even".to_owned()), ..ReplayFilter::default() }, ..of("sink:a") };
    assert_eq!(pipeline.handle().count(&spec, |_, _| true), Ok(300));
    let replay = pipeline.handle().replay(&spec).await.unwrap();
    assert_eq!((replay.last, &*replay.target), (600, "sink:a"));
    // What comes after it was made is not part of it.
    store.append(600, "even");
    let replay = ended(&store, replay.id).await;
    assert_eq!((replay.done, replay.dead, replay.cancelled), (300, 0, false));
    a.took(901).await;
    let again: Vec<_> = a.taken().into_iter().filter(|item| item.replay).collect();
    let evens: Vec<u64> = (0..600).step_by(2).collect();
    assert_eq!(again.iter().map(|item| item.n).collect::<Vec<_>>(), evens);
    assert_eq!(a.taken().len(), 901);
    // Its end is stored a moment before its status goes.
    let gone = async {
        while pipeline.status().iter().any(|status| status.name.starts_with("replay:")) {
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(crate::plugins::PATIENCE, gone).await.unwrap();
}

#[tokio::test]
async fn dead_letters_are_delivered_after_all_and_are_dead_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let mended = Arc::new(AtomicBool::new(false));
    let works = mended.clone();
    let a = Plugin::new(move |item, _| match item.n {
        1 => Act::Refuse(Failure::permanent("status 404")),
        3 | 4 if !works.load(Ordering::SeqCst) => Act::Refuse(Failure::permanent("status 404")),
        _ => Act::Take,
    });
    let pipeline = start(&store, &a, &Plugin::willing());
    for n in 0..6 {
        store.append(n, "a");
    }
    a.took(3).await;
    wait_for(&pipeline, "sink:a", "done", |status| status.dead == 3).await;
    mended.store(true, Ordering::SeqCst);
    let spec = ReplaySpec { dead: true, ..of("sink:a") };
    assert_eq!(pipeline.handle().count(&spec, |_, _| true), Ok(3));
    let replay = pipeline.handle().replay(&spec).await.unwrap();
    let replay = ended(&store, replay.id).await;
    assert_eq!((replay.done, replay.dead), (2, 1));
    assert_eq!(numbers(&a), [0, 2, 5, 3, 4]);
    assert_eq!(store.dead("sink:a"), [(2, "status 404".to_owned())], "what fails again stays one");
}

#[tokio::test]
async fn a_replay_of_nothing_but_bad_events_ends_although_its_sink_was_down() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let a = Plugin::new(|item, seen| match (item.replay, seen) {
        (false, _) => Act::Refuse(Failure::permanent("status 404")),
        (true, 1) => Act::Down(DeliveryError::down("connection refused")),
        (true, _) => Act::Refuse(Failure::retry("status 500")),
    });
    let pipeline = start(&store, &a, &Plugin::willing());
    for n in 0..3 {
        store.append(n, &format!("group-{n}"));
    }
    wait_for(&pipeline, "sink:a", "done", |status| status.dead == 3).await;
    let replay = pipeline.handle().replay(&ReplaySpec { dead: true, ..of("sink:a") }).await.unwrap();
    let replay = ended(&store, replay.id).await;
    assert_eq!((replay.done, replay.dead), (0, 3));
    let reasons = store.dead("sink:a").into_iter().map(|(_, reason)| reason);
    assert!(reasons.clone().all(|reason| reason.contains("status 500")), "{:?}", reasons.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_replay_goes_on_after_a_restart_and_ends_when_someone_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let refuses = |item: &crate::plugins::Item, _: u32| match item.replay {
        true => Act::Refuse(Failure::retry("not now")),
        false => Act::Take,
    };
    let a = Plugin::new(refuses);
    let store = Store::open(folder.path());
    let pipeline = start(&store, &a, &Plugin::willing());
    store.append(0, "a");
    store.append(1, "a");
    a.took(2).await;
    let spec = ReplaySpec { to: Some("b".to_owned()), ..of("sink:a") };
    let redirected = pipeline.handle().replay(&spec).await.unwrap();
    assert_eq!(ended(&store, redirected.id).await.done, 2);
    let stuck = pipeline.handle().replay(&of("sink:a")).await.unwrap();
    let name = stuck.consumer();
    wait_for(&pipeline, "sink:a", "reached by it", |_| a.times_asked(0) > 1).await;
    drop(pipeline);
    store.close();

    let store = Store::open(folder.path());
    let b = Plugin::willing();
    let pipeline = start(&store, &a, &b);
    assert!(store.journal.reader().unwrap().consumers().unwrap().iter().any(|known| known.name == name));
    let before = a.times_asked(0);
    wait_for(&pipeline, "sink:a", "tried again", |_| a.times_asked(0) > before).await;
    assert_eq!(pipeline.handle().cancel_replay(stuck.id).await, Ok(true));
    let replay = ended(&store, stuck.id).await;
    assert!(replay.cancelled && replay.done == 0);
    assert_eq!(pipeline.handle().cancel_replay(stuck.id).await, Ok(false));
    assert!(!store.journal.reader().unwrap().consumers().unwrap().iter().any(|known| known.name == name));
}

#[tokio::test]
async fn a_handler_handles_again_and_its_events_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let (a, b) = (Plugin::willing(), Plugin::willing());
    let pipeline = start(&store, &a, &b);
    for n in 0..3 {
        store.append(n, "a");
    }
    a.took(3).await;
    let spec = ReplaySpec { to: Some("b".to_owned()), ..of("handler:forward") };
    let replay = pipeline.handle().replay(&spec).await.unwrap();
    assert_eq!(ended(&store, replay.id).await.done, 3);
    b.took(3).await;
    assert_eq!((numbers(&a), numbers(&b)), (vec![0, 1, 2], vec![0, 1, 2]));
    assert!(b.taken().iter().all(|item| item.replay));
}

#[tokio::test]
async fn who_has_one_lane_has_one_for_replays_too_and_neither_starves() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let a = Plugin::willing();
    let options = ConsumerOptions { lanes: 1, batch: 1, ..quick(ConsumerOptions::batched()) };
    let forward = handler("forward", &Plugin::willing(), &["a"], quick(ConsumerOptions::handler()));
    let pipeline = Pipeline::start(&store.journal, vec![forward], vec![sink("a", &a, options)]).unwrap();
    for n in 0..200 {
        store.append(n, "");
    }
    a.took(200).await;
    let replay = pipeline.handle().replay(&of("sink:a")).await.unwrap();
    for n in 200..400 {
        store.append(n, "");
    }
    assert_eq!(ended(&store, replay.id).await.done, 200);
    a.took(600).await;
    assert_eq!(a.openings(), 1, "one lane, opened once");
}

#[tokio::test]
async fn a_pause_lasts_until_it_is_taken_back_and_over_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let (a, b) = (Plugin::willing(), Plugin::willing());
    let pipeline = start(&store, &a, &b);
    store.append(0, "a");
    a.took(1).await;
    pipeline.handle().park("sink:a", "a release").await.unwrap();
    let parked = |status: &dispatcher_pipeline::ConsumerStatus| matches!(status.state, State::Parked { .. });
    wait_for(&pipeline, "sink:a", "parked", parked).await;
    store.append(1, "a");
    wait_for(&pipeline, "handler:forward", "done", |status| status.done == 2).await;
    drop(pipeline);
    store.close();

    let store = Store::open(folder.path());
    let pipeline = start(&store, &a, &b);
    let status = wait_for(&pipeline, "sink:a", "parked", parked).await;
    assert!(matches!(&status.state, State::Parked { error, .. } if error == "a release"), "{:?}", status.state);
    assert_eq!(numbers(&a), [0]);
    pipeline.handle().resume("sink:a").await.unwrap();
    a.took(2).await;
    assert_eq!(numbers(&a), [0, 1]);
    let known = store.journal.reader().unwrap().consumers().unwrap();
    assert!(known.iter().all(|known| known.parked.is_none()));
}

#[tokio::test]
async fn without_a_dispatcher_replays_run_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let (a, b) = (Plugin::willing(), Plugin::willing());
    let pipeline = start(&store, &a, &b);
    store.append(0, "a");
    a.took(1).await;
    pipeline.handle().park("sink:a", "so that something waits").await.unwrap();
    store.append(1, "a");
    wait_for(&pipeline, "handler:forward", "done", |status| status.done == 2).await;
    pipeline.handle().resume("sink:a").await.unwrap();
    a.took(2).await;
    wait_for(&pipeline, "sink:a", "done", |status| status.backlog == 0).await;
    drop(pipeline);
    // Of this nobody knows yet but the journal.
    store.append(2, "a");
    let checkpoints = || {
        let consumers = store.journal.reader().unwrap().consumers().unwrap();
        consumers.into_iter().map(|known| (known.name, known.checkpoint)).collect::<Vec<_>>()
    };
    let before = checkpoints();
    let pipeline = Pipeline::start_replays(
        &store.journal,
        vec![],
        vec![sink("a", &a, ConsumerOptions { start: Start::End, ..quick(ConsumerOptions::single(4)) })],
    );
    let pipeline = pipeline.unwrap();
    let replay = pipeline.handle().replay(&of("sink:a")).await.unwrap();
    assert_eq!(ended(&store, replay.id).await.done, 2);
    assert_eq!(numbers(&a), [0, 1, 0, 1]);
    assert_eq!(checkpoints(), before);
}

#[tokio::test]
async fn what_cannot_be_replayed_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let pipeline = start(&store, &Plugin::willing(), &Plugin::willing());
    let handle = pipeline.handle();
    for (spec, text) in [
        (of("sink:c"), "no sink \"c\" runs; those that run are a, b"),
        (of("handler:f"), "no handler \"f\" runs; those that run are forward"),
        (of("a"), "\"a\" is neither handler:NAME nor sink:NAME"),
        (ReplaySpec { to: Some("c".to_owned()), ..of("sink:a") }, "no sink \"c\" runs; those that run are a, b"),
        (ReplaySpec { rate: Some(0.0), ..of("sink:a") }, "the rate has to be more than nothing"),
    ] {
        assert_eq!(handle.replay(&spec).await, Err(ControlError::Invalid(text.to_owned())));
    }
    assert!(store.journal.reader().unwrap().replays().unwrap().is_empty());
}

#[tokio::test]
async fn a_sink_under_a_new_name_takes_what_was_meant_for_the_old_one() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let old = Plugin::willing();
    let pipeline = start(&store, &old, &Plugin::willing());
    store.append(0, "a");
    old.took(1).await;
    pipeline.handle().park("sink:a", "a move").await.unwrap();
    store.append(1, "a");
    wait_for(&pipeline, "handler:forward", "done", |status| status.done == 2).await;
    drop(pipeline);
    let renamed = Change::Rename { from: "sink:a".into(), to: "sink:c".into() };
    store.journal.change(renamed).await.unwrap();

    // And another takes the old name, with what comes from now on.
    let (renamed, other) = (Plugin::willing(), Plugin::willing());
    let from_now_on = ConsumerOptions { start: Start::End, ..quick(ConsumerOptions::single(4)) };
    let forward = handler("forward", &Plugin::willing(), &["a"], quick(ConsumerOptions::handler()));
    let sinks = vec![sink("a", &other, from_now_on), sink("c", &renamed, quick(ConsumerOptions::single(4)))];
    let pipeline = Pipeline::start(&store.journal, vec![forward], sinks).unwrap();
    pipeline.handle().resume("sink:c").await.unwrap();
    renamed.took(1).await;
    store.append(2, "a");
    other.took(1).await;
    wait_for(&pipeline, "sink:c", "done", |status| status.backlog == 0).await;
    assert_eq!((numbers(&renamed), numbers(&other)), (vec![1], vec![2]));
    for name in ["sink:c", "sink:a"] {
        // Whose name it was, or is: both.
        let n = if name == "sink:c" { 2 } else { 3 };
        assert_eq!(pipeline.handle().count(&of(name), |_, _| true), Ok(n), "{name}");
    }
    let replay = pipeline.handle().replay(&of("sink:c")).await.unwrap();
    assert_eq!(ended(&store, replay.id).await.done, 2);
    assert_eq!(numbers(&renamed), [1, 0, 1]);
}
