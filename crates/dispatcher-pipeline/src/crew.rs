//! The thread of all consumers: starts them, and the replays that are asked for, and sees them end.

use std::{
    cell::RefCell,
    collections::HashMap,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use dispatcher_cell::Reopening;
use dispatcher_core::Timestamp;
use dispatcher_journal::{Consumer as Known, Journal, JournalError, Pending, Reader, Replay, Start, Stream};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinSet, LocalSet},
};
use tracing::{error, info, warn};

use crate::{
    ConsumerOptions, HandlerInstance, ReplaySpec, SinkInstance, StartError,
    consumer::{Consumer, Duty, Orders, Phase, Surroundings},
    handle::Command,
    handler::HandlerWorker,
    health::Health,
    limiter::Limiter,
    pipeline::Scope,
    pool::Pool,
    replay::named,
    sink::SinkWorker,
    source::{Replayed, Replaying, Source},
    status::{StatusCell, Statuses},
    window::{Window, WindowOptions},
    worker::Worker,
};

/// How long one lane of a sink may take to close.
const CLOSING: Duration = Duration::from_secs(2);

/// What is to run on the thread; it can still move there.
pub(crate) struct Crew {
    journal: Journal,
    reader: Reader,
    handlers: Vec<Ready<HandlerInstance>>,
    sinks: Vec<Ready<SinkInstance>>,
    replays: Vec<Replay>,
    phase: watch::Receiver<Phase>,
    commands: mpsc::UnboundedReceiver<Command>,
    statuses: Statuses,
}

/// A handler or sink, and where its consumer goes on.
struct Ready<I> {
    consumer: String,
    known: Known,
    instance: I,
    cells: Reopening,
    place: Option<Place>,
}

/// Where a consumer goes on.
struct Place {
    checkpoint: u64,
    pending: Vec<Pending>,
    /// Since when it is parked, and why, if it is.
    parked: Option<(Timestamp, String)>,
    status: StatusCell,
}

/// A handler or sink at work: what its own consumer and its replays share.
struct Post<W: Worker> {
    consumer: String,
    worker: Rc<W>,
    pool: Rc<Pool<W::Lane>>,
    /// How fast all of them together may start items.
    limiter: Option<Rc<RefCell<Limiter>>>,
    options: ConsumerOptions,
}

impl Crew {
    pub(crate) fn new(
        journal: &Journal,
        handlers: Vec<HandlerInstance>,
        sinks: Vec<SinkInstance>,
        scope: Scope,
        phase: watch::Receiver<Phase>,
        commands: mpsc::UnboundedReceiver<Command>,
        statuses: Statuses,
    ) -> Result<Crew, StartError> {
        let failed = |consumer: &str| {
            let consumer = consumer.to_owned();
            move |source| StartError::Journal { consumer, source }
        };
        let mut reader = journal.reader().map_err(failed("any"))?;
        // Sinks first: once a handler runs, every sink is known.
        let sinks = sinks.into_iter().map(|sink| {
            let (name, threads, start) = (format!("sink:{}", sink.name), sink.threads, sink.options.start);
            Ready::new(name, sink, threads, Stream::Events, start, scope, journal, &mut reader)
        });
        let sinks = sinks.collect::<Result<Vec<_>, _>>()?;
        let handlers = handlers.into_iter().map(|handler| {
            let (name, threads, start) = (format!("handler:{}", handler.name), handler.threads, handler.options.start);
            Ready::new(name, handler, threads, Stream::Callbacks, start, scope, journal, &mut reader)
        });
        let handlers = handlers.collect::<Result<Vec<_>, _>>()?;
        // From here on, so that whoever has the pipeline finds all of them.
        let places = handlers.iter().map(|ready| &ready.place).chain(sinks.iter().map(|ready| &ready.place));
        places.flatten().for_each(|place| statuses.add(place.status.clone()));
        let mut replays = reader.replays().map_err(failed("replays"))?;
        replays.retain(|replay| replay.ended_at.is_none());
        let runs = |target: &str| {
            let mut names =
                handlers.iter().map(|ready| &ready.consumer).chain(sinks.iter().map(|ready| &ready.consumer));
            names.any(|name| name == target)
        };
        for replay in replays.iter().filter(|replay| runs(&replay.target)) {
            let name = replay.consumer();
            journal.register(&name, replay.stream, Start::End).map_err(failed(&name))?;
        }
        let journal = journal.clone();
        Ok(Crew { journal, reader, handlers, sinks, replays, phase, commands, statuses })
    }

    /// Runs until the pipeline ends.
    pub(crate) fn run(self, runtime: tokio::runtime::Runtime) {
        let local = LocalSet::new();
        local.block_on(&runtime, self.work());
        // Tasks of its own first, then the runtime that they belong to.
        drop(local);
    }

