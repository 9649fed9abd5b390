//! What a wrong configuration is told, compared whole.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{fs, path::Path, process::Command};

use tempfile::TempDir;

const DISPATCHER: &str = env!("CARGO_BIN_EXE_dispatcher");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// `dispatcher check` in a folder whose `dispatcher.toml` is `text`: its exit code and what it says.
fn check_in(folder: &Path, text: &str) -> (Option<i32>, String) {
    fs::write(folder.join("dispatcher.toml"), text).unwrap();
    let output = Command::new(DISPATCHER).arg("check").current_dir(folder).env("EMPTY", "").output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[track_caller]
fn check(text: &str, code: i32, expected: &str) {
    let folder = TempDir::new().unwrap();
    let (got_code, got) = check_in(folder.path(), text);
    assert_eq!(got.trim_end(), expected.trim(), "in:\n{text}");
    assert_eq!(got_code, Some(code), "{got}");
    let made: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made, ["dispatcher.toml"], "a check creates nothing");
}

const APP: &str = "[[apps]]\nsdk_app_id = 1\nname = \"main\"\nsignature = \"off\"\n";

#[test]
fn the_configuration_at_the_root_is_fine() {
    let folder = TempDir::new().unwrap();
    let text = fs::read_to_string(Path::new(ROOT).join("dispatcher.toml")).unwrap();
    let (code, said) = check_in(folder.path(), &text);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    // And with every commented setting switched on.
    let switched_on: Vec<String> = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.starts_with('[') || setting.contains(" = ") => setting.to_owned(),
            _ => line.to_owned(),
        })
        .collect();
    let text = switched_on.join("\n").replace("${DISPATCHER_TOKEN}", "token");
    let text = text.replace("${DISPATCHER_ADMIN_TOKEN}", "a-token-of-thirty-two-characters");
    let (code, said) = check_in(folder.path(), &text);
    assert_eq!(code, Some(0), "{said}\nin:\n{text}");
}

#[test]
fn every_error_is_found_in_one_run() {
    check(
        r#"
[intake]
listen = "8080"
body_limit = "2MX"
answer_withn = "1s"
freshness = 60

[[apps]]
sdk_app_id = "1400000001"
name = "main"

[[apps]]
sdk_app_id = 1400000002
name = "other"
tokens = ["${UNSET_FOR_SURE}", "${EMPTY}"]

[[apps]]
sdk_app_id = 1400000002
name = "other"
tokens = [""]

[[apps]]
sdk_app_id = 1400000003
name = "third"

[commands."State*"]
journal = "sometimes"

[journal]
path = "/proc/version/journal.db"
sync = "off"

[handlers.translate]
sinks = ["archive"]

[handlers.group-attribute-changed]
sinks = ["archve", "raw"]
apps = ["mian"]
lanes = 0
extra = 1

[handlers.everything]
type = "forward"
commands = ["**"]
backoff = { first = "10s", max = "1s" }
sinks = ["archive", "archive"]

[sinks.archive]
type = "file"
path = "missing/events.jsonl"
rotate_sise = "64MiB"
lanes = 2

[sinks.raw]
type = "http"
url = "http://127.0.0.1:9000/in?secret=1"
format = "raw"

[sinks.relay]
type = "http"

[sinks.typeless]
path = "x"

[obsreve]
listen = "x"
"#,
        78,
        include_str!("configuration/every-error.txt"),
    );
}

#[test]
fn a_file_that_is_no_toml_is_told_where() {
    check("[intake\nlisten = 1\n", 78, include_str!("configuration/no-toml.txt"));
}

#[test]
fn raw_relays_take_forwarded_callbacks_only() {
    check(
        &format!(
            "{APP}[handlers.group-attribute-changed]\nsinks = [\"relay\"]\n[sinks.relay]\ntype = \"http\"\nurl = \
             \"https://example.com/\"\nformat = \"raw\"\n"
        ),
        78,
        "dispatcher.toml:6: handlers.group-attribute-changed.sinks[0]: \"relay\" takes forwarded callbacks only, because of \
         format = \"raw\"; this handler makes events of its own: feed that sink from a handler of type \"forward\", or \
         change that setting",
    );
}

