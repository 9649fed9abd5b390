//! The command line.

use std::{env, path::PathBuf};

use clap::{Parser, Subcommand};

use crate::{load::LoadArgs, scenario::Scenario};

/// Measures the dispatcher against floor-warp, a plain warp handler that only parses and replies.
///
/// Builds both, runs them in turns on loopback, prints a table and the bars, and writes every round as JSON. All of it
/// takes about four minutes after building. Keep the machine quiet meanwhile.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// How often everything is measured; the table shows medians
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(crate) rounds: usize,
    /// How long requests are sent per measurement
    #[arg(long, value_name = "S", default_value_t = 2.5)]
    pub(crate) seconds: f64,
    /// How long each server is warmed up before it is measured
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    pub(crate) warmup: f64,
    /// Keep-alive connections, each with one request under way
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [64, 256], value_parser = connections)]
    pub(crate) connections: Vec<usize>,
    /// Measure only this scenario (may be given several times); `floor` is floor-warp against itself: the noise
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<Scenario>,
    /// Then load `accept` and `whole-path` for so long, and show their memory every 10 s [60 s write some GiB]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) soak: Option<f64>,
    /// Where the figures of all rounds go [default: bench.json in the target directory]
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Where journals and files are written; a disk, not a tmpfs [default: the target directory]
    #[arg(long, value_name = "PATH")]
    dir: Option<PathBuf>,
    /// Measure this dispatcher instead of building one
    #[arg(long, value_name = "PATH")]
    pub(crate) dispatcher: Option<PathBuf>,
    /// Measure against this floor-warp instead of building it
    #[arg(long, value_name = "PATH")]
    pub(crate) floor: Option<PathBuf>,
    /// Keep the servers on these cores, such as 0 or 0-3 (through taskset) [default: wherever the system puts them]
    #[arg(long, value_name = "LIST")]
    pub(crate) server_cores: Option<String>,
    /// Keep the load generator on this core [default: wherever the system puts it]
    #[arg(long, value_name = "LIST")]
    pub(crate) generator_cores: Option<String>,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// The load generator, which the benchmark starts by itself
    #[command(hide = true)]
    Load(LoadArgs),
}

impl Cli {
    /// What to measure, in this order.
    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        if self.only.is_empty() {
            vec![Scenario::Accept, Scenario::AcceptSyncOff, Scenario::WholePath]
        } else {
            self.only.clone()
        }
    }

    pub(crate) fn json(&self) -> PathBuf {
        self.json.clone().unwrap_or_else(|| target_dir().join("bench.json"))
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.dir.clone().unwrap_or_else(target_dir)
    }
}

/// The target directory that this program was built in, as it lies in `target/<profile>/`.
fn target_dir() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    program.ancestors().nth(2).map_or_else(env::temp_dir, PathBuf::from)
}

fn connections(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=10_000) => Ok(n),
        _ => Err("not a number from 1 to 10000".into()),
    }
}
