//! What retention deletes beside the rows of the streams: attempts, progress, records of replays and of what was skipped,
//! dead letters that were kept for long enough.

use std::sync::Arc;

use dispatcher_core::Timestamp;
use rusqlite::params;

use crate::{Stream, transaction::Tables, trim::too_late, trouble::Trouble};

/// How many records one transaction deletes at most.
const RECORDS: i64 = 500;
/// How many dead letters, which have copies of rows.
const LETTERS: i64 = 100;

impl Tables<'_> {
    /// Deletes some attempts at items whose rows are gone. A replay of dead letters that is under way keeps its own.
    pub(crate) fn trim_attempts(&mut self, stream: Stream) -> Result<u64, Trouble> {
        let floor = self.gone[stream as usize].floor.cast_signed();
        self.trim_some(
            "attempts",
            "(stream, seq, consumer, n) IN (
                 SELECT stream, seq, consumer, n FROM attempts WHERE stream = ?1 AND seq <= ?2
                 AND consumer NOT IN (SELECT consumer FROM checkpoint WHERE consumer LIKE 'replay:%') LIMIT ?3)",
            params![stream.as_str(), floor, RECORDS],
        )
    }

    /// Deletes some notes of when this consumer got where, but for the newest at or below the floor: it tells of what comes
    /// next.
    pub(crate) fn trim_progress(&mut self, consumer: &Arc<str>, stream: Stream) -> Result<u64, Trouble> {
        let floor = self.gone[stream as usize].floor.cast_signed();
        self.trim_some(
            "progress",
            "consumer = ?1 AND seq IN (
                 SELECT seq FROM progress WHERE consumer = ?1 AND seq < (
                     SELECT max(seq) FROM progress WHERE consumer = ?1 AND seq <= ?2)
                 ORDER BY seq LIMIT ?3)",
            params![&**consumer, floor, RECORDS],
        )
    }

    /// Deletes some records of what was skipped, and of replays that ended, up to this moment. The last of either stays, so
    /// that its number is not given again.
    pub(crate) fn trim_records(&mut self, cutoff: Timestamp) -> Result<u64, Trouble> {
        let skipped = self.trim_some(
            "skipped",
            "id IN (SELECT id FROM skipped WHERE at <= ?1 AND id < (SELECT max(id) FROM skipped) ORDER BY id LIMIT ?2)",
            params![cutoff.as_millis(), RECORDS],
        )?;
        let replays = self.trim_some(
            "replays",
            "id IN (SELECT id FROM replays
                    WHERE ended_at <= ?1 AND id < (SELECT max(id) FROM replays) ORDER BY id LIMIT ?2)",
            params![cutoff.as_millis(), RECORDS],
        )?;
        Ok(skipped + replays)
    }

    /// Deletes some dead letters that were made up to this moment.
    pub(crate) fn trim_dead(&mut self, cutoff: Timestamp) -> Result<u64, Trouble> {
        // They lie in the order in which they were made: one look at the first tells whether any is due.
        let sql = "SELECT rowid, at FROM dead ORDER BY rowid LIMIT ?1";
        let mut last = None;
        {
            let mut statement = self.connection().prepare_cached(sql)?;
            let mut rows = statement.query([LETTERS])?;
            while let Some(row) = rows.next()? {
                let at: i64 = row.get(1)?;
                if at > cutoff.as_millis() && at < too_late() {
                    break;
                }
                last = Some(row.get::<_, i64>(0)?);
            }
        }
        let Some(last) = last else { return Ok(0) };
        let mut deleted = 0;
        self.transact(|tables| {
            tables.begin()?;
            tables.mark_places()?;
            deleted = tables.connection().prepare_cached("DELETE FROM dead WHERE rowid <= ?1")?.execute([last])? as u64;
            Ok(())
        })?;
        Ok(deleted)
    }

    /// Deletes what the condition selects, in a transaction of its own if that is anything.
    fn trim_some(&mut self, table: &str, condition: &str, values: &[&dyn rusqlite::ToSql]) -> Result<u64, Trouble> {
        let some = format!("SELECT 1 FROM {table} WHERE {condition} LIMIT 1");
        if !self.connection().prepare_cached(&some)?.exists(values)? {
            return Ok(0);
        }
        let mut deleted = 0;
        self.transact(|tables| {
            tables.begin()?;
            let sql = format!("DELETE FROM {table} WHERE {condition}");
            deleted = tables.connection().prepare_cached(&sql)?.execute(values)? as u64;
            Ok(())
        })?;
        Ok(deleted)
    }
}
