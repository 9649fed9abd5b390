//! That a large backlog gets through, and how fast: printed, not asserted.

use std::time::{Duration, Instant};

use dispatcher_pipeline::{ConsumerOptions, Pipeline};

use crate::plugins::{Plugin, Store, handler, quick, sink};

#[tokio::test]
async fn a_backlog_gets_through() {
    let n_callbacks = if cfg!(debug_assertions) { 20_000 } else { 200_000 };
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    for n in 0..n_callbacks {
        store.append(n, &format!("group-{}", n % 1000));
    }
    let (forward, file) = (Plugin::willing(), Plugin::willing());
    let begin = Instant::now();
    let pipeline = Pipeline::start(
        &store.journal,
        vec![handler("forward", &forward, &["file"], quick(ConsumerOptions::handler()))],
        vec![sink("file", &file, quick(ConsumerOptions::batched()))],
    );
    let pipeline = pipeline.unwrap();
    file.took(n_callbacks as usize).await;
    println!("{:.0} callbacks/s through a handler and a sink", n_callbacks as f64 / begin.elapsed().as_secs_f64());
    pipeline.drain(Duration::from_secs(20)).await;
}
