//! `decide-blocked`: a decider that blocks its thread with the first callback it is asked about. What another decider and
//! after callbacks take meanwhile, beside the same without it.

use std::time::Duration;

use anyhow::Result;

use crate::{
    account::Account,
    cli::Cli,
    configuration::intake,
    decide_hang::{REFUSED, say_unexpected},
    figures::{
        ACCEPTED_P50_MS, ACCEPTED_P99_MS, DECIDED_P50_MS, DECIDED_P99_MS, HUNG_LONGEST_MS, HUNG_OTHERWISE, OTHERS,
        PEAK_RSS_MIB, UNDECIDED, Values,
    },
    load::{LoadPlan, Span},
    load_process::LoadProcess,
    proc,
    programs::Programs,
    scenario::Scenario,
    server::{Launch, Server, Told, free_address, new_folder},
    traffic::{Kind, Part},
};

/// Callbacks per second: a twentieth for the decider that blocks, the others half and half.
const RATE: f64 = 2_000.0;
/// More than wait at once until the blocked decider is known to be, and later time and again when a new one is opened.
const CONNECTIONS: usize = 640;

/// Measures once, with the decider that blocks or without it.
pub(crate) async fn measure(blocks: bool, cli: &Cli, programs: &Programs) -> Result<Values> {
    let folder = new_folder(cli)?;
    let address = free_address()?;
    let told = Told::Config(intake(address, "always") + &deciders(blocks));
    let program = programs.of(Scenario::DecideBlocked);
    let name = if blocks { "decide-blocked" } else { "decide-blocked without it" };
    let launch = Launch { name, program, folder: folder.path(), address, told };
    let mut server = Server::start(&launch, cli).await?;
    match measure_server(&server, cli).await {
        Ok(values) => Ok(values),
        Err(err) => Err(server.blame(err).await),
    }
}

fn deciders(blocks: bool) -> String {
    format!(
        r#"
[handlers.blocks]
type = "misbehaving"
control = "blocks"
enabled = {blocks}
commands = ["Group.CallbackBeforeSendMsg"]
decide = "block"

[handlers.refuses]
type = "misbehaving"
control = "refuses"
commands = ["C2C.CallbackBeforeSendMsg"]
decide = "refuse"
"#
    )
}

async fn measure_server(server: &Server, cli: &Cli) -> Result<Values> {
    let part = |kind, share, reply: &str| Part { kind, sender: "sender".into(), share, reply: Some(reply.into()) };
    let plan = LoadPlan {
        address: server.address,
        connections: CONNECTIONS,
        parts: vec![
            part(Kind::GroupMessage, 2, tencent_chat::OK), // What counts by default.
            part(Kind::Message, 19, REFUSED),
            part(Kind::AttributesChanged, 19, tencent_chat::OK),
        ],
        warmup: Span::requests(0),
        measured: Span::seconds(cli.trouble / 2.0),
        rate: Some(RATE),
        too_much: false,
    };
    let mut process = LoadProcess::start(&plan, cli)?;
    process.warm().await?;
    let account = Account::open(server.pid())?;
    process.go().await?;
    let load = process.finish().await?;
    let generator = Duration::from_secs_f64(load.generator_cpu_us * load.requests as f64 / 1e6);
    let [blocked, decided, accepted] = &*load.parts else { unreachable!("three were sent") };
    say_unexpected("blocked", blocked);
    say_unexpected("decided", decided);
    say_unexpected("accepted", accepted);
    Ok(Values::from([
        (DECIDED_P50_MS, decided.p50_us / 1e3),
        (DECIDED_P99_MS, decided.p99_us / 1e3),
        (ACCEPTED_P50_MS, accepted.p50_us / 1e3),
        (ACCEPTED_P99_MS, accepted.p99_us / 1e3),
        (HUNG_LONGEST_MS, blocked.longest_us / 1e3),
        (HUNG_OTHERWISE, blocked.unexpected as f64),
        (UNDECIDED, (decided.unexpected + accepted.unexpected) as f64),
        (PEAK_RSS_MIB, proc::peak_rss_mib(server.pid())?),
        (OTHERS, account.taken_by_others(generator)?),
    ]))
}
