//! All that is known of one callback: its events, what became of it and of them, and when.

use std::{collections::BTreeMap, time::Duration};

use dispatcher_core::{Callback, Event, EventN, Key, Timestamp};
use dispatcher_journal::{Attempt, CallbackRow, Consumer, EventRow, Pending, Reader, Replay, Row, Skipped, Stream};
use dispatcher_pipeline::ReplaySpec;
use serde::{Deserialize, Serialize};

use crate::{
    Answer, Asker, AttemptView, CallbackView, DecisionView, Done, EventView, Id, Moment, ReplayView,
    answer::names,
    dead, find,
    operations::{Meter, Operations, Stop},
    verdict::Records,
};

/// All that is known of one callback.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Story {
    /// The callback.
    pub callback: CallbackView,
    /// When it was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<Moment>,
    /// How it was answered.
    pub answer: String,
    /// What is on record of the decisions about it: the answer, then what was said too late or by shadows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<DecisionView>,
    /// What became of it with each handler that selects it, or has something recorded of it.
    pub handlers: Vec<Stage>,
    /// Its events; only the one that was asked for, if one was.
    pub events: Vec<EventStory>,
    /// Events of it, and records of decisions about it, that cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<String>,
    /// Replays that it, or an event of it, was part of, as far as their filters tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replays: Vec<ReplayView>,
    /// All of it in order of time.
    pub timeline: Vec<Happening>,
}

/// One event and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventStory {
    /// The event.
    pub event: EventView,
    /// When it was stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<Moment>,
    /// What became of it with each of its sinks, and with replays.
    pub sinks: Vec<Stage>,
}

/// What became of an item with one consumer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stage {
    /// The consumer's whole name.
    pub consumer: String,
    /// How it stands.
    pub outcome: Outcome,
    /// Of a handler that is done with it: how many events it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<u64>,
    /// When it was done: not before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Moment>,
    /// When it was done, given up on or skipped: at this moment, or some time since `not_before` if that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at: Option<Moment>,
    /// When the next attempt is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<Moment>,
    /// How often it was tried, as far as that is recorded.
    pub n_attempts: u32,
    /// Why it is not done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The attempts that are known: of items that failed at least once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<AttemptView>,
}

/// How an item stands with one consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was handled, or delivered.
    Done,
    /// It waits for another attempt, or behind an item of its key that does.
    Pending,
    /// It was given up on.
    Dead,
    /// The consumer has not got to it.
    Waiting,
    /// The consumer let go of it untried.
    Skipped,
    /// The journal knows no such consumer.
    Unknown,
    /// A replay tried it.
    Replayed,
    /// It failed, and is neither pending nor a dead letter any more: someone discarded it, a replay delivered it, or the
    /// time that dead letters are kept is over.
    Settled,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// When; if `not_before` is there, some time between the two.
    pub at: Moment,
    /// Not before this moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Moment>,
    /// What.
    pub what: String,
}

