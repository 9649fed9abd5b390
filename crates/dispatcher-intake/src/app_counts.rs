//! Callbacks by app, command and outcome, and when each app last sent one.
//!
//! Only what was verified is counted here: what strangers make up makes no series and does not pass for a sign of life.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use dispatcher_core::{App, Command, Timestamp};

use crate::Outcome;

/// How a callback that was verified ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallbackOutcome {
    /// It was answered OK once it was durable.
    Accepted,
    /// It wants a decision, and was answered.
    Decided,
    /// It was answered and not stored, as its command's rule says.
    NotJournaled,
    /// It was refused.
    Refused,
}

impl CallbackOutcome {
    /// All of them.
    pub const ALL: [CallbackOutcome; 4] =
        [CallbackOutcome::Accepted, CallbackOutcome::Decided, CallbackOutcome::NotJournaled, CallbackOutcome::Refused];

    /// Its name in metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CallbackOutcome::Accepted => "accepted",
            CallbackOutcome::Decided => "decided",
            CallbackOutcome::NotJournaled => "not_journaled",
            CallbackOutcome::Refused => "refused",
        }
    }

    pub(crate) fn of(outcome: Outcome) -> Option<CallbackOutcome> {
        match outcome {
            Outcome::Accepted => Some(CallbackOutcome::Accepted),
            Outcome::Decided => Some(CallbackOutcome::Decided),
            Outcome::NotJournaled => Some(CallbackOutcome::NotJournaled),
            _ => None,
        }
    }
}

/// What came from one app since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppCount {
    /// The app.
    pub app: App,
    /// Whether it is configured now.
    pub is_configured: bool,
    /// Since when: the start, or the reload that brought it.
    pub since: Timestamp,
    /// When its last callback that was answered came, if one was.
    pub last: Option<Timestamp>,
    /// How many callbacks there were of each command and outcome of which there were any.
    pub commands: Vec<CommandCount>,
    /// How many rightly signed requests came with each of its tokens, by the token's place in its list; stale ones are
    /// among them. When nothing comes with the old one any more, it can go. After the list was changed another may stand at
    /// a place.
    pub signed: [u64; TOKENS],
}

/// How many callbacks of one command ended in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandCount {
    /// The command; `other` for all that the catalogue does not have.
    pub command: &'static str,
    /// How they ended.
    pub outcome: CallbackOutcome,
    /// How many.
    pub count: u64,
}

/// As many as the configuration lets an app have.
const TOKENS: usize = 2;

const OUTCOMES: usize = CallbackOutcome::ALL.len();

/// One worker's counts of all apps that were ever configured: replaced rules go on where the old ones ended.
#[derive(Default)]
pub(crate) struct Apps(Mutex<BTreeMap<u64, Entry>>);

struct Entry {
    app: App,
    is_configured: bool,
    since: Timestamp,
    tally: Arc<AppTally>,
}

impl Apps {
    /// The counts of these apps, in this order, to be used without a lock. They are those that are configured from now on.
    pub(crate) fn of<'a>(&self, apps: impl Iterator<Item = &'a App>) -> AppCounts {
        let now = Timestamp::now();
        let mut known = self.lock();
        let before: Vec<u64> = known.iter().filter(|(_, entry)| entry.is_configured).map(|(id, _)| *id).collect();
        known.values_mut().for_each(|entry| entry.is_configured = false);
        let counts = apps.map(|app| {
            let new = || Entry { app: app.clone(), is_configured: true, since: now, tally: Arc::default() };
            let entry = known.entry(app.sdk_app_id()).or_insert_with(new);
            entry.is_configured = true;
            if !before.contains(&app.sdk_app_id()) {
                entry.since = now; // It may have been gone for a while.
            }
            entry.app = app.clone(); // It may have another name by now.
            entry.tally.clone()
        });
        AppCounts(counts.collect())
    }

    // A std mutex: never held while anything can panic but for want of memory, and a map is whole between its calls.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One worker's counts of the apps that are configured, in their order.
#[derive(Clone, Default)]
pub(crate) struct AppCounts(Vec<Arc<AppTally>>);

impl AppCounts {
    /// Those of the app at this place.
    pub(crate) fn of(&self, place: usize) -> Option<&AppTally> {
        self.0.get(place).map(|tally| &**tally)
    }
}

/// On cache lines of its own, as it is one worker's.
#[repr(align(128))]
pub(crate) struct AppTally {
    counts: Box<[AtomicU64]>,
    signed: [AtomicU64; TOKENS],
    last: AtomicI64, // In milliseconds of the epoch; zero for never.
}

impl Default for AppTally {
    fn default() -> AppTally {
        let n = (tencent_chat::commands().len() + 1) * OUTCOMES;
        AppTally {
            counts: (0..n).map(|_| AtomicU64::new(0)).collect(),
            signed: Default::default(),
            last: AtomicI64::new(0),
        }
    }
}

