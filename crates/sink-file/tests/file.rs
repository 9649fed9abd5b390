//! The file sink as the dispatcher sees it: found in the registry, opened with settings, fed with batches.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use dispatcher_core::{
    App, Callback, CallbackId, CallbackParts, CheckContext, Command, DeliverContext, DeliveryError, Event, EventData,
    OpenContext, OpenError, Outcome, Registry, Sink, SinkSettings, Timestamp,
};
use serde_json::{Value, json};
use sink_file as _;
use tempfile::TempDir;

#[tokio::test]
async fn appends_a_line_per_event_and_goes_on_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("events.jsonl");
    for round in 0..3 {
        let mut sink = open(&path, json!({})).await.unwrap();
        deliver(&mut *sink, 2 * round..2 * round + 2).await.unwrap();
        sink.close().await.unwrap();
    }
    assert_eq!(sequences(&path), [0, 1, 2, 3, 4, 5]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let first: Value = serde_json::from_str(fs::read_to_string(&path).unwrap().lines().next().unwrap()).unwrap();
    assert_eq!(first["data"], json!({"n": 0}));
}

#[tokio::test]
async fn a_file_that_is_there_keeps_its_mode_and_its_lines() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("events.jsonl");
    fs::write(&path, "{\"sequence\":\"7\"}\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let mut sink = open(&path, json!({})).await.unwrap();
    deliver(&mut *sink, 8..9).await.unwrap();
    assert_eq!(sequences(&path), [7, 8]);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
}

#[tokio::test]
async fn begins_on_a_line_of_its_own_after_half_a_line() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("events.jsonl");
    for (before, torn) in [("", false), ("whole\n", false), ("whole\nhal", true), ("h", true)] {
        fs::write(&path, before).unwrap();
        let mut sink = open(&path, json!({})).await.unwrap();
        deliver(&mut *sink, 0..1).await.unwrap();
        deliver(&mut *sink, 1..2).await.unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let new = text.strip_prefix(before).unwrap();
        let new = if torn { new.strip_prefix('\n').unwrap() } else { new };
        assert_eq!(new.lines().map(sequence).collect::<Vec<_>>(), [0, 1], "after {before:?}");
        assert!(!new.starts_with('\n') && !new.contains("\n\n"), "after {before:?}: {new:?}");
    }
}

#[tokio::test]
async fn rotates_by_size_and_keeps_so_many() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("events.jsonl");
    let line = line_len();
    // One batch for all, or a batch per event: files come out the same.
    for size in [20, 1] {
        let mut sink = open(&path, json!({"rotate_size": format!("{}B", 3 * line + 1), "keep": 2})).await.unwrap();
        for start in (0..20).step_by(size) {
            deliver(&mut *sink, start..start + size as u64).await.unwrap();
        }
        assert_eq!(sequences(&path), [18, 19]);
        assert_eq!(sequences(&numbered(&path, 1)), [15, 16, 17]);
        assert_eq!(sequences(&numbered(&path, 2)), [12, 13, 14]);
        assert!(!numbered(&path, 3).exists());
        assert_eq!(fs::metadata(numbered(&path, 1)).unwrap().permissions().mode() & 0o777, 0o600);
        for n in 0..3 {
            fs::remove_file(if n == 0 { path.clone() } else { numbered(&path, n) }).unwrap();
        }
    }
}

#[tokio::test]
async fn compresses_in_the_background_what_was_set_aside_before_and_now() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("events.jsonl");
    fs::write(numbered(&path, 1), "before\n").unwrap();
    let mut sink = open(&path, json!({"rotate_size": "1B", "compress": "gzip"})).await.unwrap();
    deliver(&mut *sink, 0..2).await.unwrap();
    let gzip = |n| PathBuf::from(format!("{}.{n}.gz", path.display()));
    let given_up = Instant::now() + Duration::from_secs(60);
    while !(gzip(1).exists() && gzip(2).exists()) || numbered(&path, 1).exists() || numbered(&path, 2).exists() {
        assert!(Instant::now() < given_up, "not compressed");
        std::thread::yield_now();
    }
    assert_eq!(fs::read(gzip(1)).unwrap()[..2], [0x1f, 0x8b]);
    sink.close().await.unwrap();
}

