//! What the operating system has counted of a process: `/proc/<pid>`.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tokio::time::sleep;

/// Linux shows times to programs in this unit on every architecture (`USER_HZ`), whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);

/// CPU taken so far by all threads of `pid`, user and kernel.
pub(crate) fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| path.clone())?;
    ticks(&stat).map(|ticks| TICK * ticks).with_context(|| format!("{path}: not understood: {stat:?}"))
}

/// How long a process takes no CPU before it counts as having nothing left to do, and how long that is waited for.
const QUIET: Duration = Duration::from_millis(200);
const QUIET_WITHIN: Duration = Duration::from_secs(60);

/// Waits until `pid` has done what it was asked for and takes no more CPU, but for less than a tick.
pub(crate) async fn settled(pid: u32) -> Result<()> {
    let began = Instant::now();
    let mut before = cpu(pid)?;
    loop {
        sleep(QUIET).await;
        let now = cpu(pid)?;
        if now <= before {
            return Ok(());
        }
        ensure!(began.elapsed() < QUIET_WITHIN, "the server is still at work after {QUIET_WITHIN:?} without a request");
        before = now;
    }
}

/// CPU taken so far by everything on this machine, and by whatever else its host runs on these cores.
pub(crate) fn all_cpu() -> Result<Duration> {
    of_all_cores(busy_ticks)
}

/// What the host of this machine has taken of its cores so far.
pub(crate) fn stolen() -> Result<Duration> {
    of_all_cores(stolen_ticks)
}

fn of_all_cores(ticks: fn(&str) -> Option<u64>) -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
    ticks(&stat).map(|ticks| Duration::from_millis(10 * ticks)).context("/proc/stat: not understood")
}

fn stolen_ticks(stat: &str) -> Option<u64> {
    stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().nth(7)?.parse().ok()
}

/// The first line: user, nice, system, idle, iowait, irq, softirq, steal, and parts of user and nice once more.
fn busy_ticks(stat: &str) -> Option<u64> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_ascii_whitespace().take(8);
    let busy = fields.enumerate().filter(|(idx, _)| *idx != 3 && *idx != 4);
    busy.map(|(_, ticks)| ticks.parse::<u64>().ok()).sum()
}

/// `utime` and `stime`, fields 14 and 15. The name in field 2 may hold blanks and brackets: fields count from its end.
fn ticks(stat: &str) -> Option<u32> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let utime: u32 = fields.next()?.parse().ok()?;
    let stime: u32 = fields.next()?.parse().ok()?;
    Some(utime + stime)
}

/// Memory of `pid` that is resident now, in MiB.
pub(crate) fn rss_mib(pid: u32) -> Result<f64> {
    status_mib(pid, "VmRSS:")
}

/// The most memory of `pid` that ever was resident, in MiB.
pub(crate) fn peak_rss_mib(pid: u32) -> Result<f64> {
    status_mib(pid, "VmHWM:")
}

fn status_mib(pid: u32, name: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kib.map(|kib| kib / 1024.0).with_context(|| format!("{path}: no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 100 0 0 0 123 45 0 0 20 0 3 0 99 1 1";
        assert_eq!(ticks(stat), Some(168));
    }

    #[test]
    fn a_core_that_waits_is_not_busy() {
        let stat = "cpu  100 20 3 9999 8888 400 5000 60000 7 7\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(busy_ticks(stat), Some(65_523));
        assert_eq!(busy_ticks("intr 1 2 3"), None);
        assert_eq!(stolen_ticks(stat), Some(60_000));
    }
}
