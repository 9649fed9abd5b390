//! In a whole dispatcher: what Tencent is answered.

use dispatcher_testkit::{Control, TestDispatcher};
use serde_json::Value;
use tokio::sync::watch;

use crate::{
    MESSAGE,
    server::{Answer, OK, Server},
};

fn start(server: &Server, more: &str) -> TestDispatcher {
    TestDispatcher::start(&format!(
        "[handlers.moderation]\ntype = \"endpoint\"\nurl = \"{}\"\nallow_networks = [\"127.0.0.0/8\"]\n{more}",
        server.url("/cb")
    ))
}

async fn ask(dispatcher: &TestDispatcher) -> String {
    let reply = dispatcher.tencent().send(MESSAGE, tencent_chat::command(MESSAGE).unwrap().sample).await;
    assert_eq!(reply.status, 200);
    reply.text
}

#[tokio::test]
async fn tencent_gets_what_the_endpoint_wrote_and_the_default_where_it_wrote_nothing_legal() {
    let reply = " {\t\"ErrorCode\" : 120007,\"ErrorInfo\":\"\\u7fa4 not here\", \"ActionStatus\":\"OK\" }\n";
    let server = Server::start(Answer::ok(reply)).await;
    let dispatcher = start(&server, "commands = [\"C2C.*\"]\nif_failed = \"refuse\"\n");
    assert_eq!(ask(&dispatcher).await, reply);
    for answer in [Answer::status(500), Answer::ok("no"), Answer::Reset] {
        server.answer(answer);
        let refused: Value = serde_json::from_str(&ask(&dispatcher).await).unwrap();
        assert_eq!(refused["ErrorCode"], 1);
    }
    server.answer(Answer::ok(reply));
    assert_eq!(ask(&dispatcher).await, reply);
    // It was asked, and is not told.
    assert_eq!(server.received().len(), 5);
    dispatcher.stop().await;
}

#[tokio::test]
async fn a_verdict_that_comes_late_reaches_the_teams_systems() {
    let (tell, told) = watch::channel(false);
    let server =
        Server::start(Answer::WhenTold(told, r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}"#.into())).await;
    let dispatcher = start(
        &server,
        "timeout = \"300ms\"\nlate_wait = \"60s\"\nemit = [\"late\"]\nsinks = [\"repair\"]\n\
         [sinks.repair]\ntype = \"misbehaving\"\ncontrol = \"repair\"\n",
    );
    assert_eq!(ask(&dispatcher).await, OK, "the default");
    tell.send(true).unwrap();
    assert_eq!(Control::named("repair").wait_for(1).await.len(), 1);
    dispatcher.stop().await;
}
