//! What a handler makes of a callback, and the shape in which it leaves the process.

use std::{borrow::Cow, fmt, io::Write as _, num::ParseIntError, str::FromStr, sync::Arc};

use bytes::Bytes;
use serde::Serialize;

use crate::{Callback, HandlerError, Key, Timestamp};

/// The data of an event. Shown without it: it holds what people write to each other.
#[derive(Clone, PartialEq, Eq)]
pub enum EventData {
    /// One JSON value in UTF-8.
    Json(Bytes),
    /// The body of the callback itself, which is stored once and referred to.
    Callback,
}

impl fmt::Debug for EventData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventData::Json(json) => write!(f, "Json({} bytes)", json.len()),
            EventData::Callback => f.write_str("Callback"),
        }
    }
}

/// An event as a handler returns it. The dispatcher adds its id, its callback and its place in the journal.
#[derive(Clone, Debug)]
pub struct NewEvent {
    event_type: Cow<'static, str>,
    data: EventData,
    key: Option<Option<Key>>,
    time: Option<Timestamp>,
}

impl NewEvent {
    /// An event of this type, with `data` as its JSON.
    ///
    /// Types are reverse-dotted names that stay as they are once published, such as
    /// `tencent-chat.group.attributes.changed`; what they carry only ever gains members.
    ///
    /// # Errors
    /// When `data` cannot be written as JSON, as a map with keys that are not strings cannot. It is permanent.
    pub fn new(event_type: impl Into<Cow<'static, str>>, data: &impl Serialize) -> Result<NewEvent, HandlerError> {
        let json = serde_json::to_vec(data)
            .map_err(|err| HandlerError::permanent(format!("the data of an event is no JSON: {err}")))?;
        Ok(NewEvent { event_type: event_type.into(), data: EventData::Json(json.into()), key: None, time: None })
    }

    /// An event of this type whose data is the callback's own body, byte for byte.
    pub fn forwarding(event_type: impl Into<Cow<'static, str>>) -> NewEvent {
        NewEvent { event_type: event_type.into(), data: EventData::Callback, key: None, time: None }
    }

    /// Keeps order within `key` instead of the callback's key; `None` lets it wait for nobody.
    #[must_use]
    pub fn with_key(mut self, key: Option<Key>) -> NewEvent {
        self.key = Some(key);
        self
    }

    /// Says when it happened. Without this: when the callback happened by Tencent's word, else when it was received.
    #[must_use]
    pub fn with_time(mut self, time: Timestamp) -> NewEvent {
        self.time = Some(time);
        self
    }

    /// Its type.
    #[must_use]
    pub fn event_type(&self) -> &str {
        &self.event_type
    }

    /// Its data.
    #[must_use]
    pub fn data(&self) -> &EventData {
        &self.data
    }

    /// Its key, if it is an event of `callback`.
    #[must_use]
    pub fn key<'a>(&'a self, callback: &'a Callback) -> Option<&'a Key> {
        match &self.key {
            Some(own) => own.as_ref(),
            None => callback.key(),
        }
    }

    /// When it happened, if it is an event of `callback`.
    #[must_use]
    pub fn time(&self, callback: &Callback) -> Timestamp {
        self.time.or(callback.event_time()).unwrap_or(callback.received_at())
    }
}

/// An event on its way to a sink. Cheap to clone.
///
/// Outside the process it is a [CloudEvents 1.0](https://cloudevents.io) JSON object; see
/// [`write_json`](Event::write_json).
#[derive(Clone, Debug)]
pub struct Event {
    /// Its place in the journal's stream of events: later events have larger numbers. 0: it is in no journal.
    pub seq: u64,
    /// The handler that emitted it.
    pub handler: Arc<str>,
    /// Its place among what the handler returned for the callback, from 0; or one of the two that are kept for decisions,
    /// [`DECISION`](Event::DECISION) and [`LATE`](Event::LATE). In ids it is written as an [`EventN`].
    pub n: u32,
    /// Its type, such as `tencent-chat.group.attributes.changed`.
    pub event_type: Arc<str>,
    /// What order is kept within; `None` waits for nobody.
    pub key: Option<Key>,
    /// When it happened.
    pub time: Timestamp,
    /// Its data.
    pub data: EventData,
    /// The callback that it was made of.
    pub callback: Arc<Callback>,
    /// Whether it is delivered again because someone asked for it.
    pub replay: bool,
}

impl Event {
    /// The `n` of the event that tells of a handler's decision; written `decision`. Nothing that `handle` returns has it.
    pub const DECISION: u32 = u32::MAX - 1;
    /// The `n` of the event that tells of a verdict which came after the answer had left; written `late`.
    pub const LATE: u32 = u32::MAX;

