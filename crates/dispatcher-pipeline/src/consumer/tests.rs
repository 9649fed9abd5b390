//! How a consumer follows retention: over a real journal and with a real cell, and a handler that cannot be opened. The
//! wish itself is sent by hand.

use async_trait::async_trait;
use dispatcher_cell::Reopening;
use dispatcher_core::{
    App, Callback, CallbackId, CallbackParts, CheckContext, Command, CommandPattern, Handler, HandlerSettings,
    OpenContext, OpenError, PhaseFilter, Route, SettingError, Timestamp,
};
use dispatcher_journal::{JournalOptions, Start, Stream};
use tokio::task::LocalSet;

use super::*;
use crate::{Backoff, handler::HandlerWorker, window::WindowOptions};

/// Waits that only a test which fails sees the end of.
const PATIENCE: Duration = Duration::from_secs(60);

const NAME: &str = "handler:broken";

struct Broken;

#[async_trait]
impl HandlerSettings for Broken {
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
        Err(OpenError::other("no such host"))
    }
}

fn callback(n: u64) -> Callback {
    Callback::new(CallbackParts {
        id: CallbackId::mint(),
        app: App::new(1_400_000_001, "main"),
        // Every fourth is for somebody else.
        command: Command::new(if n.is_multiple_of(4) {
            "C2C.CallbackAfterMsgReport"
        } else {
            "Group.CallbackAfterGroupFull"
        }),
        query: "SdkAppid=1400000001".into(),
        body: n.to_string().into_bytes().into(),
        received_at: Timestamp::now(),
        event_time: None,
        key: Some(format!("group-{}", n % 7).as_str().into()),
        identity: None,
    })
}

/// A consumer with a handler that cannot be opened, and those who tell it what to do.
struct Told {
    consumer: Consumer<HandlerWorker>,
    orders: watch::Sender<Orders>,
    phase: watch::Sender<Phase>,
    overdue: watch::Sender<Overdue>,
}

fn broken(journal: &Journal, parked: bool) -> Told {
    let route = Route {
        commands: vec![CommandPattern::new("Group.*").unwrap()],
        except: vec![],
        apps: None,
        phase: PhaseFilter::Any,
    };
    let cells = Reopening::open(NAME, 1).unwrap();
    let worker = HandlerWorker::new("broken", Arc::new(Broken), route, &[], Duration::from_secs(5), cells);
    let backoff = Backoff { first: PATIENCE, max: PATIENCE, factor: 1.0 };
    let window_options = WindowOptions {
        max_items: 100,
        max_bytes: 1 << 20,
        batch: 8,
        batch_bytes: 1 << 20,
        max_pending: 50,
        attempts: Some(3),
        give_up_after: None,
        backoff,
        park_after: Duration::from_secs(1),
        flaw: None,
    };
    let parked = parked.then(|| (Timestamp::now(), "paused".to_owned()));
    let orders =
        Orders { parked: parked.as_ref().map(|(_, reason)| reason.clone()), is_cancelled: false, retire_by: None };
    let (orders, follow) = watch::channel(orders);
    let health = Health::new(backoff, 1, parked, Instant::now());
    let window = Window::new(window_options, 0, Vec::new(), 1, health.now());
    let (phase, watch_phase) = watch::channel(Phase::Running);
    let (overdue, watch_overdue) = watch::channel(Overdue::default());
    let surroundings = Surroundings {
        orders: follow,
        journal: journal.clone(),
        reader: Rc::new(RefCell::new(journal.reader().unwrap())),
        overdue: watch_overdue,
        phase: watch_phase,
        status: StatusCell::new(NAME),
    };
    let pool = Rc::new(Pool::new(vec![(), ()]));
    let duty = Duty { source: Source::Live, worker: Rc::new(worker), pool, rate: Vec::new(), ordered: true };
    let consumer = Consumer::new(NAME.into(), duty, window, health, surroundings);
    Told { consumer, orders, phase, overdue }
}

