//! All that is at work on the pipeline's thread: who starts, who makes room for a successor, and who is gone.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    convert::Infallible,
    rc::Rc,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use dispatcher_journal::{Consumer as Known, Journal, JournalError, Reader, Replay, Stream};
use tokio::{
    sync::watch,
    task::{Id, JoinSet},
    time::sleep,
};
use tracing::{error, info, warn};

use crate::{
    ConsumerOptions, HandlerInstance, ReplaySpec, SinkInstance,
    consumer::{Consumer, Duty, Orders, Phase, Surroundings},
    crew::{Place, Ready, find},
    handle::Command,
    handler::HandlerWorker,
    health::Health,
    limiter::Limiter,
    pool::Pool,
    replay::named,
    sink::SinkWorker,
    source::{Replayed, Replaying, Source},
    status::Statuses,
    window::{Window, WindowOptions},
    worker::{Worker, guard},
};

/// What is left of a call after its own time is over, to come back and say so.
const COMING_BACK: Duration = Duration::from_millis(500);

/// How long the journal is left alone after a place could not be read.
const JOURNAL_WAIT: Duration = Duration::from_secs(1);

/// A handler or sink at work: what its own consumer and its replays share.
pub(crate) struct Post<W: Worker> {
    consumer: String,
    pub(crate) worker: Rc<W>,
    pub(crate) pool: Rc<Pool<W::Lane>>,
    /// How fast all of them together may start items.
    limiter: Option<Rc<RefCell<Limiter>>>,
    options: ConsumerOptions,
}

impl<W: Worker> Post<W> {
    fn new(consumer: String, worker: W, options: ConsumerOptions) -> Rc<Post<W>> {
        // The last is taken first.
        let lanes = (0..options.lanes.max(1)).rev().map(|index| worker.lane(index)).collect();
        let limiter = options.rate.map(new_limiter);
        Rc::new(Post { consumer, worker: Rc::new(worker), pool: Rc::new(Pool::new(lanes)), limiter, options })
    }
}

fn new_limiter(rate: f64) -> Rc<RefCell<Limiter>> {
    Rc::new(RefCell::new(Limiter::new(rate, Instant::now())))
}

/// What is other than before, all at once.
pub(crate) struct Changes {
    /// What is new, or takes the place of what has its name; sinks first.
    pub(crate) next: Vec<Next>,
    /// The consumers that are to go.
    pub(crate) removed: Vec<String>,
    /// The consumers that their receivers parked, and that are to be tried again.
    pub(crate) resumed: Vec<String>,
    /// All consumers that there are then, in order.
    pub(crate) order: Vec<String>,
    /// Held until all of this is done.
    pub(crate) token: Token,
}

/// Held by what is not done yet.
pub(crate) type Token = mpsc::Sender<Infallible>;

/// Who is put to work.
pub(crate) enum Next {
    Handler(Ready<HandlerInstance>),
    Sink(Ready<SinkInstance>),
}

impl Next {
    pub(crate) fn consumer(&self) -> &str {
        match self {
            Next::Handler(ready) => &ready.consumer,
            Next::Sink(ready) => &ready.consumer,
        }
    }

    pub(crate) fn stream(&self) -> Stream {
        match self {
            Next::Handler(_) => Stream::Callbacks,
            Next::Sink(_) => Stream::Events,
        }
    }
}

/// What ends: a consumer, or a wait for the journal on behalf of one.
pub(crate) enum Work {
    Consumer(String),
    Wait(String),
}

/// What waits for a handler or sink to finish what is under way.
#[derive(Default)]
struct Retiring {
    next: Option<Next>,
    tokens: Vec<Token>,
}

/// All that is at work.
pub(crate) struct Deck {
    journal: Journal,
    reader: Rc<RefCell<Reader>>,
    handlers: HashMap<String, Rc<Post<HandlerWorker>>>,
    sinks: HashMap<String, Rc<Post<SinkWorker>>>,
    /// Of each consumer that runs: whose lanes it uses, and how it is told what people want of it.
    orders: HashMap<String, (String, watch::Sender<Orders>)>,
    retiring: HashMap<String, Retiring>,
    /// The replays that someone does not want any more.
    cancelled: HashSet<String>,
    phase: watch::Receiver<Phase>,
    statuses: Statuses,
    /// The order of the statuses, once something was changed.
    order: Vec<String>,
    /// Consumers, and waits after which one is looked after again; and by their ids whose they are.
    tasks: JoinSet<()>,
    names: HashMap<Id, Work>,
}

