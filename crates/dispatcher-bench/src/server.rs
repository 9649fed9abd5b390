//! A server under measurement: its process, its folder, and what is left of both when something fails.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, anyhow, bail};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{cli::Cli, machine, programs::Programs, scenario::Scenario};

const READY_WITHIN: Duration = Duration::from_secs(30);
const LOG: &str = "server.log";
const N_TAIL_LINES: usize = 30;

/// Killed, and its folder removed, when dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    scenario: Scenario,
    child: Child,
    folder: TempDir,
}

impl Server {
    /// Starts the program of `scenario` in a new folder, and waits until it answers.
    pub(crate) async fn start(scenario: Scenario, cli: &Cli, programs: &Programs) -> Result<Self> {
        let dir = cli.dir();
        let folder = TempDir::with_prefix_in("dispatcher-bench-", &dir)
            .with_context(|| format!("cannot make a folder in {}", dir.display()))?;
        let address = free_address()?;
        let mut command = machine::command_on(cli.server_cores.as_deref(), programs.of(scenario));
        match scenario.config(address) {
            Some(config) => {
                fs::write(folder.path().join("dispatcher.toml"), config)?;
                command.args(["--config", "dispatcher.toml"]);
            }
            None => {
                command.arg(address.to_string());
            }
        }
        let log = File::create(folder.path().join(LOG))?;
        command.current_dir(folder.path()).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.process_group(0); // Ctrl-C is for us alone; we stop it in our own order.
        let child = command.spawn().with_context(|| format!("cannot run {}", programs.of(scenario).display()))?;
        let mut server = Self { address, scenario, child, folder };
        match server.wait_until_ready().await {
            Ok(()) => Ok(server),
            Err(err) => Err(server.blame(err).await),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Adds to `err` how the server is and what it last said.
    pub(crate) async fn blame(&mut self, err: Error) -> Error {
        sleep(Duration::from_millis(100)).await; // One that crashes resets its connections before it has ended.
        let scenario = self.scenario;
        let state = match self.child.try_wait() {
            Ok(Some(status)) => format!("has ended: {status}"),
            _ => "is still running".into(),
        };
        let log = fs::read(self.folder.path().join(LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(N_TAIL_LINES)..].join("\n  ");
        let said = if tail.is_empty() { "it said nothing".into() } else { format!("its last words:\n  {tail}") };
        err.context(format!("measuring `{scenario}` failed; its server {state}; {said}"))
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended before it was ready: {status}");
            }
            let problem = match probe(self.address) {
                Ok(status) if status == "200" || self.scenario == Scenario::Floor => return Ok(()),
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
fn free_address() -> Result<SocketAddr> {
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
