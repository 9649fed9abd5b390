//! Lists callbacks and events: newest or oldest, and what comes.

use std::time::Duration;

use dispatcher_core::{Callback, CommandPattern, DecisionResult, Timestamp};
use dispatcher_journal::{CallbackRow, EventRow, JournalError, Reader, Row, Stream};
use memchr::memmem::Finder;

use crate::{
    Answer, Asker, CallbackView, DamagedView, DecisionView, Done, EventView, Progress, Search,
    answer::names,
    operations::{Meter, Stop},
    verdict::{Records, Tally, Wanted},
};

/// How many rows are read at once, and how many bytes of them about.
const PAGE: u64 = 256;
const PAGE_BYTES: usize = 4 << 20;

/// How often a follower looks for what has come; that costs no disk access.
const LOOK: Duration = Duration::from_millis(100);

/// The most that can be gathered to be shown: their seqs are kept in memory.
const MOST: u64 = 1_000_000;

pub(crate) fn callbacks(reader: &mut Reader, search: &Search, asker: &mut dyn Asker) -> Result<Done, Stop> {
    if search.shadow_diff && search.follow {
        return Err(Stop::Failed("what a shadow says comes behind its callback, and cannot be followed".to_owned()));
    }
    list::<CallbackRow>(reader, search, asker)
}

pub(crate) fn events(reader: &mut Reader, search: &Search, asker: &mut dyn Asker) -> Result<Done, Stop> {
    if search.decision.is_some() || search.shadow_diff || search.decisions {
        return Err(Stop::Failed("decisions are about callbacks; ask for those".to_owned()));
    }
    list::<EventRow>(reader, search, asker)
}

fn list<T: Listed>(reader: &mut Reader, search: &Search, asker: &mut dyn Asker) -> Result<Done, Stop> {
    let criteria = Criteria::new(search)?;
    let end = reader.end(T::STREAM);
    let (first, last) = range::<T>(reader, search, end)?;
    let mut found = Found::default();
    let limit = if search.limit == 0 { MOST } else { search.limit.min(MOST) };
    if search.oldest {
        forwards::<T>(reader, &criteria, (first, last), limit, &mut found, &mut Meter::new("searching", asker))?;
    } else {
        backwards::<T>(reader, &criteria, (first, last), limit, &mut found, &mut Meter::new("searching", asker))?;
    }
    let n = found.seqs.len() as u64;
    if search.decisions {
        // Who asks for decisions works on each, and wants to know how many there will be.
        asker.tell(Answer::Progress(Progress { what: "reading".to_owned(), done: 0, total: n }))?;
    }
    for seq in found.seqs {
        tell::<T>(reader, seq, search, asker)?;
    }
    if search.shadow_diff {
        asker.tell(Answer::ShadowDiffs(found.tally.diffs()))?;
    }
    if search.follow {
        follow::<T>(reader, &criteria, end, search, asker)?;
    }
    let note = (found.n_unread > 0)
        .then(|| format!("{} damaged rows could not be searched; without a filter they are listed", found.n_unread));
    Ok(Done { n, of: None, more: found.more, note })
}

/// The first and the last seq that may be listed; empty when the first is larger.
fn range<T: Listed>(reader: &mut Reader, search: &Search, end: u64) -> Result<(u64, u64), JournalError> {
    let oldest = reader.floor(T::STREAM) + 1;
    let first = match search.since {
        None => oldest,
        Some(since) => reader.first_at(T::STREAM, Timestamp::from_millis(since))?.unwrap_or(end + 1),
    };
    let last = match search.until {
        None => end,
        Some(until) => reader.first_at(T::STREAM, Timestamp::from_millis(until))?.map_or(end, |seq| seq - 1),
    };
    Ok((first.max(oldest), last.min(end)))
}

/// What is to be listed, by seq, and what is known beside it.
#[derive(Default)]
struct Found {
    /// From the oldest on.
    seqs: Vec<u64>,
    /// Whether there are more.
    more: bool,
    /// How many damaged rows there were of which nobody knows whether they are wanted.
    n_unread: u64,
    /// Of all that is wanted, whether it is listed or not: how shadows differ.
    tally: Tally,
}

impl Found {
    fn takes<T: Listed>(&mut self, row: &Row<T>, criteria: &Criteria<'_>, records: &Records) -> bool {
        match row {
            Row::Intact(item) => {
                let records = records.of(item.seq());
                let is_wanted = item.is_let_through(criteria, records);
                if is_wanted && criteria.counts_all() {
                    self.tally.count(records);
                }
                is_wanted
            }
            Row::Damaged { .. } if criteria.is_any => true,
            Row::Damaged { .. } => {
                self.n_unread += 1;
                false
            }
        }
    }

