//! The query string that Tencent appends to the callback URL.
//!
//! Names are matched without regard to case: the pages spell `SdkAppid` in three ways. Which parameters a callback must
//! have is for the caller to say; Tencent leaves out `ClientIP` and `OptPlatform` for some commands, and `Sign` and
//! `RequestTime` come only once a token is set.

use std::{borrow::Cow, error, fmt, iter};

/// The parameters that mean something; the others are ignored. A parameter with an empty value counts as missing.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Query<'a> {
    /// `SdkAppid`: the app.
    pub sdk_app_id: Option<Cow<'a, str>>,
    /// `CallbackCommand`: the command.
    pub command: Option<Cow<'a, str>>,
    /// `Sign`: what [`verify`](crate::verify) checks.
    pub sign: Option<Cow<'a, str>>,
    /// `RequestTime`: Unix seconds, as received, for the signature covers these digits.
    pub request_time: Option<Cow<'a, str>>,
    /// `ClientIP`: the address of the user's device.
    pub client_ip: Option<Cow<'a, str>>,
    /// `OptPlatform`: the platform of the user's device, or `RESTAPI`. The list is open.
    pub opt_platform: Option<Cow<'a, str>>,
    /// `RequestID`: equal when Tencent sends the same callback again. Published for customer-service callbacks only.
    pub request_id: Option<Cow<'a, str>>,
}

/// Why a query string cannot be trusted. Names the parameter, never its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryError {
    /// This parameter occurs twice, and two readers of the query need not take the same one.
    Twice(&'static str),
    /// The value of this parameter is not percent-encoded UTF-8.
    BadEncoding(&'static str),
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            QueryError::Twice(name) => write!(f, "query parameter {name} occurs twice; send it once"),
            QueryError::BadEncoding(name) => {
                write!(
                    f,
                    "query parameter {name} is not percent-encoded UTF-8; write each such byte as % and two hex digits"
                )
            }
        }
    }
}

impl error::Error for QueryError {}

/// `Sign` with its `RequestTime` opens the door for a minute, so `Sign` is not shown.
impl fmt::Debug for Query<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Query")
            .field("sdk_app_id", &self.sdk_app_id)
            .field("command", &self.command)
            .field("sign", &self.sign.as_ref().map(|_| format_args!("..")))
            .field("request_time", &self.request_time)
            .field("client_ip", &self.client_ip)
            .field("opt_platform", &self.opt_platform)
            .field("request_id", &self.request_id)
            .finish()
    }
}

impl<'a> Query<'a> {
    /// Reads the query string, without its `?`, in one pass. Values that need no decoding are borrowed.
    ///
    /// # Errors
    ///
    /// One of our parameters occurs twice, empty or not, or its value cannot be decoded. What other parameters say, and
    /// how, does not matter.
    pub fn parse(raw: &'a str) -> Result<Query<'a>, QueryError> {
        let mut query = Query::default();
        let mut seen = 0_u8; // A bit for each of our parameters, since an empty one leaves no trace in `query`.
        for (name, value, _) in parameters(raw) {
            let Some((bit, name, field)) = query.field(name) else { continue };
            if seen & bit != 0 {
                return Err(QueryError::Twice(name));
            }
            seen |= bit;
            if !value.is_empty() {
                *field = Some(decoded(value).ok_or(QueryError::BadEncoding(name))?);
            }
        }
        Ok(query)
    }

    /// Where the value of a parameter belongs, with its bit and its published spelling.
    fn field(&mut self, name: &str) -> Option<(u8, &'static str, &mut Option<Cow<'a, str>>)> {
        // By length first: most parameters that are not ours cost no comparison of text.
        let (bit, published, field) = match name.len() {
            4 => (1, "Sign", &mut self.sign),
            8 if is(name, "SdkAppid") => (1 << 1, "SdkAppid", &mut self.sdk_app_id),
            8 => (1 << 2, "ClientIP", &mut self.client_ip),
            9 => (1 << 3, "RequestID", &mut self.request_id),
            11 if is(name, "RequestTime") => (1 << 4, "RequestTime", &mut self.request_time),
            11 => (1 << 5, "OptPlatform", &mut self.opt_platform),
            15 => (1 << 6, "CallbackCommand", &mut self.command),
            _ => return None,
        };
        is(name, published).then_some((bit, published, field))
    }
}

/// The query string without `Sign` and `RequestTime`, in any case; the rest unchanged, byte for byte and in its order.
pub fn without_signature(raw: &str) -> Cow<'_, str> {
    let mut rest: Option<String> = None; // From the first that is left out.
    let mut at = 0;
    for (name, _, parameter) in parameters(raw) {
        match &mut rest {
            _ if is(name, "Sign") || is(name, "RequestTime") => {
                rest.get_or_insert_with(|| {
                    let mut before = String::with_capacity(raw.len());
                    before.push_str(&raw[..at]);
                    before
                });
            }
            Some(rest) => {
                rest.push_str(parameter);
                rest.push('&');
            }
            None => at += parameter.len() + 1,
        }
    }
    match rest {
        None => Cow::Borrowed(raw),
        Some(mut rest) => {
            rest.pop(); // The last `&`: all that are kept have one behind them.
            Cow::Owned(rest)
        }
    }
}

