//! One trial: a folder, a dispatcher that is started in it again and again, its load, its receivers, and their history.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File},
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use fastrand::Rng;
use tempfile::TempDir;

use crate::{
    archive,
    check::check,
    configuration,
    disk::Disk,
    history::{Answer, History},
    ledger::Ledger,
    load::{Load, LoadOptions},
    outcome::Outcome,
    process::Process,
    programs::Programs,
    receiver::{Mood, Receiver},
    wire,
};

/// The receivers that speak HTTP. The third is the file sink's file.
pub(crate) const HTTP: [&str; 2] = ["relay", "second"];
const ALL: [&str; 3] = ["archive", "relay", "second"];

/// How long a start may take, and a stop.
const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(20);
/// How long everything acknowledged may take to arrive once everybody is well: far above every wait that is configured, far
/// below the hour by which clocks jump.
const ARRIVAL: Duration = Duration::from_secs(60);
/// When nothing has arrived for so long, what is missing is looked for in the journal.
const QUIET: Duration = Duration::from_millis(1500);

/// How a trial's dispatcher is configured and loaded.
#[derive(Clone, Copy)]
pub(crate) struct TrialOptions {
    pub(crate) journal: configuration::Journal,
    pub(crate) load: LoadOptions,
}

impl Default for TrialOptions {
    fn default() -> TrialOptions {
        TrialOptions {
            journal: configuration::Journal::default(),
            load: LoadOptions { repeats: true, pause: Duration::ZERO },
        }
    }
}

pub(crate) struct Trial<'p> {
    programs: &'p Programs,
    folder: TempDir,
    address: SocketAddr,
    pub(crate) history: Arc<History>,
    pub(crate) receivers: [Receiver; 2],
    pub(crate) load: Load,
    pub(crate) process: Option<Process>,
    pub(crate) rng: Rng,
    /// Lines of the file sink's files that power cuts have left by chance.
    by_chance: HashSet<usize>,
}

impl<'p> Trial<'p> {
    /// A new folder in `dir` with a configuration, and the far ends. Nothing is started yet.
    pub(crate) fn new(programs: &'p Programs, dir: &Path, mut rng: Rng, options: TrialOptions) -> Result<Trial<'p>> {
        let folder = TempDir::with_prefix_in("dispatcher-crash-", dir.canonicalize()?)
            .with_context(|| format!("cannot make a folder in {}", dir.display()))?;
        DirBuilder::new().mode(0o700).create(folder.path().join("data"))?;
        let history = Arc::new(History::new(1));
        let receivers = [
            Receiver::start(HTTP[0], history.clone(), &mut rng)?,
            Receiver::start(HTTP[1], history.clone(), &mut rng)?,
        ];
        // Free a moment ago; the system does not hand it out again at once.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let load = Load::start(address, history.clone(), HTTP.to_vec(), options.load, &mut rng);
        let trial = Trial {
            programs,
            folder,
            address,
            history,
            receivers,
            load,
            process: None,
            rng,
            by_chance: HashSet::new(),
        };
        let [relay, second] = &trial.receivers;
        let text = configuration::text(address, &trial.data(), relay.address, second.address, options.journal);
        fs::write(trial.folder().join("dispatcher.toml"), text)?;
        Ok(trial)
    }

    pub(crate) fn dispatcher(&self) -> &'p Path {
        &self.programs.dispatcher
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where the journal and the file sink's files are.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder().join("data")
    }

    /// What all its dispatchers said.
    pub(crate) fn said(&self) -> String {
        fs::read(self.folder().join("said.txt"))
            .map_or_else(|_| String::new(), |said| String::from_utf8_lossy(&said).into_owned())
    }

    /// Adds a line of ours to what it said, for whoever looks at a folder that was kept.
    pub(crate) fn remark(&self, text: &str) -> io::Result<()> {
        let mut said = File::options().create(true).append(true).open(self.folder().join("said.txt"))?;
        writeln!(said, "-- {text}")
    }

    /// Starts the dispatcher, and does not wait.
    pub(crate) fn launch(&mut self, program: &Path, environment: &[(&str, String)]) -> Result<()> {
        self.history.starting();
        self.process = Some(Process::start(program, self.folder(), environment)?);
        Ok(())
    }

    /// Starts the dispatcher and waits until it takes callbacks.
    pub(crate) fn start(&mut self) -> Result<()> {
        self.launch(self.dispatcher(), &[])?;
        if self.wait_until_ready()? {
            Ok(())
        } else {
            bail!("the dispatcher does not start; it said:\n{}", self.tail())
        }
    }

