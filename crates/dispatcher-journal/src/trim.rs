//! Deletes rows, a bounded number in each transaction.
//!
//! What is kept longest goes as a prefix of its stream: the floor rises. What is kept for a shorter time is swept up in
//! between, row by row. Which rows may go at all is decided elsewhere and comes as a bound.

use std::time::{Duration, Instant};

use dispatcher_core::Timestamp;
use rusqlite::Connection;

use crate::{
    Stream, blocks,
    decision::ids,
    gone::{self, Gone},
    meta,
    rules::Rules,
    shared::Shared,
    step::step,
    transaction::Tables,
    trouble::{Fault, Trouble},
};

/// How many rows one transaction deletes at most, and about how many bytes of them: a large body is many pages to free.
const ROWS: usize = 500;
const BYTES: i64 = 4 << 20;
/// How long a sweep looks for rows to delete before it lets others have the writer.
const LOOK: Duration = Duration::from_millis(15);

/// What is to be deleted in one transaction.
#[derive(Debug)]
pub(crate) struct Cut {
    pub(crate) stream: Stream,
    rows: Rows,
}

#[derive(Debug)]
enum Rows {
    /// All from `first` on – where there is a row at all – up to `floor`, which is the floor then.
    Prefix { first: Option<u64>, floor: u64 },
    /// These; the cursor of the sweep then stands at `cursor`.
    Swept { seqs: Vec<u64>, cursor: u64, keep: Duration },
}

/// What is left where it is, since a damaged page keeps it from being deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Leave {
    #[default]
    Nothing,
    /// What is on record of decisions.
    Decisions,
    All,
}

impl Leave {
    /// What to leave once this was not enough.
    pub(crate) fn more(self, stream: Stream) -> Leave {
        match (self, stream) {
            (Leave::Nothing, Stream::Callbacks) => Leave::Decisions,
            _ => Leave::All,
        }
    }
}

/// What a sweep found.
pub(crate) struct Sweep {
    /// How far it looked.
    pub(crate) cursor: u64,
    /// What is to be deleted, if anything is.
    pub(crate) cut: Option<Cut>,
}

/// The next rows above the floor, none of them beyond `bound` or, if there is a `cutoff`, stored after it.
pub(crate) fn prefix(
    connection: &Connection,
    stream: Stream,
    gone: Gone,
    cutoff: Option<Timestamp>,
    bound: u64,
) -> Result<Option<Cut>, Trouble> {
    if bound <= gone.floor {
        return Ok(None);
    }
    let (mut floor, mut first, mut rows, mut bytes) = (bound, None, 0, 0);
    let mut last = gone.floor;
    let too_late = too_late();
    let sql = format!("SELECT seq, at, {} FROM {stream} WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq", size_of(stream));
    let looked: rusqlite::Result<()> = (|| {
        let mut statement = connection.prepare_cached(&sql)?;
        let mut found = statement.query(((gone.floor + 1).cast_signed(), bound.cast_signed()))?;
        while let Some(row) = found.next()? {
            let (seq, at, size): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let seq = seq.cast_unsigned();
            if cutoff.is_some_and(|cutoff| at > cutoff.as_millis()) && at < too_late {
                floor = seq - 1;
                return Ok(());
            }
            if rows == ROWS || bytes >= BYTES {
                floor = last;
                return Ok(());
            }
            first.get_or_insert(seq);
            (last, rows, bytes) = (seq, rows + 1, bytes + size);
        }
        Ok(())
    })();
    if let Err(err) = looked {
        let trouble = Trouble::from(err);
        if trouble.fault != Fault::Own {
            return Err(trouble);
        }
        // A page that cannot be read: up to it, or past one of its seqs. Nobody could read what is there anyway.
        floor = if first.is_some() { last } else { gone.floor + 1 };
    }
    Ok((floor > gone.floor).then_some(Cut { stream, rows: Rows::Prefix { first, floor } }))
}

/// Looks on from `cursor` for rows of commands that are kept for `keep` or less, none beyond `bound` or stored after
/// `cutoff`.
pub(crate) fn sweep(
    connection: &Connection,
    stream: Stream,
    cursor: u64,
    rules: &Rules,
    keep: Duration,
    cutoff: Timestamp,
    bound: u64,
) -> Result<Sweep, Trouble> {
    if bound <= cursor {
        return Ok(Sweep { cursor, cut: None });
    }
    let began = Instant::now();
    let too_late = too_late();
    let (mut at_end, mut last, mut bytes, mut seqs) = (bound, cursor, 0, Vec::new());
    let looked: rusqlite::Result<()> = (|| {
        let mut statement = connection.prepare_cached(match stream {
            Stream::Callbacks => {
                "SELECT seq, at, octet_length(body), command FROM callbacks WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq"
            }
            Stream::Events => {
                "SELECT e.seq, e.at, coalesce(octet_length(e.data), 0), c.command
                 FROM events e LEFT JOIN callbacks c ON c.seq = e.callback
                 WHERE e.seq >= ?1 AND e.seq <= ?2 ORDER BY e.seq"
            }
        })?;
        let mut found = statement.query(((cursor + 1).cast_signed(), bound.cast_signed()))?;
        while let Some(row) = found.next()? {
            let (seq, at, size): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            if at > cutoff.as_millis() && at < too_late {
                at_end = seq.cast_unsigned() - 1;
                return Ok(());
            }
            if seqs.len() == ROWS || bytes >= BYTES || (last > cursor && began.elapsed() > LOOK) {
                at_end = last;
                return Ok(());
            }
            last = seq.cast_unsigned();
            // An event whose callback is damaged goes with the floor.
            let command = row.get_ref(3)?.as_str().ok();
            if command.is_some_and(|command| rules.keep_for(command) <= keep) {
                seqs.push(last);
                bytes += size;
            }
        }
        Ok(())
    })();
    if let Err(err) = looked {
        let trouble = Trouble::from(err);
        if trouble.fault != Fault::Own {
            return Err(trouble);
        }
        at_end = last.max(cursor + 1);
    }
    let cursor = at_end;
    let cut = (!seqs.is_empty()).then_some(Cut { stream, rows: Rows::Swept { seqs, cursor, keep } });
    Ok(Sweep { cursor, cut })
}

