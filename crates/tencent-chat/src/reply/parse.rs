//! Reading a reply that somebody else wrote.

use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::value::RawValue;

use super::{ActionStatus, IllegalReply, Reply, ResultItem};

/// Longer replies are not read.
const LONGEST: usize = 1 << 20;

impl Reply {
    /// Reads a reply. Whether it may be sent is for [`check`](Reply::check) to say. Members that no reply has are passed
    /// over, and so is their absence from [`to_json`](Reply::to_json).
    ///
    /// # Errors
    /// When it is not an object of JSON with `ActionStatus`, `ErrorCode` and `ErrorInfo`, or a member is not what it should
    /// be. The error tells no value.
    pub fn parse(json: &[u8]) -> Result<Reply, IllegalReply> {
        if json.len() > LONGEST {
            return Err(IllegalReply::new("it is longer than 1 MiB"));
        }
        // A list of its members in their order would do as well, for serde.
        if json.trim_ascii_start().starts_with(b"[") {
            return Err(IllegalReply::new("it is not an object, or has a member twice"));
        }
        let wire: Wire<'_> = serde_json::from_slice(json).map_err(|err| {
            let what = match err.classify() {
                serde_json::error::Category::Data => "it is not an object, or has a member twice",
                _ => "it is not JSON",
            };
            IllegalReply::new(what)
        })?;
        let status: String =
            member("ActionStatus", "a string", wire.action_status)?.ok_or_else(|| missing("ActionStatus"))?;
        let action_status = match status.as_str() {
            "OK" => ActionStatus::Ok,
            // Pages print either.
            "FAIL" | "FAILURE" => ActionStatus::Fail,
            _ => return Err(IllegalReply::new("ActionStatus is neither OK nor FAIL")),
        };
        let items: Option<Vec<WireItem>> = member("ResultItem", "a list of verdicts", wire.results)?;
        let item = |item: WireItem| ResultItem {
            to_account: item.to_account,
            result_code: item.result_code,
            result_info: item.result_info,
        };
        Ok(Reply {
            action_status,
            error_info: member("ErrorInfo", "a string", wire.error_info)?.ok_or_else(|| missing("ErrorInfo"))?,
            error_code: member("ErrorCode", "an integer", wire.error_code)?.ok_or_else(|| missing("ErrorCode"))?,
            msg_body: wire.msg_body.map(ToOwned::to_owned),
            cloud_custom_data: member("CloudCustomData", "a string", wire.cloud_custom_data)?,
            refused_members: member("RefusedMembers_Account", "a list of strings", wire.refused_members)?,
            refused_subscribers: member("RefusedSubscribers_Account", "a list of strings", wire.refused_subscribers)?,
            results: items.map(|items| items.into_iter().map(item).collect()),
            rsp_data: member("RspData", "a string", wire.rsp_data)?,
        })
    }
}

fn member<T: DeserializeOwned>(name: &str, what: &str, value: Option<&RawValue>) -> Result<Option<T>, IllegalReply> {
    let Some(value) = value else { return Ok(None) };
    serde_json::from_str(value.get()).map(Some).map_err(|_| IllegalReply::new(format!("{name} is not {what}")))
}

fn missing(name: &str) -> IllegalReply {
    IllegalReply::new(format!("{name} is missing"))
}

/// What is written is there, `null` too: that says something else than leaving it out.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Everything as it is written, so that what is wrong can be said of each.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default, deserialize_with = "present", rename = "ActionStatus")]
    action_status: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "ErrorInfo")]
    error_info: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "ErrorCode")]
    error_code: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "MsgBody")]
    msg_body: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "CloudCustomData")]
    cloud_custom_data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "RefusedMembers_Account")]
    refused_members: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "RefusedSubscribers_Account")]
    refused_subscribers: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "ResultItem")]
    results: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present", rename = "RspData")]
    rsp_data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WireItem {
    #[serde(rename = "To_Account")]
    to_account: String,
    #[serde(rename = "ResultCode")]
    result_code: i64,
    #[serde(rename = "ResultInfo")]
    result_info: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let item = ResultItem { to_account: "bo".into(), result_code: 38_001, result_info: "no".into() };
        let reply = Reply {
            error_info: "x".into(),
            error_code: 1,
            msg_body: Some(RawValue::from_string(r#"[{"MsgType":"TIMTextElem","MsgContent":{}}]"#.into()).unwrap()),
            cloud_custom_data: Some("c".into()),
            refused_members: Some(vec!["a".into()]),
            refused_subscribers: Some(vec![]),
            results: Some(vec![item]),
            rsp_data: Some(String::new()),
            ..Reply::default()
        };
        assert_eq!(Reply::parse(reply.to_json().as_bytes()).unwrap(), reply);
    }

    #[test]
    fn says_what_is_wrong_without_telling_values() {
        for (json, what) in [
            ("secret", "it is not JSON"),
            ("[]", "it is not an object, or has a member twice"),
            (r#"{"ErrorCode":0,"ErrorInfo":""}"#, "ActionStatus is missing"),
            (r#"{"ActionStatus":"OK","ErrorInfo":""}"#, "ErrorCode is missing"),
            (r#"{"ActionStatus":"OK","ErrorCode":0}"#, "ErrorInfo is missing"),
            (r#"{"ActionStatus":"secret","ErrorCode":0,"ErrorInfo":""}"#, "ActionStatus is neither OK nor FAIL"),
            (r#"{"ActionStatus":"OK","ErrorCode":"secret","ErrorInfo":""}"#, "ErrorCode is not an integer"),
            (
                r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorCode":1,"ErrorInfo":""}"#,
                "it is not an object, or has a member twice",
            ),
            (r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","RspData":{}}"#, "RspData is not a string"),
            (
                r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","CloudCustomData":null}"#,
                "CloudCustomData is not a string",
            ),
            (
                r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ResultItem":[{"To_Account":"secret"}]}"#,
                "ResultItem is not a list of verdicts",
            ),
        ] {
            assert_eq!(Reply::parse(json.as_bytes()).unwrap_err().to_string(), what, "{json}");
        }
    }
}
