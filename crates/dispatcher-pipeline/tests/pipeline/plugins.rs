//! A journal in a folder of its own, and plugins that do what a test tells them.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher as _},
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use dispatcher_core::{
    App, Callback, CallbackId, CallbackParts, CheckContext, Command, CommandPattern, DeliverContext, DeliveryError,
    Event, Failure, HandleContext, Handler, HandlerError, HandlerSettings, NewEvent, OpenContext, OpenError, Outcome,
    Outcomes, PhaseFilter, Route, SettingError, Sink, SinkSettings, Takes, Timestamp,
};
use dispatcher_journal::{Journal, JournalOptions, Port};
use dispatcher_pipeline::{Backoff, ConsumerOptions, ConsumerStatus, HandlerInstance, Pipeline, SinkInstance};
use tokio::sync::watch;

/// Waits that only a test which fails sees the end of.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What a plugin does with one item.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Take,
    Refuse(Failure),
    Down(DeliveryError),
    /// Awaits for ever.
    Hang,
    /// Blocks its thread for ever.
    Block,
    Panic,
}

/// Decides by the item's number and key, and how often this item was seen before.
type Script = dyn Fn(&Item, u32) -> Act + Send + Sync;

/// An item as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) n: u64,
    pub(crate) key: String,
    pub(crate) attempt: u32,
    pub(crate) replay: bool,
}

/// Makes a plugin do something else.
#[derive(Default)]
pub(crate) struct Switch(Arc<AtomicBool>);

