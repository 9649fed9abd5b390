//! Rate, order and age as they are set, and what the status says of keys.

use std::time::Duration;

use dispatcher_core::Failure;
use dispatcher_journal::Stream;
use dispatcher_pipeline::{ConsumerOptions, ConsumerStatus, Pipeline};

use crate::plugins::{Act, Plugin, Store, handler, quick, sink, wait_for};

fn start(store: &Store, http: &Plugin, options: ConsumerOptions) -> Pipeline {
    let forward = handler("forward", &Plugin::willing(), &["http"], quick(ConsumerOptions::handler()));
    Pipeline::start(&store.journal, vec![forward], vec![sink("http", http, options)]).unwrap()
}

#[tokio::test]
async fn a_rate_slows_and_lets_everything_through() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let http = Plugin::willing();
    let options = ConsumerOptions { rate: Some(200.0), ..quick(ConsumerOptions::batched()) };
    let pipeline = start(&store, &http, options);
    for n in 0..100 {
        store.append(n, "a");
    }
    http.took(100).await;
    assert!(http.taken_of("a").is_sorted());
    assert!(http.largest_batch() <= 20, "a tenth of a second's worth: {}", http.largest_batch());
    wait_for(&pipeline, "sink:http", "done", |status| status.backlog == 0 && status.done == 100).await;
}

#[tokio::test]
async fn without_order_a_key_holds_up_nothing_and_still_has_its_attempts() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let http = Plugin::new(|item, _| match item.n {
        0 => Act::Refuse(Failure::retry("status 500")),
        _ => Act::Take,
    });
    let mut options = ConsumerOptions { ordered: false, attempts: None, ..quick(ConsumerOptions::single(2)) };
    let pipeline = start(&store, &http, options.clone());
    for n in 0..50 {
        store.append(n, "a");
    }
    http.took(49).await;
    let waits = |status: &ConsumerStatus| status.backlog == 0 && status.pending == 1 && status.failed > 3;
    let status = wait_for(&pipeline, "sink:http", "pending", waits).await;
    assert!(status.longest_keys.is_empty(), "{:?}", status.longest_keys);
    pipeline.drain(Duration::from_secs(20)).await;
    let pending = store.journal.reader().unwrap().pending("sink:http").unwrap();
    assert_eq!((pending.len(), &pending[0].key), (1, &None));
    // The attempts go on where they were.
    options.attempts = Some(pending[0].attempt + 1);
    let pipeline = start(&store, &http, options);
    wait_for(&pipeline, "sink:http", "done", |status| status.dead == 1 && status.pending == 0).await;
}

#[tokio::test]
async fn what_fails_for_too_long_is_given_up_on_however_often() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let http = Plugin::new(|item, _| match item.n {
        0 => Act::Refuse(Failure::retry("status 500").with_response(500, "out of order")),
        _ => Act::Take,
    });
    let age = Duration::from_millis(300);
    let options = ConsumerOptions { attempts: None, give_up_after: Some(age), ..quick(ConsumerOptions::single(2)) };
    let pipeline = start(&store, &http, options);
    store.append(0, "a");
    store.append(1, "a");
    http.took(1).await;
    wait_for(&pipeline, "sink:http", "done", |status| status.dead == 1 && status.pending == 0).await;
    let dead = store.journal.reader().unwrap().dead("sink:http", 0, 9).unwrap().remove(0);
    assert!(dead.reason.starts_with("gave up after ") && dead.reason.contains("of failing, in"), "{}", dead.reason);
    let attempts = store.journal.reader().unwrap().attempts(Stream::Events, 1).unwrap().remove("sink:http").unwrap();
    assert!((1..=dead.attempts).eq(attempts.iter().map(|attempt| attempt.n)), "{attempts:?}");
    assert!(attempts.iter().all(|attempt| attempt.response.as_ref().unwrap().excerpt == "out of order"));
    assert_eq!(dead.history, attempts);
}

#[tokio::test]
async fn the_status_names_the_keys_with_the_most_behind_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path());
    let http = Plugin::new(|item, _| match item.key.starts_with("bad") {
        true => Act::Refuse(Failure::retry("status 500")),
        false => Act::Take,
    });
    let pipeline = start(&store, &http, ConsumerOptions { attempts: None, ..quick(ConsumerOptions::single(4)) });
    for n in 0..60 {
        store.append(n, ["good", "bad", if n < 30 { "worse" } else { "bad-too" }][n as usize % 3]);
    }
    http.took(30).await;
    // It is looked up once a second at most; the last look comes although nothing else happens.
    let is_told = |status: &ConsumerStatus| {
        let keys: Vec<_> = status.longest_keys.iter().map(|(app, key, n)| (*app, &**key, *n)).collect();
        keys == [(1_400_000_001, "bad", 20), (1_400_000_001, "bad-too", 10)]
    };
    let status = wait_for(&pipeline, "sink:http", "told", is_told).await;
    assert!(status.oldest_pending.is_some());
}
