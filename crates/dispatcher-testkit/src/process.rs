//! A dispatcher program as a process.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use crate::PATIENCE;

/// A running dispatcher program, in a folder, with that folder's `dispatcher.toml`. Killed when dropped.
pub struct Process {
    child: Child,
    url: String,
    stdout: Arc<Mutex<String>>,
    stderr: PathBuf,
}

impl Process {
    /// Starts `program` in `folder` and waits until it says where it listens. The configuration must have
    /// `[log] format = "human"`, so that it does; `listen` may have port 0.
    ///
    /// # Panics
    /// When it ends instead, with what it said.
    #[must_use]
    #[track_caller]
    pub fn start(program: impl AsRef<Path>, folder: &Path) -> Process {
        Process::start_with(program, folder, &[])
    }

    /// The same with variables in its environment.
    ///
    /// # Panics
    /// When it ends instead, with what it said.
    #[must_use]
    #[track_caller]
    pub fn start_with(program: impl AsRef<Path>, folder: &Path, environment: &[(&str, &str)]) -> Process {
        let stderr = folder.join("stderr.txt");
        // Appended: a second start keeps what the first one said.
        let errors = File::options().create(true).append(true).open(&stderr).expect("the folder can be written to");
        let mut command = Command::new(program.as_ref());
        command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors);
        command.envs(environment.iter().copied());
        let mut child = command.spawn().unwrap_or_else(|err| panic!("{}: {err}", program.as_ref().display()));
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut said = String::new();
        let url = loop {
            let begun = said.len();
            if stdout.read_line(&mut said).unwrap_or(0) == 0 {
                let said = fs::read_to_string(&stderr).unwrap_or_default();
                panic!("the dispatcher ended with {:?} and said:\n{said}", child.wait());
            }
            if let Some(url) = said[begun..].split_whitespace().find(|word| word.starts_with("http://")) {
                break url.trim_end_matches(',').to_owned();
            }
        };
        // Read on, so that it never waits for a reader.
        let said = Arc::new(Mutex::new(said));
        let more = said.clone();
        thread::spawn(move || {
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|n| n > 0) {
                more.lock().unwrap_or_else(PoisonError::into_inner).push_str(&line);
                line.clear();
            }
        });
        Process { child, url, stdout: said, stderr }
    }

    /// What it has said on standard output so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its callback URL.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it, and those before it in the folder, wrote to standard error.
    ///
    /// # Panics
    /// When that cannot be read.
    #[must_use]
    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).expect("the file of standard error is there")
    }

    /// `kill -9`: it has no chance to finish anything.
    ///
    /// # Panics
    /// When the process cannot be waited for.
    pub fn kill(mut self) {
        self.child.kill().expect("it is a child of this process");
        let status = self.child.wait().expect("it is a child of this process");
        assert_eq!(status.signal(), Some(9), "it had ended before: {status}\n{}", self.stderr());
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn terminate(mut self) -> ExitStatus {
        let signalled = Command::new("kill").arg(self.child.id().to_string()).status();
        assert!(signalled.is_ok_and(|status| status.success()), "no signal could be sent");
        let started = std::time::Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("it is a child of this process") {
                return status;
            }
            thread::yield_now();
        }
        panic!("it does not end; it said:\n{}", self.stderr());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
