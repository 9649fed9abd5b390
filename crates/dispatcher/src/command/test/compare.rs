//! Holds what became of a callback against what was expected, and says what differs.

use serde_json::{Value, json};

use super::{
    case::{self, Expect, ExpectedEvent},
    trial::{Made, Outcome},
};

/// What is other than expected, a line for each difference.
pub(super) fn compare(expect: &Expect, outcome: &Outcome) -> Vec<String> {
    let mut wrong = outcome.failures.clone();
    if let Some(word) = &expect.decision {
        match outcome.decision {
            None => wrong.push(format!("decision: expected {word}, but this command wants no decision")),
            Some(result) if result.as_str() != word => {
                let by = outcome.by.as_ref().map(|by| format!(" by {by}")).unwrap_or_default();
                wrong.push(format!("decision: expected {word}, got {result}{by}"));
            }
            Some(_) => {}
        }
    }
    if let Some(by) = &expect.by
        && outcome.by.as_ref() != Some(by)
    {
        wrong.push(format!("by: expected {by}, got {}", outcome.by.as_deref().unwrap_or("nobody")));
    }
    if let Some(reply) = &expect.reply {
        differences("reply", &case::json(&toml::Value::Table(reply.clone())), &outcome.reply, &mut wrong);
    }
    if let Some(events) = &expect.events {
        compare_events(events, &outcome.events, &mut wrong);
    }
    wrong
}

/// What of `expected` is not in `actual`: a member that is not expected is no difference, an element that is not is.
fn differences(at: &str, expected: &Value, actual: &Value, wrong: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(members), Value::Object(others)) => {
            for (name, expected) in members {
                let at = format!("{at}.{name}");
                match others.get(name) {
                    Some(actual) => differences(&at, expected, actual, wrong),
                    None => wrong.push(format!("{at}: expected {expected}, and it is not there")),
                }
            }
        }
        (Value::Array(elements), Value::Array(others)) if elements.len() == others.len() => {
            for (idx, (expected, actual)) in elements.iter().zip(others).enumerate() {
                differences(&format!("{at}[{idx}]"), expected, actual, wrong);
            }
        }
        (expected, actual) if expected != actual => wrong.push(format!("{at}: expected {expected}, got {actual}")),
        _ => {}
    }
}

/// What differs between an event and what is expected of one.
fn event_differences(at: &str, expected: &ExpectedEvent, made: &Made) -> Vec<String> {
    let mut wrong = Vec::new();
    let words = [
        ("handler", expected.handler.as_deref(), Some(made.handler.as_str())),
        ("type", expected.r#type.as_deref(), Some(made.event_type.as_str())),
        ("key", expected.key.as_deref(), made.key.as_deref()),
    ];
    for (name, expected, actual) in words {
        if let Some(expected) = expected
            && Some(expected) != actual
        {
            wrong.push(format!("{at}.{name}: expected {expected}, got {}", actual.unwrap_or("none")));
        }
    }
    if let Some(sinks) = &expected.sinks {
        let mut sinks = sinks.clone();
        sinks.sort_unstable();
        sinks.dedup();
        let made: Vec<&String> = made.sinks.iter().collect();
        if sinks.iter().ne(made.iter().copied()) {
            wrong.push(format!("{at}.sinks: expected {}, got {}", json!(sinks), json!(made)));
        }
    }
    if let Some(data) = &expected.data {
        differences(&format!("{at}.data"), &case::json(data), &made.data, &mut wrong);
    }
    wrong
}

/// Finds for each expected event one of its own that fits, if that can be done for all at once; what is left over on either
/// side is wrong.
fn compare_events(expected: &[ExpectedEvent], made: &[Made], wrong: &mut Vec<String>) {
    let fits = |want: usize, have: usize| event_differences("", &expected[want], &made[have]).is_empty();
    let mut taken: Vec<Option<usize>> = vec![None; made.len()];
    for want in 0..expected.len() {
        find(want, &fits, &mut taken, &mut vec![false; made.len()]);
    }
    let mut left: Vec<usize> = (0..made.len()).filter(|have| taken[*have].is_none()).collect();
    for want in (0..expected.len()).filter(|want| !taken.contains(&Some(*want))) {
        let at = format!("events[{want}]");
        let differing = |have: &usize| event_differences(&at, &expected[want], &made[*have]);
        match left.iter().copied().min_by_key(|have| differing(have).len()) {
            Some(nearest) => {
                wrong.extend(differing(&nearest));
                left.retain(|have| *have != nearest);
            }
            None => wrong.push(format!("{at}: there is no such event; there are {} in all", made.len())),
        }
    }
    for event in left.into_iter().map(|have| &made[have]) {
        let Made { handler, event_type, key, sinks, .. } = event;
        let key = key.as_ref().map(|key| format!(", key {key}")).unwrap_or_default();
        wrong.push(format!("events: {event_type} of {handler}{key}, for {}, was not expected", json!(sinks)));
    }
}

/// Gives `want` an event that fits, moving others to other ones if need be.
fn find(want: usize, fits: &dyn Fn(usize, usize) -> bool, taken: &mut [Option<usize>], seen: &mut [bool]) -> bool {
    for have in 0..taken.len() {
        if seen[have] || !fits(want, have) {
            continue;
        }
        seen[have] = true;
        let is_free = match taken[have] {
            None => true,
            Some(other) => find(other, fits, taken, seen),
        };
        if is_free {
            taken[have] = Some(want);
            return true;
        }
    }
    false
}
