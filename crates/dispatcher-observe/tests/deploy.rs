//! What is shipped beside the metrics speaks of metrics that there are.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{fs, path::Path, process::Command};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy");
const README: &str = include_str!("../README.md");

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(FOLDER).join(name)).unwrap()
}

/// The names in `text` that look like metrics.
fn metrics(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_lowercase() && c != '_');
    let names = words.filter(|word| word.starts_with("dispatcher_") || word.starts_with("process_"));
    let family = |name: &str| {
        let suffix = ["_bucket", "_sum", "_count"].into_iter().find_map(|suffix| name.strip_suffix(suffix));
        suffix.unwrap_or(name).to_owned()
    };
    names.map(family).collect()
}

#[test]
fn alerts_and_dashboard_name_metrics_that_there_are() {
    for name in ["alerts.yml", "alerts-test.yml", "dashboard.json"] {
        let named = metrics(&file(name));
        assert!(named.len() > 4, "{name} names {named:?}");
        for metric in named {
            assert!(README.contains(&format!("| `{metric}` |")), "{name} names {metric}, which is not in the README");
        }
    }
}

#[test]
fn the_dashboard_is_one() {
    let dashboard: serde_json::Value = serde_json::from_str(&file("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(panels.len() > 8);
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(panel["title"].is_string() && panel["targets"][0]["expr"].is_string(), "{panel:#}");
    }
}

#[test]
fn promtool_passes_the_rules() {
    for arguments in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts-test.yml"]] {
        match Command::new("promtool").args(arguments).current_dir(FOLDER).output() {
            Ok(output) => {
                assert!(output.status.success(), "promtool {arguments:?} says: {output:?}");
            }
            // A check that a CI passes over is none.
            Err(err) => {
                let is_ci = std::env::var_os("CI").is_some();
                assert!(!is_ci, "promtool does not run ({err}); install Debian's package prometheus");
                eprintln!(
                    "NOT CHECKED, and skipped, since promtool does not run ({err}); Debian has it in the package prometheus"
                );
                return;
            }
        }
    }
}
