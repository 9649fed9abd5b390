//! The schema of the configuration and its reference: shipped as the program says them, and true.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{fs, path::Path, process::Command};

use jsonschema::Validator;
use serde_json::Value;
use tempfile::TempDir;

const DISPATCHER: &str = env!("CARGO_BIN_EXE_dispatcher");
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn said(args: &[&str]) -> String {
    let output = Command::new(DISPATCHER).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_shipped_is_what_the_program_says() {
    for (args, file) in [
        (&["schema"][..], "crates/dispatcher-config/dispatcher.schema.json"),
        (&["schema", "--markdown"], "crates/dispatcher-config/SETTINGS.md"),
    ] {
        let shipped = fs::read_to_string(Path::new(ROOT).join(file)).unwrap_or_default();
        let command = args.join(" ");
        assert!(shipped == said(args), "{file} is out of date; write it anew: cargo run -- {command} > {file}");
    }
    let configuration = fs::read_to_string(Path::new(ROOT).join("dispatcher.toml")).unwrap();
    let named = configuration.lines().next().and_then(|line| line.strip_prefix("#:schema ")).unwrap();
    assert!(Path::new(ROOT).join(named).exists(), "{named}, named in dispatcher.toml, is not there");
}

fn validator() -> Validator {
    let schema: Value = serde_json::from_str(&said(&["schema"])).unwrap();
    jsonschema::draft7::meta::validate(&schema).unwrap();
    jsonschema::draft7::new(&schema).unwrap()
}

/// The paths and words of what is wrong with `text` by the schema.
fn wrong(validator: &Validator, text: &str) -> Vec<String> {
    let value: toml::Table = toml::from_str(text).unwrap();
    let value = serde_json::to_value(value).unwrap();
    validator.iter_errors(&value).map(|err| format!("{}: {err}", err.instance_path())).collect()
}

const APP: &str = "[[apps]]\nsdk_app_id = 1\nname = \"main\"\nsignature = \"off\"\n";

/// What the schema and `dispatcher check` say of the same file: nothing, or something.
#[track_caller]
fn check(validator: &Validator, text: &str, is_fine: bool) {
    let text = format!("{APP}{text}");
    let wrong = wrong(validator, &text);
    assert_eq!(wrong.is_empty(), is_fine, "the schema says {wrong:#?} of:\n{text}");
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("dispatcher.toml"), &text).unwrap();
    let mut program = Command::new(DISPATCHER);
    program.arg("check").current_dir(folder.path()).env("TIME", "5s").env("WORD", "debug");
    let output = program.output().unwrap();
    assert_eq!(output.status.success(), is_fine, "{}\nof:\n{text}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_schema_takes_what_the_program_takes() {
    let validator = validator();
    for text in [
        "",
        "[intake]\nanswer_within = \"1s 500ms\"\nthreads = 2\nlisten = \"127.0.0.1:0\"",
        "[intake]\ndrain = \"${TIME}\"\n[log]\nlevel = \"${WORD}\"",
        "[journal]\nmax_size = \"off\"\nkeep_dead_letters_for = \"30d\"\ndedupe = { window = \"0s\" }\nwhen_blocked = \"dead-letter\"",
        "[commands.\"Group.*\"]\nkeep_for = \"10d\"\n[commands.\"*\"]\ndefault_decision = \"allow\"",
        "[handlers.forward]\nsinks = [\"a\"]\n[sinks.a]\ntype = \"log\"\nlanes = 1\ninclude_data = true",
        "[handlers.all]\ntype = \"forward\"\nstart = \"oldest\"\nattempts = \"off\"\nlanes = 9",
        // Called as a plugin is, and another.
        "[handlers.forward]\ntype = \"word-filter\"\nwords = [\"x\"]\norder = -3\nemit = [\"refused\"]",
        "[handlers.word-filter]\nwords = [\"x\"]\nif_late = \"allow\"",
        "[handlers.endpoint]\nurl = \"https://example.com/\"\nheaders = { Authorization = { file = \"/proc/version\" }, X = \"y\" }",
        "[sinks.b]\ntype = \"http\"\nurl = \"https://example.com/\"\nrate = \"30/m\"\nbackoff = { factor = 1.5 }\nstart = \"2026-01-02T15:04:05Z\"",
        "[sinks.c]\ntype = \"file\"\npath = \"x\"\nrotate_size = \"1.5GiB\"\ncompress = \"gzip\"",
    ] {
        check(&validator, text, true);
    }
}

#[test]
fn the_schema_refuses_what_the_program_refuses() {
    let validator = validator();
    for text in [
        "[intakes]",
        "[intake]\nlistne = \"127.0.0.1:0\"",
        "[intake]\nanswer_within = 1500",
        "[intake]\nbody_limit = \"1000\"",
        "[intake]\nmax_connections = 0",
        "[journal]\nsync = \"sometimes\"",
        "[journal]\nmax_size = \"of\"",
        "[commands.\"*\"]\njournal = \"maybe\"",
        "[handlers.mine]\nsinks = []",
        "[handlers.mine]\ntype = \"no-such\"",
        "[handlers.\"a b\"]\ntype = \"forward\"",
        "[handlers.forward]\nurl = \"https://example.com\"",
        "[handlers.forward]\norder = 1",
        "[handlers.forward]\ntype = \"word-filter\"\nurl = \"x\"",
        "[handlers.word-filter]\nwords = [\"x\"]\nlanes = 4",
        "[handlers.word-filter]\nwords = \"x\"",
        "[handlers.endpoint]\nformat = \"raw\"",
        "[handlers.endpoint]\nurl = \"https://example.com/\"\nheaders = { X = { path = \"y\" } }",
        "[sinks.a]\npath = \"x\"",
        "[sinks.a]\ntype = \"file\"",
        "[sinks.a]\ntype = \"file\"\npath = \"x\"\nlanes = 2",
        "[sinks.a]\ntype = \"log\"\nsinks = []",
        "[sinks.a]\ntype = \"log\"\nrate = \"10/d\"",
        "[sinks.a]\ntype = \"log\"\nbackoff = { frist = \"1s\" }",
    ] {
        check(&validator, text, false);
    }
    assert_eq!(wrong(&validator, "").len(), 1, "an app is required");
}

#[test]
fn samples_of_the_documents_fit_the_schema() {
    let validator = validator();
    let shipped = fs::read_to_string(Path::new(ROOT).join("dispatcher.toml")).unwrap();
    assert_eq!(wrong(&validator, &shipped), [""; 0]);
    for entry in fs::read_dir(Path::new(ROOT).join("crates")).unwrap() {
        let Ok(readme) = fs::read_to_string(entry.unwrap().path().join("README.md")) else { continue };
        for sample in readme.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            // Others are pieces of a section, or of a manifest.
            if sample.trim_start().starts_with("[handlers.") || sample.trim_start().starts_with("[sinks.") {
                assert_eq!(wrong(&validator, &format!("{APP}{sample}")), [""; 0], "{sample}");
            }
        }
    }
}

