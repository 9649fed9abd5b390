//! A configuration that is read again while the program runs: by `dispatcher reload`, by SIGHUP and by watching the file.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

mod commands;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use dispatcher_testkit::{PATIENCE, Process, Receiver, Tencent};
use serde_json::Value;
use tempfile::TempDir;

use crate::commands::{json, run};

const DISPATCHER: &str = env!("CARGO_BIN_EXE_dispatcher");

const FORWARD: &str =
    "[handlers.forward]\nsinks = [\"archive\"]\n\n[sinks.archive]\ntype = \"file\"\npath = \"events.jsonl\"\n";

fn whole(sections: &str) -> String {
    format!(
        "[intake]\nlisten = \"127.0.0.1:0\"\n\n[[apps]]\nsdk_app_id = 1400000001\nname = \"main\"\ntokens = \
         [\"a-token\"]\n\n[journal]\npath = \"journal.db\"\n\n[log]\nformat = \"human\"\n\n{sections}"
    )
}

fn config(folder: &Path, sections: &str) {
    // As an editor or a deployment does it: who reads sees the old file or the new one.
    fs::write(folder.join("new.toml"), whole(sections)).unwrap();
    fs::rename(folder.join("new.toml"), folder.join("dispatcher.toml")).unwrap();
}

fn start(folder: &Path, sections: &str) -> (Process, Tencent) {
    config(folder, sections);
    let process = Process::start(DISPATCHER, folder);
    let tencent = tencent(&process);
    (process, tencent)
}

fn tencent(process: &Process) -> Tencent {
    Tencent::new(process.url(), 1_400_000_001, Some("a-token"))
}

fn program() -> &'static str {
    DISPATCHER
}

fn status(folder: &Path) -> Value {
    json(folder, &["status", "--json"])
}

/// What a reload says that is done.
#[track_caller]
fn reload(folder: &Path) -> Value {
    json(folder, &["reload", "--json"])
}

fn hang_up(process: &Process) {
    let id = rustix::process::Pid::from_raw(process.id().cast_signed()).unwrap();
    rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
}

async fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{what} does not come to be");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn events(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn message(text: &str) -> String {
    format!(
        r#"{{"CallbackCommand":"C2C.CallbackBeforeSendMsg","From_Account":"mara","To_Account":"bob",
        "MsgBody":[{{"MsgType":"TIMTextElem","MsgContent":{{"Text":"{text}"}}}}]}}"#
    )
}

async fn wait_for_events(path: &Path, n: usize) -> Vec<Value> {
    eventually("enough events", || Some(events(path)).filter(|events| events.len() >= n)).await
}

