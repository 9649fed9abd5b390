//! How many files this process may have open; a connection is one.

use std::fs;

use rustix::process::{Resource, Rlimit, setrlimit};
use tracing::warn;

/// Left to the journal, the plugins' files and connections, and the control socket.
const RESERVE: usize = 256;

/// Lets this process have as many files open as the system allows, which is often far more than the 1024 that it begins
/// with. For the start of a program; where it does not work, that is in the log, and the intake makes do with what there is.
pub fn raise_file_limit() {
    let Some(Limit { soft: Some(soft), hard: Some(hard) }) = Limit::read() else { return };
    if soft < hard {
        let limit = Rlimit { current: Some(hard as u64), maximum: Some(hard as u64) };
        if let Err(err) = setrlimit(Resource::Nofile, limit) {
            warn!(%err, soft, hard, "the limit of open files cannot be raised");
        }
    }
}

/// How many connections fit.
pub(crate) fn room() -> usize {
    Limit::read().and_then(|limit| limit.soft).map_or(usize::MAX, less_reserve)
}

/// The limits of open files; `None` where there is none.
#[derive(Debug, PartialEq, Eq)]
struct Limit {
    soft: Option<usize>,
    hard: Option<usize>,
}

impl Limit {
    /// Not with getrlimit, which a filter of system calls may deny, and which cannot say so.
    fn read() -> Option<Limit> {
        Limit::parse(&fs::read_to_string("/proc/self/limits").ok()?)
    }

    fn parse(limits: &str) -> Option<Limit> {
        let mut of_files = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace();
        let mut next = || of_files.next().and_then(|limit| limit.parse().ok());
        Some(Limit { soft: next(), hard: next() })
    }
}

/// Where little is allowed, connections have half of it.
fn less_reserve(limit: usize) -> usize {
    (limit - RESERVE.min(limit / 2)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_understood() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max resident set          unlimited            unlimited            bytes     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(Limit::parse(limits), Some(Limit { soft: Some(1024), hard: Some(524_288) }));
        let unlimited = limits.replace("524288", "unlimited");
        assert_eq!(Limit::parse(&unlimited), Some(Limit { soft: Some(1024), hard: None }));
        assert_eq!(Limit::parse("Max resident set 1 2"), None);
        assert!(Limit::read().is_some());
        assert_eq!([1024, 300, 1, 0].map(less_reserve), [768, 150, 1, 1]);
    }
}
