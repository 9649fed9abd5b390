//! The sink on a real disk, with a clock that says what the test wants.
#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant, UNIX_EPOCH},
};

use bytes::Bytes;
use dispatcher_core::{
    App, Callback, CallbackId, CallbackParts, Command, DeliverContext, Event, EventData, Sink, Timestamp,
};
use flate2::read::MultiGzDecoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{config::FileConfig, gzip::Pass, sink::FileSink, template::Template, turn::Turn};

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// 2026-01-01T00:00:00Z
const NEW_YEAR: i64 = 1_767_225_600_000;

#[tokio::test]
async fn a_file_whose_period_is_over_is_set_aside_at_the_next_event() {
    let disk = Disk::new(NEW_YEAR);
    let mut sink = disk.open("events.jsonl", json!({"rotate_every": "1h"}));
    disk.write(&mut sink, &[0]).await;
    disk.at(NEW_YEAR + HOUR - 1);
    disk.write(&mut sink, &[1]).await;
    assert_eq!(disk.names(), ["events.jsonl"]);
    disk.at(NEW_YEAR + HOUR);
    disk.write(&mut sink, &[2]).await;
    disk.write(&mut sink, &[3]).await;
    disk.at(NEW_YEAR + 5 * HOUR);
    disk.write(&mut sink, &[4]).await;
    assert_eq!(disk.names(), ["events.jsonl", "events.jsonl.1", "events.jsonl.2"]);
    assert_eq!(disk.lines("events.jsonl"), [4]);
    assert_eq!(disk.lines("events.jsonl.1"), [2, 3]);
    assert_eq!(disk.lines("events.jsonl.2"), [0, 1]);
}

#[tokio::test]
async fn after_a_restart_the_disk_tells_which_period_a_file_is_of() {
    for (last_write, now, is_set_aside) in [
        (NEW_YEAR, NEW_YEAR + DAY - 1, false),
        (NEW_YEAR - 1, NEW_YEAR, true),
        (NEW_YEAR - 30 * DAY, NEW_YEAR, true),
        (NEW_YEAR + DAY, NEW_YEAR, false),
    ] {
        let disk = Disk::new(now);
        fs::write(disk.path("events.jsonl"), "{\"sequence\":\"7\"}\n").unwrap();
        disk.touch("events.jsonl", last_write);
        let mut sink = disk.open("events.jsonl", json!({"rotate_every": "1d"}));
        assert_eq!(disk.names(), ["events.jsonl"], "nothing is set aside before there is an event");
        disk.write(&mut sink, &[8]).await;
        let lines = if is_set_aside { vec![8] } else { vec![7, 8] };
        assert_eq!(disk.lines("events.jsonl"), lines, "last written at {last_write}, now {now}");
        assert_eq!(disk.path("events.jsonl.1").exists(), is_set_aside);
    }
}

#[tokio::test]
async fn an_empty_file_is_not_set_aside_and_a_clock_that_falls_does_not_stop_rotation() {
    let disk = Disk::new(NEW_YEAR);
    let mut sink = disk.open("events.jsonl", json!({"rotate_every": "1h"}));
    disk.at(NEW_YEAR + 100 * DAY);
    disk.write(&mut sink, &[0]).await;
    assert_eq!(disk.names(), ["events.jsonl"]);
    disk.at(NEW_YEAR);
    disk.write(&mut sink, &[1]).await;
    assert_eq!(disk.names(), ["events.jsonl"]);
    disk.at(NEW_YEAR + HOUR);
    disk.write(&mut sink, &[2]).await;
    assert_eq!((disk.lines("events.jsonl"), disk.lines("events.jsonl.1")), (vec![2], vec![0, 1]));
}

