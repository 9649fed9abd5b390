//! Reading back: rows in the order of their seqs. What consumers left is in `records`.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use dispatcher_core::Callback;
use rusqlite::{Connection, OptionalExtension, ffi, types::ValueRef};

use crate::{
    CallbackRow, EventRow, JournalError, Row, Stream,
    gone::Gone,
    row::{CALLBACK_COLUMNS, CALLBACK_WIDTH, EVENT_COLUMNS, EVENT_WIDTH, Names, StoredEvent, read_callback},
    schema,
    shared::{Shared, lock},
    tail::Held,
};

/// How many rows one call reads at most: a reader that stays in the file keeps the write-ahead log from starting over.
const PAGE: usize = 512;
/// How many callbacks are kept that events of the last pages referred to.
const CALLBACKS: usize = 64;

/// Reads the journal, with a connection of its own. Calls block for disk accesses, each for one page.
///
/// A page has a [`Row`] for every seq but those that retention has deleted, which it passes over: what is missing or not as it
/// was appended is `Damaged`, and the rest is read past it.
pub struct Reader {
    pub(crate) connection: Connection,
    pub(crate) rows: Rows,
}

impl Reader {
    pub(crate) fn open(path: &Path, shared: Arc<Shared>) -> Result<Reader, JournalError> {
        let connection = schema::open_reader(path)?;
        shared.readers.fetch_add(1, Ordering::Relaxed);
        let rows = Rows { shared, names: Names::default(), callbacks: vec![None; CALLBACKS] };
        Ok(Reader { connection, rows })
    }

