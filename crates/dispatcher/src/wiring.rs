//! From the configuration to what each part is started with.

use std::num::NonZeroUsize;

use dispatcher_config::{
    Config, DefaultDecision, Emit, JournalRule, Order, SignaturePolicy, StartAt, Sync, WhenBlocked, WhenNotDurable,
};
use dispatcher_core::{App, ByteSize, Command, CommandPattern, Rate, Takes, TimeSpan};
use dispatcher_decider::{DeciderInstance, DeciderOptions, DefaultRule, Fallback};
use dispatcher_intake::{IntakeApp, IntakeOptions, PathRule};
use dispatcher_journal::{JournalOptions, Retention, Start};
use dispatcher_pipeline::{Backoff, ConsumerOptions, HandlerInstance, SinkInstance};

pub(crate) fn journal_options(config: &Config) -> JournalOptions {
    let mut options = JournalOptions::new(&config.journal.path);
    options.sync = match config.journal.sync {
        Sync::Always => dispatcher_journal::Sync::Always,
        Sync::Off => dispatcher_journal::Sync::Off,
    };
    options.dedupe_window = config.journal.dedupe.window.get();
    options.dedupe_entries = config.journal.dedupe.entries;
    options.retention = Some(Retention {
        keep_for: config.journal.keep_for.get(),
        rules: config.commands.iter().filter_map(|rule| Some((rule.pattern.clone(), rule.keep_for?))).collect(),
        max_bytes: config.journal.max_size.get().map(ByteSize::bytes),
        keep_dead_for: config.journal.keep_dead_letters_for.get().map(TimeSpan::get),
        when_blocked: match config.journal.when_blocked {
            WhenBlocked::Block => dispatcher_journal::WhenBlocked::Block,
            WhenBlocked::DeadLetter => dispatcher_journal::WhenBlocked::DeadLetter,
            WhenBlocked::Skip => dispatcher_journal::WhenBlocked::Skip,
        },
    });
    options
}

pub(crate) fn intake_options(config: &Config) -> IntakeOptions {
    let intake = &config.intake;
    let mut options = IntakeOptions {
        path: if intake.path == "*" { PathRule::Any } else { PathRule::Exact(intake.path.clone()) },
        answer_within: intake.answer_within.get(),
        body_limit: intake.body_limit.as_usize(),
        freshness: intake.freshness.get(),
        header_within: intake.header_within.get(),
        idle: intake.idle.get(),
        max_connections: intake.max_connections.get(),
        max_connections_per_address: intake.max_connections_per_address.get().map(NonZeroUsize::get),
        max_in_flight: intake.max_in_flight.get(),
        trusted_proxies: intake.trusted_proxies.clone(),
        proxy_protocol: intake.proxy_protocol,
        header_bytes: intake.header_limit.as_usize(),
        max_headers: intake.max_headers.get(),
        query_limit: intake.query_limit.as_usize(),
        json_depth: intake.json_depth.get(),
        strict_replay: intake.strict_replay,
        when_not_durable: match intake.when_not_durable {
            WhenNotDurable::Refuse => dispatcher_intake::WhenNotDurable::Refuse,
            WhenNotDurable::Hold => dispatcher_intake::WhenNotDurable::Hold,
        },
        tls: config.tls.clone(),
        ..IntakeOptions::default()
    };
    if let Some(threads) = intake.threads {
        options.threads = threads.get();
    }
    options
}

pub(crate) fn apps(config: &Config) -> Vec<IntakeApp> {
    let app = |section: &dispatcher_config::AppSection| IntakeApp {
        app: App::new(section.sdk_app_id, &section.name),
        tokens: section.tokens.clone(),
        signature: match section.signature {
            SignaturePolicy::Required => dispatcher_intake::SignaturePolicy::Required,
            SignaturePolicy::Optional => dispatcher_intake::SignaturePolicy::Optional,
            SignaturePolicy::Off => dispatcher_intake::SignaturePolicy::Off,
        },
        allow_from: section.allow_from.clone().unwrap_or_default(),
    };
    config.apps.iter().map(app).collect()
}

pub(crate) fn rules(config: &Config) -> Vec<dispatcher_intake::CommandRule> {
    let rule = |rule: &dispatcher_config::CommandRule| dispatcher_intake::CommandRule {
        commands: rule.pattern.clone(),
        journal: match rule.journal {
            JournalRule::Always => dispatcher_intake::JournalRule::Always,
            JournalRule::Never => dispatcher_intake::JournalRule::Never,
        },
    };
    config.commands.iter().map(rule).collect()
}