#[tokio::test]
async fn what_is_too_old_is_deleted_while_the_sink_is_written_to_and_nothing_else() {
    let disk = Disk::new(NEW_YEAR);
    let foreign = ["events.jsonl.01", "events.jsonl.bak", "events.jsonl.gz", "other.jsonl.1", "xevents.jsonl.1"];
    for name in foreign.into_iter().chain(["events.jsonl", "events.jsonl.1", "events.jsonl.2", "events.jsonl.9.gz"]) {
        fs::write(disk.path(name), "x\n").unwrap();
        disk.touch(name, NEW_YEAR - 30 * DAY);
    }
    fs::create_dir(disk.path("events.jsonl.3")).unwrap();
    disk.touch("events.jsonl.1", NEW_YEAR - DAY);
    let mut sink = disk.open("events.jsonl", json!({"keep_for": "29d"}));
    disk.write(&mut sink, &[0]).await;
    let mut left = [&foreign[..], &["events.jsonl", "events.jsonl.1", "events.jsonl.3"]].concat();
    left.sort_unstable();
    assert_eq!(disk.names(), left);

    // Young enough, then too old; but looked at only every ten minutes.
    disk.touch("events.jsonl.1", NEW_YEAR - 29 * DAY);
    disk.at(NEW_YEAR + HOUR / 6 - 1);
    disk.write(&mut sink, &[1]).await;
    assert!(disk.path("events.jsonl.1").exists());
    disk.at(NEW_YEAR + HOUR / 6);
    disk.write(&mut sink, &[2]).await;
    assert!(!disk.path("events.jsonl.1").exists());
    assert_eq!(disk.names().len(), left.len() - 1);
}

#[tokio::test]
async fn apps_and_days_have_files_of_their_own() {
    let disk = Disk::new(NEW_YEAR - 1);
    let mut sink = disk.open("{app}/{date}/x-{app}.jsonl", json!({}));
    assert_eq!(disk.names(), [""; 0], "nothing is made before there is an event");
    let apps = |seq: u64| if seq.is_multiple_of(3) { "test" } else { "main" };
    disk.write_of(&mut sink, &[0, 1, 2, 3, 4], apps).await;
    disk.at(NEW_YEAR);
    disk.write_of(&mut sink, &[5, 6], apps).await;
    for (name, lines) in [
        ("main/2025-12-31/x-main.jsonl", vec![1, 2, 4]),
        ("test/2025-12-31/x-test.jsonl", vec![0, 3]),
        ("main/2026-01-01/x-main.jsonl", vec![5]),
        ("test/2026-01-01/x-test.jsonl", vec![6]),
    ] {
        assert_eq!(disk.lines(name), lines, "in {name}");
        assert_eq!(mode(&disk.path(name)), 0o600);
        assert_eq!(mode(disk.path(name).parent().unwrap()), 0o700);
    }
    assert_eq!(disk.names().len(), 4);
    // The folders may go away at any time, but the one before the braces is not made.
    fs::remove_dir_all(disk.path("main")).unwrap();
    disk.write_of(&mut sink, &[7], apps).await;
    assert_eq!(disk.lines("main/2026-01-01/x-main.jsonl"), [7]);
    fs::rename(disk.path(""), disk.path("").with_extension("away")).unwrap();
    let err = sink.deliver(&[event(8, "main")], &cx()).await.unwrap_err();
    let base = disk.path("").display().to_string();
    assert!(err.to_string().ends_with(&format!("; the folder {} has to exist", base.trim_end_matches('/'))), "{err}");
    fs::rename(disk.path("").with_extension("away"), disk.path("")).unwrap();
}

#[tokio::test]
async fn files_of_earlier_days_count_and_are_deleted_with_their_folders() {
    let disk = Disk::new(NEW_YEAR);
    let ours = [
        "2025-12-30/main.jsonl",
        "2025-12-30/main.jsonl.1.gz",
        "2025-12-31/main.jsonl",
        "2025-12-31/main.jsonl.gz", // Of the one before: they count as one.
        "2025-12-31/main.jsonl.1",
        "2025-12-31/test.jsonl",
        "2026-01-01/main.jsonl",
        "2026-01-01/main.jsonl.1",
    ];
    let foreign = ["2025-12-31/ma.in.jsonl", "2025-12-31/main.json", "2025-13-31/main.jsonl", "today/main.jsonl"];
    for name in ours.into_iter().chain(foreign) {
        fs::create_dir_all(disk.path(name).parent().unwrap()).unwrap();
        fs::write(disk.path(name), "").unwrap();
    }
    let mut sink = disk.open("{date}/{app}.jsonl", json!({"keep": 3}));
    disk.write(&mut sink, &[0]).await;
    let mut left = [&foreign[..], &ours[2..]].concat();
    left.sort_unstable();
    assert_eq!(disk.names(), left);
    assert!(!disk.path("2025-12-30").exists());

    disk.at(NEW_YEAR + DAY);
    disk.write(&mut sink, &[1]).await;
    left.retain(|name| *name != "2025-12-31/main.jsonl.1");
    left.push("2026-01-02/main.jsonl");
    left.sort_unstable();
    assert_eq!(disk.names(), left, "a new day is reason enough to look");
}

