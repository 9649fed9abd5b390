//! What the broken variants of a window do: for the model's negative controls, and in no build but theirs.

use super::{Id, Line, NONE, Window, place};

impl<P: Clone, M> Window<P, M> {
    /// Takes the first of a key out of its line although it is not finished, and remembers the key.
    pub(super) fn unlink_flawed(&mut self, id: Id) {
        let entry = &self.entries[id as usize];
        if entry.line != NONE {
            self.flawed.insert(entry.seq, self.lines[entry.line as usize].key.clone());
        }
        self.unlink_first(id);
    }

    /// Puts such an item back before the others of its key.
    pub(super) fn mend_flaw(&mut self, id: Id) {
        let Some(key) = self.flawed.remove(&self.entries[id as usize].seq) else { return };
        let line = match self.line_of.get(&key) {
            Some(&line) => {
                self.lines[line as usize].len += 1;
                let head = std::mem::replace(&mut self.lines[line as usize].head, id);
                self.entries[id as usize].next = head;
                let seq = self.entries[head as usize].seq;
                self.ready.remove(&seq);
                line
            }
            None => {
                let line = Line { key: key.clone(), head: id, tail: id, len: 1 };
                let line = place(&mut self.lines, &mut self.free_lines, line);
                self.line_of.insert(key, line);
                line
            }
        };
        self.entries[id as usize].line = line;
    }
}
