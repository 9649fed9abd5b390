//! The file as text, as values, and where each value stands in it.

use std::{cmp::Reverse, collections::HashMap, ops::Range};

use serde_json::{Map, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{Finding, Findings, key_path::KeyPath};

/// Looks a variable of the environment up.
pub(crate) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A variable's value of so many bytes may be a secret in the wrong place, and stands in no message. A shorter one protects
/// nothing, and would be taken out of words that it happens to be in.
const SECRET: usize = 8;

/// The file and what has been found in it so far.
pub(crate) struct Source {
    places: Places,
    /// The names of the variables in each value that has some.
    expanded: HashMap<KeyPath, Vec<String>>,
    unspoken: Vec<String>,
    errors: Vec<Finding>,
    for_now: Vec<Finding>,
    warnings: Vec<Finding>,
}

impl Source {
    /// Reads `text` into JSON values – the form in which settings are decoded, plugins' too, so that none of them has to
    /// know TOML – with `${VARIABLE}` in strings replaced.
    pub(crate) fn read(file: &str, text: &str, environment: Environment<'_>) -> (Source, Map<String, Value>) {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(breaks).collect();
        let places = Places { file: file.to_owned(), line_starts, positions: HashMap::new() };
        let mut source = Source {
            places,
            expanded: HashMap::new(),
            unspoken: Vec::new(),
            errors: vec![],
            for_now: vec![],
            warnings: vec![],
        };
        let (table, syntax_errors) = DeTable::parse_recoverable(text);
        for err in syntax_errors {
            let line = err.span().map_or_else(|| line_of_long_key(text), |span| source.places.line(span.start));
            let (file, message) = (file.to_owned(), in_one_line(&err.message().replace('\n', "; ")));
            source.errors.push(Finding { file, line, key: String::new(), message });
        }
        // What the parser saved of a broken file would only bring errors that are not there.
        let root = if source.errors.is_empty() {
            source.table(&KeyPath::default(), table.into_inner(), environment)
        } else {
            Map::new()
        };
        (source, root)
    }

    /// Something that keeps the dispatcher from starting.
    pub(crate) fn error(&mut self, path: &KeyPath, message: impl Into<String>) {
        let finding = self.finding(path, message.into());
        self.errors.push(finding);
    }

    /// Something that keeps a sink from being opened for now. It is an error where there are others.
    pub(crate) fn for_now(&mut self, path: &KeyPath, message: impl Into<String>) -> Finding {
        let finding = self.finding(path, message.into());
        self.for_now.push(finding.clone());
        finding
    }

    /// Something that is likely not meant.
    pub(crate) fn warn(&mut self, path: &KeyPath, message: impl Into<String>) {
        let finding = self.finding(path, message.into());
        self.warnings.push(finding);
    }

    fn finding(&self, path: &KeyPath, mut message: String) -> Finding {
        for value in &self.unspoken {
            message = message.replace(value, "…");
        }
        self.places.finding(&path.to_string(), message)
    }

    /// How many errors there are so far.
    pub(crate) fn n_errors(&self) -> usize {
        self.errors.len()
    }

    /// Whether there is an error at `path` or below it. What else is wrong with that key mostly follows from it.
    pub(crate) fn has_error(&self, path: &KeyPath) -> bool {
        self.errors.iter().any(|finding| is_around(&path.to_string(), &finding.key))
    }

    /// Whether variables stand in the value at `path`.
    pub(crate) fn is_expanded(&self, path: &KeyPath) -> bool {
        self.expanded.contains_key(path)
    }

    /// The names of the variables that stand in the value at `path` itself.
    pub(crate) fn variables(&self, path: &KeyPath) -> &[String] {
        self.expanded.get(path).map_or(&[], Vec::as_slice)
    }

    /// The line at which the value at `path` stands, or what is nearest around it.
    pub(crate) fn line(&self, path: &KeyPath) -> usize {
        self.places.finding(&path.to_string(), String::new()).line
    }

    /// All of it, in the order of lines, and where each key stands.
    pub(crate) fn into_findings(mut self) -> (Findings, Places) {
        if !self.errors.is_empty() {
            self.errors.append(&mut self.for_now);
        }
        self.errors.sort_by_key(|finding| finding.line);
        self.warnings.sort_by_key(|finding| finding.line);
        (Findings { errors: self.errors, warnings: self.warnings }, self.places)
    }

    fn table(&mut self, path: &KeyPath, table: DeTable<'_>, environment: Environment<'_>) -> Map<String, Value> {
        let mut map = Map::new();
        for (key, value) in table {
            let at = key.span();
            let path = path.key(key.get_ref());
            let value = self.value(&path, at, value, environment);
            map.insert(key.into_inner().into_owned(), value);
        }
        map
    }

    fn value(
        &mut self,
        path: &KeyPath,
        at: Range<usize>,
        value: Spanned<DeValue<'_>>,
        environment: Environment<'_>,
    ) -> Value {
        self.places.positions.insert(path.to_string(), at.start);
        match value.into_inner() {
            DeValue::String(text) => Value::String(self.expand(path, &text, environment)),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => number.into(),
                Err(_) => {
                    self.error(path, "the number is too large; write one below 2^63");
                    Value::Null
                }
            },
            // TOML's `inf` and `nan` have no JSON form; no setting wants them.
            DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, Value::from),
            DeValue::Boolean(truth) => truth.into(),
            DeValue::Datetime(time) => time.to_string().into(),
            DeValue::Array(array) => {
                let elements = array.into_iter().enumerate().map(|(idx, element)| {
                    let at = element.span();
                    self.value(&path.index(idx), at, element, environment)
                });
                Value::Array(elements.collect())
            }
            DeValue::Table(table) => Value::Object(self.table(path, table, environment)),
        }
    }

    /// A text with its variables replaced; `None` where that cannot be.
    pub(crate) fn expanded(text: &str, environment: Environment<'_>) -> Option<String> {
        let (mut source, _) = Source::read("", "", environment);
        let expanded = source.expand(&KeyPath::default(), text, environment);
        (source.n_errors() == 0).then_some(expanded)
    }

    /// Replaces each `${VARIABLE}`; `$${` stands for `${` itself.
    fn expand(&mut self, path: &KeyPath, text: &str, environment: Environment<'_>) -> String {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, from) = rest.split_at(at);
            if let Some(escaped) = before.strip_suffix('$') {
                expanded.push_str(escaped);
                expanded.push_str("${");
                rest = &from[2..];
                continue;
            }
            expanded.push_str(before);
            let Some(end) = from.find('}') else {
                self.error(path, "`${` without `}`; write ${VARIABLE}, or $${ for these two characters themselves");
                return expanded;
            };
            let name = &from[2..end];
            self.expanded.entry(path.clone()).or_default().push(name.to_owned());
            match environment(name).as_deref() {
                _ if name.is_empty() => self.error(path, "`${}` names no variable; write ${VARIABLE}"),
                Some("") => self.error(path, format!("the environment variable {name} is empty; set it to a value")),
                Some(value) => {
                    expanded.push_str(value);
                    if value.len() >= SECRET && !self.unspoken.iter().any(|known| known == value) {
                        // As it is, and as it is quoted.
                        let quoted = format!("{value:?}");
                        self.unspoken.extend([value.to_owned(), quoted[1..quoted.len() - 1].to_owned()]);
                        self.unspoken.sort_by_key(|value| Reverse(value.len())); // One may be part of another.
                    }
                }
                None => self.error(
                    path,
                    format!("the environment variable {name} is not set; set it before the start, in UTF-8"),
                ),
            }
            rest = &from[end + 1..];
        }
        expanded.push_str(rest);
        expanded
    }
}

