//! The two programs that are compared: built, or named on the command line.

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
    pub(crate) floor: PathBuf,
    dispatcher: Option<PathBuf>,
}

impl Programs {
    /// Builds what is not named in `cli`; a dispatcher only if something needs one.
    pub(crate) async fn find(cli: &Cli) -> Result<Self> {
        let floor = match &cli.floor {
            Some(path) => named(path)?,
            None => build("floor-warp", &["--profile", "plain-release", "-p", "dispatcher-bench"]).await?,
        };
        let needs_dispatcher =
            cli.soak.is_some() || cli.scenarios().iter().any(|&scenario| scenario != Scenario::Floor);
        let dispatcher = match &cli.dispatcher {
            Some(path) => Some(named(path)?),
            None if needs_dispatcher => Some(build("dispatcher", &["--release", "-p", "dispatcher"]).await?),
            None => None,
        };
        Ok(Self { floor, dispatcher })
    }

    /// The program that serves `scenario`.
    pub(crate) fn of(&self, scenario: Scenario) -> &Path {
        match scenario {
            Scenario::Floor => &self.floor,
            _ => self.dispatcher.as_ref().expect("found, as a scenario needs it"),
        }
    }
}

/// Servers run in folders of their own: a relative path would be lost there.
fn named(path: &Path) -> Result<PathBuf> {
    path.canonicalize().with_context(|| format!("no program at {}", path.display()))
}

async fn build(bin: &str, args: &[&str]) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command.arg("build").args(args).args(["--bin", bin, "--message-format=json-render-diagnostics"]);
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml")]);
    let output = command.stderr(Stdio::inherit()).kill_on_drop(true).output().await.context("cannot run cargo")?;
    ensure!(output.status.success(), "cannot build {bin}: cargo ended with {}", output.status);

    let messages = String::from_utf8_lossy(&output.stdout);
    for line in messages.lines() {
        let Ok(Message { target, executable: Some(executable) }) = serde_json::from_str(line) else { continue };
        if target.name == bin {
            return Ok(executable);
        }
    }
    bail!("cargo built no executable called {bin}")
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
