//! Decisions on the command line: what was decided and why, shadows, and what a handler would have decided.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

mod commands;

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use dispatcher_testkit::{Process, Tencent};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands::{eventually, fails, json, json_lines, ok, run, text};

const SEND_MSG: &str = "C2C.CallbackBeforeSendMsg";
/// What nobody may see without asking for it.
const SECRET: &str = "pier four";

/// One that refuses, one that is late, and a shadow that rewrites: each only what has a word in it.
const HANDLERS: &str = r#"
[handlers.screen]
type = "misbehaving"
control = "screen"
commands = ["C2C.CallbackBeforeSendMsg", "Group.CallbackBeforeSendMsg"]
decide = "refuse"
only = "spam"
emit = ["refused", "late"]
sinks = ["archive"]

[handlers.slow]
type = "misbehaving"
control = "slow"
commands = ["C2C.CallbackBeforeSendMsg"]
order = 1
timeout = "500ms"
decide = "refuse"
decide_after = "800ms"
only = "boat"
if_busy = "refuse"
sinks = ["archive"]

[handlers.trial]
type = "misbehaving"
control = "trial"
commands = ["C2C.CallbackBeforeSendMsg"]
order = 2
shadow = true
decide = { rewrite = "a word of the trial's own" }
only = "ship"

[handlers.everything]
type = "forward"
sinks = ["archive"]

[sinks.archive]
type = "file"
path = "events.jsonl"
"#;

fn config(folder: &Path, name: &str, handlers: &str) {
    let text = format!(
        "[intake]\nlisten = \"127.0.0.1:0\"\n\n[[apps]]\nsdk_app_id = 1400000001\nname = \"main\"\ntokens = \
         [\"a-token\"]\n\n[journal]\npath = \"journal.db\"\n\n[log]\nformat = \"human\"\n{handlers}"
    );
    fs::write(folder.join(name), text).unwrap();
}

/// The program of `tests/programs` whose plugins do as they are told. Cargo builds it with the tests.
fn program() -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_BIN_EXE_dispatcher"));
    let path = folder.parent().unwrap().join("examples").join("misbehaving");
    assert!(path.exists(), "{} is built by `cargo test`, or by `cargo build --examples`", path.display());
    path
}

async fn send(tencent: &Tencent, nth: u64, text: &str) -> i64 {
    let body = json!({
        "CallbackCommand": SEND_MSG, "From_Account": "mara", "To_Account": "bo", "MsgSeq": nth, "MsgKey": nth.to_string(),
        "MsgBody": [{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }],
    });
    let reply = tencent.send(SEND_MSG, &body.to_string()).await.json();
    reply["ErrorCode"].as_i64().unwrap()
}

fn named<'a>(list: &'a Value, name: &str) -> &'a Value {
    list.as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()
}

/// A journal with four callbacks that were decided about, one each way.
async fn fill(process: &Process, folder: &Path) {
    let tencent = Tencent::new(process.url(), 1_400_000_001, Some("a-token"));
    for (nth, words, code) in [(1, "hello", 0), (2, "spam at pier four", 1), (3, "a ship", 0), (4, "a boat", 0)] {
        assert_eq!(send(&tencent, nth, words).await, code, "{words}");
    }
    eventually("what comes behind the answers", || {
        let n = |seq: &str| json(folder, &["show", seq, "--json"])["decisions"].as_array().map_or(0, Vec::len);
        ["callbacks/2", "callbacks/3", "callbacks/4"].into_iter().all(|seq| n(seq) == 2).then_some(())
    });
    // Two tell of decisions; two handlers make one of each callback.
    eventually("ten events", || {
        let text = fs::read_to_string(folder.join("events.jsonl")).unwrap_or_default();
        (text.matches('\n').count() == 10).then_some(())
    });
}

