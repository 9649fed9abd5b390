//! Measures the dispatcher beside plain programs that do the same without its promises, in one run.
//!
//! See the README for what each figure means.

mod account;
mod archive;
mod backlog;
mod calm;
mod cli;
mod closing;
mod configuration;
mod dead_sink;
mod decide_blocked;
mod decide_hang;
mod decode;
mod drain;
mod figures;
mod generator;
mod load;
mod load_process;
mod machine;
mod measure;
mod overload;
mod proc;
mod programs;
mod progress;
mod receiver;
mod relay;
mod reopen;
mod report;
mod request;
mod rounds;
mod scenario;
mod server;
mod slow_clients;
mod statistics;
mod table;
mod traffic;
mod trials;

use std::{fs, process::ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::{Cli, Command},
    programs::Programs,
    report::Report,
};

/// The dispatcher's, so that `decode` compares what will be compared there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.command {
        Some(Command::Decode(args)) => decode::run(args),
        Some(Command::Load { plan }) => load::run(plan),
        None => benchmark(&cli),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("error: {err}");
            err.chain().skip(1).for_each(|cause| eprintln!("because: {cause}"));
            ExitCode::FAILURE
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn benchmark(cli: &Cli) -> Result<()> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    // Whichever wins, the other is dropped, and with it the processes it started and their folders.
    tokio::select! {
        measured = measure_and_report(cli) => measured,
        _ = interrupt.recv() => bail!("interrupted; all processes are stopped and their folders removed"),
        _ = terminate.recv() => bail!("terminated; all processes are stopped and their folders removed"),
    }
}

async fn measure_and_report(cli: &Cli) -> Result<()> {
    let programs = Programs::find(cli).await?;
    let report = Report::new(cli, rounds::run(cli, &programs).await?);
    println!("{report}");

    let path = cli.json();
    let json = serde_json::to_string_pretty(&report)?;
    fs::write(&path, json + "\n").with_context(|| format!("cannot write {}", path.display()))?;
    eprintln!("all rounds: {}", path.display());
    Ok(())
}
