//! One measurement: a fresh server, warmed up, loaded, and seen through the operating system's accounting.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde::Serialize;
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    archive::Archive,
    cli::Cli,
    configuration::file_of,
    load::{Load, LoadPlan, Span},
    load_process::LoadProcess,
    machine,
    proc::{self, settled},
    programs::Programs,
    scenario::{ARCHIVE, Scenario},
    server::{Launch, Server, Told, free_address, new_folder},
    traffic::{Kind, Part},
};

/// While requests are sent, the archive is read now and then, so that little is left to read at the end.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const SAMPLE_EVERY: Duration = Duration::from_secs(10);

#[derive(Clone, Serialize)]
pub(crate) struct Measurement {
    pub(crate) scenario: Scenario,
    pub(crate) connections: usize,
    /// Callbacks by the seconds from the first request to the last answer; on the whole path, to the last line.
    pub(crate) per_second: f64,
    /// Server CPU per callback over the same time, user and kernel.
    pub(crate) cpu_us: f64,
    /// Callbacks that were answered and are not in the journal, as too many waited for it; the warm-up's too.
    pub(crate) unrecorded: u64,
    /// The most that was ever resident, the start and the warm-up included.
    pub(crate) peak_rss_mib: f64,
    /// The share of all cores that went to neither the server nor the generator while requests were sent. The benchmark
    /// itself, which reads the archive, is in it.
    pub(crate) taken_by_others: f64,
    /// How much longer than the last answer the last line took.
    pub(crate) behind_seconds: f64,
    /// Memory every 10 s of a long measurement.
    pub(crate) memory: Vec<Sample>,
    pub(crate) load: Load,
}

#[derive(Clone, Copy, Serialize)]
pub(crate) struct Sample {
    pub(crate) at_seconds: u64,
    pub(crate) rss_mib: f64,
}

/// Measures `scenario` with callbacks of this kind for `seconds`.
pub(crate) async fn measure(
    scenario: Scenario,
    kind: Kind,
    connections: usize,
    seconds: f64,
    cli: &Cli,
    programs: &Programs,
) -> Result<Measurement> {
    let folder = new_folder(cli)?;
    let address = free_address()?;
    let told = scenario.config(address).map_or_else(|| Told::Args(vec![address.to_string()]), Told::Config);
    let (name, program) = (scenario.to_string(), programs.of(scenario));
    let launch = Launch { name: &name, program, folder: folder.path(), address, told };
    let mut server = Server::start(&launch, cli).await?;
    let mut archive = Archive::new(&folder.path().join(file_of(ARCHIVE)));
    match measure_server(&server, &mut archive, scenario, kind, connections, seconds, cli).await {
        Ok(mut measurement) => {
            if !is_answered_after_the_journal(scenario) {
                measurement.unrecorded = server.stop_and_tell().await?.count("unrecorded");
            }
            Ok(measurement)
        }
        Err(err) => Err(server.blame(err).await),
    }
}

/// Whether, when the last answer is there, the journal has done its work, if there is one.
fn is_answered_after_the_journal(scenario: Scenario) -> bool {
    !matches!(scenario, Scenario::Allow | Scenario::Decide)
}

async fn measure_server(
    server: &Server,
    archive: &mut Archive,
    scenario: Scenario,
    kind: Kind,
    connections: usize,
    seconds: f64,
    cli: &Cli,
) -> Result<Measurement> {
    let plan = LoadPlan {
        address: server.address,
        connections,
        parts: Part::all(kind),
        warmup: Span::seconds(cli.warmup),
        measured: Span::seconds(seconds),
        rate: None,
        too_much: false,
    };
    let mut process = LoadProcess::start(&plan, cli)?;
    let warm = process.warm().await?;
    archive.wait_for(warm.requests * scenario.lines_per_callback()).await?;
    if !is_answered_after_the_journal(scenario) {
        settled(server.pid()).await?;
    }

    let (cpu_before, all_before) = (proc::cpu(server.pid())?, proc::all_cpu()?);
    let began = Instant::now();
    process.go().await?;

    let mut memory = Vec::new();
    let mut look = interval(LOOK_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut finish = pin!(process.finish());
    let load = loop {
        tokio::select! {
            load = &mut finish => break load?,
            _ = look.tick() => {
                archive.count()?;
                if began.elapsed() >= SAMPLE_EVERY * (memory.len() as u32 + 1) {
                    memory.push(Sample { at_seconds: began.elapsed().as_secs(), rss_mib: proc::rss_mib(server.pid())? });
                }
            }
        }
    };
    let answered = began.elapsed();
    let ours =
        (proc::cpu(server.pid())? - cpu_before).as_secs_f64() + load.generator_cpu_us * load.requests as f64 / 1e6;
    let others = (proc::all_cpu()? - all_before).as_secs_f64() - ours;
    archive.wait_for((warm.requests + load.requests) * scenario.lines_per_callback()).await?;
    let written = began.elapsed();
    if !is_answered_after_the_journal(scenario) {
        settled(server.pid()).await?;
    }
    let cpu = proc::cpu(server.pid())? - cpu_before;

    let whole_path = scenario.lines_per_callback() > 0;
    Ok(Measurement {
        scenario,
        connections,
        per_second: load.requests as f64 / if whole_path { written.as_secs_f64() } else { load.seconds },
        cpu_us: cpu.as_secs_f64() * 1e6 / load.requests as f64,
        unrecorded: 0,
        peak_rss_mib: proc::peak_rss_mib(server.pid())?,
        taken_by_others: (others / answered.as_secs_f64() / machine::cores() as f64).max(0.0),
        behind_seconds: if whole_path { (written - answered).as_secs_f64() } else { 0.0 },
        memory,
        load,
    })
}
