//! What becomes of a callback that is let in.

use std::time::Duration;

use dispatcher_core::{CommandPattern, Timestamp};
use dispatcher_intake::{CommandRule, JournalRule, Outcome, Refusal, Road, WhenNotDurable};
use dispatcher_journal::Health;

use crate::{
    client::{Client, post, post_chunked},
    running::{APP, Running, Setup, TOKEN, now, query, signed},
};

const AFTER: &str = "Group.CallbackAfterGroupFull";
const BEFORE: &str = "Group.CallbackBeforeSendMsg";

fn ask(running: &Running, command: &str, body: &str) -> crate::client::Reply {
    Client::connect(running.address()).ask(post(&signed(command), body))
}

#[test]
fn a_callback_is_stored_as_it_came() {
    let running = Setup::new().start();
    let body = r#"{ "GroupId": "@TGS#1", "EventTime": "1700000000123", "x": "\u7fa4",
        "CallbackCommand": "Group.CallbackAfterGroupFull" }"#;
    let before = Timestamp::now();
    ask(&running, AFTER, body).assert_ok();
    assert_eq!(running.intake.counters().count(Outcome::Accepted), 1);
    let stored = running.end();
    let [callback] = &stored[..] else { panic!("{stored:?}") };
    assert_eq!(callback.body_bytes(), body);
    assert_eq!(callback.query(), query(AFTER));
    assert_eq!((callback.app().sdk_app_id(), callback.app().name()), (APP, "main"));
    assert_eq!((callback.command().as_str(), callback.key().map(|key| &**key)), (AFTER, Some("@TGS#1")));
    assert_eq!(callback.event_time(), Some(Timestamp::from_millis(1_700_000_000_123)));
    assert!(before <= callback.received_at() && callback.received_at() <= Timestamp::now());
    assert!(callback.identity().is_some());
}

#[test]
fn every_command_of_the_catalogue_is_taken_and_stored() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    for info in tencent_chat::commands() {
        let rules = tencent_chat::decision_rules(info.name);
        let allowed = rules.map_or(tencent_chat::OK.into(), |rules| rules.allow(info.sample.as_bytes()).to_json());
        client.ask(post(&signed(info.name), info.sample)).assert_says(&allowed);
    }
    let counters = running.intake.counters();
    assert_eq!((counters.count(Outcome::Accepted), counters.count(Outcome::Decided)), (49, 12));
    assert_eq!(counters.count(Outcome::Unrecorded), 0);
    let mut stored: Vec<_> = running.end().iter().map(|callback| callback.command().to_string()).collect();
    stored.sort();
    assert!(stored.iter().eq(tencent_chat::commands().iter().map(|info| info.name)), "{stored:?}");
}

#[test]
fn a_command_outside_the_catalogue_is_taken_and_stored() {
    let running = Setup::new().start();
    ask(&running, "Live.CallbackAfterCreateRoom", r#"{"CallbackCommand":"Live.CallbackAfterCreateRoom"}"#).assert_ok();
    ask(&running, "Brand.New", "{}").assert_ok();
    let stored = running.end();
    assert_eq!(
        stored.iter().map(|callback| callback.command().as_str()).collect::<Vec<_>>(),
        ["Live.CallbackAfterCreateRoom", "Brand.New"]
    );
}

#[test]
fn only_what_tells_two_happenings_apart_has_an_identity() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    let plain = r#"{"GroupId":"@TGS#1"}"#;
    let timed = r#"{"GroupId":"@TGS#1","EventTime":1700000000123}"#;
    for body in [plain, timed, plain, timed] {
        client.ask(post(&signed(AFTER), body)).assert_ok();
    }
    for request in ["r-1", "r-2", "r-1"] {
        client.ask(post(&format!("{}&RequestId={request}", signed(AFTER)), plain)).assert_ok();
    }
    let stored = running.end();
    // The second `timed` and the second `r-1` are repeats, and stored once.
    let identities: Vec<_> = stored.iter().map(|callback| callback.identity()).collect();
    assert_eq!(identities.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, false, true, true]);
    assert!(identities[1] != identities[3] && identities[3] != identities[4] && identities[1] != identities[4]);
}

