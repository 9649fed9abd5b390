//! `dispatcher test`: what the configuration makes of callbacks, held against what a team expects.
//!
//! The cases stand in TOML files beside the configuration. Handlers run as they do in the dispatcher, each in a cell, and
//! deciders are asked one after the other and held to what their commands allow; there is no intake, no journal and no sink,
//! so that nothing is listened on, stored or sent.

mod canned;
mod case;
mod compare;
mod trial;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use dispatcher_config::Config;
use dispatcher_core::Registry;

use super::screen::{Screen, note};
use crate::{EX_CONFIG, cli::ConfigFile};
use case::Cases;

/// Runs the cases in the files, and says of each whether it came out as expected. Exits with 0 if all did, with 1 if one did
/// not, with 78 if the configuration is wrong. crates/dispatcher/TESTING.md says what stands in such a file.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// Files of cases, such as dispatcher.test.toml
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

/// Why no case of a file was run.
enum Broken {
    File(String),
    Config(String),
}

impl Test {
    pub(crate) fn run(&self, registry: &Registry) -> ExitCode {
        let mut screen = Screen::new(false);
        let (mut n_passed, mut n_failed, mut code) = (0, 0, ExitCode::SUCCESS);
        for path in &self.files {
            match self.run_file(path, registry, &mut screen) {
                Ok((passed, failed)) => {
                    n_passed += passed;
                    n_failed += failed;
                }
                Err(Broken::File(why)) => {
                    note(&why);
                    n_failed += 1;
                }
                Err(Broken::Config(why)) => {
                    note(&why);
                    code = ExitCode::from(EX_CONFIG);
                }
            }
        }
        screen.line(&format!("{n_passed} passed, {n_failed} failed"));
        if n_failed > 0 && code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code }
    }

    /// How many cases passed, and how many failed.
    fn run_file(&self, path: &Path, registry: &Registry, screen: &mut Screen<'_>) -> Result<(usize, usize), Broken> {
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|err| Broken::File(format!("{file}: cannot read it: {err}")))?;
        let cases = Cases::parse(&file, &text).map_err(Broken::File)?;
        let config = self.config(&cases, registry).map_err(Broken::Config)?;
        let (mut n_passed, mut n_failed) = (0, 0);
        for case in &cases.cases {
            let at = format!("{file}:{}: {}", case.line, case.name);
            match case.prepare(&config).and_then(|prepared| trial::run(&config, case, prepared)) {
                Ok(outcome) => {
                    let wrong = compare::compare(&case.expect, &outcome);
                    screen.line(&format!("{at}: {}", if wrong.is_empty() { "ok" } else { "FAILED" }));
                    for line in wrong.iter().chain(&outcome.notes) {
                        screen.line(&format!("    {line}"));
                    }
                    if wrong.is_empty() { n_passed += 1 } else { n_failed += 1 }
                }
                Err(why) => {
                    screen.line(&format!("{at}: FAILED\n    {why}"));
                    n_failed += 1;
                }
            }
        }
        Ok((n_passed, n_failed))
    }

    /// The configuration, with the variables that the file sets where the environment does not; what only the machine has that
    /// it is for – certificates, secrets, folders – is not asked for.
    fn config(&self, cases: &Cases, registry: &Registry) -> Result<Config, String> {
        let path = &self.config.config;
        let file = path.display().to_string();
        let text = fs::read_to_string(path).map_err(|err| format!("{file}: cannot read the configuration: {err}"))?;
        let variable = |name: &str| std::env::var(name).ok().or_else(|| cases.environment.get(name).cloned());
        Config::parse_elsewhere(&file, &text, registry, &variable).map_err(|findings| findings.to_string())
    }
}
