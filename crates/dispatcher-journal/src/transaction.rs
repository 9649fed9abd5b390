//! What the writer does to the tables.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
    time::Duration,
};

use dispatcher_core::{Callback, NewEvent, Timestamp};
use rusqlite::{Connection, OptionalExtension, Statement, types::ToSqlOutput, types::ValueRef};

use crate::{
    Attempt, Commit, Emitted, Ends, EventRow, Pending, Start, Stream,
    blocks::LastBlock,
    decision::{DECISION_COLUMNS, DECISION_WIDTH},
    find,
    gone::{self, Gone},
    last_row,
    mend::checkpoint_crc,
    meta,
    row::{
        CALLBACK_COLUMNS, CALLBACK_WIDTH, EVENT_COLUMNS, EVENT_WIDTH, EventPlace, Names, StoredEvent, callback_values,
        checksum, event_values, identity_bytes, integer, text,
    },
    step::step,
    trouble::Trouble,
};

/// The tables, as the one writer sees them.
pub(crate) struct Tables<'c> {
    connection: &'c Connection,
    statements: Statements<'c>,
    begun: bool,
    /// The last seqs given, committed or not.
    ends: Ends,
    /// The last time given. It never falls, whatever the clock does.
    pub(crate) at: Timestamp,
    pub(crate) consumers: HashMap<Arc<str>, Stream>,
    /// Those of them that have asked for something since the start.
    pub(crate) running: HashSet<Arc<str>>,
    /// Whether the transaction under way has changed them.
    pub(crate) consumers_changed: bool,
    /// Which callbacks the last events refer to.
    pub(crate) last_block: LastBlock,
    /// What retention has deleted, by stream; committed or not.
    pub(crate) gone: [Gone; 2],
    /// When the progress of each consumer was last noted.
    noted: HashMap<Arc<str>, Timestamp>,
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
    decision: Statement<'c>,
    event: Statement<'c>,
    checkpoint: Statement<'c>,
    progress: Statement<'c>,
    pending: Statement<'c>,
    settled: Statement<'c>,
    attempt: Statement<'c>,
}

