//! Finds what a person named.

use std::time::Duration;

use dispatcher_core::Timestamp;
use dispatcher_journal::{Reader, Row, Stream};

use crate::{IdPrefix, operations::Meter, operations::Stop};

/// How far the clock that an id was minted by may be from the one that its row was stored by. Usually they differ by
/// milliseconds; after someone has set the clock back, by as much as that.
const SLACKS: [Duration; 3] = [Duration::from_secs(2), Duration::from_secs(60), Duration::from_secs(2 * 3600)];

/// The seq of the one callback whose id begins so. An id holds the time when it was minted, so that only what was stored
/// about then is looked at.
pub(crate) fn callback(
    reader: &mut Reader,
    typed: &str,
    prefix: &IdPrefix,
    meter: &mut Meter<'_>,
) -> Result<u64, Stop> {
    let (earliest, latest) = prefix.minted();
    for slack in SLACKS {
        let span = i64::try_from(slack.as_millis()).unwrap_or(i64::MAX);
        let from = Timestamp::from_millis(earliest.saturating_sub(span));
        let Some(first) = reader.first_at(Stream::Callbacks, from)? else { continue };
        let end = reader.end(Stream::Callbacks);
        let last = reader.first_at(Stream::Callbacks, Timestamp::from_millis(latest).after(slack))?;
        let last = last.map_or(end, |seq| seq - 1);
        let mut after = first - 1;
        let mut seqs = Vec::new();
        while after < last && seqs.len() < 2 {
            meter.at(after + 1 - first, last + 1 - first)?;
            let found = reader.callbacks_with_ids(prefix.low(), prefix.high(), after)?;
            seqs.extend(found.seqs);
            after = found.upto;
        }
        match seqs.as_slice() {
            [] => {}
            [seq] => return Ok(*seq),
            [one, other, ..] => {
                let id = |reader: &mut Reader, seq| match reader.callback(seq) {
                    Ok(Row::Intact(row)) => row.callback.id().to_string(),
                    _ => format!("callbacks/{seq}"),
                };
                let (one, other) = (id(reader, *one), id(reader, *other));
                return Err(Stop::Failed(format!(
                    "several callbacks begin with {typed:?}, such as {one} and {other}; write more of it"
                )));
            }
        }
    }
    Err(Stop::Failed(format!(
        "no callback {typed:?} is in this journal; retention may have deleted it, or another dispatcher has it"
    )))
}

/// The seqs of the events of a callback, in order. Those were stored after it.
pub(crate) fn events(reader: &mut Reader, callback_seq: u64, meter: &mut Meter<'_>) -> Result<Vec<u64>, Stop> {
    let Some(stored) = reader.stored_at(Stream::Callbacks, callback_seq)? else { return Ok(Vec::new()) };
    let Some(first) = reader.first_at(Stream::Events, stored)? else { return Ok(Vec::new()) };
    let end = reader.end(Stream::Events);
    let mut seqs = Vec::new();
    let mut after = first - 1;
    while after < end {
        meter.at(after + 1 - first, end + 1 - first)?;
        let found = reader.events_of(callback_seq, after)?;
        seqs.extend(found.seqs);
        after = found.upto;
    }
    Ok(seqs)
}
