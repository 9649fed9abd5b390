//! All deciders of a dispatcher.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use dispatcher_cell::{Caller, Cell};
use dispatcher_core::{Callback, Command, CommandPattern, DecisionResult, Purpose, Timestamp};
use dispatcher_journal::{Journal, Place};
use dispatcher_tally::Distribution;
use serde::Serialize;
use tencent_chat::{DecisionRules, Reply, decision_rules};
use tokio::{sync::Notify, time::timeout};
use tracing::warn;

use crate::{
    Answer, DeciderCounts, DeciderInstance, DefaultRule, Fallback, State,
    after::Afterwards,
    answer::Chain,
    ask::{Said, Verdict},
    decider::Decider,
};

/// How long a start waits for deciders to open. Until one is open, what counts when it fails is answered.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// For how many callbacks something may go on after the answer. Each keeps a body in memory.
const MOST_UNDER_WAY: usize = 16_384;

/// Decides about callbacks whose reply is a decision. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Deciders {
    inner: Arc<Inner>,
}

struct Inner {
    deciders: Vec<Arc<Decider>>,
    /// By the place of the command in the catalogue; none for those that want no decision.
    plans: Vec<Option<Plan>>,
    within: Duration,
    ground: Arc<Ground>,
}

/// What deciders share with those that they succeed.
struct Ground {
    /// Where they are kept open, and where what comes after an answer runs.
    cell: Cell,
    under_way: AtomicUsize,
    ended: Notify,
}

/// What became of the deciders in [`Deciders::succeed`]; names of handlers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Succession {
    /// Those that are new.
    pub added: Vec<String>,
    /// Those whose settings are others, and those that were off and are tried again.
    pub changed: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
}

/// Who decides about a command, in order, and what is decided if nobody does.
#[derive(Clone)]
struct Plan {
    rules: &'static DecisionRules,
    deciders: Vec<Arc<Decider>>,
    default: Fallback,
}

/// Who decides about a command, for people: see [`Deciders::plan`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandPlan {
    /// The deciders' names, in the order in which they are asked, each with whether it is a shadow.
    pub deciders: Vec<(String, bool)>,
    /// What is decided where none is.
    pub default: Fallback,
}

/// How a decider fares.
#[derive(Clone, Debug, Serialize)]
pub struct DeciderStatus {
    /// The handler's name.
    pub name: String,
    /// Whether it can be asked.
    #[serde(flatten)]
    pub state: State,
    /// Whether it runs after the answer, and does not count.
    pub is_shadow: bool,
    /// Until when, if that is so by someone's word, in milliseconds of the epoch.
    pub shadow_until: Option<i64>,
    /// How many decisions are under way.
    pub in_flight: usize,
    /// How many that are late are waited for.
    pub late_in_flight: usize,
    /// What it said since the start.
    pub counts: DeciderCounts,
    /// How long was waited for it each time that it was asked, in microseconds; those times included that it was late or
    /// failed.
    #[serde(skip)]
    pub took: Distribution,
}

/// What one decider says, asked by itself: see [`Deciders::try_out`].
#[derive(Clone, Debug)]
pub struct TriedOut {
    /// In a word: a [`DecisionResult`], `no-opinion`, `late` or `failed`.
    pub said: &'static str,
    /// The reply that it would be; none where it did not decide.
    pub reply: Option<Reply>,
    /// What it comes to; none where it did not decide.
    pub result: Option<DecisionResult>,
    /// Why, or what failed.
    pub reason: String,
    /// How long that took.
    pub took: Duration,
}

impl Deciders {
    /// Opens deciders, waits up to ten seconds until each was tried once, and keeps them open from then on. `within` is how long Tencent may be
    /// kept at most. Blocks.
    ///
    /// # Errors
    /// When the machine gives no thread. A decider that cannot be opened is no error: it is tried again, and what counts when
    /// it fails is answered until then.
    pub fn start(instances: Vec<DeciderInstance>, defaults: &[DefaultRule], within: Duration) -> io::Result<Deciders> {
        let (under_way, ended) = (AtomicUsize::new(0), Notify::new());
        let ground = Arc::new(Ground { cell: Cell::open("deciders", 1)?, under_way, ended });
        let new = instances.into_iter().map(|instance| Decider::new(instance, within, None));
        let new: Vec<Arc<Decider>> = new.collect::<io::Result<_>>()?;
        Ok(Deciders::of(new.clone(), &new, defaults, within, ground))
    }

