//! The callbacks that are sent, and how they are recognised at the far end.

use serde::Deserialize;
use serde_json::Value;

use crate::history::Delivery;

/// How many keys there are.
pub(crate) const KEYS: usize = 24;

const COMMAND: &str = "Group.CallbackAfterGroupAttrChanged";

/// The app in the requests and in the configuration.
pub(crate) const APP: u64 = 1_400_000_001;

/// A whole request. The same number and key make the same bytes, which is what makes a repeat.
pub(crate) fn request(number: u64, key: usize) -> Vec<u8> {
    // Mostly small; some span pages of the journal, so that rows are torn, too.
    let pad = match number % 16 {
        0 => 12_000 + number as usize % 5_000,
        1..=3 => 1_500,
        _ => 40,
    };
    let pad = "x".repeat(pad);
    let event_time = 1_700_000_000_000 + number;
    let body = format!(
        r#"{{"CallbackCommand":"{COMMAND}","GroupId":"group-{key}","Type":"Public","Operator_Account":"stage","OptionType":"modify","GroupAttr":[{{"key":"{pad}","value":"{number}"}}],"EventTime":{event_time}}}"#
    );
    let head = format!(
        "POST /callback?SdkAppid={APP}&CallbackCommand={COMMAND}&contenttype=json&ClientIP=203.0.113.9&OptPlatform=iOS \
         HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let mut request = head.into_bytes();
    request.extend_from_slice(body.as_bytes());
    request
}

/// What is read of a CloudEvents object.
#[derive(Deserialize)]
struct Event {
    id: String,
    subject: String,
    data: Value,
}

/// Whose event this is; whether the receiver takes it is up to that. `None` for what is none of ours.
pub(crate) fn recognise(json: &[u8], is_taken: bool) -> Option<Delivery> {
    let Event { id, subject, data } = serde_json::from_slice(json).ok()?;
    let key = subject.strip_prefix("group-")?.parse().ok()?;
    let attributes = data.get("GroupAttr").or_else(|| data.get("attributes"))?;
    let number = number(attributes)?;
    Some(Delivery { number, key, event: id, is_taken, is_chance: false })
}

/// The number of a callback as Tencent would have sent it.
pub(crate) fn number_in(body: &str) -> Option<u64> {
    let body: Value = serde_json::from_str(body).ok()?;
    number(body.get("GroupAttr")?)
}

fn number(attributes: &Value) -> Option<u64> {
    attributes.get(0)?.get("value")?.as_str()?.parse().ok()
}
