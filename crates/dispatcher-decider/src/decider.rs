//! One decider: its instance in a cell, and asking it without ever waiting longer than one wants to.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use dispatcher_cell::{Caller, Cell, CellError, Reopening};
use dispatcher_core::{Callback, DecideContext, Decision, DecisionResult, Handler, OpenContext, Purpose, Timestamp};
use serde::Serialize;
use tencent_chat::DecisionRules;
use tokio::{
    sync::{Notify, watch},
    time::{timeout, timeout_at},
};
use tracing::{error, info, warn};

use crate::{
    DeciderInstance,
    ask::{Asked, Said, Verdict},
    tally::Tally,
    trouble::Trouble,
};

/// The waits between tries to open one.
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// How long one try to open an instance may take. Not the time of its decisions: building what they are made with takes longer.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// A thread that is busy for less than this is not taken for blocked, however soon decisions are due.
const SOONEST_BLOCKED: Duration = Duration::from_secs(1);
/// How many deadlines more a thread has that did not even take up a new call within one.
const PATIENCE: u32 = 2;

/// A decider.
pub(crate) struct Decider {
    pub(crate) name: Arc<str>,
    pub(crate) instance: DeciderInstance,
    pub(crate) tally: Arc<Tally>,
    /// How long Tencent may be kept at most.
    within: Duration,
    /// How long its thread may take to come round to a call.
    comes_round: Duration,
    cells: Reopening,
    opened: RwLock<Option<Arc<Opened>>>,
    state: Mutex<State>,
    /// The thread of the instance is blocked, as far as is known.
    is_blocked: AtomicBool,
    /// A call panicked: the instance is to be opened anew.
    is_broken: AtomicBool,
    /// A call was late: somebody should look whether the thread is blocked.
    is_suspect: AtomicBool,
    wake: Notify,
    in_flight: AtomicUsize,
    late: AtomicUsize,
    /// Milliseconds of the epoch until when it is a shadow though the configuration does not say so; 0 for not.
    shadow_until: AtomicI64,
    trouble: Trouble,
    /// Whether the first try to open it has ended.
    was_tried: watch::Sender<bool>,
    /// Another has taken its place: nobody keeps it open any more.
    is_retired: AtomicBool,
}

struct Opened {
    handler: Arc<dyn Handler>,
    cell: Arc<Cell>,
}

/// How a decider is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "lowercase")]
pub enum State {
    /// It is being opened for the first time.
    Opening,
    /// It is asked.
    Up,
    /// It cannot be opened, for this reason; tried again by itself.
    Down(String),
    /// It blocks its thread; asked again when it comes back, or opened anew.
    Blocked,
    /// It blocked its thread too often, and is not asked again before the next start or reload.
    Off(String),
}

impl Decider {
    /// One that may keep Tencent for `within` at most. `before`: the one of this name whose place it takes; it goes on counting.
    pub(crate) fn new(
        instance: DeciderInstance,
        within: Duration,
        before: Option<&Decider>,
    ) -> std::io::Result<Arc<Decider>> {
        let cells = Reopening::open(&format!("decide:{}", instance.name), instance.threads.max(1))?;
        Ok(Arc::new(Decider {
            name: instance.name.as_str().into(),
            tally: before.map_or_else(Arc::default, |before| before.tally.clone()),
            within,
            comes_round: within.max(SOONEST_BLOCKED),
            cells,
            opened: RwLock::default(),
            state: Mutex::new(State::Opening),
            is_blocked: AtomicBool::new(false),
            is_broken: AtomicBool::new(false),
            is_suspect: AtomicBool::new(false),
            wake: Notify::new(),
            in_flight: AtomicUsize::new(0),
            late: AtomicUsize::new(0),
            shadow_until: AtomicI64::new(0),
            trouble: Trouble::default(),
            was_tried: watch::Sender::new(false),
            is_retired: AtomicBool::new(false),
            instance,
        }))
    }

    /// Whether it is what would be made of these.
    pub(crate) fn is_of(&self, instance: &DeciderInstance, within: Duration) -> bool {
        self.instance.fingerprint == instance.fingerprint
            && self.instance.options.sinks == instance.options.sinks
            && self.within == within
            // One that is off is tried again.
            && !matches!(*self.lock(), State::Off(_))
    }

    /// Another has taken its place: what is under way ends, and so does it.
    pub(crate) fn retire(&self) {
        self.is_retired.store(true, Relaxed);
        self.wake.notify_one();
    }

