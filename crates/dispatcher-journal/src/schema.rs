//! The file: its folder, its lock, its format, and the connections to it.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use tracing::{info, warn};

use crate::{
    OpenError, Sync,
    filesystem::{Ground, ground},
    last_row, mend,
    migration::{FORMAT, migrate},
    safety_copy,
};

/// Older ones have a race in which a reset of the write-ahead log loses what was committed (3.7.0 to 3.51.2).
const OLDEST_SQLITE: i32 = 3_051_003;

/// How long a statement waits for a lock. Nobody but a person with a tool of their own ever holds one for longer.
const BUSY: Duration = Duration::from_secs(1);

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
    match ground(folder) {
        Ground::Fine => {}
        Ground::Doubtful(why) => warn!(path = %path.display(), "the journal may not last: {why}"),
        Ground::Refused(kind) => return Err(OpenError::FileSystem { path: path.to_owned(), kind }),
    }
    let lock = take_lock(path)?;
    // The file comes before SQLite, which gives its -wal and -shm the mode that it finds here.
    create_private(path)
        .and_then(|_| sync_folder(folder))
        .map_err(|err| OpenError::io(said("open the journal for writing", path), &err))?;
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
pub(crate) fn plain(path: &Path) -> rusqlite::Result<PathBuf> {
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

pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn take_lock(path: &Path) -> Result<File, OpenError> {
    let mut lock = path.as_os_str().to_owned();
    lock.push(".lock");
    let lock = PathBuf::from(lock);
    let failed = |err: &io::Error| OpenError::io(format!("{}: cannot lock the journal", lock.display()), err);
    let file = create_private(&lock).map_err(|err| failed(&err))?;
    match file.try_lock() {
        Ok(()) => {
            // For those who find it locked. Without it they only know less.
            let _ = file.set_len(0).and_then(|()| (&file).write_all(whoami().as_bytes()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let holder = std::fs::read_to_string(&lock).ok().filter(|holder| !holder.is_empty());
            Err(OpenError::Locked { path: path.to_owned(), lock, holder })
        }
        Err(TryLockError::Error(err)) => Err(failed(&err)),
    }
}

/// This process, as others are told of it: no more of its arguments than its command, since they may hold secrets.
fn whoami() -> String {
    let arguments: Vec<String> = std::env::args().skip(1).take_while(|argument| !argument.starts_with('-')).collect();
    let name = std::env::args().next().unwrap_or_default();
    let name = Path::new(&name).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let command = [name].into_iter().chain(arguments.into_iter().take(2)).collect::<Vec<_>>().join(" ");
    format!("process {} (`{command}`)", std::process::id())
}

pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

fn prepare(path: &Path, sync: Sync) -> Result<Connection, OpenError> {
    let failed = |err: rusqlite::Error| match err.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => OpenError::Foreign { path: path.to_owned() },
        _ => OpenError::cannot_open(path, &err),
    };
    let (mut connection, found) = connect(path).map_err(failed)?;
    match found {
        1..=FORMAT => {}
        0 if is_empty(&connection).map_err(failed)? => {}
        _ if found > FORMAT => return Err(OpenError::Newer { path: path.to_owned(), found, known: FORMAT }),
        _ => return Err(OpenError::Foreign { path: path.to_owned() }),
    }
    if (1..FORMAT).contains(&found) {
        // So that the file has everything, and the copy with it.
        let left: i64 =
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(failed)?;
        if left != 0 {
            return Err(OpenError::Other(format!(
                "{}: the journal's write-ahead log cannot be copied into its file now, which a newer format needs; see \
                 whether another program has the file open",
                path.display()
            )));
        }
        connection.close().map_err(|(_, err)| failed(err))?;
        let copy = safety_copy::make(path, found, safety_copy::WHOLE).map_err(|err| {
            let what = format!(
                "{}: cannot copy the journal before it is brought from format {found} to {FORMAT}; make room beside it, \
                 or see to the folder",
                path.display()
            );
            OpenError::io(what, &err)
        })?;
        info!(
            path = %path.display(), from = found, to = FORMAT, copy = %copy.path.display(), holds = copy.holds,
            "the journal is brought to a newer format; the copy is yours to delete once all is well"
        );
        (connection, _) = connect(path).map_err(failed)?;
    }
    let mode = configure(&connection, sync, found).map_err(failed)?;
    if mode != "wal" {
        return Err(OpenError::Other(format!(
            "{}: cannot open the journal: there can be no write-ahead log on this file system, and without one a power cut \
             could lose what was committed; choose another [journal] path",
            path.display()
        )));
    }
    if found < FORMAT {
        migrate(&mut connection, found).map_err(failed)?;
    }
    mend::mend(&connection).map_err(failed)?;
    last_row::mend(&connection).map_err(failed)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<(Connection, i64)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(plain(path)?, flags)?;
    connection.busy_timeout(BUSY)?;
    let found = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    Ok((connection, found))
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
