//! Checksums of the small tables, and what is done where one does not hold.
//!
//! Rows of the streams that are damaged are set aside. A consumer's checkpoint and its pending items cannot be: a checkpoint
//! that moved up would lose what lies between. So the bit that flipped is sought – the checksum tells which one it was –
//! and where more than one did, the consumer goes back to a place that it is known to have passed.

use rusqlite::{
    Connection, params_from_iter,
    types::{ToSqlOutput, ValueRef},
};
use tracing::error;

use crate::{
    Stream,
    row::{checksum, integer, text},
};

/// The columns of `checkpoint` that its checksum covers.
const CHECKPOINT: [&str; 3] = ["consumer", "stream", "seq"];
/// The columns of `pending` that its checksum covers.
const PENDING: [&str; 9] = ["consumer", "seq", "app", "key", "attempt", "first_at", "due", "error", "age"];

/// All tables that are looked after here.
const TABLES: [(&str, &[&str]); 3] =
    [("checkpoint", &CHECKPOINT), ("pending", &PENDING), ("shadows", &["handler", "until"])];

/// The checksum of a checkpoint.
pub(crate) fn checkpoint_crc(consumer: &str, stream: Stream, seq: u64) -> u32 {
    checksum(&[text(consumer), text(stream.as_str()), integer(seq)])
}

/// Gives every checkpoint and every pending item the checksum of what it says now.
pub(crate) fn vouch(connection: &Connection, consumer: Option<&str>) -> rusqlite::Result<()> {
    for (table, columns) in [("checkpoint", &CHECKPOINT[..]), ("pending", &PENDING[..])] {
        // Each by its whole key: of pending items there may be many thousands.
        let (set, key) = match table {
            "pending" => ("UPDATE pending SET crc = ?1 WHERE consumer = ?2 AND seq = ?3", 1),
            _ => ("UPDATE checkpoint SET crc = ?1 WHERE consumer = ?2 AND seq = ?3", 2),
        };
        let mut set = connection.prepare_cached(set)?;
        for row in read(connection, table, columns)? {
            let (Cell::Text(name), Some(seq)) = (&row.cells[0], row.cells[key].number()) else { continue };
            if consumer.is_none_or(|consumer| consumer.as_bytes() == name) {
                set.execute((row.crc_of_cells(), String::from_utf8_lossy(name), seq))?;
            }
        }
    }
    Ok(())
}

/// Looks at every row of these tables, and puts right those whose checksum does not hold. Whatever was done is in the log.
pub(crate) fn mend(connection: &Connection) -> rusqlite::Result<()> {
    for (table, columns) in TABLES {
        let mut rows = read(connection, table, columns)?;
        if rows.iter().all(Cells::is_intact) {
            continue;
        }
        let others = others(connection, table, columns)?;
        for row in rows.iter_mut().filter(|row| !row.is_intact()) {
            let before = row.to_string();
            let how = if row.flip_back() {
                "put right: one bit of it had flipped"
            } else if table == "checkpoint" {
                row.fall_back(connection)?;
                "set back to where the consumer is known to have been: what came after that is delivered again"
            } else if table == "shadows" {
                row.cells[1] = Cell::Integer(0);
                "ended; more than one bit of it has flipped"
            } else {
                row.make_readable();
                "kept as far as it can be read; more than one bit of it has flipped"
            };
            error!(table, was = %before, is = %row, "a damaged row of the journal was {how}; see to its disk");
        }
        // A name that flipped stands in the wrong place of its table, where no search finds it: all are written anew.
        let transaction = connection.unchecked_transaction()?;
        transaction.execute(&format!("DELETE FROM {table}"), [])?;
        let all: Vec<&str> = columns.iter().copied().chain(others.0.iter().map(String::as_str)).collect();
        let places = vec!["?"; all.len() + 1].join(", ");
        let sql = format!("INSERT OR REPLACE INTO {table} ({}, crc) VALUES ({places})", all.join(", "));
        for (row, other) in rows.iter().zip(&others.1) {
            let crc = Cell::Integer(row.crc_of_cells());
            let values = row.cells.iter().chain(&other.cells).chain([&crc]);
            let values = params_from_iter(values.map(|cell| ToSqlOutput::Borrowed(cell.value())));
            if let Err(err) = transaction.execute(&sql, values) {
                error!(table, row = %row, %err, "a damaged row of the journal cannot be kept");
            }
        }
        transaction.commit()?;
    }
    Ok(())
}

/// Rows of these tables whose checksum does not hold, a sentence each.
pub(crate) fn damaged(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut damaged = Vec::new();
    for (table, columns) in TABLES {
        let rows = read(connection, table, columns)?;
        let bad = rows.iter().filter(|row| !row.is_intact());
        damaged.extend(bad.map(|row| format!("a row of {table} fails its checksum: {row}")));
    }
    Ok(damaged)
}

/// A row of one of these tables.
struct Cells {
    cells: Vec<Cell>,
    crc: i64,
}

enum Cell {
    Null,
    Integer(i64),
    Text(Vec<u8>),
}

impl Cell {
    fn value(&self) -> ValueRef<'_> {
        match self {
            Cell::Null => ValueRef::Null,
            Cell::Integer(number) => ValueRef::Integer(*number),
            Cell::Text(text) => ValueRef::Text(text),
        }
    }

    fn number(&self) -> Option<i64> {
        if let Cell::Integer(number) = self { Some(*number) } else { None }
    }

    fn bits(&self) -> usize {
        match self {
            Cell::Null => 0,
            Cell::Integer(_) => 64,
            Cell::Text(text) => text.len() * 8,
        }
    }

    fn flip(&mut self, bit: usize) {
        match self {
            Cell::Null => {}
            Cell::Integer(number) => *number ^= 1 << bit,
            Cell::Text(text) => text[bit / 8] ^= 1 << (bit % 8),
        }
    }
}

