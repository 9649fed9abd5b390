//! Makes one event of each `Group.CallbackAfterGroupAttrChanged`.
//!
//! Fields, and what the operations mean: <https://www.tencentcloud.com/document/product/1047/60394>. The page's table and
//! its sample differ, so nothing but the JSON object itself is insisted on: a packet with fewer fields, or with more, is
//! an event all the same, and what this handler does not know is kept under `extra`.

use async_trait::async_trait;
use dispatcher_core::{
    Callback, HandleContext, Handler, HandlerConfig, HandlerError, NewEvent, OpenContext, OpenError, handler,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

inventory::submit! {
    handler!(GroupAttributeChangedConfig, "group-attribute-changed", ["Group.CallbackAfterGroupAttrChanged"])
}

/// The type of the events.
const EVENT_TYPE: &str = "tencent-chat.group.attributes.changed";

/// `[handlers.group-attribute-changed]`: there is nothing to set beyond what every handler has.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct GroupAttributeChangedConfig {}

#[async_trait]
impl HandlerConfig for GroupAttributeChangedConfig {
    type Handler = GroupAttributeChanged;

    async fn open(&self, _: &OpenContext) -> Result<GroupAttributeChanged, OpenError> {
        Ok(GroupAttributeChanged)
    }
}

struct GroupAttributeChanged;

#[async_trait]
impl Handler for GroupAttributeChanged {
    async fn handle(&self, callback: &Callback, _: &HandleContext) -> Result<Vec<NewEvent>, HandlerError> {
        let body: Body = callback.body()?;
        let time_source = if callback.event_time().is_some() { TimeSource::EventTime } else { TimeSource::Received };
        let mut extra = body.extra;
        extra.remove("CallbackCommand");
        // The event's own `time` says when. A value that is no time is kept, so that nothing of the packet is lost.
        if let (Some(event_time), TimeSource::Received) = (body.event_time, time_source) {
            extra.insert("EventTime".into(), event_time);
        }
        let data = GroupAttributesChanged {
            group_id: body.group_id,
            group_type: body.group_type,
            operator: body.operator,
            operation: body.operation,
            attributes: body.attributes,
            time_source,
            extra,
        };
        Ok(vec![NewEvent::new(EVENT_TYPE, &data)?])
    }
}

/// The packet. Every field may be missing; each is taken as whatever JSON it is.
#[derive(Deserialize)]
struct Body {
    #[serde(rename = "GroupId")]
    group_id: Option<Value>,
    #[serde(rename = "Type")]
    group_type: Option<Value>,
    #[serde(rename = "Operator_Account")]
    operator: Option<Value>,
    #[serde(rename = "OptionType")]
    operation: Option<Value>,
    #[serde(rename = "GroupAttr")]
    attributes: Option<Value>,
    #[serde(rename = "EventTime")]
    event_time: Option<Value>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// The data of an event. Members that the packet did not have are left out.
#[derive(Serialize)]
struct GroupAttributesChanged {
    /// The group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<Value>,
    /// Its type, by the server's names: `Public`, `Community`, … – an open list.
    #[serde(skip_serializing_if = "Option::is_none")]
    group_type: Option<Value>,
    /// The account that changed the attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<Value>,
    /// `set` replaces all attributes, `modify` adds or changes the listed ones, `delete` removes the listed ones, `clear`
    /// removes all; anything else is passed on as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<Value>,
    /// `[{ key, value }]`, as received.
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Value>,
    /// What the event's `time` is: `event_time`, Tencent's word, or `received`, when the packet had no usable time.
    time_source: TimeSource,
    /// What else the packet had.
    #[serde(skip_serializing_if = "Map::is_empty")]
    extra: Map<String, Value>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum TimeSource {
    EventTime,
    Received,
}