#[test]
fn shells_are_told_how_to_complete() {
    for (shell, word) in [("bash", "complete -F"), ("zsh", "#compdef dispatcher"), ("fish", "complete -c dispatcher")] {
        let script = said(&["completions", shell]);
        assert!(script.contains(word) && script.contains("dead-letters"), "{shell}: {script}");
    }
}

#[test]
fn what_is_in_force_is_shown_with_its_origin_and_without_secrets() {
    let folder = TempDir::new().unwrap();
    let text = "\
[intake]
drain = \"${TIME_TO_DRAIN}\"
[[apps]]
sdk_app_id = 1
name = \"main\"
tokens = [\"${FIRST_OF_TWO}\", \"written-sentinel\"]
[handlers.all]
type = \"forward\"
sinks = [\"relay\"]
[sinks.relay]
type = \"http\"
url = \"https://example.com/in?t=url-sentinel\"
headers = { Authorization = \"header-sentinel\", X = { file = \"h\" } }
allow_networks = [\"${NETWORK_PASSWORD}\"]
";
    fs::write(folder.path().join("dispatcher.toml"), text).unwrap();
    fs::write(folder.path().join("h"), "file-sentinel").unwrap();
    let show = |args: &[&str]| {
        let mut program = Command::new(DISPATCHER);
        program.arg("config").args(args).current_dir(folder.path());
        program
            .env("TIME_TO_DRAIN", "7s")
            .env("FIRST_OF_TWO", "variable-sentinel")
            .env("NETWORK_PASSWORD", "10.1.2.0/24");
        let output = program.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains("sentinel") && !text.contains("10.1.2"), "{text}");
        text
    };
    let shown = show(&[]);
    let squeezed: Vec<String> =
        shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for line in [
        "drain = \"7s\" # dispatcher.toml:2, environment: TIME_TO_DRAIN",
        "listen = \"127.0.0.1:8080\" # default",
        "dedupe.window = \"10m\" # default",
        "tokens = [\"(secret)\", \"(secret)\"] # dispatcher.toml:6, environment: FIRST_OF_TWO",
        "signature = \"required\" # default",
        "[handlers.all]",
        "phase = \"after\" # default",
        "commands = [\"*\"] # default",
        "backoff.factor = 2.0 # default",
        "url = \"https://example.com/in?…\" # dispatcher.toml:12",
        "headers = { Authorization = \"(secret)\", X = { file = \"h\" } } # dispatcher.toml:13",
        "allow_networks = [\"(secret)\"] # dispatcher.toml:14, environment: NETWORK_PASSWORD",
        "lanes = 16 # default",
    ] {
        assert!(squeezed.iter().any(|shown| shown == line), "{line:?} is not in\n{shown}");
    }
    assert!(!shown.contains("otlp"), "a table that is not there has nothing in force: {shown}");
    let table: toml::Table = toml::from_str(&shown).unwrap();
    assert_eq!(table["intake"]["answer_within"].as_str(), Some("1s 500ms"), "it is TOML again");
    let told: Value = serde_json::from_str(&show(&["--json"])).unwrap();
    let drain = told["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == "drain").unwrap();
    let expected = serde_json::json!({
        "section": "[intake]", "key": "drain", "value": "7s", "origin": "environment", "line": 2, "variables": ["TIME_TO_DRAIN"]
    });
    assert_eq!(*drain, expected);
}