impl Cells {
    fn crc_of_cells(&self) -> i64 {
        let values: Vec<ValueRef<'_>> = self.cells.iter().map(Cell::value).collect();
        i64::from(checksum(&values))
    }

    fn is_intact(&self) -> bool {
        self.crc == self.crc_of_cells()
    }

    /// Finds the one bit that makes the checksum hold.
    fn flip_back(&mut self) -> bool {
        if (self.crc ^ self.crc_of_cells()).count_ones() == 1 {
            return true;
        }
        for cell in 0..self.cells.len() {
            for bit in 0..self.cells[cell].bits() {
                self.cells[cell].flip(bit);
                if self.is_intact() {
                    return true;
                }
                self.cells[cell].flip(bit);
            }
        }
        false
    }

    /// A checkpoint whose seq cannot be trusted: to the last place that was noted on its way, or to the beginning.
    fn fall_back(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let Cell::Text(consumer) = &self.cells[0] else { return Ok(()) };
        let consumer = String::from_utf8_lossy(consumer).into_owned();
        let noted = "SELECT max(seq) FROM progress WHERE consumer = ?1";
        let noted: Option<i64> = connection.query_row(noted, [&consumer], |row| row.get(0))?;
        let found = self.cells[2].number().filter(|seq| *seq >= 0);
        self.cells[2] = Cell::Integer(noted.unwrap_or(0).min(found.unwrap_or(i64::MAX)));
        let is_stream = matches!(&self.cells[1], Cell::Text(name) if matches!(&name[..], b"callbacks" | b"events"));
        if !is_stream {
            let stream = if consumer.starts_with("handler:") { Stream::Callbacks } else { Stream::Events };
            self.cells[1] = Cell::Text(stream.as_str().into());
        }
        self.cells[0] = Cell::Text(consumer.into_bytes());
        Ok(())
    }

    /// A pending item of which more than a bit is wrong: what nobody could read gets a value that does no harm.
    fn make_readable(&mut self) {
        for (column, cell) in PENDING.iter().zip(&mut self.cells) {
            let sane = match (*column, &mut *cell) {
                ("consumer" | "key" | "error", Cell::Text(text)) => {
                    Cell::Text(String::from_utf8_lossy(text).into_owned().into_bytes())
                }
                ("error", _) => Cell::Text(Vec::new()),
                ("key", _) => Cell::Null,
                ("attempt", Cell::Integer(number)) if u32::try_from(*number).is_ok() => Cell::Integer(*number),
                ("age" | "seq", Cell::Integer(number)) if *number >= 0 => Cell::Integer(*number),
                ("app" | "first_at" | "due", Cell::Integer(number)) => Cell::Integer(*number),
                ("consumer" | "seq", _) => continue,
                _ => Cell::Integer(0),
            };
            *cell = sane;
        }
    }
}

impl std::fmt::Display for Cells {
    /// Names and numbers; no error texts, which may quote what people wrote.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (idx, cell) in self.cells.iter().take(3).enumerate() {
            let space = if idx == 0 { "" } else { " " };
            match cell {
                Cell::Null => write!(f, "{space}NULL")?,
                Cell::Integer(number) => write!(f, "{space}{number}")?,
                Cell::Text(text) => write!(f, "{space}{:?}", String::from_utf8_lossy(text))?,
            }
        }
        Ok(())
    }
}

fn read(connection: &Connection, table: &str, columns: &[&str]) -> rusqlite::Result<Vec<Cells>> {
    let mut statement = connection.prepare(&format!("SELECT {}, crc FROM {table}", columns.join(", ")))?;
    let mut rows = statement.query([])?;
    let mut all = Vec::new();
    while let Some(row) = rows.next()? {
        let mut cells = Vec::with_capacity(columns.len());
        for idx in 0..columns.len() {
            cells.push(match row.get_ref(idx)? {
                ValueRef::Integer(number) => Cell::Integer(number),
                ValueRef::Text(text) | ValueRef::Blob(text) => Cell::Text(text.to_vec()),
                ValueRef::Null | ValueRef::Real(_) => Cell::Null,
            });
        }
        // One that is missing is as wrong as any other: no CRC is negative.
        let crc = row.get_ref(columns.len())?.as_i64().unwrap_or(-1);
        all.push(Cells { cells, crc });
    }
    Ok(all)
}

/// The columns that no checksum covers, and what is in them, in the order of `read`.
fn others(connection: &Connection, table: &str, covered: &[&str]) -> rusqlite::Result<(Vec<String>, Vec<Cells>)> {
    let mut statement = connection.prepare("SELECT name FROM pragma_table_info(?1)")?;
    let names: Vec<String> = statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let others: Vec<String> =
        names.into_iter().filter(|name| name != "crc" && !covered.contains(&name.as_str())).collect();
    if others.is_empty() {
        let rows = read(connection, table, &covered[..1])?;
        return Ok((others, rows.into_iter().map(|row| Cells { cells: Vec::new(), ..row }).collect()));
    }
    let columns: Vec<&str> = others.iter().map(String::as_str).collect();
    let rows = read(connection, table, &columns)?;
    Ok((others, rows))
}
