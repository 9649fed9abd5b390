//! The documents and the code say the same.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{fs, path::Path};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

#[test]
fn the_map_names_only_what_is_there_and_every_crate() {
    let map = fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    // Paths stand in backticks and have a slash.
    let paths = map.split('`').skip(1).step_by(2).filter(|text| text.contains('/') && !text.contains(['<', ' ', '*']));
    for path in paths.filter(|path| ["crates/", "examples/", "tests/"].iter().any(|start| path.starts_with(start))) {
        assert!(Path::new(ROOT).join(path).exists(), "ARCHITECTURE.md names {path}, which is not there");
    }
    for folder in ["crates", "examples"] {
        for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
            let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
            assert!(map.contains(&format!("`{name}`")), "ARCHITECTURE.md does not name {name}");
        }
    }
}

#[test]
fn the_samples_of_bundled_plugins_are_in_their_readmes_words() {
    for entry in fs::read_dir(Path::new(ROOT).join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("handler-") && !name.starts_with("sink-") {
            continue;
        }
        let readme = fs::read_to_string(folder.join("README.md")).unwrap();
        assert!(readme.starts_with(&format!("# {name}\n")), "the README of {name} starts with its name");
        assert!(readme.contains("```toml"), "the README of {name} shows how to set it up");
    }
}
