//! Takes from a consumer that does not run what is overdue and in retention's way.
//!
//! Consumers that run do this themselves, with commits of their own, when they see [`Overdue`](crate::Overdue) rise.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{OptionalExtension, params};

use crate::{
    Consumer, Dead, Skipped, Stream,
    mend::checkpoint_crc,
    reader::columns,
    records,
    row::{EVENT_COLUMNS, EVENT_WIDTH, Names, StoredEvent},
    transaction::Tables,
    trouble::Trouble,
};

/// How many items become dead letters in one transaction, and for how long it may take.
const LETTERS: u64 = 100;
const LONGEST: Duration = Duration::from_millis(20);

impl Tables<'_> {
    /// Lets a consumer go on behind `upto`, with a record of what it did not do: how many seqs that are at most.
    pub(crate) fn skip_to(
        &mut self,
        consumer: &Arc<str>,
        stream: Stream,
        after: u64,
        upto: u64,
    ) -> Result<u64, Trouble> {
        let reason = "retention skipped it: it was overdue, and this consumer does not run".to_owned();
        self.transact(|tables| {
            tables.begin()?;
            tables.put_skipped(consumer, &Skipped { first: after + 1, last: upto, reason })?;
            let sql = "DELETE FROM pending WHERE consumer = ?1 AND seq <= ?2";
            tables.connection().prepare_cached(sql)?.execute((&**consumer, upto.cast_signed()))?;
            tables.raise_checkpoint(consumer, stream, upto)
        })?;
        Ok(upto - after)
    }

    /// Makes dead letters of the next items up to `upto` that are meant for this consumer: how many there were, and whether
    /// there may be more. Of events those are the ones that name its sink, of callbacks all.
    pub(crate) fn bury_some(&mut self, consumer: &Arc<str>, stream: Stream, upto: u64) -> Result<(u64, bool), Trouble> {
        let began = Instant::now();
        let mut buried = 0;
        let mut more = false;
        self.transact(|tables| {
            tables.begin()?;
            let pending = tables.pending_up_to(consumer, upto)?;
            let had_pending = !pending.is_empty();
            for (place, dead) in (1..).zip(&pending) {
                tables.put_dead(consumer, consumer, stream, dead)?;
                let sql = "DELETE FROM pending WHERE consumer = ?1 AND seq = ?2";
                tables.connection().prepare_cached(sql)?.execute((&**consumer, dead.seq.cast_signed()))?;
                buried += 1;
                if began.elapsed() > LONGEST && place < pending.len() {
                    break;
                }
            }
            if had_pending {
                more = true;
                return Ok(());
            }
            let known = records::consumers(tables.connection())?.into_iter().find(|known| *known.name == **consumer);
            let known = known.unwrap_or_else(|| Consumer::new(&**consumer, stream));
            let reached = known.checkpoint;
            let mut names = Names::default();
            let mut last = reached;
            while last < upto && last < reached + LETTERS && began.elapsed() <= LONGEST {
                last += 1;
                if let Some(reason) = tables.is_meant_for(&known, last, &mut names) {
                    let dead = Dead { seq: last, reason, attempts: 0, first_at: tables.at };
                    tables.put_dead(consumer, consumer, stream, &dead)?;
                    buried += 1;
                }
            }
            more = last < upto;
            tables.raise_checkpoint(consumer, stream, last)
        })?;
        Ok((buried, more))
    }

    fn pending_up_to(&self, consumer: &str, upto: u64) -> Result<Vec<Dead>, Trouble> {
        let mut statement = self.connection().prepare_cached(
            "SELECT seq, attempt, first_at, error FROM pending WHERE consumer = ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3",
        )?;
        let pending = statement.query_map((consumer, upto.cast_signed(), LETTERS.cast_signed()), |row| {
            let error: String = row.get(3)?;
            let last = if error.is_empty() { String::new() } else { format!("; its last attempt: {error}") };
            Ok(Dead {
                seq: row.get::<_, i64>(0)?.cast_unsigned(),
                reason: format!("{OVERDUE}{last}"),
                attempts: row.get(1)?,
                first_at: dispatcher_core::Timestamp::from_millis(row.get(2)?),
            })
        })?;
        Ok(pending.collect::<rusqlite::Result<_>>()?)
    }

    /// Why this item becomes a dead letter of this consumer; `None` where it is not meant for it, or was deleted before.
    fn is_meant_for(&self, consumer: &Consumer, seq: u64, names: &mut Names) -> Option<String> {
        let found = match consumer.stream {
            Stream::Callbacks => {
                let sql = "SELECT 1 FROM callbacks WHERE seq = ?1";
                let found = self
                    .connection()
                    .prepare_cached(sql)
                    .and_then(|mut statement| statement.query_row([seq.cast_signed()], |_| Ok(true)).optional());
                found.map_err(|err| err.to_string())
            }
            Stream::Events => {
                let sql = format!("SELECT {EVENT_COLUMNS}, crc FROM events WHERE seq = ?1");
                let read = self.connection().prepare_cached(&sql).and_then(|mut statement| {
                    statement
                        .query_row([seq.cast_signed()], |row| {
                            Ok(columns::<EVENT_WIDTH>(row).and_then(|(values, crc)| {
                                StoredEvent::read(&values, crc, names).map_err(|damage| damage.to_string())
                            }))
                        })
                        .optional()
                });
                match read {
                    Ok(None) => Ok(None),
                    Ok(Some(Ok(event))) => Ok(Some(consumer.is_named(&event.sinks, seq))),
                    Ok(Some(Err(reason))) => Err(reason),
                    Err(err) => Err(err.to_string()),
                }
            }
        };
        match found {
            Ok(Some(true)) => Some(OVERDUE.to_owned()),
            Ok(Some(false)) => None,
            Ok(None) if self.gone[consumer.stream as usize].excuses(seq) => None,
            Ok(None) => Some(format!("{OVERDUE}; its row is missing")),
            // Nobody can tell whom it is meant for: as everywhere, it is a dead letter of each.
            Err(reason) => Some(format!("{OVERDUE}; its row {reason}")),
        }
    }

    fn raise_checkpoint(&mut self, consumer: &str, stream: Stream, seq: u64) -> Result<(), Trouble> {
        let sql = "UPDATE checkpoint SET seq = ?2, crc = ?3 WHERE consumer = ?1 AND seq < ?2";
        let crc = checkpoint_crc(consumer, stream, seq);
        self.connection().prepare_cached(sql)?.execute(params![consumer, seq.cast_signed(), crc])?;
        Ok(())
    }
}

const OVERDUE: &str = "it was overdue for deletion, and its consumer does not run";