    /// Its id, `<callbackid>.<handler>.<n>`: the same after a crash and in a replay.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}.{}.{}", self.callback.id(), self.handler, EventN(self.n))
    }

    /// Its idempotency key, `<identity>.<handler>.<n>`: equal for the same event of a repeated callback, different for
    /// any two events of one callback. A receiver that drops what it has seen under this key drops all repeats.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        match self.callback.identity() {
            Some(identity) => format!("{identity:032x}.{}.{}", self.handler, EventN(self.n)),
            None => self.id(),
        }
    }

    /// What order is kept within, told apart between apps: `<SDKAppID>/<key>`.
    #[must_use]
    pub fn partition_key(&self) -> Option<String> {
        self.key.as_ref().map(|key| format!("{}/{key}", self.callback.app().sdk_app_id()))
    }

    /// Its data as JSON text.
    #[must_use]
    pub fn data_json(&self) -> &[u8] {
        match &self.data {
            EventData::Json(json) => json,
            EventData::Callback => self.callback.body_bytes(),
        }
    }

    /// Whether it is the callback itself, passed on by a handler that forwards.
    #[must_use]
    pub fn is_forwarded(&self) -> bool {
        self.data == EventData::Callback
    }

    /// Appends it to `out` as one CloudEvents 1.0 JSON object, with `data` last and byte for byte as it is stored.
    ///
    /// `sdkappid` is a string, since CloudEvents' integers end at 2^31-1, and `sequence` is padded so that it sorts as
    /// text, as the extension of that name asks.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        let callback = &*self.callback;
        let app = callback.app().sdk_app_id();
        // Writing into a `Vec` cannot fail, so results are let go throughout.
        let _ = write!(
            out,
            r#"{{"specversion":"1.0","id":"{}.{}.{}","source":"tencent-chat/{app}","type":"#,
            callback.id(),
            self.handler,
            EventN(self.n)
        );
        write_string(out, &self.event_type);
        if let Some(key) = &self.key {
            out.extend_from_slice(br#","subject":"#);
            write_string(out, key);
        }
        let _ = write!(out, r#","time":"{}","sdkappid":"{app}","command":"#, self.time);
        write_string(out, callback.command().as_str());
        let _ = write!(out, r#","callbackid":"{}","idempotencykey":""#, callback.id());
        let _ = match callback.identity() {
            Some(identity) => write!(out, "{identity:032x}"),
            None => write!(out, "{}", callback.id()),
        };
        let _ = write!(out, r#".{}.{}""#, self.handler, EventN(self.n));
        if let Some(key) = self.partition_key() {
            out.extend_from_slice(br#","partitionkey":"#);
            write_string(out, &key);
        }
        if self.seq > 0 {
            let _ = write!(out, r#","sequence":"{:020}""#, self.seq);
        }
        let query = callback.parsed_query();
        if let Some(client_ip) = query.client_ip {
            out.extend_from_slice(br#","clientip":"#);
            write_string(out, &client_ip);
        }
        if let Some(platform) = query.opt_platform {
            out.extend_from_slice(br#","optplatform":"#);
            write_string(out, &platform);
        }
        if let Some(traceparent) = callback.traceparent() {
            let _ = write!(out, r#","traceparent":"{traceparent}""#); // Hexadecimal digits and hyphens.
        }
        if self.replay {
            out.extend_from_slice(br#","replay":true"#);
        }
        out.extend_from_slice(br#","datacontenttype":"application/json","data":"#);
        out.extend_from_slice(self.data_json());
        out.push(b'}');
    }

    /// Appends it as [`write_json`](Event::write_json) does, in one line, with a line feed at its end.
    ///
    /// A body that Tencent sent in several lines comes out in one: a line break in JSON can only be white space, and
    /// becomes a blank.
    pub fn write_json_line(&self, out: &mut Vec<u8>) {
        let start = out.len();
        self.write_json(out);
        while let Some(at) = memchr::memchr2(b'\n', b'\r', &out[start..]) {
            out[start + at] = b' ';
        }
        out.push(b'\n');
    }
}

/// The last part of an event's id, in the way in which it is written and read: a number, `decision` or `late`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventN(pub u32);

impl fmt::Display for EventN {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Event::DECISION => f.write_str("decision"),
            Event::LATE => f.write_str("late"),
            n => n.fmt(f),
        }
    }
}

impl FromStr for EventN {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<EventN, ParseIntError> {
        match text {
            "decision" => Ok(EventN(Event::DECISION)),
            "late" => Ok(EventN(Event::LATE)),
            number => number.parse().map(EventN),
        }
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    // A `str` is always JSON, and a `Vec` takes every write.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{App, CallbackId, CallbackParts, Command, TraceParent};

    fn event(body: &str, query: &str) -> Event {
        Event {
            seq: 42,
            handler: "everything".into(),
            n: 0,
            event_type: "tencent-chat.callback.Group.CallbackAfterGroupFull".into(),
            key: Some("@TGS#\"1".into()),
            time: Timestamp::from_millis(1_764_000_000_007),
            data: EventData::Callback,
            callback: Arc::new(Callback::new(CallbackParts {
                id: CallbackId::from_bytes([7; 16]),
                app: App::new(1_400_000_001, "main"),
                command: Command::new("Group.CallbackAfterGroupFull"),
                query: query.into(),
                body: Bytes::copy_from_slice(body.as_bytes()),
                received_at: Timestamp::from_millis(0),
                event_time: None,
                key: None,
                identity: Some(0xabc),
            })),
            replay: false,
        }
    }

    #[test]
    fn leaves_as_a_cloud_event() {
        let mut out = Vec::new();
        event(r#"{"GroupId":"g"}"#, "SdkAppid=1400000001&ClientIP=10.0.0.1&OptPlatform=iOS").write_json(&mut out);
        let got: Value = serde_json::from_slice(&out).unwrap();
        let id = "07070707-0707-0707-0707-070707070707";
        assert_eq!(
            got,
            json!({
                "specversion": "1.0",
                "id": format!("{id}.everything.0"),
                "source": "tencent-chat/1400000001",
                "type": "tencent-chat.callback.Group.CallbackAfterGroupFull",
                "subject": "@TGS#\"1",
                "time": "2025-11-24T16:00:00.007Z",
                "sdkappid": "1400000001",
                "command": "Group.CallbackAfterGroupFull",
                "callbackid": id,
                "idempotencykey": "00000000000000000000000000000abc.everything.0",
                "partitionkey": "1400000001/@TGS#\"1",
                "sequence": "00000000000000000042",
                "clientip": "10.0.0.1",
                "optplatform": "iOS",
                "datacontenttype": "application/json",
                "data": {"GroupId": "g"},
            })
        );
    }

    #[test]
    fn a_trace_leaves_as_an_attribute_and_not_in_the_query() {
        let trace = TraceParent::read(b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let event = event("{}", &trace.behind("SdkAppid=1400000001&OptPlatform=iOS"));
        let mut out = Vec::new();
        event.write_json(&mut out);
        let got: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&got["traceparent"], &got["optplatform"]), (&json!(trace.as_str()), &json!("iOS")));
        assert_eq!(event.callback.query(), "SdkAppid=1400000001&OptPlatform=iOS");
        assert_eq!(event.callback.with_body(Bytes::from_static(b"{}")).traceparent(), Some(trace.as_str()));
    }

    #[test]
    fn what_it_does_not_have_is_left_out() {
        let mut event = event("{}", "SdkAppid=1");
        event.seq = 0;
        event.key = None;
        event.replay = true;
        let mut out = Vec::new();
        event.write_json(&mut out);
        let got: Value = serde_json::from_slice(&out).unwrap();
        for absent in ["sequence", "subject", "partitionkey", "clientip", "optplatform", "traceparent"] {
            assert!(got.get(absent).is_none(), "{absent} is there: {got}");
        }
        assert_eq!(got["replay"], json!(true));
    }

    #[test]
    fn events_of_decisions_have_names_for_numbers() {
        for (n, name) in [(Event::DECISION, "decision"), (Event::LATE, "late"), (Event::DECISION - 1, "4294967293")] {
            let event = Event { n, ..event("{}", "") };
            let id = format!("07070707-0707-0707-0707-070707070707.everything.{name}");
            let idempotency_key = format!("00000000000000000000000000000abc.everything.{name}");
            assert_eq!((event.id(), event.idempotency_key()), (id.clone(), idempotency_key.clone()));
            let mut out = Vec::new();
            event.write_json(&mut out);
            let got: Value = serde_json::from_slice(&out).unwrap();
            assert_eq!((&got["id"], &got["idempotencykey"]), (&json!(id), &json!(idempotency_key)));
            assert_eq!(name.parse(), Ok(EventN(n)));
        }
        assert!("later".parse::<EventN>().is_err());
    }

    #[test]
    fn a_body_of_several_lines_becomes_one_line() {
        let mut out = Vec::new();
        event("{\r\n  \"a\": \"x\\ny\"\n}", "").write_json_line(&mut out);
        assert_eq!(memchr::memchr_iter(b'\n', &out).count(), 1);
        let got: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(got["data"], json!({"a": "x\ny"}));
    }
}
