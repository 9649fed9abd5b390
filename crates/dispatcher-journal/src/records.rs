//! Reading back what consumers left beside the rows: progress, pending items, attempts, replays.

use std::{collections::BTreeMap, time::Duration};

use dispatcher_core::{Key, Response, Timestamp};
use rusqlite::{
    Connection, OptionalExtension, Row as Columns,
    types::{Type, ValueRef},
};

use crate::{Attempt, JournalError, Pending, Reader, Replay, Skipped, Stream, find};

/// A consumer that was registered at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    /// Its name.
    pub name: String,
    /// What it consumes.
    pub stream: Stream,
    /// Everything up to this seq is done, pending or dead.
    pub checkpoint: u64,
    /// Set while it is parked.
    pub parked: Option<Parked>,
    /// The names that it had before, each with the last seq that may know it by that.
    pub former: Vec<(String, u64)>,
}

impl Consumer {
    /// One of which nothing is stored.
    #[must_use]
    pub fn new(name: impl Into<String>, stream: Stream) -> Consumer {
        Consumer { name: name.into(), stream, checkpoint: 0, parked: None, former: Vec::new() }
    }

    /// Whether an event with this seq, which names these sinks – joined with `,` – is meant for it.
    #[must_use]
    pub fn is_named(&self, sinks: &str, seq: u64) -> bool {
        let is_in = |consumer: &str| sinks.split(',').any(|sink| Some(sink) == consumer.strip_prefix("sink:"));
        is_in(&self.name) || self.former.iter().any(|(former, upto)| seq <= *upto && is_in(former))
    }
}

/// Why a consumer does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

impl Reader {
    /// The checkpoint of a consumer, if it was ever registered.
    ///
    /// # Errors
    /// When it could not be read now.
    pub fn checkpoint(&mut self, consumer: &str) -> Result<Option<u64>, JournalError> {
        Ok(self.consumers()?.into_iter().find(|known| known.name == consumer).map(|known| known.checkpoint))
    }

    /// All consumers that were ever registered and not dropped, by name; replays that have not ended among them.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn consumers(&mut self) -> Result<Vec<Consumer>, JournalError> {
        Ok(consumers(&self.connection)?)
    }

    /// All pending items of a consumer, in order of seq.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn pending(&mut self, consumer: &str) -> Result<Vec<Pending>, JournalError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, app, key, attempt, first_at, due, error, age FROM pending WHERE consumer = ?1 ORDER BY seq",
        )?;
        let pending = statement.query_map([consumer], |row| {
            Ok(Pending {
                seq: unsigned(row, 0)?,
                app: unsigned(row, 1)?,
                key: row.get::<_, Option<String>>(2)?.map(Key::from),
                attempt: row.get(3)?,
                first_at: time(row, 4)?,
                due: time(row, 5)?,
                error: row.get(6)?,
                age: Duration::from_millis(unsigned(row, 7)?),
            })
        })?;
        Ok(pending.collect::<Result<_, _>>()?)
    }

    /// What is known of the attempts of the item with this seq, by consumer, in their order.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn attempts(&mut self, stream: Stream, seq: u64) -> Result<BTreeMap<String, Vec<Attempt>>, JournalError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, n, at, error, status, excerpt, consumer FROM attempts WHERE stream = ?1 AND seq = ?2
             ORDER BY consumer, n",
        )?;
        let mut rows = statement.query((stream.as_str(), seq.cast_signed()))?;
        let mut attempts = BTreeMap::<String, Vec<Attempt>>::new();
        while let Some(row) = rows.next()? {
            attempts.entry(row.get(6)?).or_default().push(attempt(row)?);
        }
        Ok(attempts)
    }

    /// Between which moments this consumer's checkpoint came to pass `seq`: it had not at the first, and had at the
    /// second. Either may be unknown.
    ///
    /// # Errors
    /// When that could not be read now.
    pub fn passed(&mut self, consumer: &str, seq: u64) -> Result<(Option<Timestamp>, Option<Timestamp>), JournalError> {
        let when = |sql: &str| -> rusqlite::Result<Option<Timestamp>> {
            let mut statement = self.connection.prepare_cached(sql)?;
            let at: Option<i64> = statement.query_row((consumer, seq.cast_signed()), |row| row.get(0)).optional()?;
            Ok(at.map(Timestamp::from_millis))
        };
        let before = when("SELECT at FROM progress WHERE consumer = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT 1")?;
        let after = when("SELECT at FROM progress WHERE consumer = ?1 AND seq >= ?2 ORDER BY seq LIMIT 1")?;
        Ok((before, after))
    }

    /// All replays, the newest first; those that have not ended among them.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn replays(&mut self) -> Result<Vec<Replay>, JournalError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, at, target, stream, dead_of, first, last, last_place, spec, done, dead, ended_at, cancelled
             FROM replays ORDER BY id DESC",
        )?;
        let replays = statement.query_map([], |row| {
            Ok(Replay {
                id: unsigned(row, 0)?,
                at: time(row, 1)?,
                target: row.get::<_, String>(2)?.into(),
                stream: stream(row, 3)?,
                dead_of: row.get::<_, Option<String>>(4)?.map(Into::into),
                first: unsigned(row, 5)?,
                last: unsigned(row, 6)?,
                last_place: unsigned(row, 7)?,
                spec: row.get(8)?,
                done: unsigned(row, 9)?,
                dead: unsigned(row, 10)?,
                ended_at: row.get::<_, Option<i64>>(11)?.map(Timestamp::from_millis),
                cancelled: row.get(12)?,
            })
        })?;
        Ok(replays.collect::<Result<_, _>>()?)
    }

    /// What consumers let go of untried, oldest first: each with its consumer and when that was.
    ///
    /// # Errors
    /// When that could not be read now.
    pub fn skipped(&mut self) -> Result<Vec<(String, Timestamp, Skipped)>, JournalError> {
        let sql = "SELECT consumer, at, first, last, reason FROM skipped ORDER BY id";
        let mut statement = self.connection.prepare_cached(sql)?;
        let skipped = statement.query_map([], |row| {
            let range = Skipped { first: unsigned(row, 2)?, last: unsigned(row, 3)?, reason: row.get(4)? };
            Ok((row.get(0)?, time(row, 1)?, range))
        })?;
        Ok(skipped.collect::<Result<_, _>>()?)
    }

    /// The seq of the first row that was stored at `at` or later, if there is one.
    ///
    /// # Errors
    /// When that could not be read now.
    pub fn first_at(&mut self, stream: Stream, at: Timestamp) -> Result<Option<u64>, JournalError> {
        Ok(find::first_at(&self.connection, stream, at)?)
    }

    /// The last seq of a stream that is committed.
    #[must_use]
    pub fn end(&self, stream: Stream) -> u64 {
        self.rows.shared.visible(stream)
    }
}

