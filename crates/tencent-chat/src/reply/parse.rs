//! Reading a reply that somebody else wrote.

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::{ActionStatus, IllegalReply, Reply, ResultItem};

/// Longer replies are not read.
const LONGEST: usize = 1 << 20;

impl Reply {
    /// Reads a reply; whether it may be sent is for [`check`](Reply::check) to say. True with it if these very bytes say that
    /// and nothing else; members that no reply has do not count. Not so where `null` stands for what is absent, or where a
    /// refusal has what only goes with a code of 0 – a message, lists of accounts –: that is read as not there.
    ///
    /// # Errors
    /// When it is not an object of JSON with `ActionStatus`, `ErrorCode` and `ErrorInfo`, or a member is not what it should
    /// be. The error tells no value.
    pub fn parse(json: &[u8]) -> Result<(Reply, bool), IllegalReply> {
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
        let items: Option<Vec<&RawValue>> = member("ResultItem", VERDICTS, wire.results)?;
        let items: Option<Vec<ResultItem>> =
            items.map(|items| items.into_iter().map(result_item).collect()).transpose()?;
        let mut is_exact = !wire.has_null();
        let mut reply = Reply {
            action_status,
            error_info: member("ErrorInfo", "a string", wire.error_info)?.ok_or_else(|| missing("ErrorInfo"))?,
            error_code: member("ErrorCode", "an integer", wire.error_code)?.ok_or_else(|| missing("ErrorCode"))?,
            msg_body: wire.msg_body.filter(|json| !is_null(json)).map(ToOwned::to_owned),
            cloud_custom_data: member("CloudCustomData", "a string", wire.cloud_custom_data)?,
            refused_members: member("RefusedMembers_Account", "a list of strings", wire.refused_members)?,
            refused_subscribers: member("RefusedSubscribers_Account", "a list of strings", wire.refused_subscribers)?,
            results: items,
            rsp_data: member("RspData", "a string", wire.rsp_data)?,
        };
        // Some write every member always. To take such a refusal for none would let through what they mean to stop.
        if reply.error_code != 0 {
            let moot = (reply.msg_body.take().is_some(), reply.cloud_custom_data.take().is_some());
            let lists = (reply.refused_members.take().is_some(), reply.refused_subscribers.take().is_some());
            is_exact &= (moot, lists) == ((false, false), (false, false));
        }
        Ok((reply, is_exact))
    }
}

const VERDICTS: &str = "a list of verdicts";

fn result_item(json: &RawValue) -> Result<ResultItem, IllegalReply> {
    #[derive(Deserialize)]
    struct Item {
        #[serde(rename = "To_Account")]
        to_account: String,
        #[serde(rename = "ResultCode")]
        result_code: i64,
        #[serde(rename = "ResultInfo")]
        result_info: String,
    }
    // Serde would read it from a list of its members, too.
    let item = json.get().starts_with('{').then(|| serde_json::from_str::<Item>(json.get()).ok()).flatten();
    let Item { to_account, result_code, result_info } =
        item.ok_or_else(|| IllegalReply::new(format!("ResultItem is not {VERDICTS}")))?;
    Ok(ResultItem { to_account, result_code, result_info })
}

fn is_null(json: &RawValue) -> bool {
    json.get() == "null"
}

fn member<'a, T: Deserialize<'a>>(
    name: &str,
    what: &str,
    value: Option<&'a RawValue>,
) -> Result<Option<T>, IllegalReply> {
    let Some(value) = value.filter(|value| !is_null(value)) else { return Ok(None) };
    serde_json::from_str(value.get()).map(Some).map_err(|_| IllegalReply::new(format!("{name} is not {what}")))
}

fn missing(name: &str) -> IllegalReply {
    IllegalReply::new(format!("{name} is missing"))
}

/// What is written is there, `null` too.
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

impl Wire<'_> {
    fn has_null(&self) -> bool {
        let Wire {
            action_status,
            error_info,
            error_code,
            msg_body,
            cloud_custom_data,
            refused_members,
            refused_subscribers,
            results,
            rsp_data,
        } = self;
        let members = [action_status, error_info, error_code, msg_body, cloud_custom_data];
        let others = [refused_members, refused_subscribers, results, rsp_data];
        members.into_iter().chain(others).flatten().any(|json| is_null(json))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let item = ResultItem { to_account: "bo".into(), result_code: 38_001, result_info: "no".into() };
        let reply = Reply {
            error_info: "x".into(),
            msg_body: Some(RawValue::from_string(r#"[{"MsgType":"TIMTextElem","MsgContent":{}}]"#.into()).unwrap()),
            cloud_custom_data: Some("c".into()),
            refused_members: Some(vec!["a".into()]),
            refused_subscribers: Some(vec![]),
            results: Some(vec![item]),
            rsp_data: Some(String::new()),
            ..Reply::default()
        };
        let (read, is_exact) = Reply::parse(reply.to_json().as_bytes()).unwrap();
        assert!(read == reply && is_exact);
    }

    #[test]
    fn a_refusal_is_one_whatever_else_is_written() {
        for (members, is_exact) in [
            (r#""Own":[1]"#, true),
            (r#""MsgBody":null"#, false),
            (r#""MsgBody":[],"CloudCustomData":"""#, false),
            (r#""RefusedMembers_Account":["a"]"#, false),
        ] {
            let json = format!(r#"{{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1,{members}}}"#);
            let (reply, exact) = Reply::parse(json.as_bytes()).unwrap();
            assert_eq!(
                (reply.to_json(), exact),
                (r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}"#.into(), is_exact)
            );
        }
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
            (r#"{"ActionStatus":null,"ErrorCode":0,"ErrorInfo":""}"#, "ActionStatus is missing"),
            (
                r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"","ResultItem":[["a",0,""]]}"#,
                "ResultItem is not a list of verdicts",
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
