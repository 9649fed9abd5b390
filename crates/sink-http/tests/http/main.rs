//! The HTTP sink as the dispatcher sees it, against a receiver on a real socket.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod receiver;

use std::{
    process::Command as Process,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use dispatcher_core::{
    App, Callback, CallbackId, CallbackParts, CheckContext, Command, DeliverContext, DeliveryError, Event, EventData,
    OpenContext, Outcome, Registry, Sink, SinkSettings, Takes, Timestamp,
};
use serde_json::{Value, json};
use sink_http as _;
use tencent_chat::Query;
use tokio::net::TcpListener;

use crate::receiver::{Answer, Receiver};

const SECRETS: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];

#[tokio::test]
async fn posts_cloud_events_over_one_connection() {
    let receiver = Receiver::start(|_| Answer::status(200, "", "thanks")).await;
    let url = format!("http://{}/in?a=b", receiver.address);
    let mut sink = open(json!({"url": url, "headers": {"X-Team": "chat", "User-Agent": "mine"}})).await;
    for seq in 0..3 {
        assert_eq!(deliver(&mut *sink, &[event(seq, "k")]).await, Ok(vec![Outcome::Done]));
    }
    let received = receiver.received();
    assert_eq!(received.len(), 3);
    for (seq, request) in received.iter().enumerate() {
        let event = event(seq as u64, "k");
        let mut body = Vec::new();
        event.write_json(&mut body);
        assert_eq!(request.body, body);
        assert_eq!(request.line, "POST /in?a=b HTTP/1.1");
        assert_eq!(request.header("content-type"), "application/cloudevents+json; charset=utf-8");
        assert_eq!(request.header("webhook-id"), event.idempotency_key());
        assert_eq!(request.header("x-team"), "chat");
        assert_eq!(request.header("user-agent"), "mine");
        assert_eq!(request.header("webhook-signature"), "");
        assert_eq!(request.connection, 0);
    }
}

#[tokio::test]
async fn raw_is_tencents_own_request_signed_afresh() {
    let receiver = Receiver::start(|_| Answer::status(200, "", "")).await;
    let origin = format!("http://{}", receiver.address);
    for (path, own, token) in [("/cb", "", Some("tok")), ("/cb?own=1", "own=1&", Some("tok")), ("/cb", "", None)] {
        let mut section = json!({"url": format!("{origin}{path}"), "format": "raw"});
        if let Some(token) = token {
            section["tencent_token"] = token.into();
        }
        assert_eq!(settings(&section).takes(), Takes::ForwardedOnly { because: "format = \"raw\"" });
        let mut sink = open(section).await;
        assert_eq!(deliver(&mut *sink, &[event(1, "k")]).await, Ok(vec![Outcome::Done]));

        let request = receiver.received().pop().unwrap();
        assert_eq!(request.body, BODY.as_bytes());
        assert_eq!(request.header("content-type"), "application/json");
        let query = request.target().strip_prefix("/cb?").unwrap().strip_prefix(own).unwrap();
        assert_eq!(tencent_chat::without_signature(query), QUERY);
        let parsed = Query::parse(query).unwrap();
        match token {
            Some(token) => {
                let time = parsed.request_time.unwrap();
                assert!(tencent_chat::verify(token, &time, &parsed.sign.unwrap()));
                assert!(time.parse::<i64>().unwrap() >= Timestamp::now().as_millis() / 1000 - 60);
            }
            None => assert_eq!((parsed.sign, parsed.request_time), (None, None)),
        }
    }
}