impl<'c> Tables<'c> {
    pub(crate) fn new(connection: &'c Connection) -> rusqlite::Result<Tables<'c>> {
        let insert = |insert: &str, table: &str, columns: &str, width: usize| {
            let places: String = (1..=width).map(|place| format!("?{place}, ")).collect();
            connection.prepare(&format!("{insert} INTO {table} ({columns}, crc) VALUES ({places}?{})", width + 1))
        };
        let statements = Statements {
            begin: connection.prepare("BEGIN IMMEDIATE")?,
            commit: connection.prepare("COMMIT")?,
            rollback: connection.prepare("ROLLBACK")?,
            callback: insert("INSERT", "callbacks", CALLBACK_COLUMNS, CALLBACK_WIDTH)?,
            // What may lie in the place of a new record was never put there: a bit of its id has flipped.
            decision: insert("INSERT OR REPLACE", "decisions", DECISION_COLUMNS, DECISION_WIDTH)?,
            event: insert("INSERT", "events", EVENT_COLUMNS, EVENT_WIDTH)?,
            checkpoint: connection
                .prepare("UPDATE checkpoint SET seq = ?2, crc = ?3 WHERE consumer = ?1 AND seq <= ?2")?,
            progress: connection.prepare("INSERT OR REPLACE INTO progress (consumer, seq, at) VALUES (?1, ?2, ?3)")?,
            pending: connection.prepare(
                "INSERT OR REPLACE INTO pending (consumer, seq, app, key, attempt, first_at, due, error, age, crc)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?,
            settled: connection.prepare("DELETE FROM pending WHERE consumer = ?1 AND seq = ?2")?,
            attempt: connection.prepare(
                "INSERT OR REPLACE INTO attempts (stream, seq, consumer, n, at, error, status, excerpt)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?,
        };
        Ok(Tables {
            connection,
            statements,
            begun: false,
            ends: ends(connection)?,
            at: last_row::at(connection)?,
            consumers: consumers(connection)?,
            running: HashSet::new(),
            consumers_changed: false,
            last_block: LastBlock::read(connection)?,
            gone: gone::read(connection)?,
            noted: HashMap::new(),
            names: Names::default(),
            events: Vec::new(),
            #[cfg(test)]
            fault: None,
        })
    }

    pub(crate) fn connection(&self) -> &'c Connection {
        self.connection
    }

    /// Inserts a record of a decision.
    pub(crate) fn decision_statement(&mut self) -> &mut Statement<'c> {
        &mut self.statements.decision
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
        let before = (self.ends, self.at, self.last_block, self.gone);
        let result = work(self).and_then(|()| self.end());
        if result.is_err() {
            self.roll_back();
            self.noted.clear();
            if mem::take(&mut self.consumers_changed) {
                // Should this fail too, what is missing here is refused, and what is too much finds no row to change.
                self.consumers = consumers(self.connection).unwrap_or_default();
            }
            (self.ends, self.at, self.last_block, self.gone) = before;
            self.events.clear();
        }
        result
    }

    pub(crate) fn begin(&mut self) -> Result<(), Trouble> {
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
        self.consumers_changed = false;
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
        if !self.running.contains(&commit.consumer) {
            self.running.insert(commit.consumer.clone());
        }
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
        for attempt in &commit.attempts {
            self.put_attempt(consumer, stream, attempt)?;
        }
        let in_name_of = commit.in_name_of.as_deref().unwrap_or(consumer);
        for dead in &commit.dead {
            self.put_dead(in_name_of, consumer, stream, dead)?;
        }
        for &seq in &commit.raised {
            self.remove_dead(in_name_of, seq)?;
        }
        if let Some(skipped) = &commit.skipped {
            self.put_skipped(consumer, skipped)?;
        }
        if commit.done > 0 || !commit.dead.is_empty() {
            self.count_replayed(consumer, commit.done, commit.dead.len() as u64)?;
        }
        if let Some(seq) = commit.checkpoint {
            let crc = integer(u64::from(checkpoint_crc(consumer, stream, seq)));
            if execute(&mut self.statements.checkpoint, &[text(consumer), integer(seq), crc])? == 0 {
                return Err(Trouble::own(format!("the checkpoint of consumer {consumer:?} would fall to {seq}")));
            }
            self.note_progress(&commit.consumer, seq)?;
        }
        Ok(())
    }

    /// Remembers now and then when a consumer got where, so that it can be told about when an item was done.
    fn note_progress(&mut self, consumer: &Arc<str>, seq: u64) -> Result<(), Trouble> {
        const EVERY: Duration = Duration::from_secs(1);
        if self.noted.get(consumer).is_some_and(|&noted| self.at.since(noted) < EVERY) {
            return Ok(());
        }
        let at = ValueRef::Integer(self.at.as_millis());
        execute(&mut self.statements.progress, &[text(consumer), integer(seq), at])?;
        self.noted.insert(consumer.clone(), self.at);
        Ok(())
    }

    fn put_attempt(&mut self, consumer: &str, stream: Stream, attempt: &Attempt) -> Result<(), Trouble> {
        let response = attempt.response.as_ref();
        let values = [
            text(stream.as_str()),
            integer(attempt.seq),
            text(consumer),
            integer(u64::from(attempt.n)),
            ValueRef::Integer(attempt.at.as_millis()),
            attempt.error.as_deref().map_or(ValueRef::Null, text),
            response.map_or(ValueRef::Null, |response| integer(u64::from(response.status))),
            response.map_or(ValueRef::Null, |response| text(&response.excerpt)),
        ];
        execute(&mut self.statements.attempt, &values)?;
        Ok(())
    }

    fn emit(&mut self, emitted: &Emitted) -> Result<(), Trouble> {
        let Emitted { callback_seq, callback, handler, sinks, events, replay } = emitted;
        let of = EventOf { callback_seq: *callback_seq, callback, handler, sinks, replay: *replay };
        (0..).zip(events).try_for_each(|(n, event)| self.emit_one(&of, n, event))
    }

    /// Appends one event.
    pub(crate) fn emit_one(&mut self, of: &EventOf<'_>, n: u32, event: &NewEvent) -> Result<(), Trouble> {
        let EventOf { callback_seq, callback, handler, sinks, replay } = *of;
        let seq = self.ends.events + 1;
        let place = EventPlace { seq, at: self.at, callback_seq, callback, handler, n, sinks, replay };
        insert(&mut self.statements.event, &event_values(&place, event))?;
        self.refer(seq, callback_seq, callback)?;
        let stored = StoredEvent {
            seq,
            callback_seq,
            handler: handler.clone(),
            n,
            event_type: self.names.name(event.event_type()),
            key: event.key(callback).cloned(),
            time: event.time(callback),
            data: event.data().clone(),
            sinks: sinks.clone(),
            replay,
        };
        self.events.push(stored.with(callback.clone()));
        self.ends.events += 1;
        Ok(())
    }

    /// Sees to it that the callback of an event stays as long as the event does.
    fn refer(&mut self, event: u64, callback_seq: u64, callback: &Callback) -> Result<(), Trouble> {
        let gone = self.gone[Stream::Callbacks as usize];
        if callback_seq > gone.floor {
            self.last_block.note(self.connection, event, callback_seq)?;
        }
        if gone.excuses(callback_seq) {
            // A dead letter was handled again, and retention has deleted its callback since.
            self.restore(event, callback_seq, callback, gone)?;
        }
        Ok(())
    }

    fn restore(&mut self, event: u64, seq: u64, callback: &Callback, gone: Gone) -> Result<(), Trouble> {
        let sql = "SELECT 1 FROM callbacks WHERE seq = ?1";
        let found = self.connection.prepare_cached(sql)?.query_row([seq.cast_signed()], |_| Ok(())).optional()?;
        if found.is_none() {
            let (id, identity) = (callback.id(), identity_bytes(callback));
            // When it was first stored is not known any more; it was received just before that.
            let values = callback_values(seq, callback.received_at(), callback, &id, &identity);
            insert(&mut self.statements.callback, &values)?;
        }
        if seq <= gone.floor {
            let sql = "INSERT OR REPLACE INTO restored (callback, event) VALUES (?1, ?2)";
            self.connection.prepare_cached(sql)?.execute((seq.cast_signed(), event.cast_signed()))?;
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
            ValueRef::Integer(i64::try_from(pending.age.as_millis()).unwrap_or(i64::MAX)),
        ];
        insert(&mut self.statements.pending, &values)
    }

    /// The checkpoint of this consumer, which is stored now if there is none.
    pub(crate) fn register(
        &mut self,
        consumer: &Arc<str>,
        stream: Stream,
        start: Start,
        runs: bool,
    ) -> Result<u64, Trouble> {
        let known = self.consumers.get(consumer);
        if known.is_some_and(|&known| known != stream) {
            return Err(Trouble::own(format!("consumer {consumer:?} is registered for another stream than {stream}")));
        }
        if runs {
            self.running.insert(consumer.clone());
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
                let floor = self.gone[stream as usize].floor;
                let sql = format!("SELECT min(seq) FROM {stream} WHERE seq > ?1");
                let oldest =
                    self.connection.query_row(&sql, [floor.cast_signed()], |row| row.get::<_, Option<i64>>(0))?;
                oldest.map_or(end, |oldest| oldest.cast_unsigned() - 1)
            }
            Start::At(time) => find::first_at(self.connection, stream, time)?.map_or(end, |first| first - 1),
        };
        self.begin()?;
        self.put_consumer(consumer.clone(), stream, seq)?;
        Ok(seq)
    }

