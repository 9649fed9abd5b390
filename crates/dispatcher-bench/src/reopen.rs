//! `reopen`: a dispatcher is killed under load and started again. What counts is the time from exec until it has answered
//! a callback with OK.

use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, ensure};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::{
    backlog::{self, ARCHIVE, Backlog, WAITING},
    cli::Cli,
    configuration::{JOURNAL, file_sink, forward, intake},
    figures::{COLD_SECONDS, JOURNAL_GB, Values, WARM_SECONDS},
    generator::body_of,
    load::{LoadPlan, Span},
    load_process::LoadProcess,
    programs::Programs,
    request::Request,
    scenario::Scenario,
    server::{Launch, Server, Told, free_address, new_folder},
    traffic::{Kind, Part},
};

const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";
const ANSWERED_WITHIN: Duration = Duration::from_secs(60);

/// The journal that is killed again and again.
pub(crate) struct Reopen {
    folder: TempDir,
}

impl Reopen {
    /// Copies the backlog, and adds a quarter, so that a million events make a journal of 1 GB.
    pub(crate) async fn prepare(backlog: &Backlog, cli: &Cli, programs: &Programs) -> Result<Self> {
        let folder = new_folder(cli)?;
        backlog.copy_to(folder.path())?;
        backlog::fill("making the larger journal", folder.path(), backlog.n_events / 4, cli, programs).await?;
        Ok(Self { folder })
    }

    pub(crate) async fn measure(&self, cli: &Cli, programs: &Programs) -> Result<Values> {
        let mut values = Values::from([(WARM_SECONDS, self.kill_and_reopen(false, cli, programs).await?)]);
        if cli.drop_caches {
            values.insert(COLD_SECONDS, self.kill_and_reopen(true, cli, programs).await?);
        }
        values.insert(JOURNAL_GB, self.journal_bytes()? as f64 / 1e9);
        Ok(values)
    }

    async fn kill_and_reopen(&self, cold: bool, cli: &Cli, programs: &Programs) -> Result<f64> {
        let address = free_address()?;
        let config = intake(address, "always")
            + &forward(&[WAITING, ARCHIVE])
            + &file_sink(WAITING, false)
            + &file_sink(ARCHIVE, true);
        let (program, folder) = (programs.of(Scenario::Reopen), self.folder.path());
        let launch = Launch { name: "reopen", program, folder, address, told: Told::Config(config) };

        let server = Server::start(&launch, cli).await?;
        let plan = LoadPlan {
            address,
            connections: cli.connections[0],
            parts: Part::all(Kind::AttributesChanged),
            warmup: Span::seconds(cli.warmup),
            measured: Span::seconds(3600.0),
            rate: None,
            too_much: false,
        };
        let mut process = LoadProcess::start(&plan, cli)?;
        process.warm().await?;
        process.go().await?;
        sleep(Duration::from_secs_f64(cli.seconds)).await;
        server.kill()?;
        drop(process);

        if cold {
            drop_caches()?;
        }
        let began = Instant::now();
        let mut server = Server::spawn(&launch, cli)?;
        match first_ok(&mut server).await {
            Ok(answered_at) => Ok((answered_at - began).as_secs_f64()),
            Err(err) => Err(server.blame(err).await),
        }
    }

    fn journal_bytes(&self) -> Result<u64> {
        let files = fs::read_dir(self.folder.path().join(JOURNAL))?;
        files.map(|file| Ok(file?.metadata()?.len())).sum()
    }
}

/// Sends callbacks until one is answered with OK.
async fn first_ok(server: &mut Server) -> Result<Instant> {
    let began = Instant::now();
    let mut request = Request::new(&server.address.to_string(), Kind::AttributesChanged, "sender");
    loop {
        request.keep_fresh();
        let problem = match callback(server.address, request.next()) {
            Ok(()) => return Ok(Instant::now()),
            Err(err) => err,
        };
        server.check_alive()?;
        if began.elapsed() > ANSWERED_WITHIN {
            return Err(problem.context(format!("no OK within {ANSWERED_WITHIN:?}")));
        }
        sleep(Duration::from_millis(1)).await;
    }
}

fn callback(address: SocketAddr, request: &[u8]) -> Result<(), Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(ANSWERED_WITHIN))?;
    stream.write_all(request)?;
    let (mut answer, mut received) = (Vec::new(), [0; 4096]);
    while body_of(&answer)?.is_none() {
        let n_read = stream.read(&mut received)?;
        ensure!(n_read > 0, "it closed the connection without an answer");
        answer.extend_from_slice(&received[..n_read]);
    }
    Ok(())
}

/// Fails when the page cache must not be dropped.
pub(crate) fn check_drop_caches() -> Result<()> {
    File::options().write(true).open(DROP_CACHES).map(drop).with_context(no_drop)
}

/// As after the machine was started: nothing of the journal is in memory.
fn drop_caches() -> Result<()> {
    rustix::fs::sync(); // Only what is on the disk can be dropped.
    fs::write(DROP_CACHES, "3").with_context(no_drop)
}

fn no_drop() -> String {
    format!("cannot write to {DROP_CACHES}: leave out --drop-caches, or run this as root outside of a container")
}
