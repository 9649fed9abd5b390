//! Other handlers and sinks while the pipeline runs: nothing lost, nothing twice, and whoever did not change is left alone.

use std::time::Duration;

use dispatcher_core::{DeliveryError, Failure, OpenError};
use dispatcher_journal::Stream;
use dispatcher_pipeline::{ConsumerOptions, Pipeline, ReplayFilter, ReplaySpec, State};

use crate::plugins::{Act, PATIENCE, Plugin, Store, handler, quick, sink, wait_for};

fn batched() -> ConsumerOptions {
    quick(ConsumerOptions::batched())
}

fn handling() -> ConsumerOptions {
    quick(ConsumerOptions::handler())
}

/// Blocks: what it waits for is at work on a thread of its own.
fn settled(applied: &dispatcher_pipeline::Applied) {
    assert!(applied.settles(PATIENCE), "{applied:?} did not settle");
}

#[tokio::test]
async fn under_load_every_event_reaches_each_sink_once_and_in_order() {
    const ROUNDS: u64 = 60;
    const PER_ROUND: u64 = 25;
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    // Two plugins take turns behind each changing name.
    let (forwards, files) = ([Plugin::willing(), Plugin::willing()], [Plugin::willing(), Plugin::willing()]);
    let untouched = Plugin::willing();
    let handlers = |n: usize| vec![handler("forward", &forwards[n % 2], &["file", "untouched"], handling())];
    let sinks = |n: usize| {
        vec![sink("file", &files[n % 2], batched()), sink("untouched", &untouched, quick(ConsumerOptions::single(4)))]
    };
    let pipeline = Pipeline::start(&store.journal, handlers(0), sinks(0)).unwrap();
    for round in 0..ROUNDS {
        for n in 0..PER_ROUND {
            store.append(round * PER_ROUND + n, &format!("group-{}", n % 5));
        }
        let applied = pipeline.handle().apply(handlers(round as usize + 1), sinks(round as usize + 1)).unwrap();
        assert_eq!(applied.changed, ["sink:file", "handler:forward"]);
        assert!(applied.added.is_empty() && applied.removed.is_empty() && applied.resumed.is_empty());
        // In half of the rounds the next change comes before this one is through.
        if round % 2 == 0 {
            settled(&applied);
        }
    }
    let all = ROUNDS * PER_ROUND;
    untouched.took(all as usize).await;
    wait_for(&pipeline, "sink:file", "done", |status| status.done == all).await;
    let mut filed: Vec<u64> = files.iter().flat_map(Plugin::taken).map(|item| item.n).collect();
    filed.sort_unstable();
    assert_eq!(filed, (0..all).collect::<Vec<_>>(), "each once");
    for key in 0..5 {
        let taken = untouched.taken_of(&format!("group-{key}"));
        assert!(taken.is_sorted_by(|a, b| a < b), "{taken:?}");
    }
    assert_eq!(untouched.taken().len() as u64, all);
    assert!(untouched.openings() <= 4, "once per lane: {}", untouched.openings());
    let names: Vec<String> = pipeline.status().into_iter().map(|status| status.name).collect();
    assert_eq!(names, ["handler:forward", "sink:file", "sink:untouched"]);
    pipeline.drain(Duration::from_secs(10)).await;
    let closed = files.iter().map(Plugin::closings).sum::<u32>();
    let opened = files.iter().map(Plugin::openings).sum::<u32>();
    assert_eq!(closed, opened, "each that was opened was closed");
}

#[tokio::test]
async fn what_is_removed_keeps_its_place_and_finishes_what_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let (audit, forward, file) = (Plugin::willing(), Plugin::willing(), Plugin::willing());
    let audits = || handler("audit", &audit, &[], handling());
    let forwards = || handler("forward", &forward, &["file"], handling());
    let files = || vec![sink("file", &file, batched())];
    let pipeline = Pipeline::start(&store.journal, vec![audits(), forwards()], files()).unwrap();
    store.append(0, "group");
    audit.took(1).await;
    wait_for(&pipeline, "handler:audit", "done", |status| status.checkpoint == 1).await;

    let applied = pipeline.handle().apply(vec![forwards()], files()).unwrap();
    assert_eq!((&*applied.removed, &*applied.changed), (&["handler:audit".to_owned()][..], &[][..]));
    settled(&applied);
    assert!(pipeline.handle().resume("handler:audit").await.is_err(), "it does not run");
    store.append(1, "group");
    file.took(2).await;
    assert_eq!(audit.taken().len(), 1);
    let mut reader = store.journal.reader().unwrap();
    assert!(reader.consumers().unwrap().iter().any(|known| known.name == "handler:audit" && known.checkpoint == 1));

    let applied = pipeline.handle().apply(vec![audits(), forwards()], files()).unwrap();
    assert_eq!(applied.added, ["handler:audit"]);
    let taken: Vec<u64> = audit.took(2).await.into_iter().map(|item| item.n).collect();
    assert_eq!(taken, [0, 1], "it went on where it was");
    assert_eq!((forward.openings(), file.openings()), (1, 1));
}

