//! The format of a row: its columns, its checksum, and the way back to a callback or an event.
//!
//! The checksum is the CRC-32 of all columns before it, in the order of the table. A column goes in as one byte for its
//! type (0 NULL, 1 integer, 2 text, 3 blob) and its value: an integer as eight bytes, little-endian; text and blobs as
//! their length in four bytes, little-endian, and their bytes.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use dispatcher_core::{App, Callback, CallbackId, CallbackParts, Command, Event, EventData, Key, NewEvent, Timestamp};
use rusqlite::types::ValueRef;

/// What is stored under one seq.
#[derive(Clone, Debug)]
pub enum Row<T> {
    /// What was appended, byte for byte.
    Intact(T),
    /// It is missing, or is not what was appended.
    Damaged {
        /// Its seq.
        seq: u64,
        /// What is wrong with it.
        reason: String,
    },
}

impl<T> Row<T> {
    /// Its seq: that of an intact one is read by `of_intact`.
    pub fn seq_with(&self, of_intact: impl FnOnce(&T) -> u64) -> u64 {
        match self {
            Row::Intact(row) => of_intact(row),
            Row::Damaged { seq, .. } => *seq,
        }
    }

    /// What was appended, unless it is damaged.
    pub fn intact(self) -> Option<T> {
        match self {
            Row::Intact(row) => Some(row),
            Row::Damaged { .. } => None,
        }
    }
}

/// A row of the callbacks.
#[derive(Clone, Debug)]
pub struct CallbackRow {
    /// Its seq.
    pub seq: u64,
    /// The callback.
    pub callback: Arc<Callback>,
}

/// A row of the events. Its seq is the event's.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// The event.
    pub event: Event,
    /// The seq of its callback.
    pub callback_seq: u64,
    /// The names of the sinks that it is meant for, joined with `,`, as configured when it was emitted.
    pub sinks: Arc<str>,
}

/// The columns of `callbacks` that the checksum covers, in order; `crc` comes after them.
pub(crate) const CALLBACK_COLUMNS: &str =
    "seq, at, received, event_time, id, app, app_name, command, key, identity, query, body";
/// How many those are.
pub(crate) const CALLBACK_WIDTH: usize = 12;

/// The columns of `events` that the checksum covers, in order; `crc` comes after them. The last came with the second format
/// and counts where it is not NULL: rows of the first have it as NULL.
pub(crate) const EVENT_COLUMNS: &str = "seq, at, callback, handler, n, type, key, time, data, sinks, replay";
/// How many those are.
pub(crate) const EVENT_WIDTH: usize = 11;

/// The columns of a callback, borrowed from it. `identity` is where its identity's bytes are put.
pub(crate) fn callback_values<'a>(
    seq: u64,
    at: Timestamp,
    callback: &'a Callback,
    id: &'a CallbackId,
    identity: &'a [u8; 16],
) -> [ValueRef<'a>; CALLBACK_WIDTH] {
    [
        integer(seq),
        ValueRef::Integer(at.as_millis()),
        ValueRef::Integer(callback.received_at().as_millis()),
        callback.event_time().map_or(ValueRef::Null, |time| ValueRef::Integer(time.as_millis())),
        ValueRef::Blob(id.as_bytes()),
        integer(callback.app().sdk_app_id()),
        text(callback.app().name()),
        text(callback.command().as_str()),
        callback.key().map_or(ValueRef::Null, |key| text(key)),
        callback.identity().map_or(ValueRef::Null, |_| ValueRef::Blob(identity)),
        text(callback.query_and_trace()),
        ValueRef::Text(callback.body_bytes()),
    ]
}

/// The bytes of an identity, as they are stored.
pub(crate) fn identity_bytes(callback: &Callback) -> [u8; 16] {
    callback.identity().unwrap_or(0).to_be_bytes()
}

/// Where an event belongs.
pub(crate) struct EventPlace<'a> {
    pub(crate) seq: u64,
    pub(crate) at: Timestamp,
    pub(crate) callback_seq: u64,
    pub(crate) callback: &'a Callback,
    pub(crate) handler: &'a str,
    pub(crate) n: u32,
    pub(crate) sinks: &'a str,
    pub(crate) replay: bool,
}

