//! What the writer does with records of decisions, and how they are read back.

use std::sync::Arc;

use dispatcher_core::Callback;
use rusqlite::OptionalExtension;

use crate::{
    DecisionKind, DecisionRecord, DecisionRow, JournalError, Reader, Stream,
    decision::{DECISION_COLUMNS, DECISION_WIDTH, IDS, decision_values, id, ids, read_decision},
    place::Seat,
    reader::{columns, is_unreadable, limit},
    row::{CALLBACK_COLUMNS, CALLBACK_WIDTH, Names, read_callback},
    transaction::{EventOf, Tables, insert},
    trouble::Trouble,
};

impl Tables<'_> {
    /// Stores what was decided about a callback that was appended in this transaction, with the events of it.
    pub(crate) fn decide(
        &mut self,
        seq: u64,
        callback: &Arc<Callback>,
        record: &DecisionRecord,
    ) -> Result<(), Trouble> {
        self.put_decision(id(seq, 0), record)?;
        self.tell(seq, callback, record)
    }

    /// Stores a record beside a callback that is there already: whether there was a place for it. Not stored is what comes
    /// after the callback was deleted, unless events need that back, and what comes after 255 others.
    pub(crate) fn attach(
        &mut self,
        seat: Seat,
        callback: &Arc<Callback>,
        record: &DecisionRecord,
    ) -> Result<bool, Trouble> {
        let Seat { seq, is_repeat } = seat;
        let is_gone = self.gone[Stream::Callbacks as usize].excuses(seq) && !self.has_callback(seq)?;
        if is_gone && record.events.is_empty() {
            return Ok(false);
        }
        let Some(place) = self.next_decision(seq, record.kind)? else { return Ok(false) };
        self.begin()?;
        self.put_decision(place, record)?;
        if !is_repeat || is_gone || record.events.is_empty() {
            self.tell(seq, callback, record)?;
            return Ok(true);
        }
        // The events are of the callback that is stored, which has another id.
        let Some(stored) = self.stored_callback(seq) else { return Ok(false) };
        self.tell(seq, &stored, record)?;
        Ok(true)
    }

    fn put_decision(&mut self, id: u64, record: &DecisionRecord) -> Result<(), Trouble> {
        let at = self.at;
        insert(self.decision_statement(), &decision_values(id, at, record))
    }

    fn tell(&mut self, seq: u64, callback: &Arc<Callback>, record: &DecisionRecord) -> Result<(), Trouble> {
        record.events.iter().try_for_each(|told| {
            let n = record.kind.event_n();
            let of = EventOf { callback_seq: seq, callback, handler: &told.handler, sinks: &told.sinks, replay: false };
            self.emit_one(&of, n, &told.event)
        })
    }

    /// The next free id of a callback's records; the first is kept for what was answered.
    fn next_decision(&self, seq: u64, kind: DecisionKind) -> Result<Option<u64>, Trouble> {
        let (first, last) = ids(seq, seq);
        let sql = "SELECT max(id) FROM decisions WHERE id BETWEEN ?1 AND ?2";
        let newest: Option<i64> = self.connection().prepare_cached(sql)?.query_row((first, last), |row| row.get(0))?;
        let lowest = first + i64::from(kind != DecisionKind::Decided);
        let next = newest.map_or(lowest, |newest| lowest.max(newest.saturating_add(1)));
        Ok((next <= last).then_some(next.cast_unsigned()))
    }

    fn has_callback(&self, seq: u64) -> Result<bool, Trouble> {
        let sql = "SELECT 1 FROM callbacks WHERE seq = ?1";
        Ok(self.connection().prepare_cached(sql)?.exists([seq.cast_signed()])?)
    }

    /// The callback in this row; `None` if it is damaged.
    fn stored_callback(&self, seq: u64) -> Option<Arc<Callback>> {
        let sql = format!("SELECT {CALLBACK_COLUMNS}, crc FROM callbacks WHERE seq = ?1");
        let read = self.connection().prepare_cached(&sql).and_then(|mut statement| {
            statement
                .query_row([seq.cast_signed()], |row| {
                    Ok(columns::<CALLBACK_WIDTH>(row)
                        .ok()
                        .and_then(|(values, crc)| read_callback(&values, crc, &mut Names::default()).ok()))
                })
                .optional()
        });
        read.ok().flatten().flatten().map(|row| row.callback)
    }
}

