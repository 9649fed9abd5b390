//! Connections: how long they last, and how they end.

use std::time::Duration;

use dispatcher_intake::{Outcome, Refusal};

use crate::{
    client::{Client, post, post_chunked, post_expecting},
    running::{Setup, query, signed},
};

const AFTER: &str = "Group.CallbackAfterGroupFull";
const BODY: &str = r#"{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"@TGS#1"}"#;

/// Short enough to be waited for, and long enough for a request on a busy machine.
const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn a_connection_serves_many_requests() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    for _ in 0..3 {
        client.ask(post(&signed(AFTER), BODY)).assert_ok();
        client.ask(post_chunked(&signed(AFTER), &[&BODY[..10], &BODY[10..11], &BODY[11..]])).assert_ok();
    }
    assert_eq!(running.intake.counters().count(Outcome::Connection), 1);
    let stored = running.end();
    assert_eq!(stored.len(), 6);
    assert!(stored.iter().all(|callback| callback.body_bytes() == BODY));
}

#[test]
fn requests_sent_at_once_are_answered_in_turn() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    client.send(post(&signed(AFTER), BODY) + &post(&query(AFTER), BODY) + &post(&signed(AFTER), BODY));
    client.reply().assert_ok();
    client.reply().assert_refused(401_001);
    client.reply().assert_ok();
}

#[test]
fn a_body_may_come_after_100_continue_and_byte_by_byte() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    client.send(post_expecting(&signed(AFTER), BODY.len()));
    assert!(client.read_head().contains(" 100 "));
    BODY.bytes().for_each(|byte| client.send([byte]));
    client.reply().assert_ok();
    assert_eq!(running.end()[0].body_bytes(), BODY);
}

#[test]
fn a_slow_head_ends_the_connection() {
    let mut setup = Setup::new();
    (setup.options.header_within, setup.options.idle) = (SHORT, LONG);
    let running = setup.start();
    for begun in ["", "P", "POST /callback HTTP/1.1\r\nHost: te"] {
        let mut client = Client::connect(running.address());
        client.send(begun);
        assert_eq!(client.wait_for_close(), "", "after {begun:?}");
    }
    // The same on a connection that is trusted.
    let mut client = Client::connect(running.address());
    client.ask(post(&signed(AFTER), BODY)).assert_ok();
    client.send("POST /");
    assert_eq!(client.wait_for_close(), "");
    assert_eq!(running.intake.counters().count(Outcome::HeadLate), 4);
}

#[test]
fn a_stranger_has_a_place_for_one_request() {
    let mut setup = Setup::new();
    (setup.options.header_within, setup.options.idle) = (LONG, LONG);
    let running = setup.start();
    let mut trusted = Client::connect(running.address());
    trusted.ask(post(&signed(AFTER), BODY)).assert_ok();
    let probe = post("", "");
    for (request, status) in [
        (post(&query(AFTER), BODY), 401),
        (probe.clone(), 200),
        (probe.replace("POST", "GET"), 405),
        (probe.replace("Length: 0", "Length: nought"), 400),
    ] {
        let mut stranger = Client::connect(running.address());
        let reply = stranger.ask(&request);
        assert_eq!(reply.status, status, "{request}");
        assert!(reply.head.contains("connection: close\r\n"), "{}", reply.head);
        stranger.stop_sending();
        assert_eq!(stranger.wait_for_close(), "");
        let reply = trusted.ask(&request);
        let is_last = reply.head.contains("connection: close\r\n");
        assert_eq!((reply.status, is_last), (status, status == 400), "{request}");
    }
}

#[test]
fn a_refusal_that_leaves_a_body_unread_says_that_it_is_the_last() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    client.ask(post(&signed(AFTER), BODY)).assert_ok();
    let reply = client.ask(post(&query(AFTER), &"x".repeat(300_000)).split_at(1000).0);
    reply.assert_refused(401_001);
    assert!(reply.head.contains("connection: close\r\n"), "{}", reply.head);
    client.stop_sending();
    assert_eq!(client.wait_for_close(), "");
}

#[test]
fn an_idle_connection_ends() {
    let mut setup = Setup::new();
    (setup.options.header_within, setup.options.idle) = (LONG, SHORT);
    let running = setup.start();
    let mut client = Client::connect(running.address());
    client.ask(post(&signed(AFTER), BODY)).assert_ok();
    assert_eq!(client.wait_for_close(), "");
    assert_eq!(running.intake.counters().count(Outcome::Idle), 1);
}

#[test]
fn half_a_body_is_refused_when_time_is_over() {
    let mut setup = Setup::new();
    (setup.options.answer_within, setup.options.header_within) = (SHORT, LONG);
    let running = setup.start();
    let request = post(&signed(AFTER), BODY);
    let chunked = post_chunked(&signed(AFTER), &[BODY]);
    for half in [&request[..request.len() - 1], &chunked[..chunked.len() - 1]] {
        let mut client = Client::connect(running.address());
        client.ask(half).assert_refused(408_001);
        client.stop_sending();
        assert_eq!(client.wait_for_close(), "");
    }
    assert!(running.end().is_empty());
}

