//! The way to the journal: through the dispatcher that has it open, or, where none does, by opening it.

use std::{
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use dispatcher_config::{Config, Glimpse};
use dispatcher_control::{Answer, Asker, Client, ClientError, Done, Gone, Operations, Request, Search, socket_path};
use dispatcher_journal::{Journal, JournalOptions, OpenError};
use dispatcher_pipeline::{Pipeline, PipelineHandle};

use super::{remote::Remote, screen::Screen};
use crate::{cli::Asked, owner, setup, wiring};

/// How long a replay that nobody waits for any more may take to end what is under way.
const DRAIN: Duration = Duration::from_secs(5);

/// How long is waited for a dispatcher that has the journal and does not answer yet: it is starting, or stopping.
const STARTING: Duration = Duration::from_secs(2);

/// Where is asked.
#[derive(Clone)]
pub(crate) enum Place {
    /// The dispatcher that has this journal open. The digest is of the configuration file as it is now, right or wrong.
    Beside { journal: PathBuf, sha256: Option<String> },
    /// The dispatcher of this configuration, or its journal.
    Here(Box<Config>),
    /// A dispatcher elsewhere.
    There(Remote),
}

impl Place {
    /// SHA-256 of the configuration file as it is now, if that is here.
    pub(crate) fn sha256(&self) -> Option<String> {
        match self {
            Place::Beside { sha256, .. } => sha256.clone(),
            Place::Here(config) => Some(config.sha256.clone()),
            Place::There(_) => None,
        }
    }
}

/// The dispatcher that answers beside the journal, if one does. That takes no more of the configuration than where the
/// journal is: it may be wrong by now, and its secrets not readable by whoever asks.
pub(crate) fn beside(asked: &Asked) -> Option<Place> {
    let glimpse = Glimpse::of(&asked.config.config);
    let sha256 = glimpse.as_ref().map(|glimpse| glimpse.sha256.clone());
    let journal = asked.journal.clone().or(glimpse.map(|glimpse| glimpse.journal))?;
    Client::connect(&journal).map(|_| Place::Beside { journal, sha256 })
}

/// What a request needs when no dispatcher runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// The journal alone.
    Journal,
    /// To know what handlers and sinks there are; they do not run.
    Plan,
    /// Handlers and sinks that work on replays.
    Replays,
}

/// What came of asking.
pub(crate) struct Outcome {
    /// The last answer, if it says that all was done.
    pub(crate) done: Option<Done>,
    /// Whether the answers were cut short by whoever reads them.
    pub(crate) is_cut: bool,
    /// Whether a dispatcher runs that answered.
    pub(crate) is_running: bool,
}

impl Outcome {
    pub(crate) fn is_done(&self) -> bool {
        self.done.is_some()
    }