/// Whether callbacks of this command are stored and handled: of the rules that select it, the narrowest says so.
pub(crate) fn is_journaled(config: &Config, command: &Command) -> bool {
    let narrowest = CommandPattern::narrowest(&config.commands, |rule| &rule.pattern, command.as_str());
    narrowest.is_none_or(|rule| rule.journal == JournalRule::Always)
}

/// The handlers that decide.
pub(crate) fn deciders(config: &Config) -> Vec<DeciderInstance> {
    let enabled = config.handlers.iter().filter(|handler| handler.enabled);
    enabled.filter_map(|handler| decider(config, handler)).collect()
}

/// How a handler decides; `None` if it does not.
pub(crate) fn decider(config: &Config, handler: &dispatcher_config::HandlerInstance) -> Option<DeciderInstance> {
    let decide = handler.decide.as_ref()?;
    let emits = |emit: Emit| decide.emit.contains(&emit);
    // A decision is no callback that is passed on.
    let takes = |name: &&String| {
        config.sinks.iter().any(|sink| sink.name == **name && matches!(sink.settings.takes(), Takes::Any))
    };
    let sinks: Vec<&str> = handler.sinks.iter().filter(takes).map(String::as_str).collect();
    Some(DeciderInstance {
        name: handler.name.clone(),
        settings: handler.settings.clone(),
        route: handler.route.clone(),
        threads: handler.run.threads,
        fingerprint: handler.fingerprint,
        options: DeciderOptions {
            order: decide.order,
            timeout: handler.run.timeout,
            max_in_flight: decide.max_in_flight,
            if_late: fallback(decide.if_late),
            if_failed: fallback(decide.if_failed),
            if_busy: fallback(decide.if_busy),
            shadow: decide.shadow,
            late_wait: decide.late_wait,
            emit: dispatcher_decider::Emit {
                allowed: emits(Emit::Allowed),
                refused: emits(Emit::Refused),
                dropped: emits(Emit::Dropped),
                rewritten: emits(Emit::Rewritten),
                defaulted: emits(Emit::Defaulted),
                late: emits(Emit::Late),
            },
            sinks: sinks.join(",").into(),
        },
    })
}

/// What is decided where nobody decides.
pub(crate) fn default_decisions(config: &Config) -> Vec<DefaultRule> {
    let rule = |rule: &dispatcher_config::CommandRule| {
        Some(DefaultRule { commands: rule.pattern.clone(), decision: fallback(rule.default_decision?) })
    };
    config.commands.iter().filter_map(rule).collect()
}

fn fallback(decision: DefaultDecision) -> Fallback {
    match decision {
        DefaultDecision::Allow => Fallback::Allow,
        DefaultDecision::Refuse => Fallback::Refuse,
    }
}

/// The handlers that make events.
pub(crate) fn handlers(config: &Config) -> Vec<HandlerInstance> {
    let enabled = config.handlers.iter().filter(|handler| handler.enabled && handler.plugin.role.handles());
    enabled
        .map(|handler| HandlerInstance {
            name: handler.name.clone(),
            settings: handler.settings.clone(),
            route: handler.handled(),
            sinks: handler.sinks.clone(),
            threads: handler.run.threads,
            options: options(&handler.run),
            fingerprint: handler.fingerprint,
        })
        .collect()
}

pub(crate) fn sinks(config: &Config) -> Vec<SinkInstance> {
    let enabled = config.sinks.iter().filter(|sink| sink.enabled);
    enabled
        .map(|sink| SinkInstance {
            name: sink.name.clone(),
            settings: sink.settings.clone(),
            threads: sink.run.threads,
            options: options(&sink.run),
            fingerprint: sink.fingerprint,
        })
        .collect()
}

fn options(run: &dispatcher_config::RunSettings) -> ConsumerOptions {
    ConsumerOptions {
        lanes: run.lanes,
        batch: run.batch,
        attempts: run.attempts,
        give_up_after: run.give_up_after,
        rate: run.rate.map(Rate::per_second),
        ordered: run.order == Order::Key,
        backoff: Backoff { first: run.backoff.first, max: run.backoff.max, factor: run.backoff.factor },
        timeout: run.timeout,
        start: start(run.start),
        ..ConsumerOptions::handler()
    }
}

/// Where one begins that the journal has not seen before.
pub(crate) fn start(start: StartAt) -> Start {
    match start {
        StartAt::End => Start::End,
        StartAt::Oldest => Start::Oldest,
        StartAt::Time(time) => Start::At(time),
    }
}