#[tokio::test]
async fn a_line_longer_than_a_file_gets_a_file_of_its_own() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("events.jsonl");
    let mut sink = open(&path, json!({"rotate_size": "1B", "keep": 14})).await.unwrap();
    deliver(&mut *sink, 0..3).await.unwrap();
    for (file, seq) in [(path.clone(), 2), (numbered(&path, 1), 1), (numbered(&path, 2), 0)] {
        assert_eq!(sequences(&file), [seq]);
    }
}

#[tokio::test]
async fn fills_the_gap_that_a_crash_left_and_deletes_what_a_smaller_keep_leaves_over() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("events.jsonl");
    for n in [1, 2, 4, 5, 9] {
        fs::write(numbered(&path, n), format!("{n}\n")).unwrap();
    }
    for foreign in ["events.jsonl.07", "events.jsonl.gz", "other.jsonl.9", "events.jsonl.9.bak"] {
        fs::write(dir.path().join(foreign), "").unwrap();
    }
    fs::write(&path, "now\n").unwrap();
    let mut sink = open(&path, json!({"rotate_size": "5B", "keep": 5})).await.unwrap();
    deliver(&mut *sink, 0..1).await.unwrap();
    let content = |n| fs::read_to_string(numbered(&path, n)).unwrap();
    assert_eq!([content(1), content(2), content(3), content(4), content(5)], ["now\n", "1\n", "2\n", "4\n", "5\n"]);
    assert!(!numbered(&path, 9).exists());
    for foreign in ["events.jsonl.07", "events.jsonl.gz", "other.jsonl.9", "events.jsonl.9.bak"] {
        assert!(dir.path().join(foreign).exists(), "{foreign} is not ours to delete");
    }
}

#[tokio::test]
async fn begins_a_new_file_when_its_own_is_moved_away_deleted_or_replaced() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("events.jsonl");
    let aside = dir.path().join("aside");
    let mut sink = open(&path, json!({})).await.unwrap();

    deliver(&mut *sink, 0..1).await.unwrap();
    fs::rename(&path, &aside).unwrap();
    deliver(&mut *sink, 1..2).await.unwrap();
    assert_eq!((sequences(&aside), sequences(&path)), (vec![0], vec![1]));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    fs::remove_file(&path).unwrap();
    deliver(&mut *sink, 2..3).await.unwrap();
    assert_eq!(sequences(&path), [2]);

    fs::write(&aside, "{\"sequence\":\"9\"}\nhal").unwrap();
    fs::rename(&aside, &path).unwrap();
    deliver(&mut *sink, 3..4).await.unwrap();
    assert!(fs::read_to_string(&path).unwrap().starts_with("{\"sequence\":\"9\"}\nhal\n{"));
}

#[tokio::test]
async fn a_file_that_is_cut_in_place_is_counted_anew() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("events.jsonl");
    let mut sink = open(&path, json!({"rotate_size": format!("{}B", 2 * line_len())})).await.unwrap();
    deliver(&mut *sink, 0..2).await.unwrap();
    let inode = fs::metadata(&path).unwrap().ino();
    fs::File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
    deliver(&mut *sink, 2..4).await.unwrap();
    assert_eq!(sequences(&path), [2, 3]);
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
}

