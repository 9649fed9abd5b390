//! The formats of the file, and the way from each to the next.
//!
//! A new format is a step at the end of `STEPS`, a fixture of the one before it in `tests/fixtures`, and a line in
//! `tests::migrating`.

use rusqlite::{Connection, Transaction};

use crate::mend;

/// The newest format that this dispatcher knows, and the one that it writes.
pub(crate) const FORMAT: i64 = STEPS.len() as i64;

/// What makes each format of the one before it; the first, of an empty file. A new file goes through all of them, so that
/// there is one way to each format. None of them touches a row of `callbacks`, `events`, `decisions` or `dead`: however large the file
/// is, it is ready in a moment.
const STEPS: [fn(&Transaction<'_>) -> rusqlite::Result<()>; 3] = [
    |file| file.execute_batch(FIRST),
    |file| {
        add_columns(file, "events", "replay INTEGER")?;
        add_columns(file, "dead", "history TEXT NOT NULL DEFAULT '[]', crc INTEGER")?;
        file.execute_batch(SECOND)?;
        mend::vouch(file, None)
    },
    |file| file.execute_batch(THIRD),
];

/// Brings the file from the format that was found to the newest, in one transaction.
pub(crate) fn migrate(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    steps(&transaction, found)?;
    transaction.commit()
}

pub(crate) fn steps(file: &Transaction<'_>, found: i64) -> rusqlite::Result<()> {
    file.pragma_update(None, "user_version", FORMAT)?;
    STEPS.iter().skip(usize::try_from(found).unwrap_or(0)).try_for_each(|step| step(file))
}

/// Adds columns to a table that may be large. `ALTER TABLE` does the same, but reads every row of a STRICT table
/// beforehand, to see whether it keeps the new constraints; all that these columns say of rows that are there is their default.
fn add_columns(file: &Transaction<'_>, table: &str, columns: &str) -> rusqlite::Result<()> {
    let schema = "SELECT sql FROM sqlite_schema WHERE type = 'table' AND name = ?1";
    let mut sql: String = file.query_row(schema, [table], |row| row.get(0))?;
    // Behind the last column, before what is said of the table as a whole.
    let end = sql.find(", PRIMARY KEY (").or(sql.rfind(')')).ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    sql.insert_str(end, &format!(", {columns}"));
    let version: i64 = file.pragma_query_value(None, "schema_version", |row| row.get(0))?;
    file.pragma_update(None, "writable_schema", true)?;
    let changed = file.execute("UPDATE sqlite_schema SET sql = ?1 WHERE type = 'table' AND name = ?2", (sql, table));
    // Others see the change by the version, and this connection by reading the schema anew.
    file.pragma_update(None, "schema_version", version + 1)?;
    file.pragma_update(None, "writable_schema", "RESET")?;
    changed.map(drop)
}

/// `crc` covers the columns before it; see `row`.
pub(crate) const FIRST: &str = "
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

/// Attempts, replays, parking, retention, and checksums for the small tables.
///
/// The largest seqs are asked for alone, so that SQLite looks at the last row and not at all of them. `replay` is covered by
/// `crc` where it is not NULL. Dead letters that were there before have no checksum, up to the place in `dead_unchecked`.
/// Of the blocks of events that were full before nobody knows the callbacks: the last of them says that
/// they may refer to any, so that no callback goes before they do; see `blocks`. `restored` has the callbacks below the floor
/// that were put back for an event, with the last event that refers to each. `former_names` has the names that events up to
/// a seq know a consumer by, since it was renamed.
const SECOND: &str = "
    ALTER TABLE checkpoint ADD COLUMN parked_at INTEGER;
    ALTER TABLE checkpoint ADD COLUMN parked TEXT;
    ALTER TABLE checkpoint ADD COLUMN crc INTEGER;
    ALTER TABLE pending ADD COLUMN age INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE pending ADD COLUMN crc INTEGER;
    INSERT INTO meta SELECT 'dead_unchecked', place FROM (SELECT max(rowid) AS place FROM dead) WHERE place > 0;
    CREATE TABLE attempts (
        stream TEXT NOT NULL, seq INTEGER NOT NULL, consumer TEXT NOT NULL, n INTEGER NOT NULL, at INTEGER NOT NULL,
        error TEXT, status INTEGER, excerpt TEXT, PRIMARY KEY (stream, seq, consumer, n)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE progress (
        consumer TEXT NOT NULL, seq INTEGER NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (consumer, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE skipped (
        id INTEGER PRIMARY KEY, consumer TEXT NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        at INTEGER NOT NULL, reason TEXT NOT NULL
    ) STRICT;
    CREATE TABLE replays (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, target TEXT NOT NULL, stream TEXT NOT NULL, dead_of TEXT,
        first INTEGER NOT NULL, last INTEGER NOT NULL, last_place INTEGER NOT NULL, spec TEXT NOT NULL,
        done INTEGER NOT NULL DEFAULT 0, dead INTEGER NOT NULL DEFAULT 0, ended_at INTEGER,
        cancelled INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE blocks (block INTEGER PRIMARY KEY, callback INTEGER NOT NULL) STRICT;
    CREATE TABLE former_names (
        consumer TEXT NOT NULL, former TEXT NOT NULL, upto INTEGER NOT NULL, PRIMARY KEY (consumer, former)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE restored (callback INTEGER PRIMARY KEY, event INTEGER NOT NULL) STRICT;
    INSERT INTO blocks SELECT (last - 1) / 1024 - 1, 0 FROM (SELECT max(seq) AS last FROM events) WHERE last > 1024;
";

/// Records of decisions, beside their callbacks; see `decision` for their ids. Handlers that run as shadows for a while.
const THIRD: &str = "
    CREATE TABLE decisions (
        id INTEGER PRIMARY KEY, at INTEGER NOT NULL, kind TEXT NOT NULL, result TEXT NOT NULL, record TEXT NOT NULL,
        crc INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE shadows (
        handler TEXT PRIMARY KEY, until INTEGER NOT NULL, crc INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
";
