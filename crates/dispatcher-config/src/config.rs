//! The whole configuration.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use dispatcher_core::{
    ByteSize, CheckContext, Command, CommandPattern, Registry, SettingError, Takes, TimeSpan, Timestamp,
};
use dispatcher_tls::Tls;
use serde_json::{Map, Value};

use crate::{
    AdminSection, AppSection, AuditFile, CommandRule, DefaultDecision, Finding, Findings, HandlerInstance,
    IntakeSection, JournalRule, JournalSection, LogSection, ObserveSection, OtlpOptions, OtlpSection, ReloadSection,
    SignaturePolicy, SinkInstance, TlsSection, decide,
    decode::{self, suggest},
    fingerprint::{contents_of, fingerprint, secret_files, stand_in},
    glimpse::digest,
    key_path::KeyPath,
    plugins,
    sections::CommandSection,
    source::{Places, Source},
};

/// What Tencent waits for an answer, by its documentation.
const TENCENT_WAITS: Duration = Duration::from_secs(2);
/// No disk is asked for less.
const SOONEST_ANSWER: Duration = Duration::from_millis(50);
/// Below, the store's own log and the newest rows would be most of it.
const SMALLEST_JOURNAL: ByteSize = ByteSize::mib(16);
/// Below, the intake could not even look at its connections often enough.
const SHORTEST_WAIT: TimeSpan = TimeSpan::from_millis(100);
/// In milliseconds: time enough to renew a certificate.
const EXPIRES_SOON: i64 = 14 * 24 * 3600 * 1000;
const SHORTEST_WATCH: Duration = Duration::from_millis(100);
const MAX_CONNECTIONS: usize = 1_000_000;
/// What a callback's request needs, and more than any has.
const SMALLEST_HEAD: ByteSize = ByteSize::kib(1);
const LARGEST_HEAD: ByteSize = ByteSize::mib(1);
const SMALLEST_QUERY: ByteSize = ByteSize::kib(1);
const HEADERS: (usize, usize) = (16, 1000);
/// Readers of JSON take no more than 127.
const DEPTHS: (usize, usize) = (16, 127);
/// As many as a key of 128 bits has in hexadecimal.
const SHORTEST_TOKEN: usize = 32;
pub(crate) const MAX_THREADS: usize = 1024;

/// What `dispatcher.toml` says, checked.
#[derive(Clone)]
pub struct Config {
    /// `[intake]`.
    pub intake: IntakeSection,
    /// What `[intake] tls` names, read.
    pub tls: Option<Tls>,
    /// `[[apps]]`; at least one, no name and no SDKAppID twice.
    pub apps: Vec<AppSection>,
    /// `[commands."PATTERN"]`.
    pub commands: Vec<CommandRule>,
    /// `[journal]`.
    pub journal: JournalSection,
    /// `[handlers.<name>]`, by name.
    pub handlers: Vec<HandlerInstance>,
    /// `[sinks.<name>]`, by name.
    pub sinks: Vec<SinkInstance>,
    /// `[observe]`.
    pub observe: ObserveSection,
    /// What `[observe.otlp]` comes to.
    pub otlp: Option<OtlpOptions>,
    /// `[admin]`.
    pub admin: AdminSection,
    /// What `[admin] tls` names, read.
    pub admin_tls: Option<Tls>,
    /// `[log]`.
    pub log: LogSection,
    /// `[reload]`.
    pub reload: ReloadSection,
    /// SHA-256 of the text, in hexadecimal: what `sha256sum` says of the file. Variables and other files are not in it.
    pub sha256: String,
    /// The files that it names and that were read for it: those of secrets, and those of plugins.
    pub files: Vec<PathBuf>,
    /// By key, without handlers and sinks: equal, within one run of the program, as long as what is written there is.
    fingerprints: BTreeMap<String, u64>,
    /// What looks wrong but need not be.
    pub warnings: Vec<Finding>,
    places: Option<Places>,
}

