//! What is wrong with a configuration, and where.

use std::fmt;

/// One thing that is wrong, or looks wrong: `dispatcher.toml:31: sinks.audit.rotate_sise: unknown key; did you mean …`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, as it was named.
    pub file: String,
    /// The line in it, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The key; empty for the file as a whole.
    pub key: String,
    /// What is wrong; what to write instead.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:", self.line)?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Everything that is wrong with a configuration, in the order of its lines. Shown as one finding per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Findings {
    /// What keeps the dispatcher from starting.
    pub errors: Vec<Finding>,
    /// What it would start with, but is likely not meant.
    pub warnings: Vec<Finding>,
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.errors.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for Findings {}
