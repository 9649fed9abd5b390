//! Configuration tests: what passes, what fails and what that says.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{fs, process::Command};

use tempfile::TempDir;

const DISPATCHER: &str = env!("CARGO_BIN_EXE_dispatcher");

const CONFIGURATION: &str = r#"
[[apps]]
sdk_app_id = 1400000001
name = "main"
tokens = ["${TOKEN_OF_NOBODY}"]

[[apps]]
sdk_app_id = 1400000002
name = "second"
tokens = ["${TOKEN_OF_NOBODY}"]

[commands."State.*"]
journal = "never"

[commands."Group.CallbackBeforeCreateGroup"]
default_decision = "refuse"

[handlers.words]
type = "word-filter"
words = ["spam"]
message = "no"
sinks = ["archive"]
emit = ["refused"]

[handlers.masks]
type = "word-filter"
words = ["eggs"]
action = "mask"
order = -1

[handlers.moderation]
type = "endpoint"
url = "https://moderation.example/"
commands = ["C2C.CallbackBeforeSendMsg", "C2C.CallbackAfterSendMsg"]
order = 10
if_late = "refuse"

[handlers.everything]
type = "forward"
apps = ["main"]
sinks = ["archive"]

[handlers.group-attribute-changed]
sinks = ["console", "archive"]

[sinks.archive]
type = "file"
path = "data/events.jsonl"

[sinks.console]
type = "log"
"#;

const TOKEN: &str = "environment = { TOKEN_OF_NOBODY = \"t\" }\n";

/// What `dispatcher test` prints of these cases, what it complains of, and its exit code.
fn test(cases: &str) -> (String, String, Option<i32>) {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("dispatcher.toml"), CONFIGURATION).unwrap();
    fs::write(folder.path().join("t.toml"), cases).unwrap();
    let output = Command::new(DISPATCHER).args(["test", "t.toml"]).current_dir(folder.path()).output().unwrap();
    let mut there: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    there.sort();
    assert_eq!(there, ["dispatcher.toml", "t.toml"], "a test writes nothing");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

#[track_caller]
fn check(cases: &str, out: &str, code: i32) {
    let (said, complained, got) = test(&format!("{TOKEN}{cases}"));
    assert_eq!((said.trim_end(), complained.as_str(), got), (out.trim_end(), "", Some(code)), "of:\n{cases}");
}

#[test]
fn decisions_and_events_come_out_as_in_the_dispatcher() {
    check(
        r#"
[[test]]
name = "refused, and told"
command = "C2C.CallbackBeforeSendMsg"
sample = { MsgBody = [{ MsgType = "TIMTextElem", MsgContent = { Text = "spam" } }] }
answers.moderation = {}
[test.expect]
decision = "refused"
by = "words"
reply = { ErrorInfo = "no" }
events = [{ type = "tencent-chat.decision", handler = "words", sinks = ["archive"], data = { answered = "refused" } }]

[[test]]
name = "rewritten by one, looked at by the next"
command = "Group.CallbackBeforeSendMsg"
body = '{"GroupId":"g","MsgBody":[{"MsgType":"TIMTextElem","MsgContent":{"Text":"ham and eggs"}}]}'
expect = { decision = "rewritten", by = "masks", reply.MsgBody = [{ MsgContent = { Text = "ham and ****" } }] }

[[test]]
name = "late"
command = "C2C.CallbackBeforeSendMsg"
answers.moderation.outcome = "late"
expect = { decision = "refused", by = "moderation" }

[[test]]
name = "failed"
command = "C2C.CallbackBeforeSendMsg"
answers.moderation.outcome = "failed"
expect = { decision = "allowed" }

[[test]]
name = "answered elsewhere"
command = "C2C.CallbackBeforeSendMsg"
answers.moderation.reply = { ActionStatus = "OK", ErrorCode = 120007, ErrorInfo = "mind" }
expect = { decision = "refused", by = "moderation", reply = { ErrorCode = 120007 } }

[[test]]
name = "nobody decides"
command = "Group.CallbackBeforeCreateGroup"
expect.decision = "refused"

[[test]]
name = "events find theirs in any order"
command = "Group.CallbackAfterGroupAttrChanged"
sample.GroupId = "g1"
[[test.expect.events]]
key = "g1"
[[test.expect.events]]
handler = "everything"
data.GroupId = "g1"
sinks = ["archive"]

[[test]]
name = "of one app, another handler"
app = "second"
command = "Group.CallbackAfterGroupAttrChanged"
without = ["EventTime"]
expect.events = [{ handler = "group-attribute-changed", sinks = ["archive", "console"] }]
"#,
        "\
t.toml:3: refused, and told: ok
t.toml:14: rewritten by one, looked at by the next: ok
t.toml:20: late: ok
t.toml:26: failed: ok
t.toml:32: answered elsewhere: ok
t.toml:38: nobody decides: ok
t.toml:43: events find theirs in any order: ok
t.toml:54: of one app, another handler: ok
8 passed, 0 failed
",
        0,
    );
}