    pub(crate) fn set_running(&mut self, consumer: &Arc<str>, runs: bool) {
        if !runs {
            self.running.remove(consumer);
        } else if self.consumers.contains_key(consumer) {
            self.running.insert(consumer.clone());
        }
    }

    /// A consumer that is new, with its checkpoint.
    pub(crate) fn put_consumer(&mut self, consumer: Arc<str>, stream: Stream, seq: u64) -> Result<(), Trouble> {
        self.connection.execute(
            "INSERT INTO checkpoint (consumer, stream, seq, crc) VALUES (?1, ?2, ?3, ?4)",
            (&*consumer, stream.as_str(), seq.cast_signed(), checkpoint_crc(&consumer, stream, seq)),
        )?;
        self.consumers.insert(consumer, stream);
        self.consumers_changed = true;
        Ok(())
    }
}

/// What all events that one handler made of one callback have in common.
pub(crate) struct EventOf<'a> {
    pub(crate) callback_seq: u64,
    pub(crate) callback: &'a Arc<Callback>,
    pub(crate) handler: &'a Arc<str>,
    pub(crate) sinks: &'a Arc<str>,
    pub(crate) replay: bool,
}

/// Inserts a row with its checksum.
pub(crate) fn insert(statement: &mut Statement<'_>, values: &[ValueRef<'_>]) -> Result<(), Trouble> {
    let crc = checksum(values);
    statement.raw_bind_parameter(values.len() + 1, i64::from(crc))?;
    execute(statement, values)?;
    Ok(())
}

pub(crate) fn execute(statement: &mut Statement<'_>, values: &[ValueRef<'_>]) -> Result<usize, Trouble> {
    for (place, &value) in (1..).zip(values) {
        statement.raw_bind_parameter(place, ToSqlOutput::Borrowed(value))?;
    }
    Ok(statement.raw_execute()?)
}

/// The last seqs that were ever given: an emptied table must not start again at 1.
pub(crate) fn ends(connection: &Connection) -> rusqlite::Result<Ends> {
    let end = |stream: Stream| -> rusqlite::Result<u64> {
        let last = format!("SELECT coalesce(max(seq), 0) FROM {stream}");
        let last: i64 = connection.query_row(&last, [], |row| row.get(0))?;
        Ok(meta::known_end(connection, stream)?.max(last.cast_unsigned()))
    };
    Ok(Ends { callbacks: end(Stream::Callbacks)?, events: end(Stream::Events)? })
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