#[test]
fn a_missing_file_is_named() {
    let folder = TempDir::new().unwrap();
    let output =
        Command::new(DISPATCHER).args(["check", "--config", "no.toml"]).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "no.toml: cannot read the configuration: No such file or directory (os error 2); name another file with --config\n"
    );
}

#[test]
fn no_wait_is_shorter_than_anybody_needs() {
    check(
        &format!("[intake]\nheader_within = \"500us\"\n{APP}"),
        78,
        "dispatcher.toml:2: intake.header_within: too short for anybody; write \"100ms\" or more, or leave this key out",
    );
    check(&format!("[intake]\nidle = \"100ms\"\n{APP}"), 0, "");
}

#[test]
fn unsigned_apps_stay_on_this_machine() {
    check(
        &format!("[intake]\nlisten = \"0.0.0.0:8080\"\n{APP}"),
        78,
        "dispatcher.toml:6: apps[0].signature: anybody who reaches 0.0.0.0:8080 could make callbacks up; write signature = \
         \"required\", or, if something in front checks signatures, [intake] allow_unsigned_remote = true",
    );
    check(&format!("[intake]\nlisten = \"0.0.0.0:8080\"\nallow_unsigned_remote = true\n{APP}"), 0, "");
}

#[test]
fn what_cannot_work_is_refused() {
    check(
        &format!(
            "[intake]\nanswer_within = \"1ns\"\ndrain = \"18446744073709551615s\"\nmax_connections = \
             9223372036854775807\npath = \"/a b\"\nthreads = 100000\n{APP}[journal]\npath = \
             \"same.db\"\n[handlers.everything]\ntype = \"forward\"\ncommands = []\nlanes = 100000\nsinks = [\"s\", \
             \"t\"]\n[sinks.s]\ntype = \"file\"\npath = \"./same.db\"\n[sinks.t]\ntype = \"file\"\npath = \
             \"t.jsonl\"\n[sinks.u]\ntype = \"file\"\npath = \"t.jsonl\"\n"
        ),
        78,
        include_str!("configuration/cannot-work.txt"),
    );
}

#[test]
fn limits_are_told_what_they_take() {
    check(
        &format!(
            r#"{APP}
[journal]
keep_for = "0s"
max_size = "15MiB"
when_blocked = "drop"
keep_dead_letters_for = "0d"

[commands."State.StateChange"]
journal = "never"
keep_for = "1h"

[commands."Group.*"]
keep_for = "0s"

[handlers.everything]
type = "forward"
attempts = "of"
give_up_after = 72
start = "newest"
rate = "1/s"
sinks = ["one", "two"]

[sinks.one]
type = "log"
attempts = 0
give_up_after = "0s"
start = 2026-01-02T00:00:00
order = "kye"
rate = "0/s"

[sinks.two]
type = "log"
attempts = 4294967296
give_up_after = "3 moons"
start = 3
order = 1
rate = "1000001/s"
"#
        ),
        78,
        include_str!("configuration/limits.txt"),
    );
    // Each key has to say what it takes, whatever stands there instead.
    check(
        &format!(
            "{APP}[journal]\nkeep_for = \"off\"\nmax_size = 1024\nwhen_blocked = true\nkeep_dead_letters_for = []\n\
             [commands.\"*\"]\nkeep_for = 3\n[handlers.everything]\ntype = \"forward\"\nsinks = [\"one\"]\n\
             [sinks.one]\ntype = \"log\"\nattempts = 1.5\nrate = 100\ngive_up_after = {{}}\n"
        ),
        78,
        include_str!("configuration/limits-of-other-types.txt"),
    );
}

