//! Who had the dispatcher do what: a line for each request that changes something or shows what people write, and for each
//! reload that nobody asked for.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use dispatcher_core::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tracing::{error, field::display, info, warn};

use crate::{Answer, Asker, Gone, Moment, NotReloaded, Operations, Reloaded, Request};

/// How large the file may get. Then it is set aside, in place of the one that was before it.
const LARGEST: u64 = 16 << 20;

/// How much of a request is written down: so many elements of a list, and characters of a text.
const MOST_ELEMENTS: usize = 20;
const MOST_CHARS: usize = 500;

/// The record of admin actions: the log, and a file of JSON lines. A clone is the same record.
#[derive(Clone, Default)]
pub struct Audit(Arc<Mutex<Book>>);

#[derive(Default)]
struct Book {
    path: Option<PathBuf>,
    /// Where it was before, until the reload that took it from there is written down there as well.
    left: Option<PathBuf>,
    is_failing: bool,
}

/// What has the configuration read again when nobody asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// SIGHUP.
    Signal,
    /// Something else stood in the files, or what was wrong with them is gone.
    Watch,
    /// The program that the dispatcher is a part of.
    Program,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Actor {
    /// A process of this machine.
    Socket { uid: u32, pid: i32 },
    /// Who knows a token.
    Tcp(SocketAddr),
    /// Nobody.
    Nobody(Cause),
}

/// A line of the file. Members are only ever added.
#[derive(Serialize)]
struct Line<'a> {
    time: Moment,
    #[serde(flatten)]
    actor: Actor,
    action: &'a str,
    #[serde(skip_serializing_if = "Value::is_null")]
    request: &'a Value,
    result: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    #[serde(flatten)]
    reload: Option<&'a Reload>,
}

/// What a reload did.
#[derive(Debug, Serialize)]
struct Reload {
    configuration: Configuration,
    /// What the reload reported, without what is empty.
    #[serde(skip_serializing_if = "Value::is_null")]
    changes: Value,
    /// What is wrong with the configuration.
    #[serde(skip_serializing_if = "Value::is_null")]
    findings: Value,
}

/// The file that counts, by its SHA-256.
#[derive(Debug, Serialize)]
struct Configuration {
    before: String,
    after: String,
}

impl Reload {
    /// One that has changed nothing.
    fn of(configuration: &str) -> Reload {
        let configuration = Configuration { before: configuration.to_owned(), after: configuration.to_owned() };
        Reload { configuration, changes: Value::Null, findings: Value::Null }
    }

    fn changed(&mut self, reloaded: &Reloaded) {
        let (before, after) = (reloaded.configuration_before.clone(), reloaded.configuration.clone());
        self.configuration = Configuration { before, after };
        let mut changes = json!(reloaded);
        if let Some(members) = changes.as_object_mut() {
            members.retain(|name, _| !name.starts_with("configuration"));
        }
        tidy(&mut changes);
        self.changes = if changes == json!({}) { Value::Null } else { changes };
    }

    fn found(&mut self, findings: &[String]) {
        self.findings = json!(findings);
        tidy(&mut self.findings);
    }
}

impl Audit {
    /// One that is written to `path`, which is made when the first line is, for its owner alone; `None`: to the log only.
    #[must_use]
    pub fn new(path: Option<PathBuf>) -> Audit {
        let audit = Audit::default();
        audit.replace(path);
        audit
    }

    /// From now on it is written there. A reload that does this is told of in both places.
    pub fn replace(&self, path: Option<PathBuf>) {
        let mut book = self.book();
        if book.path != path {
            book.left = std::mem::replace(&mut book.path, path);
        }
    }

    /// Writes down that the configuration was read again, and what came of it, where nobody asked for that: whoever asked is
    /// written down anyway. `configuration` is the SHA-256 of the file that counts now.
    pub fn reload(&self, cause: Cause, configuration: &str, outcome: Result<&Reloaded, &NotReloaded>) {
        let mut reload = Reload::of(configuration);
        let (result, n, why) = match outcome {
            Ok(reloaded) => {
                reload.changed(reloaded);
                ("done", Some(1), None)
            }
            Err(NotReloaded::Invalid(findings)) => {
                reload.found(findings);
                ("failed", None, Some(shortened(NotReloaded::INVALID)))
            }
            Err(NotReloaded::Failed(why)) => ("failed", None, Some(shortened(why))),
        };
        self.write(&Line {
            time: Timestamp::now().into(),
            actor: Actor::Nobody(cause),
            action: "reload",
            request: &Value::Null,
            result,
            n,
            why: why.as_deref(),
            reload: Some(&reload),
        });
    }

