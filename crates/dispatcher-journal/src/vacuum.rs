//! Returns pages that hold nothing to the disk, some at a time.

use std::sync::atomic::Ordering;

use rusqlite::Connection;

use crate::{shared::Shared, trouble::Trouble};

/// How many pages one step returns.
const PAGES: u64 = 32;

/// How many pages the file has, and how many of them are free.
pub(crate) fn pages(connection: &Connection) -> Result<(u64, u64), Trouble> {
    Ok((number(connection, "PRAGMA page_count")?, number(connection, "PRAGMA freelist_count")?))
}

pub(crate) fn page_size(connection: &Connection) -> Result<u64, Trouble> {
    Ok(number(connection, "PRAGMA page_size")?)
}

/// Returns some free pages, in a transaction of its own.
pub(crate) fn some(connection: &Connection) -> Result<(), Trouble> {
    let mut statement = connection.prepare_cached(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut rows = statement.query([])?;
    // It does one page for each row that is asked of it.
    while rows.next()?.is_some() {}
    Ok(())
}

/// Notes the size of the file.
pub(crate) fn measure(connection: &Connection, shared: &Shared) -> Result<(), Trouble> {
    let (pages, free) = pages(connection)?;
    let size = page_size(connection)?;
    shared.tallies.file_bytes.store(pages * size, Ordering::Relaxed);
    shared.tallies.free_bytes.store(free * size, Ordering::Relaxed);
    Ok(())
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<u64> {
    connection.prepare_cached(pragma)?.query_row([], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}