impl Config {
    /// Reads and checks the file at `path`. Blocks on the disk; binds, creates and writes nothing.
    ///
    /// # Errors
    /// Everything that is wrong, each with file, line and key.
    pub fn load(path: &Path, registry: &Registry) -> Result<Config, Findings> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|err| {
            let message = match err.kind() {
                io::ErrorKind::InvalidData => "is not UTF-8; save it as UTF-8".to_owned(),
                _ => format!("cannot read the configuration: {err}; name another file with --config"),
            };
            let finding = Finding { file: file.clone(), line: 0, key: String::new(), message };
            Findings { errors: vec![finding], warnings: vec![] }
        })?;
        Config::parse(&file, &text, registry, &|name| std::env::var(name).ok())
    }

    /// Checks `text`, which is called `file` in findings, with variables from `environment`.
    ///
    /// # Errors
    /// Everything that is wrong, each with line and key.
    pub fn parse(
        file: &str,
        text: &str,
        registry: &Registry,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, Findings> {
        Config::parse_on(Machine::This, file, text, registry, environment)
    }

    /// The same for a configuration of another machine, for who wants to try out what it does and not to run it: files of secrets
    /// that cannot be read here stand for some secret, those of TLS are not read (`tls` is `None`), and it is no error that a
    /// folder is missing or cannot be written to.
    ///
    /// # Errors
    /// As in [`parse`](Config::parse).
    pub fn parse_elsewhere(
        file: &str,
        text: &str,
        registry: &Registry,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, Findings> {
        Config::parse_on(Machine::Another, file, text, registry, environment)
    }

    fn parse_on(
        machine: Machine,
        file: &str,
        text: &str,
        registry: &Registry,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, Findings> {
        let (mut source, mut root) = Source::read(file, text, environment);
        // Nothing more can be said of a file that is no TOML.
        if source.n_errors() > 0 && root.is_empty() {
            return Err(source.into_findings().0);
        }
        if machine == Machine::Another {
            root.values_mut().for_each(stand_in);
        }
        let config = Reader { source: &mut source, root: &mut root, registry, machine }.config();
        let (findings, places) = source.into_findings();
        match config {
            Some(config) if findings.errors.is_empty() => {
                Ok(Config { sha256: digest(text), warnings: findings.warnings, places: Some(places), ..config })
            }
            _ => Err(findings),
        }
    }

    /// The keys of which something else stands here than in `before`, handlers and sinks aside: such as `intake.freshness`, or
    /// `apps`.
    #[must_use]
    pub fn changed_since(&self, before: &Config) -> Vec<String> {
        let (new, old) = (&self.fingerprints, &before.fingerprints);
        let keys: BTreeSet<&String> = new.keys().chain(old.keys()).collect();
        keys.into_iter().filter(|key| new.get(*key) != old.get(*key)).cloned().collect()
    }

    /// What keeps sinks that run from being opened for now.
    pub fn for_now(&self) -> impl Iterator<Item = &Finding> {
        self.sinks.iter().filter(|sink| sink.enabled).flat_map(|sink| &sink.for_now)
    }

    /// The file that admin actions are written to, if there is to be one.
    #[must_use]
    pub fn audit_path(&self) -> Option<PathBuf> {
        audit_path(&self.admin, &self.journal)
    }

    /// Whether apps that do not require a signature stay on this machine, where `[intake] listen` may by now be another than
    /// what was read: a dispatcher that runs goes on listening where it was started.
    ///
    /// # Errors
    /// The apps whose callbacks anybody could make up.
    pub fn check_signatures(&self) -> Result<(), Findings> {
        let forgeable = forgeable(&self.intake, &self.apps).into_iter();
        let errors: Vec<Finding> =
            forgeable.map(|(idx, what)| self.finding(&signature_of(idx).to_string(), what)).collect();
        if errors.is_empty() { Ok(()) } else { Err(Findings { errors, warnings: Vec::new() }) }
    }

    /// What turned out wrong with `key` only when it was put to use, as a finding with file and line.
    #[must_use]
    pub fn finding(&self, key: &str, message: impl Into<String>) -> Finding {
        let message = message.into();
        match &self.places {
            Some(places) => places.finding(key, message),
            None => Finding { file: String::new(), line: 0, key: key.to_owned(), message },
        }
    }
}

pub(crate) const SECTIONS: [&str; 10] =
    ["admin", "apps", "commands", "handlers", "intake", "journal", "log", "observe", "reload", "sinks"];

/// Whose configuration it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Machine {
    This,
    Another,
}

struct Reader<'a> {
    source: &'a mut Source,
    root: &'a mut Map<String, Value>,
    registry: &'a Registry,
    machine: Machine,
}

