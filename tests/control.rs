//! The command line around the journal: through a running dispatcher, and on the journal of one that does not run.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

mod commands;

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{
        fs::{PermissionsExt as _, chown},
        net::UnixStream,
    },
    path::Path,
    process::{Command, Stdio},
};

use dispatcher_testkit::{Answer, Process, Receiver, Tencent};
use serde_json::Value;
use tempfile::TempDir;

use crate::commands::{eventually, fails, json, json_lines, ok, run, text};

const DISPATCHER: &str = env!("CARGO_BIN_EXE_dispatcher");
/// What nobody may see without asking for it.
const SECRET: &str = "meet me at pier four";
const SEND_MSG: &str = "Group.CallbackAfterSendMsg";

fn program() -> &'static str {
    DISPATCHER
}

fn config(folder: &Path, sections: &str) {
    let text = format!(
        "[intake]\nlisten = \"127.0.0.1:0\"\n\n[[apps]]\nsdk_app_id = 1400000001\nname = \"main\"\ntokens = \
         [\"a-token\"]\n\n[journal]\npath = \"journal.db\"\n\n[log]\nformat = \"human\"\n\n{sections}"
    );
    fs::write(folder.join("dispatcher.toml"), text).unwrap();
}

const ARCHIVE: &str = "[handlers.everything]\ntype = \"forward\"\nphase = \"any\"\nsinks = [\"archive\"]\n\n\
                       [sinks.archive]\ntype = \"file\"\npath = \"events.jsonl\"\n";

/// A sink that gives up at the first failure, and in which a few failures in a row are not the sink's own.
fn relay(receiver: &Receiver) -> String {
    format!(
        "[handlers.everything]\ntype = \"forward\"\nsinks = [\"relay\"]\n\n[sinks.relay]\ntype = \"http\"\nurl = \
         \"{}\"\nallow_networks = [\"127.0.0.0/8\"]\nattempts = 2\nbackoff = {{ first = \"1ms\", max = \"2ms\" }}\n",
        receiver.url()
    )
}

fn tencent(process: &Process) -> Tencent {
    Tencent::new(process.url(), 1_400_000_001, Some("a-token"))
}

async fn send(tencent: &Tencent, group: &str, nth: u64, text: &str) {
    let body = format!(
        r#"{{"CallbackCommand":"{SEND_MSG}","GroupId":"{group}","MsgSeq":{nth},"From_Account":"mara",
        "MsgBody":[{{"MsgType":"TIMTextElem","MsgContent":{{"Text":"{text}"}}}}],"EventTime":"{}"}}"#,
        1_767_000_000_000_u64 + nth
    );
    tencent.send(SEND_MSG, &body).await.expect_ok();
}

fn seqs(rows: &[Value]) -> Vec<u64> {
    rows.iter().map(|row| row["seq"].as_u64().unwrap()).collect()
}

#[track_caller]
fn wait_for_lines(path: &Path, n: usize) -> Vec<Value> {
    eventually("a line in the file", || {
        let text = fs::read_to_string(path).unwrap_or_default();
        let is_enough = text.matches('\n').count() >= n;
        is_enough.then(|| text.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
    })
}

fn consumer<'a>(status: &'a Value, name: &str) -> &'a Value {
    status["consumers"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()
}