    /// Asks it, and is back at `deadline` or when its own time is over, whatever it does. With a `caller`, on that one's thread.
    pub(crate) async fn ask(
        &self,
        rules: &DecisionRules,
        callback: &Arc<Callback>,
        deadline: Instant,
        purpose: Purpose,
        caller: Option<&Caller>,
    ) -> Asked {
        let begun = Instant::now();
        let not = |said| Asked { said, verdict: None, took: begun.elapsed(), late: None };
        if begun >= deadline {
            return not(Said::Unreached);
        }
        if self.is_blocked.load(Relaxed) {
            return not(Said::Failed("it blocks its thread".to_owned()));
        }
        let Some(opened) = self.opened() else { return not(Said::Failed(self.why_not())) };
        let Some(_place) = Place::among(&self.in_flight, self.instance.options.max_in_flight) else {
            return not(Said::Busy);
        };
        let own = begun.checked_add(self.instance.options.timeout).map_or(deadline, |own| own.min(deadline));
        let cx = DecideContext { deadline: own, purpose };
        // The instance goes along, and not beside the call: it may be its last user, and its `drop` is the plugin's code too.
        let (cell, asked) = (opened.cell.clone(), callback.clone());
        let mut call = cell.start_for(caller, async move { opened.handler.decide(&asked, &cx).await });
        let (said, verdict) = match timeout_at(own.into(), &mut call).await {
            Ok(Ok(Ok(decision))) => self.read(decision.as_ref(), rules, callback),
            Ok(Ok(Err(err))) => (Said::Failed(err.to_string()), None),
            Ok(Err(err)) => {
                self.note(&err);
                (Said::Failed(err.to_string()), None)
            }
            Err(_) => {
                self.is_suspect.store(true, Relaxed);
                self.wake.notify_one();
                call.leave_caller();
                return Asked { said: Said::Late, verdict: None, took: begun.elapsed(), late: Some(call) };
            }
        };
        Asked { said, verdict, took: begun.elapsed(), late: None }
    }

    /// What it says with this decision on `callback`. One that is not legal is a failure of its.
    pub(crate) fn read(
        &self,
        decision: Option<&Decision>,
        rules: &DecisionRules,
        callback: &Callback,
    ) -> (Said, Option<Verdict>) {
        let Some(decision) = decision else { return (Said::NoOpinion, None) };
        match Verdict::of(decision, rules, callback.body_bytes()) {
            Ok(verdict) => (Said::Result(DecisionResult::of(rules.family, &verdict.reply)), Some(verdict)),
            Err(illegal) => {
                self.tally.illegal.fetch_add(1, Relaxed);
                (Said::Failed(format!("its decision is not legal: {illegal}")), None)
            }
        }
    }

    /// Notes how a call ended that has no result: after a panic the instance is opened anew.
    pub(crate) fn note(&self, err: &CellError) {
        if let CellError::Panicked(_) = err {
            self.is_broken.store(true, Relaxed);
            self.wake.notify_one();
        }
    }

