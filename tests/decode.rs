//! Bodies on the command line: decoded, and held against what is documented.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

const DISPATCHER: &str = env!("CARGO_BIN_EXE_dispatcher");

fn decode(folder: &Path, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(DISPATCHER)
        .arg("decode")
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// What it prints, what it complains of, and whether it is content.
#[track_caller]
fn check(args: &[&str], input: &str, out: &str, err: &str, code: i32) {
    let folder = TempDir::new().unwrap();
    let output = decode(folder.path(), args, input);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    assert_eq!((text(&output.stdout).as_str(), text(&output.stderr).as_str()), (out, err), "{args:?}");
    assert_eq!(output.status.code(), Some(code), "{args:?}");
}

#[test]
fn every_sample_is_understood_whole() {
    let folder = TempDir::new().unwrap();
    for info in tencent_chat::commands() {
        let output = decode(folder.path(), &["--strict", "--json", "--command", info.name], info.sample);
        assert_eq!(output.status.code(), Some(0), "{}: {output:?}", info.name);
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&said["command"], &said["unknown"]), (&json!(info.name), &json!([])), "{}", info.name);
    }
}

#[test]
fn what_is_not_known_or_not_there_is_said_with_its_place() {
    let body = r#"{"CallbackCommand":"Follow.CallbackAfterFollowAdd","EventTime":"1767000000000","New":[1],"FollowList":[{"To_Account":"bo","Newer":"\u001b"}]}"#;
    let known = "{\n  \"CallbackCommand\": \"Follow.CallbackAfterFollowAdd\",\n  \"FollowList\": [\n    {\n      \"To_Account\": \
                 \"bo\",\n      \"Newer\": \"\\u001b\"\n    }\n  ],\n  \"EventTime\": 1767000000000,\n  \"New\": [\n    1\n  ]\n}\n";
    let said = "standard input: Follow.CallbackAfterFollowAdd: not known: FollowList[0].Newer, New\n\
                standard input: Follow.CallbackAfterFollowAdd: documented, and not there: ";
    let folder = TempDir::new().unwrap();
    for (args, code) in [(&[][..], 0), (&["--strict"], 1), (&["--strict", "-"], 1)] {
        let output = decode(folder.path(), args, body);
        assert_eq!(String::from_utf8(output.stdout).unwrap(), known, "{args:?}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(said), "{stderr}");
        assert_eq!(output.status.code(), Some(code), "{args:?}");
    }
}

#[test]
fn what_does_not_fit_is_said_with_its_place_and_not_its_value() {
    let misfit = r#"{"CallbackCommand":"C2C.CallbackAfterSendMsg","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":["secret"]}}]}"#;
    let place = "MsgBody[0].MsgContent.Text: expected a string, found an array\n";
    for args in [&[][..], &["--strict"]] {
        let err = format!("standard input: C2C.CallbackAfterSendMsg: the body does not fit at {place}");
        check(args, misfit, "", &err, 1);
    }
    let none = "standard input: no command is in it; name one with --command, `dispatcher commands` lists them\n";
    check(&[], r#"{"MsgID":"1"}"#, "", none, 1);
    let unknown = "standard input: the command \"Live.Created\" is not in the catalogue; `dispatcher commands` lists those that \
                   are\n";
    check(&[], r#"{"CallbackCommand":"Live.Created"}"#, "", unknown, 1);
    check(&[], " ", "", "standard input: there is no JSON in it\n", 1);
    check(&["nowhere.json"], "", "", "nowhere.json: cannot read it: No such file or directory (os error 2)\n", 1);
}

#[test]
fn files_hold_many_bodies_and_lists_of_callbacks() {
    let folder = TempDir::new().unwrap();
    let listed = json!({ "seq": 4, "command": "ContentCallback.ResultNotify", "body": { "MsgID": "1" } });
    let push = json!({ "Events": [{ "CallbackCommand": "Push.OfflinePush", "EventTime": 7 }] });
    fs::write(folder.path().join("one.jsonl"), format!("{listed}\n{push}\n{{\"CallbackCommand\":7}}\n{{")).unwrap();
    fs::write(folder.path().join("two.json"), r#"{"CallbackCommand":"Push.OfflinePush"}"#).unwrap();
    let args = ["--json", "--strict", "one.jsonl", "two.json", "--command", "Push.OfflinePush"];
    let output = decode(folder.path(), &args, "");
    let lines: Vec<Value> =
        output.stdout.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let places: Vec<_> =
        lines.iter().map(|line| (line["file"].as_str().unwrap(), line["nth"].as_u64().unwrap())).collect();
    assert_eq!(places, [("one.jsonl", 1), ("one.jsonl", 2), ("one.jsonl", 3), ("one.jsonl", 4), ("two.json", 1)]);
    assert_eq!(lines[0]["says_command"], "ContentCallback.ResultNotify", "{}", lines[0]);
    assert_eq!(lines[1]["body"]["Events"][0]["EventTime"], 7, "{}", lines[1]);
    assert_eq!(lines[1]["unknown"], json!([]), "{}", lines[1]);
    assert!(lines[3]["error"].as_str().unwrap().starts_with("this is no JSON: "), "{}", lines[3]);
    assert_eq!(lines[4]["unknown"], json!(["CallbackCommand"]), "a batch says its command in its events");
    assert_eq!(output.status.code(), Some(1));
}