    /// Others in the place of these: who is as before goes on, open as it is; who is new or changed is opened, and waited for,
    /// as at a start. These decide on until whoever asks them asks the others; then [`retire`](Deciders::retire) them. Who is
    /// new is no shadow before [`cast_shadows`](Deciders::cast_shadows) says so. Blocks.
    ///
    /// # Errors
    /// When the machine gives no thread; nothing has changed then.
    pub fn succeed(
        &self,
        instances: Vec<DeciderInstance>,
        defaults: &[DefaultRule],
        within: Duration,
    ) -> io::Result<(Deciders, Succession)> {
        let mut succession = Succession::default();
        let (mut all, mut new) = (Vec::new(), Vec::new());
        for instance in instances {
            let before = self.find(&instance.name);
            if let Some(before) = before.filter(|before| before.is_of(&instance, within)) {
                all.push(before.clone());
                continue;
            }
            let list = if before.is_some() { &mut succession.changed } else { &mut succession.added };
            list.push(instance.name.clone());
            let decider = Decider::new(instance, within, before.map(|before| &**before))?;
            all.push(decider.clone());
            new.push(decider);
        }
        let is_gone = |decider: &&Arc<Decider>| !all.iter().any(|one| one.name == decider.name);
        succession.removed =
            self.inner.deciders.iter().filter(is_gone).map(|decider| decider.name.to_string()).collect();
        Ok((Deciders::of(all, &new, defaults, within, self.inner.ground.clone()), succession))
    }

    /// Lets those go that `successor` does not go on with: what they have under way, late verdicts included, comes to its end.
    pub fn retire(&self, successor: &Deciders) {
        let goes_on = |decider: &Arc<Decider>| successor.inner.deciders.iter().any(|one| Arc::ptr_eq(one, decider));
        self.inner.deciders.iter().filter(|decider| !goes_on(decider)).for_each(|decider| decider.retire());
    }

