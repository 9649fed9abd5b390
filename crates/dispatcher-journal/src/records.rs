//! Reading back what consumers left beside the rows: progress, pending items, attempts, dead letters, replays.

use std::{collections::BTreeMap, time::Duration};

use dispatcher_core::{Key, Response, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row as Columns, types::Type};
use serde_json::{Value, json};

use crate::{
    Attempt, CallbackRow, Dead, EventRow, JournalError, Pending, Reader, Replay, Row, Skipped, Stream, copy, find,
    meta, reader::limit,
};

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
}

/// Why a consumer does not go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// Since when.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// An item that was given up on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its seq in the consumer's stream.
    pub seq: u64,
    /// Its place among all dead letters: later ones have larger numbers.
    pub place: u64,
    /// When it was given up on.
    pub at: Timestamp,
    /// When the first attempt was made.
    pub first_at: Timestamp,
    /// Why.
    pub reason: String,
    /// How many attempts were made.
    pub attempts: u32,
    /// Those of them that are known.
    pub history: Vec<Attempt>,
    /// The row, and its callback's, as JSON text.
    pub copy: String,
    /// Whether this is no longer what was stored: a bit of it has flipped. Its copy is then not delivered.
    pub damaged: bool,
}

impl DeadLetter {
    fn trusted_copy<T>(&self, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        if self.damaged { None } else { read(&self.copy) }
    }
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
        let sql = "SELECT consumer, stream, seq, parked_at, parked FROM checkpoint ORDER BY consumer";
        let mut statement = self.connection.prepare_cached(sql)?;
        let consumers = statement.query_map([], |row| {
            let parked_at = row.get::<_, Option<i64>>(3)?.map(Timestamp::from_millis);
            let reason = row.get::<_, Option<String>>(4)?;
            Ok(Consumer {
                name: row.get(0)?,
                stream: stream(row, 1)?,
                checkpoint: unsigned(row, 2)?,
                parked: parked_at.zip(reason).map(|(at, reason)| Parked { at, reason }),
            })
        })?;
        Ok(consumers.collect::<Result<_, _>>()?)
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

    /// Dead letters of a consumer in order of seq, from the one behind `after` on, at most `max_rows`.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn dead(&mut self, consumer: &str, after: u64, max_rows: usize) -> Result<Vec<DeadLetter>, JournalError> {
        self.dead_letters(consumer, after, u64::MAX >> 1, u64::MAX >> 1, max_rows)
    }

    /// How many dead letters each consumer has that has any.
    ///
    /// # Errors
    /// When they could not be counted now.
    pub fn dead_counts(&mut self) -> Result<BTreeMap<String, u64>, JournalError> {
        let mut statement = self.connection.prepare_cached("SELECT consumer, count(*) FROM dead GROUP BY consumer")?;
        let counts = statement.query_map([], |row| Ok((row.get(0)?, unsigned(row, 1)?)))?;
        Ok(counts.collect::<Result<_, _>>()?)
    }

    /// The events that dead letters of a consumer keep: from the one behind `after` up to `last`, and
    /// none whose place is beyond `last_place`. Rows that are still there are read as they are; of others there is the
    /// dead letter's own copy.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn dead_events(
        &mut self,
        consumer: &str,
        after: u64,
        last: u64,
        last_place: u64,
        max_rows: usize,
    ) -> Result<Vec<Row<EventRow>>, JournalError> {
        let letters = self.dead_letters(consumer, after, last, last_place, max_rows)?;
        letters.iter().map(|letter| self.event_or_copy(letter)).collect()
    }

    /// The callbacks that dead letters of a consumer keep, as [`dead_events`](Reader::dead_events) gives events.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn dead_callbacks(
        &mut self,
        consumer: &str,
        after: u64,
        last: u64,
        last_place: u64,
        max_rows: usize,
    ) -> Result<Vec<Row<CallbackRow>>, JournalError> {
        let letters = self.dead_letters(consumer, after, last, last_place, max_rows)?;
        letters.iter().map(|letter| self.callback_or_copy(letter)).collect()
    }

    fn event_or_copy(&mut self, letter: &DeadLetter) -> Result<Row<EventRow>, JournalError> {
        Ok(match self.event(letter.seq)? {
            Row::Damaged { seq, reason } => match letter.trusted_copy(|text| copy::event(text, &mut self.rows.names)) {
                Some(event) => Row::Intact(event),
                None => Row::Damaged { seq, reason },
            },
            intact @ Row::Intact(_) => intact,
        })
    }

    fn callback_or_copy(&mut self, letter: &DeadLetter) -> Result<Row<CallbackRow>, JournalError> {
        Ok(match self.callback(letter.seq)? {
            Row::Damaged { seq, reason } => {
                match letter.trusted_copy(|text| copy::callback(text, &mut self.rows.names)) {
                    Some(callback) => Row::Intact(callback),
                    None => Row::Damaged { seq, reason },
                }
            }
            intact @ Row::Intact(_) => intact,
        })
    }

    fn dead_letters(
        &mut self,
        consumer: &str,
        after: u64,
        last: u64,
        last_place: u64,
        max_rows: usize,
    ) -> Result<Vec<DeadLetter>, JournalError> {
        let unchecked = meta::number(&self.connection, "dead_unchecked")?;
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, rowid, at, first_at, reason, attempts, history, copy, crc FROM dead
             WHERE consumer = ?1 AND seq > ?2 AND seq <= ?3 AND rowid <= ?4 ORDER BY seq LIMIT ?5",
        )?;
        let range = (consumer, after.cast_signed(), last.cast_signed(), last_place.cast_signed(), limit(max_rows));
        let dead = statement.query_map(range, |row| {
            let (history, copy): (String, String) = (row.get(6)?, row.get(7)?);
            let (seq, at) = (unsigned(row, 0)?, time(row, 2)?);
            let dead = Dead { seq, reason: row.get(4)?, attempts: row.get(5)?, first_at: time(row, 3)? };
            let crc: Option<i64> = row.get(8)?;
            let place = unsigned(row, 1)?;
            Ok(DeadLetter {
                seq,
                place,
                at,
                first_at: dead.first_at,
                attempts: dead.attempts,
                history: attempts_of(&history),
                damaged: match crc {
                    Some(crc) => crc != i64::from(copy::dead_crc(&dead, at, &copy, &history)),
                    None => place > unchecked,
                },
                reason: dead.reason,
                copy,
            })
        })?;
        Ok(dead.collect::<Result<_, _>>()?)
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

