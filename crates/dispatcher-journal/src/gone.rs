//! What retention has deleted of a stream, so that nobody takes it for damage.

use rusqlite::{Connection, OptionalExtension};

use crate::{Stream, meta};

/// What retention has deleted of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gone {
    /// All seqs up to this one are gone.
    pub(crate) floor: u64,
    /// Up to here further ones may be missing: those of commands that are kept for a shorter time.
    pub(crate) swept: u64,
}

impl Gone {
    /// Whether a row with this seq that is missing is missing rightly.
    pub(crate) fn excuses(self, seq: u64) -> bool {
        seq <= self.last()
    }

    /// The last seq for which that is so.
    pub(crate) fn last(self) -> u64 {
        self.floor.max(self.swept)
    }
}

/// Of both streams, each at its place.
pub(crate) fn read(connection: &Connection) -> rusqlite::Result<[Gone; 2]> {
    let of = |stream: Stream| -> rusqlite::Result<Gone> {
        let floor = match meta::checked(connection, &format!("{stream}_floor"))? {
            Some(floor) => floor,
            // What is there was not deleted; what is not there may have been.
            None => first_kept(connection, stream)?.map_or(0, |first| first.saturating_sub(1)),
        };
        Ok(Gone { floor, swept: meta::number(connection, &format!("{stream}_swept"))? })
    };
    Ok([of(Stream::Callbacks)?, of(Stream::Events)?])
}

/// The first row that retention has left; what was put back for events does not count.
fn first_kept(connection: &Connection, stream: Stream) -> rusqlite::Result<Option<u64>> {
    let put_back = match stream {
        Stream::Callbacks => " WHERE seq NOT IN (SELECT callback FROM restored)",
        Stream::Events => "",
    };
    let sql = format!("SELECT seq FROM {stream}{put_back} ORDER BY seq LIMIT 1");
    let first: Option<i64> = connection.query_row(&sql, [], |row| row.get(0)).optional()?;
    Ok(first.map(i64::cast_unsigned))
}

pub(crate) fn write(connection: &Connection, stream: Stream, gone: Gone) -> rusqlite::Result<()> {
    meta::set_number(connection, &format!("{stream}_floor"), gone.floor)?;
    meta::set_number(connection, &format!("{stream}_swept"), gone.swept)
}