pub(crate) fn show(operations: &Operations, typed: &str, contents: bool, asker: &mut dyn Asker) -> Result<Done, Stop> {
    let id: Id = typed.parse().map_err(|err: crate::InvalidId| Stop::Failed(err.to_string()))?;
    let mut reader = operations.reader()?;
    let mut only_event = None;
    let mut only = None; // By handler and n, until its seq is known.
    let mut was_dead = false;
    let callback_seq = match &id {
        Id::Row { stream: Stream::Callbacks, seq } => Some(*seq),
        Id::Row { stream: Stream::Events, seq } => {
            only_event = Some(*seq);
            Some(callback_of(&mut reader, *seq)?)
        }
        Id::Dead { consumer, seq } => {
            let letter = dead::one(&mut reader, consumer, *seq)?.ok_or_else(|| dead::missing(typed))?;
            asker.tell(Answer::DeadLetter(Box::new(dead::view(consumer, &letter, true, contents))))?;
            was_dead = true;
            match dead::stream(consumer) {
                Stream::Callbacks => Some(*seq),
                Stream::Events => {
                    only_event = Some(*seq);
                    callback_of(&mut reader, *seq).ok()
                }
            }
        }
        Id::Callback(prefix) => Some(find::callback(&mut reader, typed, prefix, &mut Meter::new("looking", asker))?),
        Id::Event { callback, handler, n } => {
            only = Some((handler.as_str(), *n));
            Some(find::callback(&mut reader, typed, callback, &mut Meter::new("looking", asker))?)
        }
    };
    let row = match callback_seq {
        None => None,
        Some(seq) => match reader.callback(seq)? {
            Row::Intact(row) => Some(row),
            // What is left of a dead letter was shown already.
            Row::Damaged { .. } if was_dead => None,
            Row::Damaged { .. } if seq > reader.end(Stream::Callbacks) => {
                return Err(beyond(&reader, Stream::Callbacks, seq));
            }
            Row::Damaged { reason, .. } => return Err(Stop::Failed(format!("callbacks/{seq} {reason}"))),
        },
    };
    let Some(row) = row else { return Ok(Done { n: 1, ..Done::default() }) };
    let mut events = Vec::new();
    let mut damaged = Vec::new();
    for seq in find::events(&mut reader, row.seq, &mut Meter::new("looking for its events", asker))? {
        if only_event.is_some_and(|only| only != seq) {
            continue;
        }
        match reader.event(seq)? {
            Row::Intact(event) if only.is_some_and(|only| only != (&*event.event.handler, event.event.n)) => {}
            Row::Intact(event) => events.push(event),
            Row::Damaged { reason, .. } => damaged.push(format!("events/{seq} {reason}")),
        }
    }
    if let Some((handler, n)) = only
        && events.is_empty()
    {
        return Err(Stop::Failed(format!(
            "callbacks/{} has no event {handler}.{}; `dispatcher show callbacks/{}` shows what it has",
            row.seq,
            EventN(n),
            row.seq
        )));
    }
    let story = Teller::new(operations, &mut reader)?.tell(&row, events, damaged, contents)?;
    asker.tell(Answer::Story(Box::new(story)))?;
    Ok(Done { n: 1, ..Done::default() })
}

fn callback_of(reader: &mut Reader, event_seq: u64) -> Result<u64, Stop> {
    match reader.event(event_seq)? {
        Row::Intact(event) => Ok(event.callback_seq),
        Row::Damaged { .. } if event_seq > reader.end(Stream::Events) => Err(beyond(reader, Stream::Events, event_seq)),
        Row::Damaged { reason, .. } => Err(Stop::Failed(format!("events/{event_seq} {reason}"))),
    }
}

fn beyond(reader: &Reader, stream: Stream, seq: u64) -> Stop {
    Stop::Failed(format!("there is no {stream}/{seq} yet; the last is {stream}/{}", reader.end(stream)))
}

/// Gathers what consumers left.
struct Teller<'a> {
    operations: &'a Operations,
    reader: &'a mut Reader,
    consumers: Vec<Consumer>,
    replays: Vec<Replay>,
    skipped: Vec<(String, Timestamp, Skipped)>,
    pending: BTreeMap<String, Vec<Pending>>,
}

