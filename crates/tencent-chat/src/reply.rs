//! Replies that say yes or no and nothing else.
//!
//! The HTTP status is 200 either way: Tencent takes any other for a failed callback.

use serde::Serialize;

/// Allows the operation, or acknowledges the callback.
pub const OK: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0}"#;

/// Says that the receiver failed, with an error for whoever reads Tencent's side. This is not how a decision refuses:
/// that is `OK` with an error code.
pub fn failure(error_code: u32, error_info: &str) -> String {
    let failure = Failure { action_status: "FAIL", error_info, error_code };
    serde_json::to_string(&failure).expect("two strings and a number are always JSON")
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Failure<'a> {
    action_status: &'static str,
    error_info: &'a str,
    error_code: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_json_whatever_they_say() {
        for (code, info, reply) in [
            (1, "", r#"{"ActionStatus":"FAIL","ErrorInfo":"","ErrorCode":1}"#),
            (120001, "a \"b\"\\\n群", r#"{"ActionStatus":"FAIL","ErrorInfo":"a \"b\"\\\n群","ErrorCode":120001}"#),
        ] {
            assert_eq!(failure(code, info), reply);
        }
    }

    #[test]
    fn ok_has_the_members_that_are_asked_for() {
        let reply: serde_json::Value = serde_json::from_str(OK).unwrap();
        assert_eq!(reply, serde_json::json!({ "ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0 }));
    }
}
