//! The dispatcher as a process: started, killed, asked to stop.

use std::{
    fs::File,
    io,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// Killed when dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `program` with the configuration in `folder`; its log is appended to `said.txt` there.
    pub(crate) fn start(program: &Path, folder: &Path, environment: &[(&str, String)]) -> Result<Process> {
        let said = File::options().create(true).append(true).open(folder.join("said.txt"))?;
        let mut command = Command::new(program);
        command.args(["--config", "dispatcher.toml"]).current_dir(folder);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        Ok(Process { child })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for its end, at most so long.
    pub(crate) fn wait(&mut self, within: Duration) -> io::Result<Option<ExitStatus>> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(Some(status));
            }
            if began.elapsed() > within {
                return Ok(None);
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// `kill -9`. True if that is what ended it.
    pub(crate) fn kill(mut self) -> io::Result<bool> {
        self.child.kill()?;
        Ok(self.child.wait()?.signal() == Some(9))
    }

    /// SIGTERM, and the end within so long; `None` if it does not come.
    pub(crate) fn terminate(mut self, within: Duration) -> Result<Option<ExitStatus>> {
        if let Some(pid) = Pid::from_raw(self.child.id().cast_signed()) {
            // Should it have ended by itself, its status says so.
            let _ = kill_process(pid, Signal::TERM);
        }
        Ok(self.wait(within)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
