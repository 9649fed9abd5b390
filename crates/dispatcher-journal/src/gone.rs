//! What retention has deleted of a stream, so that nobody takes it for damage.

use rusqlite::Connection;

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
        Ok(Gone {
            floor: meta::number(connection, &format!("{stream}_floor"))?,
            swept: meta::number(connection, &format!("{stream}_swept"))?,
        })
    };
    Ok([of(Stream::Callbacks)?, of(Stream::Events)?])
}

pub(crate) fn write(connection: &Connection, stream: Stream, gone: Gone) -> rusqlite::Result<()> {
    meta::set(connection, &format!("{stream}_floor"), gone.floor.cast_signed())?;
    meta::set(connection, &format!("{stream}_swept"), gone.swept.cast_signed())
}
