//! What the journal knows.

use dispatcher_journal::{Health, Journal};

use crate::{
    names,
    page::{MICROS, Page},
};

const STATES: [&str; 3] = ["ok", "failing", "poisoned"];

pub(crate) fn write(page: &mut Page, journal: &Journal) {
    let state = match journal.health() {
        Health::Ok => "ok",
        Health::Failing(_) => "failing",
        Health::Poisoned(_) => "poisoned",
    };
    page.state(&names::HEALTH, &[], &STATES, state);
    let counts = journal.counts();
    page.count(&names::STORED, &[], counts.appended);
    page.count(&names::REPEATS, &[], counts.repeats);
    page.count(&names::UNRECORDED, &[("at", "disk")], counts.unrecorded);
    page.count(&names::UNRECORDED_DECISIONS, &[], counts.unrecorded_decisions);
    let commits = journal.commits();
    page.distribution(&names::COMMIT_TIME, &[], &commits.took, MICROS);
    page.distribution(&names::COMMIT_SIZE, &[], &commits.callbacks, 1.0);
    page.count(&names::QUEUED, &[], counts.queued_bytes as u64);
    page.count(&names::FILE, &[], counts.file_bytes);
    page.count(&names::FREE, &[], counts.free_bytes);
    page.count(&names::WAL, &[], counts.wal_bytes);
    for (of, count) in [
        ("callbacks", counts.deleted_callbacks),
        ("events", counts.deleted_events),
        ("decisions", counts.deleted_decisions),
        ("dead_letters", counts.deleted_dead),
    ] {
        page.count(&names::DELETED, &[("of", of)], count);
    }
    page.count(&names::LET_GO, &[], counts.let_go);
    page.count(&names::HELD_UP, &[], journal.held_up().map_or(0, |held_up| held_up.rows));
}