#[tokio::test]
async fn raw_refuses_what_is_no_forwarded_callback() {
    let receiver = Receiver::start(|_| Answer::status(200, "", "")).await;
    let mut sink = open(json!({"url": format!("http://{}/", receiver.address), "format": "raw"})).await;
    let mut event = event(1, "k");
    event.data = EventData::Json(Bytes::from_static(b"{}"));
    let outcomes = deliver(&mut *sink, &[event]).await.unwrap();
    assert!(matches!(&outcomes[..], [Outcome::Failed(failure)] if failure.is_permanent()), "{outcomes:?}");
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn every_webhook_secret_verifies_every_request() {
    let receiver = Receiver::start(|_| Answer::status(200, "", "")).await;
    for format in ["cloudevents", "raw"] {
        let url = format!("http://{}/", receiver.address);
        let mut sink = open(json!({"url": url, "format": format, "webhook_secrets": SECRETS})).await;
        deliver(&mut *sink, &[event(1, "k")]).await.unwrap();
        let request = receiver.received().pop().unwrap();
        for secret in SECRETS {
            standardwebhooks::Webhook::new(secret).unwrap().verify(&request.body, &request.headers).unwrap();
        }
        let other = standardwebhooks::Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        assert!(other.verify(&request.body, &request.headers).is_err());
    }
}

#[tokio::test]
async fn the_status_decides() {
    let receiver = Receiver::start(|request| {
        let status = request.target().trim_start_matches("/status/").split('?').next().unwrap().parse().unwrap();
        Answer::status(status, "", if status == 204 { "" } else { "sorry\n" })
    })
    .await;
    for (statuses, verdict) in [
        (&[200, 201, 202, 204, 299][..], "done"),
        (&[408, 425, 500, 501, 502, 504, 505, 599], "retry"),
        (&[429, 503], "down"),
        (&[410], "gone"),
        (&[300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 407, 413, 422, 499, 600, 999], "permanent"),
    ] {
        for status in statuses {
            let shown = format!("http://{}/status/{status}", receiver.address);
            let mut sink = open(json!({"url": format!("{shown}?token=hidden")})).await;
            let (got, text) = match deliver(&mut *sink, &[event(1, "k")]).await {
                Ok(outcomes) => match &outcomes[..] {
                    [Outcome::Done] => ("done", String::new()),
                    [Outcome::Failed(failure)] if failure.is_permanent() => ("permanent", failure.to_string()),
                    [Outcome::Failed(failure)] => ("retry", failure.to_string()),
                    other => panic!("{other:?}"),
                },
                Err(err) if err.is_gone() => ("gone", err.to_string()),
                Err(err) => ("down", err.to_string()),
            };
            assert_eq!(got, verdict, "on {status}: {text}");
            assert!(!text.contains("hidden"), "{text}");
            if got != "done" {
                assert!(text.starts_with(&format!("status {status} from {shown}")), "{text}");
            }
        }
    }
    let mut sink = open(json!({"url": format!("http://{}/status/422?x", receiver.address)})).await;
    let outcomes = deliver(&mut *sink, &[event(1, "k")]).await.unwrap();
    let text = format!("status 422 from http://{}/status/422: \"sorry\"", receiver.address);
    assert!(matches!(&outcomes[..], [Outcome::Failed(failure)] if failure.to_string() == text), "{outcomes:?}");
}

#[tokio::test]
async fn waits_as_long_as_retry_after_asks() {
    let in_ten_minutes = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(600));
    for (value, wait) in [("7".to_owned(), 7..=7), ("864000".to_owned(), 3600..=3600), (in_ten_minutes, 590..=600)] {
        for status in [429, 503] {
            let headers = format!("retry-after: {value}\r\n");
            let receiver = Receiver::start(move |_| Answer::status(status, &headers, "")).await;
            let mut sink = open(json!({"url": format!("http://{}/", receiver.address)})).await;
            let err = deliver(&mut *sink, &[event(1, "k")]).await.unwrap_err();
            assert!(wait.contains(&err.wait().unwrap().as_secs()), "on {value}: {:?}", err.wait());
        }
    }
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let elsewhere = Receiver::start(|_| Answer::status(200, "", "")).await;
    let location = format!("location: http://{}/new?token=hidden\r\n", elsewhere.address);
    let receiver = Receiver::start(move |_| Answer::status(307, &location, "")).await;
    let mut sink = open(json!({"url": format!("http://{}/old", receiver.address)})).await;
    let outcomes = deliver(&mut *sink, &[event(1, "k")]).await.unwrap();
    let Outcome::Failed(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert!(failure.is_permanent());
    assert_eq!(
        failure.to_string(),
        format!(
            "status 307 from http://{}/old, to http://{}/…; redirects are not followed: write the new address into `url`",
            receiver.address, elsewhere.address
        )
    );
    assert!(elsewhere.received().is_empty());
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_the_events_failure() {
    for (answer, text) in [
        (Answer::WriteAndHang(String::new()), "in time"),
        (Answer::WriteAndHang("HTTP/1.1 200 OK\r\ncontent-le".into()), "in time"),
        (Answer::WriteAndClose(String::new()), ": connection closed before message completed"),
        (Answer::WriteAndClose("HTTP/1.1 200 OK\r\ncontent-le".into()), ": connection closed before message completed"),
        (Answer::Write("what?\r\n\r\n".into()), ": invalid HTTP version parsed"),
    ] {
        let time = time_for(&answer);
        let receiver = Receiver::start(move |_| answer.clone()).await;
        let mut sink = open(json!({"url": format!("http://{}/in?token=hidden", receiver.address)})).await;
        let outcomes = deliver_within(&mut *sink, &[event(1, "k")], time).await.unwrap();
        let Outcome::Failed(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
        assert!(!failure.is_permanent(), "{failure}");
        let shown = failure.to_string();
        assert!(shown.starts_with(&format!("no answer from http://{}/in", receiver.address)), "{shown}");
        assert!(shown.ends_with(text) && !shown.contains("hidden"), "{shown}");
    }
}

#[tokio::test]
async fn the_status_counts_even_if_the_body_never_ends() {
    let head = |status: u16, rest: &str| format!("HTTP/1.1 {status} X\r\n{rest}\r\n");
    for (answer, done) in [
        (Answer::WriteAndHang(head(200, "content-length: 10\r\n")), true),
        (Answer::WriteAndHang(head(500, "content-length: 10\r\n")), false),
        (Answer::WriteAndClose(head(200, "content-length: 10\r\n") + "half"), true),
        (Answer::WriteForEver(head(200, "")), true),
        (Answer::WriteForEver(head(200, "content-length: 100000000000\r\n")), true),
        (Answer::WriteForEver(head(500, "")), false),
    ] {
        let time = time_for(&answer);
        let receiver = Receiver::start(move |_| answer.clone()).await;
        let mut sink = open(json!({"url": format!("http://{}/", receiver.address)})).await;
        for _ in 0..2 {
            let outcomes = deliver_within(&mut *sink, &[event(1, "k")], time).await.unwrap();
            assert_eq!(outcomes[0] == Outcome::Done, done, "{outcomes:?}");
        }
        assert_eq!(receiver.received().len(), 2);
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_idle_costs_nothing() {
    let receiver =
        Receiver::start(|_| Answer::WriteAndClose("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".into())).await;
    let mut sink = open(json!({"url": format!("http://{}/", receiver.address)})).await;
    for seq in 0..5 {
        assert_eq!(deliver(&mut *sink, &[event(seq, "k")]).await, Ok(vec![Outcome::Done]));
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_cannot_be_connected_to_is_down() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap(); // Closed at once.
    let mut sink = open(json!({"url": format!("http://{nobody}/in?token=hidden")})).await;
    let err = deliver(&mut *sink, &[event(1, "k")]).await.unwrap_err();
    assert!(!err.is_gone());
    assert_eq!(err.to_string(), format!("cannot connect to http://{nobody}/in: Connection refused (os error 111)"));
}

#[tokio::test]
async fn a_connection_that_is_not_made_in_time_is_down() {
    // A listener that accepts nothing, with its queue full: the kernel leaves further connections unanswered.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(Ok(stream)) =
        tokio::time::timeout(Duration::from_millis(200), tokio::net::TcpStream::connect(address)).await
    {
        queued.push(stream);
    }
    let mut sink = open(json!({"url": format!("http://{address}/"), "connect_timeout": "100ms"})).await;
    let err = deliver(&mut *sink, &[event(1, "k")]).await.unwrap_err();
    assert!(err.to_string().starts_with(&format!("cannot connect to http://{address}/: ")), "{err}");
}

#[tokio::test]
async fn no_error_repeats_what_was_sent() {
    let echo = Receiver::start(|request| {
        let (path, query) = request.target().split_once('?').unwrap();
        let said = match path {
            "/header" => request.header("authorization"),
            "/query" => query,
            _ => str::from_utf8(&request.body).unwrap(),
        };
        Answer::status(400, "", &format!("no: {said}"))
    })
    .await;
    for (format, path) in
        ["header", "query", "body"].into_iter().flat_map(|path| [("cloudevents", path), ("raw", path)])
    {
        let mut section = json!({
            "url": format!("http://{}/{path}?key=url-secret-0001", echo.address),
            "format": format,
            "headers": {"Authorization": "Bearer header-secret"},
            "webhook_secrets": SECRETS,
        });
        if format == "raw" {
            section["tencent_token"] = "tencent-secret".into();
        }
        let mut sink = open(section).await;
        let outcomes = deliver(&mut *sink, &[event(1, "k")]).await.unwrap();
        let Outcome::Failed(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
        assert_eq!(
            failure.to_string(),
            format!("status 400 from http://{}/{path}: \"no: …\"", echo.address),
            "{format}"
        );
    }
}

#[tokio::test]
async fn a_batch_keeps_the_order_of_each_key() {
    let receiver = Receiver::start(|request| {
        let event: Value = serde_json::from_slice(&request.body).unwrap();
        match event["subject"].as_str() {
            Some("bad") => Answer::status(422, "", ""),
            Some("shaky") => Answer::status(500, "", ""),
            Some("down") => Answer::status(503, "", ""),
            _ => Answer::status(200, "", ""),
        }
    })
    .await;
    let mut sink = open(json!({"url": format!("http://{}/", receiver.address)})).await;
    let mut other_app = event(4, "bad");
    let mut parts = parts();
    parts.app = App::new(2, "other");
    other_app.callback = Arc::new(Callback::new(parts));
    let mut keyless = event(5, "");
    keyless.key = None;
    let batch =
        [event(1, "bad"), event(2, "fine"), event(3, "bad"), other_app, keyless, event(6, "shaky"), event(7, "shaky")];
    let outcomes = deliver(&mut *sink, &batch).await.unwrap();
    let kinds: Vec<&str> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Outcome::Done => "done",
            Outcome::Failed(_) => "failed",
            Outcome::NotTried => "not tried",
        })
        .collect();
    assert_eq!(kinds, ["failed", "done", "not tried", "failed", "done", "failed", "not tried"]);

    let outcomes = deliver(&mut *sink, &[event(8, "a"), event(9, "down"), event(10, "b")]).await.unwrap();
    assert_eq!(outcomes, [Outcome::Done, Outcome::NotTried, Outcome::NotTried]);
    assert!(deliver(&mut *sink, &[event(9, "down"), event(10, "b")]).await.is_err());
}

#[tokio::test]
async fn only_the_first_of_a_batch_fails_for_want_of_time() {
    let receiver = Receiver::start(|request| {
        let event: Value = serde_json::from_slice(&request.body).unwrap();
        if event["subject"] == "slow" { Answer::WriteAndHang(String::new()) } else { Answer::status(200, "", "") }
    })
    .await;
    let mut sink = open(json!({"url": format!("http://{}/", receiver.address)})).await;
    let time = Duration::from_secs(1);
    let outcomes = deliver_within(&mut *sink, &[event(1, "a"), event(2, "slow"), event(3, "b")], time).await.unwrap();
    assert_eq!(outcomes, [Outcome::Done, Outcome::NotTried, Outcome::NotTried]);
    let outcomes = deliver_within(&mut *sink, &[event(2, "slow")], time).await.unwrap();
    assert!(matches!(outcomes[0], Outcome::Failed(_)));
}

#[tokio::test]
async fn goes_through_a_proxy_only_when_configured() {
    let proxy = Receiver::start(|request| {
        let refused = request.header("proxy-authorization").is_empty();
        if refused { Answer::status(407, "", "") } else { Answer::status(200, "", "") }
    })
    .await;
    let url = "http://receiver.example/in";
    let with = |userinfo: &str| json!({"url": url, "proxy": format!("http://{userinfo}{}", proxy.address)});
    let mut sink = open(with("user:pass@")).await;
    assert_eq!(deliver(&mut *sink, &[event(1, "k")]).await, Ok(vec![Outcome::Done]));
    assert_eq!(proxy.received()[0].target(), url);
    let mut sink = open(with("")).await;
    let err = deliver(&mut *sink, &[event(1, "k")]).await.unwrap_err();
    assert_eq!(err.to_string(), format!("status 407 from {url}; the proxy wants credentials: write them into `proxy`"));
}

/// In a process of its own: the environment of this one belongs to all its threads.
#[test]
fn the_environments_proxy_is_not_obeyed() {
    const CHILD: &str = "SINK_HTTP_TEST_PROXIED";
    if std::env::var_os(CHILD).is_some() {
        return block_on(async {
            let receiver = Receiver::start(|_| Answer::status(200, "", "")).await;
            for host in ["127.0.0.1", "localhost"] {
                let mut sink = open(json!({"url": format!("http://{host}:{}/", receiver.address.port())})).await;
                assert_eq!(deliver(&mut *sink, &[event(1, "k")]).await, Ok(vec![Outcome::Done]));
            }
        });
    }
    // Port 9 discards; nobody listens there, and whoever obeyed it would fail to connect.
    run_again("the_environments_proxy_is_not_obeyed", |child| {
        child.env(CHILD, "1");
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
            child.env(name, "http://127.0.0.1:9");
        }
        child.env_remove("no_proxy").env_remove("NO_PROXY").env_remove("REQUEST_METHOD");
    });
}

/// In a process of its own, for `SSL_CERT_FILE` names the trusted roots.
#[test]
fn speaks_tls_with_whom_the_system_trusts() {
    const CHILD: &str = "SINK_HTTP_TEST_TLS_KEY";
    if let Some(folder) = std::env::var_os(CHILD) {
        let file = |name: &str| std::fs::read(std::path::Path::new(&folder).join(name)).unwrap();
        let certificate = tokio_rustls::rustls::pki_types::CertificateDer::from(file("trusted.der"));
        let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(file("trusted.key")).unwrap();
        return block_on(async {
            let acceptor = acceptor(certificate, key);
            let receiver = Receiver::start_with(|_| Answer::status(200, "", ""), Some(acceptor)).await;
            let mut sink = open(json!({"url": format!("https://localhost:{}/in", receiver.address.port())})).await;
            for seq in 0..2 {
                assert_eq!(deliver(&mut *sink, &[event(seq, "k")]).await, Ok(vec![Outcome::Done]));
            }
            assert_eq!(receiver.received()[1].connection, 0);

            let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
            let key = stranger.signing_key.serialize_der().try_into().unwrap();
            let acceptor = self::acceptor(stranger.cert.der().clone(), key);
            let receiver = Receiver::start_with(|_| Answer::status(200, "", ""), Some(acceptor)).await;
            let mut sink = open(json!({"url": format!("https://localhost:{}/in", receiver.address.port())})).await;
            let err = deliver(&mut *sink, &[event(1, "k")]).await.unwrap_err();
            assert!(err.to_string().contains("invalid peer certificate"), "{err}");
            assert!(receiver.received().is_empty());

            // Waits for a request's end and answers no handshake: the connection is never made.
            let plain = Receiver::start(|_| Answer::status(200, "", "")).await;
            let url = format!("https://localhost:{}/in", plain.address.port());
            let mut sink = open(json!({"url": url, "connect_timeout": "100ms"})).await;
            let err = deliver(&mut *sink, &[event(1, "k")]).await.unwrap_err();
            assert!(err.to_string().starts_with(&format!("cannot connect to {url}: ")), "{err}");
        });
    }
    let folder = tempfile::TempDir::new().unwrap();
    let trusted = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, trusted.cert.pem()).unwrap();
    std::fs::write(folder.path().join("trusted.der"), trusted.cert.der()).unwrap();
    std::fs::write(folder.path().join("trusted.key"), trusted.signing_key.serialize_der()).unwrap();
    run_again("speaks_tls_with_whom_the_system_trusts", |child| {
        child.env(CHILD, folder.path()).env("SSL_CERT_FILE", &roots).env_remove("SSL_CERT_DIR");
    });
}

#[test]
fn checking_finds_everything_and_shows_no_secret() {
    let ok = "https://receiver.example/in";
    for (section, findings) in [
        (json!({"url": ok}), vec![]),
        (json!({"url": "http://127.0.0.1:9000/in", "allow_networks": ["127.0.0.0/8"]}), vec![]),
        (json!({"url": "http://127.0.0.1:9000/in", "allow_networks": ["127.0.0.1"]}), vec![]),
        (json!({"url": "http://localhost:9000/in", "allow_networks": ["127.0.0.0/8"]}), vec![]),
        (
            json!({"url": "http://2130706433:9000/in?token=hidden"}),
            vec!["url: 127.0.0.1 is not a public address; if it is meant, write allow_networks = [\"127.0.0.1/32\"]"],
        ),
        (
            json!({"url": "http://[::ffff:10.0.0.1]/in"}),
            vec![
                "url: [::ffff:a00:1] is not a public address; if it is meant, write allow_networks = [\"::ffff:10.0.0.1/128\"]",
            ],
        ),
        (
            json!({"url": "http://localhost/in", "allow_networks": ["10.0.0.0/8"]}),
            vec!["url: localhost is not a public address; if it is meant, write allow_networks = [\"127.0.0.0/8\"]"],
        ),
        (
            json!({"url": "hidden"}),
            vec!["url: not a URL: relative URL without a base; write one such as \"https://example.com/in\""],
        ),
        (json!({"url": "ftp://example.com/hidden"}), vec!["url: has to begin with http:// or https://"]),
        (
            json!({"url": "https://user:hidden@example.com/"}),
            vec![
                "url: holds a user or password; write them into `headers`, such as Authorization = \"Basic \
                 ${CREDENTIALS}\", which are never shown",
            ],
        ),
        (
            json!({
                "url": ok,
                "tencent_token": "hidden",
                "headers": {"Content-Type": "hidden", "Webhook-Id": "hidden", "a b": "hidden", "x": "hid\nden", "Y": "1", "y": "2"},
                "webhook_secrets": [SECRETS[0], "whsec_hidden!"],
                "proxy": "hidden",
                "connect_timeout": "0s",
            }),
            vec![
                "tencent_token: signs nothing but format = \"raw\"; for CloudEvents write webhook_secrets",
                "headers.Content-Type: is set by the sink itself; leave it out",
                "headers.Webhook-Id: is set by the sink itself; leave it out",
                "headers.a b: not a header name; write letters, digits and hyphens, such as \"X-Team\"",
                "headers.x: its value has characters that no header can have; write visible ASCII and blanks",
                "headers.y: is there twice, in two spellings; leave one",
                "webhook_secrets.[1]: not a webhook secret; write \"whsec_\" and base64 of 24 to 64 random bytes",
                "proxy: not the URL of a proxy; write one such as \"http://proxy.example:3128\"",
                "connect_timeout: no connection is made in no time; write \"5s\"",
            ],
        ),
    ] {
        let found = settings(&section).check(&CheckContext::default()).err().unwrap_or_default();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), findings, "on {section}");
    }
}

#[tokio::test]
async fn does_not_open_what_the_check_refuses() {
    let err = settings(&json!({"url": "http://0x7f.1/"})).open(&OpenContext::new("relay", 0)).await.err().unwrap();
    assert_eq!(
        err.to_string(),
        "url: 127.0.0.1 is not a public address; if it is meant, write allow_networks = [\"127.0.0.1/32\"]"
    );
}

#[test]
fn a_wrong_network_is_named() {
    let plugin = Registry::collect(&[]).unwrap().sink("http").unwrap();
    let section = json!({"url": "http://127.0.0.1/", "allow_networks": ["10.0.0.0/8", "10.0.0.0/33"]});
    assert_eq!(
        plugin.decode(&section).err().unwrap().to_string(),
        "allow_networks.[1]: \"10.0.0.0/33\" is not a network; write an address and a length, such as \"10.0.0.0/8\""
    );
}

const QUERY: &str =
    "SdkAppid=1400000001&CallbackCommand=Group.CallbackAfterSendMsg&contenttype=json&ClientIP=203.0.113.7";
const BODY: &str = "{ \"GroupId\" : \"@TGS#1\",\r\n \"MsgBody\":[{\"Text\":\"群 \\u7fa4 message-contents\"}] }";

fn parts() -> CallbackParts {
    CallbackParts {
        id: CallbackId::from_bytes([7; 16]),
        app: App::new(1_400_000_001, "main"),
        command: Command::new("Group.CallbackAfterSendMsg"),
        query: QUERY.into(),
        body: Bytes::from_static(BODY.as_bytes()),
        received_at: Timestamp::from_millis(0),
        event_time: None,
        key: None,
        identity: Some(0xabc),
    }
}

fn event(seq: u64, key: &str) -> Event {
    Event {
        seq,
        handler: "everything".into(),
        n: 0,
        event_type: "tencent-chat.callback.Group.CallbackAfterSendMsg".into(),
        key: Some(key.into()),
        time: Timestamp::from_millis(1_764_000_000_007),
        data: EventData::Callback,
        callback: Arc::new(Callback::new(parts())),
        replay: false,
    }
}

fn settings(section: &Value) -> Arc<dyn SinkSettings> {
    let plugin = Registry::collect(&[]).unwrap().sink("http").unwrap();
    plugin.decode(section).map_err(|err| err.to_string()).unwrap()
}

/// Opens one lane that may connect to this machine.
async fn open(mut section: Value) -> Box<dyn Sink> {
    section["allow_networks"] = json!(["127.0.0.0/8"]);
    settings(&section).open(&OpenContext::new("relay", 0)).await.unwrap()
}

async fn deliver(sink: &mut dyn Sink, batch: &[Event]) -> Result<Vec<Outcome>, DeliveryError> {
    deliver_within(sink, batch, Duration::from_secs(60)).await
}

async fn deliver_within(sink: &mut dyn Sink, batch: &[Event], time: Duration) -> Result<Vec<Outcome>, DeliveryError> {
    let cx = DeliverContext { deadline: Instant::now() + time, attempt: 1 };
    sink.deliver(batch, &cx).await.map(|outcomes| outcomes.into_vec(batch.len()))
}

/// Time enough for everything but an answer that never comes, which takes all of it.
fn time_for(answer: &Answer) -> Duration {
    if matches!(answer, Answer::WriteAndHang(_)) { Duration::from_secs(1) } else { Duration::from_secs(60) }
}

fn block_on(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// Runs one test of this program again, in a process of its own.
#[track_caller]
fn run_again(test: &str, prepare: impl FnOnce(&mut Process)) {
    let mut child = Process::new(std::env::current_exe().unwrap());
    child.args(["--exact", test, "--nocapture"]);
    prepare(&mut child);
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"), "no such test: {test}");
}

fn acceptor(
    certificate: tokio_rustls::rustls::pki_types::CertificateDer<'static>,
    key: tokio_rustls::rustls::pki_types::PrivateKeyDer<'static>,
) -> tokio_rustls::TlsAcceptor {
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    Arc::new(config).into()
}
