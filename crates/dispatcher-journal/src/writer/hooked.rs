//! What a test may do to the writer, on its thread and between its batches.

use super::{Shared, Tables, Tail, Trimmer, lock};
use crate::trimmer::Step;

/// The writer, in the hands of a test.
pub(crate) struct Hooked<'a, 'c> {
    pub(crate) tables: &'a mut Tables<'c>,
    pub(super) trimmer: Option<&'a mut Trimmer>,
    pub(super) shared: &'a Shared,
    pub(super) recalled: bool,
}

impl Hooked<'_, '_> {
    /// From here on readers have to read the file.
    pub(crate) fn forget_tail(&self) {
        *lock(&self.shared.tail) = Tail::default();
    }

    /// A whole round of retention, and what was left of the one under way. Who runs has said so by now.
    pub(crate) fn trim(&mut self) {
        let trimmer = self.trimmer.as_mut().unwrap();
        trimmer.known_from = std::time::Instant::now();
        while trimmer.step(self.tables, self.shared).unwrap() == Step::Worked {}
        while trimmer.step(self.tables, self.shared).unwrap() == Step::Worked {}
    }

    /// Whether all that is to be remembered of earlier runs is.
    pub(crate) fn has_recalled(&self) -> bool {
        self.recalled
    }

    /// Makes the disk full: the file may have so many more pages than it has now.
    pub(crate) fn limit_pages(&self, more: Option<i64>) {
        let connection = self.tables.connection();
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        let limit = more.map_or(i64::from(u32::MAX) - 1, |more| pages + more);
        connection.pragma_update_and_check(None, "max_page_count", limit, |_| Ok(())).unwrap();
    }
}
