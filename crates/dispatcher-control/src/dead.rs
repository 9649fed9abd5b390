//! Dead letters: which there are, and away with them.

use std::collections::VecDeque;

use dispatcher_core::{CallbackId, CommandPattern, Timestamp};
use dispatcher_journal::{Change, DeadLetter, Reader, Stream};
use serde_json::Value;

use crate::{
    Answer, Asker, AttemptView, DeadFilter, DeadItem, DeadSelection, DeadView, Done, Id, Moment,
    operations::{Meter, Operations, Stop},
    search::{is_app, pattern},
};

/// How many are read, or discarded, at once.
const PAGE: usize = 256;

pub(crate) fn list(
    operations: &Operations,
    which: &DeadFilter,
    limit: u64,
    contents: bool,
    asker: &mut dyn Asker,
) -> Result<Done, Stop> {
    let mut reader = operations.reader()?;
    let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
    // The newest are those with the largest places; which consumer they are of says nothing about that.
    let mut newest: VecDeque<(u64, String, u64)> = VecDeque::new();
    let mut n = 0;
    each(&mut reader, which, &mut Meter::new("reading dead letters", asker), |consumer, dead| {
        n += 1;
        let at = newest.partition_point(|(place, ..)| *place < dead.place);
        newest.insert(at, (dead.place, consumer.to_owned(), dead.seq));
        if newest.len() > limit {
            newest.pop_front();
        }
    })?;
    let listed = newest.len() as u64;
    for (_, consumer, seq) in newest {
        // It may have been replayed or discarded meanwhile.
        if let Some(dead) = one(&mut reader, &consumer, seq)? {
            asker.tell(Answer::DeadLetter(Box::new(view(&consumer, &dead, false, contents))))?;
        }
    }
    Ok(Done { n: listed, of: Some(n), more: n > listed, note: None })
}

pub(crate) fn discard(operations: &Operations, which: &DeadSelection, asker: &mut dyn Asker) -> Result<Done, Stop> {
    let mut n = 0;
    let selected = select(&mut operations.reader()?, which, asker)?;
    let total = selected.iter().map(|(_, seqs)| seqs.len() as u64).sum();
    let mut meter = Meter::new("discarding", asker);
    for (consumer, seqs) in selected {
        for seqs in seqs.chunks(PAGE) {
            meter.at(n, total)?;
            n += operations.change(Change::Discard { consumer: consumer.as_str().into(), seqs: seqs.to_vec() })?;
        }
    }
    Ok(Done { n, ..Done::default() })
}

/// The dead letters that are selected: for each consumer, its seqs in order. One that is named and not there is an error.
pub(crate) fn select(
    reader: &mut Reader,
    which: &DeadSelection,
    asker: &mut dyn Asker,
) -> Result<Vec<(String, Vec<u64>)>, Stop> {
    let mut selected: Vec<(String, Vec<u64>)> = Vec::new();
    let mut add = |consumer: &str, seq| match selected.iter_mut().find(|(name, _)| name == consumer) {
        Some((_, seqs)) => seqs.push(seq),
        None => selected.push((consumer.to_owned(), vec![seq])),
    };
    match which {
        DeadSelection::Filter(filter) => {
            each(reader, filter, &mut Meter::new("reading dead letters", asker), |consumer, dead| {
                add(consumer, dead.seq);
            })?;
        }
        DeadSelection::Ids(ids) => {
            for id in ids {
                let (consumer, seq) = named(id)?;
                if one(reader, &consumer, seq)?.is_none() {
                    return Err(missing(id));
                }
                add(&consumer, seq);
            }
        }
    }
    for (_, seqs) in &mut selected {
        seqs.sort_unstable();
        seqs.dedup();
    }
    Ok(selected)
}

/// Reads what a person named as a dead letter.
fn named(id: &str) -> Result<(String, u64), Stop> {
    match id.parse() {
        Ok(Id::Dead { consumer, seq }) => Ok((consumer, seq)),
        Ok(_) => Err(Stop::Failed(format!("{id:?} is no dead letter's id; write sink:NAME/SEQ or handler:NAME/SEQ"))),
        Err(err) => Err(Stop::Failed(err.to_string())),
    }
}

pub(crate) fn missing(id: &str) -> Stop {
    Stop::Failed(format!("there is no dead letter {id}; `dispatcher dead-letters list` lists those there are"))
}