#[test]
fn what_looks_wrong_is_a_warning() {
    check(
        &format!(
            "{APP}[handlers.everything]\ntype = \"forward\"\ncommands = [\"Group.CallbackAfterGroupAttrChange\"]\n\
             [sinks.console]\ntype = \"log\"\n"
        ),
        0,
        "
warning: dispatcher.toml:5: handlers.everything: no sinks: its events go nowhere; write sinks = [\"…\"]
warning: dispatcher.toml:7: handlers.everything.commands[0]: \"Group.CallbackAfterGroupAttrChange\" selects no command \
         that we know of; did you mean `Group.CallbackAfterGroupAttrChanged`?
warning: dispatcher.toml:8: sinks.console: no handler names this sink: nothing goes to it",
    );
}

#[test]
fn decisions_that_are_on_no_record_are_a_warning() {
    check(
        &format!(
            "{APP}[commands.\"C2C.*\"]\njournal = \"never\"\n[handlers.word-filter]\nwords = [\"x\"]\nsinks = [\"console\"]\n\
             [sinks.console]\ntype = \"log\"\n"
        ),
        0,
        "
warning: dispatcher.toml:7: handlers.word-filter: C2C.CallbackBeforeSendMsg is not stored, so that decisions about it are no \
         events and on no record",
    );
}

#[test]
fn a_taken_port_is_named_with_its_line() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("dispatcher.toml"), format!("[intake]\nlisten = \"{address}\"\n{APP}")).unwrap();
    let output = Command::new(DISPATCHER).current_dir(folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        format!(
            "dispatcher.toml:2: intake.listen: cannot listen on {address}: Address already in use (os error 98); stop the \
             other program or choose another port\n"
        )
    );
    assert!(!folder.path().join("data").exists(), "the journal is not touched");

    // Of the addresses that are kept for examples, no machine has one.
    let intake = "[intake]\nlisten = \"192.0.2.1:8080\"\nallow_unsigned_remote = true\n";
    fs::write(folder.path().join("dispatcher.toml"), format!("{intake}{APP}")).unwrap();
    let output = Command::new(DISPATCHER).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("cannot listen on 192.0.2.1:8080") && said.contains("an address that this machine has"),
        "{said}"
    );
}

#[test]
fn deciders_are_told_what_they_take() {
    check(
        &format!(
            "{APP}[handlers.everything]\ntype = \"forward\"\nif_late = \"allow\"\nsinks = [\"one\"]\n\
             [handlers.word-filter]\nwords = [\"x\"]\nlanes = 3\norder = \"first\"\nif_busy = \"drop\"\nlate_wait = \"2h\"\n\
             emit = [\"refusals\"]\n\
             [handlers.service]\ntype = \"endpoint\"\nurl = \"http://8.8.8.8/\"\nif_failed = \"refuse\"\nmax_in_flight = 0\n\
             [commands.\"Chatbot.*\"]\ndefault_decision = \"refuse\"\n\
             [commands.\"State.*\"]\ndefault_decision = \"refuse\"\n\
             [sinks.one]\ntype = \"log\"\n"
        ),
        78,
        include_str!("configuration/deciders.txt"),
    );
}

#[test]
fn the_environment_names_the_configuration_where_the_command_line_does_not() {
    let folder = TempDir::new().unwrap();
    for name in ["of-environment", "of-command-line"] {
        fs::write(folder.path().join(name), "[intake]\nlisten = \"127.0.0.1:0\"\n").unwrap();
    }
    for (args, file) in [
        (&[][..], "of-environment"),
        (&["check"], "of-environment"),
        (&["check", "--config", "of-command-line"], "of-command-line"),
    ] {
        let mut command = Command::new(DISPATCHER);
        let output = command.args(args).current_dir(folder.path()).env("DISPATCHER_CONFIG", "of-environment").output();
        let said = String::from_utf8(output.unwrap().stderr).unwrap();
        assert!(said.starts_with(&format!("{file}: no app is configured")), "{args:?}: {said}");
    }
}
