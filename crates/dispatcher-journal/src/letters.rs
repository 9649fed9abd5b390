//! Dead letters: reading them back, and the history that they keep.

use std::collections::BTreeMap;

use dispatcher_core::{Response, Timestamp};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::{
    Attempt, CallbackRow, Dead, EventRow, JournalError, Reader, Row, Stream, copy, meta,
    reader::limit,
    records::{attempt, lossy, time, unsigned},
};

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

/// Which dead letters are read at once, in order of seq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadPage<'a> {
    /// Whose.
    pub consumer: &'a str,
    /// Those behind this seq.
    pub after: u64,
    /// Up to this seq.
    pub last: u64,
    /// None whose [place](DeadLetter::place) is beyond this.
    pub last_place: u64,
    /// At most so many.
    pub max_rows: usize,
    /// No further one once their copies hold so many bytes.
    pub max_bytes: usize,
}

impl DeadPage<'_> {
    /// The first page of all that a consumer has.
    #[must_use]
    pub fn all(consumer: &str) -> DeadPage<'_> {
        // As far as SQLite's integers go.
        let end = u64::MAX >> 1;
        DeadPage { consumer, after: 0, last: end, last_place: end, max_rows: usize::MAX, max_bytes: usize::MAX }
    }
}

impl DeadLetter {
    fn trusted_copy<T>(&self, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        if self.damaged { None } else { read(&self.copy) }
    }
}

impl Reader {
    /// Dead letters of a consumer in order of seq, from the one behind `after` on, at most `max_rows`.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn dead(&mut self, consumer: &str, after: u64, max_rows: usize) -> Result<Vec<DeadLetter>, JournalError> {
        self.dead_letters(&DeadPage { after, max_rows, ..DeadPage::all(consumer) })
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

    /// The events that dead letters keep. Rows that are still there are read as they are; of others there is the dead
    /// letter's own copy.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn dead_events(&mut self, page: &DeadPage<'_>) -> Result<Vec<Row<EventRow>>, JournalError> {
        let letters = self.dead_letters(page)?;
        letters.iter().map(|letter| self.event_or_copy(letter)).collect()
    }

    /// The callbacks that dead letters keep, as [`dead_events`](Reader::dead_events) gives events.
    ///
    /// # Errors
    /// When they could not be read now.
    pub fn dead_callbacks(&mut self, page: &DeadPage<'_>) -> Result<Vec<Row<CallbackRow>>, JournalError> {
        let letters = self.dead_letters(page)?;
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

    fn dead_letters(&mut self, page: &DeadPage<'_>) -> Result<Vec<DeadLetter>, JournalError> {
        let DeadPage { consumer, after, last, last_place, max_rows, max_bytes } = *page;
        let unchecked = meta::get::<i64>(&self.connection, "dead_unchecked")?.unwrap_or(0).cast_unsigned();
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, rowid, at, first_at, reason, attempts, history, copy, crc FROM dead
             WHERE consumer = ?1 AND seq > ?2 AND seq <= ?3 AND rowid <= ?4 ORDER BY seq LIMIT ?5",
        )?;
        let range = (consumer, after.cast_signed(), last.cast_signed(), last_place.cast_signed(), limit(max_rows));
        let mut bytes = 0;
        let mut dead = statement.query_map(range, |row| {
            let (history, copy) = (lossy(row, 6)?, lossy(row, 7)?);
            let (seq, at) = (unsigned(row, 0)?, time(row, 2)?);
            let dead = Dead { seq, reason: lossy(row, 4)?, attempts: row.get(5)?, first_at: time(row, 3)? };
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
        let mut letters = Vec::new();
        while bytes < max_bytes
            && let Some(letter) = dead.next()
        {
            let letter: DeadLetter = letter?;
            bytes += letter.copy.len();
            letters.push(letter);
        }
        Ok(letters)
    }
}

/// The attempts of an item by one consumer, as a dead letter keeps them: JSON text. Those that cannot be read are left out:
/// that must not keep a dead letter from being written.
pub(crate) fn history(connection: &Connection, stream: Stream, seq: u64, consumer: &str) -> String {
    read_history(connection, stream, seq, consumer).unwrap_or_else(|_| "[]".to_owned())
}

fn read_history(connection: &Connection, stream: Stream, seq: u64, consumer: &str) -> rusqlite::Result<String> {
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
