//! The copy that is made before a file is brought to a newer format.
//!
//! A start must not take long because the file is large. Where the file system can share blocks between files, the copy is
//! the whole file all the same; else a small file is copied, and of a large one everything but the rows of the two
//! streams and of decisions, which no migration touches: with the copy's tables in place of its own, the file is what it was.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use crate::schema::plain;

/// Up to this size a file is copied as a whole (64 MiB): about half a second on a slow disk, its sync included.
pub(crate) const WHOLE: u64 = 64 << 20;
/// Of more dead letters than this, or larger ones than `WHOLE`, the rows stay out of a copy that is not whole: they too are
/// only ever given further columns.
const DEAD: i64 = 10_000;

/// A copy that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SafetyCopy {
    pub(crate) path: PathBuf,
    /// What it has of the file, for people.
    pub(crate) holds: &'static str,
}

/// Copies the file of a journal that nobody has open to `<path>.format<n>.bak`, unless that is there: it gets its name when
/// it is complete. `whole` is up to which size the file is copied as a whole.
pub(crate) fn make(path: &Path, format: i64, whole: u64) -> io::Result<SafetyCopy> {
    let named = |ending: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".format{format}.bak{ending}"));
        PathBuf::from(name)
    };
    let (copy, part) = (named(""), named(".part"));
    if copy.exists() {
        return Ok(SafetyCopy { path: copy, holds: "what an earlier start put there" });
    }
    if part.exists() {
        fs::remove_file(&part)?;
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
    let mut source = File::open(path)?;
    let holds = if shares_blocks(&file, &source) {
        "the whole journal"
    } else if source.metadata()?.len() <= whole {
        io::copy(&mut source, &mut file)?;
        "the whole journal"
    } else {
        // SQLite's locks are the process's, and closing a file gives them up: nothing is open while it works.
        drop(source);
        copy_tables(path, &part, format).map_err(io::Error::other)?
    };
    file.sync_all()?;
    fs::rename(&part, &copy)?;
    if let Some(folder) = copy.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(SafetyCopy { path: copy, holds })
}

#[cfg(target_os = "linux")]
fn shares_blocks(copy: &File, source: &File) -> bool {
    rustix::fs::ioctl_ficlone(copy, source).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn shares_blocks(_: &File, _: &File) -> bool {
    false
}

fn copy_tables(path: &Path, part: &Path, format: i64) -> rusqlite::Result<&'static str> {
    let connection = Connection::open(plain(path)?)?;
    let part = plain(part)?;
    let part = part.to_str().ok_or_else(|| rusqlite::Error::InvalidPath(part.clone()))?;
    connection.execute("ATTACH ?1 AS copy", [part])?;
    connection.pragma_update(Some("copy"), "user_version", format)?;
    let made: Vec<(String, String)> = connection
        .prepare("SELECT name, sql FROM main.sqlite_schema WHERE type = 'table' AND sql IS NOT NULL")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let has_dead: bool = connection.query_row(
        "SELECT count(*) <= ?1 AND total(octet_length(copy)) <= ?2 FROM (SELECT copy FROM main.dead LIMIT ?1 + 1)",
        (DEAD, WHOLE.cast_signed()),
        |row| row.get(0),
    )?;
    let transaction = connection.unchecked_transaction()?;
    for (table, sql) in made {
        transaction.execute(&sql.replacen("CREATE TABLE ", "CREATE TABLE copy.", 1), [])?;
        let is_left_out = matches!(&*table, "callbacks" | "events" | "decisions") || table == "dead" && !has_dead;
        if !is_left_out {
            transaction.execute(&format!("INSERT INTO copy.{table} SELECT * FROM main.{table}"), [])?;
        }
    }
    transaction.commit()?;
    connection.execute("DETACH copy", [])?;
    connection.close().map_err(|(_, err)| err)?;
    Ok(if has_dead {
        "all but the rows of callbacks, events and decisions, which stay as they are"
    } else {
        "all but the rows of callbacks, events, decisions and dead letters, which stay as they are"
    })
}
