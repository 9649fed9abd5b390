//! Sets a file aside as `<path>.1`.
//!
//! Numbers, newest first, as logrotate does by default: it is what log shippers and people expect, and needs no clock.
//! Shippers tell files apart by inode or by their first bytes, and follow a rename.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use dispatcher_core::Timestamp;

use crate::{log_file::sync_folder, step::step, turn::UnderWay};

/// Renames `path` to `<path>.1`, after `.1` to `.2` and so on, compressed or not.
///
/// Renames go from the oldest to the newest and each is atomic: a crash in between leaves a gap in the numbers, which the
/// next rotation fills, and loses no file.
pub(crate) fn set_aside(path: &Path, under_way: &mut UnderWay) -> io::Result<()> {
    // Files beyond the first gap need not move.
    let is_free = |n: &u32| !exists(&numbered(path, *n)) && !exists(&compressed(&numbered(path, *n)));
    let free = (1..u32::MAX).find(is_free).unwrap_or(u32::MAX);
    for n in (1..free).rev() {
        let (from, to) = (numbered(path, n), numbered(path, n + 1));
        for (from, to) in [(compressed(&from), compressed(&to)), (from, to)] {
            match rename(&from, &to, under_way) {
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                renamed => renamed?,
            }
        }
        step("rotation.moved");
    }
    rename(path, &numbered(path, 1), under_way)?;
    step("rotation.set-aside");
    sync_folder(path)?;
    step("rotation.synced");
    Ok(())
}

/// Whether `now` is in a later period than `begun`. Periods of this length are counted from 1970-01-01T00:00:00Z, so that
/// those of an hour or a day begin with it, in UTC.
pub(crate) fn is_over(period: Duration, begun: Timestamp, now: Timestamp) -> bool {
    let period = i64::try_from(period.as_millis()).unwrap_or(i64::MAX).max(1);
    now.as_millis().div_euclid(period) > begun.as_millis().div_euclid(period)
}

/// The name of `path` when it is compressed.
pub(crate) fn compressed(path: &Path) -> PathBuf {
    with_ending(path, ".gz")
}

/// `path` with this at its end.
pub(crate) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    name.into()
}

/// Whether the name is taken, by a broken link too.
pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

fn numbered(path: &Path, n: u32) -> PathBuf {
    with_ending(path, &format!(".{n}"))
}

fn rename(from: &Path, to: &Path, under_way: &mut UnderWay) -> io::Result<()> {
    fs::rename(from, to)?;
    under_way.renamed(from, to);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_begin_with_the_hour_and_the_day_in_utc() {
        const HOUR: i64 = 3_600_000;
        for (period, begun, now, over) in [
            (1, 0, HOUR - 1, false),
            (1, HOUR - 1, HOUR, true),
            (1, HOUR, HOUR - 1, false), // The clock fell.
            (24, 23 * HOUR, 24 * HOUR - 1, false),
            (24, 24 * HOUR - 1, 24 * HOUR, true),
            (24, 0, 240 * HOUR, true),
        ] {
            let (begun, now) = (Timestamp::from_millis(begun), Timestamp::from_millis(now));
            assert_eq!(is_over(Duration::from_secs(period * 3600), begun, now), over, "from {begun} to {now}");
        }
        assert!(!is_over(Duration::ZERO, Timestamp::from_millis(0), Timestamp::from_millis(0)));
    }
}
