//! The words and patterns of the settings, each with the place where it stands.

use std::{
    fmt,
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

/// Where a word or a pattern stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In `words`, at this index.
    Word(usize),
    /// In the file at this index of `words_files`, on this line, from 1.
    Line(usize, usize),
    /// In `patterns`, at this index.
    Pattern(usize),
}

impl Place {
    /// For people; the names of the files are those of the settings.
    pub(crate) fn show<'a>(&'a self, files: &'a [String]) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| match self {
            Place::Word(idx) => write!(f, "words[{idx}]"),
            Place::Line(file, line) => write!(f, "{}:{line}", files.get(*file).map_or("words_files", String::as_str)),
            Place::Pattern(idx) => write!(f, "patterns[{idx}]"),
        })
    }
}

/// A word of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) place: Place,
}

/// Larger files are no lists of words.
const LARGEST_FILE: u64 = 16 << 20;

/// Reads the words of the file at `path`: one per line, without the blanks around it; empty lines and lines that begin with
/// `#` are passed over. `idx` is the file's own in `words_files`.
///
/// # Errors
/// What is wrong, and with which file and line.
pub(crate) fn read(idx: usize, path: &Path) -> Result<Vec<Word>, String> {
    let bytes = bytes(path).map_err(|err| format!("cannot read {}: {err}", path.display()))?;
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
    let mut words = Vec::new();
    for (line, bytes) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = line + 1;
        let text = str::from_utf8(bytes)
            .map_err(|_| format!("{}:{line}: is not UTF-8; save the file in that encoding", path.display()))?;
        let text = text.trim();
        if !text.is_empty() && !text.starts_with('#') {
            words.push(Word { text: text.to_owned(), place: Place::Line(idx, line) });
        }
    }
    Ok(words)
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe could keep the start waiting for ever, and so could reading one.
    let is_file = fs::metadata(path)?.is_file();
    let file = if is_file { Some(File::open(path)?) } else { None };
    let Some(file) = file.filter(|file| file.metadata().is_ok_and(|metadata| metadata.is_file())) else {
        return Err(io::Error::other("it is not a file; write the path of a text file with a word on each line"));
    };
    let mut bytes = Vec::new();
    file.take(LARGEST_FILE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("it is larger than 16 MiB; is it a list of words?"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_word_per_line() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("words.txt");
        std::fs::write(&path, "\u{feff}# of ours\n\n  two words \r\n#no\n群\n").unwrap();
        let words: Vec<(String, Place)> =
            read(3, &path).unwrap().into_iter().map(|word| (word.text, word.place)).collect();
        assert_eq!(words, [("two words".to_owned(), Place::Line(3, 3)), ("群".to_owned(), Place::Line(3, 5))]);
    }

    #[test]
    fn errors_name_the_file_and_the_line() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("words.txt");
        std::fs::write(&path, b"one\ntwo \xff\n").unwrap();
        let err = read(0, &path).unwrap_err();
        assert!(err.ends_with("words.txt:2: is not UTF-8; save the file in that encoding"), "{err}");
        let err = read(0, &folder.path().join("none.txt")).unwrap_err();
        assert!(err.starts_with("cannot read") && err.contains("none.txt: "), "{err}");
        let err = read(0, folder.path()).unwrap_err();
        assert!(err.contains("not a file"), "{err}");
    }

    #[cfg(unix)]
    #[test]
    fn nobody_waits_for_a_pipe() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("words.pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || tell.send(read(0, &path)));
        let err = told.recv_timeout(dispatcher_testkit::PATIENCE).expect("it comes back").unwrap_err();
        assert!(err.contains("not a file"), "{err}");
    }
}
