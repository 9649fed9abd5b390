//! From the configuration to what each part is started with.

use dispatcher_config::{Config, JournalRule, Order, SignaturePolicy, StartAt, Sync, WhenBlocked};
use dispatcher_core::{App, ByteSize, Rate, TimeSpan};
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

pub(crate) fn handlers(config: &Config) -> Vec<HandlerInstance> {
    let enabled = config.handlers.iter().filter(|handler| handler.enabled);
    enabled
        .map(|handler| HandlerInstance {
            name: handler.name.clone(),
            settings: handler.settings.clone(),
            route: handler.route.clone(),
            sinks: handler.sinks.clone(),
            threads: handler.run.threads,
            options: options(&handler.run),
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
