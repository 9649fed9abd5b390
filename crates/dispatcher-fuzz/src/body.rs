//! The body of a callback, held against a reader that parses the same text again at each step.

use std::iter;

use bytes::Bytes;
use dispatcher_intake::{Refusal, fuzzing};
use serde::de::IgnoredAny;
use serde_json::Value;
use tencent_chat::{CommandInBody, Envelope, EnvelopeError, OrderKey, Path, Step, command, inspect};

use crate::json::{Json, parse};

/// A command, a line feed, and a body: the body is taken if it is JSON that says no other command, and its envelope is what
/// the plain reader finds.
///
/// # Panics
/// It is not.
pub fn body(bytes: &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n');
    let (name, body) = at.map_or((&b""[..], bytes), |at| (&bytes[..at], &bytes[at + 1..]));
    let name = &*String::from_utf8_lossy(name);
    check_pieces(body);

    let found = inspect(body, name);
    if let Err(err) = &found {
        let refusal = fuzzing::refusal(err.clone());
        assert_eq!(refusal.status(), 400, "{err} is {refusal:?}");
    }
    let is_json = serde_json::from_slice::<IgnoredAny>(body).is_ok();
    let Ok(text) = str::from_utf8(body) else {
        assert_eq!(found, Err(EnvelopeError::NotUtf8));
        return;
    };
    let tree = serde_json::from_str::<Value>(text).ok();
    match &found {
        Err(EnvelopeError::NotUtf8) => panic!("{text:?} is UTF-8"),
        Err(EnvelopeError::NotJson { line, column, .. }) => {
            assert!(!is_json || (tree.is_none() && is_odd(text)), "{text:?} is JSON: {found:?}");
            let line = text.split('\n').nth(line.saturating_sub(1));
            assert!(line.is_some_and(|line| *column <= line.len() + 1), "{text:?}: {found:?}");
            return;
        }
        _ => assert!(is_json, "{text:?} is not JSON: {found:?}"),
    }
    assert_eq!(found, naive(text, name), "{name}: {text:?}");

    // In the words of those who read bodies as a tree.
    let Some(tree) = tree else {
        assert!(is_odd(text) || fuzzing::is_deeper(body, SOME_DEPTH), "{text:?} is too deep for a tree, and passes");
        return;
    };
    let depth = depth(text);
    assert!(!fuzzing::is_deeper(body, depth), "{text:?} is not deeper than {depth}");
    assert!(depth == 0 || fuzzing::is_deeper(body, depth - 1), "{text:?} is {depth} deep");
    assert_eq!(tree.is_object(), found != Err(EnvelopeError::NotAnObject), "{text:?}");
    if found.is_ok() {
        let each = tree["Events"].as_array().filter(|_| says_each(name)).into_iter().flatten();
        for said in iter::once(&tree).chain(each).filter_map(|object| object.get("CallbackCommand")) {
            assert_eq!(said, name, "{text:?}");
        }
    }
}

/// Less than the 127 that a `Value` is made of at most.
const SOME_DEPTH: usize = 100;

fn depth(text: &str) -> usize {
    let inside: Vec<&str> = match parse(text) {
        None => return 0,
        Some(Json::Object(members)) => members.into_iter().map(|(_, json)| json).collect(),
        Some(Json::Array(elements)) => elements,
    };
    1 + inside.into_iter().map(depth).max().unwrap_or_default()
}

/// Whether there may be something in this JSON that `inspect` says it takes for none: half a surrogate pair, or a number
/// too large for an `f64`.
fn is_odd(text: &str) -> bool {
    let (mut is_string, mut digits, mut chars) = (false, 0, text.chars());
    while let Some(char) = chars.next() {
        digits = if char.is_ascii_digit() { digits + 1 } else { 0 };
        match char {
            '"' => is_string = !is_string,
            '\\' if chars.next() == Some('u') => return true,
            'E' if !is_string => return true,
            'e' if !is_string
                && chars.clone().next().is_some_and(|next| next.is_ascii_digit() || "+-".contains(next)) =>
            {
                return true;
            }
            _ if digits > 300 => return true,
            _ => {}
        }
    }
    false
}

/// A body that comes in pieces is the whole of it, or too long.
fn check_pieces(body: &[u8]) {
    let size = body.first().map_or(1, |byte| usize::from(*byte) % 16 + 1);
    let pieces = || body.chunks(size).map(Bytes::copy_from_slice).collect::<Vec<_>>();
    for length in [None, Some(body.len() as u64)] {
        assert_eq!(fuzzing::read_body(pieces(), length, body.len()).as_deref(), Ok(body));
        if let Some(limit) = body.len().checked_sub(1) {
            assert_eq!(fuzzing::read_body(pieces(), length, limit), Err(Refusal::BodyTooLong));
        }
    }
}

