//! The faults, by name.

use anyhow::Result;
use clap::ValueEnum;
use fastrand::Rng;

use crate::{faults, harness::Harness, outcome::Outcome};

/// Something that is done to a dispatcher under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// kill -9 at a random moment
    Kill,
    /// kill -9 at every named step, and around writes and syncs of each file
    Step,
    /// a power cut that drops what was not synced
    Power,
    /// the same with `sync = "off"`, which must lose something: the negative control
    Control,
    /// EIO and ENOSPC on the n-th write and sync of each file
    Error,
    /// flipped bits in the journal's file
    Flip,
    /// jumps of the clock by an hour, either way
    Clock,
    /// receivers that refuse, hang, are slow, close half-way, answer 429, 500 or 404; with kills
    Sink,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 8] =
        [Fault::Kill, Fault::Step, Fault::Power, Fault::Control, Fault::Error, Fault::Flip, Fault::Clock, Fault::Sink];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::Kill => "kill",
            Fault::Step => "step",
            Fault::Power => "power",
            Fault::Control => "control",
            Fault::Error => "error",
            Fault::Flip => "flip",
            Fault::Clock => "clock",
            Fault::Sink => "sink",
        }
    }

    /// How many rounds show something, when nobody says how many.
    #[must_use]
    pub fn default_rounds(self) -> u64 {
        match self {
            Fault::Kill => 200,
            Fault::Step => 120,
            Fault::Power => 100,
            Fault::Control => 10,
            Fault::Error => 120,
            Fault::Flip => 400,
            Fault::Clock => 40,
            Fault::Sink => 60,
        }
    }

    pub(crate) fn run(self, harness: &Harness, rounds: u64, rng: &mut Rng, outcome: &mut Outcome) -> Result<()> {
        match self {
            Fault::Kill => faults::kill::run(harness, rounds, rng, outcome),
            Fault::Step => faults::step::run(harness, rounds, rng, outcome),
            Fault::Power => faults::power::run(harness, rounds, rng, outcome),
            Fault::Control => faults::power::control(harness, rounds, rng, outcome),
            Fault::Error => faults::error::run(harness, rounds, rng, outcome),
            Fault::Flip => faults::flip::run(harness, rounds, rng, outcome),
            Fault::Clock => faults::clock::run(harness, rounds, rng, outcome),
            Fault::Sink => faults::sink::run(harness, rounds, rng, outcome),
        }
    }
}
