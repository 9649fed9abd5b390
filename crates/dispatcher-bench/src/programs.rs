//! The programs that are compared: built, or named on the command line.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::{cli::Cli, scenario::Scenario};

pub(crate) struct Programs {
    floor: Option<PathBuf>,
    floor_relay: Option<PathBuf>,
    dispatcher: Option<PathBuf>,
    misbehaving: Option<PathBuf>,
}

impl Programs {
    /// Builds what is needed and not named in `cli`.
    pub(crate) async fn find(cli: &Cli) -> Result<Self> {
        let scenarios = cli.scenarios();
        let any = |of: fn(Scenario) -> bool| scenarios.iter().copied().any(of);
        let plain = ["--profile", "plain-release", "-p", "dispatcher-bench", "--bin"];
        let floor = find(&cli.floor, any(Scenario::is_of_intake), "floor-warp", &plain).await?;
        let floor_relay = find(&cli.floor_relay, any(Scenario::is_relay), "floor-relay", &plain).await?;
        let release = ["--release", "-p", "dispatcher", "--bin"];
        let needs_dispatcher =
            cli.soak.is_some() || any(|scenario| scenario != Scenario::Floor && !scenario.misbehaves());
        let dispatcher = find(&cli.dispatcher, needs_dispatcher, "dispatcher", &release).await?;
        let example = ["--profile", "plain-release", "-p", "dispatcher", "--example"];
        let misbehaving = find(&cli.misbehaving, any(Scenario::misbehaves), "misbehaving", &example).await?;
        Ok(Self { floor, floor_relay, dispatcher, misbehaving })
    }

    /// The program that serves `scenario`.
    pub(crate) fn of(&self, scenario: Scenario) -> &Path {
        let program = match scenario {
            Scenario::Floor => &self.floor,
            scenario if scenario.misbehaves() => &self.misbehaving,
            _ => &self.dispatcher,
        };
        program.as_ref().expect("found, as a scenario needs it")
    }

    /// What a relay is measured beside.
    pub(crate) fn floor_relay(&self) -> &Path {
        self.floor_relay.as_ref().expect("found, as a scenario needs it")
    }
}

async fn find(path: &Option<PathBuf>, is_needed: bool, program: &str, args: &[&str]) -> Result<Option<PathBuf>> {
    match path {
        Some(path) => named(path).map(Some),
        None if is_needed => build(program, args).await.map(Some),
        None => Ok(None),
    }
}

/// Servers run in folders of their own: a relative path would be lost there.
fn named(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("no program at {}", path.display()))
}

/// `args` end with what kind of target it is.
async fn build(program: &str, args: &[&str]) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command.arg("build").args(args).args([program, "--message-format=json-render-diagnostics"]);
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml")]);
    let output = command.stderr(Stdio::inherit()).kill_on_drop(true).output().await.context("cannot run cargo")?;
    ensure!(output.status.success(), "cannot build {program}: cargo ended with {}", output.status);

    let messages = String::from_utf8_lossy(&output.stdout);
    for line in messages.lines() {
        let Ok(Message { target, executable: Some(executable) }) = serde_json::from_str(line) else { continue };
        if target.name == program {
            return Ok(executable);
        }
    }
    bail!("cargo built no executable called {program}")
}

/// What is read of cargo's `compiler-artifact` messages; the others lack a target or an executable.
#[derive(Deserialize)]
struct Message {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}
