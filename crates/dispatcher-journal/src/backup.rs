//! Copies the journal into a file of its own, beside the writer.
//!
//! First, at one moment, what consumers have: checkpoints, pending items, replays, and where the streams end. Then, some at a
//! time, the rows up to there, callbacks before the events that refer to them, and the dead letters as they are by then. So
//! the copy is a journal in which a dispatcher goes on from that moment; what has been delivered since comes once more.

use std::{
    fs::{self, File},
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, params_from_iter, types::Value};

use crate::{
    JournalError, Progress, Reader, Stream,
    check::go_on,
    decision::{IDS, ids},
    gone, meta, migration,
    reader::is_unreadable,
    schema::{create_private, plain, sync_folder},
    transaction,
};

/// A copy that was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backup {
    /// How many callbacks it has.
    pub callbacks: u64,
    /// How many events.
    pub events: u64,
    /// How many records of decisions.
    pub decisions: u64,
    /// How many dead letters.
    pub dead: u64,
    /// Its size.
    pub bytes: u64,
    /// How many rows could not be read, and are missing in it.
    pub unreadable: u64,
}

/// How many rows are copied at once.
const ROWS: u64 = 500;
/// Tables that are copied at the first moment.
const SMALL: [&str; 9] =
    ["checkpoint", "pending", "meta", "skipped", "replays", "blocks", "restored", "former_names", "shadows"];

/// A table that is copied some rows at a time, in the order of its keys.
struct Copied {
    table: &'static str,
    /// Its first columns are its keys.
    columns: &'static str,
    keys: usize,
    /// How many keys one item has, of those that are copied in ranges.
    each: u64,
    at: &'static str,
}

const CALLBACKS: Copied = Copied {
    table: "callbacks",
    columns: "seq, at, received, event_time, id, app, app_name, command, key, identity, query, body, crc",
    keys: 1,
    each: 1,
    at: "callbacks",
};
const EVENTS: Copied = Copied {
    table: "events",
    columns: "seq, at, callback, handler, n, type, key, time, data, sinks, replay, crc",
    keys: 1,
    each: 1,
    at: "events",
};
const DECISIONS: Copied =
    Copied { table: "decisions", columns: "id, at, kind, result, record, crc", keys: 1, each: IDS, at: "decisions" };
const DEAD: Copied = Copied {
    table: "dead",
    columns: "rowid, consumer, seq, at, first_at, reason, attempts, copy, history, crc",
    keys: 1,
    each: 1,
    at: "dead letters",
};
const ATTEMPTS: Copied = Copied {
    table: "attempts",
    columns: "stream, seq, consumer, n, at, error, status, excerpt",
    keys: 4,
    each: 1,
    at: "attempts",
};
const PROGRESS: Copied = Copied { table: "progress", columns: "consumer, seq, at", keys: 2, each: 1, at: "progress" };

