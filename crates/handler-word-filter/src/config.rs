//! The settings, and what is looked for by them.

use std::path::PathBuf;

use async_trait::async_trait;
use dispatcher_core::{CheckContext, HandlerConfig, OpenContext, OpenError, SettingError};
use regex::RegexBuilder;
use schemars::JsonSchema;
use serde::Deserialize;
use tencent_chat::{ReplyFamily, decision_rules};

use crate::{
    handler::{Action, WordFilter},
    list::{self, Place, Word},
    matcher::{Matcher, sought},
};

/// `[handlers.<name>]` with `type = "word-filter"`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WordFilterConfig {
    /// Words to look for. A word may have blanks in it. None by default.
    #[serde(default)]
    words: Vec<String>,

    /// Files with more of them: text in UTF-8, a word on each line; empty lines and lines that begin with `#` are passed
    /// over. Read once, at start. None by default.
    #[serde(default)]
    words_files: Vec<PathBuf>,

    /// Regular expressions to look for (the syntax of Rust's `regex`), where words are not enough: each is a search of its own
    /// through every text. None by default.
    #[serde(default)]
    patterns: Vec<String>,

    /// What to do with a message in which something is found. `"refuse"` (the default: the sender learns of it), `"mask"`:
    /// deliver it with every character of what was found replaced; `"drop"`: its sender sees it as sent, and nobody gets it.
    #[serde(default)]
    action: ActionName,

    /// With `action = "refuse"`: what the sender is shown. Without it (the default) that is up to the client.
    #[serde(default)]
    message: Option<String>,

    /// With `action = "refuse"`: the error code that the sender's client gets, 120001 to 130000 for messages between two and
    /// of official accounts, 10100 to 10200 in groups. Where a command does not have it, and by default, `message` goes with
    /// the first code of the command's range.
    #[serde(default)]
    code: Option<u32>,

    /// With `action = "mask"`: the character that stands in the place of each one found. Default `"*"`.
    #[serde(default = "default_mask")]
    mask: String,

    /// Whether a word counts only where it is no part of a longer one. Default `false`: scripts without blanks between words
    /// need that.
    #[serde(default)]
    whole_words: bool,

    /// Whether letter case, full and half width, ligatures and other forms of one character, characters that cannot be seen,
    /// and how many blanks and line breaks follow each other make no difference. Default `true`. Patterns are then held
    /// against a text in which small letters of normal width stand for all these, and one blank for each run of blanks and
    /// line breaks.
    #[serde(default = "default_fold")]
    fold: bool,
}

/// What to do with a message in which something is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum ActionName {
    /// Refuse it.
    #[default]
    Refuse,
    /// Deliver it with what was found masked.
    Mask,
    /// Drop it silently.
    Drop,
}

fn default_mask() -> String {
    "*".to_owned()
}

fn default_fold() -> bool {
    true
}

/// What a single pattern may take of memory once it is compiled, in bytes.
const LARGEST_PATTERN: usize = 2 << 20;

#[async_trait]
impl HandlerConfig for WordFilterConfig {
    type Handler = WordFilter;

    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        self.read().map(drop)
    }

    fn files(&self) -> Vec<PathBuf> {
        self.words_files.clone()
    }

    async fn open(&self, _: &OpenContext) -> Result<WordFilter, OpenError> {
        Ok(self.read()?)
    }
}

impl WordFilterConfig {
    /// Makes the handler, or finds all that keeps it from being made.
    fn read(&self) -> Result<WordFilter, Vec<SettingError>> {
        let mut findings = Vec::new();
        let words = self.listed(&mut findings);
        let patterns = self.compiled(&mut findings);
        if self.words.is_empty() && self.words_files.is_empty() && self.patterns.is_empty() {
            findings
                .push(SettingError::new("words", "there is nothing to look for; list words, words_files or patterns"));
        }
        let action = self.action(&words, &mut findings);
        let action = action.filter(|_| findings.is_empty()).ok_or(findings)?;
        let matcher = Matcher::new(words, patterns, self.fold, self.whole_words);
        let matcher = matcher.map_err(|err| vec![SettingError::new("words", format!("too many words: {err}"))])?;
        let files = self.words_files.iter().map(|path| path.display().to_string()).collect();
        Ok(WordFilter { matcher, action, files })
    }

