//! The copy that a dead letter keeps of its row, as JSON text: what retention deletes, it can still show and replay.
//!
//! `{"callback": {…}}` for a callback, `{"event": {…}, "callback": {…}}` for an event, with the columns as members: text
//! as strings, bytes in hexadecimal. A row that cannot be read is `null`; one that is damaged has `"damaged": true`.

use rusqlite::{Connection, OptionalExtension, types::ValueRef};
use serde_json::{Map, Value};

use crate::{
    Stream,
    row::{CALLBACK_COLUMNS, EVENT_COLUMNS, checksum},
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
