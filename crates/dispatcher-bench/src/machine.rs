//! Where it was measured: figures mean nothing without it.

use std::{fs, io::Write, path::Path, process::Command, thread, time::Instant};

use anyhow::Result;
use serde::Serialize;

const N_SYNCS: usize = 100;

#[derive(Serialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) cpu: String,
    pub(crate) kernel: String,
}

impl Machine {
    pub(crate) fn this() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        Self {
            cores: cores(),
            cpu: model.map_or("unknown", |(_, name)| name).into(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().into(),
        }
    }
}

pub(crate) fn cores() -> usize {
    thread::available_parallelism().map_or(1, Into::into)
}

/// A command for `program` that keeps it on `cores`, if any are named. taskset turns into the program: its id is the same.
pub(crate) fn command_on(cores: Option<&str>, program: &Path) -> Command {
    match cores {
        None => Command::new(program),
        Some(cores) => {
            let mut command = Command::new("taskset");
            command.args(["--cpu-list", cores]).arg(program);
            command
        }
    }
}

/// The median time of appending 4 KiB and one `fdatasync`, in µs: what each group commit waits for at least.
pub(crate) fn fdatasync_us(dir: &Path) -> Result<f64> {
    let mut file = tempfile::tempfile_in(dir)?;
    let mut times = Vec::with_capacity(N_SYNCS);
    for _ in 0..N_SYNCS {
        file.write_all(&[7; 4096])?;
        let began = Instant::now();
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[N_SYNCS / 2])
}
