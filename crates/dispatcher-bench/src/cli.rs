//! The command line.

use std::{env, path::PathBuf};

use clap::{Parser, Subcommand, ValueEnum};

use crate::{decode::DecodeArgs, load::LoadPlan, scenario::Scenario};

/// Measures the dispatcher beside plain programs that do the same without its promises, and against fixed bars.
///
/// Builds all, runs them in turns on loopback, prints tables and the bars, and writes every round as JSON. The intake's
/// scenarios take about six minutes after building, all of them about half an hour and 5 GB of disk. Keep the
/// machine quiet meanwhile.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Cli {
    /// How often everything is measured; the tables show medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = rounds)]
    pub(crate) rounds: usize,
    /// How long requests are sent per measurement; a relay gets as many as a fast one takes in that time
    #[arg(long, value_name = "S", default_value_t = 2.5, value_parser = seconds)]
    pub(crate) seconds: f64,
    /// How long each server is warmed up before it is measured
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = seconds)]
    pub(crate) warmup: f64,
    /// Keep-alive connections, each with one request under way; where the intake is not the point, the first number
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [64, 256], value_parser = connections)]
    pub(crate) connections: Vec<usize>,
    /// Measure only this scenario (may be given several times); `floor` is floor-warp against itself: the noise
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<Scenario>,
    /// Events in the backlog of `drain`, `dead-sink` and `reopen`; a million are about 1 GB, made once per run
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    pub(crate) backlog: u64,
    /// Callbacks per second at which `dead-sink` measures how long the intake takes
    #[arg(long, value_name = "N", default_value_t = 5_000.0, value_parser = rate)]
    pub(crate) rate: f64,
    /// How long deciders misbehave in `decide-hang`, and `overload` lasts; half as long in `decide-blocked` and `slow-clients`,
    /// with and without what troubles
    #[arg(long, value_name = "S", default_value_t = 60.0, value_parser = seconds)]
    pub(crate) trouble: f64,
    /// In `reopen`, drop the whole system's page cache before every second start (root only)
    #[arg(long)]
    pub(crate) drop_caches: bool,
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
    /// Measure against this floor-relay instead of building it
    #[arg(long, value_name = "PATH")]
    pub(crate) floor_relay: Option<PathBuf>,
    /// Let this program misbehave instead of building it: the example `misbehaving` of the crate `dispatcher`
    #[arg(long, value_name = "PATH")]
    pub(crate) misbehaving: Option<PathBuf>,
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
    Decode(DecodeArgs),
    /// The load generator, which the benchmark starts by itself
    #[command(hide = true)]
    Load {
        /// What to send where, as JSON
        #[arg(value_parser = plan)]
        plan: LoadPlan,
    },
}

impl Cli {
    /// What to measure, in this order.
    pub(crate) fn scenarios(&self) -> Vec<Scenario> {
        if self.only.is_empty() {
            // `allow` is measured beside `decide`.
            let is_left_out = |scenario: &Scenario| matches!(scenario, Scenario::Floor | Scenario::Allow);
            Scenario::value_variants().iter().copied().filter(|scenario| !is_left_out(scenario)).collect()
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

fn rounds(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1_000) => Ok(n),
        _ => Err("not a number from 1 to 1000".into()),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|seconds| (0.1..=3600.0).contains(seconds)).ok_or("not a number from 0.1 to 3600".into())
}

fn rate(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|rate| (1.0..=1e6).contains(rate)).ok_or("not a number from 1 to 1000000".into())
}

fn plan(json: &str) -> Result<LoadPlan, serde_json::Error> {
    serde_json::from_str(json)
}
