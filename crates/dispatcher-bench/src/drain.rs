//! `drain`: a dispatcher starts with a backlog for a file sink. What counts is the time from its start until the last line
//! is in the file.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    account::Account,
    archive::Archive,
    backlog::{Backlog, WAITING},
    cli::Cli,
    configuration::{file_of, file_sink, forward, intake},
    figures::{CPU_US, OTHERS, PEAK_RSS_MIB, PER_SECOND, Values},
    proc,
    programs::Programs,
    scenario::Scenario,
    server::{Launch, Server, Told, free_address, new_folder},
};

pub(crate) async fn measure(backlog: &Backlog, cli: &Cli, programs: &Programs) -> Result<Values> {
    let folder = new_folder(cli)?;
    backlog.copy_to(folder.path())?;
    let address = free_address()?;
    let config = intake(address, "always") + &forward(&[WAITING]) + &file_sink(WAITING, true);
    let program = programs.of(Scenario::Drain);
    let launch = Launch { name: "drain", program, folder: folder.path(), address, told: Told::Config(config) };
    let mut archive = Archive::new(&folder.path().join(file_of(WAITING)));

    let began = Instant::now();
    let mut server = Server::spawn(&launch, cli)?;
    match measure_server(&server, &mut archive, backlog.n_events, began).await {
        Ok(values) => Ok(values),
        Err(err) => Err(server.blame(err).await),
    }
}

async fn measure_server(server: &Server, archive: &mut Archive, n_events: u64, began: Instant) -> Result<Values> {
    let account = Account::open(server.pid())?;
    archive.wait_for(n_events).await?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Values::from([
        (PER_SECOND, n_events as f64 / seconds),
        // All that the process took, its start included.
        (CPU_US, proc::cpu(server.pid())?.as_secs_f64() * 1e6 / n_events as f64),
        (PEAK_RSS_MIB, proc::peak_rss_mib(server.pid())?),
        (OTHERS, account.taken_by_others(Duration::ZERO)?),
    ]))
}
