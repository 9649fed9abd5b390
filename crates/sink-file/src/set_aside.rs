//! The files that were set aside: which there are, and which are deleted.

use std::{fs, io, path::PathBuf, time::Duration};

use dispatcher_core::Timestamp;
use jiff::civil::Date;

use crate::{
    log_file::modified,
    rotation::with_ending,
    step::step,
    template::{Filling, Template, date_of},
};

/// A file that nothing is written to any more.
#[derive(Debug)]
pub(crate) struct SetAside {
    pub(crate) path: PathBuf,
    pub(crate) form: Form,
    /// `None` for a file that is set aside by its date alone.
    pub(crate) number: Option<u32>,
    /// The path that it was written to under.
    pub(crate) origin: PathBuf,
    filling: Filling,
    modified: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Form {
    Plain,
    Gzip,
    /// What a crash left of a compression.
    Unfinished,
}

/// How many are kept of each app's, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) keep: u32,
    pub(crate) keep_for: Option<Duration>,
}

/// All files of the template that are set aside, newest first, app by app. `today` is the date that is written to.
pub(crate) fn list(template: &Template, today: Date) -> io::Result<Vec<SetAside>> {
    let mut all = Vec::new();
    for found in template.files()? {
        let Some((number, form)) = read_ending(&found.ending) else { continue };
        let is_aside = match (number, form, found.filling.date) {
            (None, Form::Plain, date) => date.is_some_and(|date| date < today),
            (None, Form::Gzip, date) => date.is_some(),
            _ => true,
        };
        // Not a folder or a link: we make none of those names.
        let meta = match found.file.metadata() {
            Ok(meta) if meta.is_file() => meta,
            Err(err) if err.kind() != io::ErrorKind::NotFound => return Err(err),
            _ => continue,
        };
        if is_aside {
            let path = with_ending(&found.path, &found.ending);
            let modified = modified(&meta)?;
            all.push(SetAside { path, form, number, origin: found.path, filling: found.filling, modified });
        }
    }
    all.sort_by(|a, b| {
        let (app, date) = (a.filling.app.cmp(&b.filling.app), b.filling.date.cmp(&a.filling.date));
        app.then(date).then(a.number.cmp(&b.number)).then(a.form.cmp(&b.form))
    });
    Ok(all)
}

/// Deletes what the limits do not keep, and the folders that this leaves empty.
///
/// # Errors
/// The first, after all else was deleted.
pub(crate) fn delete_old(template: &Template, limits: Limits, now: Timestamp) -> io::Result<()> {
    let today = date_of(now);
    let (mut newer, mut last) = (0, None); // How many are newer, of the same app.
    let mut result = Ok(());
    for file in list(template, today)? {
        if file.form == Form::Unfinished {
            continue;
        }
        let place = (file.filling, file.number);
        // A file that is there both compressed and not is one.
        match &last {
            Some(last) if *last == place => {}
            Some((filling, _)) if filling.app == place.0.app => newer += 1,
            _ => newer = 0,
        }
        let is_of_today = place.0.date.is_none_or(|date| date >= today);
        last = Some(place);
        if newer >= limits.keep || limits.keep_for.is_some_and(|time| now.since(file.modified) > time) {
            let removed = fs::remove_file(&file.path);
            step("rotation.deleted");
            result = result
                .and(removed.or_else(|err| if err.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(err) }));
            if !is_of_today {
                template.remove_empty_folders(&file.origin);
            }
        }
    }
    result
}

/// Only what we write: `.007`, `.+7` and `.1.bak` are somebody else's.
fn read_ending(ending: &str) -> Option<(Option<u32>, Form)> {
    let (number, form) = match ending.strip_suffix(".gz") {
        Some(number) => (number, Form::Gzip),
        None if ending == UNFINISHED => return Some((None, Form::Unfinished)),
        None => (ending, Form::Plain),
    };
    if number.is_empty() {
        return Some((None, form));
    }
    let digits = number.strip_prefix('.')?;
    let number: u32 = digits.parse().ok()?;
    (number > 0 && number.to_string() == digits).then_some((Some(number), form))
}

/// What a file is called while it is being compressed: one at a time for each path that is written to.
pub(crate) const UNFINISHED: &str = ".gz.tmp";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_ours_only_as_we_write_them() {
        for (ending, read) in [
            ("", Some((None, Form::Plain))),
            (".gz", Some((None, Form::Gzip))),
            (".gz.tmp", Some((None, Form::Unfinished))),
            (".1", Some((Some(1), Form::Plain))),
            (".4294967295.gz", Some((Some(u32::MAX), Form::Gzip))),
            (".4294967296", None),
            (".0", None),
            (".01", None),
            (".+1", None),
            ("1", None),
            (".1.bak", None),
            (".1.gz.tmp", None),
            (".gz.1", None),
            (".gz.gz", None),
        ] {
            assert_eq!(read_ending(ending), read, "on {ending:?}");
        }
    }
}
