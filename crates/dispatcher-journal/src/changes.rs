//! What the writer does to the tables beside rows and progress: dead letters, parking, consumers, replays.

use std::sync::Arc;

use dispatcher_core::Timestamp;
use rusqlite::{OptionalExtension, params};

use crate::{
    Change, Dead, NewReplay, Skipped, Stream,
    copy::{copy, dead_crc, is_whole},
    letters::history,
    mend, meta,
    records::lossy,
    transaction::Tables,
    trouble::Trouble,
};

impl Tables<'_> {
    /// Does it; the answer is an id or a count, as [`Change`] says.
    pub(crate) fn change(&mut self, change: &Change) -> Result<u64, Trouble> {
        self.begin()?;
        match change {
            Change::Park { consumer, reason } => self.park(consumer, reason.as_deref()),
            Change::Rename { from, to } => self.rename(from, to),
            Change::Drop { consumer } => self.forget(consumer),
            Change::Discard { consumer, seqs } => {
                seqs.iter().try_fold(0, |n, &seq| Ok(n + self.remove_dead(consumer, seq)?))
            }
            Change::Shadow { handler, until } => self.shadow(handler, *until),
            Change::BeginReplay(replay) => self.begin_replay(replay),
            Change::EndReplay { id, cancelled } => self.end_replay(*id, *cancelled),
        }
    }

    /// Writes a dead letter of `owner`, of whom `tried` – the same, or a replay – has tried it.
    pub(crate) fn put_dead(&self, owner: &str, tried: &str, stream: Stream, dead: &Dead) -> Result<(), Trouble> {
        if self.replays_dead(tried)? && self.copy_of_dead(owner, dead.seq)?.is_none() {
            // Someone has discarded it while it was replayed.
            return Ok(());
        }
        let mut copy = copy(self.connection(), stream, dead.seq);
        let mut is_sound = true;
        if !is_whole(&copy)
            && let Some((earlier, was_sound)) = self.copy_of_dead(owner, dead.seq)?
        {
            // It was dead before, and retention has deleted its row since.
            (copy, is_sound) = (earlier, was_sound);
        }
        let history = history(self.connection(), stream, dead.seq, tried);
        // The place is given by hand: SQLite's own would come again once the last dead letter is gone.
        let place = self.last_place()? + 1;
        // What was damaged before gets no checksum: writing it anew makes it no better.
        let crc = is_sound.then(|| dead_crc(dead, self.at, &copy, &history));
        self.connection()
            .prepare_cached(
                "INSERT OR REPLACE INTO dead
                 (rowid, consumer, seq, at, first_at, reason, attempts, copy, history, crc)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .execute(params![
                place,
                owner,
                dead.seq.cast_signed(),
                self.at.as_millis(),
                dead.first_at.as_millis(),
                dead.reason,
                dead.attempts,
                copy,
                history,
                crc
            ])?;
        Ok(())
    }

    /// The place of the last dead letter that there ever was.
    fn last_place(&self) -> rusqlite::Result<i64> {
        let sql = "SELECT max(coalesce((SELECT max(rowid) FROM dead), 0),
                              coalesce((SELECT value FROM meta WHERE key = 'dead_mark'), 0))";
        self.connection().prepare_cached(sql)?.query_row([], |row| row.get(0))
    }

    /// To be called before dead letters are deleted: their places are given to no others.
    pub(crate) fn mark_places(&self) -> rusqlite::Result<()> {
        meta::set(self.connection(), "dead_mark", self.last_place()?)
    }

    /// The copy in the dead letter that is there, and whether it is as it was stored.
    fn copy_of_dead(&self, owner: &str, seq: u64) -> rusqlite::Result<Option<(String, bool)>> {
        let unchecked: i64 = meta::get(self.connection(), "dead_unchecked")?.unwrap_or(0);
        let mut statement = self.connection().prepare_cached(
            "SELECT rowid, at, first_at, reason, attempts, copy, history, crc FROM dead WHERE consumer = ?1 AND seq = ?2",
        )?;
        let found = statement.query_row((owner, seq.cast_signed()), |row| {
            let (at, first_at) = (Timestamp::from_millis(row.get(1)?), Timestamp::from_millis(row.get(2)?));
            let dead = Dead { seq, reason: lossy(row, 3)?, attempts: row.get(4)?, first_at };
            let (copy, history) = (lossy(row, 5)?, lossy(row, 6)?);
            let is_sound = match row.get::<_, Option<i64>>(7)? {
                Some(crc) => crc == i64::from(dead_crc(&dead, at, &copy, &history)),
                None => row.get::<_, i64>(0)? <= unchecked,
            };
            Ok((copy, is_sound))
        });
        found.optional()
    }

    pub(crate) fn remove_dead(&self, owner: &str, seq: u64) -> Result<u64, Trouble> {
        self.mark_places()?;
        let mut statement = self.connection().prepare_cached("DELETE FROM dead WHERE consumer = ?1 AND seq = ?2")?;
        Ok(statement.execute((owner, seq.cast_signed()))? as u64)
    }

    pub(crate) fn put_skipped(&self, consumer: &str, skipped: &Skipped) -> Result<(), Trouble> {
        self.connection().execute(
            "INSERT INTO skipped (consumer, first, last, at, reason) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![
                consumer,
                skipped.first.cast_signed(),
                skipped.last.cast_signed(),
                self.at.as_millis(),
                skipped.reason
            ],
        )?;
        Ok(())
    }

    /// Whether this is a replay of dead letters.
    fn replays_dead(&self, consumer: &str) -> rusqlite::Result<bool> {
        let Some(id) = replay_id(consumer) else { return Ok(false) };
        let sql = "SELECT 1 FROM replays WHERE id = ?1 AND dead_of IS NOT NULL";
        let mut statement = self.connection().prepare_cached(sql)?;
        Ok(statement.query_row([id], |_| Ok(())).optional()?.is_some())
    }

    /// Counts what a replay did; of any other consumer there is no such record.
    pub(crate) fn count_replayed(&self, consumer: &str, done: u64, dead: u64) -> Result<(), Trouble> {
        let Some(id) = replay_id(consumer) else { return Ok(()) };
        let sql = "UPDATE replays SET done = done + ?2, dead = dead + ?3 WHERE id = ?1";
        self.connection().prepare_cached(sql)?.execute(params![id, done.cast_signed(), dead.cast_signed()])?;
        Ok(())
    }

    fn park(&self, consumer: &str, reason: Option<&str>) -> Result<u64, Trouble> {
        let at = reason.map(|_| self.at.as_millis());
        let sql = "UPDATE checkpoint SET parked_at = ?2, parked = ?3 WHERE consumer = ?1";
        match self.connection().execute(sql, params![consumer, at, reason])? {
            0 => Err(unknown(consumer)),
            n => Ok(n as u64),
        }
    }

    fn rename(&mut self, from: &Arc<str>, to: &Arc<str>) -> Result<u64, Trouble> {
        let stream = *self.consumers.get(from).ok_or_else(|| unknown(from))?;
        if self.consumers.contains_key(to) {
            return Err(Trouble::own(format!("there is a consumer {to:?} already")));
        }
        for table in ["checkpoint", "pending", "dead", "attempts", "progress", "skipped"] {
            let sql = format!("UPDATE {table} SET consumer = ?2 WHERE consumer = ?1");
            self.connection().execute(&sql, (&**from, &**to))?;
        }
        mend::vouch(self.connection(), Some(to))?;
        // What is stored names it as it was called then.
        let upto = self.ends().of(stream).cast_signed();
        let names = (&**from, &**to);
        self.connection().execute("UPDATE former_names SET consumer = ?2 WHERE consumer = ?1", names)?;
        self.connection().execute(
            "INSERT OR REPLACE INTO former_names (consumer, former, upto) VALUES (?2, ?1, ?3)",
            (&**from, &**to, upto),
        )?;
        // What is replayed of it, or by it, goes on under the new name.
        self.connection().execute("UPDATE replays SET target = ?2 WHERE target = ?1 AND ended_at IS NULL", names)?;
        self.connection().execute("UPDATE replays SET dead_of = ?2 WHERE dead_of = ?1 AND ended_at IS NULL", names)?;
        self.consumers_changed = true;
        self.consumers.remove(from);
        self.running.remove(from);
        self.consumers.insert(to.clone(), stream);
        Ok(1)
    }

    fn forget(&mut self, consumer: &Arc<str>) -> Result<u64, Trouble> {
        if !self.consumers.contains_key(consumer) {
            return Err(unknown(consumer));
        }
        let sql = "SELECT id FROM replays WHERE ended_at IS NULL AND (target = ?1 OR dead_of = ?1) LIMIT 1";
        let replay: Option<i64> = self.connection().query_row(sql, [&**consumer], |row| row.get(0)).optional()?;
        if let Some(id) = replay {
            return Err(Trouble::own(format!("replay {id} is under way with {consumer:?}; cancel it first")));
        }
        self.mark_places()?;
        for table in ["checkpoint", "pending", "dead", "attempts", "progress", "skipped", "former_names"] {
            self.connection().execute(&format!("DELETE FROM {table} WHERE consumer = ?1"), [&**consumer])?;
        }
        self.consumers_changed = true;
        self.consumers.remove(consumer);
        self.running.remove(consumer);
        Ok(1)
    }

    fn begin_replay(&mut self, replay: &NewReplay) -> Result<u64, Trouble> {
        let last = replay.last.min(self.ends().of(replay.stream));
        let mut first = replay.first.max(1);
        if replay.dead_of.is_none() {
            first = first.max(self.gone[replay.stream as usize].floor + 1);
        }
        let last_place = self.last_place()?;
        self.connection().execute(
            "INSERT INTO replays (at, target, stream, dead_of, first, last, last_place, spec)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            params![
                self.at.as_millis(),
                &*replay.target,
                replay.stream.as_str(),
                replay.dead_of.as_deref(),
                first.cast_signed(),
                last.cast_signed(),
                last_place,
                replay.spec
            ],
        )?;
        let id = self.connection().last_insert_rowid();
        let consumer: Arc<str> = format!("replay:{id}").into();
        // Whoever makes it runs it.
        self.running.insert(consumer.clone());
        self.put_consumer(consumer, replay.stream, (first - 1).min(last))?;
        Ok(id.cast_unsigned())
    }

    fn end_replay(&mut self, id: u64, cancelled: bool) -> Result<u64, Trouble> {
        let sql = "UPDATE replays SET ended_at = ?2, cancelled = ?3 WHERE id = ?1 AND ended_at IS NULL";
        if self.connection().execute(sql, params![id.cast_signed(), self.at.as_millis(), cancelled])? == 0 {
            return Err(Trouble::own(format!("there is no replay {id} under way")));
        }
        let consumer = format!("replay:{id}");
        // Its attempts stay with the items, for those who ask what became of them.
        for table in ["checkpoint", "pending", "progress"] {
            self.connection().execute(&format!("DELETE FROM {table} WHERE consumer = ?1"), [&consumer])?;
        }
        self.consumers_changed = true;
        self.consumers.remove(&*consumer);
        self.running.remove(&*consumer);
        Ok(id)
    }
}

/// The number in `replay:<id>`.
fn replay_id(consumer: &str) -> Option<i64> {
    consumer.strip_prefix("replay:")?.parse().ok()
}

fn unknown(consumer: &str) -> Trouble {
    Trouble::own(format!("there is no consumer {consumer:?}"))
}