#[tokio::test]
async fn a_new_sink_gets_what_is_made_from_then_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let (forward, old, new) = (Plugin::willing(), Plugin::willing(), Plugin::willing());
    let from_now_on = ConsumerOptions { start: dispatcher_journal::Start::End, ..batched() };
    let pipeline = Pipeline::start(
        &store.journal,
        vec![handler("forward", &forward, &["old"], handling())],
        vec![sink("old", &old, batched())],
    );
    let pipeline = pipeline.unwrap();
    for n in 0..50 {
        store.append(n, "group");
    }
    old.took(50).await;
    let applied = pipeline.handle().apply(
        vec![handler("forward", &forward, &["old", "new"], handling())],
        vec![sink("old", &old, batched()), sink("new", &new, from_now_on)],
    );
    let applied = applied.unwrap();
    assert_eq!(
        (&*applied.added, &*applied.changed),
        (&["sink:new".to_owned()][..], &["handler:forward".to_owned()][..])
    );
    settled(&applied);
    for n in 50..100 {
        store.append(n, "group");
    }
    assert_eq!(new.took(50).await.iter().map(|item| item.n).collect::<Vec<_>>(), (50..100).collect::<Vec<_>>());
    assert_eq!(old.took(100).await.len(), 100);
    assert_eq!(old.openings(), 1);
}

#[tokio::test]
async fn what_hangs_or_blocks_is_left_behind_and_its_item_comes_again() {
    for act in [Act::Hang, Act::Block] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path());
        let act_of_old = act.clone();
        let (old, new) = (Plugin::new(move |_, _| act_of_old.clone()), Plugin::willing());
        let options = ConsumerOptions { timeout: Duration::from_millis(50), ..quick(ConsumerOptions::single(2)) };
        let start = |plugin: &Plugin| {
            let forward = handler("forward", &Plugin::willing(), &["http"], handling());
            (vec![forward], vec![sink("http", plugin, options.clone())])
        };
        let (handlers, sinks) = start(&old);
        let pipeline = Pipeline::start(&store.journal, handlers, sinks).unwrap();
        store.append(0, "group");
        old.was_asked(0).await;
        let (handlers, sinks) = start(&new);
        let applied = pipeline.handle().apply(handlers, sinks).unwrap();
        settled(&applied);
        assert_eq!(new.took(1).await.iter().map(|item| item.n).collect::<Vec<_>>(), [0], "{act:?}");
    }
}

