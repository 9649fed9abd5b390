//! `overload`: five times as many callbacks as it can take, for a minute. Who is answered when, whether all that was
//! acknowledged is there, how much memory that takes, and how soon it is as before.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::{
    account::Account,
    cli::Cli,
    configuration::{file_sink, forward, intake, word_filter},
    figures::{
        ACCEPTED, ACCEPTED_P50_MS, ACCEPTED_P99_MS, LONGEST_MS, LOST, OFFERED, OTHERS, PEAK_RSS_MIB, REFUSED,
        SUSTAINED, Values,
    },
    load::{Load, LoadPlan, Span},
    load_process::LoadProcess,
    proc,
    programs::Programs,
    scenario::{ARCHIVE, Scenario},
    server::{Launch, Server, Told, free_address, new_folder},
    traffic::{Kind, Part},
};

/// How many times what it can take.
const TIMES: f64 = 5.0;
/// More than may be in flight by default, as a crowd of callers has.
const CONNECTIONS: usize = 3_500;
/// An everyday load, as a part of what it can take, and over how many connections.
const EVERYDAY: f64 = 0.25;
const EVERYDAY_CONNECTIONS: usize = 64;
const EVERYDAY_FOR: Duration = Duration::from_secs(5);
/// How soon after it all is to be as before.
const BACK_WITHIN: Duration = Duration::from_secs(2);

/// Measures once. What is beside it is the everyday load before.
pub(crate) async fn measure(cli: &Cli, programs: &Programs) -> Result<(Values, Values)> {
    let folder = new_folder(cli)?;
    let address = free_address()?;
    let config = intake(address, "always") + &word_filter() + &forward(&[ARCHIVE]) + &file_sink(ARCHIVE, true);
    let program = programs.of(Scenario::Overload);
    let launch = Launch { name: "overload", program, folder: folder.path(), address, told: Told::Config(config) };
    let mut server = Server::start(&launch, cli).await?;
    let (mut values, before, acknowledged) = match load(&server, cli).await {
        Ok(loaded) => loaded,
        Err(err) => return Err(server.blame(err).await),
    };
    let closing = server.stop_and_tell().await?;
    let longest = closing.longest_decision.context("the dispatcher does not say how long its decisions took")?;
    // Before callbacks are stored too, but for those that were too many.
    let decided = closing.count("decided").saturating_sub(closing.count("unrecorded"));
    let stored = stored(program, folder.path()).await?.saturating_sub(decided);
    values.extend([(LONGEST_MS, longest.as_secs_f64() * 1e3), (LOST, acknowledged.saturating_sub(stored) as f64)]);
    Ok((values, before))
}

async fn load(server: &Server, cli: &Cli) -> Result<(Values, Values, u64)> {
    let closed = plan(server, EVERYDAY_CONNECTIONS * 4, EVERYDAY_FOR, None);
    let closed = send(closed, cli).await?;
    let sustained = closed.requests as f64 / closed.seconds;
    proc::settled(server.pid()).await?;

    let everyday = |time| plan(server, EVERYDAY_CONNECTIONS, time, Some(sustained * EVERYDAY));
    let before = send(everyday(EVERYDAY_FOR), cli).await?;

    let account = Account::open(server.pid())?;
    let too_much = LoadPlan {
        too_much: true,
        ..plan(server, CONNECTIONS, Duration::from_secs_f64(cli.trouble), Some(sustained * TIMES))
    };
    let flood = send(too_much, cli).await?;
    let generator = Duration::from_secs_f64(flood.generator_cpu_us * flood.requests as f64 / 1e6);
    let others = account.taken_by_others(generator)?;
    let right_after = send(everyday(BACK_WITHIN), cli).await?;
    let after = send(everyday(EVERYDAY_FOR), cli).await?;

    let [_, accepted] = &*flood.parts else { unreachable!("two were sent") };
    let refused: u64 = flood.parts.iter().map(|part| part.refused).sum();
    ensure!(accepted.requests > 0, "nothing was accepted at all");
    eprintln!("overload: right after it, p99 was {:.1} ms", right_after.p99_us / 1e3);
    let values = Values::from([
        (SUSTAINED, sustained),
        (OFFERED, (flood.requests + refused) as f64 / flood.seconds),
        (ACCEPTED, flood.requests as f64 / flood.seconds),
        (REFUSED, refused as f64 / flood.seconds),
        (ACCEPTED_P50_MS, after.p50_us / 1e3),
        (ACCEPTED_P99_MS, after.p99_us / 1e3),
        (PEAK_RSS_MIB, proc::peak_rss_mib(server.pid())?),
        (OTHERS, others),
    ]);
    let beside = Values::from([(ACCEPTED_P50_MS, before.p50_us / 1e3), (ACCEPTED_P99_MS, before.p99_us / 1e3)]);
    // Before callbacks are answered without the journal: what is acknowledged is after callbacks.
    let acknowledged = [&closed, &before, &flood, &right_after, &after].map(|load| load.parts[1].requests);
    Ok((values, beside, acknowledged.iter().sum()))
}

fn plan(server: &Server, connections: usize, time: Duration, rate: Option<f64>) -> LoadPlan {
    let part = |kind, share| Part { kind, sender: "sender".into(), share, reply: None };
    LoadPlan {
        address: server.address,
        connections,
        parts: vec![part(Kind::Message, 1), part(Kind::AttributesChanged, 4)],
        warmup: Span::requests(0),
        measured: Span::seconds(time.as_secs_f64()),
        rate,
        too_much: false,
    }
}

async fn send(plan: LoadPlan, cli: &Cli) -> Result<Load> {
    let mut process = LoadProcess::start(&plan, cli)?;
    process.warm().await?;
    process.go().await?;
    process.finish().await
}

/// How many callbacks are in the journal of a dispatcher that has ended.
async fn stored(program: &Path, folder: &Path) -> Result<u64> {
    let mut count = Command::new(program);
    count.args(["status", "--json", "--config", "dispatcher.toml"]).current_dir(folder);
    let output = count.output().await.context("cannot run `dispatcher status`")?;
    ensure!(output.status.success(), "`dispatcher status` ended with {}", output.status);
    let status: Status = serde_json::from_slice(&output.stdout).context("`dispatcher status` is not understood")?;
    let Rows { first, last } = status.journal.callbacks;
    Ok((last + 1).saturating_sub(first))
}

#[derive(Deserialize)]
struct Status {
    journal: StatusJournal,
}

#[derive(Deserialize)]
struct StatusJournal {
    callbacks: Rows,
}

#[derive(Deserialize)]
struct Rows {
    first: u64,
    last: u64,
}
