//! What the check finds, and where it may connect.

use dispatcher_core::{CheckContext, OpenContext, Registry};
use dispatcher_testkit::sample;
use serde_json::json;

use crate::{
    MESSAGE, decide, handle,
    server::{Answer, OK, Server},
    settings,
};

#[test]
fn checking_finds_everything_and_shows_no_secret() {
    for (section, findings) in [
        (json!({"url": "https://moderation.example/cb"}), vec![]),
        (json!({"url": "http://10.1.2.3/cb", "allow_networks": ["10.0.0.0/8"], "tencent_token": "tok"}), vec![]),
        (
            json!({"url": "http://10.1.2.3/cb"}),
            vec!["url: 10.1.2.3 is not a public address; if it is meant, write allow_networks = [\"10.1.2.3/32\"]"],
        ),
        (
            json!({
                "url": "ftp://secret:secret@moderation.example",
                "format": "cloudevents",
                "tencent_token": "secret",
                "headers": {"Content-Type": "secret", "a b": "secret"},
                "connect_timeout": "0s",
            }),
            vec![
                "url: has to begin with http:// or https://",
                "tencent_token: signs nothing but format = \"raw\"; for CloudEvents write a header into `headers`",
                "headers.Content-Type: is set by the handler itself; leave it out",
                "headers.a b: not a header name; write letters, digits and hyphens, such as \"X-Team\"",
                "connect_timeout: no connection is made in no time; write \"1s\"",
            ],
        ),
    ] {
        let found = settings(&section).check(&CheckContext::default()).err().unwrap_or_default();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), findings, "on {section}");
    }
}

#[tokio::test]
async fn private_addresses_are_refused_unless_they_are_allowed() {
    let server = Server::start(Answer::ok(OK)).await;
    for host in ["127.0.0.1", "0x7f.1", "[::ffff:127.0.0.1]", "localhost"] {
        let section = json!({"url": format!("http://{host}:{}/", server.address.port())});
        let err = settings(&section).open(&OpenContext::new("moderation", 0)).await.err().unwrap();
        assert!(err.to_string().contains("is not a public address; if it is meant, write allow_networks"), "{err}");
    }
    // One address of a name may pass and another not: what it leads to is judged, and only the one that may is connected to.
    let url = format!("http://localhost:{}/", server.address.port());
    let section = json!({"url": url, "allow_networks": ["127.0.0.0/8"]});
    let handler = settings(&section).open(&OpenContext::new("moderation", 0)).await.unwrap();
    decide(&*handler, &sample(MESSAGE)).await.unwrap();
    let section = json!({"url": url, "allow_networks": ["::1"]});
    let handler = settings(&section).open(&OpenContext::new("moderation", 0)).await.unwrap();
    decide(&*handler, &sample(MESSAGE)).await.unwrap_err();
    let err = handle(&*handler, &sample("C2C.CallbackAfterSendMsg")).await.unwrap_err();
    assert!(err.is_down(), "{err}");
    assert_eq!(server.received().len(), 1);
}

#[test]
fn it_waits_for_others_and_has_lanes_for_that() {
    let plugin = Registry::collect(&[]).unwrap().handler("endpoint").unwrap();
    assert_eq!(plugin.lanes, Some(16));
    assert!(plugin.role.decides() && plugin.role.handles());
}
