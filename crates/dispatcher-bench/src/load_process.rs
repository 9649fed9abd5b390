//! The load generator, seen from the benchmark: a process of its own, so that its CPU is not the server's.

use std::{env, process::Stdio};

use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::{
    cli::Cli,
    load::{Load, LoadPlan, Warm},
    machine,
};

/// Killed when dropped.
pub(crate) struct LoadProcess {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl LoadProcess {
    /// Starts to connect and to warm up.
    pub(crate) fn start(plan: &LoadPlan, cli: &Cli) -> Result<Self> {
        let mut command = Command::from(machine::command_on(cli.generator_cores.as_deref(), &env::current_exe()?));
        command.arg("load").arg(serde_json::to_string(plan)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().context("cannot run the load generator")?;
        let lines = BufReader::new(child.stdout.take().expect("is piped")).lines();
        Ok(Self { child, lines })
    }

    /// Waits until it is warm and sends nothing.
    pub(crate) async fn warm(&mut self) -> Result<Warm> {
        self.line().await
    }

    /// Lets it begin to measure.
    pub(crate) async fn go(&mut self) -> Result<()> {
        let stdin = self.child.stdin.as_mut().expect("is piped");
        stdin.write_all(b"go\n").await?;
        Ok(stdin.flush().await?)
    }

    /// Waits until it is through.
    pub(crate) async fn finish(&mut self) -> Result<Load> {
        self.line().await
    }

    async fn line<T: DeserializeOwned>(&mut self) -> Result<T> {
        if let Some(line) = self.lines.next_line().await? {
            return serde_json::from_str(&line).with_context(|| format!("the load generator said {line:?}"));
        }
        let mut said = String::new();
        if let Some(stderr) = &mut self.child.stderr {
            stderr.read_to_string(&mut said).await?;
        }
        bail!("the load generator ended with {}: {}", self.child.wait().await?, said.trim_end())
    }
}