impl Reader<'_> {
    /// Reads every section before it gives up on any, so that all errors are found.
    fn config(mut self) -> Option<Config> {
        let unknown: Vec<String> = self.root.keys().filter(|key| !SECTIONS.contains(&key.as_str())).cloned().collect();
        for key in unknown {
            let hint = suggest(&key, &SECTIONS, "the sections are");
            self.source.error(&root().key(&key), format!("unknown section; {hint}"));
        }
        let mut files = Vec::new();
        self.root.values().for_each(|section| secret_files(section, &mut files));
        let mut fingerprints = fingerprints(self.root);
        let log = self.section("log");
        let reload: Option<ReloadSection> = self.section("reload");
        if let Some(reload) = &reload {
            self.check_reload(reload);
        }
        let observe: Option<ObserveSection> = self.section("observe");
        let otlp = observe.as_ref().and_then(|observe| self.otlp(observe.otlp.as_ref()?));
        let admin: Option<AdminSection> = self.section("admin");
        let intake: Option<IntakeSection> = self.section("intake");
        let apps = self.apps();
        let commands = self.commands();
        let journal: Option<JournalSection> = self.section("journal");
        let tls = intake.as_ref().and_then(|intake| {
            self.check_intake(intake, &apps);
            self.tls("intake", intake.tls.as_ref()?)
        });
        let admin_tls = admin.as_ref().and_then(|admin| {
            self.check_admin(admin);
            self.tls("admin", admin.tls.as_ref()?)
        });
        if let (Some(observe), Some(admin), Some(intake)) = (&observe, &admin, &intake) {
            self.check_listeners([
                ("intake", Some(intake.listen)),
                ("observe", observe.listen),
                ("admin", admin.listen),
            ]);
        }
        if let Some(journal) = &journal {
            self.check_journal_path(journal);
            self.check_retention(journal);
        }
        let made = journal.as_ref().and_then(|journal| journal.path.parent()).map(Path::to_path_buf);
        let cx = match self.machine {
            Machine::This => CheckContext::new(made.into_iter().collect()),
            Machine::Another => CheckContext::elsewhere(),
        };
        if let Some(journal) = &journal {
            for ending in ["", "-wal", "-shm", ".lock", ".sock"] {
                let mut file = journal.path.clone().into_os_string();
                file.push(ending);
                let _ = cx.claim_file(Path::new(&file)); // The first to claim anything.
            }
        }
        let (sinks, sink_names) = self.instances("sinks", |source, path, name, table, registry| {
            plugins::sink(source, path, name, table, registry, &cx)
        });
        let references = References::of(self.root.get("handlers"));
        let (handlers, _) = self.instances("handlers", |source, path, name, table, registry| {
            plugins::handler(source, path, name, table, registry, &cx)
        });
        if let (Some(admin), Some(journal)) = (&admin, &journal) {
            self.check_audit(admin, journal, &cx);
        }
        self.check_references(&references, &sink_names, &apps, &handlers);
        self.check_what_sinks_take(&handlers, &sinks);
        self.check_what_is_recorded(&handlers, &commands);
        let (log, observe, admin, reload, intake, journal) = (log?, observe?, admin?, reload?, intake?, journal?);
        files.extend(handlers.iter().flat_map(|handler| handler.settings.files()));
        files.extend(sinks.iter().flat_map(|sink| sink.settings.files()));
        for (key, tls) in [("intake.tls", &intake.tls), ("admin.tls", &admin.tls)] {
            let Some(tls) = tls else { continue };
            let of_tls: Vec<PathBuf> = tls.files().paths().map(Path::to_path_buf).collect();
            // A certificate that was renewed is another, in the same file.
            if let Some(known) = fingerprints.get_mut(key) {
                *known = known.wrapping_add(contents_of(of_tls.iter().map(PathBuf::as_path)));
            }
            files.extend(of_tls);
        }
        let (sha256, warnings, places) = (String::new(), vec![], None);
        Some(Config {
            intake,
            tls,
            apps,
            commands,
            journal,
            handlers,
            sinks,
            observe,
            otlp,
            admin,
            admin_tls,
            log,
            reload,
            sha256,
            files,
            fingerprints,
            warnings,
            places,
        })
    }

    fn table(&mut self, path: &KeyPath, value: Option<Value>) -> Option<Map<String, Value>> {
        match value {
            None => Some(Map::new()),
            Some(Value::Object(table)) => Some(table),
            Some(_) => {
                self.source.error(path, format!("is not a section; write [{path}]"));
                None
            }
        }
    }

    fn section<T: serde::de::DeserializeOwned + schemars::JsonSchema>(&mut self, name: &str) -> Option<T> {
        let path = root().key(name);
        let value = self.root.remove(name);
        let table = self.table(&path, value)?;
        decode::section(self.source, &path, table)
    }

    fn apps(&mut self) -> Vec<AppSection> {
        let path = root().key("apps");
        let sections = match self.root.remove("apps") {
            Some(Value::Array(sections)) if !sections.is_empty() => sections,
            Some(Value::Object(_)) => {
                self.source.error(&path, "is one section; write [[apps]], with double brackets, for each app");
                return Vec::new();
            }
            _ => {
                self.source.error(&root(), "no app is configured; write [[apps]] with sdk_app_id, name and tokens");
                return Vec::new();
            }
        };
        let mut apps: Vec<AppSection> = Vec::new();
        for (idx, section) in sections.into_iter().enumerate() {
            let path = path.index(idx);
            let Some(table) = self.table(&path, Some(section)) else { continue };
            let Some(app) = decode::section::<AppSection>(self.source, &path, table) else { continue };
            self.check_app(&path, &app, &apps);
            self.check_sources(&path, &app);
            apps.push(app);
        }
        apps
    }

    fn check_app(&mut self, path: &KeyPath, app: &AppSection, earlier: &[AppSection]) {
        let (id_path, name_path) = (path.key("sdk_app_id"), path.key("name"));
        let is_news = |source: &Source, path| !source.has_error(path);
        if app.sdk_app_id == 0 && is_news(self.source, &id_path) {
            self.source.error(&id_path, "no app has the SDKAppID 0; write the one of the console");
        } else if let Some(other) = earlier.iter().find(|other| other.sdk_app_id == app.sdk_app_id)
            && is_news(self.source, &id_path)
        {
            let message = format!("{} is the app {:?} already; write each app once", app.sdk_app_id, other.name);
            self.source.error(&id_path, message);
        }
        if !is_name(&app.name) && is_news(self.source, &name_path) {
            self.source.error(&name_path, NOT_A_NAME);
        }
        if earlier.iter().any(|other| other.name == app.name) && is_news(self.source, &name_path) {
            self.source.error(&name_path, format!("another app is called {:?} already; choose another", app.name));
        }
        match app.tokens.len() {
            _ if self.source.has_error(&path.key("tokens")) => {}
            0 if app.signature != SignaturePolicy::Off => {
                let what = "no token to check signatures with; write tokens = [\"${DISPATCHER_TOKEN}\"] with the token of \
                            the console's callback page, or, to try things out, signature = \"off\"";
                self.source.error(&path.key("tokens"), what);
            }
            0..=2 => {}
            n => {
                let what = format!("{n} tokens; an app has one, or two while one replaces the other");
                self.source.error(&path.key("tokens"), what);
            }
        }
    }

    fn check_sources(&mut self, path: &KeyPath, app: &AppSection) {
        if app.allow_from.as_ref().is_some_and(Vec::is_empty) {
            let what = "an empty list lets nobody in; write networks such as \"203.0.113.0/24\", or leave this key out";
            self.source.error(&path.key("allow_from"), what);
        }
    }

    fn commands(&mut self) -> Vec<CommandRule> {
        let path = root().key("commands");
        let value = self.root.remove("commands");
        let mut rules = Vec::new();
        for (name, section) in self.table(&path, value).unwrap_or_default() {
            let path = path.key(&name);
            let pattern = plugins::pattern(self.source, &path, &name);
            let Some(table) = self.table(&path, Some(section)) else { continue };
            let section = decode::section::<CommandSection>(self.source, &path, table);
            let (Some(pattern), Some(section)) = (pattern, section) else { continue };
            let CommandSection { journal, keep_for, default_decision } = section;
            let decided = tencent_chat::commands().iter().filter(|info| info.wants_decision());
            let mut decided = decided.filter(|info| pattern.selects(info.name));
            if default_decision == Some(DefaultDecision::Refuse)
                && !decided.clone().any(|info| decide::can_refuse(info.name))
            {
                let what = match decided.next() {
                    Some(info) => format!("{} cannot be refused; write \"allow\", or leave this key out", info.name),
                    None => "no decision is wanted of these commands; leave this key out".to_owned(),
                };
                self.source.error(&path.key("default_decision"), what);
            }
            if let (Some(_), JournalRule::Never) = (keep_for, journal) {
                let what = "nothing of these commands is stored; leave this key out, or write journal = \"always\"";
                self.source.error(&path.key("keep_for"), what);
            } else if keep_for.is_some_and(|time| time.get().is_zero()) {
                let what = "zero would leave nothing to replay; write a longer one, such as \"1h\", or, to store nothing, \
                            journal = \"never\"";
                self.source.error(&path.key("keep_for"), what);
            }
            let keep_for = keep_for.map(TimeSpan::get);
            rules.push(CommandRule { pattern, journal, keep_for, default_decision });
        }
        rules
    }

    fn instances<T>(
        &mut self,
        section: &str,
        read: impl Fn(&mut Source, &KeyPath, &str, Map<String, Value>, &Registry) -> Option<T>,
    ) -> (Vec<T>, Vec<String>) {
        let path = root().key(section);
        let value = self.root.remove(section);
        let (mut instances, mut names) = (Vec::new(), Vec::new());
        for (name, value) in self.table(&path, value).unwrap_or_default() {
            let path = path.key(&name);
            if !is_name(&name) {
                self.source.error(&path, NOT_A_NAME);
            }
            if let Some(table) = self.table(&path, Some(value)) {
                instances.extend(read(self.source, &path, &name, table, self.registry));
            }
            names.push(name);
        }
        (instances, names)
    }

    fn check_intake(&mut self, intake: &IntakeSection, apps: &[AppSection]) {
        let path = root().key("intake");
        let is_path = intake.path.starts_with('/')
            && intake.path.bytes().all(|byte| byte.is_ascii_graphic())
            && !intake.path.contains(['?', '#', '*']);
        if intake.path != "*" && !is_path {
            let what = format!("{:?} is not a path; write one such as \"/callback\", or \"*\" for any", intake.path);
            self.source.error(&path.key("path"), what);
        }
        if intake.answer_within.get() >= TENCENT_WAITS || intake.answer_within.get() < SOONEST_ANSWER {
            let what =
                "too late or too soon: Tencent waits 2s, and a disk takes its time; write \"50ms\" to \"1900ms\"";
            self.source.error(&path.key("answer_within"), what);
        }
        if intake.max_connections.get() > MAX_CONNECTIONS {
            let what = format!("more than can be open; write {MAX_CONNECTIONS} at most");
            self.source.error(&path.key("max_connections"), what);
        }
        if intake.threads.is_some_and(|threads| threads.get() > MAX_THREADS) {
            self.source.error(&path.key("threads"), format!("more than help; write {MAX_THREADS} at most"));
        }
        let (head, query) = (intake.header_limit, intake.query_limit);
        if !(SMALLEST_HEAD..=LARGEST_HEAD).contains(&head) {
            let what = format!("write \"{SMALLEST_HEAD}\" to \"{LARGEST_HEAD}\", or leave this key out");
            self.source.error(&path.key("header_limit"), what);
        } else if query < SMALLEST_QUERY || query > head {
            let what =
                format!("write \"{SMALLEST_QUERY}\" or more, and no more than header_limit, which is \"{head}\"");
            self.source.error(&path.key("query_limit"), what);
        }
        for (key, value, (least, most)) in [
            ("max_headers", intake.max_headers, HEADERS),
            ("json_depth", intake.json_depth, DEPTHS),
            ("max_in_flight", intake.max_in_flight, (1, MAX_CONNECTIONS)),
        ] {
            if !(least..=most).contains(&value.get()) {
                self.source.error(&path.key(key), format!("write {least} to {most}, or leave this key out"));
            }
        }
        for (key, is_zero) in
            [("freshness", intake.freshness.get().is_zero()), ("body_limit", intake.body_limit.bytes() == 0)]
        {
            if is_zero {
                self.source.error(&path.key(key), "zero would refuse everything; write more, or leave this key out");
            }
        }
        for (key, time) in [("header_within", intake.header_within), ("idle", intake.idle)] {
            if time < SHORTEST_WAIT {
                let what = format!("too short for anybody; write \"{SHORTEST_WAIT}\" or more, or leave this key out");
                self.source.error(&path.key(key), what);
            }
        }
        if intake.proxy_protocol
            && intake.trusted_proxies.is_empty()
            && !self.source.has_error(&path.key("trusted_proxies"))
        {
            let what = "nobody would get a connection; write the addresses of the proxies in trusted_proxies = [\"…\"], or \
                        leave this key out";
            self.source.error(&path.key("proxy_protocol"), what);
        }
        for (idx, what) in forgeable(intake, apps) {
            self.source.error(&signature_of(idx), what);
        }
    }

    /// Each for those that it is for.
    fn check_listeners(&mut self, listeners: [(&str, Option<SocketAddr>); 3]) {
        for (nth, (section, listen)) in listeners.iter().enumerate() {
            let Some(listen) = listen.filter(|listen| listen.port() != 0) else { continue };
            if let Some((earlier, _)) = listeners[..nth].iter().find(|(_, other)| *other == Some(listen)) {
                let what = format!("is [{earlier}] listen as well, which is for others; write another port");
                self.source.error(&root().key(section).key("listen"), what);
            }
        }
    }

    fn check_admin(&mut self, admin: &AdminSection) {
        let path = root().key("admin");
        let tokens = path.key("tokens");
        if !self.source.has_error(&tokens) {
            match admin.tokens.len() {
                0 if admin.listen.is_some() => {
                    let what = "nobody would get in; write tokens = [\"${DISPATCHER_ADMIN_TOKEN}\"], with what \
                                `openssl rand -hex 32` makes in that variable";
                    self.source.error(&tokens, what);
                }
                0..=2 => {}
                n => {
                    self.source.error(&tokens, format!("{n} tokens; write one, or two while one replaces the other"));
                }
            }
            for (idx, token) in admin.tokens.iter().enumerate() {
                // It travels in a header.
                let is_plain = token.expose().bytes().all(|byte| byte.is_ascii_graphic());
                if token.expose().len() < SHORTEST_TOKEN || !is_plain {
                    let what = format!(
                        "could be guessed, or cannot be sent; write at least {SHORTEST_TOKEN} letters, digits and signs of \
                         ASCII, such as `openssl rand -hex 32` makes"
                    );
                    self.source.error(&tokens.index(idx), what);
                }
            }
        }
        for (idx, host) in admin.hosts.iter().enumerate() {
            let is_host = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
            if host.is_empty() || !is_host {
                let what = format!(
                    "{host:?} is not what a request says in `Host`; write a name such as \"control.example.com\", or one \
                     with a port"
                );
                self.source.error(&path.key("hosts").index(idx), what);
            }
        }
        let Some(listen) = admin.listen else { return };
        if !listen.ip().to_canonical().is_loopback() && admin.tls.is_none() && !admin.allow_plain {
            let what = format!(
                "whoever is on the way to {listen} could read the token; write tls = {{ cert = \"…\", key = \"…\" }}, or an \
                 address of this machine alone such as \"127.0.0.1:8081\", or, behind a proxy that speaks TLS, allow_plain \
                 = true"
            );
            self.source.error(&path.key("listen"), what);
        }
        if listen.ip().is_unspecified() && admin.hosts.is_empty() && !self.source.has_error(&path.key("hosts")) {
            let what = format!("nobody asks at {listen}; write the names or addresses that it is asked at");
            self.source.error(&path.key("hosts"), what);
        }
    }

    fn tls(&mut self, of: &str, section: &TlsSection) -> Option<Tls> {
        let path = root().key(of).key("tls");
        if section.client_auth.is_some() && section.client_ca.is_none() {
            let what = "there is nothing to judge clients by; write client_ca = \"…\" too, or leave this key out";
            self.source.error(&path.key("client_auth"), what);
        }
        if self.machine == Machine::Another {
            return None;
        }
        let at = |also: Option<usize>| also.map_or(path.clone(), |idx| path.key("also").index(idx));
        let loaded = section.files().load();
        for (nth, certificate) in loaded.iter().flat_map(Tls::certificates).enumerate() {
            let also = nth.checked_sub(1); // The first is everybody's.
            let expires = certificate.expires.and_then(|secs| i64::try_from(secs).ok()?.checked_mul(1000));
            let soon = expires.filter(|expires| expires.saturating_sub(Timestamp::now().as_millis()) < EXPIRES_SOON);
            let Some(expires) = soon.map(Timestamp::from_millis) else { continue };
            let cert = also.map_or(&section.cert, |idx| &section.also[idx].cert);
            let what = format!("the certificate in {cert:?} expires at {expires}; renew it, and reload");
            self.source.warn(&at(also).key("cert"), what);
        }
        loaded
            .map_err(|errors| {
                errors.into_iter().for_each(|err| self.source.error(&at(err.also).key(err.file.name()), err.message));
            })
            .ok()
    }

    fn otlp(&mut self, section: &OtlpSection) -> Option<OtlpOptions> {
        let path = root().key("observe").key("otlp");
        let read = crate::otlp::read(section);
        let read = read.map_err(|findings| {
            for SettingError { path: below, message, .. } in findings {
                self.source.error(&below.iter().fold(path.clone(), |path, key| path.key(key)), message);
            }
        });
        read.ok()
    }

    fn check_journal_path(&mut self, journal: &JournalSection) {
        if self.machine == Machine::Another {
            return;
        }
        let path = root().key("journal").key("path");
        if journal.path.is_dir() || journal.path.file_name().is_none() {
            let what = format!("{:?} is a folder; write a file, such as \"data/journal.db\"", journal.path);
            return self.source.error(&path, what);
        }
        // The nearest folder that is there: what is missing below it is made at start.
        let folder = journal.path.ancestors().skip(1).map(|folder| match folder.as_os_str().is_empty() {
            true => PathBuf::from("."),
            false => folder.to_path_buf(),
        });
        let Some(folder) = folder.into_iter().find(|folder| folder.exists()) else { return };
        if !folder.is_dir() {
            self.source.error(&path, format!("{folder:?} is not a folder; write a path below one"));
        } else if rustix::fs::access(&folder, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK).is_err() {
            // "." says little to whoever did not choose the working directory: a unit or an image did.
            let folder = folder.canonicalize().unwrap_or(folder);
            let what = format!("may not write into {folder:?}; give this user the right to, or write another path");
            self.source.error(&path, what);
        }
    }

    fn check_audit(&mut self, admin: &AdminSection, journal: &JournalSection, cx: &CheckContext) {
        let Some(path) = audit_path(admin, journal) else { return };
        let key = root().key("admin").key("audit");
        let beside = path.with_file_name(format!("{}.1", path.file_name().unwrap_or_default().display()));
        if ![&path, &beside].into_iter().all(|file| cx.claim_file(file)) {
            let what = format!("{path:?} may be written by something else of this configuration; write another file");
            return self.source.error(&key, what);
        }
        if admin.audit.is_some() && (path.is_dir() || path.file_name().is_none()) {
            self.source.error(&key, format!("{path:?} is a folder; write a file, such as \"data/audit.jsonl\""));
        }
    }

    fn check_reload(&mut self, reload: &ReloadSection) {
        if reload.watch.get().is_some_and(|watch| watch.get() < SHORTEST_WATCH) {
            let what = "too often to be of use; write \"100ms\" or more, or \"off\"";
            self.source.error(&root().key("reload").key("watch"), what);
        }
    }

    fn check_retention(&mut self, journal: &JournalSection) {
        let path = root().key("journal");
        if journal.keep_for.get().is_zero() {
            let what = "zero would leave nothing to replay; write a longer one, such as \"1h\"";
            self.source.error(&path.key("keep_for"), what);
        }
        if journal.max_size.get().is_some_and(|size| size < SMALLEST_JOURNAL) {
            let what = format!("too small to work with; write \"{SMALLEST_JOURNAL}\" or more, or \"off\"");
            self.source.error(&path.key("max_size"), what);
        }
        if journal.keep_dead_letters_for.get().is_some_and(|time| time.get().is_zero()) {
            let what = "zero would delete dead letters before anybody sees them; write a longer one, such as \"30d\", or \
                        \"off\" to keep them until someone acts";
            self.source.error(&path.key("keep_dead_letters_for"), what);
        }
    }

    fn check_references(
        &mut self,
        references: &[References],
        sink_names: &[String],
        apps: &[AppSection],
        handlers: &[HandlerInstance],
    ) {
        let deciding = handlers.iter().filter(|handler| handler.plugin.role.decides());
        let deciding: Vec<&str> = deciding.map(|handler| &*handler.name).collect();
        let known_sinks: Vec<&str> = sink_names.iter().map(String::as_str).collect();
        let known_apps: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
        for References { handler, sinks, apps } in references {
            let path = root().key("handlers").key(handler);
            for (nth, (idx, name)) in sinks.iter().enumerate() {
                let at = path.key("sinks").index(*idx);
                if !known_sinks.contains(&name.as_str()) {
                    let hint = suggest(name, &known_sinks, "the sinks are");
                    self.source.error(&at, format!("no sink {name:?}; {hint}"));
                }
                if sinks[..nth].iter().any(|(_, earlier)| earlier == name) {
                    self.source.error(&at, format!("{name:?} is named twice; write it once"));
                }
            }
            if sinks.is_empty() && !deciding.contains(&&**handler) {
                self.source.warn(&path, "no sinks: its events go nowhere; write sinks = [\"…\"]");
            }
            for (idx, name) in apps.iter().filter(|(_, name)| !known_apps.contains(&name.as_str())) {
                let hint = suggest(name, &known_apps, "the apps are");
                self.source.error(&path.key("apps").index(*idx), format!("no app {name:?}; {hint}"));
            }
        }
        let is_named = |sink: &String| references.iter().any(|one| one.sinks.iter().any(|(_, name)| name == sink));
        for name in sink_names.iter().filter(|name| !is_named(name)) {
            self.source.warn(&root().key("sinks").key(name), "no handler names this sink: nothing goes to it");
        }
    }

    /// A decision is recorded, and an event, beside its callback: where that is not stored there is neither.
    fn check_what_is_recorded(&mut self, handlers: &[HandlerInstance], commands: &[CommandRule]) {
        let is_stored = |command: &str| {
            let rule = CommandPattern::narrowest(commands, |rule| &rule.pattern, command);
            rule.is_none_or(|rule| rule.journal == JournalRule::Always)
        };
        for handler in handlers.iter().filter(|handler| handler.enabled && !handler.sinks.is_empty()) {
            if handler.decide.as_ref().is_none_or(|decide| decide.emit.is_empty()) {
                continue;
            }
            let decided = tencent_chat::commands().iter().filter(|info| info.wants_decision());
            let mut unstored =
                decided.filter(|info| handler.route.selects_command(&Command::new(info.name)) && !is_stored(info.name));
            if let Some(info) = unstored.next() {
                let what =
                    format!("{} is not stored, so that decisions about it are no events and on no record", info.name);
                self.source.warn(&root().key("handlers").key(&handler.name), what);
            }
        }
    }

    fn check_what_sinks_take(&mut self, handlers: &[HandlerInstance], sinks: &[SinkInstance]) {
        for handler in handlers {
            for (idx, name) in handler.sinks.iter().enumerate() {
                let at = root().key("handlers").key(&handler.name).key("sinks").index(idx);
                let Some(sink) = sinks.iter().find(|sink| sink.name == *name) else { continue };
                if let (Takes::ForwardedOnly { because }, false) = (sink.settings.takes(), handler.settings.forwards())
                {
                    let what = format!(
                        "{name:?} takes forwarded callbacks only, because of {because}; this handler makes events of its \
                         own: feed that sink from a handler of type \"forward\", or change that setting"
                    );
                    self.source.error(&at, what);
                }
                if handler.enabled && !sink.enabled {
                    self.source
                        .warn(&at, format!("the sink {name:?} is switched off; events for it wait in the journal"));
                }
            }
        }
    }
}

