//! The requests that are sent: one buffer for each part of the traffic, built once, in which a few digits change.
//!
//! Every request is a callback of its own: `EventTime`, and of messages the key, counts up, over 1,000 groups or senders in
//! turn, and another generator that loads the same journal is another operator. Equal bytes would measure only how repeats
//! are dropped.

use std::{
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};

use crate::traffic::Kind;

/// The SDKAppID in the requests and in the dispatcher's configuration.
pub(crate) const APP: u32 = 1_400_000_001;

/// The token that signs the requests; not a secret.
pub(crate) const TOKEN: &str = "token-of-the-benchmark";

/// What every message says: 300 bytes, as a long message of a person has.
pub(crate) const TEXT: &str = "The second rehearsal is at seven, not at half past six as it says on the notice board. Please \
     bring the parts for the slow movement, and a pencil: there are new bowings from bar forty on. Whoever comes by ferry \
     should take the one at twenty to six, since the later one does not run on Thursdays. Bye.";

const N_KEYS: u64 = 1_000;
const A_DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A complete HTTP request that turns into the next callback in place.
pub(crate) struct Request {
    bytes: Vec<u8>,
    sign_at: usize,
    request_time_at: usize,
    numbers: Vec<Number>,
    n_made: u64,
    signed_at: u64,
}

/// Digits that are another number in each request.
struct Number {
    at: usize,
    n_digits: usize,
    first: u64,
    /// It starts again after so many.
    n_different: u64,
}

/// JSON in the making, with the places of the numbers in it.
#[derive(Default)]
struct Body {
    text: String,
    numbers: Vec<Number>,
}

impl Body {
    fn text(mut self, text: &str) -> Self {
        self.text += text;
        self
    }

    fn number(mut self, n_digits: usize, first: u64, n_different: u64) -> Self {
        self.numbers.push(Number { at: self.text.len(), n_digits, first, n_different });
        self.text += &"0".repeat(n_digits);
        self
    }

    /// One of the keys that order is kept within.
    fn key(self) -> Self {
        self.number(4, 0, N_KEYS)
    }

