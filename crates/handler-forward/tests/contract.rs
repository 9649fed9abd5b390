//! What the handler promises, on the samples of all commands.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use dispatcher_testkit::{check_handler, events, open_handler, sample};
use handler_forward as _;

#[tokio::test]
async fn keeps_the_contract_of_handlers() {
    check_handler("forward", serde_json::json!({}), env!("CARGO_MANIFEST_DIR")).await;
}

#[tokio::test]
async fn passes_a_callback_on_byte_for_byte() {
    let callback = sample("Push.OfflinePush");
    let handler = open_handler("forward", serde_json::json!({})).await;
    let cx = dispatcher_core::HandleContext {
        deadline: std::time::Instant::now() + dispatcher_testkit::PATIENCE,
        attempt: 1,
        replay: false,
    };
    let new = handler.handle(&callback, &cx).await.unwrap();
    let events = events(1, "everything", &callback, &new);
    assert_eq!(events.len(), 1);
    assert_eq!(&*events[0].event_type, "tencent-chat.callback.Push.OfflinePush");
    assert_eq!(events[0].data_json(), callback.body_bytes());
    assert!(events[0].is_forwarded());
}
