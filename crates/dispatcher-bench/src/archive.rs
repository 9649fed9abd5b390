//! Counts the lines that the file sink has written, as they appear.

use std::{
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::time::sleep;

/// How long no line may appear while some are missing.
const STALLED_AFTER: Duration = Duration::from_secs(20);
const POLL_EVERY: Duration = Duration::from_millis(2);

pub(crate) struct Archive {
    path: PathBuf,
    file: Option<File>, // None until the sink has made it.
    n_lines: u64,
    chunk: Vec<u8>,
}

impl Archive {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.into(), file: None, n_lines: 0, chunk: vec![0; 256 * 1024] }
    }

    /// Reads what was appended since the last call and returns the count of all lines so far.
    pub(crate) fn count(&mut self) -> Result<u64> {
        let file = match &mut self.file {
            Some(file) => file,
            none => match File::open(&self.path) {
                Err(err) if err.kind() == ErrorKind::NotFound => return Ok(0),
                file => none.insert(file?),
            },
        };
        loop {
            let n_read = file.read(&mut self.chunk)?;
            if n_read == 0 {
                return Ok(self.n_lines);
            }
            self.n_lines += memchr::memchr_iter(b'\n', &self.chunk[..n_read]).count() as u64;
        }
    }

    /// Waits until there are `n_lines`.
    pub(crate) async fn wait_for(&mut self, n_lines: u64) -> Result<()> {
        let (mut last, mut grew_at) = (self.count()?, Instant::now());
        while last < n_lines {
            sleep(POLL_EVERY).await;
            let count = self.count()?;
            if count > last {
                (last, grew_at) = (count, Instant::now());
            }
            ensure!(
                grew_at.elapsed() < STALLED_AFTER,
                "{last} of {n_lines} lines are in the file, and none came for {STALLED_AFTER:?}"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::Write};

    use super::*;

    #[test]
    fn counts_whole_lines_as_the_file_grows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("archive.jsonl");
        let mut archive = Archive::new(&path);
        assert_eq!(archive.count().unwrap(), 0, "no file yet");
        let mut file = fs::File::create(&path).unwrap();
        for (text, n_lines) in [("{}\n{}\n", 2), ("{\"half\"", 2), (":1}\n", 3), ("", 3)] {
            file.write_all(text.as_bytes()).unwrap();
            assert_eq!(archive.count().unwrap(), n_lines, "after {text:?}");
        }
    }
}