/// The same has to come of these whether a dispatcher runs or not.
fn check_reading(folder: &Path, is_running: bool) {
    let list = |args: &[&str]| {
        let args = [&["callbacks", "--json"], args].concat();
        seqs(&json_lines(folder, &args))
    };
    assert_eq!(list(&[]), [1, 2, 3, 4]);
    assert_eq!(list(&["--limit", "2"]), [3, 4], "the newest");
    assert_eq!(list(&["--limit", "2", "--oldest"]), [1, 2]);
    assert_eq!(list(&["--limit", "0"]), [1, 2, 3, 4]);
    assert_eq!(list(&["--key", "group-1"]), [1, 3]);
    assert_eq!(list(&["--text", "pier four"]), [4]);
    assert_eq!(list(&["--command", "Group.CallbackAfterGroupAttrChanged"]), [1, 2, 3]);
    assert_eq!(list(&["--app", "main"]), [1, 2, 3, 4]);
    assert_eq!(list(&["--app", "1400000001", "--since", "1h"]), [1, 2, 3, 4]);
    assert_eq!(list(&["--until", "1h"]), [0; 0]);
    assert_eq!(list(&["--app", "other"]), [0; 0]);
    let events =
        json_lines(folder, &["events", "--json", "--sink", "archive", "--handler", "everything", "--key", "group-2"]);
    assert_eq!(seqs(&events), [2]);
    assert_eq!(events[0]["type"], "tencent-chat.callback.Group.CallbackAfterGroupAttrChanged");

    // Contents only for those who ask for them.
    for args in [
        &["callbacks"][..],
        &["callbacks", "--json"],
        &["events"],
        &["events", "--json"],
        &["show", "callbacks/4"],
        &["show", "callbacks/4", "--json"],
        &["status", "--json"],
    ] {
        let plain = ok(folder, args);
        assert!(!plain.contains(SECRET) && !plain.contains("ClientIP"), "{args:?} says: {plain}");
        if args[0] != "status" {
            let full = ok(folder, &[args, &["--contents"]].concat());
            assert!(full.contains(SECRET), "{args:?} --contents says: {full}");
        }
    }
    let body = &json_lines(folder, &["callbacks", "--json", "--contents", "--text", "pier four"])[0]["body"];
    assert_eq!(body["MsgBody"][0]["MsgContent"]["Text"], SECRET);

    // Whatever a person types leads to the same callback.
    let callbacks = json_lines(folder, &["callbacks", "--json"]);
    let id = callbacks[1]["id"].as_str().unwrap();
    let event = format!("{id}.everything.0");
    for typed in [id, &id[..34], "callbacks/2", "events/2", &event] {
        let story = json(folder, &["show", typed, "--json"]);
        assert_eq!(story["callback"]["id"], id, "{typed}");
        assert_eq!(story["events"][0]["event"]["id"], event, "{typed}");
        assert_eq!(story["handlers"][0]["outcome"], "done", "{typed}");
        assert_eq!(story["events"][0]["sinks"][0]["outcome"], "done", "{typed}");
        let timeline = story["timeline"].as_array().unwrap().iter().map(|one| one["what"].as_str().unwrap());
        assert_eq!(
            timeline.collect::<Vec<_>>(),
            [
                "received",
                "stored as callbacks/2",
                "handler:everything: handled, 1 event",
                "event everything.0 stored as events/2",
                "sink:archive: event everything.0 delivered",
            ]
        );
    }
    let human = ok(folder, &["show", id]);
    assert!(human.starts_with(&format!("callback {id}\n  command      Group.CallbackAfterGroupAttrChanged (after)\n")));
    assert!(human.contains("  answer       acknowledged, once it was stored\n"), "{human}");
    let unknown = "01a20000-0000-7000-8000-000000000000";
    let said = fails(folder, &["show", unknown], 1);
    assert!(said.starts_with(&format!("no callback \"{unknown}\" is in this journal; ")), "{said}");
    assert_eq!(fails(folder, &["show", "events/9"], 1), "there is no events/9 yet; the last is events/4\n");
    assert!(fails(folder, &["show", "nonsense"], 1).starts_with("\"nonsense\" is no id; write "));
    assert!(fails(folder, &["callbacks", "--command", "Group.C*"], 1).contains("is not a command or a pattern"));
    assert!(fails(folder, &["callbacks", "--since", "yesterday"], 2).contains("write how long ago"));

    let status = json(folder, &["status", "--json"]);
    assert_eq!(status["running"].is_object(), is_running, "{status}");
    assert_eq!(status["journal"]["callbacks"]["last"], 4);
    assert_eq!(status["journal"]["health"], "ok");
    let state = if is_running { "up" } else { "not_running" };
    assert_eq!(consumer(&status, "sink:archive")["state"], state);
    assert_eq!(consumer(&status, "sink:archive")["checkpoint"], 4);
    assert!(consumer(&status, "sink:archive").get("oldest").is_none(), "it is through with all: {status}");
    let human = ok(folder, &["status"]);
    assert!(human.lines().all(|line| line.chars().count() <= 100), "{human}");
    let first = if is_running { "dispatcher 0.1.0 runs as process " } else { "no dispatcher runs; " };
    assert!(human.starts_with(first), "{human}");
    assert!(human.contains("no dead letters"), "{human}");
}

