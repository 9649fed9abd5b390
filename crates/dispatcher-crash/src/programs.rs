//! The programs and the library under test: built, or named.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// Where they are.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The dispatcher.
    pub dispatcher: PathBuf,
    /// The dispatcher that kills itself at a named step: `tests/programs/stepping.rs`.
    pub stepping: PathBuf,
    /// The library that is preloaded: `crates/dispatcher-faults`.
    pub faults: PathBuf,
}

impl Programs {
    /// Builds what is not named, as this program was built: in the release profile or not.
    ///
    /// # Errors
    /// When there is no program at a path that was named, or cargo cannot build one.
    pub fn find(dispatcher: Option<&Path>, stepping: Option<&Path>, faults: Option<&Path>) -> Result<Programs> {
        let find = |named: Option<&Path>, package: &str, kind: &[&str], name: &str| match named {
            Some(path) => path.canonicalize().with_context(|| format!("nothing at {}", path.display())),
            None => build(package, kind, name),
        };
        Ok(Programs {
            dispatcher: find(dispatcher, "dispatcher", &["--bin", "dispatcher"], "dispatcher")?,
            stepping: find(stepping, "dispatcher", &["--example", "stepping"], "stepping")?,
            faults: find(faults, "dispatcher-faults", &["--lib"], "dispatcher_faults")?,
        })
    }

    /// Those that cargo built together with a test, which lies in `target/<profile>/deps`.
    ///
    /// # Errors
    /// When one of them is not where cargo puts it.
    pub fn beside_test(dispatcher: &Path) -> Result<Programs> {
        let test = env::current_exe()?;
        let deps = test.parent().context("a program lies in a folder")?;
        let profile = deps.parent().unwrap_or(deps);
        let first = |candidates: [PathBuf; 2]| {
            let text = format!("{} is built by `cargo test`, or by `cargo build --examples`", candidates[0].display());
            candidates.into_iter().find(|path| path.exists()).context(text)
        };
        let library = "libdispatcher_faults.so";
        Ok(Programs {
            dispatcher: dispatcher.canonicalize().with_context(|| dispatcher.display().to_string())?,
            stepping: first([profile.join("examples/stepping"), deps.join("examples/stepping")])?,
            faults: first([deps.join(library), profile.join(library)])?,
        })
    }
}

fn build(package: &str, kind: &[&str], name: &str) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| env!("CARGO").into());
    let mut command = Command::new(cargo);
    command.args(["build", "-p", package]).args(kind).arg("--message-format=json-render-diagnostics");
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml")]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    let output = command.stderr(Stdio::inherit()).output().context("cannot run cargo")?;
    ensure!(output.status.success(), "cannot build {name}: cargo ended with {}", output.status);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(Message { target, executable, filenames }) = serde_json::from_str(line) else { continue };
        let library = filenames.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "so"));
        if target.name == name
            && let Some(path) = executable.or(library)
        {
            return Ok(path);
        }
    }
    bail!("cargo built nothing called {name}")
}

/// What is read of cargo's `compiler-artifact` messages.
#[derive(Deserialize)]
struct Message {
    target: Target,
    executable: Option<PathBuf>,
    filenames: Vec<PathBuf>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}
