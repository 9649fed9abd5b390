//! What metrics are called and mean. The README's table says the same, and a test holds it to that.

use prometheus::proto::MetricType::{self, COUNTER, GAUGE, HISTOGRAM};

use crate::page::Name;

const fn name(name: &'static str, kind: MetricType, help: &'static str) -> Name {
    Name { name, kind, help }
}

pub(crate) static BUILD_INFO: Name = name("dispatcher_build_info", GAUGE, "Always 1; the program's version.");
pub(crate) static DRAINING: Name =
    name("dispatcher_draining", GAUGE, "1 while the dispatcher is stopping, and 0 otherwise.");
pub(crate) static RELOADS: Name = name(
    "dispatcher_reloads_total",
    COUNTER,
    "Times that the configuration was to be reloaded, by what came of it: applied, changed or not; invalid; failed. But for applied nothing has changed.",
);
pub(crate) static LAST_RELOAD: Name = name(
    "dispatcher_last_reload_timestamp_seconds",
    GAUGE,
    "When the configuration that counts was applied, in seconds of the epoch; without a reload, the start.",
);
pub(crate) static SPANS: Name = name(
    "dispatcher_spans_total",
    COUNTER,
    "Spans that [observe.otlp] asks for, by what came of them: exported; dropped, since there was no room or nobody took them.",
);
pub(crate) static CALLBACKS: Name = name(
    "dispatcher_callbacks_total",
    COUNTER,
    "Callbacks that were verified, by how they were answered: accepted, decided, not_journaled, refused. Commands outside the catalogue are one: other. Of what never came there is no series.",
);
pub(crate) static SINCE_LAST: Name = name(
    "dispatcher_seconds_since_last_callback",
    GAUGE,
    "Time since the last verified callback of an app that is configured was answered; without one, since it is configured.",
);
pub(crate) static REFUSALS: Name =
    name("dispatcher_refusals_total", COUNTER, "Requests that were refused, by cause; those of strangers included.");
pub(crate) static PROBES: Name =
    name("dispatcher_probes_total", COUNTER, "Requests of a console that tries out the URL.");
pub(crate) static ANSWER: Name = name(
    "dispatcher_answer_duration_seconds",
    HISTOGRAM,
    "Time from the head of a verified callback to its reply, by what it waits for: a decision (before), or the disk (after).",
);
pub(crate) static LATE_ANSWERS: Name =
    name("dispatcher_late_answers_total", COUNTER, "Answers that took longer than the two seconds that Tencent waits.");
pub(crate) static SKEW: Name = name(
    "dispatcher_clock_skew_seconds",
    HISTOGRAM,
    "By how much the RequestTime of rightly signed requests was behind the clock of this machine; below zero, ahead of it.",
);
pub(crate) static TOKENS: Name = name(
    "dispatcher_signatures_total",
    COUNTER,
    "Rightly signed requests by the place of the token in the list of the app, from 0.",
);
pub(crate) static REUSED: Name =
    name("dispatcher_reused_signatures_total", COUNTER, "Callbacks whose signature came with another callback before.");
pub(crate) static HELD: Name = name(
    "dispatcher_held_callbacks_total",
    COUNTER,
    "Callbacks that could not be stored in time, and whose requests were kept open past what Tencent waits.",
);
pub(crate) static LONGEST: Name = name(
    "dispatcher_longest_decision_seconds",
    GAUGE,
    "Slowest answer to a callback that wants a decision, since the start.",
);
pub(crate) static UNRECORDED: Name = name(
    "dispatcher_unrecorded_callbacks_total",
    COUNTER,
    "Callbacks that were answered and are not in the journal: not taken by it (queue), or not stored in the end (disk).",
);
pub(crate) static OPEN_CONNECTIONS: Name = name("dispatcher_open_connections", GAUGE, "Connections that are open.");
pub(crate) static MAX_CONNECTIONS: Name = name(
    "dispatcher_max_connections",
    GAUGE,
    "Connections that may be open: max_connections, or fewer where the system allows fewer open files.",
);
pub(crate) static FULL: Name = name(
    "dispatcher_connections_full_total",
    COUNTER,
    "Times that as many connections were open as may be, so that the next had to wait.",
);
pub(crate) static CERTIFICATE: Name = name(
    "dispatcher_tls_certificate_expiry_timestamp_seconds",
    GAUGE,
    "When a certificate that is shown expires, in seconds of the epoch, by its first name; 0 without TLS.",
);
pub(crate) static CONNECTIONS: Name = name("dispatcher_connections_total", COUNTER, "Connections that were opened.");
pub(crate) static CLOSED: Name = name(
    "dispatcher_connections_closed_total",
    COUNTER,
    "Connections that were closed by the intake because of what the peer did or did not do, by cause.",
);
pub(crate) static DECISIONS: Name = name(
    "dispatcher_decisions_total",
    COUNTER,
    "What handlers said that were asked to decide: a decision, no_opinion, or why there is none – late, failed, busy, unreached.",
);
pub(crate) static DECIDER_TIME: Name =
    name("dispatcher_decider_duration_seconds", HISTOGRAM, "Time for which a handler that decides was waited for.");