pub(crate) fn one(reader: &mut Reader, consumer: &str, seq: u64) -> Result<Option<DeadLetter>, Stop> {
    let Some(before) = seq.checked_sub(1) else { return Ok(None) };
    Ok(reader.dead(consumer, before, 1)?.pop().filter(|dead| dead.seq == seq))
}

/// Visits those that the filter lets through, consumer by consumer in order of seq.
fn each(
    reader: &mut Reader,
    filter: &DeadFilter,
    meter: &mut Meter<'_>,
    mut visit: impl FnMut(&str, &DeadLetter),
) -> Result<(), Stop> {
    let command = pattern(filter.command.as_deref())?;
    let counts = reader.dead_counts()?;
    let counts = counts.into_iter().filter(|(name, _)| filter.consumer.as_ref().is_none_or(|wanted| wanted == name));
    let counts: Vec<(String, u64)> = counts.collect();
    let total = counts.iter().map(|(_, n)| n).sum();
    let mut n = 0;
    for (consumer, _) in counts {
        let mut after = 0;
        loop {
            meter.at(n, total)?;
            let page = reader.dead(&consumer, after, PAGE)?;
            let Some(last) = page.last() else { break };
            after = last.seq;
            n += page.len() as u64;
            page.iter().filter(|dead| is_let_through(filter, command.as_ref(), dead)).for_each(|dead| {
                visit(&consumer, dead);
            });
        }
    }
    Ok(())
}

fn is_let_through(filter: &DeadFilter, command: Option<&CommandPattern>, dead: &DeadLetter) -> bool {
    let DeadFilter { consumer: _, since, until, app, command: _, key, reason } = filter;
    let is_in_time =
        since.is_none_or(|since| dead.at.as_millis() >= since) && until.is_none_or(|until| dead.at.as_millis() < until);
    if !is_in_time || reason.as_ref().is_some_and(|reason| !dead.reason.contains(reason)) {
        return false;
    }
    // A copy is parsed only where it has to be.
    if app.is_none() && command.is_none() && key.is_none() {
        return true;
    }
    let item = item(&serde_json::from_str(&dead.copy).unwrap_or_default());
    app.as_ref().is_none_or(|app| is_app(app, item.sdk_app_id.unwrap_or(0), item.app.as_deref().unwrap_or_default()))
        && command.is_none_or(|pattern| item.command.as_ref().is_some_and(|command| pattern.selects(command)))
        && key.as_ref().is_none_or(|key| item.key.as_ref() == Some(key))
}

/// A dead letter as it is shown.
pub(crate) fn view(consumer: &str, dead: &DeadLetter, history: bool, contents: bool) -> DeadView {
    let copy: Value = serde_json::from_str(&dead.copy).unwrap_or_default();
    DeadView {
        id: format!("{consumer}/{}", dead.seq),
        consumer: consumer.to_owned(),
        seq: dead.seq,
        at: dead.at.into(),
        first_at: dead.first_at.into(),
        reason: dead.reason.clone(),
        attempts: dead.attempts,
        item: item(&copy),
        history: if history { dead.history.iter().map(AttemptView::new).collect() } else { Vec::new() },
        copy: contents.then_some(copy),
    }
}

/// The stream that a consumer with this name consumes.
pub(crate) fn stream(consumer: &str) -> Stream {
    if consumer.starts_with("sink:") { Stream::Events } else { Stream::Callbacks }
}

/// What a copy tells of its item. It holds the columns of the row and of its callback's, bytes in hexadecimal.
fn item(copy: &Value) -> DeadItem {
    let (event, callback) = (&copy["event"], &copy["callback"]);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let callback_id = callback["id"].as_str().and_then(callback_id);
    let event_id =
        || Some(format!("{}.{}.{}", callback_id.as_ref()?, event["handler"].as_str()?, event["n"].as_u64()?));
    DeadItem {
        item_id: if event.is_null() { callback_id.clone() } else { event_id() },
        callback_id: callback_id.clone(),
        event_type: text(&event["type"]),
        received_at: callback["received"].as_i64().map(|time| Moment(Timestamp::from_millis(time))),
        sdk_app_id: callback["app"].as_u64(),
        app: text(&callback["app_name"]),
        command: text(&callback["command"]),
        key: text(if event.is_null() { &callback["key"] } else { &event["key"] }),
    }
}

fn callback_id(hex: &str) -> Option<String> {
    let number = u128::from_str_radix(hex, 16).ok().filter(|_| hex.len() == 32)?;
    Some(CallbackId::from_bytes(number.to_be_bytes()).to_string())
}
