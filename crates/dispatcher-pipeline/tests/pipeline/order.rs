//! Order per key, and what holds up whom.

use std::time::Duration;

use dispatcher_core::Failure;
use dispatcher_pipeline::{ConsumerOptions, Pipeline};

use crate::plugins::{Act, Plugin, Store, handler, quick, sink, wait_for};

#[tokio::test]
async fn every_callback_reaches_its_sinks_in_order_per_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let (forward, quiet, file, http) = (Plugin::willing(), Plugin::willing(), Plugin::willing(), Plugin::willing());
    let pipeline = Pipeline::start(
        &store.journal,
        vec![
            handler("forward", &forward, &["file", "http"], quick(ConsumerOptions::handler())),
            handler("quiet", &quiet, &[], quick(ConsumerOptions::handler())),
        ],
        vec![
            sink("file", &file, quick(ConsumerOptions::batched())),
            sink("http", &http, quick(ConsumerOptions::single(8))),
        ],
    );
    let pipeline = pipeline.unwrap();
    for n in 0..3000 {
        store.append(n, &format!("group-{}", n % 7));
    }
    for plugin in [&forward, &quiet, &file, &http] {
        plugin.took(3000).await;
        for key in 0..7 {
            let taken = plugin.taken_of(&format!("group-{key}"));
            assert!(taken.is_sorted_by(|a, b| a < b), "{taken:?}");
        }
        assert_eq!(plugin.taken().len(), 3000);
    }
    assert_eq!((forward.openings(), file.openings()), (1, 1));
    pipeline.drain(Duration::from_secs(10)).await;
    assert_eq!((file.closings(), http.closings()), (1, http.openings()));
}

#[tokio::test]
async fn a_failing_key_holds_up_itself_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    // The first event of the key fails three times.
    let http = Plugin::new(|item, seen| match item.key == "bad" && seen < 3 {
        true => Act::Refuse(Failure::retry("status 500")),
        false => Act::Take,
    });
    let options = ConsumerOptions { attempts: Some(100), ..quick(ConsumerOptions::single(4)) };
    let pipeline = Pipeline::start(
        &store.journal,
        vec![handler("forward", &Plugin::willing(), &["http"], quick(ConsumerOptions::handler()))],
        vec![sink("http", &http, options)],
    );
    let _pipeline = pipeline.unwrap();
    for n in 0..200 {
        store.append(n, if n % 10 == 0 { "bad" } else { "good" });
    }
    http.took(200).await;
    let bad: Vec<u64> = (0..200).filter(|n| n % 10 == 0).collect();
    assert_eq!(http.taken_of("bad"), bad);
    assert_eq!(http.taken_of("good").len(), 180);
    assert!(http.taken_of("good").is_sorted());
    assert!(http.taken().iter().filter(|item| item.key == "bad").all(|item| item.attempt == 4));
}

#[tokio::test]
async fn an_item_under_way_for_long_holds_up_only_its_key() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let http = Plugin::new(|item, _| if item.n == 0 { Act::Hang } else { Act::Take });
    let pipeline = Pipeline::start(
        &store.journal,
        vec![handler("forward", &Plugin::willing(), &["http"], quick(ConsumerOptions::handler()))],
        vec![sink("http", &http, ConsumerOptions { window: 16, ..quick(ConsumerOptions::single(2)) })],
    );
    let pipeline = pipeline.unwrap();
    for n in 0..100 {
        store.append(n, if n < 3 { "slow" } else { "" });
    }
    http.took(97).await;
    assert!(http.taken_of("slow").is_empty());
    let status = wait_for(&pipeline, "sink:http", "at the end", |status| status.backlog == 0).await;
    assert_eq!(status.pending, 3, "the hanging one, and the two behind it");
}
