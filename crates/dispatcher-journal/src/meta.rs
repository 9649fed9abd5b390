//! The table `meta`: single facts by name.

use rusqlite::{Connection, OptionalExtension, types::FromSql, types::ToSql};

/// The fact of this name, if there is one.
pub(crate) fn get<T: FromSql>(connection: &Connection, key: &str) -> rusqlite::Result<Option<T>> {
    let mut statement = connection.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    statement.query_row([key], |row| row.get(0)).optional()
}

/// A number that is never negative; zero if there is none.
pub(crate) fn number(connection: &Connection, key: &str) -> rusqlite::Result<u64> {
    Ok(get::<i64>(connection, key)?.unwrap_or(0).cast_unsigned())
}

pub(crate) fn set(connection: &Connection, key: &str, value: impl ToSql) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)")?;
    statement.execute((key, value)).map(drop)
}
