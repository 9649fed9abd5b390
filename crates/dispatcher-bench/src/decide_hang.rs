//! `decide-hang`: a decider that awaits for ever on every second of its calls. Whoever is behind it gets an answer in time
//! all the same, and whoever is not gets what was decided.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::{
    account::Account,
    cli::Cli,
    configuration::intake,
    figures::{
        CPU_US, HUNG_LONGEST_MS, HUNG_OTHERWISE, LONGEST_MS, OTHERS, P50_MS, P99_MS, PEAK_RSS_MIB, UNDECIDED, Values,
    },
    load::{Load, LoadPlan, PartLoad, Span},
    load_process::LoadProcess,
    proc,
    programs::Programs,
    scenario::Scenario,
    server::{Launch, Server, Told, free_address, new_folder},
    traffic::{Kind, Part},
};

/// Callbacks per second, half of which are never decided.
const RATE: f64 = 500.0;
/// More than hang at once within the deadline of 1.5 s: who is sent then finds a connection.
const CONNECTIONS: usize = 640;

/// Rewrites what it does not hang on; behind it, one that refuses some of that.
const DECIDERS: &str = r#"
[handlers.hangs]
type = "misbehaving"
control = "hangs"
order = 1
commands = ["C2C.CallbackBeforeSendMsg"]
max_in_flight = 1024
decide = "hang"
only = "never-decided"
otherwise = { rewrite = "as decided" }

[handlers.refuses]
type = "misbehaving"
control = "refuses"
order = 2
commands = ["C2C.CallbackBeforeSendMsg"]
decide = "refuse"
only = "refused"
"#;

const REWRITTEN: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":0,"MsgBody":[{"MsgContent":{"Text":"as decided"},"MsgType":"TIMTextElem"}]}"#;
pub(crate) const REFUSED: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}"#;

/// Measures once, for as long as trouble lasts.
pub(crate) async fn measure(cli: &Cli, programs: &Programs) -> Result<Values> {
    let folder = new_folder(cli)?;
    let address = free_address()?;
    let told = Told::Config(intake(address, "always") + DECIDERS);
    let program = programs.of(Scenario::DecideHang);
    let launch = Launch { name: "decide-hang", program, folder: folder.path(), address, told };
    let mut server = Server::start(&launch, cli).await?;
    let (load, mut values) = match load(&server, cli).await {
        Ok(loaded) => loaded,
        Err(err) => return Err(server.blame(err).await),
    };
    let closing = server.stop_and_tell().await?;
    let longest = closing.longest_decision.context("the dispatcher does not say how long its decisions took")?;
    ensure!(closing.count("decided") >= load.requests, "the dispatcher decided about less than was sent");
    let [hung, rewritten, refused] = &*load.parts else { unreachable!("three were sent") };
    say_unexpected("never decided", hung);
    say_unexpected("rewritten", rewritten);
    say_unexpected("refused", refused);
    values.extend([
        (LONGEST_MS, longest.as_secs_f64() * 1e3),
        (HUNG_LONGEST_MS, hung.longest_us / 1e3),
        (HUNG_OTHERWISE, hung.unexpected as f64),
        (UNDECIDED, (rewritten.unexpected + refused.unexpected) as f64),
        (P50_MS, rewritten.p50_us.max(refused.p50_us) / 1e3),
        (P99_MS, rewritten.p99_us.max(refused.p99_us) / 1e3),
    ]);
    Ok(values)
}

async fn load(server: &Server, cli: &Cli) -> Result<(Load, Values)> {
    let part = |sender: &str, share, reply: &str| Part {
        kind: Kind::Message,
        sender: sender.into(),
        share,
        reply: Some(reply.into()),
    };
    let plan = LoadPlan {
        address: server.address,
        connections: CONNECTIONS,
        // Every second one hangs.
        parts: vec![
            part("never-decided", 2, tencent_chat::OK),
            part("rewritten", 1, REWRITTEN),
            part("refused", 1, REFUSED),
        ],
        warmup: Span::requests(0),
        measured: Span::seconds(cli.trouble),
        rate: Some(RATE),
        too_much: false,
    };
    let mut process = LoadProcess::start(&plan, cli)?;
    process.warm().await?;
    let account = Account::open(server.pid())?;
    process.go().await?;
    let load = process.finish().await?;
    let generator = Duration::from_secs_f64(load.generator_cpu_us * load.requests as f64 / 1e6);
    let values = Values::from([
        (CPU_US, account.server_cpu()?.as_secs_f64() * 1e6 / load.requests as f64),
        (PEAK_RSS_MIB, proc::peak_rss_mib(server.pid())?),
        (OTHERS, account.taken_by_others(generator)?),
    ]);
    Ok((load, values))
}

/// A line about answers that are not what was asked for, with the first of them.
pub(crate) fn say_unexpected(what: &str, part: &PartLoad) {
    if let Some(example) = &part.example {
        eprintln!(
            "{what}: {} of {} answers are not as they ought to be, such as {example}",
            part.unexpected, part.requests
        );
    }
}
