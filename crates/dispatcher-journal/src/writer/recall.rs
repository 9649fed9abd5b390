//! Remembers what was appended before the start, so that repeats of that are recognised too: behind the open door.

use dispatcher_core::Timestamp;
use tracing::warn;

use super::Writer;

/// How many rows are read at once.
const RECALL: i64 = 512;

impl Writer<'_> {
    /// Remembers some more of what was appended before the start, newest first.
    pub(super) fn recall(&mut self) {
        let Some(before) = self.recall_before.take() else { return };
        match self.recall_some(before) {
            Ok(next) => self.recall_before = next,
            Err(err) => warn!(%err, "repeats of callbacks from before the start may be stored again"),
        }
    }

    fn recall_some(&mut self, before: u64) -> rusqlite::Result<Option<u64>> {
        let now = self.now();
        let clock = Timestamp::now();
        let mut statement = self
            .tables
            .connection()
            .prepare_cached("SELECT seq, at, identity FROM callbacks WHERE seq < ?1 ORDER BY seq DESC LIMIT ?2")?;
        let mut rows = statement.query((before.cast_signed(), RECALL))?;
        let mut next = None;
        while let Some(row) = rows.next()? {
            let (seq, at, identity): (i64, i64, Option<[u8; 16]>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let age = clock.since(Timestamp::from_millis(at)).as_millis();
            let since = now - i64::try_from(age).unwrap_or(i64::MAX / 2);
            let seq = seq.cast_unsigned();
            match identity {
                Some(identity) if !self.dedupe.recall(u128::from_be_bytes(identity), seq, since, now) => {
                    return Ok(None);
                }
                // Times never fall: those before it are older.
                None if !self.dedupe.reaches(since, now) => return Ok(None),
                _ => next = Some(seq),
            }
        }
        Ok(next)
    }
}