#[tokio::test(flavor = "multi_thread")]
async fn callbacks_and_events_are_listed_searched_and_shown() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    config(folder, ARCHIVE);
    assert_eq!(
        fails(folder, &["callbacks"], 1),
        format!(
            "{}: there is no journal; the first `dispatcher run` makes it. A relative path in the configuration starts at the \
             working directory; --config names another configuration. A dispatcher that was started when journal.path was another \
             keeps that: --journal names it\n",
            folder.join("journal.db").display()
        )
    );
    let process = Process::start(DISPATCHER, folder);
    let tencent = tencent(&process);
    tencent.change_attribute("group-1", 1).await;
    tencent.change_attribute("group-2", 2).await;
    tencent.change_attribute("group-1", 3).await;
    send(&tencent, "group-3", 4, SECRET).await;
    wait_for_lines(&folder.join("events.jsonl"), 4);
    eventually("the last commit", || {
        let status = json(folder, &["status", "--json"]);
        (consumer(&status, "sink:archive")["checkpoint"] == 4).then_some(())
    });
    check_reading(folder, true);
    assert!(!process.stderr().contains(SECRET));
    assert!(process.terminate().success());
    assert!(!folder.join("journal.db.sock").exists(), "a clean stop leaves no socket");
    check_reading(folder, false);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_is_followed_and_nothing_steers_the_terminal() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    config(folder, ARCHIVE);
    let process = Process::start(DISPATCHER, folder);
    let tencent = tencent(&process);
    let mut follower = Command::new(DISPATCHER)
        .args(["callbacks", "--follow", "--contents", "--key", "g\u{9b}31m"])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    send(&tencent, "other", 1, "x").await;
    send(&tencent, "g\u{9b}31m", 2, "a\u{202e}b").await;
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let seen: Vec<String> = (0..4).map(|_| lines.next().unwrap().unwrap()).collect();
    assert!(seen[1].contains("callbacks/2") && seen[1].contains("g\\u{9b}31m"), "{seen:?}");
    assert!(seen[3].contains("a\\u{202e}b"), "{seen:?}");
    follower.kill().unwrap();
    follower.wait().unwrap();
    let json = ok(folder, &["callbacks", "--json", "--contents", "--limit", "1"]);
    assert!(json.contains("g\\u009b31m") && json.contains("a\\u202eb"), "{json}");
    assert!(process.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_replayed_and_discarded() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Status(404));
    config(folder, &relay(&receiver));
    let process = Process::start(DISPATCHER, folder);
    let tencent = tencent(&process);
    for nth in 1..=3 {
        send(&tencent, &format!("group-{nth}"), nth, SECRET).await;
    }
    let list = |args: &[&str]| json_lines(folder, &[&["dead-letters", "list", "--json"], args].concat());
    let letters = eventually("three dead letters", || Some(list(&[])).filter(|letters| letters.len() == 3));
    assert_eq!(letters[0]["id"], format!("sink:relay/{}", letters[0]["seq"]));
    assert_eq!(letters[0]["command"], SEND_MSG);
    for (args, n) in [
        (&["--key", "group-2"][..], 1),
        (&["--sink", "relay", "--reason", "404"], 3),
        (&["--handler", "everything"], 0),
        (&["--command", "State.*"], 0),
        (&["--until", "1h"], 0),
        (&["--limit", "2"], 2),
    ] {
        assert_eq!(list(args).len(), n, "{args:?}");
    }
    assert!(letters.is_sorted_by_key(|letter| letter["at"].as_str().unwrap().to_owned()));
    assert_eq!(list(&["--limit", "2"]), letters[1..], "the newest");
    let output = run(folder, &["dead-letters", "list", "--limit", "2"]);
    assert_eq!(text(&output.stderr), "3 dead letters; these are the newest 2, --limit lists more\n");
    assert!(!text(&output.stdout).contains(SECRET));
    let of_key = |key: &str| list(&["--key", key])[0]["id"].as_str().unwrap().to_owned();
    let (first, second) = (of_key("group-1"), of_key("group-2"));
    let shown = ok(folder, &["dead-letters", "show", &first]);
    assert!(shown.starts_with(&format!("dead letter {first}\n")) && shown.contains("\n  reason       "), "{shown}");
    assert!(!shown.contains(SECRET));
    assert!(ok(folder, &["dead-letters", "show", &first, "--contents"]).contains(SECRET));
    let story = ok(folder, &["show", "callbacks/1"]);
    assert!(
        story.contains(": dead letter after 1 attempt: ") && story.contains(": given up on at attempt 1: "),
        "{story}"
    );
    assert_eq!(json(folder, &["status", "--json"])["dead_letters"], 3);

    assert!(fails(folder, &["dead-letters", "discard"], 2).contains("say which"));
    assert!(fails(folder, &["dead-letters", "discard", "--all", &second], 2).contains("say which in one way"));
    assert!(fails(folder, &["dead-letters", "discard", &second], 2).contains("say --yes"));
    assert_eq!(
        fails(folder, &["dead-letters", "discard", "--yes", "sink:relay/99"], 1),
        "there is no dead letter sink:relay/99; `dispatcher dead-letters list` lists those there are\n"
    );
    assert_eq!(list(&[]).len(), 3, "nothing is gone so far");
    assert_eq!(ok(folder, &["dead-letters", "discard", "--yes", &second]), "1 discarded\n");

    receiver.answer(Answer::Status(200));
    let said = ok(folder, &["dead-letters", "replay", &first]);
    assert!(said.contains("replay 1: dead letters of sink:relay, ") && said.contains(": 1 done, 0 dead"), "{said}");
    receiver.wait_for(1).await;
    assert_eq!(list(&[]).len(), 1);
    assert!(process.terminate().success());

    // With none running, the command does it by itself.
    assert_eq!(list(&["--key", "group-3"]).len(), 1);
    let said = ok(folder, &["dead-letters", "replay", "--all"]);
    assert!(said.contains(": 1 done, 0 dead"), "{said}");
    let received = receiver.wait_for(2).await;
    let event: Value = serde_json::from_slice(&received.last().unwrap().body).unwrap();
    assert_eq!((&event["subject"], &event["replay"]), (&Value::from("group-3"), &Value::from(true)));
    assert_eq!(text(&run(folder, &["dead-letters", "list"]).stderr), "no dead letters\n");
    let replays = json_lines(folder, &["replay", "list", "--json"]);
    assert_eq!(replays.iter().map(|replay| replay["id"].as_u64().unwrap()).collect::<Vec<_>>(), [2, 1]);
}