#[test]
fn who_does_not_read_its_replies_is_cut_off() {
    let mut setup = Setup::new();
    (setup.options.header_within, setup.options.idle) = (5 * SHORT, LONG); // Long enough to send a head in.
    let running = setup.start();
    let mut client = Client::connect_cramped(running.address());
    client.ask(post(&signed(AFTER), BODY)).assert_ok();
    let requests = "GET /callback HTTP/1.1\r\nHost: test\r\n\r\n".repeat(1000);
    // Enough that the replies fill the buffers of both sockets.
    for _ in 0..1000 {
        client.send_in_vain(&requests);
    }
    client.wait_for_close();
    let counters = running.intake.counters();
    assert_eq!(counters.count(Outcome::ReplyUnread), 1);
    // Left alone, Linux keeps more than ten thousand replies for it, in megabytes of its memory.
    let n_answered = counters.refused(Refusal::MethodNotPost);
    assert!(n_answered < 1000, "{n_answered} were answered to who reads nothing");
}

#[test]
fn what_is_not_http_or_has_too_large_a_head_is_closed() {
    let mut setup = Setup::new();
    setup.options.header_bytes = 1024;
    setup.options.max_headers = 20;
    let running = setup.start();
    for (said, status) in [
        ("\x16\x03\x01\x02\0 no TLS here\r\n\r\n".to_owned(), "400"),
        (format!("POST /callback HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1024)), "431"),
        (format!("POST /callback HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(21)), "431"),
    ] {
        let mut client = Client::connect(running.address());
        client.send(said);
        let reply = client.wait_for_close();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{reply}");
    }
    let counters = running.intake.counters();
    running.end(); // It is counted when the connection has ended, which the peer sees a little earlier.
    assert_eq!((counters.count(Outcome::NotHttp), counters.count(Outcome::HeadTooLarge)), (1, 2));
}

#[test]
fn connections_over_the_limit_wait_for_their_turn() {
    let mut setup = Setup::new();
    setup.options.max_connections = 1;
    let running = setup.start();
    let mut first = Client::connect(running.address());
    first.ask(post(&signed(AFTER), BODY)).assert_ok();
    let mut second = Client::connect(running.address());
    second.send(post(&signed(AFTER), BODY));
    first.ask(post(&signed(AFTER), BODY)).assert_ok();
    let counters = running.intake.counters();
    assert_eq!((counters.count(Outcome::Connection), counters.max_connections()), (1, 1));
    while counters.count(Outcome::Full) == 0 {
        std::thread::yield_now();
    }
    drop(first);
    second.reply().assert_ok();
}

#[test]
fn draining_answers_what_is_there_and_closes_what_is_idle() {
    let running = Setup::new().start();
    let mut idle = Client::connect(running.address());
    idle.ask(post(&signed(AFTER), BODY)).assert_ok();
    let mut busy = Client::connect(running.address());
    busy.send(post_expecting(&signed(AFTER), BODY.len()));
    assert!(busy.read_head().contains(" 100 ")); // Its body is waited for.

    let address = running.address();
    let draining = running.drain(LONG);
    assert_eq!(idle.wait_for_close(), "");
    busy.send(BODY);
    busy.reply().assert_ok();
    busy.wait_for_close();
    let (report, stored) = draining.join().unwrap();
    assert_eq!((report.n_cut, stored.len()), (0, 2));
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn who_dawdles_does_not_hold_up_a_drain_and_is_not_missed() {
    let mut setup = Setup::new();
    (setup.options.header_within, setup.options.idle) = (LONG, LONG);
    let running = setup.start();
    let mut half = Client::connect(running.address());
    half.send("POST /callback HTTP/1.1\r\nHost: te");
    let mut silent = Client::connect(running.address());
    while running.intake.counters().count(Outcome::Connection) < 2 {
        std::thread::yield_now();
    }
    let (report, _) = running.drain(LONG).join().unwrap();
    assert_eq!(report.n_cut, 0);
    assert_eq!((half.wait_for_close(), silent.wait_for_close()), (String::new(), String::new()));
}

#[test]
fn only_who_is_being_served_is_missed() {
    let running = Setup::new().start();
    let mut half = Client::connect(running.address());
    half.send("POST /callback HTTP/1.1\r\nHost: te");
    while running.intake.counters().count(Outcome::Connection) < 1 {
        std::thread::yield_now();
    }
    assert_eq!(running.drain(Duration::ZERO).join().unwrap().0.n_cut, 0);
    assert_eq!(half.wait_for_close(), "");
}

#[test]
fn lingering_answers_all_and_ends_each_connection_with_its_answer() {
    let running = Setup::new().start();
    let mut open = Client::connect(running.address());
    let reply = open.ask(post(&signed(AFTER), BODY));
    assert!(!reply.head.contains("connection: close"), "{}", reply.head);
    running.intake.linger();
    for mut client in [open, Client::connect(running.address())] {
        let reply = client.ask(post(&signed(AFTER), BODY));
        reply.assert_ok();
        assert!(reply.head.contains("connection: close\r\n"), "{}", reply.head);
        assert_eq!(client.wait_for_close(), "");
    }
    assert_eq!(running.end().len(), 3);
}

#[test]
fn draining_cuts_what_takes_too_long() {
    let running = Setup::new().start();
    let mut busy = Client::connect(running.address());
    busy.send(post_expecting(&signed(AFTER), BODY.len()));
    assert!(busy.read_head().contains(" 100 "));
    let (report, stored) = running.drain(SHORT).join().unwrap();
    assert_eq!((report.n_cut, stored.len()), (1, 0));
    assert_eq!(busy.wait_for_close(), "");
}

#[test]
fn an_intake_that_is_dropped_ends() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    client.ask(post(&signed(AFTER), BODY)).assert_ok();
    drop(running.intake);
    client.wait_for_close();
}
