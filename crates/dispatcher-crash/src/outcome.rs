//! What came of the rounds of one fault.

use std::{fmt, path::PathBuf};

use serde_json::{Value, json};

use crate::check::Findings;

/// How many findings are shown of each fault.
const SHOWN: usize = 12;

/// What came of the rounds of one fault.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The fault.
    pub fault: String,
    /// How many rounds there were.
    pub rounds: u64,
    /// How many of them met what they were to meet: were killed at their step, had their call fail.
    pub reached: u64,
    /// Callbacks that were sent, repeats not counted.
    pub sent: u64,
    /// Those that were acknowledged.
    pub acknowledged: u64,
    /// First deliveries, to all receivers together.
    pub delivered: u64,
    /// Deliveries of what had been delivered.
    pub again: u64,
    /// Dead letters.
    pub dead: u64,
    /// Lines in the file sink's files that are no events: halves, left by a crash.
    pub torn_lines: u64,
    /// What is wrong.
    pub findings: Findings,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    /// Of how many findings the folder was kept.
    pub(crate) findings_kept: usize,
    /// Folders of trials in which something was wrong, kept to be looked at.
    pub kept: Vec<PathBuf>,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Outcome {
    /// Whether everything was as it has to be.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.findings.is_clean()
    }

    /// Everything, as JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Findings { lost, reordered, invented, doubled, other } = &self.findings;
        json!({
            "fault": self.fault,
            "rounds": self.rounds,
            "reached": self.reached,
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "delivered": self.delivered,
            "delivered_again": self.again,
            "dead_letters": self.dead,
            "torn_lines": self.torn_lines,
            "lost": lost,
            "reordered": reordered,
            "invented": invented,
            "doubled": doubled,
            "other": other,
            "notes": self.notes,
            "kept": self.kept,
            "seconds": self.seconds,
        })
    }
}

/// The head of the table that outcomes are rows of.
pub const HEAD: &str = "fault    rounds  reached  acknowledged  delivered   again   dead  lost  reordered  invented  doubled  \
                        other  seconds";

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings { lost, reordered, invented, doubled, other } = &self.findings;
        write!(
            f,
            "{:<8} {:>6}  {:>7}  {:>12}  {:>9}  {:>6}  {:>5}  {:>4}  {:>9}  {:>8}  {:>7}  {:>5}  {:>7.1}",
            self.fault,
            self.rounds,
            self.reached,
            self.acknowledged,
            self.delivered,
            self.again,
            self.dead,
            lost.len(),
            reordered.len(),
            invented.len(),
            doubled.len(),
            other.len(),
            self.seconds,
        )?;
        for note in &self.notes {
            write!(f, "\n         {note}")?;
        }
        for (kind, finding) in self.findings.all().take(SHOWN) {
            write!(f, "\n  {kind}: {finding}")?;
        }
        let more = self.findings.all().count().saturating_sub(SHOWN);
        if more > 0 {
            write!(f, "\n  and {more} more")?;
        }
        for folder in &self.kept {
            write!(f, "\n  kept: {}", folder.display())?;
        }
        Ok(())
    }
}