#[tokio::test]
async fn a_folder_that_goes_away_takes_the_sink_down_until_it_is_back() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("data");
    fs::create_dir(&folder).unwrap();
    let path = folder.join("events.jsonl");
    let mut sink = open(&path, json!({})).await.unwrap();
    deliver(&mut *sink, 0..1).await.unwrap();
    fs::rename(&folder, dir.path().join("elsewhere")).unwrap();
    let err = deliver(&mut *sink, 1..2).await.unwrap_err();
    assert_eq!(
        err.to_string(),
        format!(
            "cannot write to {}: No such file or directory (os error 2); the folder {} has to exist",
            path.display(),
            folder.display()
        )
    );
    assert!(!err.is_gone());
    fs::create_dir(&folder).unwrap();
    deliver(&mut *sink, 1..2).await.unwrap();
    assert_eq!(sequences(&path), [1]);
}

#[tokio::test]
async fn a_full_disk_takes_the_sink_down() {
    let mut sink = open(Path::new("/dev/full"), json!({})).await.unwrap();
    for _ in 0..2 {
        let err = deliver(&mut *sink, 0..1).await.unwrap_err();
        assert_eq!(
            err.to_string(),
            "cannot write to /dev/full: No space left on device (os error 28); free some space"
        );
        assert!(!err.is_gone() && err.wait().is_none());
    }
}

#[tokio::test]
async fn what_cannot_be_synced_is_never_done() {
    let mut sink = open(Path::new("/dev/null"), json!({})).await.unwrap();
    assert!(deliver(&mut *sink, 0..1).await.is_err());
}

#[tokio::test]
async fn opening_says_what_is_wrong_with_the_path() {
    let dir = TempDir::new().unwrap();
    let shown = dir.path().display();
    for (path, message) in [
        (
            dir.path().join("absent/events.jsonl"),
            format!(
                "path: cannot write to {shown}/absent/events.jsonl: No such file or directory (os error 2); \
                 the folder {shown}/absent has to exist"
            ),
        ),
        (
            dir.path().to_owned(),
            format!("path: cannot write to {shown}: Is a directory (os error 21); write the path of a file in it"),
        ),
    ] {
        assert_eq!(open(&path, json!({})).await.err().unwrap().to_string(), message);
    }
}

#[test]
fn checking_finds_what_is_wrong_and_changes_nothing() {
    let dir = TempDir::new().unwrap();
    let inside = |name: &str| dir.path().join(name).display().to_string();
    let shown = dir.path().display();
    let future = dir.path().join("future");
    for (section, findings) in [
        (json!({"path": inside("events.jsonl")}), vec![]),
        (json!({"path": inside("future/events.jsonl")}), vec![]),
        (json!({"path": "events.jsonl"}), vec![]),
        (json!({"path": ""}), vec!["path: is empty; write the path of a file".to_owned()]),
        (
            json!({"path": shown.to_string()}),
            vec![format!("path: {shown} is a folder; write the path of a file in it")],
        ),
        (
            json!({"path": inside("events/")}),
            vec![format!("path: {shown}/events/ is a folder; write the path of a file in it")],
        ),
        (
            json!({"path": inside("absent/events.jsonl"), "rotate_size": "0B", "keep": 0}),
            vec![
                format!("path: the folder {shown}/absent does not exist; create it, or choose another"),
                "rotate_size: no line fits into nothing; write a size such as \"64MiB\"".to_owned(),
                "keep: would delete each file the moment it is full; write 1 or more".to_owned(),
            ],
        ),
        (json!({"path": inside("{app}/{date}/{app}.jsonl"), "compress": "gzip"}), vec![]),
        (json!({"path": inside("future/{app}/x")}), vec![]),
        (
            json!({"path": inside("absent/{app}/x"), "rotate_every": "999ms", "keep_for": "0s"}),
            vec![
                format!("path: the folder {shown}/absent does not exist; create it, or choose another"),
                "rotate_every: is below a second; write a time such as \"1h\" or \"1d\"".to_owned(),
                "keep_for: would delete each file the moment it is set aside; write a time such as \"30d\"".to_owned(),
            ],
        ),
        (
            json!({"path": inside("{command}.jsonl")}),
            vec![
                "path: nothing is known to put in place of {command}; write {app} for the app's name, {date} for the day \
                 in UTC such as 2026-01-31, or no braces"
                    .to_owned(),
            ],
        ),
    ] {
        // Of its own: each claims its file.
        let cx = CheckContext::new(vec![future.clone()]);
        let found = settings(&section).check(&cx).err().unwrap_or_default();
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), findings, "on {section}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn two_sinks_cannot_name_one_file() {
    let dir = TempDir::new().unwrap();
    for (first, second, is_refused) in [
        ("events.jsonl", "events.jsonl", true),
        ("events.jsonl", "other.jsonl", false),
        ("{app}.jsonl", "{app}.jsonl", true),
        ("{app}.jsonl", "{date}.jsonl", true),
        ("{app}.jsonl", "audit.jsonl", true),
        ("{app}/events.jsonl", "{app}/other.jsonl", false),
        ("{app}/events.jsonl", "events.jsonl", false),
        ("events.jsonl", "events.jsonl.1", true),
        ("events.jsonl", "events.jsonl.3.gz", true),
        ("{app}.jsonl", "{app}.jsonl.gz", true),
    ] {
        let cx = CheckContext::default();
        let check = |name: &str| settings(&json!({"path": dir.path().join(name)})).check(&cx);
        check(first).unwrap();
        let message = format!(
            "path: {}/{second} is written by something else of this configuration already; choose another",
            dir.path().display()
        );
        let found = check(second).err().unwrap_or_default().iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(found, if is_refused { vec![message] } else { vec![] }, "on {first} and {second}");
    }
}