impl Reader {
    /// Copies the journal to `to`, where nothing may be yet, in steps of one page while the writer goes on. The copy is on the
    /// disk when this returns, for its owner alone (0600), and is a journal that a dispatcher can open. `progress` is told
    /// after each step, and ends the work when it breaks.
    ///
    /// Blocks for as long as that takes.
    ///
    /// # Errors
    /// When there is a file already, it cannot be written, or `progress` broke. What was copied by then is removed.
    pub fn backup(
        &mut self,
        to: &Path,
        mut progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Backup, JournalError> {
        let failed = |what: &str, err: &dyn std::fmt::Display| {
            JournalError::Failed(format!("{}: {what}: {err}", to.display()).into())
        };
        if to.symlink_metadata().is_ok() {
            return Err(failed("cannot write the copy", &"there is something of this name already; choose another"));
        }
        let mut part = to.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        let _ = fs::remove_file(&part);
        let made = create_private(&part)
            .map_err(|err| failed("cannot write the copy", &err))
            .and_then(|_| self.copy_to(&part, &mut progress))
            .and_then(|backup| {
                File::open(&part)
                    .and_then(|file| file.sync_all())
                    // Unlike a rename, a link takes nothing's place.
                    .and_then(|()| fs::hard_link(&part, to))
                    .and_then(|()| {
                        sync_folder(to.parent().filter(|at| !at.as_os_str().is_empty()).unwrap_or(Path::new(".")))
                    })
                    .and_then(|()| fs::metadata(to))
                    .map(|file| Backup { bytes: file.len(), ..backup })
                    .map_err(|err| failed("cannot finish the copy", &err))
            });
        let _ = fs::remove_file(&part);
        made
    }

    fn copy_to(
        &mut self,
        part: &Path,
        progress: &mut impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Backup, JournalError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut copy = Connection::open_with_flags(plain(part)?, flags)?;
        copy.pragma_update(None, "page_size", 8192)?;
        copy.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        // A copy that is not finished is none: it is synced once, at the end.
        copy.pragma_update_and_check(None, "journal_mode", "OFF", |_| Ok(()))?;
        copy.pragma_update(None, "synchronous", "OFF")?;
        migration::migrate(&mut copy, 0)?;

        let (ends, start) = {
            let moment = self.connection.unchecked_transaction()?;
            for table in SMALL {
                copy_whole(&moment, &copy, table)?;
            }
            (transaction::ends(&moment)?, gone::read(&moment)?)
        };
        let mut backup = Backup::default();
        for (table, stream) in [(&CALLBACKS, Stream::Callbacks), (&EVENTS, Stream::Events)] {
            let range = Some((start[stream as usize].floor, ends.of(stream)));
            let copied = copy_rows(&self.connection, &copy, table, range, &mut backup.unreadable, progress)?;
            match stream {
                Stream::Callbacks => backup.callbacks = copied,
                Stream::Events => backup.events = copied,
            }
        }
        let floor = start[Stream::Callbacks as usize].floor;
        let (first, last) = ids(floor + 1, ends.callbacks);
        let range = Some((first.cast_unsigned() - 1, last.cast_unsigned()));
        backup.decisions = copy_rows(&self.connection, &copy, &DECISIONS, range, &mut backup.unreadable, progress)?;
        backup.callbacks += copy_restored(&self.connection, &copy, &CALLBACKS)?;
        backup.decisions += copy_restored(&self.connection, &copy, &DECISIONS)?;
        backup.dead = copy_rows(&self.connection, &copy, &DEAD, None, &mut backup.unreadable, progress)?;
        for table in [&ATTEMPTS, &PROGRESS] {
            copy_rows(&self.connection, &copy, table, None, &mut backup.unreadable, progress)?;
        }
        // What retention has deleted meanwhile is partly here; what is not is no damage.
        for stream in [Stream::Callbacks, Stream::Events] {
            let now = self.rows.shared.gone(stream);
            let start = start[stream as usize];
            let gone = gone::Gone { swept: now.last().max(start.swept).min(ends.of(stream)), ..start };
            gone::write(&copy, stream, gone)?;
            meta::set_number(&copy, &format!("{stream}_mark"), ends.of(stream))?;
        }
        copy.close().map_err(|(_, err)| err)?;
        Ok(backup)
    }
}

fn copy_whole(from: &Connection, to: &Connection, table: &str) -> rusqlite::Result<()> {
    to.execute(&format!("DELETE FROM {table}"), [])?;
    let mut read = from.prepare(&format!("SELECT * FROM {table}"))?;
    let width = read.column_count();
    let columns = read.column_names().collect::<Vec<_>>().join(", ");
    let places = vec!["?"; width].join(", ");
    let transaction = to.unchecked_transaction()?;
    {
        let mut write = transaction.prepare(&format!("INSERT INTO {table} ({columns}) VALUES ({places})"))?;
        let mut rows = read.query([])?;
        while let Some(row) = rows.next()? {
            let values = (0..width).map(|idx| row.get(idx)).collect::<Result<Vec<Value>, _>>()?;
            write.execute(params_from_iter(values))?;
        }
    }
    transaction.commit()
}

/// What there is of callbacks below the floor that were put back for events.
fn copy_restored(from: &Connection, to: &Connection, of: &Copied) -> rusqlite::Result<u64> {
    let Copied { table, columns, each, .. } = of;
    let key = columns.split(", ").next().unwrap_or_default();
    let sql = format!(
        "SELECT {columns} FROM restored
         JOIN {table} ON {key} BETWEEN callback * {each} AND callback * {each} + {each} - 1"
    );
    let mut read = from.prepare(&sql)?;
    let width = read.column_count();
    let places = vec!["?"; width].join(", ");
    let mut write = to.prepare(&format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({places})"))?;
    let mut rows = read.query([])?;
    let mut copied = 0;
    while let Some(row) = rows.next()? {
        let values = (0..width).map(|idx| row.get(idx)).collect::<Result<Vec<Value>, _>>()?;
        copied += write.execute(params_from_iter(values))? as u64;
    }
    Ok(copied)
}

/// How much of a page of rows is held in memory, about.
const BYTES: usize = 4 << 20;

fn size(value: &Value) -> usize {
    match value {
        Value::Text(text) => text.len(),
        Value::Blob(blob) => blob.len(),
        Value::Null | Value::Integer(_) | Value::Real(_) => 8,
    }
}

/// Copies the rows of a table; of one with a range only those behind its first key up to its second. How many those were.
fn copy_rows(
    from: &Connection,
    to: &Connection,
    Copied { table, columns, keys, each, at }: &Copied,
    range: Option<(u64, u64)>,
    unreadable: &mut u64,
    progress: &mut impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<u64, JournalError> {
    let names: Vec<&str> = columns.split(", ").collect();
    let key = names[..*keys].join(", ");
    let behind = match keys {
        // A search for what is larger begins on the page of the last one, which may be the one that cannot be read.
        1 => format!("{key} >= ? + 1"),
        _ => format!("({key}) > ({})", vec!["?"; *keys].join(", ")),
    };
    let until = range.map_or(String::new(), |(_, last)| format!("AND {key} <= {last}"));
    let first = format!("SELECT {columns} FROM {table} ORDER BY {key} LIMIT {ROWS}");
    let next = format!("SELECT {columns} FROM {table} WHERE {behind} {until} ORDER BY {key} LIMIT {ROWS}");
    let insert = format!("INSERT OR IGNORE INTO {table} ({columns}) VALUES ({})", vec!["?"; names.len()].join(", "));
    let total: i64 = match range {
        Some((floor, last)) => last.saturating_sub(floor).cast_signed(),
        None => from.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?,
    };
    let mut after: Option<Vec<Value>> = range.map(|(floor, _)| vec![Value::Integer(floor.cast_signed())]);
    let (mut copied, mut missed) = (0, false);
    loop {
        let mut rows: Vec<Vec<Value>> = Vec::new();
        let mut bytes = 0;
        let read = (|| {
            let mut statement = from.prepare_cached(if after.is_some() { &next } else { &first })?;
            let mut found = statement.query(params_from_iter(after.iter().flatten()))?;
            while let Some(row) = found.next()? {
                let row = (0..names.len()).map(|idx| row.get(idx)).collect::<Result<Vec<Value>, _>>()?;
                bytes += row.iter().map(size).sum::<usize>();
                rows.push(row);
                if bytes >= BYTES {
                    break;
                }
            }
            Ok(())
        })();
        let transaction = to.unchecked_transaction()?;
        for row in &rows {
            copied += transaction.prepare_cached(&insert)?.execute(params_from_iter(row))? as u64;
        }
        transaction.commit()?;
        let was_empty = rows.is_empty();
        if let Some(row) = rows.pop() {
            after = Some(row.into_iter().take(*keys).collect());
        }
        match (read, range) {
            (Ok(()), _) if was_empty => return Ok(copied),
            (Ok(()), _) => missed = false,
            // Past a page that cannot be read one goes by trying its seqs; one error may be chance.
            (Err(err), Some((_, last))) if is_unreadable(&err) => {
                let seq =
                    after.as_ref().and_then(|key| if let [Value::Integer(seq)] = key[..] { Some(seq) } else { None });
                let seq = seq.unwrap_or(0);
                if was_empty && missed {
                    *unreadable += 1;
                    let each = each.cast_signed();
                    after = Some(vec![Value::Integer(((seq + 1) / each + 1) * each - 1)]);
                }
                missed = was_empty;
                if seq.cast_unsigned() >= last {
                    return Ok(copied);
                }
            }
            // A table that nothing else depends on; what could be read of it is in the copy.
            (Err(err), None) if is_unreadable(&err) => {
                *unreadable += 1;
                return Ok(copied);
            }
            (Err(err), _) => return Err(err.into()),
        }
        let done = match (range, &after) {
            (Some((floor, _)), Some(key)) => match key[..] {
                [Value::Integer(seq)] => seq.cast_unsigned().saturating_sub(floor),
                _ => copied,
            },
            _ => copied,
        };
        go_on(progress(Progress { at, done, of: total.cast_unsigned() }))?;
    }
}