impl<'a> Teller<'a> {
    fn new(operations: &'a Operations, reader: &'a mut Reader) -> Result<Teller<'a>, Stop> {
        let (consumers, replays, skipped) = (reader.consumers()?, reader.replays()?, reader.skipped()?);
        Ok(Teller { operations, reader, consumers, replays, skipped, pending: BTreeMap::new() })
    }

    fn tell(
        mut self,
        row: &CallbackRow,
        events: Vec<EventRow>,
        mut damaged: Vec<String>,
        contents: bool,
    ) -> Result<Story, Stop> {
        let callback = &*row.callback;
        let stored_at = self.reader.stored_at(Stream::Callbacks, row.seq)?.map(Moment);
        let mut handlers = Vec::new();
        let attempts = self.reader.attempts(Stream::Callbacks, row.seq)?;
        for name in self.handlers() {
            // What tells of a decision was not made by handling.
            let made = events.iter().filter(|event| {
                name.strip_prefix("handler:") == Some(&*event.event.handler) && event.event.n < Event::DECISION
            });
            let made: Vec<&EventRow> = made.collect();
            let n_events = made.iter().filter(|event| !event.event.replay).count() as u64;
            let mut stage = self.stage(&name, Stream::Callbacks, row.seq, stored_at, attempts.get(&name))?;
            let is_selected = self
                .operations
                .configured(&name)
                .is_some_and(|configured| configured.selects.as_ref().is_some_and(|selects| selects(callback)));
            // Of a handler that is not configured nobody knows what it selected; an event of it tells.
            if stage.outcome == Outcome::Done {
                stage.events = Some(n_events);
                // Events enter the journal together with the word that their callback is done.
                if let Some(event) = made.iter().rev().find(|event| !event.event.replay)
                    && let Some(at) = self.reader.stored_at(Stream::Events, event.event.seq)?
                {
                    (stage.not_before, stage.at) = (Some(at.into()), Some(at.into()));
                }
            }
            if is_selected || !made.is_empty() || !stage.attempts.is_empty() || stage.outcome == Outcome::Dead {
                handlers.push(stage);
            }
        }
        handlers.extend(replayed(&attempts));
        let mut told = Vec::new();
        let mut replays =
            self.replays_of(Stream::Callbacks, row.seq, callback, callback.key(), &attempts, &self.handlers());
        for event in events {
            let seq = event.event.seq;
            let attempts = self.reader.attempts(Stream::Events, seq)?;
            let stored_at = self.reader.stored_at(Stream::Events, seq)?.map(Moment);
            let mut sinks = Vec::new();
            let of: Vec<String> = names(&event.sinks).map(|sink| self.consumer_of(sink, seq)).collect();
            for name in &of {
                sinks.push(self.stage(name, Stream::Events, seq, stored_at, attempts.get(name))?);
            }
            sinks.extend(replayed(&attempts));
            replays.extend(self.replays_of(Stream::Events, seq, callback, event.event.key.as_ref(), &attempts, &of));
            told.push(EventStory { event: EventView::new(&event, contents), stored_at, sinks });
        }
        replays.sort_by_key(|replay| replay.id);
        replays.dedup();
        let n_damaged = Records::read(self.reader, row.seq, row.seq)?.n_damaged;
        damaged.extend((0..n_damaged).map(|_| "a record of a decision about it fails its checksum".to_owned()));
        let decisions = self.reader.decisions(row.seq)?.into_iter();
        let decisions: Vec<_> = decisions.map(|row| DecisionView::new(row, contents)).collect();
        let mut story = Story {
            callback: CallbackView::new(row, contents),
            stored_at,
            answer: answer(callback, &decisions, n_damaged > 0),
            decisions,
            handlers,
            events: told,
            damaged,
            replays,
            timeline: Vec::new(),
        };
        story.timeline = timeline(&story);
        Ok(story)
    }

    /// The consumers of callbacks, in the order of the configuration; others behind them.
    fn handlers(&self) -> Vec<String> {
        let configured = self.operations.setup.consumers.iter().filter(|one| one.stream == Stream::Callbacks);
        let mut names: Vec<String> = configured.map(|one| one.name.clone()).collect();
        for consumer in &self.consumers {
            if consumer.name.starts_with("handler:") && !names.contains(&consumer.name) {
                names.push(consumer.name.clone());
            }
        }
        names
    }

    fn stage(
        &mut self,
        name: &str,
        stream: Stream,
        seq: u64,
        stored_at: Option<Moment>,
        attempts: Option<&Vec<Attempt>>,
    ) -> Result<Stage, Stop> {
        let attempts: Vec<AttemptView> = attempts.into_iter().flatten().map(AttemptView::new).collect();
        let mut stage = Stage {
            consumer: name.to_owned(),
            outcome: Outcome::Unknown,
            events: None,
            not_before: None,
            at: None,
            due: None,
            n_attempts: attempts.last().map_or(0, |attempt| attempt.n),
            reason: None,
            attempts,
        };
        if let Some(letter) = dead::one(self.reader, name, seq)? {
            stage.outcome = Outcome::Dead;
            (stage.at, stage.not_before) = (Some(letter.at.into()), Some(letter.at.into()));
            stage.reason = Some(letter.reason);
            stage.n_attempts = letter.attempts;
            if stage.attempts.is_empty() {
                stage.attempts = letter.history.iter().map(AttemptView::new).collect();
            }
            return Ok(stage);
        }
        let Some(consumer) = self.consumers.iter().find(|one| one.name == name && one.stream == stream) else {
            return Ok(stage);
        };
        let checkpoint = consumer.checkpoint;
        if !self.pending.contains_key(name) {
            self.pending.insert(name.to_owned(), self.reader.pending(name)?);
        }
        let pending = self.pending[name].iter().find(|pending| pending.seq == seq);
        let skipped = self
            .skipped
            .iter()
            .find(|(consumer, _, range)| consumer == name && (range.first..=range.last).contains(&seq));
        if let Some(pending) = pending {
            stage.outcome = Outcome::Pending;
            stage.n_attempts = pending.attempt;
            stage.due = Some(pending.due.into());
            stage.reason = Some(pending.error.clone()).filter(|error| !error.is_empty());
        } else if seq > checkpoint {
            stage.outcome = Outcome::Waiting;
        } else if let Some((_, at, range)) = skipped {
            stage.outcome = Outcome::Skipped;
            (stage.at, stage.not_before) = (Some((*at).into()), Some((*at).into()));
            stage.reason = Some(range.reason.clone());
        } else if stage.attempts.last().is_some_and(|attempt| attempt.error.is_some()) {
            stage.outcome = Outcome::Settled;
        } else {
            stage.outcome = Outcome::Done;
            let succeeded = stage.attempts.iter().rev().find(|attempt| attempt.error.is_none());
            (stage.not_before, stage.at) = match succeeded {
                Some(attempt) => (Some(attempt.at), Some(attempt.at)),
                None => {
                    let (before, after) = self.reader.passed(name, seq)?;
                    // Nor before it was stored; and if no mark was made since, by now.
                    (before.map(Moment).max(stored_at), Some(after.unwrap_or_else(Timestamp::now).into()))
                }
            };
        }
        Ok(stage)
    }

    /// The whole name of the consumer that an event with this seq knows as this sink.
    fn consumer_of(&self, sink: &str, seq: u64) -> String {
        let renamed = self.consumers.iter().find(|one| {
            let is_it = |(former, upto): &(String, u64)| seq <= *upto && former.strip_prefix("sink:") == Some(sink);
            one.former.iter().any(is_it)
        });
        renamed.map_or_else(|| format!("sink:{sink}"), |one| one.name.clone())
    }

    /// The replays that tried this item, and those under way that have yet to: of these consumers' items.
    fn replays_of(
        &self,
        stream: Stream,
        seq: u64,
        callback: &Callback,
        key: Option<&Key>,
        attempts: &BTreeMap<String, Vec<Attempt>>,
        of: &[String],
    ) -> Vec<ReplayView> {
        let has_yet_to = |replay: &Replay| {
            replay.ended_at.is_none()
                && replay.dead_of.is_none()
                && (replay.first..=replay.last).contains(&seq)
                && serde_json::from_str::<ReplaySpec>(&replay.spec)
                    .is_ok_and(|spec| of.contains(&spec.of) && spec.filter.lets_through(seq, callback, key))
        };
        let concerned = self.replays.iter().filter(|replay| {
            replay.stream == stream && (attempts.contains_key(&replay.consumer()) || has_yet_to(replay))
        });
        concerned.map(|replay| ReplayView::new(replay, None)).collect()
    }
}