    /// Does what is asked, and writes down that it was, before the asker hears that it is done.
    pub(crate) fn answer(
        &self,
        actor: Actor,
        operations: &Operations,
        request: &Request,
        asker: &mut dyn Asker,
    ) -> Result<(), Gone> {
        match recorded(request) {
            None => operations.answer(request, asker),
            Some((action, request_as_told)) => {
                let reload = matches!(request, Request::Reload).then(|| Reload::of(&operations.newest().configuration));
                let mut watched = Watched { audit: self, actor, action, request_as_told, reload, asker: Some(asker) };
                operations.answer(request, &mut watched)
            }
        }
    }

    /// Writes down that somebody tried wrong tokens: so many since this was last said, the last of them `actor`.
    pub(crate) fn wrong_tokens(&self, actor: Actor, n: u64) {
        warn!(%actor, n, "a token that is not right came to [admin] listen");
        let line = Line {
            time: Timestamp::now().into(),
            actor,
            action: "authenticate",
            request: &Value::Null,
            result: "refused",
            n: Some(n),
            why: Some("no token, or a wrong one"),
            reload: None,
        };
        self.write(&line);
    }

    fn write(&self, line: &Line<'_>) {
        let mut book = self.book();
        if let Some(left) = line.reload.and_then(|_| book.left.take())
            && let Err(err) = append(&left, line)
        {
            warn!(path = %left.display(), %err, "the audit log that is left behind cannot be told so");
        }
        let Some(path) = book.path.clone() else { return };
        match append(&path, line) {
            Ok(()) if !book.is_failing => {}
            Ok(()) => {
                book.is_failing = false;
                info!(path = %path.display(), "the audit log is written again");
            }
            // What a person needs to do on a full disk has to remain possible.
            Err(err) if !book.is_failing => {
                book.is_failing = true;
                error!(path = %path.display(), %err, "the audit log cannot be written; what is done is in this log only");
            }
            Err(_) => {}
        }
    }

    // Held for one write to the disk; nobody who answers callbacks waits for it.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opened for each line: they are few, and whoever takes the file away gets a whole one.
fn append(path: &Path, line: &Line<'_>) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    let mut file = open(path)?;
    let len = file.metadata()?.len();
    if len > 0 && len + text.len() as u64 > LARGEST {
        let mut aside = path.to_path_buf().into_os_string();
        aside.push(".1");
        fs::rename(path, aside)?;
        file = open(path)?;
    }
    file.write_all(&text)
}

fn open(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o600).open(path)
}

/// An asker, and what is to be written down once it is known what came of it.
struct Watched<'a> {
    audit: &'a Audit,
    actor: Actor,
    action: String,
    request_as_told: Value,
    /// Of a reload: what it did.
    reload: Option<Reload>,
    /// `None` once that is written.
    asker: Option<&'a mut dyn Asker>,
}

impl Asker for Watched<'_> {
    fn tell(&mut self, answer: Answer) -> Result<(), Gone> {
        let Some(asker) = self.asker.take() else { return Err(Gone) };
        match (&answer, &mut self.reload) {
            (Answer::Reloaded(reloaded), Some(reload)) => reload.changed(reloaded),
            (Answer::Invalid(findings), Some(reload)) => reload.found(findings),
            _ => {}
        }
        match &answer {
            Answer::Done(done) => self.record("done", Some(done.n), None),
            Answer::Failed(why) => self.record("failed", None, Some(why)),
            _ => {
                let told = asker.tell(answer);
                self.asker = Some(asker);
                return told;
            }
        }
        asker.tell(answer)
    }

    fn wait(&mut self, span: Duration) -> Result<(), Gone> {
        self.asker.as_mut().map_or(Err(Gone), |asker| asker.wait(span))
    }
}

