//! What the journal says once the dispatcher has stopped: how far each consumer got, and what it gave up on.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

use anyhow::{Context, Result};
use dispatcher_journal::{Journal, JournalOptions, Reader};
use serde_json::Value;

use crate::callback;

/// What a consumer is called in the journal, and the receivers that miss what it gives up on.
const CONSUMERS: [(&str, &[&str]); 5] = [
    ("handler:everything", &["archive", "relay"]),
    ("handler:group-attribute-changed", &["second"]),
    ("sink:archive", &["archive"]),
    ("sink:relay", &["relay"]),
    ("sink:second", &["second"]),
];

#[derive(Default)]
pub(crate) struct Ledger {
    /// Consumers that have not come to the end, a sentence each.
    pub(crate) behind: Vec<String>,
    /// Numbers that became dead letters, by receiver.
    pub(crate) dead: HashMap<&'static str, HashSet<u64>>,
    /// Dead letters that do not say what they were.
    pub(crate) unreadable: usize,
    /// All dead letters.
    pub(crate) n_dead: usize,
}

impl Ledger {
    /// Opens the journal, which nobody may have open, and reads it.
    pub(crate) fn read(path: &Path) -> Result<Ledger> {
        let journal =
            Journal::open(JournalOptions::new(path)).context("the journal cannot be opened after the stop")?;
        let mut reader = journal.reader()?;
        let ends = *journal.ends().borrow();
        let mut ledger = Ledger::default();
        let consumers = reader.consumers()?;
        for (name, receivers) in CONSUMERS {
            let Some(consumer) = consumers.iter().find(|consumer| consumer.name == name) else {
                ledger.behind.push(format!("{name} is not in the journal"));
                continue;
            };
            let (end, pending) = (ends.of(consumer.stream), reader.pending(name)?.len());
            if consumer.checkpoint < end || pending > 0 {
                let at = consumer.checkpoint;
                ledger.behind.push(format!("{name} is at {at} of {end}, with {pending} pending"));
            }
            ledger.read_dead(&mut reader, name, receivers)?;
        }
        drop(reader);
        journal.close();
        Ok(ledger)
    }

    fn read_dead(&mut self, reader: &mut Reader, consumer: &str, receivers: &[&'static str]) -> Result<()> {
        let mut after = 0;
        loop {
            let page = reader.dead(consumer, after, 512)?;
            let Some(last) = page.last() else { return Ok(()) };
            after = last.seq;
            for dead in &page {
                self.n_dead += 1;
                match number(&dead.copy) {
                    Some(number) => receivers.iter().for_each(|receiver| {
                        self.dead.entry(receiver).or_default().insert(number);
                    }),
                    None => self.unreadable += 1,
                }
            }
        }
    }
}

/// The number of the callback that a dead letter's copy has.
fn number(copy: &str) -> Option<u64> {
    let copy: Value = serde_json::from_str(copy).ok()?;
    callback::number_in(copy.get("callback")?.get("body")?.as_str()?)
}