impl Deck {
    pub(crate) fn new(journal: Journal, reader: Reader, phase: watch::Receiver<Phase>, statuses: Statuses) -> Deck {
        Deck {
            journal,
            reader: Rc::new(RefCell::new(reader)),
            handlers: HashMap::new(),
            sinks: HashMap::new(),
            orders: HashMap::new(),
            retiring: HashMap::new(),
            cancelled: HashSet::new(),
            phase,
            statuses,
            order: Vec::new(),
            tasks: JoinSet::new(),
            names: HashMap::new(),
        }
    }

    /// Puts a handler to work; without a place, for replays alone.
    pub(crate) fn man_handler(&mut self, ready: Ready<HandlerInstance>, place: Option<Place>) {
        let Ready { consumer, instance, cells } = ready;
        let HandlerInstance { name, settings, route, sinks, options, .. } = instance;
        let worker = HandlerWorker::new(&name, settings, route, &sinks, options.timeout, cells);
        let post = Post::new(consumer.clone(), worker, options);
        self.handlers.insert(consumer, post.clone());
        self.start_live(&post, place);
    }

    /// Puts a sink to work; without a place, for replays alone.
    pub(crate) fn man_sink(&mut self, ready: Ready<SinkInstance>, known: Known, place: Option<Place>) {
        let Ready { consumer, instance, cells } = ready;
        let SinkInstance { name, settings, options, .. } = instance;
        let worker = SinkWorker::new(&name, known, settings, options.timeout, cells);
        let post = Post::new(consumer.clone(), worker, options);
        self.sinks.insert(consumer, post.clone());
        self.start_live(&post, place);
    }

    pub(crate) fn sinks(&self) -> impl Iterator<Item = &Rc<Post<SinkWorker>>> {
        self.sinks.values()
    }

    /// Whether nobody is at work.
    pub(crate) fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// What ended next; `None` if nobody is at work.
    pub(crate) async fn next_end(&mut self) -> Option<Work> {
        let id = match self.tasks.join_next_with_id().await? {
            Ok((id, ())) => id,
            Err(err) => {
                error!(%err, "a consumer failed; nothing is lost, and it goes on at the next start");
                err.id()
            }
        };
        self.names.remove(&id)
    }

    fn spawn(&mut self, work: Work, task: impl Future<Output = ()> + 'static) {
        let handle = self.tasks.spawn_local(task);
        self.names.insert(handle.id(), work);
    }

    fn start_live<W: Worker>(&mut self, post: &Rc<Post<W>>, place: Option<Place>) {
        if let Some(place) = place {
            self.start(&post.consumer.clone(), post, Source::Live, place);
        }
    }

    fn start<W: Worker>(&mut self, name: &str, post: &Post<W>, source: Source, place: Place) {
        let options = &post.options;
        let window_options = WindowOptions {
            max_items: options.window,
            max_bytes: options.window_bytes,
            batch: options.batch.max(1),
            batch_bytes: options.batch_bytes,
            max_pending: options.max_pending.max(1),
            attempts: options.attempts,
            give_up_after: options.give_up_after,
            backoff: options.backoff,
            park_after: options.park_after,
            #[cfg(test)]
            flaw: None,
        };
        let Place { checkpoint, mut pending, parked, status } = place;
        if !options.ordered {
            // They may be from a time when order was kept.
            pending.iter_mut().for_each(|row| row.key = None);
        }
        let mut seeds = fastrand::Rng::new();
        let orders = Orders {
            parked: parked.as_ref().map(|(_, reason)| reason.clone()),
            is_cancelled: self.cancelled.contains(name),
            retire_by: None,
        };
        let health = Health::new(options.backoff, seeds.u64(..), parked, Instant::now());
        let window = Window::new(window_options, checkpoint, pending, seeds.u64(..), health.now());
        let rate = post.limiter.clone().into_iter().chain(source.rate().map(new_limiter)).collect();
        let (orders, follow) = watch::channel(orders);
        self.orders.insert(name.to_owned(), (post.consumer.clone(), orders));
        let surroundings = Surroundings {
            orders: follow,
            journal: self.journal.clone(),
            reader: self.reader.clone(),
            // Dead letters have copies: a replay of them is in nobody's way.
            overdue: match source.replay() {
                Some(Replay { dead_of: Some(_), .. }) => watch::Sender::default().subscribe(),
                _ => self.journal.overdue(),
            },
            phase: self.phase.clone(),
            status,
        };
        let (worker, pool) = (post.worker.clone(), post.pool.clone());
        let duty = Duty { source, worker, pool, rate, ordered: options.ordered };
        let consumer = Consumer::new(name.into(), duty, window, health, surroundings);
        self.spawn(Work::Consumer(name.to_owned()), consumer.run());
    }