impl Watched<'_> {
    fn record(&self, result: &str, n: Option<u64>, why: Option<&str>) {
        let (actor, action, request) = (self.actor, self.action.as_str(), &self.request_as_told);
        let why = why.map(shortened);
        let shown = (!request.is_null()).then(|| display(request));
        info!(%actor, action, request = shown, result, n, why, "admin");
        let time = Timestamp::now().into();
        let reload = self.reload.as_ref();
        self.audit.write(&Line { time, actor, action, request, result, n, why: why.as_deref(), reload });
    }
}

impl Drop for Watched<'_> {
    /// Whoever asked left before the end, or the dispatcher stops.
    fn drop(&mut self) {
        if self.asker.take().is_some() {
            self.record("cut", None, None);
        }
    }
}

/// The name of a request and what may be told of it, if it is one that is written down.
fn recorded(request: &Request) -> Option<(String, Value)> {
    match request {
        // A text that is searched for says as much as one that is shown.
        Request::Callbacks(search) | Request::Events(search) if !search.contents && search.text.is_none() => {
            return None;
        }
        Request::Show { contents, .. } | Request::DeadLetters { contents, .. } if !contents => return None,
        Request::Status | Request::DryRun { .. } | Request::Replays | Request::WatchReplay { .. } | Request::Check => {
            return None;
        }
        Request::Callbacks(_)
        | Request::Events(_)
        | Request::Show { .. }
        | Request::DeadLetters { .. }
        | Request::Discard(_)
        | Request::ReplayDead { .. }
        | Request::Replay { .. }
        | Request::CancelReplay { .. }
        | Request::Pause { .. }
        | Request::Resume { .. }
        | Request::Shadow { .. }
        | Request::RenameConsumer { .. }
        | Request::DropConsumer { .. }
        | Request::Reload
        | Request::LogLevel { .. }
        | Request::Backup { .. }
        | Request::Compact => {}
    }
    match serde_json::to_value(request).ok()? {
        Value::String(name) => Some((name, Value::Null)),
        Value::Object(tagged) => {
            let (name, mut members) = tagged.into_iter().next()?;
            if let Some(text) = members.get_mut("text").filter(|text| text.is_string()) {
                *text = json!("(not written down)");
            }
            tidy(&mut members);
            Some((name, members))
        }
        _ => None,
    }
}

/// Leaves out what says nothing, and cuts what is long.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| {
                tidy(member);
                !matches!(member, Value::Null | Value::Bool(false)) && *member != json!([]) && *member != json!({})
            });
        }
        Value::Array(elements) => {
            let more = elements.len().saturating_sub(MOST_ELEMENTS);
            elements.truncate(MOST_ELEMENTS);
            elements.iter_mut().for_each(tidy);
            if more > 0 {
                elements.push(json!(format!("and {more} more")));
            }
        }
        Value::String(text) => *text = shortened(text),
        _ => {}
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Actor::Socket { uid, pid } => write!(f, "user {uid}, process {pid}"),
            Actor::Tcp(peer) => peer.fmt(f),
            Actor::Nobody(cause) => cause.fmt(f),
        }
    }
}

impl Cause {
    /// Its name in the file.
    fn name(self) -> &'static str {
        match self {
            Cause::Signal => "signal",
            Cause::Watch => "watch",
            Cause::Program => "program",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cause::Signal => "SIGHUP",
            Cause::Watch => "the files changed",
            Cause::Program => "the program",
        })
    }
}

