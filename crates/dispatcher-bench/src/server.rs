//! A server under measurement: its process, its folder, and what is left of both when something fails.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, anyhow, bail};
use rustix::process::{Pid, Signal};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{cli::Cli, closing::Closing, machine};

const READY_WITHIN: Duration = Duration::from_secs(30);
const STOPPED_WITHIN: Duration = Duration::from_secs(60);
const LOG: &str = "server.log";
const N_TAIL_LINES: usize = 30;

/// How a server is started.
pub(crate) struct Launch<'a> {
    /// What it is called when something fails.
    pub(crate) name: &'a str,
    pub(crate) program: &'a Path,
    /// Where it runs, and writes to.
    pub(crate) folder: &'a Path,
    pub(crate) address: SocketAddr,
    /// What it is told: the dispatcher by a configuration, a floor by its arguments.
    pub(crate) told: Told,
}

pub(crate) enum Told {
    Config(String),
    Args(Vec<String>),
}

/// A running server. Killed when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    name: String,
    folder: PathBuf,
    is_dispatcher: bool,
    child: Child,
}

/// A new folder for a server, removed when dropped. The disk has nothing left to do for earlier ones: gigabytes that were
/// just deleted, or are not written yet, would otherwise slow down whoever comes next.
pub(crate) fn new_folder(cli: &Cli) -> Result<TempDir> {
    let dir = cli.dir();
    let no_dir = || format!("cannot use {}: choose another --dir", dir.display());
    rustix::fs::syncfs(File::open(&dir).with_context(no_dir)?).with_context(no_dir)?;
    TempDir::with_prefix_in("dispatcher-bench-", &dir)
        .with_context(|| format!("cannot make a folder in {}", dir.display()))
}

impl Server {
    /// Starts a server, and waits until it answers.
    pub(crate) async fn start(launch: &Launch<'_>, cli: &Cli) -> Result<Self> {
        let mut server = Self::spawn(launch, cli)?;
        match server.wait_until_ready().await {
            Ok(()) => Ok(server),
            Err(err) => Err(server.blame(err).await),
        }
    }

    /// Starts a server, and waits for nothing.
    pub(crate) fn spawn(launch: &Launch<'_>, cli: &Cli) -> Result<Self> {
        let &Launch { name, program, folder, address, ref told } = launch;
        let mut command = machine::command_on(cli.server_cores.as_deref(), program);
        match told {
            Told::Config(config) => {
                fs::write(folder.join("dispatcher.toml"), config)?;
                command.args(["--config", "dispatcher.toml"]);
            }
            Told::Args(args) => _ = command.args(args),
        }
        let log = File::create(folder.join(LOG))?;
        command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.process_group(0); // Ctrl-C is for us alone; we stop it in our own order.
        let child = command.spawn().with_context(|| format!("cannot run {}", program.display()))?;
        let is_dispatcher = matches!(told, Told::Config(_));
        Ok(Self { address, name: name.into(), folder: folder.into(), is_dispatcher, child })
    }

    /// Lets it end by itself: what it has taken is in its journal, and the journal is closed.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        rustix::process::kill_process(pid, Signal::TERM)?;
        let began = Instant::now();
        loop {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => bail!("the server ended with {status}"),
                None if began.elapsed() > STOPPED_WITHIN => {
                    bail!("the server has not ended {STOPPED_WITHIN:?} after SIGTERM")
                }
                None => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    /// The same, and what it then says of itself.
    pub(crate) async fn stop_and_tell(self) -> Result<Closing> {
        let log = self.folder.join(LOG);
        self.stop().await?;
        Ok(Closing::read(&fs::read_to_string(log)?))
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Fails when it has ended.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            Some(status) => bail!("the server ended before it was ready: {status}"),
            None => Ok(()),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Adds to `err` how the server is and what it last said.
    pub(crate) async fn blame(&mut self, err: Error) -> Error {
        sleep(Duration::from_millis(100)).await; // One that crashes resets its connections before it has ended.
        let state = match self.child.try_wait() {
            Ok(Some(status)) => format!("has ended: {status}"),
            _ => "is still running".into(),
        };
        let log = fs::read(self.folder.join(LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(N_TAIL_LINES)..].join("\n  ");
        let said = if tail.is_empty() { "it said nothing".into() } else { format!("its last words:\n  {tail}") };
        err.context(format!("measuring `{}` failed; its server {state}; {said}", self.name))
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            self.check_alive()?;
            let problem = match probe(self.address) {
                Ok(status) if status == "200" || !self.is_dispatcher => return Ok(()),
                Ok(status) => anyhow!("it answers {status} to a probe"),
                Err(err) => err,
            };
            if began.elapsed() > READY_WITHIN {
                return Err(problem.context(format!("the server is not ready after {READY_WITHIN:?}")));
            }
            sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Neither can fail for a reason that matters: it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago; the system does not hand it out again at once.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// A console's connection test: no query, no body. Returns the status of the answer.
fn probe(address: SocketAddr) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    write!(stream, "POST /callback HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    answer.split(' ').nth(1).map(str::to_owned).context("it closes the connection without an answer")
}
