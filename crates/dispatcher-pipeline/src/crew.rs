//! The thread of all consumers: what it begins with, and its life.

use std::time::Duration;

use dispatcher_cell::Reopening;
use dispatcher_core::Timestamp;
use dispatcher_journal::{Consumer as Known, Journal, JournalError, Pending, Reader, Replay, Start, Stream};
use tokio::{
    sync::{mpsc, watch},
    task::LocalSet,
};

use crate::{
    HandlerInstance, SinkInstance, StartError,
    consumer::Phase,
    deck::Deck,
    handle::Command,
    pipeline::Scope,
    status::{StatusCell, Statuses},
    worker::Worker as _,
};

/// How long one lane of a sink may take to close.
const CLOSING: Duration = Duration::from_secs(2);

/// What is to run on the thread; it can still move there.
pub(crate) struct Crew {
    journal: Journal,
    reader: Reader,
    handlers: Vec<(Ready<HandlerInstance>, Known, Option<Place>)>,
    sinks: Vec<(Ready<SinkInstance>, Known, Option<Place>)>,
    replays: Vec<Replay>,
    phase: watch::Receiver<Phase>,
    commands: mpsc::UnboundedReceiver<Command>,
    statuses: Statuses,
}

/// A handler or sink that can be put to work.
pub(crate) struct Ready<I> {
    /// The name of its consumer.
    pub(crate) consumer: String,
    pub(crate) instance: I,
    pub(crate) cells: Reopening,
}

/// Where a consumer goes on.
pub(crate) struct Place {
    pub(crate) checkpoint: u64,
    pub(crate) pending: Vec<Pending>,
    /// Since when it is parked, and why, if it is.
    pub(crate) parked: Option<(Timestamp, String)>,
    pub(crate) status: StatusCell,
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
        let mut seat = |consumer: &str, stream, start| -> Result<(Known, Option<Place>), StartError> {
            if scope == Scope::Everything {
                journal.register(consumer, stream, start).map_err(failed(consumer))?;
            }
            let known = find(&mut reader, consumer, stream).map_err(failed(consumer))?;
            let place = (scope == Scope::Everything)
                .then(|| Place::read(&known, &mut reader, StatusCell::new(consumer)))
                .transpose();
            Ok((known, place.map_err(failed(consumer))?))
        };
        let sinks = sinks.into_iter().map(|sink| {
            let ready = Ready::sink(sink)?;
            let (known, place) = seat(&ready.consumer, Stream::Events, ready.instance.options.start)?;
            Ok((ready, known, place))
        });
        let sinks = sinks.collect::<Result<Vec<_>, _>>()?;
        let handlers = handlers.into_iter().map(|handler| {
            let ready = Ready::handler(handler)?;
            let (known, place) = seat(&ready.consumer, Stream::Callbacks, ready.instance.options.start)?;
            Ok((ready, known, place))
        });
        let handlers = handlers.collect::<Result<Vec<_>, _>>()?;
        // From here on, so that whoever has the pipeline finds all of them.
        let places = handlers.iter().map(|(.., place)| place).chain(sinks.iter().map(|(.., place)| place));
        places.flatten().for_each(|place| statuses.add(place.status.clone()));
        let mut replays = reader.replays().map_err(failed("replays"))?;
        replays.retain(|replay| replay.ended_at.is_none());
        let runs = |target: &str| {
            let handlers = handlers.iter().map(|(ready, ..)| &ready.consumer);
            handlers.chain(sinks.iter().map(|(ready, ..)| &ready.consumer)).any(|name| name == target)
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
        let mut deck = Deck::new(journal, reader, phase.clone(), statuses);
        for (ready, _, place) in handlers {
            deck.man_handler(ready, place);
        }
        for (ready, known, place) in sinks {
            deck.man_sink(ready, known, place);
        }
        for replay in replays {
            deck.start_replay(replay);
        }
        // Without a word any more from whoever started it, it ends as soon as its consumers do.
        while *phase.borrow_and_update() == Phase::Running || !deck.is_empty() {
            tokio::select! {
                Some(ended) = deck.next_end() => deck.forget(&ended),
                Some(command) = commands.recv() => deck.obey(command),
                Ok(()) = phase.changed() => {}
                else => break,
            }
        }
        // Where nothing but replays ran, nobody has closed what they worked with.
        if *phase.borrow() != Phase::Stopped {
            for post in deck.sinks() {
                for lane in post.pool.drain() {
                    post.worker.clone().close(lane, CLOSING).await;
                }
            }
        }
    }
}

impl Ready<HandlerInstance> {
    /// Gives it a cell.
    pub(crate) fn handler(instance: HandlerInstance) -> Result<Self, StartError> {
        let consumer = format!("handler:{}", instance.name);
        let cells = Reopening::open(&consumer, instance.threads).map_err(StartError::Thread)?;
        Ok(Ready { consumer, instance, cells })
    }
}

impl Ready<SinkInstance> {
    /// Gives it a cell.
    pub(crate) fn sink(instance: SinkInstance) -> Result<Self, StartError> {
        let consumer = format!("sink:{}", instance.name);
        let cells = Reopening::open(&consumer, instance.threads).map_err(StartError::Thread)?;
        Ok(Ready { consumer, instance, cells })
    }
}

/// What the journal knows of a consumer.
pub(crate) fn find(reader: &mut Reader, consumer: &str, stream: Stream) -> Result<Known, JournalError> {
    let known = reader.consumers()?.into_iter().find(|known| known.name == consumer);
    Ok(known.unwrap_or_else(|| Known::new(consumer, stream)))
}

impl Place {
    pub(crate) fn read(known: &Known, reader: &mut Reader, status: StatusCell) -> Result<Place, JournalError> {
        let pending = reader.pending(&known.name)?;
        status.update(|status| {
            status.checkpoint = known.checkpoint;
            status.pending = pending.len();
        });
        let mut place = Place { checkpoint: known.checkpoint, pending, parked: None, status };
        place.park_as(Some(known));
        Ok(place)
    }

    /// Parks it if this one is.
    pub(crate) fn park_as(&mut self, known: Option<&Known>) {
        let parked = known.and_then(|known| known.parked.as_ref());
        self.parked = parked.map(|parked| (parked.at, parked.reason.clone()));
    }
}
