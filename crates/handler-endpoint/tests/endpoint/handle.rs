//! Callbacks that want an acknowledgement.

use std::time::Duration;

use dispatcher_testkit::{PATIENCE, TestDispatcher, sample};
use serde_json::{Value, json};
use tencent_chat::Query;
use tokio::net::TcpListener;

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
                    server.url("/new")
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

/// In a dispatcher of its own, with short waits.
fn dispatcher(url: &str) -> TestDispatcher {
    TestDispatcher::start(&format!(
        "[handlers.legacy]\ntype = \"endpoint\"\nurl = \"{url}\"\nallow_networks = [\"127.0.0.0/8\"]\n\
         tencent_token = \"tok\"\nattempts = 3\nbackoff = {{ first = \"5ms\", max = \"20ms\" }}\n"
    ))
}

#[tokio::test]
async fn comes_again_until_the_error_code_is_0_and_in_order() {
    let server = Server::start(Answer::ok(r#"{"ErrorCode":5}"#)).await;
    let dispatcher = dispatcher(&server.url("/cb"));
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
    let dispatcher = dispatcher(&server.url("/cb"));
    let tencent = dispatcher.tencent();
    for nth in 0..16 {
        tencent.change_attribute(&format!("group-{nth}"), nth).await;
    }
    server.wait_for(16).await;
    dispatcher.stop().await;
    assert_eq!(server.received().len(), 16);
}

#[tokio::test]
async fn while_nobody_is_there_no_attempt_is_used() {
    // A port that nobody else takes meanwhile, and that nobody listens on.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let dispatcher = dispatcher(&format!("http://{address}/cb"));
    let tencent = dispatcher.tencent();
    for nth in 0..3 {
        tencent.change_attribute("a", nth).await;
    }
    let status =
        || dispatcher.dispatcher().status().into_iter().find(|status| status.name == "handler:legacy").unwrap();
    let look = async {
        while !format!("{:?}", status().state).contains("cannot connect to") {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("it is down");
    assert_eq!((status().failed, status().dead), (0, 0));
    let listener = socket.listen(16).unwrap();
    let server = Server::serve(listener, Answer::ok(OK));
    let received = server.wait_for(3).await;
    assert_eq!(received.len(), 3);
    let look = async {
        while status().done < 3 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("it is up again");
    assert_eq!((status().failed, status().dead), (0, 0));
    dispatcher.stop().await;
}
