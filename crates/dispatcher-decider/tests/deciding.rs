//! What is answered, whatever deciders do, and what is on record of it.
#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use dispatcher_core::{
    App, Callback, CallbackId, CallbackParts, CheckContext, Command, CommandPattern, DecideContext, Decision,
    DecisionResult, FriendRequest, Handler, HandlerError, HandlerSettings, Invitation, Message, OpenContext, OpenError,
    PhaseFilter, Purpose, Route, SettingError, Timestamp,
};
use dispatcher_decider::{
    Answer, DeciderInstance, DeciderOptions, DeciderStatus, Deciders, DefaultRule, Emit, Fallback, State,
};
use dispatcher_journal::{DecisionKind, Journal, JournalOptions, Place, Row};
use serde_json::{Value, json};

const C2C: &str = "C2C.CallbackBeforeSendMsg";
const INVITE: &str = "Group.CallbackBeforeInviteJoinGroup";
const FRIENDS: &str = "Sns.CallbackPrevFriendAdd";
const SIGNAL: &str = "Chatbot.OnC2CSignalMessage";
const OK: &str = tencent_chat::OK;
const REFUSED: &str = r#"{"ActionStatus":"OK","ErrorInfo":"","ErrorCode":1}"#;

/// No decision that is made needs so long, whatever the machine is busy with.
const AMPLE: Duration = Duration::from_secs(60);
/// Long enough for a thread to start, short enough to wait for.
const SHORT: Duration = Duration::from_millis(100);

type Act = dyn Fn(&Callback, &DecideContext) -> Doing + Send + Sync;

/// What a decider of these tests does with a callback.
enum Doing {
    Says(Option<Decision>),
    Fails,
    Panics,
    /// Awaits for ever.
    Hangs,
    /// Awaits until this says so, and then decides.
    After(Arc<tokio::sync::Semaphore>, Decision),
    /// Awaits until this says so, and then panics.
    AfterPanics(Arc<tokio::sync::Semaphore>),
    /// Blocks its thread until the other end is dropped.
    Blocks(mpsc::Receiver<()>),
}

#[derive(Clone)]
struct Settings {
    act: Arc<Act>,
    opened: Arc<AtomicUsize>,
    /// How long it takes to open.
    opens_after: Duration,
    /// The names of the threads on which instances were dropped.
    dropped: Arc<Mutex<Vec<String>>>,
}

struct Instance(Settings);

impl Drop for Instance {
    fn drop(&mut self) {
        self.0.dropped.lock().unwrap().push(std::thread::current().name().unwrap_or_default().to_owned());
    }
}

#[async_trait]
impl HandlerSettings for Settings {
    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        Ok(())
    }

    fn forwards(&self) -> bool {
        false
    }

    fn handles_decided(&self) -> bool {
        true
    }

    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Handler>, OpenError> {
        if !self.opens_after.is_zero() {
            tokio::time::sleep(self.opens_after).await;
        }
        self.opened.fetch_add(1, Relaxed);
        Ok(Arc::new(Instance(self.clone())))
    }
}

#[async_trait]
impl Handler for Instance {
    async fn decide(&self, callback: &Callback, cx: &DecideContext) -> Result<Option<Decision>, HandlerError> {
        match (self.0.act)(callback, cx) {
            Doing::Says(decision) => Ok(decision),
            Doing::Fails => Err(HandlerError::retry("no database")),
            Doing::Panics => panic!("a slip"),
            Doing::Hangs => pending().await,
            Doing::After(gate, decision) => {
                gate.acquire().await.unwrap().forget();
                Ok(Some(decision))
            }
            Doing::AfterPanics(gate) => {
                gate.acquire().await.unwrap().forget();
                panic!("a slip")
            }
            Doing::Blocks(release) => {
                let _ = release.recv();
                Ok(None)
            }
        }
    }
}

