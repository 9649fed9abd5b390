//! How far something long has got: one line that changes for a person, a line now and then for a file.

use std::io::{self, IsTerminal, Write};

pub(crate) struct Progress {
    what: &'static str,
    total: u64,
    is_watched: bool,
    n_tenths: u64, // That were reported.
}

impl Progress {
    /// Of `what`, `total` is all. Writes to the standard error.
    pub(crate) fn new(what: &'static str, total: u64) -> Self {
        Self { what, total, is_watched: io::stderr().is_terminal(), n_tenths: 0 }
    }

    pub(crate) fn show(&mut self, done: u64) {
        let percent = done.min(self.total) * 100 / self.total.max(1);
        if self.is_watched {
            // Whether it can be seen changes nothing.
            let _ = write!(io::stderr(), "\r{}  {done} of {}  {percent} %", self.what, self.total);
        } else if percent / 10 > self.n_tenths {
            self.n_tenths = percent / 10;
            eprintln!("{}  {done} of {}  {percent} %", self.what, self.total);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_watched {
            eprintln!();
        }
    }
}