/// The apps whose callbacks anybody could make up, by their places, and what to do about it.
fn forgeable(intake: &IntakeSection, apps: &[AppSection]) -> Vec<(usize, String)> {
    if intake.listen.ip().is_loopback() || intake.allow_unsigned_remote {
        return Vec::new();
    }
    let what = format!(
        "anybody who reaches {} could make callbacks up; write signature = \"required\", or, if something in front checks \
         signatures, [intake] allow_unsigned_remote = true",
        intake.listen
    );
    let unsigned = apps.iter().enumerate().filter(|(_, app)| app.signature != SignaturePolicy::Required);
    unsigned.map(|(idx, _)| (idx, what.clone())).collect()
}

fn signature_of(app: usize) -> KeyPath {
    root().key("apps").index(app).key("signature")
}

/// Of each section but handlers and sinks, and of each key in those that are no lists.
fn fingerprints(sections: &Map<String, Value>) -> BTreeMap<String, u64> {
    let mut fingerprints = BTreeMap::new();
    for (name, section) in sections.iter().filter(|(name, _)| !["handlers", "sinks"].contains(&name.as_str())) {
        let path = root().key(name);
        match section {
            Value::Object(table) => {
                fingerprints
                    .extend(table.iter().map(|(key, value)| (path.key(key).to_string(), fingerprint(value, &[]))));
            }
            list => _ = fingerprints.insert(path.to_string(), fingerprint(list, &[])),
        }
    }
    fingerprints
}