    /// A place among those that are late and waited for; none if there are too many.
    pub(crate) fn late_place(&self) -> Option<Place<'_>> {
        Place::among(&self.late, self.instance.options.max_in_flight)
    }

    /// Says in the log that it does not decide, or does again: at its beginning and its end, and once a minute in between.
    pub(crate) fn tell(&self, said: &Said, purpose: Purpose) {
        let why = match said {
            Said::NoOpinion | Said::Result(_) => return self.trouble.works(&self.name),
            Said::Unreached => return, // Others took its time.
            Said::Late => "it does not decide in time",
            Said::Busy => "too many of its decisions are under way; see max_in_flight",
            Said::Failed(why) => why,
        };
        self.trouble.fails(&self.name, why, purpose);
    }

    pub(crate) fn is_shadow(&self) -> bool {
        self.instance.options.shadow || self.shadow_until().is_some()
    }

    /// Until when it is a shadow by someone's word.
    pub(crate) fn shadow_until(&self) -> Option<Timestamp> {
        let until = self.shadow_until.load(Relaxed);
        // Read with the clock only where someone has said so.
        (until != 0 && until > Timestamp::now().as_millis()).then(|| Timestamp::from_millis(until))
    }

    pub(crate) fn set_shadow(&self, until: Option<Timestamp>) {
        self.shadow_until.store(until.map_or(0, Timestamp::as_millis), Relaxed);
    }

    pub(crate) fn state(&self) -> State {
        if self.is_blocked.load(Relaxed) {
            return State::Blocked;
        }
        self.lock().clone()
    }

    pub(crate) fn n_in_flight(&self) -> usize {
        self.in_flight.load(Relaxed)
    }

    pub(crate) fn n_late(&self) -> usize {
        self.late.load(Relaxed)
    }

    /// True once it is open, or could not be opened at the first try: waiting on helps nobody then.
    pub(crate) fn was_tried(&self) -> watch::Receiver<bool> {
        self.was_tried.subscribe()
    }

    /// Keeps it open: opens it, and anew after a panic or when its thread is blocked. Runs until it is off or retired.
    pub(crate) async fn keep(self: Arc<Decider>) {
        while self.open().await.is_ok() {
            loop {
                self.wake.notified().await;
                if self.is_retired.load(Relaxed) {
                    return;
                }
                if self.is_broken.swap(false, Relaxed) || self.leave_if_stuck().await {
                    break;
                }
            }
        }
    }

    /// Opens it, and tries again for as long as that fails. An instance that is there goes on until the new one is.
    async fn open(&self) -> Result<(), ()> {
        let mut wait = BACKOFF.0;
        loop {
            let (cell, generation) = match self.cells.cell() {
                Ok(cell) => cell,
                Err(off) => {
                    error!(handler = &*self.name, "the decider is off: {off}");
                    *self.lock() = State::Off(off.to_string());
                    self.was_tried.send_replace(true);
                    return Err(());
                }
            };
            let timeout = self.within.min(self.instance.options.timeout);
            let (settings, cx) =
                (self.instance.settings.clone(), OpenContext::new(&self.name, 0).with_timeout(timeout));
            let why = match cell.run_for(OPEN_WITHIN, async move { settings.open(&cx).await }).await {
                Ok(Ok(handler)) => {
                    self.replace(Some(Arc::new(Opened { handler, cell })));
                    if let State::Down(_) = std::mem::replace(&mut *self.lock(), State::Up) {
                        info!(handler = &*self.name, "the decider is open");
                    }
                    self.was_tried.send_replace(true);
                    return Ok(());
                }
                Ok(Err(err)) => err.to_string(),
                Err(err) => {
                    if err == CellError::Stuck {
                        self.leave(generation);
                    }
                    err.to_string()
                }
            };
            let news = State::Down(why.clone());
            if std::mem::replace(&mut *self.lock(), news.clone()) != news {
                warn!(handler = &*self.name, "cannot open the decider: {why}; trying again until it works");
            }
            self.was_tried.send_replace(true);
            self.rest(wait).await;
            if self.is_retired.load(Relaxed) {
                return Err(());
            }
            wait = (wait * 2).min(BACKOFF.1);
        }
    }

    /// Waits between two tries to open it, and looks after the instance that is still there.
    async fn rest(&self, wait: Duration) {
        let until = tokio::time::Instant::now() + wait;
        while timeout_at(until, self.wake.notified()).await.is_ok() {
            if self.is_retired.load(Relaxed) {
                return;
            }
            // That it is to be opened anew is known.
            self.is_broken.store(false, Relaxed);
            if self.leave_if_stuck().await {
                return;
            }
        }
    }

    /// After a late call: whether the thread was blocked, and is left behind.
    async fn leave_if_stuck(&self) -> bool {
        if !self.is_suspect.swap(false, Relaxed) {
            return false;
        }
        let Ok((_, generation)) = self.cells.cell() else { return true };
        let is_stuck = self.is_stuck().await;
        if is_stuck {
            warn!(handler = &*self.name, "its thread did not come back; the decider is opened anew in a new one");
            self.leave(generation);
        }
        is_stuck
    }

    /// Leaves the cell behind, with the instance in it.
    fn leave(&self, generation: u32) {
        self.replace(None);
        self.is_blocked.store(false, Relaxed);
        // Whether that was one too many the next look at the cell says.
        let _ = self.cells.leave(generation);
    }

    /// Puts this instance in the place of the one that is there. That one is dropped in its cell: a plugin's own `drop` may
    /// block or panic.
    fn replace(&self, new: Option<Arc<Opened>>) {
        let old = std::mem::replace(&mut *self.opened.write().unwrap_or_else(PoisonError::into_inner), new);
        if let Some(old) = old {
            let cell = old.cell.clone();
            cell.dispose(old);
        }
    }

    /// Whether its thread is blocked: does not come round to a call that only comes back, in three deadlines.
    async fn is_stuck(&self) -> bool {
        let Ok((cell, _)) = self.cells.cell() else { return true };
        let mut ping = cell.start(async {});
        if timeout(self.comes_round, &mut ping).await.is_ok() {
            return false;
        }
        self.is_blocked.store(true, Relaxed);
        warn!(
            handler = &*self.name,
            "the decider blocks its thread; what counts when it fails is answered until it comes back"
        );
        if timeout(self.comes_round.saturating_mul(PATIENCE), ping).await.is_ok() {
            self.is_blocked.store(false, Relaxed);
            info!(handler = &*self.name, "the decider's thread came back");
            return false;
        }
        true
    }

    fn opened(&self) -> Option<Arc<Opened>> {
        self.opened.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn why_not(&self) -> String {
        match &*self.lock() {
            State::Opening | State::Up | State::Blocked => "it is not open yet".to_owned(),
            State::Down(why) => format!("it cannot be opened: {why}"),
            State::Off(why) => why.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Decider {
    fn drop(&mut self) {
        self.replace(None);
    }
}

/// A place among those that may be at once; free again when dropped.
pub(crate) struct Place<'a>(&'a AtomicUsize);

impl Place<'_> {
    fn among(count: &AtomicUsize, most: usize) -> Option<Place<'_>> {
        let place = Place(count);
        // Dropped at once, and given back, where there was none.
        (count.fetch_add(1, Relaxed) < most).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