/// The same has to come of these whether a dispatcher runs or not.
fn check_reading(folder: &Path) {
    let list = |args: &[&str]| -> Vec<u64> {
        let rows = json_lines(folder, &[&["callbacks", "--json"], args].concat());
        rows.iter().filter_map(|row| row["seq"].as_u64()).collect()
    };
    assert_eq!(list(&[]), [1, 2, 3, 4]);
    for (decision, seqs) in [
        ("allowed", &[1, 3, 4][..]),
        ("refused", &[2]),
        ("refused-some", &[]),
        ("dropped", &[]),
        ("rewritten", &[]),
        ("answered", &[]),
        ("defaulted", &[4]),
    ] {
        assert_eq!(list(&["--decision", decision]), seqs, "{decision}");
    }
    assert_eq!(list(&["--decision", "allowed", "--limit", "2"]), [3, 4], "the newest");
    assert_eq!(list(&["--decision", "allowed", "--limit", "2", "--oldest"]), [1, 3]);
    assert_eq!(list(&["--decision", "refused", "--text", "ship"]), [0; 0]);
    assert!(fails(folder, &["callbacks", "--decision", "maybe"], 2).contains("refused-some"));
    assert!(fails(folder, &["callbacks", "--shadow-diff", "--follow"], 2).contains("cannot be used with"));

    let human = ok(folder, &["callbacks", "--decision", "refused"]);
    assert!(human.contains("\n    refused by screen, after ") && human.contains(" ms: told to refuse\n"), "{human}");
    let rows = json_lines(folder, &["callbacks", "--json", "--shadow-diff", "--limit", "1"]);
    assert_eq!(rows[0]["seq"], 3);
    // What is not listed is counted, too: of what was refused it thinks nothing.
    let diff = |answered: &str, would_be: &str| json!({ "handler": "trial", "answered": answered, "would_be": would_be, "n": 1 });
    assert_eq!(rows[1..], [json!({ "shadow_diffs": [diff("allowed", "rewritten"), diff("refused", "allowed")] })]);
    assert_eq!(list(&["--shadow-diff"]), [2, 3]);
    assert_eq!(list(&["--shadow-diff", "--text", "ship"]), [3]);
    let human = ok(folder, &["callbacks", "--shadow-diff"]);
    assert!(human.contains("    trial, a shadow, would have had it rewritten instead of allowed, after "), "{human}");
    assert!(human.ends_with("\ntrial: allowed -> rewritten, 1 time\ntrial: refused -> allowed, 1 time\n"), "{human}");

    // What was decided, by whom, why, and when.
    let story = json(folder, &["show", "callbacks/2", "--json"]);
    let decision = &story["decisions"][0];
    assert_eq!(
        [&decision["kind"], &decision["result"], &decision["by"], &decision["reason"]],
        ["decided", "refused", "screen", "told to refuse"]
    );
    assert!(decision["reply"].is_null(), "{decision}");
    let said = ok(folder, &["show", "callbacks/2"]);
    for part in [
        "\n  answer       refused by screen, after ",
        "\n  decider      screen: refused, after ",
        " screen: refused, after ",
        " answered: refused by screen, after ",
        "\nevent ",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(said.contains(" event screen.decision stored as events/"), "{said}");
    assert!(!said.contains("  decider      slow"), "nobody else was asked: {said}");
    let at = |what: &str| {
        let timeline = story["timeline"].as_array().unwrap();
        timeline.iter().position(|one| one["what"].as_str().unwrap().starts_with(what)).unwrap()
    };
    assert!(at("received") < at("screen: refused") && at("screen: refused") < at("answered: "));
    assert!(at("answered: ") < at("stored as callbacks/2"), "{story}");
    let full = ok(folder, &["show", "callbacks/2", "--contents"]);
    assert!(full.contains("\n  reply        {\"ActionStatus\":\"OK\",\"ErrorInfo\":\"\",\"ErrorCode\":1}\n"), "{full}");
    assert!(full.contains(SECRET));

    let said = ok(folder, &["show", "callbacks/4"]);
    for part in [
        "\n  answer       allowed, by default, since slow was late, after ",
        "\n  decider      screen: no-opinion, after ",
        "\n  decider      slow: late, so that allow counted, after ",
        "\n  late         slow was late: refused instead of allowed, after ",
        " event slow.late stored as events/",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = ok(folder, &["show", "callbacks/3"]);
    assert!(
        said.contains("\n  shadow       trial, a shadow, would have had it rewritten instead of allowed"),
        "{said}"
    );
    assert!(!said.contains("a word of the trial's own"));
    assert!(ok(folder, &["show", "callbacks/3", "--contents"]).contains("a word of the trial's own"));

    // Events that tell of decisions are found by their ids, and were not made by handling.
    for (seq, name, sort) in
        [("2", "screen.decision", "tencent-chat.decision"), ("4", "slow.late", "tencent-chat.decision.late")]
    {
        let id = json(folder, &["show", &format!("callbacks/{seq}"), "--json"])["callback"]["id"].clone();
        let story = json(folder, &["show", &format!("{}.{name}", id.as_str().unwrap()), "--json"]);
        assert_eq!(story["events"].as_array().unwrap().len(), 1);
        assert_eq!(story["events"][0]["event"]["type"], sort);
        let handler = format!("handler:{}", name.split('.').next().unwrap());
        let story = json(folder, &["show", &format!("callbacks/{seq}"), "--json"]);
        let stage = story["handlers"].as_array().unwrap().iter().find(|stage| stage["consumer"] == handler).unwrap();
        assert_eq!(stage["events"], 1, "{stage}");
    }
    assert!(!ok(folder, &["callbacks", "--json", "--shadow-diff"]).contains("MsgBody"));
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_listed_searched_and_shown() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    config(folder, "dispatcher.toml", HANDLERS);
    let process = Process::start(program(), folder);
    fill(&process, folder).await;
    check_reading(folder);

    let status = json(folder, &["status", "--json"]);
    let deciders = status["deciders"].as_array().unwrap();
    let order: Vec<&str> = deciders.iter().map(|decider| decider["name"].as_str().unwrap()).collect();
    assert_eq!(order, ["screen", "slow", "trial"]);
    let screen = named(&status["deciders"], "screen");
    assert_eq!((&screen["state"], &screen["shadow"]), (&json!("up"), &json!(false)));
    assert_eq!((&screen["work"]["refused"], &screen["work"]["no_opinion"]), (&json!(1), &json!(3)));
    assert_eq!(named(&status["deciders"], "slow")["work"]["late"], 1);
    assert_eq!(named(&status["deciders"], "trial")["work"]["shadow_differs"], 2);
    assert!(status["running"]["longest_decision_us"].as_u64().unwrap() > 0);
    let human = ok(folder, &["status"]);
    assert!(human.lines().all(|line| line.chars().count() <= 100), "{human}");
    assert!(human.contains("the slowest decision was answered after "), "{human}");
    assert!(human.contains("    a shadow, as configured: 2 of 4 verdicts differ from the answer\n"), "{human}");

    assert!(process.terminate().success());
    check_reading(folder);
    let status = json(folder, &["status", "--json"]);
    assert_eq!(named(&status["deciders"], "slow")["state"], "not_running");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_is_a_shadow_for_a_while_and_over_restarts() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    config(folder, "dispatcher.toml", HANDLERS);
    let process = Process::start(program(), folder);
    let tencent = Tencent::new(process.url(), 1_400_000_001, Some("a-token"));
    assert_eq!(send(&tencent, 1, "spam").await, 1);
    let said = ok(folder, &["handlers", "shadow", "screen", "--for", "1h"]);
    assert!(said.starts_with("handler screen is a shadow until 2"), "{said}");
    assert_eq!(send(&tencent, 2, "spam").await, 0, "at once");
    let list = || json_lines(folder, &["handlers", "list", "--json"]);
    let decider =
        |list: &[Value], name: &str| list.iter().find(|handler| handler["name"] == name).unwrap()["decider"].clone();
    assert_eq!(decider(&list(), "screen")["shadow"], true);
    let until = decider(&list(), "screen")["shadow_until"].clone();
    assert!(until.is_string(), "{until}");
    assert!(decider(&list(), "everything").is_null());
    let human = ok(folder, &["handlers", "list"]);
    assert!(human.starts_with("screen\n  decides  up; 1 refused; "), "{human}");
    assert!(
        human.contains("\n  shadow   a shadow until 2") && human.contains("\neverything\n  handles  up"),
        "{human}"
    );

    // Who was tried is tried after a restart, too.
    assert!(process.terminate().success());
    assert_eq!(decider(&list(), "screen")["shadow_until"], until);
    let process = Process::start(program(), folder);
    let tencent = Tencent::new(process.url(), 1_400_000_001, Some("a-token"));
    assert_eq!(send(&tencent, 3, "spam").await, 0);
    assert_eq!(decider(&list(), "screen")["shadow_until"], until);
    let said = ok(folder, &["handlers", "shadow", "screen", "--off"]);
    assert_eq!(said, "handler screen is no shadow by anybody's word any more\n");
    assert_eq!(send(&tencent, 4, "spam").await, 1);

    for (args, code, part) in [
        (
            &["nobody", "--off"][..],
            1,
            "no handler \"nobody\" in the configuration decides; those that do: screen, slow, trial",
        ),
        (&["everything", "--for", "1h"], 1, "the handler everything does not decide; those that do: screen, "),
        (&["screen", "--for", "soon"], 2, "soon"),
        (&["screen", "--for", "0s"], 2, "write how long, such as 1h"),
        (&["screen"], 2, "--for"),
    ] {
        let said = fails(folder, &[&["handlers", "shadow"], args].concat(), code);
        assert!(said.contains(part), "{args:?}: {said}");
    }
    let stays = run(folder, &["handlers", "shadow", "trial", "--off"]);
    assert!(text(&stays.stderr).starts_with("trial stays a shadow, since the configuration says so"), "{stays:?}");
    assert!(process.terminate().success());

    // With none running it is the next start that knows.
    let said = run(folder, &["handlers", "shadow", "screen", "--for", "1h"]);
    assert_eq!(text(&said.stderr), "no dispatcher runs; the next start knows of it\n");
    let process = Process::start(program(), folder);
    let tencent = Tencent::new(process.url(), 1_400_000_001, Some("a-token"));
    assert_eq!(send(&tencent, 5, "spam").await, 0);
    let diffs = eventually("the shadow's verdicts", || {
        let diffs = json_lines(folder, &["callbacks", "--shadow-diff", "--json", "--limit", "1"]).pop()?;
        (diffs["shadow_diffs"][0]["n"] == 3).then_some(diffs)
    });
    assert_eq!(diffs["shadow_diffs"][0]["would_be"], "refused");
    assert!(process.terminate().success());
}

/// What a handler would decide that is configured otherwise than the one that runs.
const CHANGED: &str = r#"
[handlers.strict]
type = "misbehaving"
control = "strict"
enabled = false
commands = ["C2C.*"]
decide = "drop"
only = "a "
otherwise = "fail"

[handlers.screen]
type = "misbehaving"
control = "screen"
decide = { refuse-showing = "not here" }
only = "spam"

[handlers.patient]
type = "misbehaving"
control = "patient"
max_in_flight = 1
decide = "hang"

[handlers.idle]
type = "misbehaving"
control = "idle"
commands = ["State.StateChange"]

[handlers.everything]
type = "forward"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_is_asked_about_what_was_decided_before() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    config(folder, "dispatcher.toml", HANDLERS);
    config(folder, "changed.toml", CHANGED);
    let process = Process::start(program(), folder);
    fill(&process, folder).await;
    let before = fs::read(folder.join("events.jsonl")).unwrap();
    fn backtest<'a>(args: &[&'a str]) -> Vec<&'a str> {
        [&["backtest", "--config", "changed.toml", "--handler"], args].concat()
    }
    let check = || {
        let report = json(folder, &backtest(&["strict", "--json"]));
        assert_eq!((&report["asked"], &report["differ"]), (&json!(4), &json!(2)), "{report}");
        let change = |answered, would_be, otherwise, n| json!({ "answered": answered, "would_be": would_be, "otherwise": otherwise, "n": n });
        assert_eq!(report["changes"], json!([change("allowed", "dropped", false, 2)]));
        assert_eq!(report["undecided"], json!([{ "said": "failed", "n": 2, "first": "told to fail" }]));
        let seqs = report["examples"].as_array().unwrap().iter().map(|example| example["seq"].as_u64().unwrap());
        assert_eq!(seqs.collect::<Vec<_>>(), [3, 4]);
        assert_eq!((&report["interrupted"], &report["more"]), (&json!(false), &json!(false)));
        let took = &report["took_us"];
        assert!(took["p50"].as_u64() <= took["p99"].as_u64() && took["p99"].as_u64() <= took["max"].as_u64(), "{took}");

        let human = ok(folder, &backtest(&["strict", "--examples", "1", "--limit", "2"]));
        assert!(human.starts_with("asked strict about 2 callbacks, the newest; --limit asks about more\n"), "{human}");
        assert!(human.contains("\n  allowed -> dropped                    2  differs\n"), "{human}");
        assert!(human.contains("\n2 would have been answered otherwise\ntime taken: p50 "), "{human}");
        let examples = human.split("\nexamples\n").nth(1).unwrap();
        assert_eq!(examples.lines().count(), 1, "{human}");
        assert!(examples.contains(": allowed -> dropped: told to drop"), "{human}");
        let full = ok(folder, &backtest(&["strict", "--contents"]));
        assert!(!human.contains("a boat") && full.contains("a boat"), "{full}");

        // The same result with another reply is something else, too.
        let report = json(folder, &backtest(&["screen", "--json"]));
        assert_eq!(
            report["changes"],
            json!([change("allowed", "allowed", false, 3), change("refused", "refused", true, 1)])
        );
        assert_eq!(report["differ"], 1);
        assert!(!report.to_string().contains(SECRET));
        let report = json(folder, &["backtest", "--handler", "screen", "--json"]);
        assert_eq!((&report["asked"], &report["differ"]), (&json!(4), &json!(0)), "as it was: {report}");
        assert_eq!(json(folder, &backtest(&["screen", "--json", "--until", "1h"]))["asked"], 0);
    };
    check();
    for (args, part) in [
        (&["nobody"][..], "no handler \"nobody\" in changed.toml; those that decide: idle, patient, screen, strict"),
        (&["everything"], "the handler everything does not decide"),
        (&["idle"], "the handler idle decides about no such command"),
        (&["strict", "--command", "Group.*"], "the handler strict decides about no such command"),
        (&["strict", "--command", "Group.C*"], "is not a command or a pattern"),
    ] {
        let said = fails(folder, &backtest(args), 1);
        assert!(said.contains(part), "{args:?}: {said}");
    }

    // Nothing was written, nothing delivered.
    assert_eq!(json_lines(folder, &["events", "--json"]).len(), 10);
    assert_eq!(fs::read(folder.join("events.jsonl")).unwrap(), before);
    assert!(process.terminate().success());
    check();

    // Who has seen enough gets what there is. All of it would take a minute.
    let process = Process::start(program(), folder);
    let tencent = Tencent::new(process.url(), 1_400_000_001, Some("a-token"));
    for nth in 5..=44 {
        send(&tencent, nth, "hello").await;
    }
    // No answer waits for the journal.
    eventually("all of them in the journal", || {
        (json(folder, &["status", "--json"])["journal"]["callbacks"]["last"] == 44).then_some(())
    });
    let mut child = Command::new(program())
        .args(backtest(&["patient", "--json"]))
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert_eq!(said, "asking patient: 0 of 44\n");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["interrupted"], true, "{report}");
    assert!(report["asked"].as_u64().unwrap() < 44, "{report}");
    assert!(process.terminate().success());
}

