//! The request that is sent: one buffer, built once, in which a few digits change.
//!
//! Every request is a callback of its own: `EventTime` counts up, over 1,000 groups in turn, and another generator that
//! loads the same journal is another operator. Equal bytes would measure only how repeats are dropped.

use std::{
    process,
    time::{SystemTime, UNIX_EPOCH},
};

use sha2::{Digest, Sha256};

/// The SDKAppID in the requests and in the dispatcher's configuration.
pub(crate) const APP: u32 = 1_400_000_001;

/// The token that signs the requests; not a secret.
pub(crate) const TOKEN: &str = "token-of-the-benchmark";

const N_GROUPS: u64 = 1_000;
const A_DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A complete HTTP request that turns into the next callback in place.
pub(crate) struct Request {
    bytes: Vec<u8>,
    sign_at: usize,
    request_time_at: usize,
    group_at: usize,
    event_time_at: usize,
    first_event_time: u64,
    n_made: u64,
    signed_at: u64,
}

impl Request {
    /// A request to `host`, signed now. Its event times begin a day ago, so that a minute of full load, which counts
    /// them up faster than time passes, does not reach the future.
    pub(crate) fn new(host: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
        let first_event_time = now.as_millis() as u64 - A_DAY_MS;

        let mut body =
            String::from(r#"{"CallbackCommand":"Group.CallbackAfterGroupAttrChanged","GroupId":"@TGS#2bench0000"#);
        let group_at = body.len() - 4;
        // Ids of processes have seven digits at most.
        body +=
            &format!(r#"","Type":"Public","Operator_Account":"manager-{:07}","OptionType":"modify","#, process::id());
        body += r#""GroupAttr":["#;
        body += r#"{"key":"programme","value":"second rehearsal at seven"},{"key":"seats_left","value":"128"}],"EventTime":"#;
        let event_time_at = body.len();
        body += &format!("{first_event_time:013}}}");

        let mut head = format!(
            "POST /callback?SdkAppid={APP}&CallbackCommand=Group.CallbackAfterGroupAttrChanged&contenttype=json\
             &ClientIP=203.0.113.9&OptPlatform=iOS&Sign="
        );
        let sign_at = head.len();
        head += &"0".repeat(64);
        head += "&RequestTime=";
        let request_time_at = head.len();
        head += &"0".repeat(10);
        head += &format!(" HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n", body.len());

        let mut request = Self {
            sign_at,
            request_time_at,
            group_at: head.len() + group_at,
            event_time_at: head.len() + event_time_at,
            bytes: (head + &body).into_bytes(),
            first_event_time,
            n_made: 0,
            signed_at: 0,
        };
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
        put_digits(&mut self.bytes[self.group_at..][..4], self.n_made % N_GROUPS);
        put_digits(&mut self.bytes[self.event_time_at..][..13], self.first_event_time + self.n_made);
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
        let mut request = Request::new("127.0.0.1:1");
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
        let mut request = Request::new("127.0.0.1:1");
        let (mut groups, mut last) = (HashSet::new(), 0);
        for _ in 0..2_500 {
            let (_, body) = parts(request.next());
            let event_time = body["EventTime"].as_u64().unwrap();
            assert!(event_time > last, "{event_time} after {last}");
            last = event_time;
            groups.insert(body["GroupId"].as_str().unwrap().to_owned());
        }
        assert_eq!(groups.len(), 1_000);
    }
}
