//! The load generator: a process of its own, one thread, one epoll.
//!
//! Closed loop: each connection sends its next request when the answer to the former is read. Or at a fixed rate, whatever
//! the server does: a request that finds all connections busy waits from the moment it was due. On its standard output it
//! prints [`Warm`] once all connections are open and warmed up, waits for a line on its standard input, and prints
//! [`Load`] when it is through. Any answer but 200 and OK ends it, unless the plan is too much for the server.

use std::{
    io::{self, BufRead, Write},
    net::SocketAddr,
    process,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use crate::{
    generator::{Answers, Generator},
    proc,
    traffic::Part,
};

/// What to send where.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct LoadPlan {
    pub(crate) address: SocketAddr,
    pub(crate) connections: usize,
    pub(crate) parts: Vec<Part>,
    /// Closed loop.
    pub(crate) warmup: Span,
    pub(crate) measured: Span,
    /// Requests per second; a closed loop without it.
    pub(crate) rate: Option<f64>,
    /// More may be due than can be answered: what is due when time is over is not sent, and refusals are counted.
    pub(crate) too_much: bool,
}

/// How long, or how many: whichever ends first.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) seconds: f64,
    pub(crate) requests: u64,
}

impl Span {
    pub(crate) fn seconds(seconds: f64) -> Self {
        Self { seconds, requests: u64::MAX }
    }

    /// So many, however long they take.
    pub(crate) fn requests(requests: u64) -> Self {
        Self { seconds: 24.0 * 60.0 * 60.0, requests }
    }

    pub(crate) fn time(self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// First line: the connections are open and warm.
#[derive(Serialize, Deserialize)]
pub(crate) struct Warm {
    pub(crate) requests: u64,
}

/// Second line: what was measured.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Load {
    /// All answered with OK.
    pub(crate) requests: u64,
    /// From the first request to the last answer.
    pub(crate) seconds: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    /// What the generator itself took of the machine.
    pub(crate) generator_cpu_us: f64,
    /// In the order of the plan.
    pub(crate) parts: Vec<PartLoad>,
}

/// What was measured of a part of the traffic.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct PartLoad {
    pub(crate) requests: u64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Of so many answers, those to what was due in calm slices, at a fixed rate that is not too much.
    pub(crate) calm_requests: u64,
    pub(crate) calm_p99_us: f64,
    /// At a fixed rate, the longest time from when a request was due, the generator's own delay in sending it included.
    pub(crate) longest_us: f64,
    /// Answers that are not what this part ought to get.
    pub(crate) unexpected: u64,
    /// Answers that are no OK, and requests that got none since their connection was closed.
    pub(crate) refused: u64,
    /// The first of them.
    pub(crate) example: Option<String>,
}

/// Runs the generator until it is through.
pub(crate) fn run(plan: &LoadPlan) -> Result<()> {
    let mut generator = Generator::connect(plan.address, plan.connections, &plan.parts, plan.too_much)?;
    let warm = generator.send_in_turn(plan.warmup)?;
    say(&Warm { requests: warm.requests() })?;

    let mut go = String::new();
    io::stdin().lock().read_line(&mut go)?;
    ensure!(!go.is_empty(), "the benchmark is gone");

    let cpu_before = proc::cpu(process::id())?;
    let began = Instant::now();
    let answers = match plan.rate {
        Some(rate) => generator.send_at(rate, plan.measured)?,
        None => generator.send_in_turn(plan.measured)?,
    };
    let seconds = began.elapsed().as_secs_f64();
    let cpu = proc::cpu(process::id())? - cpu_before;
    say(&load(&answers, seconds, cpu))
}

fn load(answers: &Answers, seconds: f64, cpu: Duration) -> Load {
    let waits = answers.waits();
    let us = |nanos: u64| nanos as f64 / 1e3;
    let parts = answers.parts.iter().map(|part| PartLoad {
        requests: part.waits.len(),
        p50_us: us(part.waits.value_at_quantile(0.5)),
        p99_us: us(part.waits.value_at_quantile(0.99)),
        calm_requests: part.calm_waits.len(),
        calm_p99_us: us(part.calm_waits.value_at_quantile(0.99)),
        longest_us: part.longest.as_secs_f64() * 1e6,
        unexpected: part.unexpected,
        refused: part.refused,
        example: part.example.clone(),
    });
    Load {
        requests: waits.len(),
        seconds,
        p50_us: us(waits.value_at_quantile(0.5)),
        p99_us: us(waits.value_at_quantile(0.99)),
        p999_us: us(waits.value_at_quantile(0.999)),
        generator_cpu_us: cpu.as_secs_f64() * 1e6 / waits.len() as f64,
        parts: parts.collect(),
    }
}

fn say(line: &impl Serialize) -> Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, line)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
