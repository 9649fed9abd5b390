//! What the writer does to the tables.

use std::{collections::HashMap, fmt, sync::Arc};

use dispatcher_core::{Callback, Timestamp};
use rusqlite::{Connection, OptionalExtension, Statement, ffi, types::ToSqlOutput, types::ValueRef};

use crate::{
    Commit, Dead, Emitted, Ends, EventRow, JournalError, Pending, Start, Stream,
    copy::copy,
    row::{
        CALLBACK_COLUMNS, CALLBACK_WIDTH, EVENT_COLUMNS, EVENT_WIDTH, EventPlace, Names, StoredEvent, callback_values,
        checksum, event_values, identity_bytes, integer, text,
    },
    step::step,
};

/// The tables, as the one writer sees them.
pub(crate) struct Tables<'c> {
    connection: &'c Connection,
    statements: Statements<'c>,
    begun: bool,
    /// The last seqs given, committed or not.
    ends: Ends,
    /// The last time given. It never falls, whatever the clock does.
    at: Timestamp,
    consumers: HashMap<Arc<str>, Stream>,
    names: Names,
    /// The events of this transaction, for the tail.
    events: Vec<EventRow>,
    /// What the next commit is to fail with.
    #[cfg(test)]
    pub(crate) fault: Option<rusqlite::Error>,
}

struct Statements<'c> {
    begin: Statement<'c>,
    commit: Statement<'c>,
    rollback: Statement<'c>,
    callback: Statement<'c>,
    event: Statement<'c>,
    checkpoint: Statement<'c>,
    pending: Statement<'c>,
    settled: Statement<'c>,
    dead: Statement<'c>,
}