    fn attributes_changed(first_event_time: u64) -> Self {
        // Ids of processes have seven digits at most.
        let operator = format!(r#"","Type":"Public","Operator_Account":"manager-{:07}","#, process::id());
        Self::default()
            .text(r#"{"CallbackCommand":"Group.CallbackAfterGroupAttrChanged","GroupId":"@TGS#2bench"#)
            .key()
            .text(&operator)
            .text(r#""OptionType":"modify","GroupAttr":[{"key":"programme","value":"second rehearsal at seven"},"#)
            .text(r#"{"key":"seats_left","value":"128"}],"EventTime":"#)
            .number(13, first_event_time, u64::MAX)
            .text("}")
    }

    fn message(sender: &str, first_event_time: u64) -> Self {
        let ids = format!(r#"","To_Account":"mara-{:07}","MsgSeq":"#, process::id());
        Self::default()
            .text(r#"{"CallbackCommand":"C2C.CallbackBeforeSendMsg","From_Account":""#)
            .text(sender)
            .text("-")
            .key()
            .text(&ids)
            .number(10, 1_000_000_000, u64::MAX)
            .text(r#","MsgRandom":2967310455,"MsgTime":1767313120,"MsgKey":""#)
            .number(10, 1_000_000_000, u64::MAX)
            .text(r#"_2967310455_1767313120","OnlineOnlyFlag":0,"#)
            .message_body()
            .number(13, first_event_time, u64::MAX)
            .text("}")
    }

    fn group_message(sender: &str, first_event_time: u64) -> Self {
        let ids = format!(r#"","Type":"Public","Operator_Account":"manager-{:07}","From_Account":""#, process::id());
        Self::default()
            .text(r#"{"CallbackCommand":"Group.CallbackBeforeSendMsg","GroupId":"@TGS#2bench"#)
            .key()
            .text(&ids)
            .text(sender)
            .text(r#"","Random":"#)
            .number(10, 1_000_000_000, u64::MAX)
            .text(r#","OnlineOnlyFlag":0,"#)
            .message_body()
            .number(13, first_event_time, u64::MAX)
            .text("}")
    }

    fn message_body(self) -> Self {
        self.text(r#""MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":""#)
            .text(TEXT)
            .text(r#""}}],"EventTime":"#)
    }
}

impl Request {
    /// A request to `host`, signed now. Its event times begin a day ago, so that a minute of full load, which counts
    /// them up faster than time passes, does not reach the future.
    pub(crate) fn new(host: &str, kind: Kind, sender: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        let first_event_time = now.as_millis() as u64 - A_DAY_MS;
        let (command, Body { text, mut numbers }) = match kind {
            Kind::AttributesChanged => {
                ("Group.CallbackAfterGroupAttrChanged", Body::attributes_changed(first_event_time))
            }
            Kind::Message => ("C2C.CallbackBeforeSendMsg", Body::message(sender, first_event_time)),
            Kind::GroupMessage => ("Group.CallbackBeforeSendMsg", Body::group_message(sender, first_event_time)),
        };

        let mut head = format!(
            "POST /callback?SdkAppid={APP}&CallbackCommand={command}&contenttype=json&ClientIP=203.0.113.9\
             &OptPlatform=iOS&Sign="
        );
        let sign_at = head.len();
        head += &"0".repeat(64);
        head += "&RequestTime=";
        let request_time_at = head.len();
        head += &"0".repeat(10);
        head += &format!(" HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", text.len());

        numbers.iter_mut().for_each(|number| number.at += head.len());
        let bytes = (head + &text).into_bytes();
        let mut request = Self { bytes, sign_at, request_time_at, numbers, n_made: 0, signed_at: 0 };
        request.keep_fresh();
        request
    }

    /// Signs anew when the second has changed since the last time.
    pub(crate) fn keep_fresh(&mut self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970").as_secs();
        if now != self.signed_at {
            self.signed_at = now;
            put_digits(&mut self.bytes[self.request_time_at..][..10], now);
            put_hex(&mut self.bytes[self.sign_at..][..64], &sign(TOKEN, now));
        }
    }

    /// The bytes of the next callback, which no earlier one had.
    pub(crate) fn next(&mut self) -> &[u8] {
        for number in &self.numbers {
            let place = &mut self.bytes[number.at..][..number.n_digits];
            put_digits(place, number.first + self.n_made % number.n_different);
        }
        self.n_made += 1;
        &self.bytes
    }
}

/// PROTOCOL §2: the token, then the decimal seconds.
fn sign(token: &str, request_time: u64) -> [u8; 32] {
    Sha256::digest(format!("{token}{request_time}")).into()
}

fn put_digits(place: &mut [u8], mut number: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn put_hex(place: &mut [u8], bytes: &[u8; 32]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in place.chunks_exact_mut(2).zip(bytes) {
        pair[0] = HEX[usize::from(byte >> 4)];
        pair[1] = HEX[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::Value;

    use super::*;

    fn parts(request: &[u8]) -> (String, Value) {
        let text = std::str::from_utf8(request).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("\r\nContent-Length: {}", body.len())), "{head}");
        (head.into(), serde_json::from_str(body).unwrap())
    }

    #[test]
    fn the_published_signature_is_ours() {
        let mut hex = [0; 64];
        put_hex(&mut hex, &sign("xxxxyyyy", 1_669_872_112));
        assert_eq!(&hex, b"17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061");
    }

    #[test]
    fn a_request_carries_the_signature_of_its_time() {
        let mut request = Request::new("127.0.0.1:1", Kind::Message, "sender");
        let (head, _) = parts(request.next());
        let query = head.split_once('?').unwrap().1.split_once(' ').unwrap().0;
        let parameter = |name: &str| {
            let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap());
            pairs.find(|pair| pair.0 == name).unwrap().1
        };
        let mut hex = [0; 64];
        put_hex(&mut hex, &sign(TOKEN, parameter("RequestTime").parse().unwrap()));
        assert_eq!(parameter("Sign").as_bytes(), hex);
    }

    #[test]
    fn each_request_is_a_new_callback_in_valid_json() {
        for (kind, key) in
            [(Kind::AttributesChanged, "GroupId"), (Kind::Message, "From_Account"), (Kind::GroupMessage, "GroupId")]
        {
            let mut request = Request::new("127.0.0.1:1", kind, "sender");
            let (mut keys, mut last) = (HashSet::new(), 0);
            for _ in 0..2_500 {
                let (head, body) = parts(request.next());
                let command = body["CallbackCommand"].as_str().unwrap();
                assert!(head.contains(&format!("&CallbackCommand={command}&")), "{head}");
                let event_time = body["EventTime"].as_u64().unwrap();
                assert!(event_time > last, "{event_time} after {last}");
                last = event_time;
                keys.insert(body[key].as_str().unwrap().to_owned());
            }
            assert_eq!(keys.len(), 1_000, "{kind:?}");
        }
    }

    #[test]
    fn messages_are_300_bytes_of_text() {
        for kind in [Kind::Message, Kind::GroupMessage] {
            let (_, body) = parts(Request::new("127.0.0.1:1", kind, "some-sender").next());
            assert_eq!(body["MsgBody"][0]["MsgContent"]["Text"].as_str().unwrap().len(), 300);
            assert!(body["From_Account"].as_str().unwrap().starts_with("some-sender"), "{body}");
        }
    }
}