/// Only root can be in this place; for others there is nothing to see.
#[tokio::test(flavor = "multi_thread")]
async fn root_leaves_no_files_that_the_user_of_the_journal_cannot_write_to() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    config(folder, ARCHIVE);
    let process = Process::start(DISPATCHER, folder);
    assert!(!process.stderr().contains("another user"), "{}", process.stderr());
    tencent(&process).change_attribute("group-1", 1).await;
    wait_for_lines(&folder.join("events.jsonl"), 1);
    assert!(process.terminate().success());
    fs::remove_file(folder.join("events.jsonl")).unwrap();
    chown(folder.join("journal.db"), Some(65_532), Some(65_532)).unwrap();

    let said = fails(folder, &["replay", "--sink", "archive"], 1);
    assert!(said.contains("journal.db belongs to user 65532") && said.contains("setpriv --reuid 65532"), "{said}");
    assert!(!folder.join("events.jsonl").exists());
    // Nothing is made by what works on the journal alone.
    let names = || fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name()).collect::<BTreeSet<_>>();
    let before = names();
    ok(folder, &["status"]);
    ok(folder, &["sinks", "pause", "archive"]);
    assert_eq!(names(), before);
    let process = Process::start(DISPATCHER, folder);
    assert!(process.stderr().contains("root runs this on the journal of another user"), "{}", process.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn delivered_events_are_replayed_with_a_dispatcher_and_without() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    config(folder, ARCHIVE);
    let process = Process::start(DISPATCHER, folder);
    let client = tencent(&process);
    for nth in 1..=4 {
        client.change_attribute(&format!("group-{}", nth % 2), nth).await;
    }
    let file = folder.join("events.jsonl");
    wait_for_lines(&file, 4);
    let dry = ["replay", "--sink", "archive", "--key", "group-1", "--dry-run"];
    assert_eq!(ok(folder, &dry), "it would be 2 of sink:archive; nothing was done\n");
    let said = ok(folder, &["replay", "--sink", "archive", "--key", "group-1"]);
    assert!(said.ends_with(": 2 done, 0 dead\n"), "{said}");
    let lines = wait_for_lines(&file, 6);
    assert_eq!(lines.len(), 6);
    assert!(lines[4..].iter().all(|event| event["replay"] == true && event["subject"] == "group-1"));
    assert!(fails(folder, &["replay", "--sink", "nowhere"], 1).contains("those that run are archive"));
    assert!(fails(folder, &["replay"], 2).contains("say whose: --sink NAME or --handler NAME"));
    assert!(fails(folder, &["replay", "cancel", "1"], 1).starts_with("replay 1 ended at "));

    // Who does not want to wait any more leaves it running.
    ok(folder, &["sinks", "pause", "archive", "--reason", "the disk is being changed"]);
    let mut watcher = Command::new(DISPATCHER)
        .args(["replay", "--sink", "archive"])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    BufReader::new(watcher.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
    assert!(said.starts_with("replay 2: sink:archive, events/1 to 4, under way"), "{said}");
    let mut stderr = BufReader::new(watcher.stderr.take().unwrap());
    while !said.starts_with("replaying, parked (the disk is being changed): 0 of 4") {
        said.clear();
        assert_ne!(stderr.read_line(&mut said).unwrap(), 0, "it ended");
    }
    assert!(Command::new("kill").args(["-INT", &watcher.id().to_string()]).status().unwrap().success());
    assert!(watcher.wait().unwrap().success());
    let mut said = String::new();
    stderr.read_to_string(&mut said).unwrap();
    assert!(said.contains("replay 2 goes on in the dispatcher; `dispatcher replay watch 2` waits for it"), "{said}");
    assert_eq!(ok(folder, &["replay", "cancel", "2"]), "replay 2 cancelled\n");

    // A pause lasts.
    assert!(process.terminate().success());
    let process = Process::start(DISPATCHER, folder);
    tencent(&process).change_attribute("group-9", 9).await;
    let status = json(folder, &["status", "--json"]);
    let archive = consumer(&status, "sink:archive");
    assert_eq!((&archive["state"], &archive["reason"]), (&"parked".into(), &"the disk is being changed".into()));
    let waits = eventually("an event that waits", || {
        let status = json(folder, &["status", "--json"]);
        Some(consumer(&status, "sink:archive").clone()).filter(|archive| archive.get("oldest").is_some())
    });
    let last = &json_lines(folder, &["callbacks", "--json", "--limit", "1"])[0];
    assert_eq!(waits["oldest"], last["received_at"], "{waits}");
    assert!(waits["oldest_secs"].is_u64(), "{waits}");
    assert!(ok(folder, &["sinks", "list"]).contains("`dispatcher sinks resume archive` lets it go on"));
    assert_eq!(wait_for_lines(&file, 6).len(), 6);
    assert_eq!(ok(folder, &["sinks", "resume", "archive"]), "sink archive goes on\n");
    wait_for_lines(&file, 7);
    assert!(fails(folder, &["consumers", "drop", "sink:archive", "--yes"], 1).starts_with("sink:archive runs, and "));
    assert!(fails(folder, &["sinks", "pause", "x"], 1).starts_with("the journal knows no consumer sink:x; it knows "));
    assert!(process.terminate().success());

    let said = ok(folder, &["replay", "--handler", "everything", "--key", "group-9"]);
    assert!(said.ends_with(": 1 done, 0 dead\n"), "{said}");
    assert_eq!(json_lines(folder, &["events", "--json"]).last().unwrap()["replay"], true);
    assert_eq!(ok(folder, &["consumers", "rename", "sink:archive", "sink:old"]), "sink:archive is sink:old now\n");
    let status = json(folder, &["status", "--json"]);
    assert_eq!(consumer(&status, "sink:old")["state"], "unconfigured");
    assert!(
        fails(folder, &["consumers", "rename", "sink:old", "handler:x"], 1).contains("only the part behind the colon")
    );
    assert_eq!(ok(folder, &["consumers", "drop", "sink:old", "--yes"]), "sink:old is forgotten\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_checked_copied_and_compacted() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    config(folder, ARCHIVE);
    let process = Process::start(DISPATCHER, folder);
    let client = tencent(&process);
    for nth in 1..=3 {
        send(&client, "group", nth, "damage me").await;
    }
    wait_for_lines(&folder.join("events.jsonl"), 3);
    let sound = "3 callbacks and 3 events are intact; nothing is damaged\n";
    let check = |name: &str| {
        assert_eq!(ok(folder, &["journal", "check"]), sound);
        let said = ok(folder, &["journal", "backup", name]);
        assert!(said.contains(&format!("/{name}: 3 callbacks, 3 events and 0 dead letters, ")), "{said}");
        assert_eq!(fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fails(folder, &["journal", "backup", name], 1).contains("there is something of this name already"));
        assert!(ok(folder, &["journal", "compact"]).contains(" returned; the file has "));
        assert!(ok(folder, &["journal", "status"]).starts_with("journal      journal.db\n  health     ok\n"));
    };
    check("copy-1.db");
    assert!(process.terminate().success());
    check("copy-2.db");

    // A copy is a journal.
    let settings = fs::read_to_string(folder.join("dispatcher.toml")).unwrap();
    fs::write(folder.join("copy.toml"), settings.replace("journal.db", "copy-1.db")).unwrap();
    assert_eq!(seqs(&json_lines(folder, &["callbacks", "--json", "--config", "copy.toml"])), [1, 2, 3]);

    let mut file = fs::read(folder.join("journal.db")).unwrap();
    let at = file.windows(9).position(|window| window == b"damage me").unwrap();
    file[at] = b'D';
    fs::write(folder.join("journal.db"), file).unwrap();
    let output = run(folder, &["journal", "check"]);
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stdout);
    assert!(said.contains(" fails its checksum\n") && said.contains("2 callbacks and 2 events are intact; "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_is_its_owners_alone_and_harms_nobody() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    config(folder, ARCHIVE);
    let socket = folder.join("journal.db.sock");
    let process = Process::start(DISPATCHER, folder);
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    process.kill();
    assert!(socket.exists(), "nobody could remove it");
    assert!(ok(folder, &["status"]).starts_with("no dispatcher runs; "), "an old socket is no dispatcher");
    let process = Process::start(DISPATCHER, folder);
    assert!(ok(folder, &["status"]).starts_with("dispatcher "), "it was replaced");

    let ask = |line: &[u8]| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // A server that has heard enough closes early.
        let _ = stream.write_all(line);
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    };
    assert!(ask(b"hello\n").starts_with("{\"failed\":\"this is no request: "));
    assert!(ask(b"{\"version\":1,\"request\":{\"launch\":1}}\n").starts_with("{\"failed\":\"this is no request: "));
    assert!(ask(b"{\"version\":2,\"request\":\"status\"}\n").contains("speaks version 1"));
    assert!(ask(&[b'x'; 2 << 20]).starts_with("{\"failed\":\"a request is one line of at most "));
    assert!(ask(b"{\"version\":1,\"request\":\"replays\"}\n").starts_with("{\"done\":"));

    // Answers of a megabyte to people who do not read them: as many as there can be, and then one more who asks.
    let tencent = tencent(&process);
    for nth in 0..20 {
        send(&tencent, "group", nth, &"x".repeat(50_000)).await;
    }
    let request = b"{\"version\":1,\"request\":{\"callbacks\":{\"contents\":true}}}\n";
    let silent: Vec<UnixStream> = (0..16)
        .map(|_| {
            let mut stream = UnixStream::connect(&socket).unwrap();
            stream.write_all(request).unwrap();
            stream
        })
        .collect();
    eventually("an answer for who reads", || run(folder, &["status"]).status.success().then_some(()));
    tencent.change_attribute("group", 99).await;
    wait_for_lines(&folder.join("events.jsonl"), 21);
    fs::remove_file(&socket).unwrap();
    let said = fails(folder, &["status"], 1);
    let start =
        format!("journal.db: process {} (`dispatcher`) has this journal open, and cannot be asked at ", process.id());
    assert!(said.starts_with(&start), "{said}");
    assert!(process.terminate().success(), "nor do they keep it from stopping");
    drop(silent);
}