impl AppTally {
    pub(crate) fn count(&self, command: &Command, outcome: CallbackOutcome, now: Timestamp) {
        self.counts[place(command) * OUTCOMES + outcome as usize].fetch_add(1, Relaxed);
        self.last.store(now.as_millis(), Relaxed);
    }

    /// Counts a request that is signed with the token at this place.
    pub(crate) fn count_signed(&self, token: usize) {
        if let Some(count) = self.signed.get(token) {
            count.fetch_add(1, Relaxed);
        }
    }
}

/// Its place in the catalogue, and behind it for those that are not in it.
fn place(command: &Command) -> usize {
    let commands = tencent_chat::commands();
    command.info().and_then(|info| commands.element_offset(info)).unwrap_or(commands.len())
}

/// What all workers counted, by the apps' names.
pub(crate) fn sum<'a>(workers: impl Iterator<Item = &'a Apps>) -> Vec<AppCount> {
    let mut sums: BTreeMap<u64, (AppCount, Vec<u64>)> = BTreeMap::new();
    for worker in workers {
        for (id, Entry { app, is_configured, since, tally }) in &*worker.lock() {
            let (app, is_configured, since) = (app.clone(), *is_configured, *since);
            let new = || AppCount { app, is_configured, since, last: None, commands: Vec::new(), signed: [0; TOKENS] };
            let (sum, counts) = sums.entry(*id).or_insert_with(|| (new(), vec![0; tally.counts.len()]));
            let last = tally.last.load(Relaxed);
            sum.last = sum.last.max((last != 0).then(|| Timestamp::from_millis(last)));
            sum.signed.iter_mut().zip(&tally.signed).for_each(|(sum, count)| *sum += count.load(Relaxed));
            counts.iter_mut().zip(&tally.counts).for_each(|(sum, count)| *sum += count.load(Relaxed));
        }
    }
    let commands = || tencent_chat::commands().iter().map(|info| info.name).chain(["other"]);
    let places = || commands().flat_map(|command| CallbackOutcome::ALL.map(|outcome| (command, outcome)));
    let mut counts: Vec<AppCount> = sums
        .into_values()
        .map(|(sum, counts)| {
            let commands = places().zip(counts).filter(|(_, count)| *count > 0);
            let count = |((command, outcome), count)| CommandCount { command, outcome, count };
            AppCount { commands: commands.map(count).collect(), ..sum }
        })
        .collect();
    counts.sort_by(|a, b| a.app.name().cmp(b.app.name()));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_app_that_comes_later_is_there_since_then() {
        let (one, two, apps) = (App::new(1, "one"), App::new(2, "two"), Apps::default());
        let since = |apps: &Apps| sum([apps].into_iter()).iter().map(|app| app.since).collect::<Vec<_>>();
        apps.of([&one].into_iter());
        let long_ago = Timestamp::from_millis(1);
        apps.lock().values_mut().for_each(|entry| entry.since = long_ago);
        apps.of([&one, &two].into_iter());
        assert!(since(&apps)[0] == long_ago && since(&apps)[1] > long_ago);
        apps.of([&two].into_iter());
        apps.of([&one, &two].into_iter());
        assert!(since(&apps)[0] > long_ago, "it was away");
    }

    #[test]
    fn workers_add_up_and_replaced_rules_go_on() {
        let (one, other) = (App::new(2, "two"), App::new(1, "one"));
        let workers = [Apps::default(), Apps::default()];
        let (known, unknown) = (Command::new("Group.CallbackAfterSendMsg"), Command::new("Some.NewCommand"));
        for (n, worker) in workers.iter().enumerate() {
            let counts = worker.of([&other, &one].into_iter());
            let two = counts.of(1).unwrap();
            two.count(&known, CallbackOutcome::Accepted, Timestamp::from_millis(10 + n as i64));
            two.count(&unknown, CallbackOutcome::Refused, Timestamp::from_millis(5));
            [0, 1, 1, 2].into_iter().for_each(|token| two.count_signed(token)); // There is no third.
            assert!(counts.of(2).is_none());
            let renamed = worker.of([&App::new(2, "three")].into_iter()); // And without the other.
            renamed.of(0).unwrap().count(&known, CallbackOutcome::Accepted, Timestamp::from_millis(20 + n as i64));
        }
        let counts = sum(workers.iter());
        let of = |command, outcome, count| CommandCount { command, outcome, count };
        assert_eq!(counts.len(), 2);
        assert_eq!((counts[0].app.name(), counts[0].last, counts[0].commands.len()), ("one", None, 0));
        assert_eq!(counts.iter().map(|count| count.is_configured).collect::<Vec<_>>(), [false, true]);
        assert_eq!((counts[1].app.name(), counts[1].last), ("three", Some(Timestamp::from_millis(21))));
        let expected =
            [of("Group.CallbackAfterSendMsg", CallbackOutcome::Accepted, 4), of("other", CallbackOutcome::Refused, 2)];
        assert_eq!(counts[1].commands, expected);
        assert_eq!((counts[0].signed, counts[1].signed), ([0, 0], [2, 4]));
    }
}