impl Tables<'_> {
    /// Does it, in one transaction: how many rows were deleted, and how many records of decisions with them. Whatever is left
    /// where it is, the floor rises above it.
    pub(crate) fn cut(&mut self, cut: &Cut, shared: &Shared, leave: Leave) -> Result<(u64, u64), Trouble> {
        let stream = cut.stream;
        let before = self.gone[stream as usize];
        let after = match &cut.rows {
            Rows::Prefix { floor, .. } => Gone { floor: before.floor.max(*floor), ..before },
            Rows::Swept { seqs, .. } => Gone { swept: before.swept.max(seqs.last().copied().unwrap_or(0)), ..before },
        };
        // First: whoever finds a row missing has to find it excused.
        shared.excuse(stream, after);
        let mut deleted = (0, 0);
        let outcome = self.transact(|tables| {
            tables.begin()?;
            tables.gone[stream as usize] = after;
            let connection = tables.connection();
            if leave != Leave::All {
                deleted.0 = delete(connection, stream, &cut.rows)?;
            }
            if leave == Leave::Nothing && stream == Stream::Callbacks {
                deleted.1 = delete_decisions(connection, before.floor, &cut.rows)?;
            }
            if stream == Stream::Events && after.floor > before.floor {
                blocks::forget(connection, after.floor)?;
            }
            if let Rows::Swept { cursor, keep, .. } = &cut.rows {
                meta::set_number(connection, &cursor_key(stream, *keep), *cursor)?;
            }
            gone::write(connection, stream, after)?;
            meta::set_number(connection, "at", tables.at.as_millis().cast_unsigned())?;
            step("trim.before_commit");
            Ok(())
        });
        if outcome.is_err() {
            shared.excuse(stream, before);
        }
        outcome.map(|_| deleted)
    }

    /// Deletes callbacks that were put back for events which are gone by now: how many, and how many records of decisions
    /// with them.
    pub(crate) fn cut_restored(&mut self) -> Result<(u64, u64), Trouble> {
        let floor = self.gone[Stream::Events as usize].floor.cast_signed();
        let sql = "SELECT callback FROM restored WHERE event <= ?1 LIMIT 100";
        let seqs = self
            .connection()
            .prepare_cached(sql)?
            .query_map([floor], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<i64>>>()?;
        if seqs.is_empty() {
            return Ok((0, 0));
        }
        let mut decisions = 0;
        self.transact(|tables| {
            tables.begin()?;
            for seq in &seqs {
                for sql in ["DELETE FROM callbacks WHERE seq = ?1", "DELETE FROM restored WHERE callback = ?1"] {
                    tables.connection().prepare_cached(sql)?.execute([seq])?;
                }
                decisions += delete_decisions_of(tables.connection(), seq.cast_unsigned(), seq.cast_unsigned())?;
            }
            Ok(())
        })?;
        Ok((seqs.len() as u64, decisions))
    }
}

/// A time that no row has: a bit of it has flipped, and it must not keep all that is behind it for ever. A clock that was set
/// back may be less than a day behind the rows.
pub(crate) fn too_late() -> i64 {
    Timestamp::now().after(Duration::from_secs(24 * 3600)).as_millis()
}

fn delete(connection: &Connection, stream: Stream, rows: &Rows) -> Result<u64, Trouble> {
    match rows {
        Rows::Prefix { first: None, .. } => Ok(0),
        Rows::Prefix { first: Some(first), floor } => {
            let sql = format!("DELETE FROM {stream} WHERE seq >= ?1 AND seq <= ?2");
            let deleted = connection.prepare_cached(&sql)?.execute((first.cast_signed(), floor.cast_signed()))?;
            Ok(deleted as u64)
        }
        Rows::Swept { seqs, .. } => {
            let mut statement = connection.prepare_cached(&format!("DELETE FROM {stream} WHERE seq = ?1"))?;
            seqs.iter().try_fold(0, |deleted, seq| Ok(deleted + statement.execute([seq.cast_signed()])? as u64))
        }
    }
}

/// What is on record of the callbacks that go. Of those whose rows are missing as well: nobody else would delete that.
fn delete_decisions(connection: &Connection, floor: u64, rows: &Rows) -> Result<u64, Trouble> {
    match rows {
        Rows::Prefix { floor: last, .. } => delete_decisions_of(connection, floor + 1, *last),
        Rows::Swept { seqs, .. } => {
            seqs.iter().try_fold(0, |deleted, &seq| Ok(deleted + delete_decisions_of(connection, seq, seq)?))
        }
    }
}

fn delete_decisions_of(connection: &Connection, first: u64, last: u64) -> Result<u64, Trouble> {
    let sql = "DELETE FROM decisions WHERE id BETWEEN ?1 AND ?2";
    Ok(connection.prepare_cached(sql)?.execute(ids(first, last))? as u64)
}

/// Where a sweep keeps its cursor.
pub(crate) fn cursor_key(stream: Stream, keep: Duration) -> String {
    format!("{stream}_sweep {}", keep.as_millis())
}

/// How much a row's large column has, which SQLite tells without reading it.
fn size_of(stream: Stream) -> &'static str {
    match stream {
        Stream::Callbacks => "octet_length(body)",
        Stream::Events => "coalesce(octet_length(data), 0)",
    }
}
