//! Rules that are replaced while connections and requests are under way.

use std::time::Duration;

use dispatcher_core::{App, CommandPattern, Secret};
use dispatcher_decider::{Deciders, DefaultRule, Fallback};
use dispatcher_intake::{IntakeApp, IntakeOptions, Outcome, PathRule, SignaturePolicy};

use crate::{
    client::{Client, post, post_expecting},
    running::{APP, Running, Setup, TOKEN, now, query, signed},
};

const AFTER: &str = "Group.CallbackAfterGroupFull";
const BODY: &str = r#"{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"@TGS#1"}"#;
const BEFORE: &str = "C2C.CallbackBeforeSendMsg";

fn app(token: &str) -> IntakeApp {
    let tokens = vec![Secret::new(token).unwrap()];
    IntakeApp { app: App::new(APP, "main"), tokens, signature: SignaturePolicy::Required, allow_from: vec![] }
}

fn nobody() -> Deciders {
    Deciders::start(vec![], &[], Duration::from_secs(1)).unwrap()
}

fn replace(running: &Running, options: IntakeOptions, token: &str) {
    running.intake.replace(options, vec![app(token)], vec![], nobody()).unwrap();
}

#[test]
fn the_next_request_on_a_connection_goes_by_the_new_rules() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    client.ask(post(&signed(AFTER), BODY)).assert_ok();
    replace(&running, IntakeOptions::default(), "another");
    client.ask(post(&signed(AFTER), BODY)).assert_refused(401_002);
    let query = tencent_chat::query_string(APP, AFTER, None, None, Some(("another", now())));
    client.ask(post(&query, BODY)).assert_ok();
    let elsewhere = IntakeOptions { path: PathRule::Exact("/elsewhere".to_owned()), ..IntakeOptions::default() };
    replace(&running, elsewhere, TOKEN);
    client.ask(post(&signed(AFTER), BODY)).assert_refused(404_001);
    assert_eq!(running.intake.counters().count(Outcome::Connection), 1);
}

#[test]
fn a_request_that_has_begun_keeps_its_rules() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    client.send(post_expecting(&signed(AFTER), BODY.len()));
    assert!(client.read_head().contains(" 100 "));
    // Short enough to be over before the body comes, if it were asked.
    let strict = IntakeOptions { body_limit: 1, answer_within: Duration::from_millis(1), ..IntakeOptions::default() };
    replace(&running, strict, "another");
    // Other requests are judged by it in the meantime.
    Client::connect(running.address()).ask(post(&signed(AFTER), BODY)).assert_refused(401_002);
    client.send(BODY);
    client.reply().assert_ok();
    client.ask(post(&signed(AFTER), BODY)).assert_refused(401_002);
    assert_eq!(running.end().len(), 1);
}

#[test]
fn the_deciders_are_replaced_too() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    let body = tencent_chat::command(BEFORE).unwrap().sample;
    client.ask(post(&signed(BEFORE), body)).assert_ok();
    let rule = DefaultRule { commands: CommandPattern::new(BEFORE).unwrap(), decision: Fallback::Refuse };
    let refusing = Deciders::start(vec![], &[rule], Duration::from_secs(1)).unwrap();
    running.intake.replace(IntakeOptions::default(), vec![app(TOKEN)], vec![], refusing).unwrap();
    assert!(client.ask(post(&signed(BEFORE), body)).body.contains(r#""ErrorCode":1"#));
}

#[test]
fn rules_that_contradict_each_other_change_nothing() {
    let running = Setup::new().start();
    let twice = running.intake.replace(IntakeOptions::default(), vec![app("a"), app("b")], vec![], nobody());
    assert!(twice.unwrap_err().to_string().contains("two apps"));
    Client::connect(running.address()).ask(post(&signed(AFTER), BODY)).assert_ok();
    Client::connect(running.address()).ask(post(&query(AFTER), BODY)).assert_refused(401_001);
}

#[test]
fn who_waits_for_a_place_gets_in_when_there_are_more() {
    let mut setup = Setup::new();
    setup.options.max_connections = 1;
    let running = setup.start();
    let mut first = Client::connect(running.address());
    first.ask(post(&signed(AFTER), BODY)).assert_ok();
    let mut second = Client::connect(running.address());
    second.send(post(&signed(AFTER), BODY));
    replace(&running, IntakeOptions { max_connections: 2, ..IntakeOptions::default() }, TOKEN);
    second.reply().assert_ok();
    // And with fewer, nobody is sent away, and nobody else let in until there is room.
    replace(&running, IntakeOptions { max_connections: 1, ..IntakeOptions::default() }, TOKEN);
    let mut third = Client::connect(running.address());
    third.send(post(&signed(AFTER), BODY));
    first.ask(post(&signed(AFTER), BODY)).assert_ok();
    second.ask(post(&signed(AFTER), BODY)).assert_ok();
    assert_eq!(running.intake.counters().count(Outcome::Connection), 2);
    drop((first, second));
    third.reply().assert_ok();
}

#[test]
fn open_connections_are_held_to_the_new_limits() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    client.ask(post(&signed(AFTER), BODY)).assert_ok();
    replace(&running, IntakeOptions { idle: Duration::from_millis(20), ..IntakeOptions::default() }, TOKEN);
    client.wait_for_close();
    assert_eq!(running.intake.counters().count(Outcome::Idle), 1);
}

#[test]
fn what_needs_a_restart_is_named() {
    let now = IntakeOptions { threads: 2, ..IntakeOptions::default() };
    let other = IntakeOptions { threads: 3, max_connections: 7, ..now.clone() };
    assert_eq!(now.needs_restart(&other), ["threads"]);
    assert!(now.needs_restart(&IntakeOptions { max_connections: 7, ..now.clone() }).is_empty());
}
