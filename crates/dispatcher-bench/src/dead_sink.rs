//! `dead-sink`: what a dead sink with a backlog does to the rest: another sink's throughput, and the intake.
//!
//! Throughput is measured at full load, where whatever the dead sink takes is missing elsewhere: a closed loop, until the
//! last line is in the other sink's file. The intake's waits are measured at a fixed rate that the machine takes easily: at
//! full load, waits would only mirror the throughput.

use std::{
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    account::Account,
    archive::Archive,
    backlog::{ARCHIVE, Backlog, WAITING},
    cli::Cli,
    configuration::{LANES, file_of, file_sink, forward, http_sink, intake},
    figures::{CPU_US, OTHERS, P50_MS, P99_MS, PEAK_RSS_MIB, PER_SECOND, Values},
    load::{Load, LoadPlan, Span},
    load_process::LoadProcess,
    proc,
    programs::Programs,
    scenario::Scenario,
    server::{Launch, Server, Told, free_address, new_folder},
    traffic::{self, Kind},
};

/// Nothing listens on this port of this machine; where something does, the run ends with an error.
const NOBODY: u16 = 1;

/// Measures with the dead sink and its backlog, or with neither.
pub(crate) async fn measure(dead: Option<&Backlog>, cli: &Cli, programs: &Programs) -> Result<Values> {
    let folder = new_folder(cli)?;
    let address = free_address()?;
    let mut config = intake(address, "always") + &file_sink(ARCHIVE, true);
    let name = match dead {
        Some(backlog) => {
            ensure!(TcpStream::connect((Ipv4Addr::LOCALHOST, NOBODY)).is_err(), "something listens on port {NOBODY}");
            backlog.copy_to(folder.path())?;
            let url = format!("http://{}:{NOBODY}/", Ipv4Addr::LOCALHOST);
            config += &(forward(&[WAITING, ARCHIVE]) + &http_sink(WAITING, &url, LANES));
            "dead-sink"
        }
        None => {
            config += &forward(&[ARCHIVE]);
            "dead-sink without it"
        }
    };
    let program = programs.of(Scenario::DeadSink);
    let launch = Launch { name, program, folder: folder.path(), address, told: Told::Config(config) };
    let mut server = Server::start(&launch, cli).await?;
    let mut archive = Archive::new(&folder.path().join(file_of(ARCHIVE)));
    match measure_server(&server, &mut archive, cli).await {
        Ok(values) => Ok(values),
        Err(err) => Err(server.blame(err).await),
    }
}

async fn measure_server(server: &Server, archive: &mut Archive, cli: &Cli) -> Result<Values> {
    let account = Account::open(server.pid())?;
    let full = load(server, archive, Span::seconds(cli.warmup), Span::seconds(cli.seconds), None, cli).await?;
    // Its connections are new, and nothing else is. Twice as long: it takes many waits to tell the longest hundredth.
    let easy =
        load(server, archive, Span::requests(1_000), Span::seconds(2.0 * cli.seconds), Some(cli.rate), cli).await?;
    let generator =
        [&full, &easy].map(|part| part.load.generator_cpu_us * part.load.requests as f64).iter().sum::<f64>();
    Ok(Values::from([
        (PER_SECOND, full.load.requests as f64 / full.seconds),
        (CPU_US, full.cpu.as_secs_f64() * 1e6 / full.load.requests as f64),
        (P50_MS, easy.load.p50_us / 1e3),
        (P99_MS, easy.load.p99_us / 1e3),
        (PEAK_RSS_MIB, proc::peak_rss_mib(server.pid())?),
        // The warm-ups of the generator count as others; they are short.
        (OTHERS, account.taken_by_others(Duration::from_secs_f64(generator / 1e6))?),
    ]))
}

struct Part {
    load: Load,
    /// From the first request to the last line.
    seconds: f64,
    /// What the server took meanwhile.
    cpu: Duration,
}

async fn load(
    server: &Server,
    archive: &mut Archive,
    warmup: Span,
    measured: Span,
    rate: Option<f64>,
    cli: &Cli,
) -> Result<Part> {
    let parts = traffic::Part::all(Kind::AttributesChanged);
    let plan = LoadPlan {
        address: server.address,
        connections: cli.connections[0],
        parts,
        warmup,
        measured,
        rate,
        too_much: false,
    };
    let n_lines = archive.count()?; // All there will be of earlier loads.
    let mut process = LoadProcess::start(&plan, cli)?;
    let warm = process.warm().await?;
    archive.wait_for(n_lines + warm.requests).await?;
    let (began, cpu_before) = (Instant::now(), proc::cpu(server.pid())?);
    process.go().await?;
    let load = process.finish().await?;
    archive.wait_for(n_lines + warm.requests + load.requests).await?;
    Ok(Part { load, seconds: began.elapsed().as_secs_f64(), cpu: proc::cpu(server.pid())? - cpu_before })
}
