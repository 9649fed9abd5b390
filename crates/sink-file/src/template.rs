//! The path that the settings say, with `{app}` and `{date}` in it: which file it names now, and which it has named.
//!
//! A file's name is taken for one of ours only if the template, filled in again with what was read out of the name, makes
//! that very name.

use std::{
    fmt, fs, io,
    path::{Component, Path, PathBuf},
};

use dispatcher_core::Timestamp;
use jiff::{civil::Date, tz::Offset};

/// A path, read once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    base: PathBuf,
    /// Below `base`: folders, and last the file's name.
    segments: Vec<Vec<Piece>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    App,
    Date,
}

/// What a template is filled in with, as far as it asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Filling {
    pub(crate) app: Option<String>,
    pub(crate) date: Option<Date>,
}

/// A file below the base whose folders the template makes, and whose name begins as the template makes it.
pub(crate) struct Found {
    pub(crate) filling: Filling,
    /// The path that the template names.
    pub(crate) path: PathBuf,
    /// What the file's name has beyond it: nothing, or `.` and more.
    pub(crate) ending: String,
    pub(crate) file: fs::DirEntry,
}

impl Template {
    /// Reads a path. Its last part is a file's name, which the caller has seen to.
    ///
    /// # Errors
    /// What is wrong with what is in braces, and what may be written.
    pub(crate) fn parse(path: &str) -> Result<Template, String> {
        let components: Vec<Component> = Path::new(path).components().collect();
        let (mut base, mut segments) = (PathBuf::new(), Vec::new());
        for (at, component) in components.iter().enumerate() {
            // The path came as text, so nothing is lost here.
            let text = component.as_os_str().to_string_lossy();
            let pieces = pieces(&text)?;
            let is_plain = matches!(&pieces[..], [Piece::Text(_)]);
            if is_plain && segments.is_empty() && at + 1 < components.len() {
                base.push(component);
            } else if matches!(component, Component::ParentDir) {
                return Err("`..` stands after a part in braces; write the folder that is meant".to_owned());
            } else {
                segments.push(pieces);
            }
        }
        Ok(Template { base, segments })
    }

    /// The folder that has to exist: what is before the first braces, without the file's name.
    pub(crate) fn base(&self) -> &Path {
        if self.base.as_os_str().is_empty() { Path::new(".") } else { &self.base }
    }

    /// Whether each app has a file of its own.
    pub(crate) fn has_app(&self) -> bool {
        self.pieces().any(|piece| *piece == Piece::App)
    }

    /// Whether each day has a file of its own.
    pub(crate) fn has_date(&self) -> bool {
        self.pieces().any(|piece| *piece == Piece::Date)
    }

    /// Whether it names one file for ever.
    pub(crate) fn is_plain(&self) -> bool {
        self.pieces().all(|piece| matches!(piece, Piece::Text(_)))
    }

    /// The path. What the template does not ask for is ignored.
    pub(crate) fn path(&self, app: &str, date: Date) -> PathBuf {
        let mut path = self.base.clone();
        path.extend(self.segments.iter().map(|segment| fill(segment, app, date)));
        path
    }

