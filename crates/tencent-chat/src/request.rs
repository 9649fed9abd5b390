//! The query string from the sender's side: for tests, for trying a receiver out, and for passing a callback on.

use std::fmt::Write;

use crate::{sign, without_signature};

/// The query string that Tencent would append to the callback URL, without a `?`. `sign_with` is the token and the time
/// in Unix seconds; `client_ip` and `opt_platform` are missing for some commands.
pub fn query_string(
    sdk_app_id: u64,
    command: &str,
    client_ip: Option<&str>,
    opt_platform: Option<&str>,
    sign_with: Option<(&str, u64)>,
) -> String {
    let mut query = format!("SdkAppid={sdk_app_id}&CallbackCommand=");
    push_encoded(&mut query, command);
    query.push_str("&contenttype=json");
    for (name, value) in [("ClientIP", client_ip), ("OptPlatform", opt_platform)] {
        if let Some(value) = value {
            query.push('&');
            query.push_str(name);
            query.push('=');
            push_encoded(&mut query, value);
        }
    }
    if let Some((token, request_time)) = sign_with {
        push_signature(&mut query, token, request_time);
    }
    query
}

/// The query string signed with another token and time; a signature that it has is replaced, the rest stays as it is.
pub fn resign(raw_query: &str, token: &str, request_time: u64) -> String {
    let mut query = without_signature(raw_query).into_owned();
    push_signature(&mut query, token, request_time);
    query
}

fn push_signature(query: &mut String, token: &str, request_time: u64) {
    if !query.is_empty() {
        query.push('&');
    }
    let request_time = request_time.to_string();
    let sign = sign(token, &request_time);
    write!(query, "Sign={sign}&RequestTime={request_time}").expect("a String takes all that is written");
}

/// Everything but letters, digits and `-._~` becomes `%XX`.
fn push_encoded(query: &mut String, value: &str) {
    for byte in value.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => query.push(byte.into()),
            other => write!(query, "%{other:02X}").expect("a String takes all that is written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Query, verify};

    #[test]
    fn writes_what_tencent_appends() {
        let query = query_string(1400000123, "Group.CallbackAfterSendMsg", Some("203.0.113.7"), Some("iOS"), None);
        assert_eq!(
            query,
            "SdkAppid=1400000123&CallbackCommand=Group.CallbackAfterSendMsg&contenttype=json\
                &ClientIP=203.0.113.7&OptPlatform=iOS"
        );
        assert_eq!(
            query_string(1, "A&B 群", None, None, None),
            "SdkAppid=1&CallbackCommand=A%26B%20%E7%BE%A4&contenttype=json"
        );
    }

    #[test]
    fn what_it_writes_can_be_read_and_verified() {
        let raw = query_string(7, "a=b&c+%群", Some("::1"), None, Some(("secret", 1_700_000_000)));
        let query = Query::parse(&raw).unwrap();
        assert_eq!((query.command.as_deref(), query.client_ip.as_deref()), (Some("a=b&c+%群"), Some("::1")));
        assert!(verify("secret", &query.request_time.unwrap(), &query.sign.unwrap()));
    }

    #[test]
    fn signs_afresh() {
        let sign = sign("new", "12");
        for (raw, rest) in [("a=%zz&b", "a=%zz&b&"), ("Sign=old&a=1&RequestTime=3", "a=1&"), ("", "")] {
            assert_eq!(resign(raw, "new", 12), format!("{rest}Sign={sign}&RequestTime=12"), "{raw:?}");
        }
    }
}
