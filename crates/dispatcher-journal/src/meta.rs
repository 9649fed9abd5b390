//! The table `meta`: single facts by name.
//!
//! Numbers carry a checksum: a flipped bit in how far retention got, or in where a stream ends, must not be believed.

use rusqlite::{Connection, OptionalExtension, types::FromSql, types::ToSql};
use tracing::error;

use crate::Stream;

/// The fact of this name, if there is one.
pub(crate) fn get<T: FromSql>(connection: &Connection, key: &str) -> rusqlite::Result<Option<T>> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    statement.query_row([key], |row| row.get(0)).optional()
}

pub(crate) fn set(connection: &Connection, key: &str, value: impl ToSql) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?;
    statement.execute((key, value)).map(drop)
}

/// A number that was set; zero if none was, or if it is not as it was set, which the log then says.
pub(crate) fn number(connection: &Connection, key: &str) -> rusqlite::Result<u64> {
    Ok(checked(connection, key)?.unwrap_or(0))
}

/// The same; `None` if it is not as it was set.
pub(crate) fn checked(connection: &Connection, key: &str) -> rusqlite::Result<Option<u64>> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    let stored = statement.query_row([key], |row| Ok(row.get_ref(0)?.as_str().unwrap_or_default().to_owned()));
    let Some(stored) = stored.optional()? else { return Ok(Some(0)) };
    let number = stored.split_once(' ').and_then(|(number, _)| number.parse().ok());
    let number = number.filter(|&number| text(key, number) == stored);
    if number.is_none() {
        error!(key, "a number in the journal fails its checksum and is not believed; see to its disk");
    }
    Ok(number)
}

/// Sets a number.
pub(crate) fn set_number(connection: &Connection, key: &str, number: u64) -> rusqlite::Result<()> {
    set(connection, key, text(key, number))
}

/// Up to where seqs of a stream were given, by the word of everybody but its rows.
pub(crate) fn known_end(connection: &Connection, stream: Stream) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(max(seq), 0) FROM checkpoint WHERE stream = ?1";
    let mut end = connection.query_row(sql, [stream.as_str()], |row| row.get::<_, i64>(0))?.cast_unsigned();
    for name in ["mark", "floor", "swept"] {
        end = end.max(number(connection, &format!("{stream}_{name}"))?);
    }
    Ok(end)
}

/// A number as it is stored.
pub(crate) fn text(key: &str, number: u64) -> String {
    let crc = crc32fast::hash(format!("{key} {number}").as_bytes());
    format!("{number} {crc:08x}")
}
