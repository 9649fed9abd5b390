//! The file: its folder, its lock, its format, and the connections to it.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use crate::{OpenError, Sync};

/// The newest format that this dispatcher knows, and the one that it writes.
const FORMAT: i64 = 1;

/// Older ones have a race in which a reset of the write-ahead log loses what was committed (3.7.0 to 3.51.2).
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long a statement waits for a lock. Nobody but a person with a tool of their own ever holds one for longer.
const BUSY: Duration = Duration::from_secs(1);

/// The first format. `crc` covers the columns before it; see `row`.
const TABLES: &str = "
    CREATE TABLE callbacks (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, received INTEGER NOT NULL, event_time INTEGER, id BLOB NOT NULL,
        app INTEGER NOT NULL, app_name TEXT NOT NULL, command TEXT NOT NULL, key TEXT, identity BLOB,
        query TEXT NOT NULL, body TEXT NOT NULL, crc INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, callback INTEGER NOT NULL, handler TEXT NOT NULL,
        n INTEGER NOT NULL, type TEXT NOT NULL, key TEXT, time INTEGER NOT NULL, data TEXT, sinks TEXT NOT NULL,
        crc INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE checkpoint (
        consumer TEXT PRIMARY KEY, stream TEXT NOT NULL, seq INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE pending (
        consumer TEXT, seq INTEGER, app INTEGER NOT NULL, key TEXT, attempt INTEGER NOT NULL,
        first_at INTEGER NOT NULL, due INTEGER NOT NULL, error TEXT NOT NULL, PRIMARY KEY (consumer, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE dead (
        consumer TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, first_at INTEGER NOT NULL,
        reason TEXT NOT NULL, attempts INTEGER NOT NULL, copy TEXT NOT NULL, PRIMARY KEY (consumer, seq)
    ) STRICT;
    CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY NOT NULL) STRICT, WITHOUT ROWID;
";

/// Makes the file where it is missing, and opens it for the one writer. The lock lasts as long as the file is kept.
pub(crate) fn open_writer(path: &Path, sync: Sync) -> Result<(Connection, File), OpenError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(OpenError::Other(format!(
            "this program was built with SQLite {}, which can lose what was committed; build it with rusqlite's \
             feature \"bundled\"",
            rusqlite::version()
        )));
    }
    let said = |what: &str, path: &Path| format!("{}: cannot {what}", path.display());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    make_folder(folder).map_err(|err| OpenError::io(said("make the journal's folder", folder), &err))?;
    let lock = take_lock(path)?;
    // The file comes before SQLite, which gives its -wal and -shm the mode that it finds here.
    create_private(path)
        .and_then(|_| sync_folder(folder))
        .map_err(|err| OpenError::io(said("make the journal", path), &err))?;
    let connection = prepare(path, sync)?;
    Ok((connection, lock))
}

/// Opens it for reading.
pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(plain(path)?, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "cache_size", -256)?;
    Ok(connection)
}

/// The path in a form in which it can only be a path: SQLite reads `:memory:` and `file:…` as something else.
fn plain(path: &Path) -> rusqlite::Result<PathBuf> {
    std::path::absolute(path).map_err(|_| rusqlite::Error::InvalidPath(path.to_owned()))
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // A new folder is there after a power cut once the one that holds it is synced.
    for made in missing {
        let above = made.parent().filter(|above| !above.as_os_str().is_empty());
        sync_folder(above.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn take_lock(path: &Path) -> Result<File, OpenError> {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let lock = PathBuf::from(lock);
    let failed = |err: &io::Error| OpenError::io(format!("{}: cannot lock the journal", lock.display()), err);
    let file = create_private(&lock).map_err(|err| failed(&err))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { path: path.to_owned(), lock }),
        Err(TryLockError::Error(err)) => Err(failed(&err)),
    }
}

fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

fn prepare(path: &Path, sync: Sync) -> Result<Connection, OpenError> {
    let failed = |err: rusqlite::Error| match err.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenError::Foreign { path: path.to_owned() },
        _ => OpenError::Other(format!("{}: cannot open the journal: {err}", path.display())),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = plain(path).and_then(|path| Connection::open_with_flags(path, flags)).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
    match found {
        FORMAT => {}
        0 if is_empty(&connection).map_err(failed)? => {}
        _ if found > FORMAT => return Err(OpenError::Newer { path: path.to_owned(), found, known: FORMAT }),
        _ => return Err(OpenError::Foreign { path: path.to_owned() }),
    }
    let mode = configure(&connection, sync, found).map_err(failed)?;
    if mode != "wal" {
        return Err(OpenError::Other(format!(
            "{}: cannot open the journal: there can be no write-ahead log on this file system, and without one a power cut \
             could lose what was committed; choose another [journal] path",
            path.display()
        )));
    }
    if found == 0 {
        create_tables(&mut connection).map_err(failed)?;
    }
    Ok(connection)
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    let first = connection.query_row("SELECT 1 FROM sqlite_schema LIMIT 1", [], |_| Ok(())).optional()?;
    Ok(first.is_none())
}

/// Returns the journal mode that SQLite is in now.
fn configure(connection: &Connection, sync: Sync, found: i64) -> rusqlite::Result<String> {
    if found == 0 {
        // Both are fixed by the first page that is written.
        connection.pragma_update(None, "page_size", 8192)?;
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    let mode = use_log(connection)?;
    connection.pragma_update(
        None,
        "synchronous",
        match sync {
            Sync::Always => "FULL",
            Sync::Off => "OFF",
        },
    )?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    Ok(mode)
}

/// The switch is committed when the statement ends, after its one row: whoever stops at the row misses that it failed.
fn use_log(connection: &Connection) -> rusqlite::Result<String> {
    let mut statement = connection.prepare("PRAGMA journal_mode = WAL")?;
    let mut rows = statement.query([])?;
    let mut mode = String::new();
    while let Some(row) = rows.next()? {
        mode = row.get(0)?;
    }
    Ok(mode)
}

fn create_tables(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.execute_batch(TABLES)?;
    transaction.commit()
}