    /// Who reads no further has what he wanted.
    pub(crate) fn exit_code(&self) -> ExitCode {
        if self.done.is_some() || self.is_cut { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

/// Asks, and shows the answers.
///
/// # Errors
/// There is no journal, it cannot be opened, or the dispatcher that has it does not answer: what to do is in the message.
pub(crate) fn ask(place: Place, request: &Request, needs: Needs, screen: &mut Screen<'_>) -> Result<Outcome, String> {
    ask_with(place, request, needs, &mut |answer| screen.take(answer))
}

/// Asks, and passes the answers on until `take` says that it was enough.
///
/// # Errors
/// As [`ask`].
pub(crate) fn ask_with(
    place: Place,
    request: &Request,
    needs: Needs,
    take: &mut dyn FnMut(&Answer) -> bool,
) -> Result<Outcome, String> {
    let mut outcome = Outcome { done: None, is_cut: false, is_running: false };
    let mut hand = |answer: Answer| {
        let goes_on = take(&answer);
        outcome.is_cut = !goes_on;
        if let Answer::Done(done) = answer {
            outcome.done = Some(done);
        }
        goes_on
    };
    let config = match place {
        Place::Here(config) => config,
        Place::Beside { journal, .. } => {
            let client = Client::connect(&journal).ok_or_else(|| ClientError::Ended.to_string())?;
            client.ask(request, hand).map_err(|err| err.to_string())?;
            return Ok(Outcome { is_running: true, ..outcome });
        }
        Place::There(remote) => {
            remote.ask(request, hand)?;
            return Ok(Outcome { is_running: true, ..outcome });
        }
    };
    let journal = match reach(&config)? {
        Way::Running(client) => {
            client.ask(request, hand).map_err(|err| err.to_string())?;
            return Ok(Outcome { is_running: true, ..outcome });
        }
        Way::Opened(journal) => journal,
    };
    if let Request::Callbacks(Search { follow: true, .. }) | Request::Events(Search { follow: true, .. }) = request {
        // It would only keep the dispatcher from starting.
        journal.close();
        return Err("no dispatcher runs, so that nothing can be followed; leave out --follow, or start one".to_owned());
    }
    let pipeline = match needs {
        Needs::Replays => {
            let path = &config.journal.path;
            if let Some(owner) = owner::other_than_root(path) {
                journal.close();
                return Err(format!(
                    "{} belongs to user {owner}, who could not write to the files that sinks make for root: start the \
                     dispatcher and ask it, or do this as that user, as with `setpriv --reuid {owner} --regid {owner} \
                     --clear-groups`",
                    path.display()
                ));
            }
            let pipeline = Pipeline::start_replays(&journal, wiring::handlers(&config), wiring::sinks(&config));
            Some(pipeline.map_err(|err| err.to_string())?)
        }
        Needs::Journal | Needs::Plan => None,
    };
    let handle = match needs {
        Needs::Journal => None,
        Needs::Plan => Some(Pipeline::planning(&journal, &wiring::handlers(&config), &wiring::sinks(&config))),
        Needs::Replays => pipeline.as_ref().map(Pipeline::handle),
    };
    answer_here(&config, &journal, handle, request, &mut hand);
    if let Some(pipeline) = pipeline {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.map_err(|err| format!("cannot wait for handlers and sinks: {err}"))?.block_on(pipeline.drain(DRAIN));
    }
    journal.close();
    Ok(outcome)
}

fn answer_here(
    config: &Config,
    journal: &Journal,
    handle: Option<PipelineHandle>,
    request: &Request,
    hand: &mut dyn FnMut(Answer) -> bool,
) {
    let operations = Operations::new(journal.clone(), handle, setup::setup(config, None));
    // Whoever went had enough.
    let _ = operations.answer(request, &mut Here { hand });
}

enum Way {
    Running(Client),
    Opened(Journal),
}

fn reach(config: &Config) -> Result<Way, String> {
    let path = &config.journal.path;
    let started = Instant::now();
    loop {
        if let Some(client) = Client::connect(path) {
            return Ok(Way::Running(client));
        }
        if !path.exists() {
            return Err(format!(
                "{}: there is no journal; the first `dispatcher run` makes it. A relative path in the configuration starts at \
                 the working directory; --config names another configuration. A dispatcher that was started when journal.path \
                 was another keeps that: --journal names it",
                std::path::absolute(path).unwrap_or_else(|_| path.clone()).display()
            ));
        }
        // A look at the journal deletes nothing and stores no callbacks.
        let options = JournalOptions { retention: None, dedupe_entries: 0, ..wiring::journal_options(config) };
        match Journal::open(options) {
            Ok(journal) => return Ok(Way::Opened(journal)),
            Err(OpenError::Locked { .. }) if started.elapsed() < STARTING => thread::sleep(Duration::from_millis(50)),
            Err(OpenError::Locked { holder, .. }) => {
                return Err(format!(
                    "{}: {} has this journal open, and cannot be asked at {}; use the user that it runs as, wait until it \
                     has ended, or stop it. The log of a dispatcher says if it could not make the socket",
                    path.display(),
                    holder.as_deref().unwrap_or("another process"),
                    socket_path(path).display()
                ));
            }
            Err(err) => return Err(err.to_string()),
        }
    }
}

/// Whoever asked is in this process.
struct Here<'a> {
    hand: &'a mut dyn FnMut(Answer) -> bool,
}

impl Asker for Here<'_> {
    fn tell(&mut self, answer: Answer) -> Result<(), Gone> {
        if (self.hand)(answer) { Ok(()) } else { Err(Gone) }
    }

    fn wait(&mut self, span: Duration) -> Result<(), Gone> {
        if !span.is_zero() {
            thread::sleep(span);
        }
        Ok(())
    }
}