fn decider(
    name: &str,
    act: impl Fn(&Callback, &DecideContext) -> Doing + Send + Sync + 'static,
) -> (DeciderInstance, Arc<AtomicUsize>) {
    let settings = settings(act);
    let opened = settings.opened.clone();
    (instance(name, settings), opened)
}

fn settings(act: impl Fn(&Callback, &DecideContext) -> Doing + Send + Sync + 'static) -> Settings {
    Settings { act: Arc::new(act), opened: Arc::default(), opens_after: Duration::ZERO, dropped: Arc::default() }
}

fn instance(name: &str, settings: Settings) -> DeciderInstance {
    let any = CommandPattern::new("*").unwrap();
    DeciderInstance {
        fingerprint: 0,
        name: name.to_owned(),
        settings: Arc::new(settings),
        route: Route { commands: vec![any], except: vec![], apps: None, phase: PhaseFilter::Any },
        threads: 1,
        options: DeciderOptions::default(),
    }
}

fn says(name: &str, decision: impl Fn(&Callback) -> Option<Decision> + Send + Sync + 'static) -> DeciderInstance {
    decider(name, move |callback, _| Doing::Says(decision(callback))).0
}

fn start(instances: Vec<DeciderInstance>, within: Duration) -> Deciders {
    Deciders::start(instances, &[], within).unwrap()
}

fn callback(command: &str) -> Arc<Callback> {
    let body = tencent_chat::command(command).unwrap().sample;
    Arc::new(Callback::new(CallbackParts {
        id: CallbackId::mint(),
        app: App::new(1, "main"),
        command: Command::new(command),
        query: "".into(),
        body: body.into(),
        received_at: Timestamp::now(),
        event_time: None,
        key: None,
        identity: None,
    }))
}

async fn decide(deciders: &Deciders, command: &str, within: Duration) -> Answer {
    decide_about(deciders, &callback(command), within).await
}

async fn decide_about(deciders: &Deciders, callback: &Arc<Callback>, within: Duration) -> Answer {
    deciders.decide(callback, Instant::now() + within, None).await
}

fn text(answer: &Answer) -> &str {
    std::str::from_utf8(&answer.reply).unwrap()
}

fn record(answer: &Answer) -> Value {
    serde_json::from_str(&answer.record.as_ref().unwrap().record).unwrap()
}

fn message(text: &str) -> Value {
    json!([{ "MsgType": "TIMTextElem", "MsgContent": { "Text": text } }])
}