fn says_each(name: &str) -> bool {
    command(name).is_some_and(|info| info.command_in_body == CommandInBody::EachEvent)
}

/// What `inspect` has to find in this text, which is JSON.
fn naive(text: &str, name: &str) -> Result<Envelope, EnvelopeError> {
    let Some(Json::Object(members)) = parse(text) else { return Err(EnvelopeError::NotAnObject) };
    check_commands(&members, name)?;

    let info = command(name);
    let order_key = info.map_or(
        // For what the catalogue does not know, as its documentation says.
        OrderKey::Pair(Path(&[Step::Field("From_Account")]), Path(&[Step::Field("To_Account")])),
        |info| info.order_key,
    );
    let last = |path| values(text, path).pop().flatten();
    let key = match (info, last(Path(&[Step::Field("GroupId")]))) {
        (None, Some(group)) => Some(group),
        _ => match order_key {
            OrderKey::None => None,
            OrderKey::Field(path) => last(path),
            OrderKey::Pair(one, other) => {
                let mut ends: Vec<String> = [last(one), last(other)].into_iter().flatten().collect();
                ends.sort();
                (!ends.is_empty()).then(|| ends.join("|"))
            }
        },
    };
    let tells_apart = info.map_or(&[][..], |info| info.tells_apart);
    let tells_apart = tells_apart.iter().any(|path| values(text, *path).iter().any(Option::is_some));
    let event_time = last(Path(&[Step::Field("EventTime")])).and_then(|text| text.parse::<i64>().ok());
    let event_time = event_time.filter(|ms| ms.to_string().len() == 13 && *ms > 0);
    Ok(Envelope { key, tells_apart, event_time })
}

/// Each `CallbackCommand` that counts, in the order of the text.
fn check_commands(members: &[(String, &str)], name: &str) -> Result<(), EnvelopeError> {
    let mut first = Ok(());
    check_object(members, name, &mut first, |member, json, first| {
        if member != "Events" || !says_each(name) {
            return;
        }
        let Some(Json::Array(events)) = parse(json) else { return };
        for event in events {
            if let Some(Json::Object(members)) = parse(event) {
                check_object(&members, name, first, |_, _, _| {});
            }
        }
    });
    first
}

type Checked = Result<(), EnvelopeError>;

fn check_object(members: &[(String, &str)], name: &str, first: &mut Checked, other: impl Fn(&str, &str, &mut Checked)) {
    let mut seen = 0;
    for (member, json) in members {
        if member != "CallbackCommand" {
            other(member, json, first);
            continue;
        }
        seen += 1;
        let here = match value(json) {
            _ if seen == 2 => Err(EnvelopeError::CommandTwice),
            _ if !json.starts_with('"') => Err(EnvelopeError::CommandNotAString),
            said if said.as_deref().unwrap_or_default() == name => Ok(()),
            said => {
                Err(EnvelopeError::CommandDiffers { in_body: said.unwrap_or_default().chars().take(128).collect() })
            }
        };
        *first = first.clone().and(here);
    }
}

/// What stands at `path`, in the order of the text: more than one where names repeat, or a step leads into each element.
fn values(text: &str, path: Path) -> Vec<Option<String>> {
    let mut texts = vec![text];
    for step in path.0 {
        texts = texts
            .into_iter()
            .flat_map(|text| match (step, parse(text)) {
                (Step::Field(name), Some(Json::Object(members))) => {
                    members.into_iter().filter(|(member, _)| member == name).map(|(_, json)| json).collect()
                }
                (Step::First, Some(Json::Array(elements))) => elements.into_iter().take(1).collect(),
                (Step::Each, Some(Json::Array(elements))) => elements,
                _ => Vec::new(),
            })
            .collect();
    }
    texts.into_iter().map(value).collect()
}

/// A string that is not empty, or a number as written. What no `String` can hold stays as it is written.
fn value(json: &str) -> Option<String> {
    match json.chars().next()? {
        '"' => {
            let text = serde_json::from_str(json).unwrap_or_else(|_| json[1..json.len() - 1].to_owned());
            (!text.is_empty()).then_some(text)
        }
        '-' | '0'..='9' => Some(json.to_owned()),
        _ => None,
    }
}