    async fn work(self) {
        let Crew { journal, reader, handlers, sinks, replays, mut phase, mut commands, statuses } = self;
        let mut deck = Deck {
            journal,
            reader: Rc::new(RefCell::new(reader)),
            handlers: HashMap::new(),
            sinks: HashMap::new(),
            orders: HashMap::new(),
            phase: phase.clone(),
            statuses,
            consumers: JoinSet::new(),
        };
        for Ready { consumer, instance, cells, place, .. } in handlers {
            let HandlerInstance { name, settings, route, sinks, options, .. } = instance;
            let worker = HandlerWorker::new(&name, settings, route, &sinks, options.timeout, cells);
            let post = Rc::new(Post::new(consumer.clone(), worker, options));
            deck.handlers.insert(consumer, post.clone());
            deck.start_live(&post, place);
        }
        for Ready { consumer, known, instance, cells, place } in sinks {
            let SinkInstance { name, settings, options, .. } = instance;
            let worker = SinkWorker::new(&name, known, settings, options.timeout, cells);
            let post = Rc::new(Post::new(consumer.clone(), worker, options));
            deck.sinks.insert(consumer, post.clone());
            deck.start_live(&post, place);
        }
        for replay in replays {
            deck.start_replay(replay);
        }
        // Without a word any more from whoever started it, it ends as soon as its consumers do.
        while *phase.borrow_and_update() == Phase::Running || !deck.consumers.is_empty() {
            tokio::select! {
                Some(ended) = deck.consumers.join_next() => match ended {
                    Ok(name) => deck.forget(&name),
                    Err(err) => error!(%err, "a consumer failed; nothing is lost, and it goes on at the next start"),
                },
                Some(command) = commands.recv() => deck.obey(command),
                Ok(()) = phase.changed() => {}
                else => break,
            }
        }
        // Where nothing but replays ran, nobody has closed what they worked with.
        if *phase.borrow() != Phase::Stopped {
            for post in deck.sinks.values() {
                for lane in post.pool.drain() {
                    post.worker.clone().close(lane, CLOSING).await;
                }
            }
        }
    }
}

impl<I> Ready<I> {
    #[expect(
        clippy::too_many_arguments,
        reason = "one place makes these, and a struct of them would have no other use"
    )]
    fn new(
        consumer: String,
        instance: I,
        threads: usize,
        stream: Stream,
        start: Start,
        scope: Scope,
        journal: &Journal,
        reader: &mut Reader,
    ) -> Result<Ready<I>, StartError> {
        let failed = |source| StartError::Journal { consumer: consumer.clone(), source };
        if scope == Scope::Everything {
            journal.register(&consumer, stream, start).map_err(failed)?;
        }
        let known = reader.consumers().map_err(failed)?.into_iter().find(|known| known.name == consumer);
        let known = known.unwrap_or_else(|| Known::new(&*consumer, stream));
        let place = match scope {
            Scope::Everything => Some(Place::read(&known, reader).map_err(failed)?),
            Scope::Replays => None,
        };
        let cells = Reopening::open(&consumer, threads).map_err(StartError::Thread)?;
        Ok(Ready { consumer, known, instance, cells, place })
    }
}

impl Place {
    fn read(known: &Known, reader: &mut Reader) -> Result<Place, JournalError> {
        let pending = reader.pending(&known.name)?;
        let status = StatusCell::new(&known.name);
        status.update(|status| {
            status.checkpoint = known.checkpoint;
            status.pending = pending.len();
        });
        let mut place = Place { checkpoint: known.checkpoint, pending, parked: None, status };
        place.park_as(Some(known));
        Ok(place)
    }

    /// Parks it if this one is.
    fn park_as(&mut self, known: Option<&Known>) {
        let parked = known.and_then(|known| known.parked.as_ref());
        self.parked = parked.map(|parked| (parked.at, parked.reason.clone()));
    }
}

impl<W: Worker> Post<W> {
    fn new(consumer: String, worker: W, options: ConsumerOptions) -> Post<W> {
        // The last is taken first.
        let lanes = (0..options.lanes.max(1)).rev().map(|index| worker.lane(index)).collect();
        let limiter = options.rate.map(new_limiter);
        Post { consumer, worker: Rc::new(worker), pool: Rc::new(Pool::new(lanes)), limiter, options }
    }
}

fn new_limiter(rate: f64) -> Rc<RefCell<Limiter>> {
    Rc::new(RefCell::new(Limiter::new(rate, Instant::now())))
}

/// All that is at work.
struct Deck {
    journal: Journal,
    reader: Rc<RefCell<Reader>>,
    handlers: HashMap<String, Rc<Post<HandlerWorker>>>,
    sinks: HashMap<String, Rc<Post<SinkWorker>>>,
    /// Of each consumer that runs: whose lanes it uses, and how it is told what people want of it.
    orders: HashMap<String, (String, watch::Sender<Orders>)>,
    phase: watch::Receiver<Phase>,
    statuses: Statuses,
    consumers: JoinSet<String>,
}

impl Deck {
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
        let orders = Orders { parked: parked.as_ref().map(|(_, reason)| reason.clone()), is_cancelled: false };
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
        let name = name.to_owned();
        self.consumers.spawn_local(async move {
            consumer.run().await;
            name
        });
    }

    fn start_replay(&mut self, replay: Replay) {
        let name = replay.consumer();
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
        self.statuses.add(place.status.clone());
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
        let mut place = Place::read(own, &mut reader).map_err(|err| err.to_string())?;
        // Whoever parks a sink parks what is replayed to it.
        place.park_as(find(&replay.target));
        let sinks = spec.to.filter(|_| spec.of.starts_with("handler:")).map(Arc::from);
        let (of, replayed) = (named(&known, &spec.of, replay.stream), Replayed { sinks });
        let replaying = Replaying { replay: replay.clone(), of, filter, rate: spec.rate, replayed };
        Ok((Source::Replay(Box::new(replaying)), place))
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Replay(replay) => self.start_replay(*replay),
            Command::Park { consumer, reason } => {
                for (name, (uses, orders)) in &self.orders {
                    if *name == consumer || *uses == consumer {
                        orders.send_modify(|orders| orders.parked.clone_from(&reason));
                    }
                }
            }
            Command::Cancel { consumer, done } => {
                let sent = self.orders.get(&consumer).map(|(_, orders)| {
                    orders.send_modify(|orders| orders.is_cancelled = true);
                });
                let _ = done.send(sent.is_some());
            }
        }
    }

    fn forget(&mut self, name: &str) {
        self.orders.remove(name);
        if name.starts_with("replay:") {
            self.statuses.remove(name);
        }
    }
}