fn settings(section: &Value) -> Arc<dyn SinkSettings> {
    let plugin = Registry::collect(&[]).unwrap().sink("file").unwrap();
    plugin.decode(section).map_err(|err| err.to_string()).unwrap()
}

async fn open(path: &Path, mut section: Value) -> Result<Box<dyn Sink>, OpenError> {
    section["path"] = path.to_str().unwrap().into();
    settings(&section).open(&OpenContext::new("archive", 0)).await
}

async fn deliver(sink: &mut dyn Sink, seqs: std::ops::Range<u64>) -> Result<(), DeliveryError> {
    let batch: Vec<Event> = seqs.map(event).collect();
    let cx = DeliverContext { deadline: Instant::now() + Duration::from_secs(60), attempt: 1 };
    let outcomes = sink.deliver(&batch, &cx).await?.into_vec(batch.len());
    assert_eq!(outcomes, vec![Outcome::Done; batch.len()]);
    Ok(())
}

fn event(seq: u64) -> Event {
    Event {
        seq,
        handler: "everything".into(),
        n: 0,
        event_type: "tencent-chat.callback.Group.CallbackAfterGroupFull".into(),
        key: Some("@TGS#1".into()),
        time: Timestamp::from_millis(1_764_000_000_007),
        data: EventData::Json(format!(r#"{{"n":{}}}"#, seq % 10).into()),
        callback: Arc::new(Callback::new(CallbackParts {
            id: CallbackId::from_bytes([7; 16]),
            app: App::new(1_400_000_001, "main"),
            command: Command::new("Group.CallbackAfterGroupFull"),
            query: "SdkAppid=1400000001".into(),
            body: Bytes::from_static(b"{}"),
            received_at: Timestamp::from_millis(0),
            event_time: None,
            key: None,
            identity: None,
        })),
        replay: false,
    }
}

/// How long the line of any of these events is.
fn line_len() -> usize {
    let mut line = Vec::new();
    event(1).write_json_line(&mut line);
    line.len()
}

fn numbered(path: &Path, n: u32) -> PathBuf {
    format!("{}.{n}", path.display()).into()
}

fn sequences(path: &Path) -> Vec<u64> {
    fs::read_to_string(path).unwrap().lines().map(sequence).collect()
}

fn sequence(line: &str) -> u64 {
    let event: Value = serde_json::from_str(line).unwrap();
    // The event with the number 0 has none: it is of no journal.
    event["sequence"].as_str().map_or(0, |sequence| sequence.parse().unwrap())
}
