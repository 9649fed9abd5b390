//! What is learnt from signatures: replays, tokens in use, clocks that differ.

use dispatcher_intake::{Outcome, Refusal, Road};
use tencent_chat::query_string;

use crate::{
    client::{Client, post},
    running::{APP, Setup, TOKEN, now, query},
};

const AFTER: &str = "Group.CallbackAfterGroupFull";
const BODY: &str = r#"{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"@TGS#1"}"#;

fn signed_at(command: &str, token: &str, second: u64) -> String {
    query_string(APP, command, None, None, Some((token, second)))
}

#[test]
fn a_signature_that_comes_with_another_callback_is_counted() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    let (query, other) = (signed_at(AFTER, TOKEN, now()), BODY.replace("#1", "#2"));
    let counters = running.intake.counters();
    for (body, n) in [(BODY, 0), (BODY, 0), (&*other, 1), (BODY, 1), (&other, 2)] {
        client.ask(post(&query, body)).assert_ok();
        assert_eq!(counters.count(Outcome::SignatureReused), n, "after {body}");
    }
    // Another second, another signature.
    client.ask(post(&signed_at(AFTER, TOKEN, now() - 5), &other)).assert_ok();
    assert_eq!(counters.count(Outcome::SignatureReused), 2);
}

#[test]
fn a_signature_that_comes_with_another_callback_is_refused_where_that_is_asked_for() {
    let mut setup = Setup::new();
    setup.options.strict_replay = true;
    let running = setup.start();
    let mut client = Client::connect(running.address());
    let second = now();
    let ask = |client: &mut Client, command, body: &str| client.ask(post(&signed_at(command, TOKEN, second), body));
    ask(&mut client, AFTER, BODY).assert_ok();
    ask(&mut client, AFTER, BODY).assert_ok();
    let info = ask(&mut client, AFTER, &BODY.replace("#1", "#2")).assert_refused(401_004);
    assert!(info.contains("strict_replay"), "{info}");
    // The command is not signed either; and a decision is no exception.
    ask(&mut client, "State.StateChange", "{}").assert_refused(401_004);
    ask(&mut client, "C2C.CallbackBeforeSendMsg", "{}").assert_refused(401_004);
    // From another connection it is the same.
    ask(&mut Client::connect(running.address()), AFTER, "{}").assert_refused(401_004);
    let counters = running.intake.counters();
    assert_eq!((counters.count(Outcome::SignatureReused), counters.refused(Refusal::SignatureReused)), (4, 4));
    assert_eq!(running.end().len(), 2);
}

#[test]
fn tokens_in_use_and_the_skew_of_clocks_are_counted() {
    let mut setup = Setup::new();
    setup.set_tokens(&["old", "new"]);
    let running = setup.start();
    let mut client = Client::connect(running.address());
    for (token, second, code) in [
        ("old", now(), None),
        ("new", now() - 20, None),
        ("new", now() + 45, None),
        ("new", now() - 3600, Some(401_003)),
        ("guessed", now(), Some(401_002)),
    ] {
        let reply = client.ask(post(&signed_at(AFTER, token, second), BODY));
        code.map_or_else(|| reply.assert_ok(), |code| drop(reply.assert_refused(code)));
    }
    let counters = running.intake.counters();
    assert_eq!(counters.apps()[0].signed, [1, 3]);
    let skew = counters.snapshot_clock_skew();
    let beyond = |seconds: i64| {
        let counted = skew.bounds.iter().position(|&bound| bound == seconds * 1_000_000).unwrap();
        skew.counts[counted + 1..].iter().sum::<u64>()
    };
    assert_eq!((skew.count(), beyond(-60), beyond(-30), beyond(10), beyond(300)), (4, 4, 3, 2, 1));
}

#[test]
fn answers_are_timed_by_their_road() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    client.ask(post(&signed_at(AFTER, TOKEN, now()), BODY)).assert_ok();
    client.ask(post(&signed_at(AFTER, TOKEN, now()), "{")).assert_refused(400_006);
    client.ask(post(&signed_at("C2C.CallbackBeforeSendMsg", TOKEN, now()), "{}")).assert_ok();
    client.ask(post(&query(AFTER), BODY)).assert_refused(401_001);
    let counters = running.intake.counters();
    let n_timed = |road| counters.snapshot_answer_times(road).count();
    assert_eq!((n_timed(Road::After), n_timed(Road::Before)), (2, 1));
    assert_eq!((counters.late_answers(Road::After), counters.late_answers(Road::Before)), (0, 0));
}
