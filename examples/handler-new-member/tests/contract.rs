//! The handler, alone and in a running dispatcher.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use dispatcher_testkit::{Control, TestDispatcher, check_handler};
use handler_new_member as _;
use serde_json::json;

#[tokio::test]
async fn keeps_the_contract_of_handlers() {
    check_handler("new-member", json!({}), env!("CARGO_MANIFEST_DIR")).await;
}

#[tokio::test]
async fn each_new_member_becomes_an_event_in_a_running_dispatcher() {
    let dispatcher = TestDispatcher::start(
        "[handlers.new-member]\nignore = [\"bot\"]\nsinks = [\"test\"]\n[sinks.test]\ntype = \"misbehaving\"\ncontrol = \
         \"new-member\"\n",
    );
    let body = json!({
        "GroupId": "g",
        "JoinType": "Invited",
        "NewMemberList": [{ "Member_Account": "ada" }, { "Member_Account": "bot" }, { "Member_Account": "lin" }],
    });
    let tencent = dispatcher.tencent();
    tencent.send("Group.CallbackAfterNewMemberJoin", &body.to_string()).await.expect_ok();
    let ids = Control::named("new-member").wait_for(2).await;
    assert!(ids[0].ends_with(".new-member.0") && ids[1].ends_with(".new-member.1"), "{ids:?}");
    dispatcher.stop().await;
}
