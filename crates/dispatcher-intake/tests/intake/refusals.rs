//! What is refused, with which status and which number.

use crate::{
    client::{Client, post, post_chunked, post_expecting},
    running::{APP, Setup, TOKEN, now, query, signed},
};
use dispatcher_intake::{IntakeOptions, PathRule, Refusal, SignaturePolicy};
use tencent_chat::{query_string, sign};

const AFTER: &str = "Group.CallbackAfterGroupFull";
const BODY: &str = r#"{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"@TGS#1"}"#;

#[test]
fn refuses_as_the_table_says() {
    let mut setup = Setup::new();
    setup.options.body_limit = 256;
    setup.options.query_limit = 1024;
    let running = setup.start();
    let signed = signed(AFTER);
    let stale = query_string(APP, AFTER, None, None, Some((TOKEN, now() - 3600)));
    let early = query_string(APP, AFTER, None, None, Some((TOKEN, now() + 3600)));
    let forged = query_string(APP, AFTER, None, None, Some(("guessed", now())));
    let unnamed = signed.replace(&format!("CallbackCommand={AFTER}"), "x=y");
    let long = "x".repeat(257);
    let with = |parameter: &str| format!("{signed}&{parameter}");

    let requests = [
        (post(&signed, BODY).replace("/callback?", "/?"), Refusal::PathUnknown),
        (post(&signed, BODY).replace("/callback?", "/callback/?"), Refusal::PathUnknown),
        (post(&signed, BODY).replace("POST", "PUT"), Refusal::MethodNotPost),
        ("GET /callback HTTP/1.1\r\nHost: test\r\n\r\n".to_owned(), Refusal::MethodNotPost),
        (post(&with(&"y".repeat(1024)), BODY), Refusal::QueryTooLong),
        (post(&signed.replace(&APP.to_string(), "1400000009"), BODY), Refusal::AppUnknown),
        (post(&signed.replace("SdkAppid", "App"), BODY), Refusal::AppMissing),
        (post(&query(AFTER), BODY), Refusal::SignatureMissing),
        (post(&signed.replace("RequestTime", "Time"), BODY), Refusal::SignatureMissing),
        (post(&forged, BODY), Refusal::SignatureWrong),
        (post(&stale, BODY), Refusal::SignatureStale),
        (post(&early, BODY), Refusal::SignatureStale),
        (post(&unnamed, BODY), Refusal::CommandMissing),
        (post_chunked(&unnamed, &[BODY]), Refusal::CommandMissing),
        (post(&query_string(APP, "A B", None, None, Some((TOKEN, now()))), BODY), Refusal::CommandMalformed),
        (post(&query_string(APP, &"x".repeat(129), None, None, Some((TOKEN, now()))), BODY), Refusal::CommandMalformed),
        (post(&signed, ""), Refusal::NotJson),
        (post(&signed, "{"), Refusal::NotJson),
        (post(&signed, "{} {}"), Refusal::NotJson),
        (post(&signed, "[]"), Refusal::NotAnObject),
        (post(&signed, r#"{"CallbackCommand":"Group.CallbackAfterSendMsg"}"#), Refusal::CommandDiffers),
        (post(&signed, r#"{"CallbackCommand":7}"#), Refusal::CommandDiffers),
        (
            post(&signed, &format!(r#"{{"CallbackCommand":"{AFTER}","CallbackCommand":"{AFTER}"}}"#)),
            Refusal::CommandTwice,
        ),
        (post(&with("sign=1"), BODY), Refusal::ParameterTwice),
        (post(&with(&format!("SDKAppID={APP}")), BODY), Refusal::ParameterTwice),
        (post(&with(&format!("CallbackCommand={AFTER}")), BODY), Refusal::ParameterTwice),
        (post(&with("RequestID=%zz"), BODY), Refusal::ParameterEncoding),
        (post(&signed, &long), Refusal::BodyTooLong),
        (post_chunked(&signed, &[&long[..200], &long[200..]]), Refusal::BodyTooLong),
    ];
    for (request, refusal) in &requests {
        // A connection each: some of them are closed after the reply.
        let reply = Client::connect(running.address()).ask(request);
        let info = reply.assert_refused(refusal.error_code());
        for secret in [TOKEN, &sign(TOKEN, &now().to_string()).to_string(), "@TGS#1", "CallbackAfterSendMsg"] {
            assert!(!info.contains(secret), "{info:?} says {secret:?}");
        }
    }
    for refusal in Refusal::ALL {
        let n = requests.iter().filter(|(_, expected)| *expected == refusal).count();
        assert_eq!(running.intake.counters().refused(refusal), n as u64, "{refusal:?}");
    }
    assert!(running.end().is_empty(), "a refused callback was stored");
}

#[test]
fn a_method_is_told_the_right_one() {
    let running = Setup::new().start();
    let reply = Client::connect(running.address()).ask("DELETE /callback HTTP/1.1\r\nHost: test\r\n\r\n");
    assert!(reply.head.contains("allow: post\r\n"), "{}", reply.head);
}

#[test]
fn any_path_will_do_if_so_configured() {
    let mut setup = Setup::new();
    setup.options.path = PathRule::Any;
    let running = setup.start();
    let mut client = Client::connect(running.address());
    for path in ["/callback", "/", "/a/b%20c"] {
        client.ask(post(&signed(AFTER), BODY).replace("/callback", path)).assert_ok();
    }
}

#[test]
fn a_request_refused_early_leaves_a_trusted_connection_open() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    client.ask(post(&signed(AFTER), BODY)).assert_ok();
    client.ask(post(&query(AFTER), BODY)).assert_refused(401_001);
    client.ask(post(&signed(AFTER), BODY)).assert_ok();
}

#[test]
fn a_long_body_is_refused_by_its_header_alone() {
    let running = Setup::new().start();
    let limit = IntakeOptions::default().body_limit;
    let mut client = Client::connect(running.address());
    let reply = client.ask(post_expecting(&signed(AFTER), limit + 1));
    reply.assert_refused(413_001);
    assert!(reply.head.contains("connection: close\r\n"), "{}", reply.head);
    client.stop_sending();
    assert_eq!(client.wait_for_close(), "");
}

#[test]
fn who_goes_on_sending_can_still_read_the_refusal() {
    let mut setup = Setup::new();
    setup.options.body_limit = 1000;
    let running = setup.start();
    let head = format!("POST /callback?{} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n", signed(AFTER));
    let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
    let mut client = Client::connect(running.address());
    client.send(head);
    for _ in 0..100 {
        client.send(&chunk); // More than the socket's buffers would need to hide a reset behind.
    }
    client.reply().assert_refused(413_001);
    client.stop_sending();
    client.wait_for_close();
}

#[test]
fn who_sends_without_end_is_cut_off() {
    let mut setup = Setup::new();
    setup.options.body_limit = 1000;
    let running = setup.start();
    let mut client = Client::connect(running.address());
    client
        .send(format!("POST /callback?{} HTTP/1.1\r\nHost: test\r\nContent-Length: 999999999\r\n\r\n", signed(AFTER)));
    client.send_in_vain(vec![b'x'; 64 << 20]);
    client.wait_for_close();
}

#[test]
fn a_body_that_breaks_off_or_has_broken_chunks_is_refused_or_closed() {
    let running = Setup::new().start();
    let mut client = Client::connect(running.address());
    client.send(format!(
        "POST /callback?{} HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        signed(AFTER)
    ));
    client.reply().assert_refused(400_005);
    let mut client = Client::connect(running.address());
    client.send(&post(&signed(AFTER), BODY)[..300]);
    client.stop_sending();
    client.wait_for_close();
    assert!(running.end().is_empty());
}

#[test]
fn signatures_are_asked_for_as_the_app_says() {
    for (policy, query, code) in [
        (SignaturePolicy::Required, query(AFTER), 401_001),
        (SignaturePolicy::Optional, query(AFTER), 0),
        (SignaturePolicy::Optional, signed(AFTER), 0),
        (SignaturePolicy::Optional, query(AFTER) + "&Sign=00&RequestTime=1", 401_002),
        (SignaturePolicy::Off, query(AFTER) + "&Sign=00&RequestTime=1", 0),
    ] {
        let mut setup = Setup::new();
        setup.apps[0].signature = policy;
        let running = setup.start();
        let reply = Client::connect(running.address()).ask(post(&query, BODY));
        match code {
            0 => reply.assert_ok(),
            _ => drop(reply.assert_refused(code)),
        }
    }
}

#[test]
fn the_published_signature_is_taken_in_either_case_and_by_either_token() {
    const SIGN: &str = "17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061";
    let mut setup = Setup::new();
    setup.set_tokens(&["another", "xxxxyyyy"]);
    setup.options.freshness = std::time::Duration::from_secs(100 * 365 * 24 * 3600); // It is of 2022.
    let running = setup.start();
    let mut client = Client::connect(running.address());
    for sign in [SIGN, &SIGN.to_uppercase()] {
        client.ask(post(&format!("{}&Sign={sign}&RequestTime=1669872112", query(AFTER)), BODY)).assert_ok();
    }
    let by_the_other = query_string(APP, AFTER, None, None, Some(("another", now())));
    client.ask(post(&by_the_other, BODY)).assert_ok();
    let wrong = format!("{}&Sign={}&RequestTime=1669872112", query(AFTER), SIGN.replace('1', "2"));
    client.ask(post(&wrong, BODY)).assert_refused(401_002);
}
