//! `dispatcher decode`: bodies of callbacks as their types read them, held against what is documented.

use std::{
    io::{self, Read as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use tencent_chat::{Body, Survey};

use crate::command::{
    screen::{Screen, note},
    text,
};

/// Prints each body as the type of its command reads it, with integers as numbers and known fields in order; what the type does not
/// know, and what is documented and not there, goes to standard error. With --json all of that is one line per body:
/// file, nth, command, body, unknown, absent, or error.
#[derive(Debug, Args)]
pub(crate) struct Decode {
    /// Files of bodies, one after the other, or of what `dispatcher callbacks --json --contents` writes; `-`, or none, for
    /// standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The command, for bodies that do not carry theirs; `dispatcher commands` lists them
    #[arg(long, value_name = "NAME")]
    command: Option<String>,
    /// Exit with 1 if a field is not known, or the command is another than the body says
    #[arg(long)]
    strict: bool,
    /// Write a line of JSON for each body, with what was found
    #[arg(long)]
    json: bool,
}

/// A line of `dispatcher callbacks --json --contents`.
#[derive(Deserialize)]
struct Listed<'a> {
    command: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

/// A body that was decoded.
struct Decoded<'a> {
    body: Body<'a>,
    survey: Survey,
    /// What the body says its command is, where that is another.
    other_command: Option<String>,
}

impl Decode {
    /// 0 if every body fits its type, and with `--strict` has no field that the type does not know; else 1.
    pub(crate) fn run(&self) -> ExitCode {
        let mut screen = Screen::new(false);
        let mut is_fine = true;
        let standard_input = [PathBuf::from("-")];
        let files = if self.files.is_empty() { &standard_input[..] } else { &self.files };
        for file in files {
            let name = if file.as_os_str() == "-" { "standard input".to_owned() } else { file.display().to_string() };
            match read(file) {
                Ok(bytes) => is_fine &= self.decode_all(&name, &bytes, &mut screen),
                Err(err) => {
                    is_fine = false;
                    self.tell_failure(&mut screen, &name, 0, &format!("cannot read it: {err}"));
                }
            }
        }
        if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }

    fn decode_all(&self, file: &str, bytes: &[u8], screen: &mut Screen<'_>) -> bool {
        let mut is_fine = true;
        let mut nth = 0;
        for body in serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>() {
            nth += 1;
            // Behind what is no JSON nobody knows where the next begins.
            let decoded = body.map_err(|err| format!("this is no JSON: {err}"));
            match decoded.and_then(|body| self.decode(body.get())) {
                Ok(decoded) => {
                    is_fine &= !self.strict || decoded.survey.unknown.is_empty() && decoded.other_command.is_none();
                    self.tell(screen, file, nth, &decoded);
                }
                Err(why) => {
                    is_fine = false;
                    self.tell_failure(screen, file, nth, &why);
                }
            }
        }
        if nth == 0 {
            self.tell_failure(screen, file, 0, "there is no JSON in it");
        }
        is_fine && nth > 0
    }

    fn decode<'a>(&self, body: &'a str) -> Result<Decoded<'a>, String> {
        let (said, body) = match (command_of(body)?, serde_json::from_str(body)) {
            (None, Ok(Listed { command, body })) => (Some(command), body.get()),
            (said, _) => (said, body),
        };
        let Some(command) = self.command.as_ref().or(said.as_ref()) else {
            return Err("no command is in it; name one with --command, `dispatcher commands` lists them".to_owned());
        };
        let body = Body::decode(command, body.as_bytes()).map_err(|err| format!("{command}: {err}"))?;
        let body = body.ok_or_else(|| {
            format!("the command {command:?} is not in the catalogue; `dispatcher commands` lists those that are")
        })?;
        let survey = body.survey();
        let other_command = said.filter(|said| said != body.command());
        Ok(Decoded { body, survey, other_command })
    }

    fn tell(&self, screen: &mut Screen<'_>, file: &str, nth: u64, decoded: &Decoded<'_>) {
        let Decoded { body, survey: Survey { unknown, absent, .. }, other_command } = decoded;
        if self.json {
            let mut line = json!({ "file": file, "nth": nth, "command": body.command(), "body": body });
            line["unknown"] = json!(unknown);
            line["absent"] = json!(absent);
            if let Some(other) = other_command {
                line["says_command"] = json!(other);
            }
            return screen.line(&text::json(&line));
        }
        screen.line(&text::json_pretty(body));
        let place = place(file, nth);
        if let Some(other) = other_command {
            note(&text::clean(&format!("{place}: read as {}, and says it is {other}", body.command())));
        }
        for (what, paths) in [("not known", unknown), ("documented, and not there", absent)] {
            if !paths.is_empty() {
                note(&text::clean(&format!("{place}: {}: {what}: {}", body.command(), paths.join(", "))));
            }
        }
    }

    fn tell_failure(&self, screen: &mut Screen<'_>, file: &str, nth: u64, why: &str) {
        if self.json {
            screen.line(&text::json(&json!({ "file": file, "nth": nth, "error": why })));
        } else {
            note(&text::clean(&format!("{}: {why}", place(file, nth))));
        }
    }
}

fn read(file: &Path) -> io::Result<Vec<u8>> {
    if file.as_os_str() != "-" {
        return std::fs::read(file);
    }
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Which body it is; the first, which is mostly the only one, has no number.
fn place(file: &str, nth: u64) -> String {
    if nth <= 1 { file.to_owned() } else { format!("{file}: number {nth}") }
}

/// What a body says its command is; batches say it in each of their events.
fn command_of(body: &str) -> Result<Option<String>, String> {
    let body: Value = serde_json::from_str(body).map_err(|err| format!("this cannot be read: {err}"))?;
    let command = |value: &Value| value.get("CallbackCommand")?.as_str().map(str::to_owned);
    Ok(command(&body).or_else(|| command(body.get("Events")?.get(0)?)))
}