    fn listed(&self, findings: &mut Vec<SettingError>) -> Vec<Word> {
        let own = self.words.iter().enumerate();
        let mut words: Vec<Word> =
            own.map(|(idx, text)| Word { text: text.clone(), place: Place::Word(idx) }).collect();
        for (idx, path) in self.words_files.iter().enumerate() {
            match list::read(idx, path) {
                Ok(read) => words.extend(read),
                Err(message) => findings.push(at("words_files", idx, message)),
            }
        }
        for word in &words {
            if !sought(&word.text, self.fold).trim().is_empty() {
                continue;
            }
            findings.push(match word.place {
                Place::Word(idx) => at("words", idx, "there is nothing in it that can be seen; remove it".to_owned()),
                Place::Line(file, line) => {
                    let path = self.words_files[file].display();
                    at(
                        "words_files",
                        file,
                        format!("{path}:{line}: there is nothing in it that can be seen; remove it"),
                    )
                }
                Place::Pattern(_) => continue,
            });
        }
        words
    }

    fn compiled(&self, findings: &mut Vec<SettingError>) -> Vec<regex::Regex> {
        let mut compiled = Vec::with_capacity(self.patterns.len());
        for (idx, pattern) in self.patterns.iter().enumerate() {
            let built = RegexBuilder::new(pattern)
                .case_insensitive(self.fold)
                .size_limit(LARGEST_PATTERN)
                .dfa_size_limit(LARGEST_PATTERN)
                .build();
            match built {
                Ok(_) if can_fit_nothing(pattern) => {
                    let message = "it can fit where nothing is; write a pattern that takes a character at least";
                    findings.push(at("patterns", idx, message.to_owned()));
                }
                Ok(regex) => compiled.push(regex),
                Err(regex::Error::CompiledTooBig(_)) => {
                    let message = "it takes more than 2 MiB once it is compiled; repeat less in it, or split it";
                    findings.push(at("patterns", idx, message.to_owned()));
                }
                Err(err) => findings.push(at("patterns", idx, one_line(&err.to_string()))),
            }
        }
        compiled
    }

    fn action(&self, words: &[Word], findings: &mut Vec<SettingError>) -> Option<Action> {
        if self.action != ActionName::Refuse {
            for (key, is_set) in [("message", self.message.is_some()), ("code", self.code.is_some())] {
                if is_set {
                    findings.push(SettingError::new(key, "is for action = \"refuse\"; leave it out, or refuse"));
                }
            }
        }
        match self.action {
            ActionName::Refuse => {
                if self.code.is_some_and(|code| !is_code_of_a_message(code)) {
                    let message = "is no code that a client can get; write one of 120001 to 130000 (messages between two, \
                                   official accounts) or of 10100 to 10200 (groups)";
                    findings.push(SettingError::new("code", message));
                }
                Some(Action::Refuse { code: self.code, message: self.message.clone() })
            }
            ActionName::Mask => {
                let mask = self.mask(words);
                mask.map_err(|message| findings.push(SettingError::new("mask", message))).ok().map(Action::Mask)
            }
            ActionName::Drop => Some(Action::Drop),
        }
    }

    fn mask(&self, words: &[Word]) -> Result<char, String> {
        let mut chars = self.mask.chars();
        let (Some(mask), None) = (chars.next(), chars.next()) else {
            return Err(format!("{:?} is not one character; write one, such as \"*\"", self.mask));
        };
        // A mark would merge with the character before it.
        if mask.is_control() || !stands_alone(mask) {
            return Err(format!("{mask:?} does not stand by itself; write a character that does, such as \"*\""));
        }
        let seen = sought(&self.mask, self.fold);
        match words.iter().find(|word| sought(&word.text, self.fold).contains(&*seen)) {
            Some(Word { text, .. }) => {
                Err(format!("{mask:?} is in a word that is looked for, {text:?}; write a character that is in none"))
            }
            None => Ok(mask),
        }
    }
}

/// Whether `mask` is seen, and merges with nothing before or behind it.
fn stands_alone(mask: char) -> bool {
    use unicode_normalization::char::{canonical_combining_class, is_combining_mark};
    canonical_combining_class(mask) == 0 && !is_combining_mark(mask) && !sought(&mask.to_string(), true).is_empty()
}

/// Whether there may be a place, in some text, where `pattern` fits and takes nothing.
fn can_fit_nothing(pattern: &str) -> bool {
    regex_syntax::parse(pattern).is_ok_and(|parsed| parsed.properties().minimum_len() == Some(0))
}

fn is_code_of_a_message(code: u32) -> bool {
    tencent_chat::commands().iter().filter_map(|info| decision_rules(info.name)).any(|rules| {
        rules.family == ReplyFamily::Message && rules.custom_codes.as_ref().is_some_and(|codes| codes.contains(&code))
    })
}

fn at(key: &str, idx: usize, message: String) -> SettingError {
    SettingError::at(vec![key.to_owned(), format!("[{idx}]")], message)
}

/// The last line of what `regex` says, which is what is wrong; those before it draw where.
fn one_line(message: &str) -> String {
    let last = message.lines().last().unwrap_or(message);
    last.strip_prefix("error: ").unwrap_or(last).to_owned()
}