/// Waits until it is so, which nothing but time brings about.
async fn until(deciders: &Deciders, is_so: impl Fn(&DeciderStatus) -> bool) {
    let begun = Instant::now();
    while !is_so(&deciders.status()[0]) {
        assert!(begun.elapsed() < AMPLE, "{:?}", deciders.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn without_deciders_the_default_is_answered_in_the_commands_own_shape() {
    let commands = CommandPattern::new("Group.*").unwrap();
    let rule = DefaultRule { commands, decision: Fallback::Refuse };
    let deciders = Deciders::start(vec![], &[rule], AMPLE).unwrap();
    let answer = decide(&deciders, C2C, AMPLE).await;
    assert_eq!((text(&answer), answer.record.is_none()), (OK, true));
    let answer = decide(&deciders, INVITE, AMPLE).await;
    assert_eq!(text(&answer), REFUSED);
    assert_eq!((&record(&answer)["result"], &record(&answer)["defaulted"]), (&"refused".into(), &true.into()));
    let friends: Value = serde_json::from_str(text(&decide(&deciders, FRIENDS, AMPLE).await)).unwrap();
    assert!(friends["ResultItem"].as_array().unwrap().iter().all(|item| item["ResultCode"] == 0), "{friends}");
    let signal: Value = serde_json::from_str(text(&decide(&deciders, SIGNAL, AMPLE).await)).unwrap();
    assert_eq!(signal["RspData"], "");
}

#[tokio::test]
async fn they_are_asked_in_order_and_see_what_earlier_ones_changed() {
    let mut first = says("z-first", |_| Some(Message::rewrite("a").elements(&message("one")).unwrap().into()));
    first.options.order = -1;
    let second = says("second", |callback| {
        let body: Value = serde_json::from_slice(callback.body_bytes()).unwrap();
        assert_eq!(body["MsgBody"], message("one"));
        Some(Message::rewrite("b").custom_data("two").into())
    });
    let deciders = start(vec![second, first], AMPLE);
    let answer = decide(&deciders, C2C, AMPLE).await;
    let reply: Value = serde_json::from_slice(&answer.reply).unwrap();
    let both = json!({ "ActionStatus": "OK", "ErrorInfo": "", "ErrorCode": 0, "MsgBody": message("one"), "CloudCustomData": "two" });
    assert_eq!((reply, answer.result), (both, DecisionResult::Rewritten));
    let record = record(&answer);
    assert_eq!((&record["by"], &record["reason"]), (&"second".into(), &"b".into()));
    let names: Vec<_> = record["deciders"].as_array().unwrap().iter().map(|step| &step["name"]).collect();
    assert_eq!(names, ["z-first", "second"]);
}

#[tokio::test]
async fn the_first_refusal_wins_and_nobody_is_asked_after_it() {
    let after = || says("b", |_| panic!("nobody asked it"));
    for decision in [Decision::refuse("x"), Message::drop_silently("x"), Decision::allow_finally("x")] {
        let decision = Box::leak(Box::new(decision));
        let deciders = start(vec![says("a", |_| Some(decision.clone())), after()], AMPLE);
        let answer = decide(&deciders, C2C, AMPLE).await;
        assert_eq!(record(&answer)["deciders"].as_array().unwrap().len(), 1, "{decision:?}");
    }
}

#[tokio::test]
async fn who_is_late_counts_as_the_configuration_says_and_time_that_is_over_is_over_for_all() {
    for (if_late, reply) in [(Fallback::Allow, OK), (Fallback::Refuse, REFUSED)] {
        let (mut late, _) = decider("a-late", |_, _| Doing::Hangs);
        late.options.if_late = if_late;
        let next = says("b-next", |_| None);
        let deciders = start(vec![late, next], AMPLE);
        let answer = decide(&deciders, C2C, SHORT).await;
        assert_eq!(text(&answer), reply);
        let steps = record(&answer)["deciders"].clone();
        assert_eq!((&steps[0]["said"], &steps[0]["then"]), (&"late".into(), &if_late.as_str().into()));
        match if_late {
            Fallback::Allow => assert_eq!(steps[1]["said"], "unreached"),
            Fallback::Refuse => assert_eq!(steps.as_array().unwrap().len(), 1),
        }
        assert!(answer.afterwards.is_some());
    }
}

#[tokio::test]
async fn one_with_a_time_of_its_own_leaves_the_rest_to_the_others() {
    let (mut late, _) = decider("a-late", |_, _| Doing::Hangs);
    late.options.timeout = SHORT;
    let deciders = start(vec![late, says("b", |_| Some(Decision::refuse("x")))], AMPLE);
    let answer = decide(&deciders, C2C, AMPLE).await;
    assert_eq!((text(&answer), &record(&answer)["by"]), (REFUSED, &"b".into()));
}

#[tokio::test]
async fn failures_panics_and_illegal_decisions_count_as_failed() {
    for (case, why) in [("fails", "no database"), ("panics", "a slip"), ("illegal", "not legal")] {
        let (mut instance, opened) = decider("a", move |_, _| match case {
            "fails" => Doing::Fails,
            "panics" => Doing::Panics,
            _ => Doing::Says(Some(Invitation::refuse_members("x", ["nobody"]))),
        });
        instance.options.if_failed = Fallback::Refuse;
        let deciders = start(vec![instance], AMPLE);
        let answer = decide(&deciders, C2C, AMPLE).await;
        assert_eq!(text(&answer), REFUSED, "{case}");
        let step = record(&answer)["deciders"][0].clone();
        assert_eq!((&step["said"], &step["then"]), (&"failed".into(), &"refuse".into()));
        assert!(step["reason"].as_str().unwrap().contains(why), "{step}");
        if case == "panics" {
            let begun = Instant::now();
            while opened.load(Relaxed) < 2 {
                assert!(begun.elapsed() < AMPLE, "it is not opened anew");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        let counts = deciders.status()[0].counts;
        assert_eq!((counts.failed, counts.illegal), (1, u64::from(case == "illegal")));
    }
}

#[tokio::test]
async fn beyond_so_many_at_once_it_is_busy() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let inner = gate.clone();
    let (mut instance, _) = decider("a", move |_, _| Doing::After(inner.clone(), Decision::allow()));
    (instance.options.max_in_flight, instance.options.if_busy) = (1, Fallback::Refuse);
    let deciders = start(vec![instance], AMPLE);
    let first = tokio::spawn({
        let deciders = deciders.clone();
        async move { text(&decide(&deciders, C2C, AMPLE).await).to_owned() }
    });
    until(&deciders, |status| status.in_flight == 1).await;
    let second = decide(&deciders, C2C, AMPLE).await;
    assert_eq!((text(&second), &record(&second)["deciders"][0]["said"]), (REFUSED, &"busy".into()));
    gate.add_permits(1);
    assert_eq!(first.await.unwrap(), OK);
    assert_eq!(deciders.status()[0].in_flight, 0);
}

#[tokio::test]
async fn one_that_blocks_its_thread_harms_nobody_else_and_is_opened_anew() {
    let (hold, release) = mpsc::channel();
    let release = Mutex::new(Some(release));
    let (mut blocks, opened) = decider("a-blocks", move |_, _| match release.lock().unwrap().take() {
        Some(release) => Doing::Blocks(release),
        None => Doing::Says(Some(Decision::refuse("I am back"))),
    });
    blocks.route.commands = vec![CommandPattern::new(C2C).unwrap()];
    let mut other = says("b-other", |_| Some(Decision::refuse("x")));
    other.route.commands = vec![CommandPattern::new(INVITE).unwrap()];
    let deciders = start(vec![blocks, other], SHORT);
    assert_eq!(text(&decide(&deciders, C2C, SHORT).await), OK);
    // The other has a thread of its own.
    assert_eq!(text(&decide(&deciders, INVITE, AMPLE).await), REFUSED);
    // Until it is opened anew it is answered for.
    let begun = Instant::now();
    while text(&decide(&deciders, C2C, SHORT).await) != REFUSED {
        assert!(begun.elapsed() < AMPLE, "{:?}", deciders.status());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((opened.load(Relaxed), &deciders.status()[0].state), (2, &State::Up));
    drop(hold);
}

#[tokio::test]
async fn one_that_always_blocks_is_off_in_the_end() {
    let (mut blocks, opened) = decider("a", |_, _| {
        let (hold, release) = mpsc::channel();
        std::mem::forget(hold);
        Doing::Blocks(release)
    });
    blocks.options.if_failed = Fallback::Refuse;
    let within = Duration::from_millis(10);
    let deciders = start(vec![blocks], within);
    let begun = Instant::now();
    while !matches!(deciders.status()[0].state, State::Off(_)) {
        assert!(begun.elapsed() < AMPLE, "{:?}", deciders.status());
        decide(&deciders, C2C, within).await;
    }
    assert_eq!(opened.load(Relaxed), 4);
    let answer = decide(&deciders, C2C, AMPLE).await;
    assert_eq!(text(&answer), REFUSED);
    assert!(record(&answer)["deciders"][0]["reason"].as_str().unwrap().contains("is off"));
}

#[tokio::test]
async fn a_reply_that_somebody_else_wrote_is_passed_on_byte_for_byte() {
    let raw = r#"{ "ErrorCode" : 0, "ActionStatus":"OK","ErrorInfo":"","CloudCustomData":"x" , "Own": 1}"#;
    let foreign = says("a", move |_| Some(Decision::from_reply(raw.into()).unwrap()));
    let deciders = start(vec![foreign.clone(), says("b", |_| None), says("c", |_| Some(Decision::allow()))], AMPLE);
    assert_eq!(text(&decide(&deciders, C2C, AMPLE).await), raw);
    // Changed by another, it is written anew.
    let changes = says("b", |_| Some(Message::rewrite("x").elements(&message("y")).unwrap().into()));
    let deciders = start(vec![foreign, changes], AMPLE);
    let reply: Value = serde_json::from_slice(&decide(&deciders, C2C, AMPLE).await.reply).unwrap();
    assert_eq!((&reply["CloudCustomData"], &reply["MsgBody"], reply.get("Own")), (&"x".into(), &message("y"), None));
}

#[tokio::test]
async fn verdicts_on_single_friends_add_up() {
    let sample = tencent_chat::command(FRIENDS).unwrap().sample.as_bytes();
    let targets = tencent_chat::targets(tencent_chat::ReplyFamily::FriendRequest, sample);
    let target = targets[0].clone();
    let a = says("a", move |_| Some(FriendRequest::verdicts("x").refuse(&*target, "no").done()));
    let deciders = start(vec![a, says("b", |_| None)], AMPLE);
    let reply: Value = serde_json::from_slice(&decide(&deciders, FRIENDS, AMPLE).await.reply).unwrap();
    let codes: Vec<_> =
        reply["ResultItem"].as_array().unwrap().iter().map(|item| item["ResultCode"].as_i64().unwrap()).collect();
    assert_eq!((codes.len(), codes[0], reply["ErrorCode"].as_i64()), (targets.len(), 38_000, Some(0)));
    assert!(codes[1..].iter().all(|code| *code == 0));
}

fn journal() -> (Journal, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (Journal::open(JournalOptions::new(folder.path().join("journal.db"))).unwrap(), folder)
}

/// Stores a callback with what was decided, as the intake does, and lets go on what goes on after the answer.
fn store(journal: &Journal, deciders: &Deciders, callback: Arc<Callback>, answer: Answer) {
    let place = Place::new();
    assert!(journal.port().append_decided(callback, answer.record.unwrap(), Some(&place)));
    deciders.go_on(answer.afterwards.unwrap(), Some((journal.clone(), place)));
}

async fn on_record(journal: &Journal, n: usize) -> Vec<(DecisionKind, Value)> {
    let begun = Instant::now();
    loop {
        let rows = journal.reader().unwrap().decisions(1).unwrap();
        if rows.len() >= n {
            return rows.into_iter().map(|row| (row.kind, serde_json::from_str(&row.record).unwrap())).collect();
        }
        assert!(begun.elapsed() < AMPLE, "{rows:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_verdict_that_comes_late_is_recorded_and_told_where_it_differs() {
    for (late, differs) in [(Decision::refuse("at last"), true), (Decision::allow(), false)] {
        let gate = Arc::new(tokio::sync::Semaphore::new(0));
        let inner = gate.clone();
        let (mut instance, _) = decider("a", move |_, _| Doing::After(inner.clone(), late.clone()));
        instance.options.emit = Emit { late: true, defaulted: true, ..Emit::default() };
        (instance.options.sinks, instance.options.late_wait) = ("archive,log".into(), AMPLE);
        let deciders = start(vec![instance], AMPLE);
        let (journal, _folder) = journal();
        let callback = callback(C2C);
        let answer = decide_about(&deciders, &callback, SHORT).await;
        assert_eq!(text(&answer), OK);
        store(&journal, &deciders, callback, answer);
        until(&deciders, |status| status.late_in_flight == 1).await;
        gate.add_permits(1);
        deciders.drain(AMPLE).await;
        let rows = on_record(&journal, 1 + usize::from(differs)).await;
        assert_eq!((rows.len(), rows[0].0), (1 + usize::from(differs), DecisionKind::Decided));
        let counts = deciders.status()[0].counts;
        assert_eq!((counts.late, counts.came_late, counts.late_differs), (1, 1, u64::from(differs)));
        let mut events = Vec::new();
        for seq in 1..=2 {
            if let Ok(Row::Intact(row)) = journal.reader().unwrap().event(seq) {
                events.push((
                    row.event.id(),
                    serde_json::from_slice::<Value>(row.event.data_json()).unwrap(),
                    row.sinks.to_string(),
                ));
            }
        }
        assert!(events[0].0.ends_with(".a.decision"), "{events:?}");
        assert_eq!((&events[0].1["said"], &events[0].2), (&"late".into(), &"archive,log".to_owned()));
        if differs {
            assert_eq!(rows[1].0, DecisionKind::Late);
            assert_eq!((&rows[1].1["result"], &rows[1].1["answered"]), (&"refused".into(), &"allowed".into()));
            assert!(events[1].0.ends_with(".a.late"), "{events:?}");
            let repair = &events[1].1["repair"];
            assert_eq!(repair["action"], "recall-message");
            assert!(repair["msg_key"].is_string(), "{repair}");
        }
    }
}

#[tokio::test]
async fn a_shadow_does_not_count_and_what_it_would_have_changed_is_recorded() {
    let (mut shadow, _) = decider("shadow", |_, cx| match cx.purpose {
        Purpose::Shadow => Doing::Says(Some(Decision::refuse("I would"))),
        _ => Doing::Panics,
    });
    shadow.options.shadow = true;
    let deciders = start(vec![shadow, says("real", |_| None)], AMPLE);
    let (journal, _folder) = journal();
    let callback = callback(C2C);
    let answer = decide_about(&deciders, &callback, AMPLE).await;
    assert_eq!((text(&answer), record(&answer)["deciders"].as_array().unwrap().len()), (OK, 1));
    store(&journal, &deciders, callback, answer);
    let rows = on_record(&journal, 2).await;
    assert_eq!(
        (rows[1].0, &rows[1].1["by"], &rows[1].1["result"]),
        (DecisionKind::Shadow, &"shadow".into(), &"refused".into())
    );
    let status = deciders.status();
    let counts = status.iter().find(|status| status.name == "shadow").unwrap().counts;
    assert_eq!((counts.shadow, counts.shadow_differs, counts.refused), (1, 1, 0));
}

#[tokio::test]
async fn who_is_made_a_shadow_counts_again_when_that_is_over() {
    let deciders = start(vec![says("a", |_| Some(Decision::refuse("x")))], AMPLE);
    assert!(deciders.set_shadow("a", Some(Timestamp::now().after(AMPLE))));
    assert_eq!(text(&decide(&deciders, C2C, AMPLE).await), OK);
    assert!(deciders.status()[0].is_shadow);
    // As soon as the time is over.
    assert!(deciders.set_shadow("a", Some(Timestamp::now())));
    assert_eq!(text(&decide(&deciders, C2C, AMPLE).await), REFUSED);
    assert!(!deciders.set_shadow("nobody", None));
}

#[tokio::test]
async fn a_decider_of_other_apps_is_not_asked() {
    let mut other = says("a", |_| Some(Decision::refuse("x")));
    other.route.apps = Some(vec!["other".to_owned()]);
    let deciders = start(vec![other], AMPLE);
    let answer = decide(&deciders, C2C, AMPLE).await;
    assert_eq!((text(&answer), answer.record.is_none()), (OK, true));
}

/// Cannot be opened at the first try.
struct Shut(AtomicUsize);

#[async_trait]
impl HandlerSettings for Shut {
    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        Ok(())
    }

    fn forwards(&self) -> bool {
        false
    }

    fn handles_decided(&self) -> bool {
        true
    }

    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Handler>, OpenError> {
        if self.0.fetch_add(1, Relaxed) == 0 {
            return Err(OpenError::other("no such list"));
        }
        Ok(Arc::new(Instance(settings(|_, _| Doing::Says(None)))))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_one_that_could_not_be_opened() {
    let shut = DeciderInstance { settings: Arc::new(Shut(AtomicUsize::new(0))), ..says("shut", |_| None) };
    let deciders = start(vec![shut], AMPLE);
    assert_eq!(deciders.status()[0].state, State::Down("no such list".to_owned()), "it was not tried again yet");
    while deciders.status()[0].state != State::Up {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_goes_on_with_who_did_not_change_and_lets_the_others_finish() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (kept, kept_opened) = decider("kept", |_, _| Doing::Says(None));
    let behind = gate.clone();
    let (slow, _) = decider("slow", move |_, _| Doing::After(behind.clone(), Decision::refuse("old")));
    let (gone, _) = decider("gone", |_, _| Doing::Says(None));
    let old = start(vec![kept.clone(), slow.clone(), gone], AMPLE);
    assert!(old.set_shadow("kept", Some(Timestamp::now().after(Duration::from_secs(3600)))));
    let asked = old.clone();
    let under_way = tokio::spawn(async move { decide(&asked, C2C, AMPLE).await });
    while old.status().iter().all(|one| one.name != "slow" || one.in_flight == 0) {
        tokio::task::yield_now().await;
    }

    let new = DeciderInstance { fingerprint: 1, ..says("slow", |_| Some(Decision::refuse("new"))) };
    let (added, _) = decider("added", |_, _| Doing::Says(None));
    let (successor, succession) = old.succeed(vec![kept, new, added], &[], AMPLE).unwrap();
    old.retire(&successor);
    assert_eq!(
        (succession.added, succession.changed, succession.removed),
        (vec!["added".to_owned()], vec!["slow".to_owned()], vec!["gone".to_owned()])
    );
    assert_eq!(kept_opened.load(Relaxed), 1, "it was left alone");
    let shadows = |deciders: &Deciders| -> Vec<String> {
        deciders.status().into_iter().filter(|one| one.is_shadow).map(|one| one.name).collect()
    };
    assert_eq!(shadows(&successor), ["kept"], "until it was said");
    successor
        .cast_shadows(&[("added".to_owned(), Timestamp::now().after(AMPLE)), ("gone".to_owned(), Timestamp::now())]);
    assert_eq!(shadows(&successor), ["added"], "and nobody else");
    successor.cast_shadows(&[]);

    let answer = decide(&successor, C2C, AMPLE).await;
    assert_eq!(answer.result, DecisionResult::Refused);
    assert!(answer.record.unwrap().record.contains("new"));
    gate.add_permits(1);
    let answer = under_way.await.unwrap();
    assert!(answer.record.unwrap().record.contains("old"), "what was under way came to its end");
    drop(old);
    let counts = successor.status().into_iter().find(|one| one.name == "slow").unwrap().counts;
    assert_eq!(counts.refused, 2, "it goes on counting");
}

#[tokio::test]
async fn a_shadow_that_is_alone_is_recorded_too() {
    let mut shadow = says("shadow", |_| Some(Decision::refuse("I would")));
    shadow.options.shadow = true;
    let deciders = start(vec![shadow], AMPLE);
    let (journal, _folder) = journal();
    let callback = callback(C2C);
    let answer = decide_about(&deciders, &callback, AMPLE).await;
    assert_eq!(text(&answer), OK);
    store(&journal, &deciders, callback, answer);
    let rows = on_record(&journal, 2).await;
    assert_eq!((rows[0].0, rows[1].0), (DecisionKind::Decided, DecisionKind::Shadow));
}

#[tokio::test]
async fn who_allows_in_other_words_does_not_differ() {
    let raw = r#"{"ActionStatus":"OK","ErrorCode":0,"ErrorInfo":"success"}"#;
    let mut shadow = says("shadow", move |_| Some(Decision::from_reply(raw.into()).unwrap()));
    shadow.options.shadow = true;
    let deciders = start(vec![shadow], AMPLE);
    let answer = decide(&deciders, C2C, AMPLE).await;
    deciders.go_on(answer.afterwards.unwrap(), None);
    deciders.drain(AMPLE).await;
    let counts = deciders.status()[0].counts;
    assert_eq!((counts.shadow, counts.shadow_differs), (1, 0));
}

#[tokio::test]
async fn late_calls_of_one_callback_are_waited_for_side_by_side() {
    let (mut hangs, _) = decider("a-hangs", |_, _| Doing::Hangs);
    (hangs.options.timeout, hangs.options.late_wait) = (SHORT, AMPLE);
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let inner = gate.clone();
    let (mut late, _) = decider("b-late", move |_, _| Doing::After(inner.clone(), Decision::refuse("x")));
    (late.options.timeout, late.options.late_wait) = (SHORT, AMPLE);
    let deciders = start(vec![hangs, late], AMPLE);
    let (journal, _folder) = journal();
    let callback = callback(C2C);
    let answer = decide_about(&deciders, &callback, AMPLE).await;
    store(&journal, &deciders, callback, answer);
    gate.add_permits(1);
    // While the first is still waited for.
    assert_eq!(on_record(&journal, 2).await[1].1["by"], "b-late");
    assert_eq!(deciders.status()[0].late_in_flight, 1);
}

#[tokio::test]
async fn a_panic_after_the_answer_counts_as_one() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let inner = gate.clone();
    let settings = settings(move |_, _| Doing::AfterPanics(inner.clone()));
    let opened = settings.opened.clone();
    let mut late = instance("a", settings);
    late.options.late_wait = AMPLE;
    let deciders = start(vec![late], AMPLE);
    let answer = decide(&deciders, C2C, SHORT).await;
    deciders.go_on(answer.afterwards.unwrap(), None);
    until(&deciders, |status| status.late_in_flight == 1).await;
    gate.add_permits(1);
    deciders.drain(AMPLE).await;
    let begun = Instant::now();
    while opened.load(Relaxed) < 2 {
        assert!(begun.elapsed() < AMPLE, "it is not opened anew");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn to_open_may_take_longer_than_to_decide() {
    let mut settings = settings(|_, _| Doing::Says(None));
    settings.opens_after = 5 * SHORT;
    let opened = settings.opened.clone();
    let mut slow = instance("a", settings);
    slow.options.timeout = Duration::from_millis(1);
    let deciders = start(vec![slow], AMPLE);
    assert_eq!((opened.load(Relaxed), &deciders.status()[0].state), (1, &State::Up));
}

#[tokio::test]
async fn an_instance_is_dropped_where_it_lived() {
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let inner = gate.clone();
    let settings = settings(move |callback, _| match callback.command().as_str() {
        C2C => Doing::After(inner.clone(), Decision::allow()),
        _ => Doing::Panics,
    });
    let (opened, dropped) = (settings.opened.clone(), settings.dropped.clone());
    let deciders = start(vec![instance("a", settings)], AMPLE);
    let first = tokio::spawn({
        let deciders = deciders.clone();
        async move { decide(&deciders, C2C, AMPLE).await.result }
    });
    until(&deciders, |status| status.in_flight == 1).await;
    decide(&deciders, INVITE, AMPLE).await;
    let begun = Instant::now();
    while opened.load(Relaxed) < 2 {
        assert!(begun.elapsed() < AMPLE, "it is not opened anew");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // The call that is still under way is the last to use it.
    gate.add_permits(1);
    assert_eq!(first.await.unwrap(), DecisionResult::Allowed);
    while dropped.lock().unwrap().is_empty() {
        assert!(begun.elapsed() < AMPLE, "it is not dropped");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(*dropped.lock().unwrap(), ["decide:a"]);
}
