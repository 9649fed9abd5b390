use serde_json::{Value, json};

use super::*;
use crate::{Dead, Pending};

fn consumer_commit() -> Commit {
    Commit { consumer: CONSUMER.into(), ..Commit::default() }
}

fn pending(seq: u64, key: Option<&str>) -> Pending {
    Pending {
        seq,
        key: key.map(Into::into),
        app: 1_400_000_001,
        age: Duration::from_millis(1500),
        attempt: 3,
        first_at: Timestamp::from_millis(10),
        due: Timestamp::from_millis(20),
        error: "status 503".to_owned(),
    }
}

fn dead(seq: u64) -> Dead {
    Dead { seq, reason: "status 400".to_owned(), attempts: 8, first_at: Timestamp::from_millis(10) }
}

#[test]
fn a_commit_is_there_as_a_whole() {
    let place = Place::new();
    let journal = place.open();
    let _keeps_the_tail = journal.reader().unwrap();
    assert_eq!(journal.register(CONSUMER, Stream::Callbacks, Start::End), Ok(0));
    let source = callback(Some(7));
    for _ in 0..4 {
        append(&journal, &callback(None));
    }
    let seq = append(&journal, &source).seq();
    let own =
        NewEvent::new("own", &json!({"a": [1, "ü"]})).unwrap().with_key(None).with_time(Timestamp::from_millis(-3));
    commit(
        &journal,
        Commit {
            checkpoint: Some(4),
            events: vec![emitted(seq, &source, vec![own, NewEvent::forwarding("f").with_key(Some("k".into()))])],
            pending: vec![pending(2, Some("g")), pending(3, None)],
            dead: vec![dead(1)],
            ..consumer_commit()
        },
    )
    .unwrap();
    let mut after = pending(3, None);
    after.attempt = 4;
    commit(&journal, Commit { settled: vec![2], pending: vec![after.clone()], ..consumer_commit() }).unwrap();

    let mut before = Vec::new();
    for restarted in [false, true] {
        let journal = if restarted {
            journal.close();
            place.open()
        } else {
            journal.clone()
        };
        let mut reader = journal.reader().unwrap();
        assert_eq!(reader.checkpoint(CONSUMER), Ok(Some(4)));
        assert_eq!(reader.pending(CONSUMER), Ok(vec![after.clone()]));
        let rows: Vec<EventRow> = events(&journal).into_iter().map(|row| row.intact().unwrap()).collect();
        assert_eq!(
            rows.iter().map(|row| (&*row.sinks, row.callback_seq)).collect::<Vec<_>>(),
            [("a,b", 5), ("a,b", 5)]
        );
        let facts: Vec<_> = rows.iter().map(|row| event_facts(&row.event)).collect();
        let [own, forwarded] = &rows[..] else { panic!("{} events", rows.len()) };
        assert_eq!((own.event.n, &*own.event.event_type, own.event.time.as_millis()), (0, "own", -3));
        assert_eq!((own.event.key.as_deref(), own.event.data_json()), (None, r#"{"a":[1,"ü"]}"#.as_bytes()));
        assert_eq!((forwarded.event.n, forwarded.event.key.as_deref()), (1, Some("k")));
        assert_eq!(forwarded.event.data_json(), &source.body_bytes()[..]);
        if restarted {
            assert_eq!(facts, before);
        }
        before = facts;
    }
}

#[test]
fn a_commit_that_fails_leaves_nothing_and_harms_no_other() {
    let place = Place::new();
    let journal = place.open();
    journal.register(CONSUMER, Stream::Callbacks, Start::End).unwrap();
    let source = callback(None);
    append_all(&journal, &[source.clone(), source.clone(), source.clone()]);
    commit(&journal, Commit { checkpoint: Some(2), ..consumer_commit() }).unwrap();

    let all = |commit: Commit| Commit {
        events: vec![emitted(1, &source, vec![NewEvent::forwarding("t")])],
        pending: vec![pending(3, None)],
        dead: vec![dead(1)],
        ..commit
    };
    let falls = all(Commit { checkpoint: Some(1), ..consumer_commit() });
    let unknown = all(Commit { consumer: "handler:nobody".into(), ..Commit::default() });
    let fine = all(Commit { checkpoint: Some(3), ..consumer_commit() });
    let port = journal.port();
    // All of them in one batch.
    let mut go_on = Some(hold(&journal));
    let (appended, outcomes) = drive(&port, async {
        let append = port.append(callback(None));
        let outcomes = async {
            tokio::join!(journal.commit(falls), journal.commit(unknown), journal.commit(fine), async {
                go_on.take().unwrap()();
            })
        };
        tokio::join!(append, outcomes)
    });
    assert_eq!(appended, Ok(Appended::New { seq: 4 }));
    let failed = |text: &str| Err(JournalError::Failed(text.into()));
    assert_eq!(outcomes.0, failed("the checkpoint of consumer \"handler:h\" would fall to 1"));
    assert_eq!(outcomes.1, failed("consumer \"handler:nobody\" is not registered"));
    assert_eq!(outcomes.2, Ok(()));
    let mut reader = journal.reader().unwrap();
    assert_eq!(events(&journal).len(), 1);
    assert_eq!(reader.pending(CONSUMER).unwrap().len(), 1);
    assert_eq!(reader.dead(CONSUMER, 0, 10).unwrap().len(), 1);
    assert_eq!(reader.checkpoint(CONSUMER), Ok(Some(3)));
    assert_eq!(journal.health(), crate::Health::Ok);
}

#[test]
fn a_consumer_first_seen_starts_at_the_end_or_with_the_oldest() {
    let place = Place::new();
    let journal = place.open();
    fill(&journal, 4);
    for (consumer, stream, start, checkpoint) in [
        ("sink:end", Stream::Events, Start::End, 4),
        ("sink:oldest", Stream::Events, Start::Oldest, 0),
        ("handler:end", Stream::Callbacks, Start::End, 4),
        // Known already: where it is counts, not where it would start.
        ("sink:end", Stream::Events, Start::Oldest, 4),
        (CONSUMER, Stream::Callbacks, Start::Oldest, 4),
    ] {
        assert_eq!(journal.register(consumer, stream, start), Ok(checkpoint), "{consumer}");
    }
    journal.close();
    let journal = place.open();
    let known: Vec<_> =
        journal.consumers().unwrap().into_iter().map(|known| (known.name, known.stream, known.checkpoint)).collect();
    assert_eq!(
        known,
        [
            ("handler:end".to_owned(), Stream::Callbacks, 4),
            (CONSUMER.to_owned(), Stream::Callbacks, 4),
            ("sink:end".to_owned(), Stream::Events, 4),
            ("sink:oldest".to_owned(), Stream::Events, 0),
        ]
    );
    assert_eq!(
        journal.register(CONSUMER, Stream::Events, Start::End),
        Err(JournalError::Failed("consumer \"handler:h\" is registered for another stream than events".into()))
    );
}

#[test]
fn a_dead_letter_keeps_a_copy_of_its_own() {
    let place = Place::new();
    let journal = place.open();
    fill(&journal, 3);
    journal.register("sink:s", Stream::Events, Start::End).unwrap();
    journal.close();
    place.tamper("UPDATE callbacks SET body = '{}' WHERE seq = 2; DELETE FROM callbacks WHERE seq = 3");
    let journal = place.open();
    commit(&journal, Commit { dead: vec![dead(1)], ..consumer_commit() }).unwrap();
    commit(&journal, Commit { consumer: "sink:s".into(), dead: vec![dead(1), dead(2), dead(3)], ..Commit::default() })
        .unwrap();
    journal.close();
    place.tamper("DELETE FROM callbacks; DELETE FROM events");

    let journal = place.open();
    let mut reader = journal.reader().unwrap();
    let mut copies = |consumer: &str| -> Vec<Value> {
        let dead = reader.dead(consumer, 0, 10).unwrap();
        assert!(dead.iter().all(|dead| (dead.reason.as_str(), dead.attempts) == ("status 400", 8)));
        dead.iter().map(|dead| serde_json::from_str(&dead.copy).unwrap()).collect()
    };
    let body = String::from_utf8(callback(None).body_bytes().to_vec()).unwrap();
    let handlers = copies(CONSUMER);
    assert_eq!(handlers[0]["callback"]["body"], json!(body));
    assert_eq!(handlers[0]["callback"]["app"], json!(1_400_000_001));
    assert_eq!(handlers[0].get("event"), None);
    let sinks = copies("sink:s");
    assert_eq!((&sinks[0]["event"]["type"], &sinks[0]["callback"]["body"]), (&json!("t"), &json!(body)));
    assert_eq!(sinks[0]["callback"].get("damaged"), None);
    assert_eq!((&sinks[1]["callback"]["body"], &sinks[1]["callback"]["damaged"]), (&json!("{}"), &json!(true)));
    assert_eq!((&sinks[2]["event"]["seq"], &sinks[2]["callback"]), (&json!(3), &Value::Null));
    assert_eq!(reader.dead("sink:s", 2, 10).unwrap().len(), 1);
}
