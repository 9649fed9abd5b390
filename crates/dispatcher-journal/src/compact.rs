//! Returns all of the file's room that holds nothing.

use std::ops::ControlFlow;

use tokio::sync::oneshot;

use crate::{Journal, JournalError, Progress, check::go_on, shared::Request};

/// What one step of compacting left.
pub(crate) struct Compacted {
    /// Free pages that are left, and their size.
    pub(crate) free: u64,
    pub(crate) page_size: u64,
}

impl Journal {
    /// Empties the write-ahead log into the file, and returns all pages of the file that hold nothing: how many bytes. The
    /// writer does that in small steps, between its batches. Retention returns space by itself, but keeps some for what comes
    /// next. `progress` is told after each step, and ends the work when it breaks; what was returned by then stays so.
    ///
    /// # Errors
    /// When the disk refuses, or `progress` broke.
    pub async fn compact(&self, mut progress: impl FnMut(Progress) -> ControlFlow<()>) -> Result<u64, JournalError> {
        let mut first = None;
        loop {
            let (reply, answer) = oneshot::channel();
            self.request(Request::Compact { begins: first.is_none(), reply })?;
            let Compacted { free, page_size } = answer.await.unwrap_or(Err(JournalError::Closed))?;
            let was = *first.get_or_insert(free);
            let done = was.saturating_sub(free);
            if free == 0 {
                return Ok(done * page_size);
            }
            go_on(progress(Progress { at: "free pages", done, of: was }))?;
        }
    }
}