/// As many reloads under load as `RELOADS` says: 25 without it, 1,000 by hand, and then no answer may be slow. Handlers, a
/// decider among them, sinks, tokens and limits change with each.
#[tokio::test(flavor = "multi_thread")]
async fn under_load_nothing_is_refused_lost_or_doubled() {
    /// Far more than any answer takes, and less than one that waits for a reload.
    const SLOW: u64 = 500_000;
    let by_hand: Option<u64> = std::env::var("RELOADS").ok().map(|n| n.parse().unwrap());
    let n_reloads = by_hand.unwrap_or(25);
    let folder = TempDir::new().unwrap();
    let receiver = Receiver::start().await;
    let sections = |n: u64| {
        format!(
            "[handlers.forward]\nsinks = [\"archive\", \"relay\"]\nlanes = {}\n\n[sinks.archive]\ntype = \"file\"\npath = \
             \"events.jsonl\"\nrotate_size = \"{}GiB\"\n\n[sinks.relay]\ntype = \"http\"\nurl = \"{}\"\nallow_networks = \
             [\"127.0.0.0/8\"]\nlanes = {}\n\n[commands.\"C2C.*\"]\njournal = \"{}\"\n\n[handlers.words]\ntype = \"word-filter\"\nwords = \
             [\"dreadful-{n}\"]\naction = \"refuse\"\n",
            1 + n % 5,
            1 + n % 2,
            receiver.url(),
            2 + n % 3,
            if n.is_multiple_of(2) { "always" } else { "never" }
        )
    };
    let write = |n: u64| {
        let (tokens, most) =
            if n.is_multiple_of(2) { ("\"a-token\", \"b-token\"", 256) } else { ("\"b-token\", \"c-token\"", 512) };
        let text = whole(&sections(n)).replace("\"a-token\"", tokens);
        let text = text.replace("[intake]\n", &format!("[intake]\nmax_in_flight = {most}\n"));
        fs::write(folder.path().join("new.toml"), text).unwrap();
        fs::rename(folder.path().join("new.toml"), folder.path().join("dispatcher.toml")).unwrap();
    };
    write(0);
    let process = Process::start(DISPATCHER, folder.path());
    let tencent = Tencent::new(process.url(), 1_400_000_001, Some("b-token"));
    let (tencent, is_over, sent) = (Arc::new(tencent), Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let slowest = Arc::new(AtomicU64::new(0));
    let senders: Vec<_> = (0..4)
        .map(|group| {
            let (tencent, is_over, sent, slowest) = (tencent.clone(), is_over.clone(), sent.clone(), slowest.clone());
            tokio::spawn(async move {
                let mut nth = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let begun = Instant::now();
                    // Panics unless it is answered OK.
                    tencent.change_attribute(&format!("@TGS#{group}"), nth).await;
                    tencent.send("C2C.CallbackBeforeSendMsg", &message("a harmless word")).await.expect_ok();
                    let micros = u64::try_from(begun.elapsed().as_micros()).unwrap();
                    slowest.fetch_max(micros, Ordering::Relaxed);
                    nth += 1;
                    sent.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for n in 1..=n_reloads {
        write(n);
        let path = folder.path().to_owned();
        let reloaded = tokio::task::spawn_blocking(move || reload(&path)).await.unwrap();
        assert_eq!(reloaded["changed"].as_array().unwrap().len(), 4, "{reloaded}");
        let settings = serde_json::json!(["apps", "commands.\"C2C.*\"", "intake.max_in_flight"]);
        assert_eq!(reloaded["settings"], settings, "{reloaded}");
        // Something happens between each two of them.
        let before = sent.load(Ordering::Relaxed);
        eventually("an answer", || (sent.load(Ordering::Relaxed) > before).then_some(())).await;
    }
    is_over.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    let sent = usize::try_from(sent.load(Ordering::Relaxed)).unwrap();
    println!("{n_reloads} reloads, {sent} callbacks of each kind, the slowest pair of answers took {slowest:?} µs");
    assert!(by_hand.is_none() || slowest.load(Ordering::Relaxed) < SLOW);
    let filed = wait_for_events(&folder.path().join("events.jsonl"), sent).await;
    let relayed = receiver.wait_for(sent).await;
    let relayed: Vec<Value> = relayed.iter().map(|one| serde_json::from_slice(&one.body).unwrap()).collect();
    assert!(process.terminate().success(), "it stops in good order");
    for (sink, events) in [("archive", &filed), ("relay", &relayed)] {
        let mut ids: Vec<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((ids.len(), events.len()), (sent, sent), "each callback reached {sink} once");
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for event in events {
            let time: u64 = event["data"]["EventTime"].as_u64().unwrap();
            let before = last.insert(event["partitionkey"].as_str().unwrap(), time);
            assert!(before.is_none_or(|before| before < time), "{sink} is in order per key");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_configuration_changes_nothing_and_says_why() {
    let folder = TempDir::new().unwrap();
    let (process, tencent) = start(folder.path(), FORWARD);
    tencent.change_attribute("group", 0).await;
    config(folder.path(), &FORWARD.replace("path", "paht"));
    let output = run(folder.path(), &["reload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("sinks.archive.paht: unknown key"), "{said}");
    hang_up(&process);
    eventually("a word in the log", || process.stderr().contains("everything goes on as it was").then_some(())).await;
    assert!(process.stderr().contains("sinks.archive.paht"));
    tencent.change_attribute("group", 1).await;
    wait_for_events(&folder.path().join("events.jsonl"), 2).await;

    // Right for who asks, and wrong for the dispatcher, whose environment is another.
    config(folder.path(), &FORWARD.replace("events.jsonl", "${RELOAD_TEST_NAME}.jsonl"));
    let output =
        Command::new(DISPATCHER).arg("reload").current_dir(folder.path()).env("RELOAD_TEST_NAME", "x").output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("RELOAD_TEST_NAME is not set") && said.contains("nothing has changed"), "{said}");

    config(folder.path(), FORWARD);
    assert_eq!(reload(folder.path())["changed"], Value::Array(vec![]), "all is as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_cannot_be_opened_is_down_and_keeps_nothing_else_from_going_on() {
    let folder = TempDir::new().unwrap();
    let sections = FORWARD.replace("events.jsonl", "mounted/events.jsonl");
    let (process, tencent) = start(folder.path(), &sections);
    assert!(process.stderr().contains("warning: dispatcher.toml:"), "{}", process.stderr());
    assert!(process.stderr().contains("sinks.archive.path: the folder mounted does not exist"), "{}", process.stderr());
    let check = run(folder.path(), &["check"]);
    assert_eq!(check.status.code(), Some(78), "{}", String::from_utf8_lossy(&check.stderr));

    tencent.change_attribute("group", 0).await;
    // Others change while it is down; itself, it does not become another that is as bad.
    let both = whole(&sections).replace("[\"a-token\"]", "[\"a-token\", \"b-token\"]");
    fs::write(folder.path().join("dispatcher.toml"), &both).unwrap();
    let warnings = reload(folder.path())["warnings"].to_string();
    assert!(warnings.contains("the folder mounted does not exist"), "{warnings}");
    let tencent = Tencent::new(process.url(), 1_400_000_001, Some("b-token"));
    tencent.change_attribute("group", 1).await;
    fs::write(folder.path().join("dispatcher.toml"), both.replace("mounted/", "absent/")).unwrap();
    let refused = run(folder.path(), &["reload"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(78), "{said}");
    assert!(said.contains("sinks.archive.path: the folder absent does not exist"), "{said}");

    fs::create_dir(folder.path().join("mounted")).unwrap();
    tencent.change_attribute("group", 2).await;
    wait_for_events(&folder.path().join("mounted/events.jsonl"), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn signatures_stay_on_where_others_can_reach_it_until_a_restart() {
    let folder = TempDir::new().unwrap();
    let write = |listen: &str, signature: &str| {
        let text = whole(FORWARD).replace("127.0.0.1:0\"", listen).replace("tokens", &format!("{signature}tokens"));
        fs::write(folder.path().join("dispatcher.toml"), text).unwrap();
    };
    write("0.0.0.0:0\"", "");
    let process = Process::start(DISPATCHER, folder.path());
    let url = process.url().replace("0.0.0.0", "127.0.0.1");
    let unsigned = Tencent::new(&url, 1_400_000_001, None);

    // Right at the next start, which listens elsewhere.
    write("127.0.0.1:0\"", "signature = \"off\"\n");
    let output = run(folder.path(), &["reload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("apps[0].signature: anybody who reaches 0.0.0.0:0 could make callbacks up"), "{said}");
    let refused = unsigned.try_send("Group.CallbackAfterGroupFull", "{}").await.unwrap();
    assert_eq!(refused.status, 401, "{refused:?}");

    write("0.0.0.0:0\"\nallow_unsigned_remote = true", "signature = \"off\"\n");
    reload(folder.path());
    let taken = unsigned.try_send("Group.CallbackAfterGroupFull", "{}").await.unwrap();
    assert_eq!(taken.status, 200, "{taken:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changed_is_applied_and_what_needs_a_restart_is_named() {
    let folder = TempDir::new().unwrap();
    let file = |name: &str| folder.path().join(name);
    let (process, tencent) = start(folder.path(), FORWARD);
    tencent.change_attribute("group", 0).await;
    wait_for_events(&file("events.jsonl"), 1).await;

    // The sink writes elsewhere, a handler and a sink are new, another path for callbacks, a token that changes.
    let more = FORWARD.replace("events.jsonl", "other.jsonl")
        + "\n[handlers.attributes]\ntype = \"group-attribute-changed\"\nsinks = [\"more\"]\n\n[sinks.more]\ntype = \
           \"file\"\npath = \"more.jsonl\"\n";
    let text = whole(&more)
        .replace("[\"a-token\"]", "[\"b-token\"]")
        .replace("listen = ", "path = \"/in\"\nlisten = ")
        .replace("path = \"journal.db\"", "path = \"journal.db\"\nkeep_for = \"1d\"");
    let before = status(folder.path());
    fs::write(file("dispatcher.toml"), text).unwrap();
    let (another, human) = ("the file is another by now", || run(folder.path(), &["status"]).stdout);
    assert!(String::from_utf8(human()).unwrap().contains(another));
    let reloaded = reload(folder.path());
    assert!(!String::from_utf8(human()).unwrap().contains(another));
    assert_eq!(reloaded["added"], serde_json::json!(["sink:more", "handler:attributes"]));
    assert_eq!(reloaded["changed"], serde_json::json!(["sink:archive"]));
    assert_eq!(reloaded["settings"], serde_json::json!(["apps", "intake.path"]));
    assert_eq!(reloaded["needs_restart"], serde_json::json!(["journal.keep_for"]));
    let old = tencent.try_send("Group.CallbackAfterGroupFull", "{}").await.unwrap();
    assert_eq!(old.status, 404, "{old:?}");
    let url = process.url().replace("/callback", "/in");
    let tencent = Tencent::new(&url, 1_400_000_001, Some("a-token"));
    let refused = tencent.try_send("Group.CallbackAfterGroupFull", "{}").await.unwrap();
    assert_eq!(refused.status, 401, "{refused:?}");
    Tencent::new(&url, 1_400_000_001, Some("b-token")).change_attribute("group", 1).await;
    assert_eq!(wait_for_events(&file("other.jsonl"), 1).await.len(), 1);
    assert_eq!(wait_for_events(&file("more.jsonl"), 1).await.len(), 1);
    assert_eq!(events(&file("events.jsonl")).len(), 1);
    let after = status(folder.path());
    let app = &after["running"]["apps"][0];
    assert_eq!((&app["name"], &app["callbacks"]), (&"main".into(), &2.into()), "{app}");
    assert!(app["secs_since_last"].is_u64(), "{app}");
    let digest = |status: &Value| status["running"]["configuration"].as_str().unwrap().to_owned();
    assert_ne!(digest(&before), digest(&after));
    let sum = Command::new("sha256sum").arg(file("dispatcher.toml")).output().unwrap().stdout;
    assert!(String::from_utf8(sum).unwrap().starts_with(&digest(&after)));
    let names: Vec<&str> =
        after["consumers"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["handler:attributes", "handler:forward", "sink:archive", "sink:more"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_removed_keeps_its_place_and_goes_on_when_it_is_back() {
    let folder = TempDir::new().unwrap();
    let more = "\n[handlers.attributes]\ntype = \"group-attribute-changed\"\nsinks = [\"more\"]\n\n[sinks.more]\ntype = \
                \"file\"\npath = \"more.jsonl\"\n";
    let both = format!("{FORWARD}{more}");
    let (_process, tencent) = start(folder.path(), &both);
    tencent.change_attribute("group", 0).await;
    wait_for_events(&folder.path().join("more.jsonl"), 1).await;
    config(folder.path(), FORWARD);
    assert_eq!(reload(folder.path())["removed"], serde_json::json!(["handler:attributes", "sink:more"]));
    tencent.change_attribute("group", 1).await;
    wait_for_events(&folder.path().join("events.jsonl"), 2).await;
    config(folder.path(), &both);
    assert_eq!(reload(folder.path())["added"], serde_json::json!(["sink:more", "handler:attributes"]));
    let events = wait_for_events(&folder.path().join("more.jsonl"), 2).await;
    assert_eq!(events.len(), 2, "what came meanwhile, and nothing twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_reloads_and_the_log_changes_its_level() {
    let folder = TempDir::new().unwrap();
    let (process, tencent) = start(folder.path(), FORWARD);
    config(folder.path(), &FORWARD.replace("events", "others"));
    hang_up(&process);
    eventually("a reload", || process.stderr().contains("the configuration was reloaded").then_some(())).await;
    tencent.change_attribute("group", 0).await;
    wait_for_events(&folder.path().join("others.jsonl"), 1).await;
    assert!(!process.stderr().contains("DEBUG"));
    let output = run(folder.path(), &["log-level", "debug"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(tencent.post("SdkAppid=1", "{}").await.unwrap().status, 403, "which is a line at debug");
    eventually("a line at debug", || process.stderr().contains("DEBUG").then_some(())).await;
    let output = run(folder.path(), &["log-level", "loud"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("write error, warn, info, debug or trace"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_file_is_followed_through_links_and_so_are_the_files_it_names() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let watched = |name: &str| {
        let words = "[handlers.words]\ntype = \"word-filter\"\nwords_files = [\"words.txt\"]\naction = \"refuse\"\n";
        whole(&format!("[reload]\nwatch = \"100ms\"\n\n{words}\n{}", FORWARD.replace("events", name)))
    };
    fs::write(at("words.txt"), "harmless\n").unwrap();
    // As a cluster mounts a configuration: the file is a link through a link to a folder, and that link is swapped.
    for version in ["one", "two"] {
        fs::create_dir(at(version)).unwrap();
        fs::write(at(version).join("dispatcher.toml"), watched(version)).unwrap();
    }
    symlink("one", at("data")).unwrap();
    symlink("data/dispatcher.toml", at("dispatcher.toml")).unwrap();
    let process = Process::start(DISPATCHER, folder.path());
    let tencent = tencent(&process);
    tencent.change_attribute("group", 0).await;
    wait_for_events(&at("one.jsonl"), 1).await;
    symlink("two", at("next")).unwrap();
    fs::rename(at("next"), at("data")).unwrap();
    eventually("a reload", || process.stderr().contains("the configuration was reloaded").then_some(())).await;
    tencent.change_attribute("group", 1).await;
    wait_for_events(&at("two.jsonl"), 1).await;

    tencent.send("C2C.CallbackBeforeSendMsg", &message("a dreadful word")).await.expect_ok();
    fs::write(at("words.txt"), "harmless\ndreadful\n").unwrap();
    let started = Instant::now();
    loop {
        let reply = tencent.send("C2C.CallbackBeforeSendMsg", &message("a dreadful word")).await;
        if reply.json()["ErrorCode"] != 0 {
            break;
        }
        assert!(started.elapsed() < PATIENCE, "the list of words is not read again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(process.stderr().contains("handler:words"), "{}", process.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_steers_needs_no_more_of_the_file_than_where_the_journal_is() {
    let folder = TempDir::new().unwrap();
    let (_process, _) = start(folder.path(), FORWARD);
    let write = |text: String| fs::write(folder.path().join("dispatcher.toml"), text).unwrap();
    // Wrong, with a secret that cannot be read, and no TOML towards its end.
    write(whole(FORWARD).replace("[\"a-token\"]", "[{ file = \"none\" }]") + "\n[sinks.more\n");
    for args in
        [&["status"][..], &["log-level", "debug"], &["sinks", "pause", "archive"], &["sinks", "resume", "archive"]]
    {
        let output = run(folder.path(), args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let output = run(folder.path(), &["reload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("dispatcher.toml:") && said.contains("nothing has changed"), "{said}");

    // The dispatcher keeps its journal, which is found where it is.
    write(whole(FORWARD).replace("\"journal.db\"", "\"other.db\""));
    let output = run(folder.path(), &["reload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("--journal names it"), "{said}");
    let output = run(folder.path(), &["reload", "--json", "--journal", "journal.db"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let reloaded: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reloaded["needs_restart"], serde_json::json!(["journal.path"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shorter_watch_counts_at_once() {
    let folder = TempDir::new().unwrap();
    let watched =
        |every: &str, name: &str| format!("[reload]\nwatch = \"{every}\"\n\n{}", FORWARD.replace("events", name));
    let (_process, tencent) = start(folder.path(), &watched("1d", "one"));
    config(folder.path(), &watched("100ms", "two"));
    reload(folder.path());
    config(folder.path(), &watched("100ms", "three"));
    let file = folder.path().join("three.jsonl");
    let mut nth = 0;
    while events(&file).is_empty() {
        tencent.change_attribute("group", nth).await;
        nth += 1;
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(nth < 3_000, "nobody looks");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_reloaded_is_tried_again_in_silence() {
    let folder = TempDir::new().unwrap();
    let sections = format!("[reload]\nwatch = \"100ms\"\n\n{FORWARD}");
    let (process, tencent) = start(folder.path(), &sections);
    let text = whole(&sections).replace("[\"a-token\"]", "[{ file = \"token\" }]");
    fs::write(folder.path().join("dispatcher.toml"), text).unwrap();
    let said = |what: &str| process.stderr().matches(what).count();
    let what = "the configuration was not reloaded";
    eventually("a word in the log", || (said(what) > 0).then_some(())).await;
    // Longer than the first wait: it was tried again by then, and that is not what is asserted.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    tencent.change_attribute("group", 0).await;
    fs::write(folder.path().join("token"), "b-token").unwrap();
    eventually("a word in the log", || (said("it counts now") > 0).then_some(())).await;
    Tencent::new(process.url(), 1_400_000_001, Some("b-token")).change_attribute("group", 1).await;
    assert_eq!((said(what), said("is still not reloaded")), (1, 0), "{}", process.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_are_on_record_whatever_set_them_off() {
    let folder = TempDir::new().unwrap();
    let watched =
        |every: &str, name: &str| format!("[reload]\nwatch = \"{every}\"\n\n{}", FORWARD.replace("events.jsonl", name));
    let audit = || events(&folder.path().join("audit.jsonl")); // Lines of JSON, these too.
    let digest = || status(folder.path())["running"]["configuration"].clone();
    let (process, _) = start(folder.path(), &watched("off", "one.jsonl"));
    let mut counted = vec![digest()];
    let expect = async |via: &str, n: usize| {
        let lines = eventually("a line in the audit log", || Some(audit()).filter(|lines| lines.len() >= n)).await;
        assert_eq!((lines.len(), &lines[n - 1]["via"]), (n, &via.into()), "{lines:?}");
        assert_eq!(lines[n - 1]["action"], "reload");
        lines[n - 1].clone()
    };
    config(folder.path(), &watched("off", "two.jsonl"));
    hang_up(&process);
    let line = expect("signal", 1).await;
    counted.push(digest());
    assert_eq!(line["configuration"], serde_json::json!({ "before": counted[0], "after": counted[1] }));
    assert_ne!(counted[0], counted[1]);
    assert_eq!(line["changes"], serde_json::json!({ "changed": ["sink:archive"] }));
    assert_eq!((&line["result"], &line["n"]), (&"done".into(), &1.into()), "{line}");

    // One that is wrong changes nothing.
    config(folder.path(), &watched("off", "two.jsonl\"\npaht = \"x"));
    hang_up(&process);
    let line = expect("signal", 2).await;
    assert_eq!(line["configuration"], serde_json::json!({ "before": counted[1], "after": counted[1] }));
    assert!(line["findings"][0].as_str().unwrap().contains("sinks.archive.paht: unknown key"), "{line}");
    assert!(line["result"] == "failed" && line["why"].as_str().unwrap().starts_with("nothing has changed"), "{line}");
    assert!(line.get("changes").is_none() && line.get("n").is_none(), "{line}");

    // Who asks is told of in the same words.
    config(folder.path(), &watched("100ms", "two.jsonl"));
    reload(folder.path());
    let line = expect("socket", 3).await;
    counted.push(digest());
    assert_eq!(line["configuration"], serde_json::json!({ "before": counted[1], "after": counted[2] }));
    assert_eq!(line["changes"], serde_json::json!({ "settings": ["reload.watch"] }));

    // While it is watched: what is wrong, and then that it is right again.
    config(folder.path(), &watched("100ms", "two.jsonl\"\npaht = \"x"));
    let line = expect("watch", 4).await;
    assert!(line["result"] == "failed" && line["findings"].is_array(), "{line}");
    config(folder.path(), &watched("100ms", "three.jsonl"));
    let line = expect("watch", 5).await;
    counted.push(digest());
    assert_eq!(line["configuration"], serde_json::json!({ "before": counted[2], "after": counted[3] }));
    assert_eq!(line["changes"], serde_json::json!({ "changed": ["sink:archive"] }));
    assert!(process.terminate().success());
    assert_eq!(audit().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipe_in_place_of_a_secrets_file_keeps_nobody_waiting() {
    let folder = TempDir::new().unwrap();
    let (process, _) = start(folder.path(), FORWARD);
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("pipe"), mode).unwrap();
    let text = whole(FORWARD).replace("[\"a-token\"]", "[{ file = \"pipe\" }]");
    fs::write(folder.path().join("dispatcher.toml"), text).unwrap();
    hang_up(&process);
    let said = || process.stderr().contains("it is not a file").then_some(());
    eventually("a word in the log", said).await;
    assert!(process.terminate().success());
}
