//! Limits beside those of time and length: how many at once, how deep, from where.

use dispatcher_intake::Outcome;

use crate::{
    client::{Client, post, post_expecting},
    running::{Setup, signed},
};

const AFTER: &str = "Group.CallbackAfterGroupFull";
const BODY: &str = r#"{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"@TGS#1"}"#;
const BEFORE: &str = "C2C.CallbackBeforeSendMsg";

/// The same with a header more.
fn forwarded(request: &str, line: &str) -> String {
    request.replace("Host: test\r\n", &format!("Host: test\r\n{line}\r\n"))
}

#[test]
fn an_address_has_no_more_connections_than_it_may() {
    let mut setup = Setup::new();
    setup.options.max_connections_per_address = Some(1);
    let running = setup.start();
    let mut first = Client::connect(running.address());
    first.ask(post(&signed(AFTER), BODY)).assert_ok();
    assert_eq!(Client::connect(running.address()).wait_for_close(), "");
    first.ask(post(&signed(AFTER), BODY)).assert_ok();
    let counters = running.intake.counters();
    assert_eq!((counters.count(Outcome::AddressFull), counters.count(Outcome::Connection)), (1, 1));
    drop(first);
    // That it is gone takes the intake a moment to see.
    let last = post(&signed(AFTER), BODY).replace("Host:", "Connection: close\r\nHost:");
    while !Client::connect(running.address()).try_ask(&last).is_ok_and(|reply| reply.starts_with("HTTP/1.1 200")) {}
    assert_eq!(counters.count(Outcome::Connection), 2);
}

#[test]
fn decisions_are_taken_when_others_are_too_many() {
    let mut setup = Setup::new();
    (setup.options.max_in_flight, setup.options.threads) = (1, 1);
    let running = setup.start();
    let mut slow = Client::connect(running.address());
    slow.send(post_expecting(&signed(AFTER), BODY.len()));
    assert!(slow.read_head().contains(" 100 ")); // It is under way.
    let mut client = Client::connect(running.address());
    client.ask(post(&signed(AFTER), BODY)).assert_refused(503_004);
    client.ask(post(&signed(BEFORE), tencent_chat::command(BEFORE).unwrap().sample)).assert_ok();
    slow.send(BODY);
    slow.reply().assert_ok();
    client.ask(post(&signed(AFTER), BODY)).assert_ok();
}

#[test]
fn a_request_that_is_given_up_makes_room() {
    let mut setup = Setup::new();
    (setup.options.max_in_flight, setup.options.threads) = (1, 1);
    let running = setup.start();
    let mut slow = Client::connect(running.address());
    slow.send(post_expecting(&signed(AFTER), BODY.len()));
    assert!(slow.read_head().contains(" 100 "));
    drop(slow);
    let mut client = Client::connect(running.address());
    while client.ask(post(&signed(AFTER), BODY)).status == 503 {}
    client.ask(post(&signed(AFTER), BODY)).assert_ok();
}

#[test]
fn a_body_is_no_deeper_than_it_may_be() {
    let mut setup = Setup::new();
    setup.options.json_depth = 20;
    let running = setup.start();
    let mut client = Client::connect(running.address());
    let nested = |n: usize| BODY.replace("\"@TGS#1\"", &format!("{}{}", "[".repeat(n), "]".repeat(n)));
    client.ask(post(&signed(AFTER), &nested(19))).assert_ok();
    let info = client.ask(post(&signed(AFTER), &nested(20))).assert_refused(400_011);
    assert!(info.contains("20") && info.contains("json_depth"), "{info}");
    assert_eq!(running.end().len(), 1);
}

#[test]
fn an_app_may_be_called_from_some_networks_only() {
    let elsewhere = ["192.0.2.0/24".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    let here = ["127.0.0.1".parse().unwrap()];
    let request = post(&signed(AFTER), BODY);
    let from = |address: &str| forwarded(&request, &format!("X-Forwarded-For: {address}"));
    for (allow_from, proxies, request, gets_in) in [
        (&here[..], &[][..], request.clone(), true),
        (&elsewhere, &[], request.clone(), false),
        // Anybody can write that header.
        (&elsewhere, &[], from("192.0.2.1"), false),
        (&here, &[], from("192.0.2.1"), true),
        (&elsewhere, &here, from("192.0.2.1"), true),
        (&elsewhere, &here, from("2001:db8::1"), true),
        (&elsewhere, &here, from("192.0.3.1"), false),
        (&elsewhere, &here, from("192.0.2.1, 203.0.113.9"), false),
        (&elsewhere, &here, from("somebody"), false),
        (&elsewhere, &here, request.clone(), false),
        // A proxy that adds a line of its own adds the last.
        (&elsewhere, &here, forwarded(&from("203.0.113.9"), "x-forwarded-for: 192.0.2.1"), false),
        (&elsewhere, &here, forwarded(&from("192.0.2.1"), "x-forwarded-for: 203.0.113.9"), true),
    ] {
        let mut setup = Setup::new();
        setup.apps[0].allow_from = allow_from.to_vec();
        setup.options.trusted_proxies = proxies.to_vec();
        let running = setup.start();
        let reply = Client::connect(running.address()).ask(&request);
        match gets_in {
            true => reply.assert_ok(),
            false => assert!(reply.assert_refused(403_003).contains("allow_from")),
        }
    }
}
