//! Running commands of the program under test, which `program` of the test names, and reading what they say.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
    time::Instant,
};

use dispatcher_testkit::PATIENCE;
use serde_json::Value;

pub(crate) fn run(folder: &Path, args: &[&str]) -> Output {
    Command::new(crate::program()).args(args).current_dir(folder).stdin(Stdio::null()).output().unwrap()
}

/// What a command prints that succeeds.
#[track_caller]
pub(crate) fn ok(folder: &Path, args: &[&str]) -> String {
    let output = run(folder, args);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{args:?} says: {out}{err}");
    out
}

/// What a command complains of that ends with `code`.
#[track_caller]
pub(crate) fn fails(folder: &Path, args: &[&str], code: i32) -> String {
    let output = run(folder, args);
    assert_eq!(output.status.code(), Some(code), "{args:?} says: {}", text(&output.stdout));
    text(&output.stderr)
}

#[track_caller]
pub(crate) fn json_lines(folder: &Path, args: &[&str]) -> Vec<Value> {
    ok(folder, args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[track_caller]
pub(crate) fn json(folder: &Path, args: &[&str]) -> Value {
    serde_json::from_str(&ok(folder, args)).unwrap()
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Asks until the answer is there.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{what} does not come to be");
    }
}
