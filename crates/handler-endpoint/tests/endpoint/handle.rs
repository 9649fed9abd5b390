//! Callbacks that want an acknowledgement.

use std::time::Duration;

use dispatcher_core::OpenContext;
use dispatcher_pipeline::{ConsumerStatus, State};
use dispatcher_testkit::{PATIENCE, Tencent, TestDispatcher, sample};
use serde_json::{Value, json};
use tencent_chat::Query;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};

use crate::{
    MESSAGE, handle, handle_within, open,
    server::{Answer, OK, Server},
};

const AFTER: &str = "C2C.CallbackAfterSendMsg";

#[tokio::test]
async fn tells_what_happened_in_tencents_own_shape_over_one_connection() {
    let server = Server::start(Answer::Allow).await;
    let handler = open(json!({"url": server.url("/cb?own=1"), "tencent_token": "tok"})).await;
    let callbacks: Vec<_> = tencent_chat::commands().iter().map(|info| sample(info.name)).collect();
    for callback in &callbacks {
        handle(&*handler, callback).await.unwrap();
    }
    let told: Vec<_> = callbacks.iter().filter(|callback| !callback.command().wants_decision()).collect();
    let received = server.received();
    assert_eq!(received.len(), told.len(), "those that want a decision are not told again");
    for (request, callback) in received.iter().zip(told) {
        assert_eq!(request.body, callback.body_bytes()[..]);
        assert_eq!(request.connection, 0);
        let query = request.query.strip_prefix("own=1&").unwrap();
        assert_eq!(tencent_chat::without_signature(query), callback.query());
        let query = Query::parse(query).unwrap();
        assert!(tencent_chat::verify("tok", &query.request_time.unwrap(), &query.sign.unwrap()));
    }
}

#[tokio::test]
async fn tells_cloud_events() {
    let server = Server::start(Answer::ok(OK)).await;
    let handler = open(json!({"url": server.url("/in"), "format": "cloudevents"})).await;
    handle(&*handler, &sample(AFTER)).await.unwrap();
    let event: Value = serde_json::from_slice(&server.received()[0].body).unwrap();
    assert_eq!(event["type"], format!("tencent-chat.callback.{AFTER}"));
    assert_eq!(event["specversion"], "1.0");
}

