//! Lines: what waits for what.

use super::{Id, NONE, OrderKey, State, Window, place};

/// The unfinished items of one key, in seq order. Only the first can start.
pub(super) struct Line {
    pub(super) key: OrderKey,
    pub(super) head: Id,
    pub(super) tail: Id,
    pub(super) len: usize,
}

impl<P: Clone, M> Window<P, M> {
    /// The keys with the most unfinished items, longest first: at most `n`. Looks at every key.
    pub(crate) fn longest_keys(&self, n: usize) -> Vec<(OrderKey, usize)> {
        let mut longest: Vec<&Line> = self.line_of.values().map(|&line| &self.lines[line as usize]).collect();
        // By key where the length is the same, so that the answer does not flicker.
        let order = |line: &&Line| (std::cmp::Reverse(line.len), line.key.app, line.key.key.clone());
        if longest.len() > n && n > 0 {
            longest.select_nth_unstable_by_key(n - 1, order);
        }
        longest.truncate(n);
        longest.sort_unstable_by_key(order);
        longest.into_iter().map(|line| (line.key.clone(), line.len)).collect()
    }

    /// Puts it at the end of its key's line.
    pub(super) fn link(&mut self, id: Id, key: &OrderKey) {
        let line = match self.line_of.get(key) {
            Some(&line) => {
                let Line { tail, len, .. } = &mut self.lines[line as usize];
                *len += 1;
                let tail = std::mem::replace(tail, id);
                self.entries[tail as usize].next = id;
                line
            }
            None => {
                let line = Line { key: key.clone(), head: id, tail: id, len: 1 };
                let line = place(&mut self.lines, &mut self.free_lines, line);
                self.line_of.insert(key.clone(), line);
                line
            }
        };
        self.entries[id as usize].line = line;
    }

    pub(super) fn key(&self, id: Id) -> Option<&OrderKey> {
        let line = self.entries[id as usize].line;
        (line != NONE).then(|| &self.lines[line as usize].key)
    }

    /// Whether nothing of its key is before it.
    pub(super) fn is_first(&self, id: Id) -> bool {
        let line = self.entries[id as usize].line;
        line == NONE || self.lines[line as usize].head == id
    }

    /// Lets it start – now, or when it is due – if it waits, and waits for nothing else. If it has to go, it goes.
    pub(super) fn offer_if_first(&mut self, id: Id) {
        if self.let_go_if_due(id) || !self.is_first(id) {
            return;
        }
        let entry = &self.entries[id as usize];
        match entry.state {
            State::Queued => _ = self.ready.insert(entry.seq, id),
            State::Failed { due, .. } => self.due.push(std::cmp::Reverse((due, entry.seq, id))),
            State::Running { .. } | State::Done(_) | State::Dead { .. } | State::Skipped | State::Free => {}
        }
    }

    /// Takes the first of a key out of its line, and offers the next.
    pub(super) fn unlink_first(&mut self, id: Id) {
        let entry = &mut self.entries[id as usize];
        let (line, next) = (std::mem::replace(&mut entry.line, NONE), std::mem::replace(&mut entry.next, NONE));
        if line == NONE {
            return;
        }
        if next == NONE {
            self.line_of.remove(&self.lines[line as usize].key);
            self.free_lines.push(line);
            return;
        }
        self.lines[line as usize].head = next;
        self.lines[line as usize].len -= 1;
        self.offer_if_first(next);
    }
}
