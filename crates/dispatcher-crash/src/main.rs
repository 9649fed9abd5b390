//! The command line of the crash harness. See the README.

use std::{env, path::PathBuf, process::ExitCode};

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum as _};
use dispatcher_crash::{Fault, HEAD, Harness, Outcome, Programs};

/// Breaks a running dispatcher in every way that a machine can, and checks that nothing acknowledged is lost.
///
/// Builds the dispatcher, runs it under load, breaks it, starts it again, and compares what was acknowledged with what
/// arrived. Ends with an error if anything was lost, reordered or invented, or otherwise not as it has to be.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// What to do to it (may be given several times)
    #[arg(long, value_name = "NAME", default_value = "all", value_parser = fault)]
    fault: Vec<Choice>,
    /// How many rounds of each fault [default: what takes about a minute]
    #[arg(long, value_name = "N")]
    rounds: Option<u64>,
    /// Draws the same faults again; the moment at which they hit is never quite the same
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where journals and files are written; a disk, not a tmpfs [default: the folder of this program]
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Break this dispatcher instead of building one
    #[arg(long, value_name = "PATH")]
    dispatcher: Option<PathBuf>,
    /// The dispatcher that kills itself at a step, instead of building tests/programs/stepping.rs
    #[arg(long, value_name = "PATH")]
    stepping: Option<PathBuf>,
    /// The library that is preloaded, instead of building crates/dispatcher-faults
    #[arg(long, value_name = "PATH")]
    library: Option<PathBuf>,
    /// Print the result as JSON, with every finding
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy)]
enum Choice {
    All,
    One(Fault),
}

fn fault(text: &str) -> Result<Choice, String> {
    match text {
        "all" => Ok(Choice::All),
        name => Fault::from_str(name, false).map(Choice::One).map_err(|_| {
            let names: Vec<&str> = Fault::ALL.iter().map(|fault| fault.name()).collect();
            format!("write all, or one of {}", names.join(", "))
        }),
    }
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            eprintln!("error: {err:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<bool> {
    ensure!(cli.rounds != Some(0), "no round shows nothing; write --rounds 1 or more");
    let faults: Vec<Fault> = cli
        .fault
        .iter()
        .flat_map(|choice| match choice {
            Choice::All => Fault::ALL.to_vec(),
            Choice::One(fault) => vec![*fault],
        })
        .collect();
    let programs = Programs::find(cli.dispatcher.as_deref(), cli.stepping.as_deref(), cli.library.as_deref())?;
    let dir = match &cli.dir {
        Some(dir) => dir.clone(),
        None => env::current_exe()?.parent().map_or_else(env::temp_dir, PathBuf::from),
    };
    let seed = cli.seed.unwrap_or_else(|| fastrand::u64(..));
    eprintln!("seed {seed}, in {}", dir.display());
    let harness = Harness { programs, dir, seed, progress: |line| eprintln!("{line}") };
    let mut outcomes: Vec<Outcome> = Vec::new();
    for fault in faults {
        let outcome = harness.run(fault, cli.rounds.unwrap_or_else(|| fault.default_rounds()))?;
        eprintln!("{HEAD}\n{outcome}");
        outcomes.push(outcome);
    }
    if cli.json {
        let outcomes: Vec<_> = outcomes.iter().map(Outcome::to_json).collect();
        println!("{:#}", serde_json::json!({ "seed": seed, "faults": outcomes }));
    } else {
        println!("\n{HEAD}");
        outcomes.iter().for_each(|outcome| println!("{outcome}"));
    }
    Ok(outcomes.iter().all(Outcome::is_clean))
}