#[test]
fn never_means_answered_counted_and_forgotten() {
    let mut setup = Setup::new();
    let rule = |commands| CommandRule { commands: CommandPattern::new(commands).unwrap(), journal: JournalRule::Never };
    setup.rules = vec![rule("State.StateChange"), rule(BEFORE)];
    let running = setup.start();
    for command in ["State.StateChange", BEFORE, AFTER] {
        ask(&running, command, "{}").assert_ok();
    }
    ask(&running, "State.StateChange", "[]").assert_refused(Refusal::NotAnObject.error_code());
    assert_eq!(running.intake.counters().count(Outcome::NotJournaled), 2);
    assert_eq!(running.end().len(), 1);
}

#[test]
fn a_connection_test_is_answered_and_stored_nowhere() {
    let running = Setup::new().start();
    let no_query = "POST /callback HTTP/1.1\r\nHost: test\r\n\r\n".to_owned();
    let signature = tencent_chat::resign("", TOKEN, now());
    let probes = [
        no_query.clone(),
        no_query.replace("Host", "Content-Length: 0\r\nHost"),
        post_chunked("", &[]),
        post("SdkAppid=7", ""),
        post(&format!("SdkAppid={APP}&Sign=00&RequestTime=1"), ""),
        post(&format!("SdkAppid={APP}&{signature}"), ""),
        post("CallbackCommand=", ""),
    ];
    for probe in &probes {
        Client::connect(running.address()).ask(probe).assert_ok();
    }
    for (request, code) in [
        (post("", "{}"), 403_001),
        (post(&format!("SdkAppid={APP}"), "{}"), 401_001),
        (post(&format!("SdkAppid={APP}&{signature}"), "{}"), 400_003),
        (post("SdkAppid=7&SdkAppid=7", ""), 400_001),
        (no_query.replace("POST", "GET"), 405_001),
        (no_query.replace("/callback", "/"), 404_001),
    ] {
        Client::connect(running.address()).ask(request).assert_refused(code);
    }
    assert_eq!(running.intake.counters().count(Outcome::Probe), probes.len() as u64);
    assert!(running.end().is_empty());
}

#[test]
fn a_full_queue_refuses_after_callbacks_and_decides_all_the_same() {
    let mut setup = Setup::new();
    setup.journal.queue_bytes = 1;
    let running = setup.start();
    ask(&running, AFTER, "{}").assert_refused(503_001);
    ask(&running, BEFORE, "{}").assert_ok();
    let counters = running.intake.counters();
    assert_eq!((counters.count(Outcome::Decided), counters.count(Outcome::Unrecorded)), (1, 1));
}

#[test]
fn a_closed_journal_refuses_after_callbacks_and_decides_all_the_same() {
    let running = Setup::new().start();
    ask(&running, AFTER, "{}").assert_ok();
    running.journal.close();
    ask(&running, AFTER, "{}").assert_refused(503_002);
    ask(&running, BEFORE, "{}").assert_ok();
    assert_eq!(running.intake.counters().count(Outcome::Unrecorded), 1);
    assert_eq!(running.end().len(), 1);
}

