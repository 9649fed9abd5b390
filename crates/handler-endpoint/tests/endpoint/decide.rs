//! Callbacks that want a decision.

use std::time::{Duration, Instant};

use dispatcher_core::{Callback, DecideContext, Decision, Handler, HandlerError, OpenContext, Purpose};
use dispatcher_testkit::{PATIENCE, sample};
use serde_json::{Value, json};
use tencent_chat::{Query, ReplyFamily, decision_rules, targets};
use tokio::{net::TcpListener, sync::watch};

use crate::{
    MESSAGE, decide, decide_within, open,
    server::{Answer, OK, Server},
};

fn reply(code: i64, rest: &str) -> String {
    format!(r#"{{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":{code}{rest}}}"#)
}

/// Legal replies to the sample of a command, at least one of each kind.
fn legal(command: &str, callback: &Callback) -> Vec<String> {
    let rules = decision_rules(command).unwrap();
    let named = targets(rules.family, callback.body_bytes());
    let mut replies = Vec::new();
    if !matches!(rules.family, ReplyFamily::FriendRequest | ReplyFamily::Signal) {
        replies = vec![
            OK.to_owned(),
            reply(1, ""),
            // Odd spacing, and members that nobody knows.
            " {\n\t\"ErrorCode\" : 1 , \"x\":[1.50, null],\"ErrorInfo\":\"\\u7fa4 群\", \"ActionStatus\":\"FAIL\" }\r\n".to_owned(),
        ];
        let codes = rules.custom_codes.iter().flat_map(|codes| [*codes.start(), *codes.end()]);
        replies.extend(codes.map(|code| reply(code.into(), "")));
    }
    match rules.family {
        ReplyFamily::Message => replies.extend([
            reply(2, ""),
            format!("{OK}{}", " ".repeat(64 * 1024 - OK.len())), // As long as one may be.
            reply(0, r#","CloudCustomData":"mine""#),
            reply(0, r#","MsgBody":[{"MsgType":"TIMTextElem" ,"MsgContent":{"Text":"***","more":1.0}}]"#),
        ]),
        ReplyFamily::Invitation => {
            replies.push(reply(0, &format!(r#","RefusedMembers_Account":{}"#, json!([named[0]]))))
        }
        ReplyFamily::Subscription => {
            replies.push(reply(0, &format!(r#","RefusedSubscribers_Account":{}"#, json!(named))))
        }
        ReplyFamily::FriendRequest => {
            for code in [0, 38_000, 39_000] {
                let item = |account: &String| json!({"To_Account": account, "ResultCode": code, "ResultInfo": "no"});
                let items: Vec<Value> = named.iter().map(item).collect();
                replies.push(reply(0, &format!(r#","ResultItem":{}"#, json!(items))));
            }
        }
        ReplyFamily::Signal => replies.extend([reply(0, r#","RspData":"""#), reply(0, r#","RspData":"{\"a\":1}""#)]),
        ReplyFamily::Operation => {}
    }
    replies
}

#[tokio::test]
async fn legal_replies_of_every_command_pass_on_byte_for_byte() {
    let server = Server::start(Answer::ok(OK)).await;
    let handler = open(json!({"url": server.url("/cb")})).await;
    let mut n_asked = 0;
    for info in tencent_chat::commands().iter().filter(|info| info.wants_decision()) {
        let callback = sample(info.name);
        for reply in legal(info.name, &callback) {
            server.answer(Answer::ok(&reply));
            let decision = decide(&*handler, &callback).await.unwrap_or_else(|err| panic!("{}: {err}", info.name));
            assert_eq!(decision.raw_reply().unwrap(), reply.as_bytes(), "{}", info.name);
            n_asked += 1;
        }
    }
    let received = server.received();
    assert_eq!(received.len(), n_asked);
    assert!(received.iter().all(|request| request.connection == 0), "over one connection");
}

#[tokio::test]
async fn asks_with_tencents_own_request_signed_afresh() {
    let server = Server::start(Answer::ok(OK)).await;
    let callback = sample(MESSAGE);
    for (path, own, token) in [("/cb", "", Some("tok")), ("/cb?own=1", "own=1&", Some("tok")), ("/cb", "", None)] {
        let mut section = json!({"url": server.url(path), "headers": {"X-Team": "chat"}});
        if let Some(token) = token {
            section["tencent_token"] = token.into();
        }
        decide(&*open(section).await, &callback).await.unwrap();
        let request = server.received().pop().unwrap();
        assert_eq!(request.body, callback.body_bytes()[..]);
        assert_eq!(request.path, "/cb");
        assert_eq!(request.header("content-type"), "application/json");
        assert_eq!(request.header("x-team"), "chat");
        assert!(request.header("webhook-id").ends_with(".moderation.0"), "{}", request.header("webhook-id"));
        let query = request.query.strip_prefix(own).unwrap();
        assert_eq!(tencent_chat::without_signature(query), callback.query());
        let parsed = Query::parse(query).unwrap();
        match token {
            Some(token) => assert!(tencent_chat::verify(token, &parsed.request_time.unwrap(), &parsed.sign.unwrap())),
            None => assert_eq!((parsed.sign, parsed.request_time), (None, None)),
        }
    }
}

#[tokio::test]
async fn asks_with_a_cloud_event_that_is_in_no_journal() {
    let server = Server::start(Answer::ok(OK)).await;
    let handler = open(json!({"url": server.url("/in?a=b"), "format": "cloudevents"})).await;
    let callback = sample(MESSAGE);
    assert_eq!(decide(&*handler, &callback).await.unwrap().raw_reply().unwrap(), OK.as_bytes());
    let request = server.received().pop().unwrap();
    assert_eq!((&*request.path, &*request.query), ("/in", "a=b"));
    assert_eq!(request.header("content-type"), "application/cloudevents+json; charset=utf-8");
    let event: Value = serde_json::from_slice(&request.body).unwrap();
    assert_eq!(event["type"], format!("tencent-chat.callback.{MESSAGE}"));
    assert_eq!(event["id"], format!("{}.moderation.0", callback.id()));
    assert_eq!(event["idempotencykey"], request.header("webhook-id"));
    assert_eq!(event["data"], serde_json::from_slice::<Value>(callback.body_bytes()).unwrap());
    assert_eq!(event["clientip"], "203.0.113.7");
    assert_eq!(event.get("sequence"), None);
}

#[tokio::test]
async fn anything_else_is_a_failure_that_tells_no_contents() {
    let server = Server::start(Answer::ok(OK)).await;
    let url = server.url("/cb");
    let long = format!(r#"{}{}"#, OK, " ".repeat(64 * 1024));
    let friends = sample("Sns.CallbackPrevFriendAdd");
    let message = sample(MESSAGE);
    for (callback, answer, what) in [
        (&message, Answer::status(500), format!("status 500 from {url}")),
        (&message, Answer::status(404), format!("status 404 from {url}")),
        (&message, Answer::Reply(201, "", OK.to_owned()), format!("status 201 from {url}")),
        (&message, Answer::status(204), format!("status 204 from {url}")),
        (
            &message,
            Answer::Reply(302, "location: http://elsewhere.example/new?secret\r\n", String::new()),
            format!(
                "status 302 from {url}, to http://elsewhere.example/…; redirects are not followed: write the new address \
                 into `url`"
            ),
        ),
        (&message, Answer::ok("secret"), format!("the reply from {url} is not legal: it is not JSON")),
        (&message, Answer::ok(""), format!("the reply from {url} is not legal: it is not JSON")),
        (
            &message,
            Answer::ok(&reply(7, r#","secret":1"#)),
            format!(
                "the reply from {url} is not legal: ErrorCode 7 means nothing here; known are 0, 1, 2, and 120001 to 130000 for \
                 codes of your own"
            ),
        ),
        (
            &message,
            Answer::ok(&reply(0, r#","MsgBody":[]"#)),
            format!("the reply from {url} is not legal: MsgBody is empty; leave it out to keep the message as it is"),
        ),
        (
            &friends,
            Answer::ok(OK),
            format!("the reply from {url} is not legal: ResultItem is missing: it has a verdict on each target"),
        ),
        (&message, Answer::ok(&long), format!("the reply from {url} is longer than 64 KiB")),
        (
            &message,
            Answer::Close("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n{\"secret"),
            format!("the reply from {url} breaks off"),
        ),
        (&message, Answer::Close(""), format!("no answer from {url}: ")),
        (&message, Answer::Reset, format!("no answer from {url}: ")),
    ] {
        server.answer(answer);
        // A handler of its own each time: its failures would add up.
        let handler = open(json!({"url": server.url("/cb?key=secret"), "headers": {"x": "secret"}})).await;
        let err = decide(&*handler, callback).await.unwrap_err().to_string();
        assert!(if what.ends_with(": ") { err.starts_with(&what) } else { err == what }, "{err}\nis not\n{what}");
        assert!(!err.contains("secret"), "{err}");
        server.answer(Answer::ok(OK));
        decide(&*handler, &message).await.unwrap();
    }
}

#[tokio::test]
async fn many_are_asked_about_at_once() {
    let n = 64;
    let server = Server::start(Answer::WhenAsked(n, OK.to_owned())).await;
    let handler = open(json!({"url": server.url("/")})).await;
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..n {
        let handler = handler.clone();
        asked.spawn(async move { decide(&*handler, &sample(MESSAGE)).await.map(drop) });
    }
    while let Some(decided) = asked.join_next().await {
        decided.unwrap().unwrap();
    }
    assert_eq!(server.received().len(), n);
}

#[tokio::test]
async fn a_verdict_that_comes_late_is_still_told_and_counts_as_a_failure() {
    let (tell, told) = watch::channel(false);
    let server = Server::start(Answer::WhenTold(told, reply(1, ""))).await;
    let handler = open(json!({"url": server.url("/")})).await;
    let mut late = tokio::task::JoinSet::new();
    let deadline = Instant::now() + Duration::from_millis(500);
    for _ in 0..5 {
        let handler = handler.clone();
        late.spawn(async move {
            let cx = DecideContext { deadline, purpose: Purpose::Answer };
            let decision = handler.decide(&sample(MESSAGE), &cx).await;
            (decision, Instant::now())
        });
    }
    tokio::time::sleep_until(deadline.into()).await;
    tell.send(true).unwrap();
    while let Some(ended) = late.join_next().await {
        let (decision, at) = ended.unwrap();
        assert!(at >= deadline);
        assert_eq!(decision.unwrap().unwrap().raw_reply().unwrap(), reply(1, "").as_bytes());
    }
    let err = decide(&*handler, &sample(MESSAGE)).await.unwrap_err().to_string();
    assert!(err.contains("failed 5 times in a row, the last: no answer from ") && err.contains(" in time"), "{err}");
}

#[tokio::test]
async fn hanging_calls_that_are_dropped_count_as_well() {
    for text in ["", "HTTP/1.1 200 OK\r\ncontent-len", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"] {
        let server = Server::start(Answer::Hang(text)).await;
        let handler = open(json!({"url": server.url("/")})).await;
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..5 {
            let handler = handler.clone();
            calls.spawn(async move {
                let time = Duration::from_millis(200);
                let callback = sample(MESSAGE);
                let call = decide_within(&*handler, &callback, time);
                tokio::time::timeout(time * 2, call).await
            });
        }
        while let Some(dropped) = calls.join_next().await {
            assert!(dropped.unwrap().is_err(), "it goes on until it is dropped");
        }
        let err = decide(&*handler, &sample(MESSAGE)).await.unwrap_err().to_string();
        assert!(err.contains("failed 5 times in a row"), "{err}");
    }
}

#[tokio::test]
async fn who_fails_is_left_alone_and_found_to_work_again_by_copies() {
    let server = Server::start(Answer::status(500)).await;
    let handler = open(json!({"url": server.url("/"), "tencent_token": "tok"})).await;
    for _ in 0..5 {
        decide(&*handler, &sample(MESSAGE)).await.unwrap_err();
    }
    // The copies are held: whoever waited for one would wait for ever.
    let (tell, told) = watch::channel(false);
    server.answer(Answer::WhenTold(told, reply(1, "")));
    let mut kept = Vec::new();
    while server.received().len() < 6 {
        kept.push(sample(MESSAGE));
        let err = decide(&*handler, kept.last().unwrap()).await.unwrap_err().to_string();
        let url = server.url("/");
        assert_eq!(
            err,
            format!(
                "{url} failed 5 times in a row, the last: status 500 from {url}; it is asked again by itself in the background"
            )
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let copy = server.received().pop().unwrap();
    let asked: Vec<String> = kept.iter().map(|callback| format!("{}.moderation.0", callback.id())).collect();
    assert!(asked.contains(&copy.header("webhook-id").to_owned()), "a real callback");
    assert_eq!(copy.body, kept[0].body_bytes()[..]);
    let query = Query::parse(&copy.query).unwrap();
    assert!(tencent_chat::verify("tok", &query.request_time.unwrap(), &query.sign.unwrap()));
    // One at a time.
    decide(&*handler, &sample(MESSAGE)).await.unwrap_err();
    assert_eq!(server.received().len(), 6);

    server.answer(Answer::ok(OK));
    tell.send(true).unwrap();
    let decided = until_decided(&*handler).await;
    assert_eq!(decided.raw_reply().unwrap(), OK.as_bytes(), "its own, and not that of the copy");
    assert_eq!(server.received().len(), 7);
}

#[tokio::test]
async fn who_cannot_be_connected_to_is_left_alone() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap(); // Closed at once.
    let url = format!("http://{address}/");
    let handler = open(json!({"url": url})).await;
    for n in 0..8 {
        let err = decide(&*handler, &sample(MESSAGE)).await.unwrap_err().to_string();
        let refused = format!("cannot connect to {url}: Connection refused (os error 111)");
        match n {
            0..5 => assert_eq!(err, refused),
            _ => assert!(err.starts_with(&format!("{url} failed ")) && err.contains(&refused), "{err}"),
        }
    }
}

#[tokio::test]
async fn a_success_in_between_keeps_it_asked() {
    let server = Server::start(Answer::status(500)).await;
    let handler = open(json!({"url": server.url("/")})).await;
    for _ in 0..4 {
        for answer in [Answer::status(500), Answer::ok("no"), Answer::Reset, Answer::Close("")] {
            server.answer(answer);
            decide(&*handler, &sample(MESSAGE)).await.unwrap_err();
        }
        server.answer(Answer::ok(OK));
        decide(&*handler, &sample(MESSAGE)).await.unwrap();
    }
}

#[tokio::test]
async fn a_command_that_it_does_not_understand_costs_the_others_nothing() {
    let server = Server::start(Answer::ok(OK)).await;
    let handler = open(json!({"url": server.url("/")})).await;
    for _ in 0..8 {
        let err = decide(&*handler, &sample("Sns.CallbackPrevFriendAdd")).await.unwrap_err().to_string();
        assert!(err.ends_with("ResultItem is missing: it has a verdict on each target"), "{err}");
    }
    decide(&*handler, &sample(MESSAGE)).await.unwrap();
    assert_eq!(server.received().len(), 9);
}

#[tokio::test]
async fn calls_with_hardly_any_time_do_not_count_against_it() {
    let server = Server::start(Answer::Hang("")).await;
    let cx = OpenContext::new("moderation", 0).with_timeout(PATIENCE);
    let section = json!({"url": server.url("/"), "allow_networks": ["127.0.0.0/8"]});
    let handler = crate::settings(&section).open(&cx).await.unwrap();
    for _ in 0..8 {
        let (time, callback) = (Duration::from_millis(50), sample(MESSAGE));
        let call = tokio::time::timeout(time * 2, decide_within(&*handler, &callback, time)).await;
        assert!(call.is_err(), "it goes on until it is dropped");
    }
    server.answer(Answer::ok(OK));
    decide(&*handler, &sample(MESSAGE)).await.unwrap();
}

#[tokio::test]
async fn a_backtest_asks_nobody_and_a_shadow_does() {
    let server = Server::start(Answer::ok(OK)).await;
    let handler = open(json!({"url": server.url("/")})).await;
    let callback = sample(MESSAGE);
    let with = |purpose| DecideContext { deadline: Instant::now() + PATIENCE, purpose };
    let err = handler.decide(&callback, &with(Purpose::Backtest)).await.unwrap_err();
    assert_eq!(err.to_string(), "asking an endpoint has effects there; a backtest cannot");
    let late = DecideContext { deadline: Instant::now(), purpose: Purpose::Answer };
    let err = handler.decide(&callback, &late).await.unwrap_err();
    assert_eq!(err.to_string(), format!("no time was left to ask {}", server.url("/")));
    let after = sample("C2C.CallbackAfterSendMsg");
    assert!(handler.decide(&after, &with(Purpose::Answer)).await.unwrap().is_none());
    assert!(server.received().is_empty());
    handler.decide(&callback, &with(Purpose::Shadow)).await.unwrap();
    assert_eq!(server.received().len(), 1);
}

async fn until_decided(handler: &dyn Handler) -> Decision {
    let look = async {
        loop {
            let decided: Result<Decision, HandlerError> = decide(handler, &sample(MESSAGE)).await;
            if let Ok(decision) = decided {
                return decision;
            }
            // The breaker has no bell; this polls it, and asserts nothing about the time it takes.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.expect("it is asked again")
}