/// What replays tried of this item.
fn replayed(attempts: &BTreeMap<String, Vec<Attempt>>) -> impl Iterator<Item = Stage> {
    let of_replays = attempts.iter().filter(|(name, _)| name.starts_with("replay:"));
    of_replays.map(|(name, attempts)| Stage {
        consumer: name.clone(),
        outcome: Outcome::Replayed,
        events: None,
        not_before: None,
        at: None,
        due: None,
        n_attempts: attempts.last().map_or(0, |attempt| attempt.n),
        reason: None,
        attempts: attempts.iter().map(AttemptView::new).collect(),
    })
}

/// How a callback was answered.
fn answer(callback: &Callback, decisions: &[DecisionView], is_damaged: bool) -> String {
    match decisions.iter().find(|decision| decision.is_answer()) {
        _ if !callback.command().wants_decision() => "acknowledged, once it was stored".to_owned(),
        Some(decision) => decision.text(),
        None if is_damaged => "the record of it is damaged".to_owned(),
        None => "allowed, as nobody was asked; or none, if whoever sent it hung up before".to_owned(),
    }
}

/// What was decided: what each decider said, one after the other, and what came of it; later what did not count.
fn decided(story: &Story, add: &mut impl FnMut(Moment, Option<Moment>, String)) {
    let received = story.callback.received_at.0;
    let after = |micros: u64| Moment(received.after(Duration::from_micros(micros)));
    let mut answers = story.decisions.iter().filter(|decision| decision.is_answer());
    if let Some(answer) = answers.next() {
        let mut at = 0_u64;
        for decider in &answer.deciders {
            at = at.saturating_add(decider.took_us);
            add(after(at), None, decider.text());
        }
        add(after(answer.took_us.max(at)), None, format!("answered: {}", answer.text()));
    }
    for repeat in answers {
        add(repeat.at, None, format!("a repeat of it was answered: {}", repeat.text()));
    }
    for other in story.decisions.iter().filter(|decision| !decision.is_answer()) {
        add(other.at, None, other.text());
    }
}