    /// What is wanted from one seq to another, a page of them, from the oldest on.
    fn wanted<T: Listed>(
        &mut self,
        reader: &mut Reader,
        criteria: &Criteria<'_>,
        (from, upto): (u64, u64),
    ) -> Result<Vec<u64>, JournalError> {
        let mut seqs = Vec::new();
        let records = match &criteria.wanted {
            Some(wanted) => {
                let records = Records::read(reader, from, upto)?;
                self.n_unread += records.n_damaged;
                if records.is_empty() && wanted.needs_record() {
                    return Ok(seqs);
                }
                records
            }
            None => Records::default(),
        };
        let mut after = from - 1;
        while after < upto {
            let rows = T::page(reader, after, usize_of(upto - after), PAGE_BYTES)?;
            let Some(read) = rows.last().map(T::seq_of) else { break };
            let rows = rows.iter().filter(|row| T::seq_of(row) <= upto);
            seqs.extend(rows.filter(|row| self.takes(row, criteria, &records)).map(T::seq_of));
            after = read;
        }
        Ok(seqs)
    }
}

/// The oldest of the range, to the limit.
fn forwards<T: Listed>(
    reader: &mut Reader,
    criteria: &Criteria<'_>,
    (first, last): (u64, u64),
    limit: u64,
    found: &mut Found,
    meter: &mut Meter<'_>,
) -> Result<(), Stop> {
    let first = first.max(1);
    let mut from = first;
    while from <= last && (!found.more || criteria.counts_all()) {
        meter.at(from - first, last + 1 - first)?;
        let upto = last.min(from.saturating_add(PAGE - 1));
        let page = found.wanted::<T>(reader, criteria, (from, upto))?;
        let room = limit - found.seqs.len() as u64;
        found.more |= page.len() as u64 > room;
        found.seqs.extend(page.into_iter().take(usize_of(room)));
        from = upto + 1;
    }
    Ok(())
}

/// The newest of the range, to the limit: page by page from the end, each page read from its beginning.
fn backwards<T: Listed>(
    reader: &mut Reader,
    criteria: &Criteria<'_>,
    (first, last): (u64, u64),
    limit: u64,
    found: &mut Found,
    meter: &mut Meter<'_>,
) -> Result<(), Stop> {
    let first = first.max(1);
    let mut upto = last;
    while upto >= first && (!found.more || criteria.counts_all()) {
        meter.at(last - upto, last + 1 - first)?;
        let from = upto.saturating_sub(PAGE - 1).max(first);
        let page = found.wanted::<T>(reader, criteria, (from, upto))?;
        let room = limit - found.seqs.len() as u64;
        found.more |= page.len() as u64 > room;
        found.seqs.extend(page.into_iter().rev().take(usize_of(room)));
        upto = from - 1;
    }
    found.seqs.reverse();
    Ok(())
}

/// What comes behind `after`, until nobody wants it any more.
fn follow<T: Listed>(
    reader: &mut Reader,
    criteria: &Criteria<'_>,
    mut after: u64,
    search: &Search,
    asker: &mut dyn Asker,
) -> Result<(), Stop> {
    loop {
        let end = reader.end(T::STREAM);
        if end <= after {
            asker.wait(LOOK)?;
            continue;
        }
        let upto = end.min(after.saturating_add(PAGE));
        for seq in Found::default().wanted::<T>(reader, criteria, (after + 1, upto))? {
            tell::<T>(reader, seq, search, asker)?;
        }
        after = upto;
    }
}

fn tell<T: Listed>(reader: &mut Reader, seq: u64, search: &Search, asker: &mut dyn Asker) -> Result<(), Stop> {
    let answer = match T::one(reader, seq)? {
        Row::Intact(item) => item.answer(reader, search)?,
        Row::Damaged { seq, reason } => Answer::Damaged(DamagedView::new(T::STREAM, seq, reason)),
    };
    Ok(asker.tell(answer)?)
}

fn usize_of(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// What a row of a stream has to be to be listed.
pub(crate) struct Criteria<'a> {
    app: Option<&'a str>,
    apps: &'a [String],
    command: Option<CommandPattern>,
    commands: &'a [String],
    key: Option<&'a str>,
    wanted: Option<Wanted>,
    text: Option<Finder<'a>>,
    handler: Option<&'a str>,
    sink: Option<&'a str>,
    event_type: Option<&'a str>,
    /// Whether every row is.
    is_any: bool,
}

