//! What consumers still need.

use std::sync::Arc;

use rusqlite::Connection;

use crate::Stream;

/// What one consumer still needs.
#[derive(Debug)]
pub(crate) struct Hold {
    pub(crate) consumer: Arc<str>,
    /// Up to this seq nothing: its checkpoint is there or further, and nothing is pending.
    pub(crate) upto: u64,
}

/// What each consumer of a stream still needs, the one that is furthest behind first.
///
/// A replay of dead letters is none of them: those have copies.
pub(crate) fn holds(connection: &Connection, stream: Stream) -> rusqlite::Result<Vec<Hold>> {
    let mut statement = connection.prepare_cached(
        "SELECT consumer, min(seq, coalesce(
             (SELECT min(pending.seq) FROM pending WHERE pending.consumer = checkpoint.consumer), seq + 1) - 1)
         FROM checkpoint WHERE stream = ?1 AND consumer NOT IN (
             SELECT 'replay:' || id FROM replays WHERE ended_at IS NULL AND dead_of IS NOT NULL)",
    )?;
    let holds = statement.query_map([stream.as_str()], |row| {
        Ok(Hold { consumer: row.get::<_, String>(0)?.into(), upto: row.get::<_, i64>(1)?.max(0).cast_unsigned() })
    })?;
    let mut holds = holds.collect::<rusqlite::Result<Vec<_>>>()?;
    holds.sort_by_key(|hold| hold.upto);
    Ok(holds)
}
