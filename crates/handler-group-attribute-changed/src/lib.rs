//! Makes one event of each `Group.CallbackAfterGroupAttrChanged`.
//!
//! Fields, and what the operations mean: <https://www.tencentcloud.com/document/product/1047/60394>. The page's table and
//! its sample differ, so no field is insisted on: a packet with fewer fields, or with more, is an event all the same, and
//! what its type does not know is kept under `extra`. A field of another kind than documented is not guessed at: such a
//! packet becomes a dead letter of this handler.

use async_trait::async_trait;
use dispatcher_core::{
    Callback, HandleContext, Handler, HandlerConfig, HandlerError, NewEvent, OpenContext, OpenError, handler,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tencent_chat::{
    Text,
    group::{AfterGroupAttrChanged, GroupAttr, GroupType, OptionType},
};

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
        let body: AfterGroupAttrChanged<'_> = callback.body()?;
        let mut extra = body.extra;
        let time_source = match (callback.event_time(), body.event_time) {
            // The event's own `time` says it.
            (Some(_), _) => TimeSource::EventTime,
            (None, event_time) => {
                // What is no time stays, so that nothing of the packet is lost.
                extra.extend(event_time.map(|number| ("EventTime".to_owned(), number.into())));
                TimeSource::Received
            }
        };
        let data = GroupAttributesChanged {
            group_id: body.group_id,
            group_type: body.group_type,
            operator: body.operator_account,
            operation: body.option_type,
            attributes: body.group_attr,
            time_source,
            extra,
        };
        Ok(vec![NewEvent::new(EVENT_TYPE, &data)?])
    }
}

/// The data of an event. Members that the packet did not have are left out.
#[derive(Serialize)]
struct GroupAttributesChanged<'a> {
    /// The group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<Text<'a>>,
    /// Its type, by the server's names: `Public`, `Community`, … – an open list.
    #[serde(skip_serializing_if = "Option::is_none")]
    group_type: Option<GroupType>,
    /// The account that changed the attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<Text<'a>>,
    /// `set` replaces all attributes, `modify` adds or changes the listed ones, `delete` removes the listed ones, `clear`
    /// removes all; anything else is passed on as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<OptionType>,
    /// `[{ key, value }]`, as received.
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<Vec<GroupAttr<'a>>>,
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