    /// Waits until it takes callbacks; false if it ended instead.
    pub(crate) fn wait_until_ready(&mut self) -> Result<bool> {
        let began = Instant::now();
        loop {
            if self.process.as_mut().context("nothing was started")?.ended()?.is_some() {
                return Ok(false);
            }
            if self.answers().is_ok_and(|answers| answers) {
                return Ok(true);
            }
            if began.elapsed() > START {
                bail!("the dispatcher is not ready after {START:?}; it said:\n{}", self.tail());
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether it answers the request with which a console tries out its URL. Its port is open before it can.
    fn answers(&self) -> io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&self.address, START)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(b"POST /callback HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        Ok(wire::read(&mut stream, &mut Vec::new(), false)?.is_some())
    }

    /// `kill -9`. False if it had ended before, by itself.
    pub(crate) fn kill(&mut self) -> Result<bool> {
        match self.process.take() {
            Some(process) => Ok(process.kill()?),
            None => Ok(false),
        }
    }

    /// Cuts the power: what is in the folder becomes what `disk` may hold.
    pub(crate) fn cut(&mut self, disk: Disk) -> Result<()> {
        let left = disk.cut(&self.data(), &mut self.rng)?;
        self.by_chance.extend(archive::lines_by_chance(&self.data(), &left)?);
        Ok(())
    }

    /// The last lines of its log.
    pub(crate) fn tail(&self) -> String {
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        lines[lines.len().saturating_sub(4)..].join("\n")
    }

    /// Lets everything arrive that was acknowledged, with everybody well, and checks the history.
    pub(crate) fn finish(mut self, outcome: &mut Outcome) -> Result<()> {
        self.load.run(false);
        self.kill()?;
        self.receivers.iter().for_each(|receiver| receiver.set_mood(Mood::Well));
        let ledger = self.settle(outcome)?;
        let (lines, n_torn) = archive::read(&self.data(), &self.by_chance)?;
        lines.into_iter().for_each(|line| self.history.delivered("archive", line));

        let record = self.history.record();
        let findings = check(&record, &ALL, &ledger.dead);
        outcome.sent += record.sent.len() as u64;
        outcome.acknowledged += record.sent.values().filter(|sent| sent.answer == Answer::Ok).count() as u64;
        for delivered in record.delivered.values() {
            let mut seen = HashSet::new();
            let first = delivered.iter().filter(|one| seen.insert(one.number)).count();
            outcome.delivered += first as u64;
            outcome.again += (delivered.len() - first) as u64;
        }
        outcome.dead += ledger.n_dead as u64;
        outcome.torn_lines += n_torn as u64;
        if ledger.unreadable > 0 {
            outcome.findings.other.push(format!("{} dead letters do not say what they were", ledger.unreadable));
        }
        if !findings.is_clean() || outcome.findings.all().count() > outcome.findings_kept {
            let Trial { folder, process, load, .. } = self;
            drop((process, load));
            outcome.kept.push(folder.keep());
        }
        outcome.findings.add(findings);
        outcome.findings_kept = outcome.findings.all().count();
        Ok(())
    }

    /// Starts and stops it until every consumer has come to its end.
    fn settle(&mut self, outcome: &mut Outcome) -> Result<Ledger> {
        let began = Instant::now();
        loop {
            self.start()?;
            let since = Instant::now();
            while self.history.missing(&HTTP) > 0 && (since.elapsed() < QUIET || self.history.quiet_for() < QUIET) {
                thread::sleep(Duration::from_millis(5));
            }
            let process = self.process.take().context("it was started")?;
            match process.terminate(STOP)? {
                Some(status) if status.success() => {}
                Some(status) => {
                    outcome.findings.other.push(format!("a stop ended with {status}; it said:\n{}", self.tail()));
                }
                None => outcome.findings.other.push(format!("it did not stop within {STOP:?}")),
            }
            let ledger = Ledger::read(&self.data().join("journal.db"))?;
            if ledger.behind.is_empty() {
                return Ok(ledger);
            }
            if began.elapsed() > ARRIVAL {
                let late = ledger.behind.join("; ");
                outcome.findings.other.push(format!("after {ARRIVAL:?} with everybody well, {late}"));
                return Ok(ledger);
            }
        }
    }
}
