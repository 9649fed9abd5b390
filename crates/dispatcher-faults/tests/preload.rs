//! The library in a process of its own: this very test program, started once more with it preloaded.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{
    env,
    fs::{self, File},
    io::{ErrorKind, Write as _},
    os::unix::{fs::FileExt as _, process::ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::SystemTime,
};

use tempfile::TempDir;

/// Starts this program again, to run `child` as it is below.
fn child(folder: &Path, what: &str, plan: &str) -> ExitStatus {
    let library = env::current_exe().unwrap().with_file_name("libdispatcher_faults.so");
    let control = folder.join("control");
    if !control.exists() {
        File::create(&control).unwrap().set_len(4096).unwrap();
    }
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "child_side", "--ignored"])
        .env("LD_PRELOAD", library)
        .env("CHILD", what)
        .env("CHILD_FOLDER", folder.join("data"))
        .env("DISPATCHER_FAULTS_DIR", folder.join("data"))
        .env("DISPATCHER_FAULTS_LOG", folder.join("log"))
        .env("DISPATCHER_FAULTS_CONTROL", control)
        .env("DISPATCHER_FAULTS_PLAN", plan)
        .status()
        .unwrap()
}

/// What the child does; it fails where it does not meet what it should.
#[test]
#[ignore = "runs in the child, with the library preloaded"]
fn child_side() {
    let folder = PathBuf::from(env::var_os("CHILD_FOLDER").unwrap());
    let file = folder.join("file");
    match env::var("CHILD").unwrap().as_str() {
        "write" => {
            let mut open = File::options().append(true).create(true).open(&file).unwrap();
            open.write_all(b"one").unwrap();
            open.write_all_at(b"TWO", 3).unwrap();
            open.sync_data().unwrap();
            open.set_len(4).unwrap();
            fs::rename(&file, folder.join("other")).unwrap();
            File::open(&folder).unwrap().sync_all().unwrap();
            fs::remove_file(folder.join("other")).unwrap();
            fs::create_dir(folder.join("below")).unwrap();
        }
        "full" => {
            let mut open = File::create(&file).unwrap();
            open.write_all(b"1").unwrap();
            let err = open.write_all(b"1234").unwrap_err();
            assert_eq!(err.kind(), ErrorKind::StorageFull);
            assert_eq!(fs::read(&file).unwrap(), b"112", "half was written");
            open.write_all(b"3").unwrap();
            assert_eq!(open.sync_data().unwrap_err().raw_os_error(), Some(5));
            open.sync_data().unwrap();
            fs::write(folder.join("elsewhere"), "is another file").unwrap();
        }
        "die" => {
            let mut open = File::create(&file).unwrap();
            open.write_all(b"1").unwrap();
            open.write_all(b"2").unwrap();
            unreachable!("killed before");
        }
        "clock" => {
            let age = |path: &Path| SystemTime::now().duration_since(fs::metadata(path).unwrap().modified().unwrap());
            let made = folder.join("made");
            File::create(&made).unwrap();
            assert!(age(&made).unwrap().as_secs() >= 3_500, "the clock is an hour ahead");
        }
        other => panic!("{other}"),
    }
}

fn folder() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().canonicalize().unwrap();
    fs::create_dir(path.join("data")).unwrap();
    (folder, path)
}

/// Kind, file, number and bytes of each record.
fn records(path: &Path) -> Vec<(u8, u32, u64, Vec<u8>)> {
    let log = fs::read(path.join("log")).unwrap();
    let (mut rest, mut records) = (&log[..], Vec::new());
    while let Some((len, more)) = rest.split_first_chunk::<4>() {
        let (record, more) = more.split_at(u32::from_le_bytes(*len) as usize);
        let file = u32::from_le_bytes(record[1..5].try_into().unwrap());
        let number = u64::from_le_bytes(record[5..13].try_into().unwrap());
        records.push((record[0], file, number, record[13..].to_vec()));
        rest = more;
    }
    records
}

#[test]
fn every_change_is_recorded_in_order() {
    let (_folder, path) = folder();
    assert!(child(&path, "write", "").success());
    let expected: [(u8, u32, u64, &[u8]); 10] = [
        (1, 1, 1, b"file"),
        (2, 1, 0, b"one"),
        (2, 1, 3, b"TWO"),
        (4, 1, 3, b""),
        (3, 1, 4, b""),
        (6, 0, 0, b"file\0other"),
        (1, 2, 2, b""),
        (4, 2, 7, b""),
        (7, 0, 0, b"other"),
        (8, 0, 0, b"below"),
    ];
    let records = records(&path);
    let shown: Vec<_> = records.iter().map(|(kind, file, number, bytes)| (*kind, *file, *number, &bytes[..])).collect();
    assert_eq!(shown, expected);
}

#[test]
fn calls_fail_as_planned() {
    let (_folder, path) = folder();
    assert!(child(&path, "full", "short:write:file:2:1;eio:sync:file:1").success());
    let control = fs::read(path.join("control")).unwrap();
    assert_eq!(control[16..24], 3_u64.to_ne_bytes(), "half a write, the other half, a sync");
    let failed: Vec<_> = records(&path).into_iter().filter(|record| record.0 == 5).collect();
    assert_eq!(failed.len(), 1, "the failed sync is in the log");
}

#[test]
fn a_kill_comes_before_or_after_the_call() {
    for (plan, left) in [("kill-before:write:file:2", &b"1"[..]), ("kill-after:write:file:2", b"12")] {
        let (_folder, path) = folder();
        assert_eq!(child(&path, "die", plan).signal(), Some(9));
        assert_eq!(fs::read(path.join("data/file")).unwrap(), left, "{plan}");
    }
}

#[test]
fn the_clock_is_shifted() {
    let (_folder, path) = folder();
    let mut control = vec![0; 4096];
    control[..8].copy_from_slice(&3_600_i64.to_ne_bytes());
    fs::write(path.join("control"), control).unwrap();
    assert!(child(&path, "clock", "").success());
    fs::write(path.join("control"), vec![0; 4096]).unwrap();
    assert!(!child(&path, "clock", "").success(), "not shifted without being told");
}

#[test]
fn a_plan_that_makes_no_sense_ends_the_process() {
    let (_folder, path) = folder();
    assert!(!child(&path, "write", "explode:write:file:1").success());
}