    /// Starts a replay that the journal has, unless it runs already: whoever asks for one may come later than the successor of
    /// its handler or sink, which has found it in the journal.
    pub(crate) fn start_replay(&mut self, replay: Replay) {
        let name = replay.consumer();
        if self.orders.contains_key(&name) {
            return;
        }
        if self.retiring.contains_key(&*replay.target) {
            // It would take lanes that are about to be closed, and keep its predecessor from ending: the successor starts it.
            self.journal.set_running(&name, false);
            return;
        }
        let (handler, sink) = (self.handlers.get(&*replay.target).cloned(), self.sinks.get(&*replay.target).cloned());
        if handler.is_none() && sink.is_none() {
            warn!(
                replay = replay.id,
                target = &*replay.target,
                "a replay waits for something that does not run; switch it on, or cancel the replay"
            );
            return;
        }
        let prepared = self.prepare(&replay);
        let (source, place) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => {
                error!(replay = replay.id, reason, "a replay cannot be started; it is tried at the next start");
                return;
            }
        };
        info!(replay = replay.id, target = &*replay.target, "replay started");
        match (handler, sink) {
            (Some(post), _) => self.start(&name, &post, source, place),
            (None, Some(post)) => self.start(&name, &post, source, place),
            (None, None) => {}
        }
    }

    fn prepare(&self, replay: &Replay) -> Result<(Source, Place), String> {
        let spec: ReplaySpec = serde_json::from_str(&replay.spec).map_err(|err| format!("its record: {err}"))?;
        let filter = spec.filter.parse()?;
        let mut reader = self.reader.borrow_mut();
        let known = reader.consumers().map_err(|err| err.to_string())?;
        let find = |name: &str| known.iter().find(|known| known.name == name);
        let own = find(&replay.consumer()).ok_or("it has no checkpoint")?;
        let mut place = Place::read(own, &mut reader, self.statuses.cell(&own.name)).map_err(|err| err.to_string())?;
        // Whoever parks a sink parks what is replayed to it.
        place.park_as(find(&replay.target));
        let sinks = spec.to.filter(|_| spec.of.starts_with("handler:")).map(Arc::from);
        let (of, replayed) = (named(&known, &spec.of, replay.stream), Replayed { sinks });
        let replaying = Replaying { replay: replay.clone(), of, filter, rate: spec.rate, replayed };
        Ok((Source::Replay(Box::new(replaying)), place))
    }

    pub(crate) fn obey(&mut self, command: Command) {
        match command {
            Command::Replay(replay) => self.start_replay(*replay),
            Command::Park { consumer, reason } => {
                for orders in self.orders_of(&consumer) {
                    orders.send_modify(|orders| orders.parked.clone_from(&reason));
                }
            }
            Command::Cancel { consumer, done } => {
                let sent = self.orders.get(&consumer).map(|(_, orders)| {
                    orders.send_modify(|orders| orders.is_cancelled = true);
                });
                if sent.is_some() {
                    self.cancelled.insert(consumer);
                }
                let _ = done.send(sent.is_some());
            }
            Command::Apply(changes) => self.apply(*changes),
        }
    }

    /// Of a consumer, and of the replays that use its lanes.
    fn orders_of<'a>(&'a self, consumer: &'a str) -> impl Iterator<Item = &'a watch::Sender<Orders>> {
        let all = self.orders.iter().filter(move |(name, (uses, _))| *name == consumer || uses == consumer);
        all.map(|(_, (_, orders))| orders)
    }

    fn apply(&mut self, changes: Changes) {
        let Changes { next, removed, resumed, order, token } = changes;
        self.order = order;
        for next in next {
            let consumer = next.consumer().to_owned();
            self.retire(&consumer, Some(next), token.clone());
        }
        for consumer in &removed {
            self.retire(consumer, None, token.clone());
        }
        for consumer in &resumed {
            // Nobody parks it: that these orders are new is news enough.
            self.orders_of(consumer).for_each(|orders| orders.send_modify(|_| ()));
        }
    }

    /// Lets a consumer, and the replays that use its lanes, finish what is under way, and then puts `next` in its place.
    fn retire(&mut self, consumer: &str, next: Option<Next>, token: Token) {
        if !self.retiring.contains_key(consumer) {
            let of_sink = self.sinks.get(consumer).map(|post| post.options.timeout);
            let timeout = self.handlers.get(consumer).map(|post| post.options.timeout).or(of_sink);
            // As long as its calls may take by themselves; a thread that is blocked is not waited for.
            let by = Instant::now() + guard(timeout.unwrap_or_default()) + COMING_BACK;
            self.orders_of(consumer).for_each(|orders| orders.send_modify(|orders| orders.retire_by = Some(by)));
        }
        let retiring = self.retiring.entry(consumer.to_owned()).or_default();
        retiring.next = next;
        retiring.tokens.push(token);
        self.succeed(consumer);
    }

    /// Something has ended.
    pub(crate) fn forget(&mut self, work: &Work) {
        let name = match work {
            Work::Consumer(name) => name,
            Work::Wait(name) => return self.succeed(name),
        };
        let uses = self.orders.remove(name).map(|(uses, _)| uses);
        if name.starts_with("replay:") {
            self.statuses.remove(name);
            if uses.as_ref().is_some_and(|uses| self.retiring.contains_key(uses)) {
                // Unless it has just ended, it waits for a successor to start it, or for the next start.
                self.journal.set_running(name, false);
            } else {
                self.cancelled.remove(name);
            }
        }
        self.succeed(uses.as_ref().unwrap_or(name));
    }

    /// If a consumer that is to make room has, and nobody uses its lanes any more, the next one begins.
    fn succeed(&mut self, consumer: &str) {
        if self.orders_of(consumer).next().is_some() || *self.phase.borrow() != Phase::Running {
            return;
        }
        let Some(mut retiring) = self.retiring.remove(consumer) else { return };
        // The last that is left of it; what is blocked in its cell is left to that.
        self.handlers.remove(consumer);
        self.sinks.remove(consumer);
        let Some(next) = retiring.next.take() else {
            self.journal.set_running(consumer, false);
            self.statuses.remove(consumer);
            return;
        };
        let (known, place) = match self.place_of(&next) {
            Ok(found) => found,
            Err(err) => {
                warn!(consumer, %err, "the journal cannot be read; trying again");
                self.retiring.insert(consumer.to_owned(), Retiring { next: Some(next), ..retiring });
                return self.spawn(Work::Wait(consumer.to_owned()), sleep(JOURNAL_WAIT));
            }
        };
        self.journal.set_running(consumer, true);
        match next {
            Next::Handler(ready) => self.man_handler(ready, Some(place)),
            Next::Sink(ready) => self.man_sink(ready, known, Some(place)),
        }
        self.statuses.arrange(&self.order);
        self.start_replays_of(consumer);
    }

    fn place_of(&self, next: &Next) -> Result<(Known, Place), JournalError> {
        let mut reader = self.reader.borrow_mut();
        let known = find(&mut reader, next.consumer(), next.stream())?;
        let status = self.statuses.cell(next.consumer());
        status.update(|status| status.last_error = None);
        let place = Place::read(&known, &mut reader, status)?;
        Ok((known, place))
    }

    /// The replays that someone asked of it, and that are not done.
    fn start_replays_of(&mut self, consumer: &str) {
        let replays = self.reader.borrow_mut().replays();
        let replays = replays.unwrap_or_else(|err| {
            error!(consumer, %err, "its replays cannot be read; they go on at the next start");
            Vec::new()
        });
        for replay in replays.into_iter().filter(|replay| replay.ended_at.is_none() && *replay.target == *consumer) {
            self.journal.set_running(&replay.consumer(), true);
            self.start_replay(replay);
        }
    }
}

#[cfg(test)]
mod tests;