/// Everything with a time, in order of it.
fn timeline(story: &Story) -> Vec<Happening> {
    let mut happenings = Vec::new();
    let mut add = |at: Moment, not_before: Option<Moment>, what: String| {
        // What is known to a tick is a moment, not a span.
        let not_before = not_before.filter(|before| *before < at);
        happenings.push(Happening { at, not_before, what });
    };
    let callback = &story.callback;
    add(callback.received_at, None, "received".to_owned());
    decided(story, &mut add);
    if let Some(at) = story.stored_at {
        add(at, None, format!("stored as callbacks/{}", callback.seq));
    }
    for stage in &story.handlers {
        stages(stage, "handled", &mut add);
    }
    for EventStory { event, stored_at, sinks } in &story.events {
        let name = format!("{}.{}", event.handler, EventN(event.n));
        if let Some(at) = stored_at {
            let replay = if event.replay { ", made by a replay" } else { "" };
            add(*at, None, format!("event {name} stored as events/{}{replay}", event.seq));
        }
        for stage in sinks {
            stages(stage, &format!("event {name} delivered"), &mut add);
        }
    }
    happenings.sort_by_key(|happening| (happening.not_before.unwrap_or(happening.at), happening.at));
    happenings
}

fn stages(stage: &Stage, done: &str, add: &mut impl FnMut(Moment, Option<Moment>, String)) {
    let name = &stage.consumer;
    for attempt in &stage.attempts {
        let mut what = format!("{name}: attempt {} ", attempt.n);
        match &attempt.error {
            None => what += "succeeded",
            Some(error) => what += &format!("failed: {error}"),
        }
        if let Some(status) = attempt.status {
            what += &format!(" (status {status}");
            if let Some(excerpt) = &attempt.excerpt {
                what += &format!(", {excerpt:?}");
            }
            what.push(')');
        }
        add(attempt.at, None, what);
    }
    match (stage.outcome, stage.at) {
        (Outcome::Done, Some(at)) => {
            // No record says when; between two marks of its progress. The first may be long before.
            let not_before = stage.not_before;
            let events = match stage.events {
                Some(1) => ", 1 event".to_owned(),
                Some(n) => format!(", {n} events"),
                None => String::new(),
            };
            add(at, not_before, format!("{name}: {done}{events}"));
        }
        (Outcome::Dead, Some(at)) => {
            let reason = stage.reason.as_deref().unwrap_or_default();
            add(at, None, format!("{name}: given up on at attempt {}: {reason}", stage.n_attempts));
        }
        (Outcome::Skipped, Some(at)) => {
            add(at, None, format!("{name}: skipped: {}", stage.reason.as_deref().unwrap_or_default()));
        }
        _ => {}
    }
    if let Some(due) = stage.due {
        let wait = if stage.n_attempts == 0 {
            "waits behind another of its key".to_owned()
        } else {
            format!("attempt {} is due", stage.n_attempts.saturating_add(1))
        };
        add(due, None, format!("{name}: {wait}"));
    }
}