/// All consumers, by name.
pub(crate) fn consumers(connection: &Connection) -> rusqlite::Result<Vec<Consumer>> {
    let sql = "SELECT consumer, former, upto FROM former_names";
    let mut former = BTreeMap::<String, Vec<(String, u64)>>::new();
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        former.entry(row.get(0)?).or_default().push((row.get(1)?, unsigned(row, 2)?));
    }
    let sql = "SELECT consumer, stream, seq, parked_at, parked FROM checkpoint ORDER BY consumer";
    let mut statement = connection.prepare_cached(sql)?;
    let consumers = statement.query_map([], |row| {
        let parked_at = row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis);
        let reason = row.get::<_, Option<String>>(4)?;
        let name: String = row.get(0)?;
        Ok(Consumer {
            former: former.remove(&name).unwrap_or_default(),
            name,
            stream: stream(row, 1)?,
            checkpoint: unsigned(row, 2)?,
            parked: parked_at.zip(reason).map(|(at, reason)| Parked { at, reason }),
        })
    })?;
    consumers.collect()
}

pub(crate) fn attempt(row: &Columns<'_>) -> rusqlite::Result<Attempt> {
    let status: Option<u16> = row.get(4)?;
    Ok(Attempt {
        seq: unsigned(row, 0)?,
        n: row.get(1)?,
        at: time(row, 2)?,
        error: if row.get_ref(3)? == ValueRef::Null { None } else { Some(lossy(row, 3)?) },
        response: match status {
            Some(status) => Some(Response { status, excerpt: lossy(row, 5)? }),
            None => None,
        },
    })
}

/// A text for people, in which a bit may have flipped.
pub(crate) fn lossy(row: &Columns<'_>, column: usize) -> rusqlite::Result<String> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => String::new(),
    })
}

pub(crate) fn unsigned(row: &Columns<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

pub(crate) fn time(row: &Columns<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

fn stream(row: &Columns<'_>, column: usize) -> rusqlite::Result<Stream> {
    let name: String = row.get(column)?;
    Stream::from_name(&name).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("no stream {name:?}").into())
    })
}
