//! Finding single rows without an index: what is looked at stands at the beginning of a row, so that a search passes
//! millions of rows a second. Each call looks at so few that it does not keep the write-ahead log from starting over.

use dispatcher_core::Timestamp;
use rusqlite::{OptionalExtension, Params};

use crate::{JournalError, Reader, Stream};

/// How many seqs one call looks at.
const STRIDE: u64 = 65_536;

/// What one call found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The seqs that were found, in order.
    pub seqs: Vec<u64>,
    /// Up to where was looked: go on behind it.
    pub upto: u64,
}

impl Reader {
    /// When a row was stored, by the writer's clock, which does not fall. `None` if it is not there.
    ///
    /// # Errors
    /// When that could not be read now.
    pub fn stored_at(&mut self, stream: Stream, seq: u64) -> Result<Option<Timestamp>, JournalError> {
        let sql = format!("SELECT at FROM {stream} WHERE seq = ?1");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let at = statement.query_row([seq.cast_signed()], |row| row.get(0)).optional()?;
        Ok(at.map(Timestamp::from_millis))
    }

    /// Callbacks whose ids lie between `low` and `high`, both included, among some of those behind `after`. Whether they are
    /// intact is seen when they are read.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn callbacks_with_ids(&mut self, low: [u8; 16], high: [u8; 16], after: u64) -> Result<Found, JournalError> {
        let sql = "SELECT seq FROM callbacks WHERE seq > ?1 AND seq <= ?2 AND id BETWEEN ?3 AND ?4 ORDER BY seq";
        self.find(Stream::Callbacks, sql, after, |after, upto| (after, upto, low, high))
    }

    /// Events of the callback with this seq, among some of those behind `after`.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn events_of(&mut self, callback_seq: u64, after: u64) -> Result<Found, JournalError> {
        let sql = "SELECT seq FROM events WHERE seq > ?1 AND seq <= ?2 AND callback = ?3 ORDER BY seq";
        self.find(Stream::Events, sql, after, |after, upto| (after, upto, callback_seq.cast_signed()))
    }

    fn find<P: Params>(
        &mut self,
        stream: Stream,
        sql: &str,
        after: u64,
        params: impl FnOnce(i64, i64) -> P,
    ) -> Result<Found, JournalError> {
        let upto = after.saturating_add(STRIDE).min(self.end(stream)).max(after);
        let mut statement = self.connection.prepare_cached(sql)?;
        let seqs = statement.query_map(params(after.cast_signed(), upto.cast_signed()), |row| row.get::<_, i64>(0))?;
        let seqs = seqs.map(|seq| seq.map(i64::cast_unsigned)).collect::<Result<_, _>>()?;
        Ok(Found { seqs, upto })
    }
}