impl<'c> Tables<'c> {
    pub(crate) fn new(connection: &'c Connection) -> rusqlite::Result<Tables<'c>> {
        let insert = |table: &str, columns: &str, width: usize| {
            let places: String = (1..=width).map(|place| format!("?{place}, ")).collect();
            connection.prepare(&format!("INSERT INTO {table} ({columns}, crc) VALUES ({places}?{})", width + 1))
        };
        let statements = Statements {
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            rollback: connection.prepare("ROLLBACK")?,
            callback: insert("callbacks", CALLBACK_COLUMNS, CALLBACK_WIDTH)?,
            event: insert("events", EVENT_COLUMNS, EVENT_WIDTH)?,
            checkpoint: connection.prepare("UPDATE checkpoint SET seq = ?2 WHERE consumer = ?1 AND seq <= ?2")?,
            pending: connection.prepare(
                "INSERT OR REPLACE INTO pending (consumer, seq, app, key, attempt, first_at, due, error)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
            settled: connection.prepare("DELETE FROM pending WHERE consumer = ?1 AND seq = ?2")?,
            dead: connection.prepare(
                "INSERT OR REPLACE INTO dead (consumer, seq, at, first_at, reason, attempts, copy)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?,
        };
        Ok(Tables {
            connection,
            statements,
            begun: false,
            ends: ends(connection)?,
            at: last_at(connection)?,
            consumers: consumers(connection)?,
            names: Names::default(),
            events: Vec::new(),
            #[cfg(test)]
            fault: None,
        })
    }

    pub(crate) fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// The last seqs that were committed, outside of a transaction.
    pub(crate) fn ends(&self) -> Ends {
        self.ends
    }

    /// The events of the last transaction.
    pub(crate) fn take_events(&mut self) -> std::vec::Drain<'_, EventRow> {
        self.events.drain(..)
    }

    /// Does `work` in one transaction: all of it is durable when this returns `Ok`, and nothing of it was done when it
    /// does not. Work that writes nothing costs no transaction; whether there was one is in the result.
    pub(crate) fn transact(
        &mut self,
        work: impl FnOnce(&mut Tables<'c>) -> Result<(), Trouble>,
    ) -> Result<bool, Trouble> {
        let (ends, at) = (self.ends, self.at);
        let result = work(self).and_then(|()| self.end());
        if result.is_err() {
            self.roll_back();
            (self.ends, self.at) = (ends, at);
            self.events.clear();
        }
        result
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        if !self.begun {
            // A rollback may have failed as well, as when the disk was gone.
            self.roll_back();
            self.statements.begin.raw_execute()?;
            step("commit.begun");
            self.begun = true;
            self.at = self.at.max(Timestamp::now());
        }
        Ok(())
    }

    fn end(&mut self) -> Result<bool, Trouble> {
        if !self.begun {
            return Ok(false);
        }
        #[cfg(test)]
        if let Some(fault) = self.fault.take() {
            return Err(fault.into());
        }
        step("commit.before");
        self.statements.commit.raw_execute()?;
        step("commit.after");
        self.begun = false;
        Ok(true)
    }

    fn roll_back(&mut self) {
        self.begun = false;
        if !self.connection.is_autocommit() {
            // Should this fail, `begin` tries again.
            let _ = self.statements.rollback.raw_execute();
        }
    }

    /// Stores a callback and returns its seq.
    pub(crate) fn append(&mut self, callback: &Callback) -> Result<u64, Trouble> {
        self.begin()?;
        let seq = self.ends.callbacks + 1;
        let (id, identity) = (callback.id(), identity_bytes(callback));
        insert(&mut self.statements.callback, &callback_values(seq, self.at, callback, &id, &identity))?;
        self.ends.callbacks = seq;
        Ok(seq)
    }

    /// Does all that a consumer asks for.
    pub(crate) fn commit(&mut self, commit: &Commit) -> Result<(), Trouble> {
        let Some(&stream) = self.consumers.get(&commit.consumer) else {
            return Err(Trouble::own(format!("consumer {:?} is not registered", commit.consumer)));
        };
        self.begin()?;
        for emitted in &commit.events {
            self.emit(emitted)?;
        }
        let consumer = &*commit.consumer;
        for &seq in &commit.settled {
            execute(&mut self.statements.settled, &[text(consumer), integer(seq)])?;
        }
        for pending in &commit.pending {
            self.put_pending(consumer, pending)?;
        }
        for dead in &commit.dead {
            self.put_dead(consumer, stream, dead)?;
        }
        if let Some(seq) = commit.checkpoint
            && execute(&mut self.statements.checkpoint, &[text(consumer), integer(seq)])? == 0
        {
            return Err(Trouble::own(format!("the checkpoint of consumer {consumer:?} would fall to {seq}")));
        }
        Ok(())
    }

    fn emit(&mut self, emitted: &Emitted) -> Result<(), Trouble> {
        for (n, event) in (0..).zip(&emitted.events) {
            let place = EventPlace {
                seq: self.ends.events + 1,
                at: self.at,
                callback_seq: emitted.callback_seq,
                callback: &emitted.callback,
                handler: &emitted.handler,
                n,
                sinks: &emitted.sinks,
            };
            insert(&mut self.statements.event, &event_values(&place, event))?;
            let stored = StoredEvent {
                seq: place.seq,
                callback_seq: emitted.callback_seq,
                handler: emitted.handler.clone(),
                n,
                event_type: self.names.name(event.event_type()),
                key: event.key(&emitted.callback).cloned(),
                time: event.time(&emitted.callback),
                data: event.data().clone(),
                sinks: emitted.sinks.clone(),
            };
            self.events.push(stored.with(emitted.callback.clone()));
            self.ends.events += 1;
        }
        Ok(())
    }

    fn put_pending(&mut self, consumer: &str, pending: &Pending) -> Result<(), Trouble> {
        let values = [
            text(consumer),
            integer(pending.seq),
            integer(pending.app),
            pending.key.as_ref().map_or(ValueRef::Null, |key| text(key)),
            integer(u64::from(pending.attempt)),
            ValueRef::Integer(pending.first_at.as_millis()),
            ValueRef::Integer(pending.due.as_millis()),
            text(&pending.error),
        ];
        execute(&mut self.statements.pending, &values)?;
        Ok(())
    }

    fn put_dead(&mut self, consumer: &str, stream: Stream, dead: &Dead) -> Result<(), Trouble> {
        let copy = copy(self.connection, stream, dead.seq);
        let values = [
            text(consumer),
            integer(dead.seq),
            ValueRef::Integer(self.at.as_millis()),
            ValueRef::Integer(dead.first_at.as_millis()),
            text(&dead.reason),
            integer(u64::from(dead.attempts)),
            text(&copy),
        ];
        execute(&mut self.statements.dead, &values)?;
        Ok(())
    }

    /// The checkpoint of this consumer, which is stored now if there is none.
    pub(crate) fn register(&mut self, consumer: &Arc<str>, stream: Stream, start: Start) -> Result<u64, Trouble> {
        let known = self.consumers.get(consumer);
        if known.is_some_and(|&known| known != stream) {
            return Err(Trouble::own(format!("consumer {consumer:?} is registered for another stream than {stream}")));
        }
        let stored = "SELECT seq FROM checkpoint WHERE consumer = ?1";
        let stored = self.connection.query_row(stored, [&**consumer], |row| row.get::<_, i64>(0)).optional()?;
        if let Some(seq) = stored {
            return Ok(seq.cast_unsigned());
        }
        let end = self.ends.of(stream);
        let seq = match start {
            Start::End => end,
            Start::Oldest => {
                let sql = format!("SELECT min(seq) FROM {stream}");
                let oldest = self.connection.query_row(&sql, [], |row| row.get::<_, Option<i64>>(0))?;
                oldest.map_or(end, |oldest| oldest.cast_unsigned().saturating_sub(1))
            }
        };
        self.begin()?;
        self.connection.execute(
            "INSERT INTO checkpoint (consumer, stream, seq) VALUES (?1, ?2, ?3)",
            (&**consumer, stream.as_str(), seq.cast_signed()),
        )?;
        // Known from here on even if the transaction fails: then nothing is stored, and the next call tries again.
        self.consumers.insert(consumer.clone(), stream);
        Ok(seq)
    }
}

/// Inserts a row with its checksum.
fn insert(statement: &mut Statement<'_>, values: &[ValueRef<'_>]) -> Result<(), Trouble> {
    let crc = checksum(values);
    statement.raw_bind_parameter(values.len() + 1, i64::from(crc))?;
    execute(statement, values)?;
    Ok(())
}

fn execute(statement: &mut Statement<'_>, values: &[ValueRef<'_>]) -> Result<usize, Trouble> {
    for (place, &value) in (1..).zip(values) {
        statement.raw_bind_parameter(place, ToSqlOutput::Borrowed(value))?;
    }
    Ok(statement.raw_execute()?)
}

/// The last seqs that were ever given: an emptied table must not start again at 1.
pub(crate) fn ends(connection: &Connection) -> rusqlite::Result<Ends> {
    let end = |stream: Stream| {
        let sql = format!(
            "SELECT max(coalesce((SELECT max(seq) FROM {stream}), 0),
                        coalesce((SELECT max(seq) FROM checkpoint WHERE stream = ?1), 0),
                        coalesce((SELECT value FROM meta WHERE key = ?1 || '_mark'), 0))"
        );
        connection.query_row(&sql, [stream.as_str()], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
    };
    Ok(Ends { callbacks: end(Stream::Callbacks)?, events: end(Stream::Events)? })
}

fn last_at(connection: &Connection) -> rusqlite::Result<Timestamp> {
    let sql = "SELECT max(coalesce((SELECT at FROM callbacks ORDER BY seq DESC LIMIT 1), 0),
                          coalesce((SELECT at FROM events ORDER BY seq DESC LIMIT 1), 0))";
    connection.query_row(sql, [], |row| row.get(0)).map(Timestamp::from_millis)
}