/// The columns of an event, borrowed from it.
pub(crate) fn event_values<'a>(place: &EventPlace<'a>, event: &'a NewEvent) -> [ValueRef<'a>; EVENT_WIDTH] {
    [
        integer(place.seq),
        ValueRef::Integer(place.at.as_millis()),
        integer(place.callback_seq),
        text(place.handler),
        integer(u64::from(place.n)),
        text(event.event_type()),
        event.key(place.callback).map_or(ValueRef::Null, |key| text(key)),
        ValueRef::Integer(event.time(place.callback).as_millis()),
        match event.data() {
            EventData::Json(json) => ValueRef::Text(json),
            EventData::Callback => ValueRef::Null,
        },
        text(place.sinks),
        if place.replay { ValueRef::Integer(1) } else { ValueRef::Null },
    ]
}

/// The callback in these columns, if they are what `checksum` was made of.
pub(crate) fn read_callback(
    values: &[ValueRef<'_>; CALLBACK_WIDTH],
    crc: ValueRef<'_>,
    names: &mut Names,
) -> Result<CallbackRow, Damage> {
    verify(values, crc)?;
    let [seq, _, received, event_time, id, app, app_name, command, key, identity, query, body] = values;
    let identity = blob16(identity)?.map(u128::from_be_bytes);
    let callback = Callback::new(CallbackParts {
        id: CallbackId::from_bytes(blob16(id)?.ok_or(Damage::Form)?),
        app: names.app(number(app)?, string(app_name)?),
        command: Command::new(string(command)?),
        query: string(query)?.into(),
        body: Bytes::copy_from_slice(bytes_of(body)?),
        received_at: timestamp(received)?,
        event_time: optional(event_time, timestamp)?,
        key: optional(key, string)?.map(Key::from),
        identity,
    });
    Ok(CallbackRow { seq: number(seq)?, callback: Arc::new(callback) })
}

/// The event in these columns but for its callback, if they are what `checksum` was made of.
pub(crate) struct StoredEvent {
    pub(crate) seq: u64,
    pub(crate) callback_seq: u64,
    pub(crate) handler: Arc<str>,
    pub(crate) n: u32,
    pub(crate) event_type: Arc<str>,
    pub(crate) key: Option<Key>,
    pub(crate) time: Timestamp,
    pub(crate) data: EventData,
    pub(crate) sinks: Arc<str>,
    pub(crate) replay: bool,
}

impl StoredEvent {
    pub(crate) fn read(
        values: &[ValueRef<'_>; EVENT_WIDTH],
        crc: ValueRef<'_>,
        names: &mut Names,
    ) -> Result<StoredEvent, Damage> {
        verify(values, crc)?;
        let [seq, _, callback, handler, n, event_type, key, time, data, sinks, replay] = values;
        Ok(StoredEvent {
            seq: number(seq)?,
            callback_seq: number(callback)?,
            handler: names.name(string(handler)?),
            n: u32::try_from(number(n)?).map_err(|_| Damage::Form)?,
            event_type: names.name(string(event_type)?),
            key: optional(key, string)?.map(Key::from),
            time: timestamp(time)?,
            data: optional(data, bytes_of)?
                .map_or(EventData::Callback, |json| EventData::Json(Bytes::copy_from_slice(json))),
            sinks: names.name(string(sinks)?),
            replay: *replay != ValueRef::Null,
        })
    }

    pub(crate) fn with(self, callback: Arc<Callback>) -> EventRow {
        EventRow {
            event: Event {
                seq: self.seq,
                handler: self.handler,
                n: self.n,
                event_type: self.event_type,
                key: self.key,
                time: self.time,
                data: self.data,
                callback,
                replay: self.replay,
            },
            callback_seq: self.callback_seq,
            sinks: self.sinks,
        }
    }
}

/// Why a row is not what was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// The columns do not have the checksum.
    Checksum,
    /// They have it, and are none of ours.
    Form,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Damage::Checksum => "fails its checksum",
            Damage::Form => "has columns that this dispatcher does not write",
        })
    }
}

