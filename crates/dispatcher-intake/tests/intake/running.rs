//! An intake that runs, with one app and its journal.

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use dispatcher_core::{App, Callback, Secret};
use dispatcher_decider::Deciders;
use dispatcher_intake::{CommandRule, DrainReport, Intake, IntakeApp, IntakeOptions, SignaturePolicy};
use dispatcher_journal::{Journal, JournalOptions, OpenError};
use tempfile::TempDir;
use tencent_chat::query_string;

pub(crate) const APP: u64 = 1400000001;
pub(crate) const TOKEN: &str = "sesame-open";

/// Enough time for everything that a test waits for.
const UNHURRIED: Duration = Duration::from_secs(20);

pub(crate) struct Setup {
    pub(crate) options: IntakeOptions,
    pub(crate) apps: Vec<IntakeApp>,
    pub(crate) rules: Vec<CommandRule>,
    pub(crate) journal: JournalOptions,
    dir: TempDir,
}

impl Setup {
    /// One app that asks for signatures, and limits that no test reaches unless it lowers them.
    pub(crate) fn new() -> Setup {
        let dir = tempfile::tempdir().unwrap();
        let journal = JournalOptions::new(dir.path().join("journal.db"));
        let options = IntakeOptions { answer_within: UNHURRIED, header_within: UNHURRIED, ..IntakeOptions::default() };
        let app = IntakeApp {
            app: App::new(APP, "main"),
            tokens: Vec::new(),
            signature: SignaturePolicy::Required,
            allow_from: Vec::new(),
        };
        let mut setup = Setup { options, apps: vec![app], rules: Vec::new(), journal, dir };
        setup.set_tokens(&[TOKEN]);
        setup
    }

    pub(crate) fn set_tokens(&mut self, tokens: &[&str]) {
        self.apps[0].tokens = tokens.iter().map(|token| Secret::new(token).unwrap()).collect();
    }

    pub(crate) fn start(self) -> Running {
        let Setup { options, apps, rules, journal: journal_options, dir } = self;
        let journal = Journal::open(journal_options.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let deciders = Deciders::start(vec![], &[], options.answer_within).unwrap();
        let intake = Intake::start(listener, options, apps, rules, &journal, deciders).unwrap();
        Running { intake, journal, journal_options, _dir: dir }
    }
}

pub(crate) struct Running {
    pub(crate) intake: Intake,
    pub(crate) journal: Journal,
    pub(crate) journal_options: JournalOptions,
    _dir: TempDir,
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        self.intake.local_addr()
    }

    /// Ends it; returns what is in the journal.
    pub(crate) fn end(self) -> Vec<Arc<Callback>> {
        self.drain(UNHURRIED).join().unwrap().1
    }

    /// Begins to drain; the thread returns how that went and what is in the journal.
    pub(crate) fn drain(self, within: Duration) -> JoinHandle<(DrainReport, Vec<Arc<Callback>>)> {
        thread::spawn(move || {
            let Running { intake, journal, journal_options, _dir } = self;
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let report = runtime.block_on(intake.drain(within));
            journal.close();
            drop(journal);
            let journal = reopen(journal_options);
            let rows = journal.reader().unwrap().callbacks(0, 512, usize::MAX).unwrap();
            (report, rows.into_iter().map(|row| row.intact().unwrap().callback).collect())
        })
    }
}

/// Opens a journal that was closed. While another test starts a program, that holds its lock for a moment longer.
fn reopen(options: JournalOptions) -> Journal {
    loop {
        match Journal::open(options.clone()) {
            Err(OpenError::Locked { .. }) => thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
}

/// Now, in Unix seconds.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// The query string of a command, without a signature.
pub(crate) fn query(command: &str) -> String {
    query_string(APP, command, Some("203.0.113.7"), Some("iOS"), None)
}

/// The same with one.
pub(crate) fn signed(command: &str) -> String {
    query_string(APP, command, Some("203.0.113.7"), Some("iOS"), Some((TOKEN, now())))
}
