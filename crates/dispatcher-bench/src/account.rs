//! Who took how much of the machine since a moment.

use std::{
    process,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{machine, proc};

pub(crate) struct Account {
    server: u32,
    opened_at: Instant,
    server_before: Duration,
    own_before: Duration,
    all_before: Duration,
}

impl Account {
    /// Counts from now on.
    pub(crate) fn open(server: u32) -> Result<Self> {
        Ok(Self {
            server,
            opened_at: Instant::now(),
            server_before: proc::cpu(server)?,
            own_before: proc::cpu(process::id())?,
            all_before: proc::all_cpu()?,
        })
    }

    /// What the server took, user and kernel.
    pub(crate) fn server_cpu(&self) -> Result<Duration> {
        Ok(proc::cpu(self.server)? - self.server_before)
    }

    /// The share of all cores that went to neither the server nor the benchmark nor its generator, which took so much.
    pub(crate) fn taken_by_others(&self, generator: Duration) -> Result<f64> {
        let ours = self.server_cpu()? + (proc::cpu(process::id())? - self.own_before) + generator;
        let all = proc::all_cpu()? - self.all_before;
        let available = self.opened_at.elapsed().as_secs_f64() * machine::cores() as f64;
        Ok((all.as_secs_f64() - ours.as_secs_f64()).max(0.0) / available)
    }
}
