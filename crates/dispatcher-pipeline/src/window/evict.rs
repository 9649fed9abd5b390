//! Letting go of what retention wants gone, untried: skipped, or as dead letters.
//!
//! What is under way ends first. The rest blocks its key until the commit that says so is durable, as a dead letter does:
//! should a crash take that commit back, it may be tried after all, and later items of its key must not have overtaken it.

use dispatcher_journal::Skipped;

use super::{Id, NONE, State, Window};

/// What becomes of items that are let go of untried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LetGo {
    /// They count as done; a record tells the range.
    Skip,
    /// They become dead letters. Those that have not been read are to be read for that.
    Bury,
}

/// What has to go: everything up to a seq.
pub(super) struct Eviction {
    upto: u64,
    how: LetGo,
    reason: String,
}

/// A skipped range that is to be told.
pub(super) struct Record {
    pub(super) skipped: Skipped,
    /// From where on nothing of it was read, and the checkpoint's passing is all there is to see.
    pub(super) unread_from: u64,
}

impl<P: Clone, M> Window<P, M> {
    /// Lets go of everything up to `upto` that is not done: now, or when it is no longer under way, or once it has been
    /// read. Returns the range that this concerns – its first and last seq – or `None` when there is nothing in it.
    pub(crate) fn evict(&mut self, upto: u64, how: LetGo, reason: &str) -> Option<(u64, u64)> {
        let before = self.eviction.as_ref().map_or(0, |eviction| eviction.upto);
        if upto <= before {
            return None;
        }
        let unread_from = if self.loaded < upto { self.loaded + 1 } else { u64::MAX };
        let held = self
            .entries
            .iter()
            .filter(|entry| entry.seq > before && entry.seq <= upto)
            .filter(|entry| matches!(entry.state, State::Queued | State::Running { .. } | State::Failed { .. }));
        let first = held.map(|entry| entry.seq).chain((unread_from <= upto).then_some(unread_from)).min()?;
        self.eviction = Some(Eviction { upto, how, reason: reason.to_owned() });
        if how == LetGo::Skip {
            let earlier = self.record.take();
            self.record = Some(Record {
                skipped: Skipped {
                    first: earlier.as_ref().map_or(first, |earlier| earlier.skipped.first.min(first)),
                    last: upto,
                    reason: reason.to_owned(),
                },
                unread_from: earlier.map_or(unread_from, |earlier| earlier.unread_from.min(unread_from)),
            });
            if self.loaded < upto {
                self.loaded = upto;
                self.jumped_to = Some(upto);
            }
            #[cfg(test)]
            if self.options.flaw == Some(super::model::Flaw::JumpFreesAllKeys) {
                self.jumped_to = None;
            }
        }
        let ids = 0..self.entries.len() as Id;
        for id in ids.filter(|&id| self.is_first(id)).collect::<Vec<_>>() {
            self.let_go_if_due(id);
        }
        Some((first, upto))
    }

    /// Whether rows have to be read for the sake of an eviction, whatever the state of the consumer.
    pub(crate) fn has_to_read(&self) -> bool {
        self.eviction.as_ref().is_some_and(|eviction| eviction.upto > self.loaded)
    }

    /// Lets go of an item that waits and has to go, if nothing of its key that is under way is before it, and of all
    /// behind it of which that is true as well. Returns whether the item is none that may start.
    pub(super) fn let_go_if_due(&mut self, id: Id) -> bool {
        let entry = &self.entries[id as usize];
        if !self.has_to_go(entry.seq) || !matches!(entry.state, State::Queued | State::Failed { .. }) {
            return false;
        }
        if entry.line == NONE {
            self.let_go(id);
            return true;
        }
        let mut next = self.lines[entry.line as usize].head;
        while next != NONE {
            let entry = &self.entries[next as usize];
            let (id, is_due) = (next, self.has_to_go(entry.seq));
            next = entry.next;
            match entry.state {
                State::Queued | State::Failed { .. } if is_due => self.let_go(id),
                State::Dead { .. } | State::Skipped => {}
                State::Queued | State::Failed { .. } | State::Running { .. } | State::Done(_) | State::Free => break,
            }
        }
        true
    }

    fn has_to_go(&self, seq: u64) -> bool {
        self.eviction.as_ref().is_some_and(|eviction| seq <= eviction.upto)
    }

    fn let_go(&mut self, id: Id) {
        let Some(Eviction { how, reason, .. }) = &self.eviction else { return };
        let entry = &mut self.entries[id as usize];
        entry.state = match how {
            LetGo::Skip => State::Skipped,
            LetGo::Bury => {
                let last = entry.trouble.as_ref().filter(|_| entry.attempts > 0);
                let last = last.map_or_else(String::new, |trouble| format!("; the last attempt: {}", trouble.error));
                State::Dead { reason: format!("{reason}{last}"), is_evicted: true }
            }
        };
        self.ready.remove(&entry.seq);
        self.release_item(id);
        self.note_change(id);
        #[cfg(test)]
        if self.options.flaw == Some(super::model::Flaw::EvictionFreesItsKey) && self.is_first(id) {
            self.unlink_first(id);
        }
    }
}