/// Each parameter's name, value (empty where there is none), and the whole of it.
fn parameters(raw: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    let mut rest = Some(raw);
    iter::from_fn(move || {
        let raw = rest?;
        let bytes = raw.as_bytes();
        // Names are so short that looking at each byte is faster than calling what looks at many; values are not.
        let name = bytes.iter().position(|&byte| byte == b'=' || byte == b'&').unwrap_or(bytes.len());
        let end = match bytes.get(name) {
            Some(b'=') => memchr::memchr(b'&', &bytes[name..]).map_or(bytes.len(), |at| name + at),
            _ => name,
        };
        rest = raw.get(end + 1..);
        Some((&raw[..name], raw.get(name + 1..end).unwrap_or(""), &raw[..end]))
    })
}

fn is(name: &str, published: &str) -> bool {
    name.eq_ignore_ascii_case(published)
}

/// The value behind its percent-encoding; none where that is broken or hides something other than UTF-8.
fn decoded(value: &str) -> Option<Cow<'_, str>> {
    let Some(plain) = memchr::memchr2(b'%', b'+', value.as_bytes()) else {
        return Some(Cow::Borrowed(value));
    };
    let (plain, encoded) = value.as_bytes().split_at(plain);
    let mut bytes = Vec::with_capacity(value.len());
    bytes.extend_from_slice(plain);
    let mut encoded = encoded.iter();
    while let Some(&byte) = encoded.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => hex_digit(*encoded.next()?)? << 4 | hex_digit(*encoded.next()?)?,
            other => other,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// The value of one hexadecimal digit of either case.
