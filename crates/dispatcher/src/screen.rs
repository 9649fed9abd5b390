//! What a start says: what listens where, which handlers feed which sinks, who decides, what is stored and what is not.

use std::{fmt::Write as _, path::Path};

use dispatcher_config::{Config, HandlerInstance, JournalRule, SignaturePolicy, Sync};
use dispatcher_core::CommandPattern;
use tracing::info;

use crate::{Dispatcher, decisions};

/// One thing that a start says, under a heading.
pub(crate) struct Fact {
    heading: &'static str,
    line: String,
}

/// Everything that a start of `config` says, now that it runs.
pub(crate) fn facts(config: &Config, path: &Path, dispatcher: &Dispatcher) -> Vec<Fact> {
    let (listen, deciders) = (dispatcher.local_addr(), dispatcher.deciders());
    let mut facts = Vec::new();
    let mut say = |heading: &'static str, line: String| facts.push(Fact { heading, line });
    say("configuration", path.display().to_string());
    let url_path = if config.intake.path == "*" { "/ (any path)" } else { &config.intake.path };
    let scheme = if config.intake.tls.is_some() { "https" } else { "http" };
    say("callbacks", format!("{scheme}://{listen}{url_path}, answered within {}", config.intake.answer_within));
    if let Some(observe) = dispatcher.observe_addr() {
        say("metrics", format!("http://{observe}/metrics, with /healthz and /readyz"));
    }
    if let Some(admin) = dispatcher.admin_addr() {
        let scheme = if config.admin.tls.is_some() { "https" } else { "http" };
        say("admin", format!("{scheme}://{admin}, with a token"));
    }
    for app in &config.apps {
        let signature = match app.signature {
            SignaturePolicy::Required => "signature required",
            SignaturePolicy::Optional => "signature optional: callbacks without one are let in",
            SignaturePolicy::Off => "signature off: anybody who reaches this address can make callbacks up",
        };
        say("apps", format!("{} ({}), {signature}", app.name, app.sdk_app_id));
    }
    let sync = match config.journal.sync {
        Sync::Always => "on the disk before the answer",
        Sync::Off => "sync off: a power cut loses callbacks that were acknowledged",
    };
    say("journal", format!("{}, {sync}", config.journal.path.display()));
    for handler in &config.handlers {
        say("handlers", handler_line(handler));
    }
    if config.handlers.is_empty() {
        say("handlers", "none: callbacks are stored and go nowhere".into());
    }
    for sink in &config.sinks {
        let state = if sink.enabled { "" } else { ", switched off" };
        let lanes = if sink.run.lanes > 1 { format!(", {} lanes", sink.run.lanes) } else { String::new() };
        say("sinks", format!("{}{lanes}{state}", named(&sink.name, sink.plugin.name)));
    }
    let not_stored: Vec<&str> = config
        .commands
        .iter()
        .filter(|rule| rule.journal == JournalRule::Never)
        .map(|rule| rule.pattern.as_str())
        .collect();
    for line in decisions::lines(config, &deciders) {
        say("decisions", line);
    }
    match not_stored.as_slice() {
        [] => say("stored", "every callback".into()),
        patterns => {
            say("stored", format!("every callback but {}: answered OK, counted, not stored", patterns.join(", ")))
        }
    }
    facts
}

fn handler_line(handler: &HandlerInstance) -> String {
    let list = |patterns: &[CommandPattern]| patterns.iter().map(CommandPattern::as_str).collect::<Vec<_>>().join(", ");
    let mut line = format!("{}: {}", named(&handler.name, handler.plugin.name), list(&handler.route.commands));
    if !handler.route.except.is_empty() {
        let _ = write!(line, " except {}", list(&handler.route.except));
    }
    let _ = write!(line, ", phase {}", handler.route.phase);
    if let Some(apps) = &handler.route.apps {
        let _ = write!(line, ", apps {}", apps.join(", "));
    }
    if handler.plugin.role.handles() || !handler.sinks.is_empty() {
        let sinks = if handler.sinks.is_empty() { "no sink".to_owned() } else { handler.sinks.join(", ") };
        let _ = write!(line, " -> {sinks}");
    }
    if !handler.enabled {
        line.push_str(" (switched off)");
    }
    line
}

fn named(name: &str, plugin: &str) -> String {
    if name == plugin { name.to_owned() } else { format!("{name} ({plugin})") }
}

/// The screen, for people.
pub(crate) fn text(facts: &[Fact]) -> String {
    let mut out = format!("dispatcher {}\n\n", env!("CARGO_PKG_VERSION"));
    let mut heading = "";
    for fact in facts {
        let shown = if fact.heading == heading { "" } else { fact.heading };
        heading = fact.heading;
        let _ = writeln!(out, "  {shown:<14} {}", fact.line);
    }
    out.push('\n');
    out
}

/// The same as one line of the log, for programs.
pub(crate) fn log(facts: &[Fact]) {
    let all = |heading: &str| {
        let lines = facts.iter().filter(|fact| fact.heading == heading).map(|fact| fact.line.as_str());
        lines.collect::<Vec<_>>().join("; ")
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration = all("configuration"),
        callbacks = all("callbacks"),
        metrics = all("metrics"),
        admin = all("admin"),
        apps = all("apps"),
        journal = all("journal"),
        handlers = all("handlers"),
        sinks = all("sinks"),
        decisions = all("decisions"),
        stored = all("stored"),
        "started"
    );
}