#[tokio::test]
async fn a_replay_goes_on_with_the_successor() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let (old, new) = (Plugin::willing(), Plugin::willing());
    let forward = Plugin::willing();
    let start = |plugin: &Plugin| {
        let forward = handler("forward", &forward, &["http"], handling());
        (vec![forward], vec![sink("http", plugin, quick(ConsumerOptions::single(2)))])
    };
    let (handlers, sinks) = start(&old);
    let pipeline = Pipeline::start(&store.journal, handlers, sinks).unwrap();
    for n in 0..40 {
        store.append(n, &format!("group-{}", n % 4));
    }
    old.took(40).await;
    // So slow that it is not over when the sink changes.
    let spec = ReplaySpec { of: "sink:http".into(), rate: Some(100.0), ..ReplaySpec::default() };
    let replay = pipeline.handle().replay(&spec).await.unwrap();
    old.took(43).await;
    let (handlers, sinks) = start(&new);
    settled(&pipeline.handle().apply(handlers, sinks).unwrap());
    new.took(1).await;
    let look = async {
        loop {
            let replays = store.journal.reader().unwrap().replays().unwrap();
            if replays.iter().any(|one| one.id == replay.id && one.ended_at.is_some()) {
                return replays;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let replays = tokio::time::timeout(PATIENCE, look).await.unwrap();
    assert_eq!((replays[0].done, replays[0].cancelled), (40, false));
    let mut replayed: Vec<u64> = old.taken().into_iter().skip(40).chain(new.taken()).map(|item| item.n).collect();
    replayed.sort_unstable();
    assert_eq!(replayed, (0..40).collect::<Vec<_>>(), "each once more");
}

#[tokio::test]
async fn a_replay_that_is_asked_of_one_who_retires_is_the_successors() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let (old, new) = (Plugin::new(|item, _| if item.n == 0 { Act::Take } else { Act::Hang }), Plugin::willing());
    let forward = Plugin::willing();
    let options = ConsumerOptions { timeout: Duration::from_millis(300), ..quick(ConsumerOptions::single(1)) };
    let start = |plugin: &Plugin| {
        let forward = handler("forward", &forward, &["http"], handling());
        (vec![forward], vec![sink("http", plugin, options.clone())])
    };
    let (handlers, sinks) = start(&old);
    let pipeline = Pipeline::start(&store.journal, handlers, sinks).unwrap();
    store.append(0, "group");
    wait_for(&pipeline, "sink:http", "done", |status| status.checkpoint == 1).await;
    store.append(1, "group");
    old.was_asked(1).await;
    let (handlers, sinks) = start(&new);
    let applied = pipeline.handle().apply(handlers, sinks).unwrap();
    let spec = ReplaySpec {
        of: "sink:http".into(),
        filter: ReplayFilter { seqs: Some(vec![1]), ..ReplayFilter::default() },
        ..ReplaySpec::default()
    };
    pipeline.handle().replay(&spec).await.unwrap();
    settled(&applied);
    let mut taken: Vec<(u64, bool)> = new.took(2).await.into_iter().map(|item| (item.n, item.replay)).collect();
    taken.sort_unstable();
    assert_eq!(taken, [(0, true), (1, false)]);
}

#[tokio::test]
async fn one_that_cannot_be_opened_is_down_and_waits() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let old = Plugin::willing();
    let new = Plugin::opening(
        |n| if n < 2 { Err(OpenError::other("the folder is not there")) } else { Ok(()) },
        |_, _| Act::Take,
    );
    let forward = Plugin::willing();
    let start = |plugin: &Plugin| {
        (vec![handler("forward", &forward, &["file"], handling())], vec![sink("file", plugin, batched())])
    };
    let (handlers, sinks) = start(&old);
    let pipeline = Pipeline::start(&store.journal, handlers, sinks).unwrap();
    let (handlers, sinks) = start(&new);
    settled(&pipeline.handle().apply(handlers, sinks).unwrap());
    store.append(0, "group");
    assert_eq!(new.took(1).await.len(), 1);
    assert_eq!(old.taken().len(), 0);
}

#[tokio::test]
async fn a_receiver_that_said_gone_is_asked_again_and_a_person_who_paused_is_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let (gone, mended) = Plugin::switched(|_| Act::Down(DeliveryError::gone("410")), |_| Act::Take);
    let paused = Plugin::willing();
    let forward = Plugin::willing();
    let start = || {
        let sinks = vec![
            sink("gone", &gone, quick(ConsumerOptions::single(1))),
            sink("paused", &paused, quick(ConsumerOptions::single(1))),
        ];
        (vec![handler("forward", &forward, &["gone", "paused"], handling())], sinks)
    };
    let (handlers, sinks) = start();
    let pipeline = Pipeline::start(&store.journal, handlers, sinks).unwrap();
    pipeline.handle().park("sink:paused", "by hand").await.unwrap();
    store.append(0, "group");
    let is_parked = |status: &dispatcher_pipeline::ConsumerStatus| matches!(status.state, State::Parked { .. });
    wait_for(&pipeline, "sink:gone", "parked", is_parked).await;
    wait_for(&pipeline, "sink:paused", "parked", is_parked).await;
    mended.throw();
    let (handlers, sinks) = start();
    let applied = pipeline.handle().apply(handlers, sinks).unwrap();
    assert_eq!(applied.resumed, ["sink:gone"]);
    gone.took(1).await;
    wait_for(&pipeline, "sink:paused", "parked", is_parked).await;
    assert_eq!(paused.taken().len(), 0);
}

#[tokio::test]
async fn what_is_pending_is_tried_again_by_the_successor() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let (old, new) = (Plugin::new(|_, _| Act::Refuse(Failure::retry("status 500"))), Plugin::willing());
    let forward = Plugin::willing();
    let options = ConsumerOptions { attempts: None, ..quick(ConsumerOptions::single(2)) };
    let start = |plugin: &Plugin| {
        (vec![handler("forward", &forward, &["http"], handling())], vec![sink("http", plugin, options.clone())])
    };
    let (handlers, sinks) = start(&old);
    let pipeline = Pipeline::start(&store.journal, handlers, sinks).unwrap();
    store.append(0, "group");
    wait_for(&pipeline, "sink:http", "pending", |status| status.pending == 1).await;
    let (handlers, sinks) = start(&new);
    settled(&pipeline.handle().apply(handlers, sinks).unwrap());
    assert!(new.took(1).await[0].attempt > 1, "the attempts go on");
    let end = store.journal.ends().borrow().of(Stream::Events);
    wait_for(&pipeline, "sink:http", "done", |status| status.checkpoint == end && status.pending == 0).await;
}
