//! The journal as a file: checked, copied, made smaller.

use std::{ops::ControlFlow, path::Path};

use dispatcher_journal::{DamagedRange, Progress as Step, Stream};

use crate::{
    Answer, Asker, BackedUp, Checked, Compacted, Done, Gone,
    operations::{Meter, Operations, Stop, wait_for},
};

pub(crate) fn check(operations: &Operations, asker: &mut dyn Asker) -> Result<Done, Stop> {
    let mut reader = operations.reader()?;
    let found = watched("checking", asker, |step| Ok(reader.check(step)?))?;
    let mut damage = Vec::new();
    for (stream, checked) in [(Stream::Callbacks, &found.callbacks), (Stream::Events, &found.events)] {
        damage.extend(checked.damaged.iter().map(|range| range_text(stream, range)));
    }
    for DamagedRange { first, last, reason } in &found.decisions.damaged {
        damage.push(if first == last {
            format!("a record of a decision about callbacks/{first} {reason}")
        } else {
            format!("records of decisions about callbacks/{first} to {last}: {reason}")
        });
    }
    damage.extend(found.problems);
    let (callbacks, events) = (found.callbacks.intact, found.events.intact);
    let n = damage.len() as u64;
    let checked = Checked { callbacks, events, dead_letters: found.dead, pending: found.pending, damage };
    asker.tell(Answer::Checked(checked))?;
    Ok(Done { n, ..Done::default() })
}

fn range_text(stream: Stream, range: &DamagedRange) -> String {
    let DamagedRange { first, last, reason } = range;
    if first == last { format!("{stream}/{first} {reason}") } else { format!("{stream}/{first} to {last}: {reason}") }
}

pub(crate) fn backup(operations: &Operations, to: &Path, asker: &mut dyn Asker) -> Result<Done, Stop> {
    if !to.is_absolute() {
        return Err(Stop::Failed(format!("{}: write the whole path of the copy", to.display())));
    }
    let mut reader = operations.reader()?;
    let copy = watched("copying", asker, |step| Ok(reader.backup(to, step)?))?;
    asker.tell(Answer::BackedUp(BackedUp {
        to: to.display().to_string(),
        callbacks: copy.callbacks,
        events: copy.events,
        dead_letters: copy.dead,
        bytes: copy.bytes,
    }))?;
    let note = (copy.unreadable > 0).then(|| {
        format!(
            "{} rows could not be read and are missing in the copy; `dispatcher journal check` says which",
            copy.unreadable
        )
    });
    Ok(Done { n: 1, note, ..Done::default() })
}

pub(crate) fn compact(operations: &Operations, asker: &mut dyn Asker) -> Result<Done, Stop> {
    let returned = watched("compacting", asker, |step| Ok(wait_for(operations.journal.compact(step))??))?;
    asker.tell(Answer::Compacted(Compacted { returned, bytes: operations.file_size("") }))?;
    Ok(Done { n: 1, ..Done::default() })
}

/// Does work that tells how far it is, until it is done or nobody asks any more.
fn watched<T>(
    what: &'static str,
    asker: &mut dyn Asker,
    work: impl FnOnce(&mut dyn FnMut(Step) -> ControlFlow<()>) -> Result<T, Stop>,
) -> Result<T, Stop> {
    let mut meter = Meter::new(what, asker);
    let mut gone: Result<(), Gone> = Ok(());
    let done = work(&mut |step| {
        gone = meter.at(step.done, step.of);
        if gone.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    gone?;
    done
}
