//! What every handler that decides promises, checked.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Instant,
};

use dispatcher_core::{Callback, DecideContext, Decision, Handler, HandlerError, Purpose};
use serde_json::{Value, json};
use tencent_chat::{CommandInfo, decision_rules};
use tokio::{runtime, sync::mpsc, time};

use crate::{PATIENCE, callback, sample, sample::taken};

/// Asks a handler about a callback of `command` with this body, in the test's own runtime and without a hurry.
///
/// # Panics
/// When intake would refuse the body, or the handler fails.
pub async fn decide(handler: &Arc<dyn Handler>, command: &str, body: &str) -> Option<Decision> {
    let decided = handler.decide(&callback(command, body), &unhurried()).await;
    decided.unwrap_or_else(|err| panic!("it was asked about {command}, and failed: {err}"))
}

fn unhurried() -> DecideContext {
    // Half of what anything may take: who waits until the deadline is still back in time.
    DecideContext { deadline: Instant::now() + PATIENCE / 2, purpose: Purpose::Answer }
}

/// Asks about the sample of `info`, and about bodies made of it that lack something or have something else in its place:
/// the handler comes back by its deadline, without a panic, with a decision that its command knows, or with an error where
/// the body is at fault.
pub(crate) async fn check_decisions(name: &str, handler: &Arc<dyn Handler>, info: &CommandInfo) {
    let rules = decision_rules(info.name).expect("a command that wants a decision has rules");
    let mut asked = vec![("the sample".to_owned(), sample(info.name))];
    for (what, body) in mutilated(info.sample) {
        // What intake refuses reaches nobody.
        if let Ok(callback) = taken("iOS", info.name, &body) {
            asked.push((what, callback));
        }
    }
    let mut answers = ask(handler, asked.iter().map(|(_, callback)| callback.clone()).collect());
    for (idx, (what, callback)) in asked.iter().enumerate() {
        let answer = time::timeout(PATIENCE, answers.recv()).await;
        let answer =
            answer.unwrap_or_else(|_| panic!("{name} is not back by its deadline, on {what} of {}", info.name));
        let answer = answer.unwrap_or_else(|| panic!("{name} panics on {what} of {}", info.name));
        match answer {
            Ok(Some(decision)) => {
                let reply = decision.reply(rules, callback.body_bytes());
                let illegal = |err| panic!("{name} decides what is not legal, on {what} of {}: {err}", info.name);
                reply.map(drop).unwrap_or_else(illegal);
            }
            Ok(None) => {}
            Err(err) => assert!(idx > 0, "{name} fails on {what} of {}: {err}", info.name),
        }
    }
}

/// Holds a handler that is registered as one that does not decide to that.
pub(crate) async fn check_no_decision(name: &str, handler: &Arc<dyn Handler>, info: &CommandInfo) {
    let decided = handler.decide(&sample(info.name), &unhurried()).await;
    let is_silent = matches!(decided, Ok(None));
    assert!(is_silent, "{name} decides about {}, but is registered without `role = decide`", info.name);
}

/// Asks on a thread of its own, so that a handler that blocks is noticed; one after the other. The channel closes early when
/// the handler panics.
fn ask(
    handler: &Arc<dyn Handler>,
    callbacks: Vec<Callback>,
) -> mpsc::UnboundedReceiver<Result<Option<Decision>, HandlerError>> {
    let (answers, receiver) = mpsc::unbounded_channel();
    let (handler, runtime) = (Arc::clone(handler), runtime::Handle::current());
    thread::spawn(move || {
        // The panic was printed; what it was about is said by who waits.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            for callback in callbacks {
                if answers.send(runtime.block_on(handler.decide(&callback, &unhurried()))).is_err() {
                    return;
                }
            }
        }));
    });
    receiver
}

/// Bodies made of this one: each value taken away, and each replaced with values of other kinds; and an empty object.
fn mutilated(body: &str) -> Vec<(String, String)> {
    let whole: Value = serde_json::from_str(body).expect("a sample is JSON");
    let mut pointers = Vec::new();
    collect_pointers(&whole, String::new(), &mut pointers);
    let mut bodies = vec![("an empty body".to_owned(), "{}".to_owned())];
    for pointer in &pointers {
        let without = without(&whole, pointer);
        bodies.push((format!("a body without {pointer}"), without.to_string()));
        for other in [json!(null), json!(true), json!(-1.5), json!("\u{0}界"), json!([]), json!([[{}]]), json!({})] {
            let mut body = whole.clone();
            if let Some(value) = body.pointer_mut(pointer) {
                *value = other.clone();
            }
            bodies.push((format!("a body with {other} at {pointer}"), body.to_string()));
        }
    }
    bodies
}

/// The JSON pointers of everything inside `value`.
fn collect_pointers(value: &Value, at: String, pointers: &mut Vec<String>) {
    let mut inside = |name: String, value: &Value| {
        let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
        pointers.push(at.clone());
        collect_pointers(value, at, pointers);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, value)| inside(name.clone(), value)),
        Value::Array(elements) => elements.iter().enumerate().for_each(|(idx, value)| inside(idx.to_string(), value)),
        _ => {}
    }
}

fn without(whole: &Value, pointer: &str) -> Value {
    let mut body = whole.clone();
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer to something inside has a slash");
    match body.pointer_mut(parent) {
        Some(Value::Object(members)) => drop(members.remove(&name.replace("~1", "/").replace("~0", "~"))),
        Some(Value::Array(elements)) => drop(elements.remove(name.parse().expect("an index"))),
        _ => unreachable!("the pointer was collected from this very value"),
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_taken_away_and_replaced() {
        let bodies: Vec<String> = mutilated(r#"{"a":{"b/c":[1]}}"#).into_iter().map(|(_, body)| body).collect();
        assert_eq!(bodies.len(), 1 + 3 * 8);
        for body in [r#"{}"#, r#"{"a":{}}"#, r#"{"a":{"b/c":[]}}"#, r#"{"a":null}"#, r#"{"a":{"b/c":["\u0000界"]}}"#] {
            assert!(bodies.contains(&body.to_owned()), "{body} is not among {bodies:#?}");
        }
    }
}