fn consumers(connection: &Connection) -> rusqlite::Result<HashMap<Arc<str>, Stream>> {
    let mut statement = connection.prepare("SELECT consumer, stream FROM checkpoint")?;
    let rows = statement.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)))?;
    let mut consumers = HashMap::new();
    for row in rows {
        let (consumer, stream) = row?;
        if let Some(stream) = Stream::from_name(&stream) {
            consumers.insert(consumer.into(), stream);
        }
    }
    Ok(consumers)
}

/// Why a transaction failed.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) fault: Fault,
    pub(crate) reason: Arc<str>,
}

/// Whose fault that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A sync failed. What the disk holds is unknown: after an error the kernel may take pages for clean that it never
    /// wrote, so that the next sync succeeds and means nothing.
    Sync,
    /// The disk or the machine: full, an error, no memory, a lock held by someone else. It may pass.
    Disk,
    /// What was asked for, or a damaged page. Other work may succeed.
    Own,
}

impl Trouble {
    fn own(reason: String) -> Trouble {
        Trouble { fault: Fault::Own, reason: reason.into() }
    }
}

impl From<Trouble> for JournalError {
    fn from(trouble: Trouble) -> JournalError {
        match trouble.fault {
            Fault::Sync => JournalError::Poisoned(trouble.reason),
            Fault::Disk | Fault::Own => JournalError::Failed(trouble.reason),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl From<rusqlite::Error> for Trouble {
    fn from(err: rusqlite::Error) -> Trouble {
        let extended = err.sqlite_error().map_or(0, |err| err.extended_code);
        let fault = match extended {
            ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC => Fault::Sync,
            _ => match extended & 0xff {
                ffi::SQLITE_FULL
                | ffi::SQLITE_IOERR
                | ffi::SQLITE_READONLY
                | ffi::SQLITE_CANTOPEN
                | ffi::SQLITE_BUSY
                | ffi::SQLITE_LOCKED
                | ffi::SQLITE_PROTOCOL
                | ffi::SQLITE_NOMEM => Fault::Disk,
                _ => Fault::Own,
            },
        };
        let reason = match extended {
            0 => err.to_string(),
            _ => format!("{err} (SQLite error {extended})"),
        };
        Trouble { fault, reason: reason.into() }
    }
}