#[tokio::test]
async fn the_answer_decides() {
    let server = Server::start(Answer::ok(OK)).await;
    let url = server.url("/cb");
    let handler = open(json!({"url": server.url("/cb?key=secret")})).await;
    let long = format!("{OK}{}", " ".repeat(64 * 1024));
    let no_json = "its body is no JSON object with an ErrorCode";
    let with = |status: u16| (Answer::status(status), format!("status {status} from {url}: \"sorry\""));
    let ok = |body: &str, what: &str| (Answer::ok(body), what.to_owned());
    let done = "";
    let mut table = vec![
        ("done", ok(OK, done)),
        ("done", ok(r#"{"ErrorCode":0}"#, done)),
        ("done", (Answer::Reply(202, "", OK.to_owned()), done.to_owned())),
        ("retry", ok(r#"{"ErrorCode":7,"ErrorInfo":"busy"}"#, &format!("ErrorCode 7 from {url}"))),
        ("retry", ok("<html>", &format!("status 200 from {url}, and {no_json}"))),
        ("retry", ok("", &format!("status 200 from {url}, and {no_json}"))),
        ("retry", ok("[0]", &format!("status 200 from {url}, and {no_json}"))),
        ("retry", ok("{}", &format!("status 200 from {url}, and {no_json}"))),
        ("retry", ok(r#"{"ErrorCode":"0"}"#, &format!("status 200 from {url}, and {no_json}"))),
        ("retry", ok(&long, &format!("status 200 from {url}, and its body is longer than 64 KiB"))),
        (
            "retry",
            (
                Answer::Close("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{"),
                format!("status 200 from {url}, and its body breaks off"),
            ),
        ),
        ("retry", (Answer::Close(""), format!("no answer from {url}: "))),
        ("retry", (Answer::Reset, format!("no answer from {url}: "))),
        (
            "permanent",
            (
                Answer::Reply(301, "location: /new\r\n", String::new()),
                format!(
                    "status 301 from {url}, to {}; redirects are not followed: write the new address into `url`",
                    server.url("/…")
                ),
            ),
        ),
    ];
    table.extend([408, 425, 500, 502, 504, 599].map(|status| ("retry", with(status))));
    table.extend([429, 503].map(|status| ("down", with(status))));
    table.extend([400, 401, 403, 404, 405, 410, 413, 422].map(|status| ("permanent", with(status))));
    for (verdict, (answer, what)) in table {
        server.answer(answer);
        let (got, text) = match handle(&*handler, &sample(AFTER)).await {
            Ok(()) => ("done", String::new()),
            Err(err) if err.is_down() => ("down", err.to_string()),
            Err(err) => {
                let kind = if err.clone().into_failure().is_permanent() { "permanent" } else { "retry" };
                (kind, err.to_string())
            }
        };
        assert_eq!(got, verdict, "{what}: {text}");
        assert!(if what.ends_with(": ") { text.starts_with(&what) } else { text == what }, "{text}\nis not\n{what}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[tokio::test]
async fn what_it_said_and_asked_for_is_kept() {
    let server = Server::start(Answer::ok(OK)).await;
    let handler = open(json!({"url": server.url("/cb")})).await;
    let wait = "retry-after: 7\r\n";
    for (status, body) in [(500, "out of order"), (200, r#"{"ErrorCode":7,"ErrorInfo":"out of order"}"#)] {
        server.answer(Answer::Reply(status, wait, body.to_owned()));
        let failure = handle(&*handler, &sample("State.StateChange")).await.unwrap_err().into_failure();
        let response = failure.response().unwrap();
        assert_eq!((response.status, &*response.excerpt), (status, body));
        assert_eq!(failure.wait(), Some(Duration::from_secs(7)));
    }
    server.answer(Answer::Reply(429, wait, String::new()));
    let err = handle(&*handler, &sample(AFTER)).await.unwrap_err();
    assert!(err.is_down());
    assert_eq!(err.into_failure().wait(), Some(Duration::from_secs(7)));
    // What repeats the callback is nobody's to read.
    let body = String::from_utf8(sample(AFTER).body_bytes().to_vec()).unwrap();
    server.answer(Answer::Reply(400, "", format!("no: {body}")));
    let err = handle(&*handler, &sample(AFTER)).await.unwrap_err();
    assert_eq!(err.to_string(), format!("status 400 from {}: \"no: …\"", server.url("/cb")));
}

#[tokio::test]
async fn who_hangs_is_given_up_on_in_time_and_who_is_not_there_is_down() {
    let server = Server::start(Answer::Hang("HTTP/1.1 200 OK\r\n")).await;
    let handler = open(json!({"url": server.url("/")})).await;
    let err = handle_within(&*handler, &sample(AFTER), Duration::from_millis(200)).await.unwrap_err();
    assert!(!err.is_down());
    assert_eq!(err.to_string(), format!("no answer from {} in time", server.url("/")));

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap(); // Closed at once.
    let handler = open(json!({"url": format!("http://{nobody}/")})).await;
    let err = handle(&*handler, &sample(AFTER)).await.unwrap_err();
    assert!(err.is_down());
    assert_eq!(err.to_string(), format!("cannot connect to http://{nobody}/: Connection refused (os error 111)"));
}

#[tokio::test]
async fn who_takes_no_connections_is_down_even_where_the_time_is_short() {
    // A socket whose queue is full: the system drops what asks to be connected.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut filling = Vec::new();
    while let Ok(Ok(stream)) = tokio::time::timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        filling.push(stream);
    }
    let time = Duration::from_millis(800);
    let cx = OpenContext::new("moderation", 0).with_timeout(time);
    let section =
        json!({"url": format!("http://{address}/"), "allow_networks": ["127.0.0.0/8"], "connect_timeout": "1s"});
    let handler = crate::settings(&section).open(&cx).await.unwrap();
    let err = handle_within(&*handler, &sample(AFTER), time).await.unwrap_err();
    assert!(err.is_down(), "{err}");
}

/// In a dispatcher of its own, with short waits.
fn dispatcher(url: &str, more: &str) -> TestDispatcher {
    TestDispatcher::start(&format!(
        "[handlers.legacy]\ntype = \"endpoint\"\nurl = \"{url}\"\nallow_networks = [\"127.0.0.0/8\"]\n\
         tencent_token = \"tok\"\nattempts = 3\nbackoff = {{ first = \"5ms\", max = \"20ms\" }}\n{more}"
    ))
}

#[tokio::test]
async fn comes_again_until_the_error_code_is_0_and_in_order() {
    let server = Server::start(Answer::ok(r#"{"ErrorCode":5}"#)).await;
    let dispatcher = dispatcher(&server.url("/cb"), "");
    let tencent = dispatcher.tencent();
    tencent.change_attribute("a", 0).await;
    server.wait_for(2).await;
    server.answer(Answer::ok(OK));
    for nth in 1..4 {
        tencent.change_attribute("a", nth).await;
    }
    // A callback that wants a decision is asked about, and not told as well.
    tencent.send(MESSAGE, tencent_chat::command(MESSAGE).unwrap().sample).await.expect_ok();
    tencent.change_attribute("a", 4).await;
    let received = tokio::time::timeout(PATIENCE, async {
        loop {
            let received = server.received();
            let nth = |request: &crate::server::Received| {
                let body: Value = serde_json::from_slice(&request.body).unwrap();
                body["GroupAttr"][0]["value"].as_str().map(|nth| nth.parse::<u64>().unwrap())
            };
            let order: Vec<u64> = received.iter().filter_map(nth).collect();
            assert!(received.len() - order.len() <= 1, "the message was asked about, once");
            if order.ends_with(&[4]) {
                return order;
            }
            server.wait_for(received.len() + 1).await;
        }
    });
    let order = received.await.unwrap();
    assert!(order.starts_with(&[0, 0]) && order.ends_with(&[0, 1, 2, 3, 4]) && order.len() <= 7, "{order:?}");
    let ids: Vec<_> = server.received().iter().map(|request| request.header("webhook-id").to_owned()).collect();
    assert_eq!(ids[0], ids[1], "the same one again");
    assert_ne!(ids[1], ids[ids.len() - 1]);
    dispatcher.stop().await;
}

#[tokio::test]
async fn sixteen_keys_wait_for_it_side_by_side() {
    let server = Server::start(Answer::WhenAsked(16, OK.to_owned())).await;
    let dispatcher = dispatcher(&server.url("/cb"), "");
    let tencent = dispatcher.tencent();
    for nth in 0..16 {
        tencent.change_attribute(&format!("group-{nth}"), nth).await;
    }
    server.wait_for(16).await;
    dispatcher.stop().await;
    assert_eq!(server.received().len(), 16);
}

fn status(dispatcher: &TestDispatcher) -> ConsumerStatus {
    dispatcher.dispatcher().status().into_iter().find(|status| status.name == "handler:legacy").unwrap()
}

/// Polls, since a status has no bell; asserts nothing about the time it takes but that it ends.
async fn until(dispatcher: &TestDispatcher, what: &str, holds: impl Fn(&ConsumerStatus) -> bool) {
    let look = async {
        while !holds(&status(dispatcher)) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let looked = tokio::time::timeout(PATIENCE, look).await;
    looked.unwrap_or_else(|_| panic!("{what}: {:?}", status(dispatcher)));
}

/// One callback that is decided about and one that is told, of other keys each time.
async fn send_a_pair(tencent: &Tencent, nth: u64) {
    let message = tencent_chat::command(MESSAGE).unwrap().sample;
    let mut message: Value = serde_json::from_str(message).unwrap();
    message["From_Account"] = format!("sender-{nth}").into();
    tencent.send(MESSAGE, &message.to_string()).await.expect_ok();
    tencent.change_attribute(&format!("group-{nth}"), nth).await;
}

#[tokio::test]
async fn a_wrong_address_costs_eight_dead_letters_whatever_is_decided_in_between() {
    // The first one is held until all the others are there, so that none is the last one left, which would be to blame itself.
    let (tell, told) = watch::channel(false);
    let server = Server::start(Answer::WhenTold(told, OK.to_owned())).await;
    let dispatcher = dispatcher(&server.url("/cb"), "lanes = 1\n");
    dispatcher.tencent().change_attribute("first", 0).await;
    server.wait_for(1).await;
    server.answer(Answer::status(404));
    for nth in 0..12 {
        send_a_pair(&dispatcher.tencent(), nth).await;
    }
    tell.send(true).unwrap();
    // What is given up on is counted when that is committed.
    let is_down = |status: &ConsumerStatus| matches!(status.state, State::Down { .. }) && status.dead >= 8;
    until(&dispatcher, "it is down", is_down).await;
    assert_eq!((status(&dispatcher).dead, status(&dispatcher).done), (8, 1));
    dispatcher.stop().await;
}

#[tokio::test]
async fn while_nobody_is_there_no_attempt_is_used_whatever_is_decided_in_between() {
    // A port that nobody else takes meanwhile, and that nobody listens on.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let dispatcher = dispatcher(&format!("http://{address}/cb"), "");
    let is_down = |status: &ConsumerStatus| format!("{:?}", status.state).contains("cannot connect to");
    for nth in 0..3 {
        send_a_pair(&dispatcher.tencent(), nth).await;
    }
    until(&dispatcher, "it is down", is_down).await;
    let State::Down { since, .. } = status(&dispatcher).state else { panic!("{:?}", status(&dispatcher)) };
    for nth in 3..6 {
        send_a_pair(&dispatcher.tencent(), nth).await;
    }
    let now = status(&dispatcher);
    assert!(matches!(now.state, State::Down { since: still, .. } if still == since), "{now:?}");
    assert_eq!((now.done, now.failed, now.dead), (0, 0, 0));
    let listener = socket.listen(16).unwrap();
    let server = Server::serve(listener, Answer::ok(OK));
    until(&dispatcher, "it is up again", |status| status.done >= 6).await;
    assert_eq!(server.received().len(), 6);
    assert_eq!((status(&dispatcher).done, status(&dispatcher).failed, status(&dispatcher).dead), (6, 0, 0));
    dispatcher.stop().await;
}