/// Where each key stands in the file.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    file: String,
    line_starts: Vec<usize>,
    positions: HashMap<String, usize>,
}

impl Places {
    /// A finding about `key`, at its line, or at that of the nearest section around it that is in the file.
    pub(crate) fn finding(&self, key: &str, message: String) -> Finding {
        let around = self.positions.iter().filter(|(known, _)| is_around(known, key));
        let nearest = around.max_by_key(|(known, _)| known.len());
        let line = nearest.map_or(0, |(_, at)| self.line(*at));
        Finding { file: self.file.clone(), line, key: key.to_owned(), message: in_one_line(&message) }
    }

    fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }
}

/// The parser does not say where a key has more parts than it follows; one is in one line. Zero: in none.
fn line_of_long_key(text: &str) -> usize {
    let is_long = |line: &str| line.bytes().filter(|byte| *byte == b'.').count() >= 80;
    text.split('\n').position(is_long).map_or(0, |line| line + 1)
}

/// Names in the file may hold line breaks, and what a terminal obeys.
fn in_one_line(message: &str) -> String {
    let mut line = String::with_capacity(message.len());
    for char in message.chars() {
        match char.is_control() {
            true => line.extend(char.escape_debug()),
            false => line.push(char),
        }
    }
    line
}

fn is_around(known: &str, path: &str) -> bool {
    path.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> (Findings, Value) {
        let environment = |name: &str| match name {
            "SET" => Some("value".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        let (source, root) = Source::read("f.toml", text, &environment);
        (source.into_findings().0, Value::Object(root))
    }

    #[test]
    fn variables_are_replaced_in_strings() {
        let (findings, root) = read("a = \"${SET}\"\nb = [\"x${SET}y${SET}\", \"$${SET}\"]\nn = 0x10");
        assert_eq!(findings.errors, []);
        assert_eq!(root, json!({"a": "value", "b": ["xvalueyvalue", "${SET}"], "n": 16}));
    }

    #[test]
    fn a_message_is_one_line_and_shows_no_variable_that_may_be_a_secret() {
        let environment = |name: &str| Some(if name == "LONG" { "hunter2\"hunter2" } else { "short" }.to_owned());
        let (mut source, _) = Source::read("f.toml", "a = \"${LONG}\"\nb = \"${SHORT}\"", &environment);
        let path = KeyPath::default().key("a");
        source.error(&path, format!("{:?} and short\n{}\u{1b}[31m", "hunter2\"hunter2", "hunter2\"hunter2"));
        source.warn(&path, "is hunter2\"hunter2");
        let (findings, _) = source.into_findings();
        assert_eq!(findings.to_string(), "f.toml:1: a: \"…\" and short\\n…\\u{1b}[31m");
        assert_eq!(findings.warnings[0].message, "is …");
    }

    #[test]
    fn a_key_of_too_many_parts_is_told_its_line() {
        let (findings, _) = read(&format!("a = 1\nb{} = 2\n", ".b".repeat(80)));
        assert_eq!(findings.to_string(), "f.toml:2: recursion limit");
        assert_eq!(read(&format!("a = 1\nb{} = 2\n", ".b".repeat(79))).0.errors, []);
    }

    #[test]
    fn unset_and_empty_variables_are_errors_at_their_line() {
        let (findings, _) = read("\n[s]\na = \"${UNSET}\"\nb = [\n  \"${EMPTY}\",\n  \"${SET\"\n]");
        let expected = "\
f.toml:3: s.a: the environment variable UNSET is not set; set it before the start, in UTF-8
f.toml:5: s.b[0]: the environment variable EMPTY is empty; set it to a value
f.toml:6: s.b[1]: `${` without `}`; write ${VARIABLE}, or $${ for these two characters themselves";
        assert_eq!(findings.to_string(), expected);
    }
}
