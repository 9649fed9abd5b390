//! A journal with many events that wait for a sink: made once per run, copied for each measurement.
//!
//! It is made as a user would come by it: a dispatcher whose sink is switched off gets callbacks over HTTP. A second sink
//! writes the same events to a file, which shows when all of them are in the journal.

use std::{
    fs::{self, File},
    path::Path,
    pin::pin,
    time::Duration,
};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    archive::Archive,
    cli::Cli,
    configuration::{JOURNAL, file_of, file_sink, forward, intake},
    load::{LoadPlan, Span},
    load_process::LoadProcess,
    programs::Programs,
    progress::Progress,
    scenario::Scenario,
    server::{Launch, Server, Told, free_address, new_folder},
    traffic::{Kind, Part},
};

/// The sink that the events wait for, whatever it is in a scenario.
pub(crate) const WAITING: &str = "waiting";
/// The sink that has had all of them.
pub(crate) const ARCHIVE: &str = "archive";

const SHOW_EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Backlog {
    folder: TempDir,
    pub(crate) n_events: u64,
}

impl Backlog {
    /// Makes it, which takes about a minute for a million events.
    pub(crate) async fn make(cli: &Cli, programs: &Programs) -> Result<Self> {
        let (folder, n_events) = (new_folder(cli)?, cli.backlog);
        fill("making the backlog", folder.path(), n_events, cli, programs).await?;
        Ok(Self { folder, n_events })
    }

    /// Puts a copy of the journal into a server's folder, on the disk when this returns. Returns its size in bytes.
    pub(crate) fn copy_to(&self, folder: &Path) -> Result<u64> {
        let (from, to) = (self.folder.path().join(JOURNAL), folder.join(JOURNAL));
        fs::create_dir(&to)?;
        let mut n_bytes = 0;
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            let copy = to.join(entry.file_name());
            n_bytes += fs::copy(entry.path(), &copy).with_context(|| copy.display().to_string())?;
            // Otherwise the measurement would share the disk with what is still to be written of the copy.
            File::open(&copy)?.sync_all()?;
        }
        Ok(n_bytes)
    }
}

/// Adds callbacks, and an event of each, to the journal in `folder`, which is made where it is missing.
pub(crate) async fn fill(
    what: &'static str,
    folder: &Path,
    n_events: u64,
    cli: &Cli,
    programs: &Programs,
) -> Result<()> {
    let address = free_address()?;
    // Whether it was synced while it was made is no matter here: the copies are.
    let config =
        intake(address, "off") + &forward(&[WAITING, ARCHIVE]) + &file_sink(WAITING, false) + &file_sink(ARCHIVE, true);
    let program = programs.of(Scenario::Drain);
    let launch = Launch { name: what, program, folder, address, told: Told::Config(config) };
    let mut server = Server::start(&launch, cli).await?;
    let path = folder.join(file_of(ARCHIVE));
    let (mut archive, mut progress) = (Archive::new(&path), Progress::new(what, n_events));
    if let Err(err) = send(&server, &mut archive, &mut progress, n_events, cli).await {
        return Err(server.blame(err).await);
    }
    server.stop().await.context(what)?;
    Ok(fs::remove_file(path)?)
}

async fn send(server: &Server, archive: &mut Archive, progress: &mut Progress, n_events: u64, cli: &Cli) -> Result<()> {
    let plan = LoadPlan {
        address: server.address,
        connections: cli.connections[0],
        parts: Part::all(Kind::AttributesChanged),
        warmup: Span::requests(0),
        measured: Span::requests(n_events),
        rate: None,
        too_much: false,
    };
    let mut process = LoadProcess::start(&plan, cli)?;
    process.warm().await?;
    process.go().await?;
    let mut show = interval(SHOW_EVERY);
    show.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut finish = pin!(process.finish());
    loop {
        tokio::select! {
            load = &mut finish => {
                load?;
                break;
            }
            _ = show.tick() => progress.show(archive.count()?),
        }
    }
    archive.wait_for(n_events).await?;
    progress.show(n_events);
    Ok(())
}
