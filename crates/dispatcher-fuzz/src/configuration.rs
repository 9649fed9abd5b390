//! The configuration: any text is one, or is told what is wrong with it, line by line.

use std::{cell::OnceCell, env, fs, path::Path, sync::LazyLock};

use dispatcher_config::{Config, Finding, effective};
use dispatcher_core::Registry;
use tempfile::TempDir;
use toml::de::DeTable;

/// What the variable `TOKEN` holds. Nothing that is shown may hold it.
const TOKEN: &str = "not-for-everyone";

/// With the bundled plugins, whose settings are read as well.
static REGISTRY: LazyLock<Registry> =
    LazyLock::new(|| dispatcher::registry(dispatcher::Plugins::default()).expect("the bundled plugins fit together"));

/// A text, as `dispatcher.toml`, in a folder with a file of words and one of a secret.
///
/// # Panics
/// A finding is not at a line of the text that has to do with it, is not one line, or shows a secret; the same text is told
/// two things; the folder is not as it was.
pub fn configuration(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    FOLDER.with(|folder| {
        let folder = folder.get_or_init(working_folder);
        check(text);
        let files = FILES.map(|(name, content)| (name.to_owned(), content.to_owned()));
        assert_eq!(contents(folder.path()), files, "reading a configuration changed something:\n{text}");
    });
}

fn check(text: &str) {
    let environment = |name: &str| match name {
        "TOKEN" => Some(TOKEN.to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    let read = || match Config::parse("f.toml", text, &REGISTRY, &environment) {
        Ok(config) => (true, vec![], config.warnings),
        Err(findings) => (false, findings.errors, findings.warnings),
    };
    let told = read();
    assert_eq!(told, read(), "{text}");
    let (is_fine, errors, warnings) = told;
    assert_eq!(is_fine, errors.is_empty(), "{text}");
    let sections: Option<Vec<String>> =
        DeTable::parse(text).ok().map(|table| table.get_ref().keys().map(|key| key.get_ref().to_string()).collect());
    assert!(!is_fine || sections.is_some(), "this is no TOML, and fine:\n{text}");
    let shown = effective("f.toml", text, &REGISTRY, &environment);
    assert_eq!(shown.is_ok(), is_fine, "{text}");
    for setting in shown.into_iter().flatten() {
        assert!(text.contains(TOKEN) || !format!("{setting:?}").contains(TOKEN), "{setting:?} shows a secret\n{text}");
    }
    for findings in [&errors, &warnings] {
        assert!(findings.is_sorted_by_key(|finding| finding.line), "not in the order of lines: {findings:?}\n{text}");
        for finding in findings {
            check_finding(finding, text, sections.as_deref());
        }
    }
}

fn check_finding(finding: &Finding, text: &str, sections: Option<&[String]>) {
    let Finding { line, key, message, .. } = finding;
    let shown = finding.to_string();
    assert!(!message.is_empty() && !shown.contains(char::is_control), "{shown:?} is not one line of text\n{text}");
    assert!(text.contains(TOKEN) || !shown.contains(TOKEN), "{shown:?} shows a secret\n{text}");
    assert!(*line <= text.split('\n').count(), "{shown:?} is at no line of\n{text}");
    // What is missing has no line: only that.
    let first = key.split(['.', '[']).next().unwrap_or_default();
    let is_missing = |sections: &[String]| key.is_empty() || !sections.iter().any(|section| section == first);
    let may_have_none = sections.is_some_and(is_missing);
    assert!(*line > 0 || may_have_none, "{shown:?} has no line, and there is one to name\n{text}");
}

/// The files of the working folder.
const FILES: [(&str, &str); 2] = [("secret", "from a file"), ("words.txt", "# of ours\nspam\n")];

thread_local! {
    static FOLDER: OnceCell<TempDir> = const { OnceCell::new() };
}

/// A folder with these files, in which the process then works.
fn working_folder() -> TempDir {
    let folder = TempDir::new().expect("there is a folder for temporary files");
    for (name, content) in FILES {
        fs::write(folder.path().join(name), content).expect("a new folder can be written to");
    }
    env::set_current_dir(&folder).expect("a new folder can be entered");
    folder
}

fn contents(folder: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(folder).expect("the folder is still there").map_while(Result::ok);
    let read = |path: &Path| fs::read_to_string(path).unwrap_or_default();
    let mut contents: Vec<_> =
        entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), read(&entry.path()))).collect();
    contents.sort();
    contents
}