#[test]
fn a_stuck_journal_refuses_after_callbacks_in_time_and_decides_all_the_same() {
    let mut setup = Setup::new();
    setup.options.answer_within = Duration::from_millis(100);
    let running = setup.start();
    // Another program that writes to the file: the journal's writer has to wait for it.
    let other = rusqlite::Connection::open(&running.journal_options.path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut client = Client::connect(running.address());
    client.ask(post(&signed(AFTER), "{}")).assert_refused(503_003);
    client.ask(post(&signed(BEFORE), "{}")).assert_ok();
    assert_eq!(running.intake.counters().count(Outcome::Unrecorded), 0);
    other.execute_batch("ROLLBACK").unwrap();
}

/// An intake that holds what it cannot store, with a connection that waits for an answer to that.
fn held(mut setup: Setup, hinder: impl FnOnce(&Running)) -> (Running, Client) {
    setup.options.when_not_durable = WhenNotDurable::Hold;
    let running = setup.start();
    hinder(&running);
    let mut client = Client::connect(running.address());
    client.send(post(&signed(AFTER), "{}"));
    while running.intake.counters().count(Outcome::Held) == 0 {
        std::thread::yield_now();
    }
    ask(&running, BEFORE, "{}").assert_ok();
    assert!(client.hears_nothing());
    (running, client)
}

#[test]
fn what_is_late_is_held_and_answered_ok_if_it_is_stored_after_all() {
    let (running, mut client, other) = late();
    other.execute_batch("ROLLBACK").unwrap();
    client.reply().assert_ok();
    assert_eq!(running.intake.counters().count(Outcome::Accepted), 1);
}

#[test]
fn what_failed_is_held_and_then_refused() {
    let mut setup = Setup::new();
    setup.journal.queue_bytes = 1;
    let (running, mut client) = held(setup, |_| {});
    client.reply().assert_refused(503_001);
    assert_eq!(running.intake.counters().late_answers(Road::After), 1);
}

/// A held request whose callback is late, for the journal has to wait for the writer that is returned.
fn late() -> (Running, Client, rusqlite::Connection) {
    let mut setup = Setup::new();
    setup.options.answer_within = Duration::from_millis(100);
    let other = std::cell::OnceCell::new();
    let (running, client) = held(setup, |running| {
        let connection = rusqlite::Connection::open(&running.journal_options.path).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        other.set(connection).unwrap();
    });
    (running, client, other.into_inner().unwrap())
}

#[test]
fn what_is_late_and_then_fails_is_held_all_the_same() {
    let (running, mut client, other) = late();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON callbacks BEGIN SELECT RAISE(ABORT, 'no'); END; COMMIT";
    other.execute_batch(refuse).unwrap();
    // The journal knows, before the one who waits does.
    while running.journal.health() == Health::Ok {
        std::thread::yield_now();
    }
    client.reply().assert_refused(503_002);
    assert_eq!(running.intake.counters().late_answers(Road::After), 1);
}

#[test]
fn what_is_late_does_not_hold_up_a_drain() {
    let (running, mut client, other) = late();
    let draining = running.drain(Duration::from_secs(3600));
    client.reply().assert_refused(503_003);
    other.execute_batch("ROLLBACK").unwrap();
    assert_eq!(draining.join().unwrap().0.n_cut, 0);
}

#[test]
fn what_is_held_does_not_hold_up_a_drain() {
    let mut setup = Setup::new();
    setup.journal.queue_bytes = 1;
    let (running, mut client) = held(setup, |_| {});
    let draining = running.drain(Duration::from_secs(3)); // Less than is left of the time to hold.
    client.reply().assert_refused(503_001);
    assert_eq!(draining.join().unwrap().0.n_cut, 0);
}

#[test]
fn apps_are_told_apart() {
    let mut setup = Setup::new();
    let mut second = setup.apps[0].clone();
    second.app = dispatcher_core::App::new(APP + 1, "second");
    second.tokens = vec![dispatcher_core::Secret::new("its own").unwrap()];
    setup.apps.push(second);
    let running = setup.start();
    let of_second = |token| tencent_chat::query_string(APP + 1, AFTER, None, None, Some((token, now())));
    let mut client = Client::connect(running.address());
    client.ask(post(&signed(AFTER), "{}")).assert_ok();
    client.ask(post(&of_second("its own"), "{}")).assert_ok();
    client.ask(post(&of_second(TOKEN), "{}")).assert_refused(401_002);
    let stored = running.end();
    assert_eq!(stored.iter().map(|callback| callback.app().name()).collect::<Vec<_>>(), ["main", "second"]);
}