impl<'a> Criteria<'a> {
    fn new(search: &'a Search) -> Result<Criteria<'a>, Stop> {
        let Search { app, apps, command, commands, key, text, handler, sink, event_type, .. } = search;
        let filters = [app, command, key, text, handler, sink, event_type];
        let wanted = wanted(search)?;
        Ok(Criteria {
            app: app.as_deref(),
            apps,
            command: pattern(command.as_deref())?,
            commands,
            key: key.as_deref(),
            text: text.as_deref().map(Finder::new),
            handler: handler.as_deref(),
            sink: sink.as_deref(),
            event_type: event_type.as_deref(),
            is_any: filters.iter().all(|filter| filter.is_none())
                && apps.is_empty()
                && commands.is_empty()
                && wanted.is_none(),
            wanted,
        })
    }

    /// Whether all that is wanted is counted, whatever the limit.
    fn counts_all(&self) -> bool {
        self.wanted == Some(Wanted::ShadowDiff)
    }

    fn lets_through(&self, callback: &Callback, key: Option<&str>, contents: &[u8]) -> bool {
        let is_its_app = |app: &str| is_app(app, callback.app().sdk_app_id(), callback.app().name());
        self.app.is_none_or(is_its_app)
            && (self.apps.is_empty() || self.apps.iter().any(|app| is_its_app(app)))
            && (self.commands.is_empty() || self.commands.iter().any(|one| callback.command().as_str() == one))
            && self.command.as_ref().is_none_or(|pattern| pattern.selects(callback.command().as_str()))
            && self.key.is_none_or(|wanted| key == Some(wanted))
            && self.text.as_ref().is_none_or(|text| text.find(contents).is_some())
    }
}

/// Whether a person means this app: by its name, or by its SDKAppID.
pub(crate) fn is_app(wanted: &str, sdk_app_id: u64, name: &str) -> bool {
    wanted == name || wanted.parse() == Ok(sdk_app_id)
}

/// The pattern that a person wrote, if it is one.
pub(crate) fn pattern(command: Option<&str>) -> Result<Option<CommandPattern>, Stop> {
    command.map(CommandPattern::new).transpose().map_err(|err| Stop::Failed(err.to_string()))
}

/// How callbacks have to be decided, as a person wrote it.
fn wanted(search: &Search) -> Result<Option<Wanted>, Stop> {
    let decision = match search.decision.as_deref() {
        None => None,
        Some("defaulted") => Some(Wanted::Defaulted),
        Some(result) if DecisionResult::ALL.iter().any(|known| known.as_str() == result) => {
            Some(Wanted::Result(result.to_owned()))
        }
        Some(other) => {
            let known: Vec<&str> = DecisionResult::ALL.iter().map(|result| result.as_str()).collect();
            return Err(Stop::Failed(format!(
                "{other:?} is no decision; write one of {}, defaulted",
                known.join(", ")
            )));
        }
    };
    match (decision, search.shadow_diff) {
        (Some(_), true) => {
            Err(Stop::Failed("ask for a decision or for what shadows differ in, not for both".to_owned()))
        }
        (None, true) => Ok(Some(Wanted::ShadowDiff)),
        (decision, false) => Ok(decision),
    }
}

/// A kind of row that can be listed.
trait Listed: Sized {
    const STREAM: Stream;

    fn page(reader: &mut Reader, after: u64, rows: usize, bytes: usize) -> Result<Vec<Row<Self>>, JournalError>;
    fn one(reader: &mut Reader, seq: u64) -> Result<Row<Self>, JournalError>;
    fn seq(&self) -> u64;
    fn is_let_through(&self, criteria: &Criteria<'_>, records: &[DecisionView]) -> bool;
    fn answer(&self, reader: &mut Reader, search: &Search) -> Result<Answer, JournalError>;

    fn seq_of(row: &Row<Self>) -> u64 {
        row.seq_with(Self::seq)
    }
}

impl Listed for CallbackRow {
    const STREAM: Stream = Stream::Callbacks;

    fn page(reader: &mut Reader, after: u64, rows: usize, bytes: usize) -> Result<Vec<Row<Self>>, JournalError> {
        reader.callbacks(after, rows, bytes)
    }

    fn one(reader: &mut Reader, seq: u64) -> Result<Row<Self>, JournalError> {
        reader.callback(seq)
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn is_let_through(&self, criteria: &Criteria<'_>, records: &[DecisionView]) -> bool {
        let callback = &self.callback;
        criteria.wanted.as_ref().is_none_or(|wanted| wanted.lets_through(callback, records))
            && criteria.lets_through(callback, callback.key().map(AsRef::as_ref), callback.body_bytes())
    }

    fn answer(&self, reader: &mut Reader, search: &Search) -> Result<Answer, JournalError> {
        let mut view = CallbackView::new(self, search.contents);
        if search.decisions || search.decision.is_some() || search.shadow_diff {
            let rows = reader.decisions(self.seq)?.into_iter();
            view.decisions = rows.map(|row| DecisionView::new(row, search.contents)).collect();
        }
        Ok(Answer::Callback(view))
    }
}

impl Listed for EventRow {
    const STREAM: Stream = Stream::Events;

    fn page(reader: &mut Reader, after: u64, rows: usize, bytes: usize) -> Result<Vec<Row<Self>>, JournalError> {
        reader.events(after, rows, bytes)
    }

    fn one(reader: &mut Reader, seq: u64) -> Result<Row<Self>, JournalError> {
        reader.event(seq)
    }

    fn seq(&self) -> u64 {
        self.event.seq
    }

    fn is_let_through(&self, criteria: &Criteria<'_>, _: &[DecisionView]) -> bool {
        let event = &self.event;
        criteria.handler.is_none_or(|handler| *event.handler == *handler)
            && criteria.event_type.is_none_or(|wanted| *event.event_type == *wanted)
            && criteria.sink.is_none_or(|sink| names(&self.sinks).any(|name| name == sink))
            && criteria.lets_through(&event.callback, event.key.as_deref(), event.data_json())
    }

    fn answer(&self, _: &mut Reader, search: &Search) -> Result<Answer, JournalError> {
        Ok(Answer::Event(EventView::new(self, search.contents)))
    }
}