pub(crate) static DECIDER_STATE: Name = name(
    "dispatcher_decider_state",
    GAUGE,
    "1 for the state that a handler that decides is in: up, opening, down, blocked, off.",
);
pub(crate) static DECIDING: Name = name("dispatcher_decider_in_flight", GAUGE, "Decisions that are under way.");
pub(crate) static ILLEGAL: Name = name(
    "dispatcher_illegal_decisions_total",
    COUNTER,
    "Decisions that the command does not allow; they count as failed too.",
);
pub(crate) static SKIPPED: Name = name(
    "dispatcher_skipped_decisions_total",
    COUNTER,
    "Late calls that were not waited for and shadows that were not asked, since too many were under way.",
);
pub(crate) static LATE: Name = name(
    "dispatcher_late_decisions_total",
    COUNTER,
    "Decisions that came after their time, by whether they differ from what was answered.",
);
pub(crate) static SHADOW: Name = name(
    "dispatcher_shadow_decisions_total",
    COUNTER,
    "Decisions of a shadow, by whether they differ from what was answered.",
);
pub(crate) static HEALTH: Name =
    name("dispatcher_journal_state", GAUGE, "1 for the state that the journal is in: ok, failing, poisoned.");
pub(crate) static STORED: Name = name("dispatcher_journal_callbacks_total", COUNTER, "Callbacks that were stored.");
pub(crate) static REPEATS: Name = name(
    "dispatcher_journal_repeats_total",
    COUNTER,
    "Callbacks that repeat an earlier one and were not stored again.",
);
pub(crate) static UNRECORDED_DECISIONS: Name = name(
    "dispatcher_journal_unrecorded_decisions_total",
    COUNTER,
    "Records of decisions that could not be stored beside their callback.",
);
pub(crate) static COMMIT_TIME: Name = name(
    "dispatcher_journal_commit_duration_seconds",
    HISTOGRAM,
    "Time from the first row of a commit until it is on the disk.",
);
pub(crate) static COMMIT_SIZE: Name =
    name("dispatcher_journal_commit_callbacks", HISTOGRAM, "Callbacks in a commit, of those that have any.");
pub(crate) static QUEUED: Name = name("dispatcher_journal_queued_bytes", GAUGE, "What waits to be stored.");
pub(crate) static FILE: Name = name("dispatcher_journal_file_bytes", GAUGE, "Size of the journal's file.");
pub(crate) static FREE: Name =
    name("dispatcher_journal_free_bytes", GAUGE, "How much of the file holds nothing and is filled again.");
pub(crate) static WAL: Name = name("dispatcher_journal_wal_bytes", GAUGE, "Size of the journal's write-ahead log.");
pub(crate) static DELETED: Name = name(
    "dispatcher_journal_deleted_rows_total",
    COUNTER,
    "What retention has deleted: callbacks, events, decisions, dead_letters.",
);
pub(crate) static LET_GO: Name =
    name("dispatcher_journal_let_go_total", COUNTER, "Items that retention took from consumers that do not run.");
pub(crate) static HELD_UP: Name = name(
    "dispatcher_journal_held_up_rows",
    GAUGE,
    "Rows that are due to be deleted and that a consumer has yet to take.",
);
pub(crate) static CONSUMER_STATE: Name = name(
    "dispatcher_consumer_state",
    GAUGE,
    "1 for the state that a consumer – a handler or a sink – is in: up, down, parked, stopped, not_running.",
);
pub(crate) static BACKLOG: Name = name(
    "dispatcher_consumer_backlog",
    GAUGE,
    "Rows of its stream that a consumer has not got past, those for others included.",
);
pub(crate) static OLDEST: Name = name(
    "dispatcher_consumer_oldest_seconds",
    GAUGE,
    "Age of the oldest callback or event that a consumer has yet to finish or pass over, those for others included; 0 if there is none. Not shown while the journal cannot be read.",
);
pub(crate) static PENDING: Name =
    name("dispatcher_consumer_pending", GAUGE, "Items that wait for another attempt, or behind one that does.");
pub(crate) static IN_FLIGHT: Name = name("dispatcher_consumer_in_flight", GAUGE, "Batches that are under way.");
pub(crate) static DONE: Name = name("dispatcher_consumer_done_total", COUNTER, "Items that were done.");
pub(crate) static ATTEMPTS: Name =
    name("dispatcher_consumer_attempts_total", COUNTER, "Attempts at items, whatever came of them.");
pub(crate) static FAILURES: Name = name(
    "dispatcher_consumer_failures_total",
    COUNTER,
    "Failures: of an item that a receiver refused (refused), that got no answer (unanswered), that will never work (permanent), or of the plugin itself (own), which costs no attempt.",
);
pub(crate) static GIVEN_UP: Name =
    name("dispatcher_consumer_given_up_total", COUNTER, "Items that became dead letters.");
pub(crate) static DEAD: Name =
    name("dispatcher_dead_letters", GAUGE, "Dead letters that are kept. Not shown while the journal cannot be read.");
pub(crate) static REPLAYS: Name = name("dispatcher_replays", GAUGE, "Replays that are under way.");
pub(crate) static ADMIN_REQUESTS: Name = name(
    "dispatcher_admin_requests_total",
    COUNTER,
    "Requests at admin.listen, by what came of them: answered, whatever the answer was, or why they were refused; token_wrong: no token, or a wrong one.",
);
pub(crate) static ADMIN_OPEN: Name =
    name("dispatcher_admin_open_connections", GAUGE, "Connections to admin.listen that are open.");
pub(crate) static ADMIN_CONNECTIONS: Name =
    name("dispatcher_admin_connections_total", COUNTER, "Connections to admin.listen that were opened.");
pub(crate) static ADMIN_CLOSED: Name = name(
    "dispatcher_admin_connections_closed_total",
    COUNTER,
    "Connections to admin.listen that were closed because of what the peer did or did not do, or because a reload lets it in no more (let_out), by cause.",
);
pub(crate) static ADMIN_CERTIFICATE: Name = name(
    "dispatcher_admin_tls_certificate_expiry_timestamp_seconds",
    GAUGE,
    "When the certificate that is shown at admin.listen expires, in seconds of the epoch; 0 without TLS.",
);