/// What a start says of decisions.
#[track_caller]
fn screen(folder: &Path, handlers: &str) -> String {
    config(folder, "dispatcher.toml", handlers);
    let mut child = Command::new(program())
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    // All of it, between two empty lines.
    let lines: Vec<String> = lines.skip(2).take_while(|line| !line.is_empty()).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    let decisions = lines
        .iter()
        .skip_while(|line| !line.starts_with("  decisions "))
        .take_while(|line| !line.starts_with("  stored "));
    decisions.map(|line| line[17..].trim_end().to_owned() + "\n").collect()
}

#[test]
fn a_start_says_who_decides_and_what_happens_when_nobody_does() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    assert_eq!(screen(folder, ""), "nobody decides: every callback that wants a decision is allowed\n");
    assert_eq!(
        screen(folder, HANDLERS),
        "C2C.CallbackBeforeSendMsg: screen, then slow (refused if busy); trial as a shadow\n\
         Group.CallbackBeforeSendMsg: screen\n\
         every other command: allowed, since nobody decides\n"
    );
    let everywhere = r#"
[handlers.all]
type = "misbehaving"
control = "all"
apps = ["main"]

[commands."Group.CallbackBeforeCreateGroup"]
default_decision = "refuse"
"#;
    let said = screen(folder, everywhere);
    let (most, last) = said.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(last, "Group.CallbackBeforeCreateGroup: all (apps main); refused for other apps");
    assert!(most.ends_with(": all (apps main); allowed for other apps"), "{said}");
    let nobody = "[commands.\"Group.CallbackBeforeCreateGroup\"]\ndefault_decision = \"refuse\"\n";
    assert_eq!(
        screen(folder, nobody),
        "Group.CallbackBeforeCreateGroup: refused, since nobody decides\nevery other command: allowed, since nobody decides\n"
    );
}