impl Switch {
    pub(crate) fn throw(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A plugin's script, and what it was asked and took. Handlers and sinks share it.
#[derive(Clone)]
pub(crate) struct Plugin {
    inner: Arc<Inner>,
}

struct Inner {
    script: Box<Script>,
    /// Whether the next opening works.
    opens: Box<dyn Fn(u32) -> Result<(), OpenError> + Send + Sync>,
    seen: Mutex<BTreeMap<u64, u32>>,
    taken: watch::Sender<Vec<Item>>,
    openings: AtomicU32,
    closings: AtomicU32,
    largest_batch: AtomicUsize,
}

impl Plugin {
    pub(crate) fn new(script: impl Fn(&Item, u32) -> Act + Send + Sync + 'static) -> Plugin {
        Plugin::opening(|_| Ok(()), script)
    }

    /// One that takes everything.
    pub(crate) fn willing() -> Plugin {
        Plugin::new(|_, _| Act::Take)
    }

    /// One that does this until the switch is thrown, and from then on that.
    pub(crate) fn switched(
        at_first: impl Fn(&Item) -> Act + Send + Sync + 'static,
        then: impl Fn(&Item) -> Act + Send + Sync + 'static,
    ) -> (Plugin, Switch) {
        let switch = Switch::default();
        let is_thrown = switch.0.clone();
        let script = move |item: &Item, _| if is_thrown.load(Ordering::SeqCst) { then(item) } else { at_first(item) };
        (Plugin::new(script), switch)
    }

    pub(crate) fn opening(
        opens: impl Fn(u32) -> Result<(), OpenError> + Send + Sync + 'static,
        script: impl Fn(&Item, u32) -> Act + Send + Sync + 'static,
    ) -> Plugin {
        Plugin {
            inner: Arc::new(Inner {
                script: Box::new(script),
                opens: Box::new(opens),
                seen: Mutex::default(),
                taken: watch::Sender::new(Vec::new()),
                openings: AtomicU32::new(0),
                closings: AtomicU32::new(0),
                largest_batch: AtomicUsize::new(0),
            }),
        }
    }

    /// Another plugin has another.
    fn address(&self) -> usize {
        Arc::as_ptr(&self.inner) as usize
    }

    fn act(&self, item: &Item) -> Act {
        let seen = {
            let mut seen = self.inner.seen.lock().unwrap();
            let count = seen.entry(item.n).or_insert(0);
            *count += 1;
            *count - 1
        };
        let act = (self.inner.script)(item, seen);
        if matches!(act, Act::Take) {
            self.inner.taken.send_modify(|taken| taken.push(item.clone()));
        }
        act
    }

    fn open(&self) -> Result<Plugin, OpenError> {
        (self.inner.opens)(self.inner.openings.fetch_add(1, Ordering::SeqCst))?;
        Ok(self.clone())
    }

    pub(crate) fn openings(&self) -> u32 {
        self.inner.openings.load(Ordering::SeqCst)
    }

    pub(crate) fn closings(&self) -> u32 {
        self.inner.closings.load(Ordering::SeqCst)
    }

    /// The most events that one delivery had.
    pub(crate) fn largest_batch(&self) -> usize {
        self.inner.largest_batch.load(Ordering::SeqCst)
    }

    /// How often it was asked about this item.
    pub(crate) fn times_asked(&self, n: u64) -> u32 {
        self.inner.seen.lock().unwrap().get(&n).copied().unwrap_or(0)
    }

    /// What it took, in order.
    pub(crate) fn taken(&self) -> Vec<Item> {
        self.inner.taken.borrow().clone()
    }

    /// What it took of one key, in order.
    pub(crate) fn taken_of(&self, key: &str) -> Vec<u64> {
        self.inner.taken.borrow().iter().filter(|item| item.key == key).map(|item| item.n).collect()
    }

    /// Waits until it was asked about this item.
    pub(crate) async fn was_asked(&self, n: u64) {
        let asked = async {
            while self.times_asked(n) == 0 {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, asked).await.is_ok(), "it was not asked about {n}");
    }

    /// Waits until it has taken so many items, and gives what it took, in order.
    pub(crate) async fn took(&self, n_items: usize) -> Vec<Item> {
        let mut taken = self.inner.taken.subscribe();
        let wait = taken.wait_for(|taken| taken.len() >= n_items);
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(taken) => taken.map(|taken| taken.clone()).unwrap_or_default(),
            Err(_) => panic!("waited for {n_items}, has {:?}", self.taken()),
        }
    }
}

/// Blocks its thread until the tests end.
fn block() -> ! {
    loop {
        std::thread::park();
    }
}

#[async_trait]
impl Handler for Plugin {
    async fn handle(&self, callback: &Callback, cx: &HandleContext) -> Result<Vec<NewEvent>, HandlerError> {
        let key = callback.key().map_or("", |key| key).to_owned();
        let item = Item { n: number(callback), key, attempt: cx.attempt, replay: cx.replay };
        match self.act(&item) {
            Act::Take => Ok(vec![NewEvent::forwarding("test.event")]),
            Act::Refuse(failure) => Err(failure.into()),
            Act::Down(err) => Err(HandlerError::down(err)),
            Act::Hang => std::future::pending().await,
            Act::Block => block(),
            Act::Panic => panic!("told to"),
        }
    }
}

#[async_trait]
impl Sink for Plugin {
    async fn deliver(&mut self, batch: &[Event], cx: &DeliverContext) -> Result<Outcomes, DeliveryError> {
        self.inner.largest_batch.fetch_max(batch.len(), Ordering::SeqCst);
        let mut outcomes = Vec::new();
        let mut stopped = Vec::new();
        for event in batch {
            let key = event.key.as_deref().unwrap_or_default().to_owned();
            if stopped.contains(&key) {
                outcomes.push(Outcome::NotTried);
                continue;
            }
            let item = Item { n: number(&event.callback), key: key.clone(), attempt: cx.attempt, replay: event.replay };
            match self.act(&item) {
                Act::Take => outcomes.push(Outcome::Done),
                Act::Refuse(failure) => {
                    stopped.push(key);
                    outcomes.push(Outcome::Failed(failure));
                }
                Act::Down(err) => return Err(err),
                Act::Hang => std::future::pending().await,
                Act::Block => block(),
                Act::Panic => panic!("told to"),
            }
        }
        Ok(Outcomes::each(outcomes))
    }

    async fn close(&mut self) -> Result<(), DeliveryError> {
        self.inner.closings.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
}

/// Settings that open the plugin itself.
struct Settings(Plugin);

#[async_trait]
impl HandlerSettings for Settings {
    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        Ok(())
    }

    fn forwards(&self) -> bool {
        true
    }

    fn handles_decided(&self) -> bool {
        true
    }

    async fn open(&self, _: &OpenContext) -> Result<Arc<dyn Handler>, OpenError> {
        Ok(Arc::new(self.0.open()?))
    }
}

struct SinkOf(Plugin);

#[async_trait]
impl SinkSettings for SinkOf {
    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        Ok(())
    }

