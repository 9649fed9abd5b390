//! What a failure does to an item: another attempt later, or the end of it.

use std::time::Duration;

use dispatcher_core::{Failure, Response, Timestamp};
use dispatcher_journal::Attempt;
use humantime::format_duration;

use super::{Batch, FailedItem, Id, Now, State, Window};
use crate::backoff::MAX_WISH;

/// The longest error text, and the longest excerpt of an answer, that is kept with an item.
const MAX_ERROR_BYTES: usize = 1024;

/// The most attempts of one item that wait for a commit to tell them: of more, the oldest are forgotten. An item is
/// committed after each attempt but where `max_pending` is reached, and then it may fail for as long as it likes.
pub(super) const MAX_UNTOLD: usize = 8;

/// What is remembered of an item that failed, or that waits among the pending.
pub(super) struct Trouble {
    pub(super) first_at: Timestamp,
    pub(super) error: String,
    /// Its age when the consumer had been up for `since`.
    age: Duration,
    since: Duration,
    /// Attempts that no commit has told, oldest first.
    pub(super) untold: Vec<Attempt>,
}

impl Trouble {
    pub(super) fn new(now: Now) -> Trouble {
        Trouble::restored(now.wall, String::new(), Duration::ZERO, now)
    }

    pub(super) fn restored(first_at: Timestamp, error: String, age: Duration, now: Now) -> Trouble {
        Trouble { first_at, error, age, since: now.up, untold: Vec::new() }
    }

    /// For how long it has failed, not counting when the consumer was not up.
    pub(super) fn age(&self, now: Now) -> Duration {
        self.age + now.up.saturating_sub(self.since)
    }

    fn note(&mut self, attempt: Attempt) {
        if self.untold.len() >= MAX_UNTOLD {
            self.untold.remove(0);
        }
        self.untold.push(attempt);
    }
}

impl<P: Clone, M> Window<P, M> {
    /// Counts an attempt that failed by the item's own fault.
    pub(super) fn fail(&mut self, id: Id, failure: &Failure, now: Now) {
        let entry = &mut self.entries[id as usize];
        entry.attempts = entry.attempts.saturating_add(1);
        let attempts = entry.attempts;
        // Its age starts here; until now it only waited.
        let trouble = entry.trouble.take().filter(|_| attempts > 1);
        let mut trouble = trouble.unwrap_or_else(|| Box::new(Trouble::new(now)));
        trouble.error = clipped(failure.to_string());
        let response = failure
            .response()
            .map(|response| Response { status: response.status, excerpt: clipped(response.excerpt.clone()) });
        let error = Some(trouble.error.clone());
        trouble.note(Attempt { seq: entry.seq, n: attempts, at: now.wall, error, response });
        let reason = self.options.reason_to_give_up(failure, attempts, trouble.age(now), &trouble.error);
        let is_dead = reason.is_some();
        entry.state = match reason {
            Some(reason) => State::Dead { reason, is_evicted: false },
            None => {
                let backoff = self.options.backoff.wait(attempts, &mut self.rng);
                let wait = failure.wait().map_or(backoff, |wish| wish.min(MAX_WISH).max(backoff));
                State::Failed { due: now.instant + wait, due_at: now.wall.after(wait) }
            }
        };
        entry.trouble = Some(trouble);
        if is_dead {
            self.release_item(id);
        }
        self.note_change(id);
        #[cfg(test)]
        if self.options.flaw.is_some_and(|flaw| flaw.frees_key(is_dead)) && !self.entries[id as usize].is_pending {
            if let State::Failed { due, .. } = self.entries[id as usize].state {
                self.due.push(std::cmp::Reverse((due, self.entries[id as usize].seq, id)));
            }
            self.unlink_flawed(id);
            return;
        }
        self.offer_if_first(id);
    }

    /// Of a batch with one item: its key and its seq, if it would be given up on, should it fail once more by its own fault.
    pub(crate) fn last_try(&self, batch: &Batch, failure: &Failure, now: Now) -> Option<FailedItem> {
        let [id] = batch.ids[..] else { return None };
        let entry = &self.entries[id as usize];
        let age = entry.trouble.as_ref().map_or(Duration::ZERO, |trouble| trouble.age(now));
        let is_last = self.options.reason_to_give_up(failure, entry.attempts.saturating_add(1), age, "").is_some();
        let (seq, key) = (entry.seq, self.key(id).cloned());
        is_last.then(|| FailedItem::new(seq, key, failure))
    }

    /// Remembers that an item which had failed succeeded.
    pub(super) fn note_success(&mut self, id: Id, now: Now) {
        let entry = &mut self.entries[id as usize];
        if entry.attempts > 0
            && let Some(trouble) = &mut entry.trouble
        {
            let (seq, n) = (entry.seq, entry.attempts.saturating_add(1));
            trouble.note(Attempt { seq, n, at: now.wall, error: None, response: None });
        }
    }
}

impl super::WindowOptions {
    /// Why an item that failed just now is not tried again, if it is not.
    fn reason_to_give_up(&self, failure: &Failure, attempts: u32, age: Duration, error: &str) -> Option<String> {
        if failure.is_permanent() {
            return Some(error.to_owned());
        }
        let times = if attempts == 1 { "attempt" } else { "attempts" };
        let is_last = self.attempts.is_some_and(|limit| attempts >= limit);
        if !is_last && self.give_up_after.is_none_or(|limit| age < limit) {
            return None;
        }
        let secs = Duration::from_secs(age.as_secs());
        Some(if !is_last {
            format!("gave up after {} of failing, in {attempts} {times}; the last: {error}", format_duration(secs))
        } else if secs.is_zero() {
            format!("gave up after {attempts} {times}; the last: {error}")
        } else {
            format!("gave up after {attempts} {times} over {}; the last: {error}", format_duration(secs))
        })
    }
}

pub(super) fn clipped(mut text: String) -> String {
    if text.len() > MAX_ERROR_BYTES {
        text.truncate(text.floor_char_boundary(MAX_ERROR_BYTES));
        text.push('…');
    }
    text
}