pub(crate) fn hex_digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FULL: &str = "SdkAppid=1400000123&CallbackCommand=Group.CallbackAfterSendMsg&contenttype=json\
        &ClientIP=203.0.113.7&OptPlatform=Android&RequestID=r-1&Sign=ab12&RequestTime=1700000000";

    #[test]
    fn reads_every_parameter_without_copying() {
        let query = Query::parse(FULL).unwrap();
        let Query { sdk_app_id, command, sign, request_time, client_ip, opt_platform, request_id } = query;
        for (value, expected) in [
            (sdk_app_id, "1400000123"),
            (command, "Group.CallbackAfterSendMsg"),
            (sign, "ab12"),
            (request_time, "1700000000"),
            (client_ip, "203.0.113.7"),
            (opt_platform, "Android"),
            (request_id, "r-1"),
        ] {
            assert!(matches!(value, Some(Cow::Borrowed(text)) if text == expected), "{value:?}, not {expected:?}");
        }
    }

    #[test]
    fn reads_names_of_any_case() {
        let query =
            Query::parse("SDKAppID=1&callbackcommand=A.B&SIGN=x&requesttime=2&clientip=c&optPlatform=o&RequestId=r");
        let expected =
            Query::parse("SdkAppid=1&CallbackCommand=A.B&Sign=x&RequestTime=2&ClientIP=c&OptPlatform=o&RequestID=r");
        assert_eq!(query, expected);
    }

    #[test]
    fn decodes_values() {
        for (raw, command) in [
            ("CallbackCommand=A.B", Some("A.B")),
            ("CallbackCommand=A%2eB", Some("A.B")),
            ("CallbackCommand=A%2EB+c", Some("A.B c")),
            ("CallbackCommand=%E7%BE%A4", Some("群")),
            ("CallbackCommand=a=b", Some("a=b")),
            ("CallbackCommand=", None),
            ("CallbackCommand", None),
            ("", None),
            ("&&=&=x", None),
            ("NoCommand=%zz&abcd=%&%=%", None),
        ] {
            let query = Query::parse(raw).unwrap();
            assert_eq!(query.command.as_deref(), command, "{raw:?}");
        }
    }

    #[test]
    fn refuses_what_can_be_read_in_two_ways() {
        for (raw, error) in [
            ("Sign=a&Sign=a", QueryError::Twice("Sign")),
            ("Sign=a&sign=b", QueryError::Twice("Sign")),
            ("SdkAppid=&SDKAppID=1", QueryError::Twice("SdkAppid")),
            ("CallbackCommand&CallbackCommand=A", QueryError::Twice("CallbackCommand")),
            ("ClientIP=%", QueryError::BadEncoding("ClientIP")),
            ("ClientIP=%4", QueryError::BadEncoding("ClientIP")),
            ("ClientIP=%4g", QueryError::BadEncoding("ClientIP")),
            ("ClientIP=%+4", QueryError::BadEncoding("ClientIP")),
            ("requestid=%ff", QueryError::BadEncoding("RequestID")),
        ] {
            assert_eq!(Query::parse(raw), Err(error), "{raw:?}");
        }
    }

    #[test]
    fn errors_say_what_to_do() {
        assert_eq!(QueryError::Twice("Sign").to_string(), "query parameter Sign occurs twice; send it once");
        assert_eq!(
            QueryError::BadEncoding("ClientIP").to_string(),
            "query parameter ClientIP is not percent-encoded UTF-8; write each such byte as % and two hex digits"
        );
    }

    #[test]
    fn takes_out_the_signature_and_nothing_else() {
        for (raw, rest) in [
            (FULL, FULL.split_once("&Sign").unwrap().0),
            ("Sign=a&SdkAppid=1&RequestTime=2&x=%zz&&y", "SdkAppid=1&x=%zz&&y"),
            ("sIGN=a&b=2&REQUESTTIME=3", "b=2"),
            ("Sign&RequestTime", ""),
            ("Signed=1&RequestTimes=2&xSign=3", "Signed=1&RequestTimes=2&xSign=3"),
            ("", ""),
            ("a=1&", "a=1&"),
        ] {
            assert_eq!(without_signature(raw), rest, "{raw:?}");
        }
        assert!(matches!(without_signature("a=1&b=2"), Cow::Borrowed(_)));
    }

    #[test]
    fn debug_hides_the_signature() {
        let shown = format!("{:?}", Query::parse(FULL).unwrap());
        assert!(!shown.contains("ab12") && shown.contains("203.0.113.7"), "{shown}");
    }

    proptest! {
        #[test]
        fn reads_anything_without_a_panic(
            raw in "([A-Za-z=&%+0-9群]|Sign|CallbackCommand=|%[0-9a-f]{2}){0,40}|\\PC{0,80}",
        ) {
            let _ = Query::parse(&raw);
            let rest = without_signature(&raw);
            let read_again = Query::parse(&rest).map(|query| (query.sign, query.request_time));
            prop_assert!(matches!(read_again, Ok((None, None)) | Err(_)));
            prop_assert_eq!(without_signature(&rest), rest.clone());
        }
    }
}
