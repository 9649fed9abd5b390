//! Every input of the corpus keeps the property that its fuzz target looks at.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{fs, panic, path::Path};

use dispatcher_fuzz::PROPERTIES;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/corpus");

/// What the repository is to carry, in bytes.
const MOST: u64 = 400 << 10;

#[track_caller]
fn replay(name: &str) {
    let (_, property) = PROPERTIES.into_iter().find(|(known, _)| *known == name).unwrap();
    let (mut inputs, mut broken) = (0, Vec::new());
    for entry in fs::read_dir(Path::new(CORPUS).join(name)).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        inputs += 1;
        if panic::catch_unwind(|| property(&bytes)).is_err() {
            broken.push(path);
        }
    }
    assert!(inputs > 10, "the corpus of {name} has {inputs} inputs");
    assert!(broken.is_empty(), "what holds for {name} does not for {broken:#?}");
}

#[test]
fn body() {
    replay("body");
}

#[test]
fn configuration() {
    replay("configuration");
}

#[test]
fn control() {
    replay("control");
}

#[test]
fn query() {
    replay("query");
}

#[test]
fn each_property_has_a_target_and_a_corpus_and_they_are_small() {
    let mut folders: Vec<String> = names(CORPUS);
    folders.sort();
    assert_eq!(folders, PROPERTIES.map(|(name, _)| name));
    let mut targets = names(concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/fuzz_targets"));
    targets.sort();
    assert_eq!(targets, PROPERTIES.map(|(name, _)| format!("{name}.rs")));
    let files = folders.iter().flat_map(|name| fs::read_dir(Path::new(CORPUS).join(name)).unwrap());
    let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes <= MOST, "the corpus has {bytes} bytes; minimise it, as the README says");
}

fn names(folder: &str) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}