    /// Callbacks in order of seq, from the one behind `after` on: at most `max_rows`, and no further one once they hold
    /// `max_bytes`. Empty when there is none between `after` and the end of the stream.
    ///
    /// # Errors
    /// When nothing could be read now; the same may work later.
    pub fn callbacks(
        &mut self,
        after: u64,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row<CallbackRow>>, JournalError> {
        self.callbacks_until(after, u64::MAX, max_rows, max_bytes)
    }

    fn callbacks_until(
        &mut self,
        after: u64,
        last: u64,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row<CallbackRow>>, JournalError> {
        let end = self.rows.shared.visible(Stream::Callbacks).min(last);
        let after = after.max(self.floor(Stream::Callbacks));
        if let Some(rows) = lock(&self.rows.shared.tail).callbacks.page(after + 1, end, max_rows.min(PAGE), max_bytes) {
            return Ok(rows.into_iter().map(Row::Intact).collect());
        }
        self.stored_callbacks(after, end, max_rows, max_bytes)
    }

    /// The same from the file, whatever is in memory.
    pub(crate) fn stored_callbacks(
        &mut self,
        after: u64,
        end: u64,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row<CallbackRow>>, JournalError> {
        self.page(Stream::Callbacks, after, end, max_rows, max_bytes, |rows, _, row| {
            let callback = rows.callback(row)?;
            let bytes = callback.bytes();
            Ok((callback, bytes))
        })
    }

    /// Events in order of seq, as [`callbacks`](Reader::callbacks) reads those. An event whose callback is missing or
    /// damaged is damaged too.
    ///
    /// # Errors
    /// When nothing could be read now; the same may work later.
    pub fn events(
        &mut self,
        after: u64,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row<EventRow>>, JournalError> {
        self.events_until(after, u64::MAX, max_rows, max_bytes)
    }

    fn events_until(
        &mut self,
        after: u64,
        last: u64,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row<EventRow>>, JournalError> {
        let end = self.rows.shared.visible(Stream::Events).min(last);
        let after = after.max(self.floor(Stream::Events));
        if let Some(rows) = lock(&self.rows.shared.tail).events.page(after + 1, end, max_rows.min(PAGE), max_bytes) {
            return Ok(rows.into_iter().map(Row::Intact).collect());
        }
        self.stored_events(after, end, max_rows, max_bytes)
    }

    /// The same from the file, whatever is in memory.
    pub(crate) fn stored_events(
        &mut self,
        after: u64,
        end: u64,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<Vec<Row<EventRow>>, JournalError> {
        self.page(Stream::Events, after, end, max_rows, max_bytes, |rows, connection, row| {
            let event = rows.event(connection, row)?;
            let bytes = event.bytes();
            Ok((event, bytes))
        })
    }

    /// The callback with this seq. One that retention has deleted is damaged too; [`floor`](Reader::floor) tells.
    ///
    /// # Errors
    /// When it could not be read now; the same may work later.
    pub fn callback(&mut self, seq: u64) -> Result<Row<CallbackRow>, JournalError> {
        let rows = self.callbacks_until(seq.saturating_sub(1), seq, 1, usize::MAX)?;
        Ok(self.only(Stream::Callbacks, seq, rows))
    }

    /// The event with this seq. One that retention has deleted is damaged too; [`floor`](Reader::floor) tells.
    ///
    /// # Errors
    /// When it could not be read now; the same may work later.
    pub fn event(&mut self, seq: u64) -> Result<Row<EventRow>, JournalError> {
        let rows = self.events_until(seq.saturating_sub(1), seq, 1, usize::MAX)?;
        Ok(self.only(Stream::Events, seq, rows))
    }

    /// Up to which seq retention has deleted all rows of a stream; zero if none.
    #[must_use]
    pub fn floor(&self, stream: Stream) -> u64 {
        self.rows.shared.gone(stream).floor
    }

    fn only<T>(&self, stream: Stream, seq: u64, rows: Vec<Row<T>>) -> Row<T> {
        let is_gone = self.rows.shared.gone(stream).excuses(seq);
        rows.into_iter().next().unwrap_or_else(|| Row::Damaged {
            seq,
            reason: if is_gone { "was deleted, since it was kept for long enough" } else { MISSING }.to_owned(),
        })
    }

    /// A page that accounts for every seq from behind `after` to `end`, as far as it has room.
    fn page<T>(
        &mut self,
        stream: Stream,
        after: u64,
        end: u64,
        max_rows: usize,
        max_bytes: usize,
        mut read: impl FnMut(&mut Rows, &Connection, &rusqlite::Row<'_>) -> Result<(T, usize), String>,
    ) -> Result<Vec<Row<T>>, JournalError> {
        let Reader { connection, rows } = self;
        let columns = match stream {
            Stream::Callbacks => CALLBACK_COLUMNS,
            Stream::Events => EVENT_COLUMNS,
        };
        let sql = format!("SELECT {columns}, crc FROM {stream} {RANGE}");
        let shared = rows.shared.clone();
        let gone = || shared.gone(stream);
        let mut page =
            Page { rows: Vec::new(), room: max_rows.min(PAGE), bytes: max_bytes, next: after + 1, gone: &gone };
        let mut unreadable_at = None;
        while page.has_room() && page.next <= end {
            let mut damaged = BTreeMap::new();
            let scanned = scan(connection, &sql, &mut page, end, &mut damaged, |row| read(rows, connection, row));
            if !page.has_room() || page.next > end {
                break;
            }
            match scanned {
                // The scan came to its end, or to its limit, and what follows was either not intact or not there.
                Ok(_) if damaged.contains_key(&page.next) => {
                    while let Some(reason) = damaged.remove(&page.next)
                        && page.has_room()
                    {
                        page.push_damaged(reason);
                    }
                }
                Ok(is_end) => {
                    // Not beyond a row that is there but damaged, nor beyond what was looked at.
                    let rest = if is_end { end } else { page.next };
                    page.push_missing(damaged.keys().find(|&&seq| seq > page.next).map_or(rest, |&seq| seq - 1));
                }
                // One error may be chance; at the second the next seq counts as damaged, and the scan goes on behind it.
                Err(err) if is_unreadable(&err) => {
                    if unreadable_at.replace(page.next) == Some(page.next) {
                        page.push_damaged(format!("cannot be read: {err}"));
                    }
                }
                Err(err) if page.rows.is_empty() => return Err(err.into()),
                Err(_) => break,
            }
        }
        Ok(page.rows)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.rows.shared.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is read of a table at once. Rows beyond the end are none that anyone was told of.
const RANGE: &str = "WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3";

const MISSING: &str = "is missing";

/// What turns columns into rows.
pub(crate) struct Rows {
    pub(crate) shared: Arc<Shared>,
    pub(crate) names: Names,
    /// Callbacks that events refer to, each at its seq modulo their number: events of one callback come together.
    callbacks: Vec<Option<CallbackRow>>,
}

impl Rows {
    fn callback(&mut self, row: &rusqlite::Row<'_>) -> Result<CallbackRow, String> {
        let (values, crc) = columns::<CALLBACK_WIDTH>(row)?;
        read_callback(&values, crc, &mut self.names).map_err(|damage| damage.to_string())
    }

    fn event(&mut self, connection: &Connection, row: &rusqlite::Row<'_>) -> Result<EventRow, String> {
        let (values, crc) = columns::<EVENT_WIDTH>(row)?;
        let event = StoredEvent::read(&values, crc, &mut self.names).map_err(|damage| damage.to_string())?;
        let seq = event.callback_seq;
        let callback =
            self.callback_of_event(connection, seq).map_err(|reason| format!("its callback {seq} {reason}"))?;
        Ok(event.with(callback))
    }

    fn callback_of_event(&mut self, connection: &Connection, seq: u64) -> Result<Arc<Callback>, String> {
        let place = usize::try_from(seq).unwrap_or(0) % CALLBACKS;
        if let Some(row) = &self.callbacks[place]
            && row.seq == seq
        {
            return Ok(row.callback.clone());
        }
        let sql = format!("SELECT {CALLBACK_COLUMNS}, crc FROM callbacks WHERE seq = ?1");
        let row = connection
            .prepare_cached(&sql)
            .and_then(|mut statement| statement.query_row([seq.cast_signed()], |row| Ok(self.callback(row))).optional())
            .map_err(|err| format!("cannot be read: {err}"))?
            .ok_or(MISSING)??;
        let callback = row.callback.clone();
        self.callbacks[place] = Some(row);
        Ok(callback)
    }
}

/// The columns of a row, and the checksum behind them.
pub(crate) fn columns<'r, const WIDTH: usize>(
    row: &'r rusqlite::Row<'_>,
) -> Result<([ValueRef<'r>; WIDTH], ValueRef<'r>), String> {
    let mut values = [ValueRef::Null; WIDTH];
    for (idx, value) in values.iter_mut().enumerate() {
        *value = row.get_ref(idx).map_err(|err| err.to_string())?;
    }
    Ok((values, row.get_ref(WIDTH).map_err(|err| err.to_string())?))
}

/// A page while it is filled.
struct Page<'g, T> {
    /// What retention has deleted, as of now.
    gone: &'g dyn Fn() -> Gone,
    rows: Vec<Row<T>>,
    /// How many rows and bytes may come yet.
    room: usize,
    bytes: usize,
    /// The first seq that is not accounted for.
    next: u64,
}

impl<T> Page<'_, T> {
    fn has_room(&self) -> bool {
        self.room > 0 && self.bytes > 0
    }

    fn push(&mut self, row: Row<T>, bytes: usize) {
        self.rows.push(row);
        self.room -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        self.next += 1;
    }

    fn push_damaged(&mut self, reason: String) {
        self.push(Row::Damaged { seq: self.next, reason }, 0);
    }

    /// The next is missing: it and what follows up to `end` is passed over as far as retention has deleted it, and else is
    /// damaged.
    fn push_missing(&mut self, end: u64) {
        // Asked now: a row that is found missing was excused before the commit that deleted it.
        let gone = (self.gone)().last();
        if self.next <= gone {
            self.next = gone.min(end) + 1;
        } else {
            self.push_damaged(MISSING.to_owned());
        }
    }
}

/// Reads rows on from the page's next. Only an intact row vouches for its seq: those it skipped over are damaged, while
/// one that fails its checksum may be anywhere, so that its reason is only noted in `damaged`. Whether there are no
/// further rows is in the result.
fn scan<T>(
    connection: &Connection,
    sql: &str,
    page: &mut Page<'_, T>,
    end: u64,
    damaged: &mut BTreeMap<u64, String>,
    mut read: impl FnMut(&rusqlite::Row<'_>) -> Result<(T, usize), String>,
) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare_cached(sql)?;
    let (most, mut read_rows) = (limit(page.room), 0);
    let mut rows = statement.query((page.next.cast_signed(), end.cast_signed(), most))?;
    while page.has_room()
        && let Some(row) = rows.next()?
    {
        read_rows += 1;
        let seq = row.get::<_, i64>(0)?.cast_unsigned();
        match read(row) {
            Ok((item, bytes)) if seq >= page.next => {
                while page.next < seq && page.has_room() {
                    match damaged.remove(&page.next) {
                        Some(reason) => page.push_damaged(reason),
                        None => {
                            let next = damaged.range(page.next..).next().map_or(seq, |(&other, _)| other.min(seq));
                            page.push_missing(next - 1);
                        }
                    }
                }
                if page.has_room() {
                    page.push(Row::Intact(item), bytes);
                }
            }
            Ok(_) => {}
            Err(reason) => {
                damaged.insert(seq, reason);
            }
        }
    }
    Ok(read_rows < most)
}

/// Whether the disk or the file, rather than the moment, is what keeps a page from being read.
pub(crate) fn is_unreadable(err: &rusqlite::Error) -> bool {
    err.sqlite_error().is_some_and(|err| match err.extended_code & 0xff {
        ffi::SQLITE_CORRUPT | ffi::SQLITE_NOTADB => true,
        // Memory that ran out and locks that were not had are I/O errors too, and pass.
        _ => matches!(
            err.extended_code,
            ffi::SQLITE_IOERR_READ
                | ffi::SQLITE_IOERR_SHORT_READ
                | ffi::SQLITE_IOERR_DATA
                | ffi::SQLITE_IOERR_CORRUPTFS
        ),
    })
}

pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows.min(PAGE)).unwrap_or(i64::MAX)
}