fn open(folder: &std::path::Path) -> Journal {
    let journal =
        Journal::open(JournalOptions { dedupe_entries: 0, ..JournalOptions::new(folder.join("journal.db")) }).unwrap();
    journal.register(NAME, Stream::Callbacks, Start::Oldest).unwrap();
    journal
}

/// Lets a consumer of 400 callbacks follow these wishes, one after the other; returns how far it got, the seqs of its dead
/// letters, and the ranges that it skipped.
async fn follow(parked: bool, wishes: &[Overdue]) -> (u64, Vec<u64>, Vec<(u64, u64)>) {
    let folder = tempfile::tempdir().unwrap();
    let journal = open(folder.path());
    let port = journal.port();
    for n in 1..=400 {
        assert!(port.append_detached(callback(n)));
    }
    journal.ends().wait_for(|ends| ends.callbacks == 400).await.unwrap();

    let Told { mut consumer, orders: _orders, phase, overdue } = broken(&journal, parked);
    let status = consumer.status.clone();
    consumer.evict_pace = Duration::ZERO;
    let running = tokio::task::spawn_local(consumer.run());
    for wish in wishes {
        overdue.send_replace(*wish);
        let arrived = async {
            while status.read().checkpoint < wish.callbacks {
                sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, arrived).await.unwrap_or_else(|_| panic!("{:?}", status.read()));
    }
    phase.send_replace(Phase::Draining(Instant::now()));
    running.await.unwrap();
    let mut reader = journal.reader().unwrap();
    let dead = reader.dead(NAME, 0, 1000).unwrap().into_iter().map(|letter| letter.seq).collect();
    let skipped = reader.skipped().unwrap().into_iter().map(|(_, _, range)| (range.first, range.last)).collect();
    (reader.checkpoint(NAME).unwrap().unwrap(), dead, skipped)
}

fn wish(callbacks: u64, policy: WhenBlocked) -> Overdue {
    Overdue { callbacks, events: 0, policy }
}

#[tokio::test]
async fn what_is_overdue_becomes_dead_letters_while_the_plugin_is_down_or_parked() {
    for parked in [false, true] {
        let wishes = [wish(50, WhenBlocked::DeadLetter), wish(390, WhenBlocked::DeadLetter)];
        let (checkpoint, dead, skipped) = LocalSet::new().run_until(follow(parked, &wishes)).await;
        let expected: Vec<u64> = (1..=390).filter(|seq| seq % 4 != 0).collect();
        assert_eq!((dead, skipped), (expected, vec![]), "parked: {parked}");
        assert!((390..400).contains(&checkpoint), "{checkpoint}");
    }
}

#[tokio::test]
async fn what_is_overdue_is_skipped_and_a_record_says_so() {
    for parked in [false, true] {
        let wishes = [wish(50, WhenBlocked::Skip), wish(390, WhenBlocked::Skip)];
        let (checkpoint, dead, skipped) = LocalSet::new().run_until(follow(parked, &wishes)).await;
        assert_eq!((dead, skipped.len()), (vec![], 2), "parked: {parked}");
        assert_eq!((skipped[0].1, skipped[1].1), (50, 390));
        assert!(skipped[0].0 == 1 && (51..=61).contains(&skipped[1].0), "{skipped:?}");
        assert!((390..400).contains(&checkpoint), "{checkpoint}");
    }
}

#[tokio::test]
async fn who_was_parked_by_its_receiver_retires_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let Told { mut consumer, orders, phase: _phase, overdue: _overdue } = broken(&open(folder.path()), false);
    let now = consumer.health.now();
    consumer.obey(now);
    assert!(consumer.health.park("410 of its receiver".to_owned(), now));
    orders.send_modify(|orders| orders.retire_by = Some(now.instant));
    consumer.obey(now);
    assert!(matches!(consumer.health.state(), State::Parked { .. }), "{:?}", consumer.health.state());
    assert!(consumer.retire_by.is_some());
}
