//! The files that are open, a bounded number, and what is written to them: whole lines, durable.

use std::{io, ops::Range, path::PathBuf, time::Duration};

use dispatcher_core::Timestamp;
use jiff::civil::Date;

use crate::{
    log_file::LogFile,
    rotation,
    step::step,
    template::{Template, date_of},
    turn::UnderWay,
};

/// The files that the template names today, one for each app if it says so.
pub(crate) struct OpenFiles {
    template: Template,
    rotate_size: u64,
    rotate_every: Option<Duration>,
    today: Date,
    files: Vec<OpenFile>, // The one used last at the end.
}

struct OpenFile {
    app: Box<str>,
    path: PathBuf,
    /// `None` after a failure: what the page cache holds of the file is then anyone's guess, so it is opened anew.
    file: Option<LogFile>,
    /// A moment of the period that it is for.
    begun: Timestamp,
}

/// Lines, one after another.
#[derive(Default)]
pub(crate) struct Lines {
    // Both are kept between batches: a steady load allocates nothing.
    pub(crate) bytes: Vec<u8>,
    pub(crate) ends: Vec<usize>, // Where each line ends in `bytes`.
}

/// Enough for the apps of most; each takes a file descriptor.
const MOST: usize = 32;

impl OpenFiles {
    pub(crate) fn new(
        template: Template,
        rotate_size: u64,
        rotate_every: Option<Duration>,
        now: Timestamp,
    ) -> OpenFiles {
        OpenFiles { template, rotate_size, rotate_every, today: date_of(now), files: Vec::new() }
    }

    pub(crate) fn template(&self) -> &Template {
        &self.template
    }

    /// Moves on to the files of `now`; true if others are set aside by that.
    pub(crate) fn turn_to(&mut self, now: Timestamp) -> bool {
        let today = if self.template.has_date() { date_of(now) } else { self.today };
        let is_new = today != self.today;
        if is_new {
            self.today = today;
            self.files.clear(); // Each was synced after it was written to.
        }
        is_new
    }

    /// The path of this app's file.
    pub(crate) fn path(&self, app: &str) -> PathBuf {
        self.template.path(app, self.today)
    }

    /// Opens this app's file without writing to it.
    pub(crate) fn open(&mut self, app: &str, now: Timestamp) -> io::Result<()> {
        let at = self.at(app);
        let (template, file) = (&self.template, &mut self.files[at]);
        let (opened, _) = file.current(template, now)?;
        file.file = Some(opened);
        Ok(())
    }

    /// Appends all lines to this app's file and makes them durable. Calls `after_rotation` whenever it has set
    /// a file aside.
    pub(crate) fn write(
        &mut self,
        app: &str,
        lines: &Lines,
        now: Timestamp,
        under_way: &mut UnderWay,
        mut after_rotation: impl FnMut(&Template),
    ) -> io::Result<()> {
        let at = self.at(app);
        let target = &mut self.files[at];
        let mut written = 0;
        while written < lines.ends.len() {
            let (mut file, len) = target.current(&self.template, now)?;
            let is_over = |period| len > 0 && rotation::is_over(period, target.begun, now);
            let chunk = lines.fitting(written, self.rotate_size.saturating_sub(len), len == 0);
            if chunk.is_empty() || self.rotate_every.is_some_and(is_over) {
                drop(file); // It was synced before its last line counted as done.
                rotation::set_aside(&target.path, under_way)?;
                after_rotation(&self.template);
                continue;
            }
            step("file.writing");
            file.append(lines.of(&chunk), len)?;
            step("file.written");
            file.sync()?;
            step("file.synced");
            written = chunk.end;
            target.file = Some(file);
        }
        Ok(())
    }

    /// Where this app's file is: at the end, since it is used now.
    fn at(&mut self, app: &str) -> usize {
        let last = self.files.len().saturating_sub(1);
        match self.files.iter().rposition(|file| &*file.app == app) {
            Some(at) if at == last => {}
            Some(at) => self.files[at..].rotate_left(1),
            None => {
                if self.files.len() == MOST {
                    self.files.remove(0);
                }
                let (app, path) = (app.into(), self.path(app));
                self.files.push(OpenFile { app, path, file: None, begun: Timestamp::from_millis(0) });
            }
        }
        self.files.len() - 1
    }
}

impl OpenFile {
    /// The file that the path names now, and its length. Taken out until it has done its work.
    fn current(&mut self, template: &Template, now: Timestamp) -> io::Result<(LogFile, u64)> {
        let still_there = match self.file.take() {
            Some(file) => file.len_at(&self.path)?.map(|len| (file, len)),
            None => None,
        };
        let (file, len) = match still_there {
            Some(same) => same,
            None => {
                let file = LogFile::open(&self.path, template.base())?;
                let len = file.len_at(&self.path)?.unwrap_or(0);
                self.begun = file.last_write();
                (file, len)
            }
        };
        // A clock that falls back must not keep the file open for as long as it was ahead.
        if len == 0 || now < self.begun {
            self.begun = now;
        }
        Ok((file, len))
    }
}

impl Lines {
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// The lines from `first` on that fit into `room` bytes: at least one if `must_fit`.
    fn fitting(&self, first: usize, room: u64, must_fit: bool) -> Range<usize> {
        let start = self.start_of(first);
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        let end = self.ends.partition_point(|&end| end.saturating_sub(start) <= room);
        first..end.max(first + usize::from(must_fit))
    }

    /// Some lines; none if the range is empty.
    fn of(&self, lines: &Range<usize>) -> &[u8] {
        &self.bytes[self.start_of(lines.start)..self.start_of(lines.end)]
    }

    fn start_of(&self, line: usize) -> usize {
        line.checked_sub(1).map_or(0, |before| self.ends[before])
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

    use super::*;

    #[test]
    fn closes_the_file_that_was_used_longest_ago() {
        let dir = tempfile::TempDir::new().unwrap();
        let template = Template::parse(dir.path().join("{app}").to_str().unwrap()).unwrap();
        let now = Timestamp::from_millis(0);
        let mut files = OpenFiles::new(template, 100, None, now);
        let lines = Lines { bytes: b"line\n".to_vec(), ends: vec![5] };
        let mut write = |app: usize| {
            files.write(&app.to_string(), &lines, now, &mut UnderWay::default(), |_| {}).unwrap();
            files.files.iter().map(|file| file.app.parse().unwrap()).collect::<Vec<usize>>()
        };
        for app in 0..MOST {
            write(app);
        }
        let expected = (2..MOST).chain([0, MOST]).collect::<Vec<_>>();
        assert_eq!((write(0).len(), write(MOST)), (MOST, expected));
        write(1);
        assert_eq!(std::fs::read(dir.path().join("1")).unwrap(), b"line\nline\n");
    }
}