    /// Every file that a filling of the template names, or that has such a name with a `.` and more at its end.
    ///
    /// Folders that cannot be looked into are somebody else's, and passed over.
    ///
    /// # Errors
    /// When the base, or a disk, cannot be read.
    pub(crate) fn files(&self) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        self.walk(self.base(), self.base.clone(), &self.segments, &Filling::default(), &mut found)?;
        Ok(found)
    }

    fn walk(
        &self,
        folder: &Path,
        path: PathBuf,
        segments: &[Vec<Piece>],
        filling: &Filling,
        found: &mut Vec<Found>,
    ) -> io::Result<()> {
        let Some((segment, deeper)) = segments.split_first() else { return Ok(()) };
        let entries = match fs::read_dir(folder) {
            Err(err) if folder != self.base() && is_somebody_elses(&err) => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            if !deeper.is_empty() {
                if let Some(filling) = read_back(segment, &name, filling) {
                    let path = path.join(&name);
                    self.walk(&path, path.clone(), deeper, &filling, found)?;
                }
                continue;
            }
            // Apps and dates have no dots: so only one place can be where the template ends.
            let dots = name.match_indices('.').map(|(at, _)| at);
            for end in dots.chain([name.len()]) {
                if let Some(filling) = read_back(segment, &name[..end], filling) {
                    let (path, ending) = (path.join(&name[..end]), name[end..].to_owned());
                    found.push(Found { filling, path, ending, file: entry });
                    break;
                }
            }
        }
        Ok(())
    }

    /// Removes the folders of `path` below the base, from the inside out, as far as they are empty.
    pub(crate) fn remove_empty_folders(&self, path: &Path) {
        for folder in path.ancestors().skip(1).take(self.segments.len() - 1) {
            // What is not empty cannot be removed.
            if fs::remove_dir(folder).is_err() {
                return;
            }
        }
    }

    fn pieces(&self) -> impl Iterator<Item = &Piece> {
        self.segments.iter().flatten()
    }
}

/// As it is written, but for needless slashes and dots.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut path = self.base.clone();
        let text = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::App => "{app}".to_owned(),
            Piece::Date => "{date}".to_owned(),
        };
        path.extend(self.segments.iter().map(|segment| segment.iter().map(text).collect::<String>()));
        path.display().fmt(f)
    }
}

/// The UTC date of a moment.
pub(crate) fn date_of(moment: Timestamp) -> Date {
    // Out of range only after the year 9999.
    jiff::Timestamp::from_millisecond(moment.as_millis()).map_or(Date::MAX, |time| Offset::UTC.to_datetime(time).date())
}

fn is_somebody_elses(err: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(err.kind(), NotADirectory | NotFound | PermissionDenied)
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            pieces.push(Piece::Text(rest[..open].to_owned()));
        }
        let Some(close) = rest[open..].find('}').map(|len| open + len) else {
            return Err(format!("`{}` lacks its closing brace; {WHAT_MAY_BE_WRITTEN}", &rest[open..]));
        };
        pieces.push(match &rest[open + 1..close] {
            "app" => Piece::App,
            "date" => Piece::Date,
            other => return Err(format!("nothing is known to put in place of {{{other}}}; {WHAT_MAY_BE_WRITTEN}")),
        });
        rest = &rest[close + 1..];
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

const WHAT_MAY_BE_WRITTEN: &str =
    "write {app} for the app's name, {date} for the day in UTC such as 2026-01-31, or no braces";

fn fill(segment: &[Piece], app: &str, date: Date) -> String {
    let mut name = String::new();
    for piece in segment {
        match piece {
            Piece::Text(text) => name.push_str(text),
            Piece::App => name.push_str(app),
            Piece::Date => name.push_str(&date.to_string()),
        }
    }
    name
}

/// What `segment` has to be filled in with, beside what is known already, to make `name`.
fn read_back(segment: &[Piece], name: &str, known: &Filling) -> Option<Filling> {
    let mut filling = known.clone();
    // All else has a length that is known, so an app's name has the rest.
    let apps = segment.iter().filter(|piece| **piece == Piece::App).count();
    let fixed: usize = segment.iter().map(|piece| if let Piece::Text(text) = piece { text.len() } else { 0 }).sum();
    let dates = segment.iter().filter(|piece| **piece == Piece::Date).count() * DATE_LEN;
    let app_len = name.len().checked_sub(fixed + dates)?.checked_div(apps).unwrap_or(0);
    let mut rest = name;
    for piece in segment {
        let len = match piece {
            Piece::Text(text) => text.len(),
            Piece::App => app_len,
            Piece::Date => DATE_LEN,
        };
        let (text, after) = rest.split_at_checked(len)?;
        rest = after;
        match piece {
            Piece::Text(_) => {}
            Piece::App => filling.app = Some(filling.app.unwrap_or_else(|| text.to_owned())).filter(|app| is_app(app)),
            Piece::Date => filling.date = Some(filling.date.or_else(|| text.parse().ok())?),
        }
    }
    let app = filling.app.as_deref().unwrap_or_default();
    let is_ours = (apps == 0 || !app.is_empty()) && fill(segment, app, filling.date.unwrap_or(Date::ZERO)) == name;
    is_ours.then_some(filling)
}

