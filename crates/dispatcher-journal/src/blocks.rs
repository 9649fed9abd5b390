//! Which callbacks events refer to, known without an index and without a scan.
//!
//! Events come in blocks of 1,024 seqs. For each block the smallest seq of a callback that its events refer to is stored
//! with the first event behind it; of the last block it is in memory, and read anew at the start. A callback below the
//! smallest of all blocks that still hold events is referred to by none of them. An event that comes late – of a replay, of
//! an item that was pending for long – lowers its own block's number, and keeps its callback for as long as it lives itself.

use rusqlite::Connection;

use crate::meta;

/// How many seqs a block has.
pub(crate) const BLOCK: u64 = 1024;

/// The block of the last event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastBlock {
    block: u64,
    /// The smallest callback that its events refer to; `u64::MAX` while it has none.
    callback: u64,
}

impl LastBlock {
    /// As the events in the file have it. Reads at most one block of them.
    pub(crate) fn read(connection: &Connection) -> rusqlite::Result<LastBlock> {
        let last: Option<i64> = connection.query_row("SELECT max(seq) FROM events", [], |row| row.get(0))?;
        let Some(last) = last.map(i64::cast_unsigned).filter(|&last| last > 0) else {
            return Ok(LastBlock { block: 0, callback: u64::MAX });
        };
        let block = block_of(last);
        // Where that cannot be read, they may refer to any.
        let callback = smallest(connection, block * BLOCK).unwrap_or(0);
        Ok(LastBlock { block, callback })
    }

    /// Notes an event that is stored in the transaction under way.
    pub(crate) fn note(&mut self, connection: &Connection, seq: u64, callback: u64) -> rusqlite::Result<()> {
        let block = block_of(seq);
        if block != self.block {
            if self.callback != u64::MAX {
                let sql = "INSERT OR REPLACE INTO blocks (block, callback) VALUES (?1, ?2)";
                connection.prepare_cached(sql)?.execute((self.block.cast_signed(), self.callback.cast_signed()))?;
            }
            *self = LastBlock { block, callback: u64::MAX };
        }
        self.callback = self.callback.min(callback);
        Ok(())
    }

    /// Up to which seq no callback is referred to by an event above `after`. Of the block of that event the rest is read:
    /// where little comes, a block lasts for long.
    pub(crate) fn unreferred(&self, connection: &Connection, after: u64) -> rusqlite::Result<u64> {
        let block = after / BLOCK;
        let (first, rest) = match smallest(connection, after) {
            Ok(smallest) => (block + 1, smallest),
            // Not readable: what was noted of the whole of it.
            Err(_) => (block, u64::MAX),
        };
        let sql = "SELECT min(callback) FROM blocks WHERE block >= ?1";
        let stored: Option<i64> = connection.prepare_cached(sql)?.query_row([first.cast_signed()], |row| row.get(0))?;
        let last = if self.block >= first { self.callback } else { u64::MAX };
        Ok(stored.map_or(u64::MAX, i64::cast_unsigned).min(rest).min(last).saturating_sub(1))
    }
}

/// The smallest callback that events of one block refer to: of those above `after`, which is in that block or before it.
fn smallest(connection: &Connection, after: u64) -> rusqlite::Result<u64> {
    // Those at or below the floor were put back for their events, and are seen to elsewhere.
    let floor = meta::number(connection, "callbacks_floor")?;
    let sql = "SELECT min(callback) FROM events WHERE seq > ?1 AND seq <= ?2 AND callback > ?3";
    let end = (after / BLOCK + 1) * BLOCK;
    let range = (after.cast_signed(), end.cast_signed(), floor.cast_signed());
    let smallest: Option<i64> = connection.prepare_cached(sql)?.query_row(range, |row| row.get(0))?;
    Ok(smallest.map_or(u64::MAX, i64::cast_unsigned))
}

/// Forgets the blocks that have no event above `floor`.
pub(crate) fn forget(connection: &Connection, floor: u64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM blocks WHERE block < ?1";
    connection.prepare_cached(sql)?.execute([(floor / BLOCK).cast_signed()]).map(drop)
}

fn block_of(seq: u64) -> u64 {
    (seq - 1) / BLOCK
}