    /// Of all these, of which `new` are to be opened.
    fn of(
        mut deciders: Vec<Arc<Decider>>,
        new: &[Arc<Decider>],
        defaults: &[DefaultRule],
        within: Duration,
        ground: Arc<Ground>,
    ) -> Deciders {
        deciders.sort_by(|a, b| (a.instance.options.order, &a.name).cmp(&(b.instance.options.order, &b.name)));
        let plan = |info: &'static tencent_chat::CommandInfo| {
            let selects = |decider: &&Arc<Decider>| decider.instance.route.selects_command(&Command::new(info.name));
            let rules = decision_rules(info.name)?;
            let rule = CommandPattern::narrowest(defaults, |rule| &rule.commands, info.name);
            let default = rule.map_or(Fallback::Allow, |rule| rule.decision);
            Some(Plan { rules, deciders: deciders.iter().filter(selects).cloned().collect(), default })
        };
        let plans = tencent_chat::commands().iter().map(plan).collect();
        for decider in new {
            ground.cell.detach(decider.clone().keep());
        }
        let all = new.to_vec();
        let (done, opened) = std::sync::mpsc::sync_channel(1);
        ground.cell.detach(async move {
            for decider in &all {
                let mut was_tried = decider.was_tried();
                let _ = timeout(OPEN_WITHIN, was_tried.wait_for(|was_tried| *was_tried)).await;
            }
            let _ = done.send(());
        });
        if !new.is_empty() && opened.recv_timeout(OPEN_WITHIN).is_err() {
            warn!("not every decider is open yet; what counts when one fails is answered until it is");
        }
        Deciders { inner: Arc::new(Inner { deciders, plans, within, ground }) }
    }

    /// Decides about a callback that wants a decision. Back at `deadline`, whatever the deciders do, and at once where there
    /// are none. With a `caller` it is to be awaited on that one's thread, and its pump has to run there.
    ///
    /// Dropped before it is back, it takes with it what it has begun.
    pub async fn decide(&self, callback: &Arc<Callback>, deadline: Instant, caller: Option<&Caller>) -> Answer {
        let Some(plan) = self.plan_of(callback.command().as_str()) else {
            let reply = Bytes::from_static(tencent_chat::OK.as_bytes());
            return Answer { reply, result: DecisionResult::Allowed, record: None, afterwards: None };
        };
        let mut chain = Chain::new(plan.rules, callback);
        let (mut shadows, mut is_asked) = (Vec::new(), false);
        for decider in &plan.deciders {
            if !decider.instance.route.selects_app(callback.app()) {
                continue;
            }
            if decider.is_shadow() {
                shadows.push(decider.clone());
                continue;
            }
            is_asked = true;
            if !chain.is_over() {
                chain.ask(decider, deadline, caller).await;
            }
        }
        if !is_asked {
            chain.default(plan.default);
        }
        chain.answer(shadows, self.inner.within)
    }

    /// Does what is to be done after an answer; what differs from it is put on record in `journal`, at the callback's place.
    pub fn go_on(&self, afterwards: Afterwards, journal: Option<(Journal, Place)>) {
        let ground = self.inner.ground.clone();
        if ground.under_way.fetch_add(1, Relaxed) >= MOST_UNDER_WAY {
            ground.under_way.fetch_sub(1, Relaxed);
            return afterwards.skip();
        }
        self.inner.ground.cell.detach(async move {
            afterwards.run(journal).await;
            if ground.under_way.fetch_sub(1, Relaxed) == 1 {
                ground.ended.notify_waiters();
            }
        });
    }

    /// Asks one decider by itself, and gives nobody its answer. `None` if there is none of this name.
    pub async fn try_out(&self, name: &str, callback: &Arc<Callback>, purpose: Purpose) -> Option<TriedOut> {
        let decider = self.find(name)?;
        let rules = decision_rules(callback.command().as_str())?;
        let asked = decider.ask(rules, callback, Instant::now() + self.inner.within, purpose, None).await;
        let verdict = match asked.said {
            Said::NoOpinion => Some(Verdict::none(rules, callback.body_bytes())),
            _ => asked.verdict,
        };
        let reason = match &asked.said {
            Said::Failed(why) => why.clone(),
            _ => verdict.as_ref().map(|verdict| verdict.reason.clone()).unwrap_or_default(),
        };
        let reply = verdict.map(|verdict| verdict.reply);
        let result = reply.as_ref().map(|reply| DecisionResult::of(rules.family, reply));
        Some(TriedOut { said: asked.said.as_str(), reply, result, reason, took: asked.took })
    }

    /// Who decides about this command; `None` for one that wants no decision.
    #[must_use]
    pub fn plan(&self, command: &str) -> Option<CommandPlan> {
        let plan = self.plan_of(command)?;
        let deciders = plan.deciders.iter().map(|decider| (decider.name.to_string(), decider.is_shadow())).collect();
        Some(CommandPlan { deciders, default: plan.default })
    }

    /// Makes a decider a shadow until this time, or, with `None`, one that counts again, unless the configuration says
    /// otherwise. False if there is none of this name.
    #[must_use]
    pub fn set_shadow(&self, name: &str, until: Option<Timestamp>) -> bool {
        let decider = self.find(name);
        decider.inspect(|decider| decider.set_shadow(until)).is_some()
    }

    /// Makes shadows of these until these times, and of nobody else, unless the configuration says otherwise.
    pub fn cast_shadows(&self, shadows: &[(String, Timestamp)]) {
        for decider in &self.inner.deciders {
            let until = shadows.iter().find(|(name, _)| **name == *decider.name).map(|(_, until)| *until);
            decider.set_shadow(until);
        }
    }

    /// How each fares, in the order in which they are asked.
    #[must_use]
    pub fn status(&self) -> Vec<DeciderStatus> {
        let status = |decider: &Arc<Decider>| DeciderStatus {
            name: decider.name.to_string(),
            state: decider.state(),
            is_shadow: decider.is_shadow(),
            shadow_until: decider.shadow_until().map(Timestamp::as_millis),
            in_flight: decider.n_in_flight(),
            late_in_flight: decider.n_late(),
            counts: decider.tally.counts(),
            took: decider.tally.took(),
        };
        self.inner.deciders.iter().map(status).collect()
    }

    /// Waits for what goes on after answers, up to `limit`.
    pub async fn drain(&self, limit: Duration) {
        let _ = timeout(limit, async {
            loop {
                let ended = self.inner.ground.ended.notified();
                if self.inner.ground.under_way.load(Relaxed) == 0 {
                    break;
                }
                ended.await;
            }
        })
        .await;
    }

    fn find(&self, name: &str) -> Option<&Arc<Decider>> {
        self.inner.deciders.iter().find(|decider| &*decider.name == name)
    }

    fn plan_of(&self, command: &str) -> Option<&Plan> {
        let idx = tencent_chat::commands().binary_search_by(|info| info.name.cmp(command)).ok()?;
        self.inner.plans.get(idx)?.as_ref()
    }
}
