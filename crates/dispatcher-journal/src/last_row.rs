//! The last row of a stream tells where the stream ends and how late it is: a flipped bit there must move neither.
//!
//! Bits flip in a row's number, too, and its checksum only says that it is not as it was. A number that is far beyond all
//! others is taken for such a one: the row is taken out, and its rightful place counts as damaged.

use dispatcher_core::Timestamp;
use rusqlite::{Connection, OptionalExtension};
use tracing::error;

use crate::{
    Stream, meta,
    reader::columns,
    row::{CALLBACK_COLUMNS, CALLBACK_WIDTH, EVENT_COLUMNS, EVENT_WIDTH, Names, StoredEvent, read_callback},
};

/// How many rows may be missing before a damaged last one: every one of them is told as damaged.
const GAP: i64 = 10_000;
/// How many rows are looked at for a time that can be trusted.
const LOOK: i64 = 64;

/// Takes out a last row whose number cannot be.
pub(crate) fn mend(connection: &Connection) -> rusqlite::Result<()> {
    for stream in [Stream::Callbacks, Stream::Events] {
        // Where that cannot be read, nothing is changed.
        let Ok(Some((last, before))) = last_two(connection, stream) else { continue };
        let known = meta::known_end(connection, stream)?.cast_signed();
        if last <= before.max(known).saturating_add(GAP) || read(connection, stream, last).is_some() {
            continue;
        }
        let place = before.saturating_add(1);
        error!(
            %stream, number = last, place,
            "the last row is damaged, and its number cannot be: it is taken out, and its place counts as damaged; see to \
             the journal's disk"
        );
        let transaction = connection.unchecked_transaction()?;
        transaction.execute(&format!("DELETE FROM {stream} WHERE seq = ?1"), [last])?;
        meta::set_number(&transaction, &format!("{stream}_mark"), place.max(known).cast_unsigned())?;
        transaction.commit()?;
    }
    Ok(())
}

/// When the last row was stored whose time can be trusted.
pub(crate) fn at(connection: &Connection) -> rusqlite::Result<Timestamp> {
    let mut latest = meta::number(connection, "at")?.cast_signed();
    for stream in [Stream::Callbacks, Stream::Events] {
        let sql = format!("SELECT seq FROM {stream} ORDER BY seq DESC LIMIT ?1");
        let mut statement = connection.prepare(&sql)?;
        let mut seqs = statement.query([LOOK])?;
        while let Ok(Some(row)) = seqs.next() {
            if let Some(at) = read(connection, stream, row.get(0)?) {
                latest = latest.max(at);
                break;
            }
        }
    }
    Ok(Timestamp::from_millis(latest))
}

/// The last seq, and the one before it; zero if there is none.
fn last_two(connection: &Connection, stream: Stream) -> rusqlite::Result<Option<(i64, i64)>> {
    let mut statement = connection.prepare(&format!("SELECT seq FROM {stream} ORDER BY seq DESC LIMIT 2"))?;
    let mut seqs = statement.query_map([], |row| row.get(0))?;
    let Some(last) = seqs.next().transpose()? else { return Ok(None) };
    Ok(Some((last, seqs.next().transpose()?.unwrap_or(0))))
}

/// When this row was stored, if it is intact.
fn read(connection: &Connection, stream: Stream, seq: i64) -> Option<i64> {
    let names = &mut Names::default();
    let of_columns = match stream {
        Stream::Callbacks => CALLBACK_COLUMNS,
        Stream::Events => EVENT_COLUMNS,
    };
    let sql = format!("SELECT {of_columns}, crc FROM {stream} WHERE seq = ?1");
    let intact = connection.prepare_cached(&sql).and_then(|mut statement| {
        statement
            .query_row([seq], |row| {
                let is_intact = match stream {
                    Stream::Callbacks => columns::<CALLBACK_WIDTH>(row)
                        .is_ok_and(|(values, crc)| read_callback(&values, crc, names).is_ok()),
                    Stream::Events => columns::<EVENT_WIDTH>(row)
                        .is_ok_and(|(values, crc)| StoredEvent::read(&values, crc, names).is_ok()),
                };
                Ok(if is_intact { Some(row.get(1)?) } else { None })
            })
            .optional()
    });
    intact.ok().flatten().flatten()
}