/// The checksum of these columns. An event's last one counts where it is not NULL.
pub(crate) fn checksum(values: &[ValueRef<'_>]) -> u32 {
    let values = match values {
        [first @ .., ValueRef::Null] if values.len() == EVENT_WIDTH => first,
        _ => values,
    };
    // Small columns are gathered: a CRC of one long piece is far cheaper than of twelve short ones.
    let mut gathered = Gathered { hasher: crc32fast::Hasher::new(), bytes: [0; 512], len: 0 };
    for value in values {
        match value {
            ValueRef::Null => gathered.add(&[0]),
            ValueRef::Integer(number) => {
                gathered.add(&[1]);
                gathered.add(&number.to_le_bytes());
            }
            // No column of ours is one; whatever this gives will not be the checksum that was stored.
            ValueRef::Real(_) => gathered.add(&[4]),
            ValueRef::Text(bytes) => gathered.add_long(2, bytes),
            ValueRef::Blob(bytes) => gathered.add_long(3, bytes),
        }
    }
    gathered.finish()
}

struct Gathered {
    hasher: crc32fast::Hasher,
    bytes: [u8; 512],
    len: usize,
}

impl Gathered {
    fn add_long(&mut self, tag: u8, bytes: &[u8]) {
        self.add(&[tag]);
        // SQLite holds no value of 4 GiB.
        self.add(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.add(bytes);
    }

    fn add(&mut self, bytes: &[u8]) {
        if bytes.len() > self.bytes.len() - self.len {
            self.flush();
            if bytes.len() > self.bytes.len() {
                self.hasher.update(bytes);
                return;
            }
        }
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn flush(&mut self) {
        self.hasher.update(&self.bytes[..self.len]);
        self.len = 0;
    }

    fn finish(mut self) -> u32 {
        self.flush();
        self.hasher.finalize()
    }
}

pub(crate) fn verify(values: &[ValueRef<'_>], crc: ValueRef<'_>) -> Result<(), Damage> {
    if crc == ValueRef::Integer(i64::from(checksum(values))) { Ok(()) } else { Err(Damage::Checksum) }
}

/// Texts that many rows share, kept once.
#[derive(Default)]
pub(crate) struct Names {
    apps: Vec<App>,
    names: HashSet<Arc<str>>,
}

impl Names {
    /// How many of each kind are kept. Configurations have fewer; what comes on top is not shared.
    const KEPT: usize = 256;

    fn app(&mut self, sdk_app_id: u64, name: &str) -> App {
        if let Some(app) = self.apps.iter().find(|app| app.sdk_app_id() == sdk_app_id && app.name() == name) {
            return app.clone();
        }
        let app = App::new(sdk_app_id, name);
        if self.apps.len() < Names::KEPT {
            self.apps.push(app.clone());
        }
        app
    }

    pub(crate) fn name(&mut self, text: &str) -> Arc<str> {
        if let Some(name) = self.names.get(text) {
            return name.clone();
        }
        let name = Arc::<str>::from(text);
        if self.names.len() < Names::KEPT {
            self.names.insert(name.clone());
        }
        name
    }
}

/// A seq or another number that is never negative. Above `i64::MAX` – no seq gets there – its bits are kept.
pub(crate) fn integer(number: u64) -> ValueRef<'static> {
    ValueRef::Integer(number.cast_signed())
}

pub(crate) fn text(text: &str) -> ValueRef<'_> {
    ValueRef::Text(text.as_bytes())
}

pub(crate) fn number(value: &ValueRef<'_>) -> Result<u64, Damage> {
    value.as_i64().map(i64::cast_unsigned).map_err(|_| Damage::Form)
}

pub(crate) fn timestamp(value: &ValueRef<'_>) -> Result<Timestamp, Damage> {
    value.as_i64().map(Timestamp::from_millis).map_err(|_| Damage::Form)
}

pub(crate) fn string<'a>(value: &ValueRef<'a>) -> Result<&'a str, Damage> {
    value.as_str().map_err(|_| Damage::Form)
}

fn bytes_of<'a>(value: &ValueRef<'a>) -> Result<&'a [u8], Damage> {
    match value {
        ValueRef::Text(bytes) => Ok(bytes),
        _ => Err(Damage::Form),
    }
}

fn blob16(value: &ValueRef<'_>) -> Result<Option<[u8; 16]>, Damage> {
    match value {
        ValueRef::Null => Ok(None),
        ValueRef::Blob(bytes) => (*bytes).try_into().map(Some).map_err(|_| Damage::Form),
        _ => Err(Damage::Form),
    }
}

fn optional<'a, T>(
    value: &ValueRef<'a>,
    read: impl FnOnce(&ValueRef<'a>) -> Result<T, Damage>,
) -> Result<Option<T>, Damage> {
    if *value == ValueRef::Null { Ok(None) } else { read(value).map(Some) }
}