const DATE_LEN: usize = "2026-01-31".len();

/// What the configuration takes for the name of an app.
fn is_app(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_in_what_it_is_asked_for() {
        let date = date_of(Timestamp::from_millis(1_764_000_000_007));
        for (text, path, base) in [
            ("events.jsonl", "events.jsonl", "."),
            ("/a/b/events.jsonl", "/a/b/events.jsonl", "/a/b"),
            ("data/{app}.jsonl", "data/main.jsonl", "data"),
            ("data/{date}/x/{app}-{date}.jsonl", "data/2025-11-24/x/main-2025-11-24.jsonl", "data"),
            ("{app}{app}", "mainmain", "."),
        ] {
            let template = Template::parse(text).unwrap();
            assert_eq!(template.path("main", date), Path::new(path), "on {text}");
            assert_eq!(template.base(), Path::new(base), "on {text}");
        }
    }

    #[test]
    fn says_what_may_stand_in_braces() {
        for (text, message) in [
            ("data/{day}.jsonl", "nothing is known to put in place of {day}; "),
            ("data/{}.jsonl", "nothing is known to put in place of {}; "),
            ("data/{app", "`{app` lacks its closing brace; "),
        ] {
            assert_eq!(Template::parse(text), Err(format!("{message}{WHAT_MAY_BE_WRITTEN}")), "on {text}");
        }
        assert!(Template::parse("data/{app}/../x").unwrap_err().starts_with("`..` stands after"));
    }

    #[test]
    fn reads_back_exactly_the_names_that_it_makes() {
        for (segment, name, read) in [
            ("x.jsonl", "x.jsonl", Some((None, None))),
            ("x.jsonl", "y.jsonl", None),
            ("{app}", "main", Some((Some("main"), None))),
            ("{app}", "", None),
            ("{app}", "ma.in", None),
            ("{app}", "mäin", None),
            ("{app}{app}", "mainmain", Some((Some("main"), None))),
            ("{app}{app}", "mainnaim", None),
            ("{app}{app}", "mai", None),
            ("{date}.jsonl", "2026-01-31.jsonl", Some((None, Some("2026-01-31")))),
            ("{date}.jsonl", "2026-02-31.jsonl", None),
            ("{date}.jsonl", "20260131xx.jsonl", None),
            ("{app}-{date}", "a-2026-01-30-2026-01-31", Some((Some("a-2026-01-30"), Some("2026-01-31")))),
            ("{date}{date}", "2026-01-312026-01-30", None),
            ("é{date}", "xx2026-01-31", None),
            ("x{date}", "é2026-01-31", None),
        ] {
            let filling = read_back(&pieces(segment).unwrap(), name, &Filling::default());
            let filling = filling.map(|filling| (filling.app, filling.date.map(|date| date.to_string())));
            let read =
                read.map(|(app, date): (Option<&str>, Option<&str>)| (app.map(str::to_owned), date.map(str::to_owned)));
            assert_eq!(filling, read, "on {segment} and {name}");
        }
        let known = Filling { app: Some("main".to_owned()), date: None };
        assert_eq!(read_back(&[Piece::App], "main", &known), Some(known.clone()));
        assert_eq!(read_back(&[Piece::App], "test", &known), None, "folder and file are of one app");
    }

    #[test]
    fn dates_end_at_midnight_utc() {
        for (millis, date) in [
            (0, "1970-01-01"),
            (1_767_225_599_999, "2025-12-31"),
            (1_767_225_600_000, "2026-01-01"),
            (i64::MAX, "9999-12-31"),
        ] {
            assert_eq!(date_of(Timestamp::from_millis(millis)).to_string(), date);
        }
    }
}