/// The attempts of an item by one consumer, as a dead letter keeps them: JSON text.
pub(crate) fn history(connection: &Connection, stream: Stream, seq: u64, consumer: &str) -> rusqlite::Result<String> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, n, at, error, status, excerpt FROM attempts
         WHERE stream = ?1 AND seq = ?2 AND consumer = ?3 ORDER BY n",
    )?;
    let mut rows = statement.query((stream.as_str(), seq.cast_signed(), consumer))?;
    let mut history = Vec::new();
    while let Some(row) = rows.next()? {
        let Attempt { seq, n, at, error, response } = attempt(row)?;
        let response = response.map(|response| json!({"status": response.status, "excerpt": response.excerpt}));
        history.push(json!({"seq": seq, "n": n, "at": at.as_millis(), "error": error, "response": response}));
    }
    Ok(Value::Array(history).to_string())
}

/// The way back from `history`. What cannot be understood is left out: it is for people, and no delivery depends on it.
fn attempts_of(history: &str) -> Vec<Attempt> {
    let read = |entry: &Value| {
        let response = entry["response"].as_object().and_then(|response| {
            let status = u16::try_from(response.get("status")?.as_u64()?).ok()?;
            Some(Response { status, excerpt: response.get("excerpt")?.as_str()?.to_owned() })
        });
        Some(Attempt {
            seq: entry["seq"].as_u64()?,
            n: u32::try_from(entry["n"].as_u64()?).ok()?,
            at: Timestamp::from_millis(entry["at"].as_i64()?),
            error: entry["error"].as_str().map(ToOwned::to_owned),
            response,
        })
    };
    let entries: Vec<Value> = serde_json::from_str(history).unwrap_or_default();
    entries.iter().filter_map(read).collect()
}

fn attempt(row: &Columns<'_>) -> rusqlite::Result<Attempt> {
    let status: Option<u16> = row.get(4)?;
    Ok(Attempt {
        seq: unsigned(row, 0)?,
        n: row.get(1)?,
        at: time(row, 2)?,
        error: row.get(3)?,
        response: match status {
            Some(status) => Some(Response { status, excerpt: row.get::<_, Option<String>>(5)?.unwrap_or_default() }),
            None => None,
        },
    })
}

fn unsigned(row: &Columns<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

fn time(row: &Columns<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

fn stream(row: &Columns<'_>, column: usize) -> rusqlite::Result<Stream> {
    let name: String = row.get(column)?;
    Stream::from_name(&name).ok_or_else(|| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, format!("no stream {name:?}").into())
    })
}
