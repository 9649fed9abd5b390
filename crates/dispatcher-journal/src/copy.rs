//! The copy that a dead letter keeps of its row, as JSON text: what retention deletes, it can still show and replay.
//!
//! `{"callback": {…}}` for a callback, `{"event": {…}, "callback": {…}}` for an event, with the columns as members: text
//! as strings, bytes in hexadecimal. A row that cannot be read is `null`; one that is damaged has `"damaged": true`.

use dispatcher_core::Timestamp;
use rusqlite::{Connection, OptionalExtension, types::ValueRef};
use serde_json::{Map, Value};

use crate::{
    CallbackRow, Dead, EventRow, Stream,
    row::{CALLBACK_COLUMNS, Damage, EVENT_COLUMNS, Names, StoredEvent, checksum, integer, read_callback, text},
};

/// The copy of this row. Never fails: it keeps what can be read.
pub(crate) fn copy(connection: &Connection, stream: Stream, seq: u64) -> String {
    let mut copy = Map::new();
    let mut callback_seq = Some(seq);
    if stream == Stream::Events {
        let event = columns(connection, "events", EVENT_COLUMNS, seq);
        callback_seq = event["callback"].as_u64();
        copy.insert("event".to_owned(), event);
    }
    let callback = callback_seq.map_or(Value::Null, |seq| columns(connection, "callbacks", CALLBACK_COLUMNS, seq));
    copy.insert("callback".to_owned(), callback);
    Value::Object(copy).to_string()
}

/// Whether a copy has all that there was to copy.
pub(crate) fn is_whole(copy: &str) -> bool {
    let members: Map<String, Value> = serde_json::from_str(copy).unwrap_or_default();
    !members.is_empty() && members.values().all(|row| row.is_object() && row.get("damaged").is_none())
}

/// The checksum of a dead letter: its columns but for the consumer's name, which can be changed.
pub(crate) fn dead_crc(dead: &Dead, at: Timestamp, copy: &str, history: &str) -> u32 {
    checksum(&[
        integer(dead.seq),
        ValueRef::Integer(at.as_millis()),
        ValueRef::Integer(dead.first_at.as_millis()),
        text(&dead.reason),
        integer(u64::from(dead.attempts)),
        text(copy),
        text(history),
    ])
}

/// The event in a copy, if the copy is whole.
pub(crate) fn event(copy: &str, names: &mut Names) -> Option<EventRow> {
    let members: Map<String, Value> = serde_json::from_str(copy).ok()?;
    let callback = read(members.get("callback")?, CALLBACK_COLUMNS, |values, crc| read_callback(values, crc, names))?;
    let event = read(members.get("event")?, EVENT_COLUMNS, |values, crc| StoredEvent::read(values, crc, names))?;
    Some(event.with(callback.callback))
}

/// The callback in a copy, if the copy is whole.
pub(crate) fn callback(copy: &str, names: &mut Names) -> Option<CallbackRow> {
    let members: Map<String, Value> = serde_json::from_str(copy).ok()?;
    read(members.get("callback")?, CALLBACK_COLUMNS, |values, crc| read_callback(values, crc, names))
}

/// Reads the columns of a row out of a copy. Its own checksum is not stored with it: that it was intact when it was copied
/// is, and that is what counts.
fn read<const WIDTH: usize, T>(
    row: &Value,
    columns: &str,
    read: impl FnOnce(&[ValueRef<'_>; WIDTH], ValueRef<'_>) -> Result<T, Damage>,
) -> Option<T> {
    let row = row.as_object().filter(|row| !row.contains_key("damaged"))?;
    let blobs: Vec<Vec<u8>> = columns.split(", ").map(|name| blob(name, row.get(name))).collect::<Option<_>>()?;
    let mut values = [ValueRef::Null; WIDTH];
    for ((value, name), blob) in values.iter_mut().zip(columns.split(", ")).zip(&blobs) {
        *value = match row.get(name) {
            None | Some(Value::Null) => ValueRef::Null,
            Some(Value::Number(number)) => ValueRef::Integer(number.as_i64()?),
            Some(Value::String(_)) if is_blob(name) => ValueRef::Blob(blob),
            Some(Value::String(text)) => ValueRef::Text(text.as_bytes()),
            Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => return None,
        };
    }
    let crc = ValueRef::Integer(i64::from(checksum(&values)));
    read(&values, crc).ok()
}

/// The columns that hold bytes; in a copy they stand in hexadecimal.
fn is_blob(column: &str) -> bool {
    matches!(column, "id" | "identity")
}

fn blob(column: &str, value: Option<&Value>) -> Option<Vec<u8>> {
    let Some(Value::String(text)) = value.filter(|_| is_blob(column)) else { return Some(Vec::new()) };
    let digits = text.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn columns(connection: &Connection, table: &str, columns: &str, seq: u64) -> Value {
    let sql = format!("SELECT {columns}, crc FROM {table} WHERE seq = ?1");
    let read = connection.prepare_cached(&sql).and_then(|mut statement| {
        statement
            .query_row([seq.cast_signed()], |row| {
                let names: Vec<&str> = columns.split(", ").collect();
                let values = (0..names.len()).map(|idx| row.get_ref(idx)).collect::<Result<Vec<_>, _>>()?;
                let mut members: Map<String, Value> =
                    names.iter().zip(&values).map(|(name, value)| ((*name).to_owned(), json(*value))).collect();
                if row.get_ref(names.len())? != ValueRef::Integer(i64::from(checksum(&values))) {
                    members.insert("damaged".to_owned(), Value::Bool(true));
                }
                Ok(Value::Object(members))
            })
            .optional()
    });
    // A page that cannot be read must not keep the dead letter from being written.
    read.ok().flatten().unwrap_or(Value::Null)
}

fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into(),
        ValueRef::Blob(bytes) => bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into(),
    }
}
