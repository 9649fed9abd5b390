//! Finds rows by time. `at` never falls from one seq to the next, so that no index is needed.

use dispatcher_core::Timestamp;
use rusqlite::{Connection, OptionalExtension};

use crate::{Stream, meta};

/// The seq of the first row above the floor that was stored at `time` or later. Some thirty disk accesses at most, however
/// long the stream.
pub(crate) fn first_at(connection: &Connection, stream: Stream, time: Timestamp) -> rusqlite::Result<Option<u64>> {
    let sql = format!("SELECT seq, at FROM {stream} WHERE seq >= ?1 ORDER BY seq LIMIT 1");
    let mut statement = connection.prepare_cached(&sql)?;
    // The first row at or behind a seq; rows may be missing in between.
    let mut from =
        |seq: i64| statement.query_row([seq], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))).optional();
    let last = format!("SELECT max(seq) FROM {stream}");
    let Some(mut high) = connection.query_row(&last, [], |row| row.get::<_, Option<i64>>(0))? else { return Ok(None) };
    let floor = meta::number(connection, &format!("{stream}_floor"))?;
    let mut low = floor.cast_signed() + 1;
    let mut found = None;
    while low <= high {
        let middle = low + (high - low) / 2;
        match from(middle)? {
            Some((seq, at)) if at >= time.as_millis() => {
                found = Some(seq);
                high = middle - 1;
            }
            Some((seq, _)) => low = seq + 1,
            None => high = middle - 1,
        }
    }
    Ok(found.map(i64::cast_unsigned))
}
