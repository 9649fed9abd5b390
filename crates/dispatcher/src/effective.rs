//! `dispatcher config`: what is in force, and where it comes from.

use std::{fmt::Write as _, fs, process::ExitCode};

use clap::Args;
use dispatcher_config::{EffectiveSetting, SettingOrigin};
use dispatcher_core::Registry;
use serde_json::{Value, json};

use crate::{
    EX_CONFIG,
    cli::ConfigFile,
    command::screen::{Screen, note},
};

/// Where the origins stand, if values are not too long.
const COLUMN: usize = 48;

/// Every value that is in force, with defaults, and behind each where it comes from. Secrets are hidden, and of URLs the users,
/// the queries and what is deep in the path; a value that holds a variable called like a secret is, too.
#[derive(Debug, Args)]
pub(crate) struct ShowConfig {
    /// Write JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigFile,
}

impl ShowConfig {
    pub(crate) fn run(&self, registry: &Registry) -> ExitCode {
        let file = self.config.config.display().to_string();
        let text = match fs::read_to_string(&self.config.config) {
            Ok(text) => text,
            Err(err) => {
                note(&format!("{file}: cannot read the configuration: {err}; name another file with --config"));
                return ExitCode::from(EX_CONFIG);
            }
        };
        let variable = |name: &str| std::env::var(name).ok();
        match dispatcher_config::effective(&file, &text, registry, &variable) {
            Ok(settings) => {
                let text =
                    if self.json { format!("{:#}", as_json(&file, &settings)) } else { as_toml(&file, &settings) };
                Screen::new(false).line(text.trim_end());
                ExitCode::SUCCESS
            }
            Err(findings) => {
                note(&findings.to_string());
                ExitCode::from(EX_CONFIG)
            }
        }
    }
}

/// As it would stand in a file.
fn as_toml(file: &str, settings: &[EffectiveSetting]) -> String {
    let (mut out, mut section) = (String::new(), "");
    for (nth, setting) in settings.iter().enumerate() {
        // Each app has a section of its own, under one heading.
        let is_next = nth > 0 && setting.section == "[[apps]]" && setting.key <= settings[nth - 1].key;
        if setting.section != section || is_next {
            section = &setting.section;
            let _ = writeln!(out, "{}{section}", if nth > 0 { "\n" } else { "" });
        }
        let value =
            toml::Value::try_from(&setting.value).map_or_else(|_| setting.value.to_string(), |value| value.to_string());
        let line = format!("{} = {value}", setting.key);
        let _ = match &setting.origin {
            SettingOrigin::Default => writeln!(out, "{line:<COLUMN$} # default"),
            SettingOrigin::File { line: at } => writeln!(out, "{line:<COLUMN$} # {file}:{at}"),
            SettingOrigin::Environment { line: at, variables } => {
                writeln!(out, "{line:<COLUMN$} # {file}:{at}, environment: {}", variables.join(", "))
            }
        };
    }
    out
}

fn as_json(file: &str, settings: &[EffectiveSetting]) -> Value {
    let setting = |setting: &EffectiveSetting| {
        let EffectiveSetting { section, key, value, origin } = setting;
        let mut told = json!({ "section": section, "key": key, "value": value });
        match origin {
            SettingOrigin::Default => told["origin"] = "default".into(),
            SettingOrigin::File { line } => {
                told["origin"] = "file".into();
                told["line"] = json!(line);
            }
            SettingOrigin::Environment { line, variables } => {
                told["origin"] = "environment".into();
                told["line"] = json!(line);
                told["variables"] = json!(variables);
            }
        }
        told
    };
    json!({ "file": file, "settings": settings.iter().map(setting).collect::<Vec<_>>() })
}