#[tokio::test]
async fn compressed_files_move_up_with_the_others_and_count() {
    let disk = Disk::new(NEW_YEAR);
    let mut sink = disk.open("events.jsonl", json!({"rotate_size": "1B", "keep": 3}));
    disk.write(&mut sink, &[0, 1]).await;
    fs::set_permissions(disk.path("events.jsonl.1"), fs::Permissions::from_mode(0o640)).unwrap();
    disk.touch("events.jsonl.1", NEW_YEAR - DAY);
    disk.compress("events.jsonl");
    assert_eq!(disk.names(), ["events.jsonl", "events.jsonl.1.gz"]);
    assert_eq!(disk.lines("events.jsonl.1.gz"), [0]);
    assert_eq!(mode(&disk.path("events.jsonl.1.gz")), 0o640);
    let modified = fs::metadata(disk.path("events.jsonl.1.gz")).unwrap().modified().unwrap();
    assert_eq!(modified, UNIX_EPOCH + Duration::from_millis((NEW_YEAR - DAY) as u64));

    disk.write(&mut sink, &[2]).await;
    assert_eq!((disk.lines("events.jsonl.1"), disk.lines("events.jsonl.2.gz")), (vec![1], vec![0]));
    disk.write(&mut sink, &[3]).await;
    assert_eq!(disk.lines("events.jsonl.3.gz"), [0]);
    disk.write(&mut sink, &[4]).await;
    assert_eq!(disk.names(), ["events.jsonl", "events.jsonl.1", "events.jsonl.2", "events.jsonl.3"]);
    assert_eq!(disk.lines("events.jsonl.3"), [1]);
}

#[tokio::test]
async fn only_days_that_are_over_are_compressed() {
    let disk = Disk::new(NEW_YEAR - 1);
    let mut sink = disk.open("{date}/{app}.jsonl", json!({}));
    disk.write(&mut sink, &[0]).await;
    disk.compress("{date}/{app}.jsonl");
    assert_eq!(disk.names(), ["2025-12-31/main.jsonl"]);
    disk.at(NEW_YEAR);
    disk.write(&mut sink, &[1]).await;
    disk.compress("{date}/{app}.jsonl");
    assert_eq!(disk.names(), ["2025-12-31/main.jsonl.gz", "2026-01-01/main.jsonl"]);

    // The clock falls back, and the day that was over goes on.
    disk.at(NEW_YEAR - 1);
    disk.write(&mut sink, &[2]).await;
    disk.at(NEW_YEAR);
    disk.write(&mut sink, &[3]).await;
    disk.compress("{date}/{app}.jsonl");
    assert_eq!(disk.names(), ["2025-12-31/main.jsonl.1.gz", "2025-12-31/main.jsonl.gz", "2026-01-01/main.jsonl"]);
    assert_eq!(disk.lines("2025-12-31/main.jsonl.gz"), [0]);
    assert_eq!(disk.lines("2025-12-31/main.jsonl.1.gz"), [2]);
}

#[tokio::test]
async fn no_line_is_lost_or_doubled_while_files_are_renamed_and_compressed_at_once() {
    let disk = Disk::new(NEW_YEAR);
    let mut sink = disk.open("events.jsonl", json!({"rotate_size": "20KiB", "keep": 10_000}));
    let (done, path, turn) = (Arc::new(AtomicBool::new(false)), disk.text("events.jsonl"), disk.turn("events.jsonl"));
    let compression = std::thread::spawn({
        let done = Arc::clone(&done);
        move || {
            let mut pass = Pass::new(Template::parse(&path).unwrap(), turn);
            let mut passes = 0;
            while !done.load(Ordering::Relaxed) {
                pass.run(Timestamp::from_millis(NEW_YEAR));
                passes += 1;
            }
            passes
        }
    });
    let mut seqs: Vec<u64> = (0..4_000).collect();
    for batch in seqs.chunks(7) {
        disk.write(&mut sink, batch).await;
    }
    done.store(true, Ordering::Relaxed);
    assert!(compression.join().unwrap() > 0);
    disk.compress("events.jsonl");
    let names = disk.names();
    assert!(names.len() > 20 && names[1..].iter().all(|name| name.ends_with(".gz")), "{names:?}");
    let mut found: Vec<u64> = names.iter().flat_map(|name| disk.lines(name)).collect();
    found.sort_unstable();
    seqs.sort_unstable();
    assert_eq!(found, seqs);
}

