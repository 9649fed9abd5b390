//! What the handler makes of packets as documented, and of others.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::time::{Duration, Instant};

use dispatcher_core::{Event, HandleContext, HandlerError};
use dispatcher_testkit::{callback, check_handler, events, open_handler};
use handler_group_attribute_changed as _;
use serde_json::{Value, json};

const COMMAND: &str = "Group.CallbackAfterGroupAttrChanged";

async fn try_to_handle(body: &str) -> Result<Event, HandlerError> {
    let callback = callback(COMMAND, body);
    let handler = open_handler("group-attribute-changed", json!({})).await;
    let cx = HandleContext { deadline: Instant::now() + Duration::from_secs(60), attempt: 1, replay: false };
    let new = handler.handle(&callback, &cx).await?;
    assert_eq!(new.len(), 1);
    Ok(events(1, "group-attribute-changed", &callback, &new).remove(0))
}

async fn handle(body: &str) -> Event {
    try_to_handle(body).await.unwrap()
}

fn data(event: &Event) -> Value {
    serde_json::from_slice(event.data_json()).unwrap()
}

#[tokio::test]
async fn keeps_the_contract_of_handlers() {
    check_handler("group-attribute-changed", json!({}), env!("CARGO_MANIFEST_DIR")).await;
}

#[tokio::test]
async fn a_packet_as_documented_becomes_an_event() {
    // EventTime as a string and as a number: both are published.
    for event_time in ["\"1767000000123\"", "1767000000123"] {
        let event = handle(&format!(
            r#"{{"CallbackCommand":"{COMMAND}","GroupId":"@TGS#1","Type":"Public","Operator_Account":"mara",
                "OptionType":"set","GroupAttr":[{{"key":"a","value":"1"}}],"EventTime":{event_time}}}"#
        ))
        .await;
        assert_eq!(&*event.event_type, "tencent-chat.group.attributes.changed");
        assert_eq!(event.key.as_deref(), Some("@TGS#1"));
        assert_eq!(event.time.as_millis(), 1_767_000_000_123);
        assert_eq!(
            data(&event),
            json!({
                "group_id": "@TGS#1",
                "group_type": "Public",
                "operator": "mara",
                "operation": "set",
                "attributes": [{ "key": "a", "value": "1" }],
                "time_source": "event_time",
            })
        );
    }
}

#[tokio::test]
async fn packets_with_fewer_or_more_fields_are_events_too() {
    for (body, expected) in [
        ("{}", json!({ "time_source": "received" })),
        (r#"{"GroupId":"g"}"#, json!({ "group_id": "g", "time_source": "received" })),
        (
            r#"{"GroupId":"g","OptionType":"merge","TopicId":"t","New":{"deep":[1]}}"#,
            json!({
                "group_id": "g",
                "operation": "merge",
                "time_source": "received",
                "extra": { "TopicId": "t", "New": { "deep": [1] } },
            }),
        ),
        (
            r#"{"GroupId":"g","GroupAttr":null,"OptionType":"clear"}"#,
            json!({ "group_id": "g", "operation": "clear", "time_source": "received" }),
        ),
        (
            r#"{"GroupAttr":[{"key":"a","value":"1","since":7},{}]}"#,
            json!({ "attributes": [{ "key": "a", "value": "1", "since": 7 }, {}], "time_source": "received" }),
        ),
        (
            r#"{"GroupId":"g","EventTime":-5}"#,
            json!({ "group_id": "g", "time_source": "received", "extra": { "EventTime": -5 } }),
        ),
    ] {
        assert_eq!(data(&handle(body).await), expected, "of {body}");
    }
}

#[tokio::test]
async fn a_field_of_another_kind_is_a_permanent_failure_that_says_where() {
    for (body, expected) in [
        (
            r#"{"GroupId":"g","EventTime":"yesterday"}"#,
            "Group.CallbackAfterGroupAttrChanged: the body does not fit at EventTime: \
             expected an integer, as a number or in quotes, found a string that is none",
        ),
        (
            r#"{"GroupAttr":[{"key":"a"},{"key":1}]}"#,
            "Group.CallbackAfterGroupAttrChanged: the body does not fit at GroupAttr[1].key: \
             expected a string, found a number",
        ),
    ] {
        let failure = try_to_handle(body).await.unwrap_err().into_failure();
        assert_eq!(failure.to_string(), expected);
        assert!(failure.is_permanent());
    }
}
