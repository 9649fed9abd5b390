//! `relay` and `relay-slow`: callbacks in, requests out to a local receiver.
//!
//! Dispatcher and floor-relay get the same number of callbacks, so that both do the same work, in and out. What counts is
//! the time from the first request until the last has arrived.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::{
    account::Account,
    cli::Cli,
    configuration::{LANES, forward, http_sink, intake},
    figures::{CPU_US, OTHERS, PEAK_RSS_MIB, PER_SECOND, Values},
    load::{LoadPlan, Span},
    load_process::LoadProcess,
    proc,
    programs::Programs,
    receiver::Receiver,
    scenario::Scenario,
    server::{Launch, Server, Told, free_address, new_folder},
    traffic::{Kind, Part},
};

/// Callbacks per second of `--seconds`.
const CALLBACKS: f64 = 40_000.0;
/// As many as can be delivered in the same time and half as much again, with `SLOW_LANES` lanes and `SLOW_TAKES`.
const SLOW_CALLBACKS: f64 = 5_000.0;
const SLOW_LANES: usize = 64;
const SLOW_TAKES: Duration = Duration::from_millis(20);

/// Who relays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relay {
    Dispatcher,
    Floor,
}

/// Measures one of them.
pub(crate) async fn measure(scenario: Scenario, relay: Relay, cli: &Cli, programs: &Programs) -> Result<Values> {
    let is_slow = scenario == Scenario::RelaySlow;
    let (takes, lanes) = if is_slow { (SLOW_TAKES, SLOW_LANES) } else { (Duration::ZERO, LANES) };
    let receiver = Receiver::start(takes)?;
    let folder = new_folder(cli)?;
    let (address, url) = (free_address()?, format!("http://{}/in", receiver.address));
    let (name, program, told) = match relay {
        Relay::Floor => {
            let args = vec![address.to_string(), url, lanes.to_string()];
            (format!("floor of {scenario}"), programs.floor_relay(), Told::Args(args))
        }
        Relay::Dispatcher => {
            let config = intake(address, "always") + &forward(&["receiver"]) + &http_sink("receiver", &url, lanes);
            (scenario.to_string(), programs.of(scenario), Told::Config(config))
        }
    };
    let launch = Launch { name: &name, program, folder: folder.path(), address, told };
    let mut server = Server::start(&launch, cli).await?;
    let per_second = if is_slow { SLOW_CALLBACKS } else { CALLBACKS };
    match measure_server(&server, &receiver, per_second, cli).await {
        Ok(values) => Ok(values),
        Err(err) => Err(server.blame(err).await),
    }
}

async fn measure_server(server: &Server, receiver: &Receiver, per_second: f64, cli: &Cli) -> Result<Values> {
    let callbacks = |seconds: f64| Span::requests((per_second * seconds) as u64);
    let plan = LoadPlan {
        address: server.address,
        connections: cli.connections[0],
        parts: Part::all(Kind::AttributesChanged),
        warmup: callbacks(cli.warmup),
        measured: callbacks(cli.seconds),
        rate: None,
        too_much: false,
    };
    let mut process = LoadProcess::start(&plan, cli)?;
    let warm = process.warm().await?;
    receiver.wait_for(warm.requests).await?;

    let account = Account::open(server.pid())?;
    let began = Instant::now();
    process.go().await?;
    let load = process.finish().await?;
    let generator = Duration::from_secs_f64(load.generator_cpu_us * load.requests as f64 / 1e6);
    let last_at = receiver.wait_for(warm.requests + load.requests).await?;
    ensure!(last_at > began, "nothing arrived");
    Ok(Values::from([
        (PER_SECOND, load.requests as f64 / (last_at - began).as_secs_f64()),
        (CPU_US, account.server_cpu()?.as_secs_f64() * 1e6 / load.requests as f64),
        (PEAK_RSS_MIB, proc::peak_rss_mib(server.pid())?),
        (OTHERS, account.taken_by_others(generator)?),
    ]))
}