    fn takes(&self) -> Takes {
        Takes::Any
    }

    async fn open(&self, _: &OpenContext) -> Result<Box<dyn Sink>, OpenError> {
        Ok(Box::new(self.0.open()?))
    }
}

/// An open journal, and what is appended to it.
pub(crate) struct Store {
    pub(crate) journal: Journal,
    port: Port,
}

impl Store {
    pub(crate) fn open(folder: &Path) -> Store {
        let mut options = JournalOptions::new(folder.join("journal.db"));
        // These tests crash threads, not machines.
        options.sync = dispatcher_journal::Sync::Off;
        options.dedupe_entries = 0;
        let journal = Journal::open(options).unwrap();
        Store { port: journal.port(), journal }
    }

    /// Appends one callback with this number and key; an empty key is none.
    pub(crate) fn append(&self, n: u64, key: &str) {
        assert!(self.port.append_detached(callback(n, key)), "{n} was not taken");
    }

    /// Closes it, once whatever used it is gone.
    pub(crate) fn close(self) {
        self.journal.close();
    }

    /// The reasons of a consumer's dead letters, by seq.
    pub(crate) fn dead(&self, consumer: &str) -> Vec<(u64, String)> {
        let dead = self.journal.reader().unwrap().dead(consumer, 0, 100).unwrap();
        dead.into_iter().map(|letter| (letter.seq, letter.reason)).collect()
    }
}

fn callback(n: u64, key: &str) -> Callback {
    Callback::new(CallbackParts {
        id: CallbackId::mint(),
        app: App::new(1_400_000_001, "main"),
        command: Command::new("Group.CallbackAfterGroupFull"),
        query: "SdkAppid=1400000001".into(),
        body: n.to_string().into_bytes().into(),
        received_at: Timestamp::now(),
        event_time: None,
        key: (!key.is_empty()).then(|| key.into()),
        identity: None,
    })
}

fn number(callback: &Callback) -> u64 {
    std::str::from_utf8(callback.body_bytes()).unwrap().parse().unwrap()
}

/// Short waits, and few attempts.
pub(crate) fn quick(options: ConsumerOptions) -> ConsumerOptions {
    ConsumerOptions {
        attempts: Some(5),
        backoff: Backoff { first: Duration::from_millis(5), max: Duration::from_millis(40), factor: 2.0 },
        timeout: Duration::from_secs(20),
        park_after: Duration::from_millis(20),
        start: dispatcher_journal::Start::Oldest,
        ..options
    }
}

pub(crate) fn handler(name: &str, plugin: &Plugin, sinks: &[&str], options: ConsumerOptions) -> HandlerInstance {
    HandlerInstance {
        name: name.to_owned(),
        settings: Arc::new(Settings(plugin.clone())),
        route: Route {
            commands: vec![CommandPattern::new("Group.*").unwrap()],
            except: vec![],
            apps: None,
            phase: PhaseFilter::Any,
        },
        sinks: sinks.iter().map(|&sink| sink.to_owned()).collect(),
        threads: 1,
        fingerprint: fingerprint((plugin.address(), sinks, format!("{options:?}"))),
        options,
    }
}

pub(crate) fn sink(name: &str, plugin: &Plugin, options: ConsumerOptions) -> SinkInstance {
    let fingerprint = fingerprint((plugin.address(), format!("{options:?}")));
    SinkInstance { name: name.to_owned(), settings: Arc::new(SinkOf(plugin.clone())), threads: 1, options, fingerprint }
}

fn fingerprint(of: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// Waits until a consumer's status is as wished.
pub(crate) async fn wait_for(
    pipeline: &Pipeline,
    consumer: &str,
    what: &str,
    is_so: impl Fn(&ConsumerStatus) -> bool,
) -> ConsumerStatus {
    let look = async {
        loop {
            let status = pipeline.status().into_iter().find(|status| status.name == consumer).unwrap();
            if is_so(&status) {
                return status;
            }
            // The status has no bell; this polls it, and asserts nothing about the time it takes.
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, look).await {
        Ok(status) => status,
        Err(_) => panic!("{consumer} did not become {what}: {:?}", pipeline.status()),
    }
}