/// A folder, and a clock.
pub(crate) struct Disk {
    dir: TempDir,
    now: Arc<AtomicI64>,
}

impl Disk {
    pub(crate) fn new(now: i64) -> Disk {
        let disk = Disk { dir: TempDir::new().unwrap(), now: Arc::new(AtomicI64::new(now)) };
        fs::create_dir(disk.path("")).unwrap();
        disk
    }

    fn at(&self, now: i64) {
        self.now.store(now, Ordering::Relaxed);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("data").join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub(crate) fn turn(&self, path: &str) -> Arc<Turn> {
        Turn::of(&self.text(path))
    }

    pub(crate) fn open(&self, path: &str, mut settings: Value) -> FileSink {
        settings["path"] = self.text(path).into();
        let config: FileConfig = serde_json::from_value(settings).unwrap();
        let now = Arc::clone(&self.now);
        FileSink::open(&config, Arc::new(move || Timestamp::from_millis(now.load(Ordering::Relaxed)))).unwrap()
    }

    pub(crate) async fn write(&self, sink: &mut FileSink, seqs: &[u64]) {
        self.write_of(sink, seqs, |_| "main").await;
    }

    async fn write_of(&self, sink: &mut FileSink, seqs: &[u64], app: impl Fn(u64) -> &'static str) {
        let batch: Vec<Event> = seqs.iter().map(|&seq| event(seq, app(seq))).collect();
        sink.deliver(&batch, &cx()).await.unwrap();
    }

    /// What the thread does when it is woken.
    pub(crate) fn compress(&self, path: &str) {
        let now = Timestamp::from_millis(self.now.load(Ordering::Relaxed));
        Pass::new(Template::parse(&self.text(path)).unwrap(), self.turn(path)).run(now);
    }

    fn touch(&self, name: &str, millis: i64) {
        let time = UNIX_EPOCH + Duration::from_millis(millis as u64);
        File::options().write(true).open(self.path(name)).unwrap().set_modified(time).unwrap();
    }

    /// All files and empty folders, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        fn collect(folder: &Path, prefix: &str, names: &mut Vec<String>) {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
                let before = names.len();
                if entry.path().is_dir() {
                    collect(&entry.path(), &format!("{name}/"), names);
                }
                if names.len() == before {
                    names.push(name);
                }
            }
        }
        let mut names = Vec::new();
        collect(&self.path(""), "", &mut names);
        names.sort_unstable();
        names
    }

    /// The sequences of a file's lines, compressed or not.
    pub(crate) fn lines(&self, name: &str) -> Vec<u64> {
        let mut text = String::new();
        let mut file = File::open(self.path(name)).unwrap();
        if name.ends_with(".gz") {
            MultiGzDecoder::new(file).read_to_string(&mut text).unwrap();
        } else {
            file.read_to_string(&mut text).unwrap();
        }
        // The event with the number 0 has none: it is of no journal.
        let sequence = |line| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["sequence"].as_str().map_or(0, |sequence| sequence.parse().unwrap())
        };
        text.lines().map(sequence).collect()
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn cx() -> DeliverContext {
    DeliverContext { deadline: Instant::now() + Duration::from_secs(60), attempt: 1 }
}

pub(crate) fn event(seq: u64, app: &str) -> Event {
    Event {
        seq,
        handler: "everything".into(),
        n: 0,
        event_type: "tencent-chat.callback.Group.CallbackAfterGroupFull".into(),
        key: Some("@TGS#1".into()),
        time: Timestamp::from_millis(NEW_YEAR),
        data: EventData::Callback,
        callback: Arc::new(Callback::new(CallbackParts {
            id: CallbackId::from_bytes([7; 16]),
            app: App::new(1_400_000_001, app),
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