/// Some records of decisions, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DecisionPage {
    /// Those that are as they were stored.
    pub rows: Vec<DecisionRow>,
    /// Those that are not: the seqs of their callbacks, with what is wrong.
    pub damaged: Vec<(u64, String)>,
    /// Up to which id was looked: go on behind it. `None` when there was nothing further to look at.
    pub upto: Option<u64>,
}

impl Reader {
    /// What is on record of the decisions about the callback with this seq, in order. Damaged records are passed over.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn decisions(&mut self, callback_seq: u64) -> Result<Vec<DecisionRow>, JournalError> {
        let (first, last) = ids(callback_seq, callback_seq);
        let mut page = DecisionPage::default();
        match self.scan_decisions(first, last, limit(usize::MAX), |id, read| page.push(id, read)) {
            Err(err) if !is_unreadable(&err) => Err(err.into()),
            _ => Ok(page.rows),
        }
    }

    /// The records behind the one with the id `after` – zero for all; `callback_seq * 256 - 1` for those from a callback on –
    /// at most `max_rows` of them, and never more than 512. What cannot be read is passed over.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn decisions_page(&mut self, after: u64, max_rows: usize) -> Result<DecisionPage, JournalError> {
        let (first, last) = ids(1, self.end(Stream::Callbacks));
        let mut page = DecisionPage::default();
        let Ok(mut next) = i64::try_from(after.saturating_add(1)) else { return Ok(page) };
        next = next.max(first);
        let mut failed_at = None;
        let most = limit(max_rows.max(1));
        let mut looked = 0;
        let room = |page: &DecisionPage| most - i64::try_from(page.rows.len() + page.damaged.len()).unwrap_or(most);
        // A page of the file that cannot be read costs a look for each of its callbacks; the first of them needs two.
        while next <= last && looked < most.max(2) && room(&page) > 0 {
            looked += 1;
            let rows = room(&page);
            match self.scan_decisions(next, last, rows, |id, read| page.push(id, read)) {
                Ok(_) => break,
                // Rows before the page were read: on behind them.
                Err(err) if is_unreadable(&err) => {
                    let reached = page.upto.map_or(next, |upto| next.max(upto.cast_signed() + 1));
                    if failed_at.replace(reached) == Some(reached) {
                        // One error may be chance; at the second the records of the next callback count as damaged.
                        let seq = reached.cast_unsigned() / IDS;
                        page.damaged.push((seq, format!("cannot be read: {err}")));
                        page.upto = Some(id(seq, u8::MAX));
                        next = ids(seq + 1, seq + 1).0;
                    } else {
                        next = reached;
                    }
                }
                Err(err) if page.upto.is_none() => return Err(err.into()),
                Err(_) => break,
            }
        }
        Ok(page)
    }

    /// Ids that no callback up to `end` has, of records that are not as they were stored: some of them at most. Intact ones
    /// are of callbacks that came meanwhile.
    pub(crate) fn stray_decisions(&mut self, end: u64) -> Result<Vec<i64>, JournalError> {
        let (first, last) = (ids(1, 1).0, ids(0, end).1);
        let mut stray = Vec::new();
        for (from, to) in [(i64::MIN, first - 1), (last.saturating_add(1), i64::MAX)] {
            let found = self.scan_decisions(from, to, limit(usize::MAX), |id, read| {
                if read.is_err() {
                    stray.push(id);
                }
            });
            match found {
                Err(err) if !is_unreadable(&err) => return Err(err.into()),
                _ => {}
            }
        }
        Ok(stray)
    }

    /// Gives what there is between two ids, with its id, or what is wrong with it.
    fn scan_decisions(
        &mut self,
        first: i64,
        last: i64,
        most: i64,
        mut found: impl FnMut(i64, Result<DecisionRow, String>),
    ) -> rusqlite::Result<()> {
        let sql =
            format!("SELECT {DECISION_COLUMNS}, crc FROM decisions WHERE id >= ?1 AND id <= ?2 ORDER BY id LIMIT ?3");
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query((first, last, most))?;
        while let Some(row) = rows.next()? {
            let read = columns::<DECISION_WIDTH>(row)
                .and_then(|(values, crc)| read_decision(&values, crc).map_err(|damage| damage.to_string()));
            found(row.get(0)?, read);
        }
        Ok(())
    }
}

impl DecisionPage {
    fn push(&mut self, id: i64, read: Result<DecisionRow, String>) {
        let id = id.cast_unsigned();
        self.upto = Some(id);
        match read {
            Ok(row) => self.rows.push(row),
            Err(reason) => self.damaged.push((id / IDS, reason)),
        }
    }
}
