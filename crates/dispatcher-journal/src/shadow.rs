//! Handlers that run as shadows for a while: their verdicts are recorded and do not count. Kept across restarts, so that
//! nobody's trial becomes serious by one.

use dispatcher_core::Timestamp;
use rusqlite::{Connection, types::ValueRef};
use tracing::error;

use crate::{
    row::{checksum, text},
    transaction::Tables,
    trouble::Trouble,
};

impl Tables<'_> {
    /// Makes a handler a shadow until then, or, with `None`, lets it count again. How many shadows that concerned.
    pub(crate) fn shadow(&mut self, handler: &str, until: Option<Timestamp>) -> Result<u64, Trouble> {
        let connection = self.connection();
        let concerned = match until {
            Some(until) => connection.execute(
                "INSERT OR REPLACE INTO shadows (handler, until, crc) VALUES (?1, ?2, ?3)",
                (handler, until.as_millis(), shadow_crc(handler, until)),
            )?,
            None => connection.execute("DELETE FROM shadows WHERE handler = ?1", [handler])?,
        };
        connection.execute("DELETE FROM shadows WHERE until <= ?1", [self.at.as_millis()])?;
        Ok(concerned as u64)
    }
}

/// The handlers that are shadows beyond `now`, by name, and until when. One that is not as it was stored is left out, which
/// the log then says.
pub(crate) fn shadows(connection: &Connection, now: Timestamp) -> rusqlite::Result<Vec<(String, Timestamp)>> {
    let mut statement = connection.prepare_cached("SELECT handler, until, crc FROM shadows ORDER BY handler")?;
    let mut rows = statement.query([])?;
    let mut shadows = Vec::new();
    while let Some(row) = rows.next()? {
        let handler = String::from_utf8_lossy(row.get_ref(0)?.as_bytes().unwrap_or_default()).into_owned();
        let until = Timestamp::from_millis(row.get(1)?);
        if row.get::<_, i64>(2)? != i64::from(shadow_crc(&handler, until)) {
            error!(
                handler,
                "that this handler is a shadow fails its checksum and is not believed; see to the journal's disk"
            );
        } else if until > now {
            shadows.push((handler, until));
        }
    }
    Ok(shadows)
}

fn shadow_crc(handler: &str, until: Timestamp) -> u32 {
    checksum(&[text(handler), ValueRef::Integer(until.as_millis())])
}