#[test]
fn what_is_not_run_is_said() {
    check(
        r#"
[[test]]
name = "asked elsewhere"
command = "C2C.CallbackBeforeSendMsg"
expect.decision = "allowed"

[[test]]
name = "presence"
command = "State.StateChange"
expect.events = []
"#,
        "\
t.toml:3: asked elsewhere: ok
    note: moderation contacts others and is not run; say what it answers: [test.answers.moderation]
t.toml:8: presence: ok
    note: this command is not stored, so no events are made of it
2 passed, 0 failed
",
        0,
    );
}

#[test]
fn a_decision_that_is_not_stored_makes_no_events() {
    let folder = TempDir::new().unwrap();
    let rule = "[commands.\"C2C.CallbackBeforeSendMsg\"]\njournal = \"never\"\n";
    let words = "[handlers.words]\ntype = \"word-filter\"\nwords = [\"spam\"]\n";
    for (rules, events) in [("", "[{ handler = \"words\", sinks = [\"console\"] }]"), (rule, "[]")] {
        let configuration = format!(
            "[[apps]]\nsdk_app_id = 1\nname = \"main\"\nsignature = \"off\"\n{rules}\n{words}sinks = [\"console\"]\n\
             emit = [\"refused\"]\n[sinks.console]\ntype = \"log\"\n"
        );
        fs::write(folder.path().join("dispatcher.toml"), configuration).unwrap();
        let case = format!(
            "[[test]]\nname = \"refused\"\ncommand = \"C2C.CallbackBeforeSendMsg\"\n\
             sample = {{ MsgBody = [{{ MsgType = \"TIMTextElem\", MsgContent = {{ Text = \"spam\" }} }}] }}\n\
             expect = {{ decision = \"refused\", events = {events} }}\n"
        );
        fs::write(folder.path().join("t.toml"), case).unwrap();
        let output = Command::new(DISPATCHER).args(["test", "t.toml"]).current_dir(folder.path()).output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn what_only_the_machine_in_production_has_is_not_asked_for() {
    let folder = TempDir::new().unwrap();
    let configuration = r#"
[intake]
tls = { cert = "/nowhere/at/all/cert.pem", key = "/nowhere/at/all/key.pem" }

[[apps]]
sdk_app_id = 1
name = "main"
tokens = [{ file = "/nowhere/at/all/token" }]

[journal]
path = "/etc/passwd/journal.db"

[handlers.forward]
sinks = ["archive"]

[sinks.archive]
type = "file"
path = "/nowhere/at/all/events.jsonl"
"#;
    fs::write(folder.path().join("dispatcher.toml"), configuration).unwrap();
    let case = "[[test]]\nname = \"full\"\ncommand = \"Group.CallbackAfterGroupFull\"\n\
                expect.events = [{ sinks = [\"archive\"] }]\n";
    fs::write(folder.path().join("t.toml"), case).unwrap();
    let output = Command::new(DISPATCHER).args(["test", "t.toml"]).current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    // A start needs all of it.
    let output = Command::new(DISPATCHER).arg("check").current_dir(folder.path()).output().unwrap();
    let complaints = String::from_utf8(output.stderr).unwrap();
    for key in ["intake.tls.cert", "intake.tls.key", "apps[0].tokens", "journal.path", "sinks.archive.path"] {
        assert!(complaints.contains(key), "{key} is not in:\n{complaints}");
    }
}

#[test]
fn what_differs_is_said() {
    check(
        r#"
[[test]]
name = "decision"
command = "Group.CallbackBeforeSendMsg"
expect = { decision = "refused", by = "words", reply = { ErrorCode = 10107, RefusedMembers_Account = [] } }

[[test]]
name = "no decision"
command = "Group.CallbackAfterGroupFull"
expect = { decision = "allowed", events = [] }

[[test]]
name = "events"
command = "Group.CallbackAfterGroupAttrChanged"
sample.GroupId = "g1"
[[test.expect.events]]
handler = "everything"
key = "g2"
sinks = ["console"]
data = { GroupId = "g1", More = { Members = 1 } }

[[test]]
name = "missing"
command = "Group.CallbackAfterGroupFull"
expect.events = [{ handler = "everything" }, { handler = "everything" }]

[[test]]
name = "not legal"
command = "C2C.CallbackBeforeSendMsg"
answers.moderation.reply = { ActionStatus = "OK", ErrorCode = 7 }
expect.decision = "refused"
"#,
        "\
t.toml:3: decision: FAILED
    decision: expected refused, got allowed
    by: expected words, got nobody
    reply.ErrorCode: expected 10107, got 0
    reply.RefusedMembers_Account: expected [], and it is not there
t.toml:8: no decision: FAILED
    decision: expected allowed, but this command wants no decision
    events: tencent-chat.callback.Group.CallbackAfterGroupFull of everything, key @TGS#2WALRUSQ7E, for [\"archive\"], was not expected
t.toml:13: events: FAILED
    events[0].key: expected g2, got g1
    events[0].sinks: expected [\"console\"], got [\"archive\"]
    events[0].data.More: expected {\"Members\":1}, and it is not there
    events: tencent-chat.group.attributes.changed of group-attribute-changed, key g1, for [\"archive\",\"console\"], was not expected
t.toml:23: missing: FAILED
    events[1]: there is no such event; there are 1 in all
t.toml:28: not legal: FAILED
    moderation did not decide (failed): ErrorInfo is missing
    decision: expected refused, got allowed
0 passed, 5 failed
",
        1,
    );
}

#[test]
fn cases_that_make_no_sense_are_told_what_to_write() {
    check(
        r#"
[[test]]
name = "nothing"
command = "Group.CallbackAfterGroupFull"
expect = {}
[[test]]
name = "word"
command = "Group.CallbackAfterGroupFull"
expect.decision = "denied"
[[test]]
name = "handler"
command = "Group.CallbackAfterGroupFull"
expect.events = [{ handler = "nobody" }]
[[test]]
name = "sink"
command = "Group.CallbackAfterGroupFull"
expect.events = [{ sinks = ["nowhere"] }]
[[test]]
name = "app"
app = "third"
command = "Group.CallbackAfterGroupFull"
expect.events = []
[[test]]
name = "command"
command = "Group.CallbackNew"
expect.events = []
[[test]]
name = "body"
command = "Group.CallbackNew"
body = "[]"
expect.events = []
[[test]]
name = "without"
command = "Group.CallbackAfterGroupFull"
without = ["GroupId.x"]
expect.events = []
[[test]]
name = "role"
command = "Group.CallbackAfterGroupFull"
answers.everything.outcome = "late"
expect.events = []
"#,
        "\
t.toml:3: nothing: FAILED
    nothing is expected; write decision, by, reply or events
t.toml:7: word: FAILED
    expect.decision: \"denied\" is no decision; write one of allowed, refused, refused-some, dropped, rewritten, answered
t.toml:11: handler: FAILED
    no handler \"nobody\" in the configuration
t.toml:15: sink: FAILED
    no sink \"nowhere\" in the configuration
t.toml:19: app: FAILED
    no app \"third\" in the configuration
t.toml:24: command: FAILED
    \"Group.CallbackNew\" is not in the catalogue, so there is no sample of it; write body
t.toml:28: body: FAILED
    the intake refuses this body: body is not a JSON object
t.toml:33: without: FAILED
    without: \"GroupId.x\" is not in the sample of Group.CallbackAfterGroupFull
t.toml:38: role: FAILED
    answers.everything: this handler does not decide; leave reply and outcome out
0 passed, 9 failed
",
        1,
    );
    for (cases, complaint) in [
        ("", "t.toml: no test is in it; write [[test]] with name, command and expect\n"),
        ("[[test]]\nname = \"x\"\ncommand = \"y\"\nexpects = 1", "t.toml:5: unknown field `expects`"),
    ] {
        let (out, err, code) = test(&format!("{TOKEN}{cases}"));
        assert!(err.starts_with(complaint), "{err}");
        assert_eq!((out.as_str(), code), ("0 passed, 1 failed\n", Some(1)));
    }
    let (_, err, code) = test("[[test]]\nname = \"x\"\ncommand = \"y\"\nexpect = {}");
    assert!(err.contains("the environment variable TOKEN_OF_NOBODY is not set"), "{err}");
    assert_eq!(code, Some(78));
}

#[test]
fn what_the_document_shows_passes() {
    let document = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/TESTING.md")).unwrap();
    let shown = document.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let folder = TempDir::new().unwrap();
    let configuration = CONFIGURATION
        .replace("${TOKEN_OF_NOBODY}", "${DISPATCHER_TOKEN}")
        .replace("message = \"no\"", "message = \"That word is not for here.\"")
        .replace("commands = [\"C2C.CallbackBeforeSendMsg\", ", "commands = [\"Group.CallbackBeforeSendMsg\", ")
        .replace("if_late = \"refuse\"", "")
        .replace("[handlers.everything]", "[handlers.everything]\nenabled = false");
    fs::write(folder.path().join("dispatcher.toml"), configuration).unwrap();
    fs::write(folder.path().join("t.toml"), shown.collect::<String>()).unwrap();
    let output = Command::new(DISPATCHER).args(["test", "t.toml"]).current_dir(folder.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.ends_with("4 passed, 0 failed\n"), "{said}{}", String::from_utf8_lossy(&output.stderr));
}
