//! Makes one event of each `Group.CallbackAfterGroupAttrChanged`.
//!
//! Fields, and what the operations mean: <https://www.tencentcloud.com/document/product/1047/60394>. The page's table and
//! its sample differ, so nothing but the JSON object itself is insisted on: a packet with fewer fields, or with more, is
//! an event all the same, and what this handler does not know is kept under `extra`.

use std::{borrow::Cow, collections::BTreeMap};

use async_trait::async_trait;
use dispatcher_core::{
    Callback, HandleContext, Handler, HandlerConfig, HandlerError, NewEvent, OpenContext, OpenError, handler,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

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
        // Whatever a member is, it is passed on as it was written: nothing is insisted on, and no value is decoded.
        let mut members: BTreeMap<Cow<'_, str>, &RawValue> = callback.body()?;
        members.remove("CallbackCommand");
        let has_event_time = callback.event_time().is_some();
        if has_event_time {
            // The event's own `time` says it. A value that is no time stays, so that nothing of the packet is lost.
            members.remove("EventTime");
        }
        let data = GroupAttributesChanged {
            group_id: members.remove("GroupId"),
            group_type: members.remove("Type"),
            operator: members.remove("Operator_Account"),
            operation: members.remove("OptionType"),
            attributes: members.remove("GroupAttr").filter(|attributes| attributes.get() != "null"),
            time_source: if has_event_time { TimeSource::EventTime } else { TimeSource::Received },
            extra: members,
        };
        Ok(vec![NewEvent::new(EVENT_TYPE, &data)?])
    }
}

/// The data of an event. Members that the packet did not have are left out.
#[derive(Serialize)]
struct GroupAttributesChanged<'a> {
    /// The group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a RawValue>,
    /// Its type, by the server's names: `Public`, `Community`, … – an open list.
    #[serde(skip_serializing_if = "Option::is_none")]
    group_type: Option<&'a RawValue>,
    /// The account that changed the attributes.
    #[serde(skip_serializing_if = "Option::is_none")]
    operator: Option<&'a RawValue>,
    /// `set` replaces all attributes, `modify` adds or changes the listed ones, `delete` removes the listed ones, `clear`
    /// removes all; anything else is passed on as it came.
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<&'a RawValue>,
    /// `[{ key, value }]`, as received.
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<&'a RawValue>,
    /// What the event's `time` is: `event_time`, Tencent's word, or `received`, when the packet had no usable time.
    time_source: TimeSource,
    /// What else the packet had.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<Cow<'a, str>, &'a RawValue>,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum TimeSource {
    EventTime,
    Received,
}
