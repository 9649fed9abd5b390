//! What is to go wrong, and when.
//!
//! A plan is rules, separated by `;`. A rule is `action:call:name:n` or `action:call:name:n:count`. It is for calls on files
//! whose path ends with `name`, and counts them from 1:
//!
//! - `eio`, `enospc`: the n-th call, and as many after it as make `count` in all (default 1), fail with that error and do
//!   nothing; a count of `*` lasts until the control file ends it;
//! - `short`: the n-th call, a write, writes half and says so; `count` calls after it fail with ENOSPC;
//! - `kill-before`, `kill-after`: the process is killed just before or after the n-th call took effect.
//!
//! A call is `write` (also the setting of a length), or `sync`.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{control::Control, state::give_up};

/// What kind of call it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    Sync,
}

/// What to do with a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Carry it out.
    Pass,
    /// Carry it out, then kill.
    PassAndKill,
    /// Kill first.
    Kill,
    /// Write half.
    Half,
    /// Fail with this error.
    Fail(i32),
}

#[derive(Clone, Copy)]
enum Action {
    Fail(i32),
    Short,
    KillBefore,
    KillAfter,
}

pub(crate) struct Rule {
    action: Action,
    call: Call,
    name: Box<[u8]>,
    first: u64,
    count: u64,
    seen: AtomicU64,
}

/// Reads a plan. One that makes no sense ends the process: a test must not run without the faults that it asked for.
pub(crate) fn read(text: &[u8]) -> Vec<Rule> {
    let rules = text.split(|&byte| byte == b';').filter(|rule| !rule.is_empty());
    rules.map(|rule| read_rule(rule).unwrap_or_else(|| give_up("the plan makes no sense"))).collect()
}

fn read_rule(rule: &[u8]) -> Option<Rule> {
    let mut parts = rule.split(|&byte| byte == b':');
    let action = match parts.next()? {
        b"eio" => Action::Fail(libc::EIO),
        b"enospc" => Action::Fail(libc::ENOSPC),
        b"short" => Action::Short,
        b"kill-before" => Action::KillBefore,
        b"kill-after" => Action::KillAfter,
        _ => return None,
    };
    let call = match parts.next()? {
        b"write" => Call::Write,
        b"sync" => Call::Sync,
        _ => return None,
    };
    let name = parts.next()?.into();
    let first = number(parts.next()?)?;
    let count = match parts.next() {
        None => 1,
        Some(b"*") => u64::MAX,
        Some(count) => number(count)?,
    };
    Some(Rule { action, call, name, first, count, seen: AtomicU64::new(0) })
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// What the first rule that has something to say of this call says. All rules count it.
pub(crate) fn judge(rules: &[Rule], control: &Control, call: Call, path: &[u8]) -> Verdict {
    let mut verdict = Verdict::Pass;
    for rule in rules.iter().filter(|rule| rule.call == call && path.ends_with(&rule.name)) {
        let nth = 1 + rule.seen.fetch_add(1, Ordering::Relaxed);
        if verdict == Verdict::Pass {
            verdict = rule.verdict(nth, control);
        }
    }
    if verdict != Verdict::Pass {
        control.count_fault();
    }
    verdict
}

impl Rule {
    fn verdict(&self, nth: u64, control: &Control) -> Verdict {
        let Some(past) = nth.checked_sub(self.first) else { return Verdict::Pass };
        match self.action {
            Action::KillBefore if past == 0 => Verdict::Kill,
            Action::KillAfter if past == 0 => Verdict::PassAndKill,
            Action::KillBefore | Action::KillAfter => Verdict::Pass,
            _ if control.is_released() => Verdict::Pass,
            Action::Fail(error) if past < self.count => Verdict::Fail(error),
            Action::Short if past == 0 => Verdict::Half,
            Action::Short if past - 1 < self.count => Verdict::Fail(libc::ENOSPC),
            Action::Fail(_) | Action::Short => Verdict::Pass,
        }
    }
}
