//! Crashes and drains.

use std::time::Duration;

use dispatcher_core::Failure;
use dispatcher_journal::{Start, Stream};
use dispatcher_pipeline::{ConsumerOptions, Pipeline};

use crate::plugins::{Act, Plugin, Store, handler, quick, sink, wait_for};

#[tokio::test]
async fn crashes_lose_nothing_and_keep_the_order_of_first_deliveries() {
    let folder = tempfile::tempdir().unwrap();
    let flaky = |item: &crate::plugins::Item, seen: u32| match (item.n % 17, seen) {
        (0, 0..2) => Act::Refuse(Failure::retry("not now")),
        _ => Act::Take,
    };
    let (forward, file) = (Plugin::new(flaky), Plugin::new(flaky));
    let mut appended = 0;
    for round in 1..=8 {
        let store = Store::open(folder.path());
        let options = |options| ConsumerOptions { attempts: Some(1000), ..quick(options) };
        let pipeline = Pipeline::start(
            &store.journal,
            vec![handler("forward", &forward, &["file"], options(ConsumerOptions::handler()))],
            vec![sink("file", &file, options(ConsumerOptions::single(3)))],
        );
        let pipeline = pipeline.unwrap();
        for n in appended..appended + 200 {
            store.append(n, &format!("group-{}", n % 5));
        }
        appended += 200;
        // In the middle of the work, but for the last round.
        file.took(if round == 8 { 1600 } else { round * 150 }).await;
        if round == 8 {
            let end = |status: &dispatcher_pipeline::ConsumerStatus| status.backlog == 0 && status.pending == 0;
            wait_for(&pipeline, "sink:file", "done", end).await;
        }
        drop(pipeline);
        store.close();
    }
    for key in 0..5 {
        let mut first = Vec::new();
        for n in file.taken_of(&format!("group-{key}")) {
            if !first.contains(&n) {
                first.push(n);
            }
        }
        let all: Vec<u64> = (0..1600).filter(|n| n % 5 == key).collect();
        assert_eq!(first, all, "of group-{key}");
    }
}

#[tokio::test]
async fn a_drain_finishes_what_is_under_way_and_repeats_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (forward, file) = (Plugin::willing(), Plugin::willing());
    for round in 1..=4 {
        let store = Store::open(folder.path());
        let pipeline = Pipeline::start(
            &store.journal,
            vec![handler("forward", &forward, &["file"], quick(ConsumerOptions::handler()))],
            vec![sink("file", &file, quick(ConsumerOptions::batched()))],
        );
        let pipeline = pipeline.unwrap();
        for n in 0..500 {
            store.append(round * 1000 + n, "group");
        }
        forward.took(round as usize * 100).await;
        pipeline.drain(Duration::from_secs(20)).await;
        store.close();
    }
    let store = Store::open(folder.path());
    let pipeline = Pipeline::start(
        &store.journal,
        vec![handler("forward", &forward, &["file"], quick(ConsumerOptions::handler()))],
        vec![sink("file", &file, quick(ConsumerOptions::batched()))],
    );
    let pipeline = pipeline.unwrap();
    file.took(2000).await;
    pipeline.drain(Duration::from_secs(20)).await;
    let taken = file.taken_of("group");
    assert!(taken.is_sorted_by(|a, b| a < b), "each once, in order");
    assert_eq!((taken.len(), forward.taken().len()), (2000, 2000));
}

#[tokio::test]
async fn a_drain_does_not_wait_for_what_hangs() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let http = Plugin::new(|item, _| if item.n == 0 { Act::Hang } else { Act::Take });
    let start = |http: &Plugin| {
        Pipeline::start(
            &store.journal,
            vec![handler("forward", &Plugin::willing(), &["http"], quick(ConsumerOptions::handler()))],
            vec![sink("http", http, quick(ConsumerOptions::single(2)))],
        )
        .unwrap()
    };
    let pipeline = start(&http);
    store.append(0, "a");
    store.append(1, "b");
    http.took(1).await;
    while http.times_asked(0) == 0 {
        tokio::task::yield_now().await;
    }
    pipeline.drain(Duration::from_millis(10)).await;
    let next = Plugin::willing();
    let pipeline = start(&next);
    next.took(1).await;
    assert_eq!(next.taken_of("a"), [0]);
    drop(pipeline);
}

#[tokio::test]
async fn a_crash_keeps_the_attempts_that_were_committed() {
    let folder = tempfile::tempdir().unwrap();
    let refusing = Plugin::new(|_, _| Act::Refuse(Failure::retry("status 500")));
    let mut options = quick(ConsumerOptions::single(1));
    options.attempts = Some(1000);
    let store = Store::open(folder.path());
    let start = |http: &Plugin| {
        let forward = handler("forward", &Plugin::willing(), &["http"], quick(ConsumerOptions::handler()));
        Pipeline::start(&store.journal, vec![forward], vec![sink("http", http, options.clone())]).unwrap()
    };
    let pipeline = start(&refusing);
    store.append(0, "a");
    wait_for(&pipeline, "sink:http", "pending", |status| status.pending == 1 && status.failed >= 3).await;
    drop(pipeline);
    // What it had handed over is committed before this is.
    store.journal.register("sink:http", Stream::Events, Start::End).unwrap();
    let pending = store.journal.reader().unwrap().pending("sink:http").unwrap();
    assert_eq!((pending.len(), pending[0].error.as_str()), (1, "status 500"));
    let willing = Plugin::willing();
    let pipeline = start(&willing);
    willing.took(1).await;
    assert_eq!(willing.taken()[0].attempt, pending[0].attempt + 1);
    wait_for(&pipeline, "sink:http", "empty", |status| status.pending == 0).await;
    drop(pipeline);
}