impl Serialize for Actor {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Actor::Socket { uid, pid } => json!({ "via": "socket", "uid": uid, "pid": pid }),
            Actor::Tcp(peer) => json!({ "via": "tcp", "peer": peer }),
            Actor::Nobody(cause) => json!({ "via": cause.name() }),
        }
        .serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{DeadSelection, Search};

    #[test]
    fn what_changes_or_shows_is_written_down_without_what_people_wrote() {
        let search = Search { text: Some("pier four".to_owned()), limit: 5, ..Search::default() };
        let (action, request) = recorded(&Request::Callbacks(search)).unwrap();
        assert_eq!((action.as_str(), request), ("callbacks", json!({ "text": "(not written down)", "limit": 5 })));
        let shown = Request::Show { id: "callbacks/4".to_owned(), contents: true };
        assert_eq!(recorded(&shown).unwrap().1, json!({ "id": "callbacks/4", "contents": true }));
        assert_eq!(recorded(&Request::Reload).unwrap(), ("reload".to_owned(), Value::Null));
        for request in [
            Request::Status,
            Request::Callbacks(Search::default()),
            Request::Show { id: "callbacks/4".to_owned(), contents: false },
        ] {
            assert!(recorded(&request).is_none(), "{request:?}");
        }
    }

    #[test]
    fn a_request_of_a_megabyte_is_no_line_of_a_megabyte() {
        let ids = (0..50_000).map(|n| format!("sink:archive/{n}")).collect();
        let (_, request) = recorded(&Request::Discard(DeadSelection::Ids(ids))).unwrap();
        assert_eq!(request["ids"].as_array().unwrap().len(), MOST_ELEMENTS + 1);
        assert_eq!(request["ids"][MOST_ELEMENTS], "and 49980 more");
        let reason = Some("ü".repeat(100_000));
        let (_, request) = recorded(&Request::Pause { consumer: "sink:archive".to_owned(), reason }).unwrap();
        assert_eq!(request["reason"].as_str().unwrap().chars().count(), MOST_CHARS + 1);
    }

    #[test]
    fn a_reload_is_written_down_with_what_counts_before_and_after_also_where_the_file_was() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["first.jsonl", "second.jsonl"].map(|name| folder.path().join(name));
        let lines = |path: &Path| -> Vec<Value> {
            let text = fs::read_to_string(path).unwrap_or_default();
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
        };
        let audit = Audit::new(Some(first.clone()));
        let findings = (0..30).map(|n| format!("finding {n}")).collect();
        audit.reload(Cause::Signal, "aa", Err(&NotReloaded::Invalid(findings)));
        audit.replace(Some(second.clone()));
        audit.wrong_tokens(Actor::Nobody(Cause::Program), 1);
        let reloaded = Reloaded {
            settings: vec!["admin.audit".to_owned()],
            configuration_before: "aa".to_owned(),
            configuration: "bb".to_owned(),
            ..Reloaded::default()
        };
        for _ in 0..2 {
            audit.reload(Cause::Watch, "bb", Ok(&reloaded));
        }
        let (first, second) = (lines(&first), lines(&second));
        assert_eq!((first.len(), second.len()), (2, 3), "{first:?}, {second:?}");
        assert_eq!(first[0]["configuration"], json!({ "before": "aa", "after": "aa" }));
        assert_eq!(first[0]["findings"].as_array().unwrap().len(), MOST_ELEMENTS + 1);
        assert_eq!((&first[0]["via"], &first[0]["result"]), (&json!("signal"), &json!("failed")));
        assert_eq!(first[1], second[1]);
        assert_eq!(first[1]["configuration"], json!({ "before": "aa", "after": "bb" }));
        assert_eq!(first[1]["changes"], json!({ "settings": ["admin.audit"] }));
        assert_eq!((&first[1]["via"], &first[1]["result"]), (&json!("watch"), &json!("done")));
    }

    #[test]
    fn a_file_that_is_full_is_set_aside_and_one_that_cannot_be_written_harms_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let audit = Audit::new(Some(path.clone()));
        let actor = Actor::Socket { uid: 7, pid: 8 };
        audit.wrong_tokens(actor, 1);
        File::options().append(true).open(&path).unwrap().set_len(LARGEST).unwrap();
        audit.wrong_tokens(actor, 2);
        let line: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!((&line["uid"], &line["n"], &line["result"]), (&json!(7), &json!(2), &json!("refused")));
        assert_eq!(fs::metadata(folder.path().join("audit.jsonl.1")).unwrap().len(), LARGEST);
        audit.replace(Some(folder.path().join("nowhere/audit.jsonl")));
        audit.wrong_tokens(actor, 3);
        audit.replace(Some(path.clone()));
        audit.wrong_tokens(actor, 4);
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 2);
    }
}
