//! What keeps overdue rows from going: who that is, what is said about it, and what becomes of it.

use std::{
    mem,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use dispatcher_core::Timestamp;
use tracing::{info, warn};

use super::{Trimmer, before};
use crate::{
    HeldUp, Stream, WhenBlocked, find,
    holds::holds,
    shared::{Shared, lock},
    transaction::Tables,
    trouble::Trouble,
};

impl Trimmer {
    /// Sees who keeps what is overdue, and says so.
    pub(super) fn look_for_holds(&mut self, tables: &Tables<'_>, shared: &Shared) -> Result<(), Trouble> {
        for stream in [Stream::Callbacks, Stream::Events] {
            let cutoff = before(self.rules.longest()).after(Duration::from_millis(1));
            let young = find::first_at(tables.connection(), stream, cutoff)?;
            let overdue = young.map_or(tables.ends().of(stream), |seq| seq - 1).max(self.pressed[stream as usize]);
            let holder = holds(tables.connection(), stream)?.into_iter().next().filter(|hold| hold.upto < overdue);
            let now = holder.map(|hold| HeldUp {
                since: match &self.held[stream as usize] {
                    Some(held) if held.consumer == hold.consumer => held.since,
                    _ => Timestamp::now(),
                },
                consumer: hold.consumer,
                stream,
                seq: hold.upto,
                rows: overdue - hold.upto,
            });
            if now.is_some() && self.retention.when_blocked != WhenBlocked::Block {
                shared.overdue.send_if_modified(|told| {
                    let before = *told;
                    told.raise(stream, overdue);
                    *told != before
                });
            }
            let before = mem::replace(&mut self.held[stream as usize], now.clone());
            if self.retention.when_blocked == WhenBlocked::Block {
                tell(before.as_ref(), now.as_ref());
            }
        }
        let most = self.held.iter().flatten().max_by_key(|held| held.rows);
        *lock(&shared.held_up) = most.cloned();
        Ok(())
    }

    /// Takes what is overdue from those who do not run.
    pub(super) fn evict(&mut self, tables: &mut Tables<'_>, shared: &Shared) -> Result<bool, Trouble> {
        if Instant::now() < self.known_from {
            return Ok(false);
        }
        let overdue = *shared.overdue.borrow();
        for stream in [Stream::Callbacks, Stream::Events] {
            let upto = overdue.of(stream);
            for hold in holds(tables.connection(), stream)? {
                if hold.upto >= upto || tables.running.contains(&hold.consumer) {
                    continue;
                }
                let consumer = &hold.consumer;
                // A replay's items have been delivered, or are dead letters of their own; and which they are it alone knows.
                let is_replay = consumer.starts_with("replay:");
                if overdue.policy == WhenBlocked::DeadLetter && !is_replay {
                    let (buried, more) = tables.bury_some(consumer, stream, upto)?;
                    shared.tallies.let_go.fetch_add(buried, Ordering::Relaxed);
                    let sum = self.buried.entry(consumer.clone()).or_default();
                    *sum += buried;
                    if !more {
                        warn!(
                            %consumer, upto, dead_letters = *sum,
                            "a consumer that does not run held up retention: what was overdue are dead letters now"
                        );
                        self.buried.remove(consumer);
                    }
                } else {
                    let skipped = tables.skip_to(consumer, stream, hold.upto, upto)?;
                    shared.tallies.let_go.fetch_add(skipped, Ordering::Relaxed);
                    warn!(
                        %consumer, after = hold.upto, upto,
                        "a consumer that does not run held up retention: what was overdue is skipped"
                    );
                }
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// One line for each change of who is in the way.
fn tell(before: Option<&HeldUp>, now: Option<&HeldUp>) {
    match (before, now) {
        (before, Some(now)) if before.is_none_or(|before| before.consumer != now.consumer) => warn!(
            consumer = %now.consumer, stream = %now.stream, done_up_to = now.seq, rows = now.rows,
            "a consumer holds up retention: what is overdue stays until it has got to it; see to it, end it with \
             `dispatcher consumers drop` – a replay with `dispatcher replay cancel` –, or set [journal] when_blocked"
        ),
        (Some(before), None) => info!(
            consumer = %before.consumer, stream = %before.stream, "the consumer no longer holds up retention"
        ),
        _ => {}
    }
}