/// What a handler's section refers to, as it stands there: also where other keys of the section are wrong.
struct References {
    handler: String,
    /// Names, each with its place in the list.
    sinks: Vec<(usize, String)>,
    apps: Vec<(usize, String)>,
}

impl References {
    fn of(handlers: Option<&Value>) -> Vec<References> {
        let names = |section: &Value, key: &str| -> Vec<(usize, String)> {
            let names = section.get(key).and_then(Value::as_array).into_iter().flatten().enumerate();
            names.filter_map(|(idx, name)| Some((idx, name.as_str()?.to_owned()))).collect()
        };
        let handlers = handlers.and_then(Value::as_object).into_iter().flatten();
        handlers
            .map(|(handler, section)| References {
                handler: handler.clone(),
                sinks: names(section, "sinks"),
                apps: names(section, "apps"),
            })
            .collect()
    }
}

fn audit_path(admin: &AdminSection, journal: &JournalSection) -> Option<PathBuf> {
    match &admin.audit {
        None => Some(journal.path.with_file_name("audit.jsonl")),
        Some(AuditFile::At(path)) => Some(path.clone()),
        Some(AuditFile::Off) => None,
    }
}

const NOT_A_NAME: &str = "not a name; write 1 to 64 letters, digits, `-` and `_`";

/// Names end up in ids, file names and metrics.
fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn root() -> KeyPath {
    KeyPath::default()
}
