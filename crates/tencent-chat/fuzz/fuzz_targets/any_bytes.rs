//! Any bytes, as the body of each command and as a query: nothing panics, and what decodes is kept whole.
//!
//! ```sh
//! cargo install cargo-fuzz
//! cd crates/tencent-chat
//! mkdir -p fuzz/corpus/any_bytes
//! cargo fuzz run any_bytes --sanitizer none fuzz/corpus/any_bytes samples samples/variants -- -max_total_time=600
//! ```
//!
//! The samples are where it starts from; what it learns goes to the first folder. No sanitizer, since there is no unsafe
//! code to watch, and since it then builds with the stable compiler.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::{Number, Value};
use tencent_chat::{Body, Query, commands, inspect, without_signature};

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        drop(Query::parse(text));
        drop(without_signature(text));
    }
    let tree = serde_json::from_slice::<Value>(bytes).ok();
    let own_command = tree.as_ref().and_then(own_command);
    // All types at each input would be ten times slower and find less. It is tried as its own command, and as every
    // sixteenth of the others, which of them being for its length to say.
    for (idx, info) in commands().iter().enumerate() {
        let name = info.name;
        if own_command != Some(name) && idx % 16 != bytes.len() % 16 {
            continue;
        }
        drop(inspect(bytes, name));
        let body = match Body::decode(name, bytes) {
            Ok(body) => body.expect("each command has a type"),
            Err(err) => {
                drop(err.to_string());
                continue;
            }
        };
        let encoded = serde_json::to_vec(&body).expect("what was decoded encodes");
        let again = Body::decode(name, &encoded).expect("what was encoded decodes");
        assert_eq!(again.as_ref(), Some(&body), "{name}: not the same after a round trip");
        let tree = tree.as_ref().expect("what has a type is JSON");
        let encoded = serde_json::from_slice(&encoded).expect("what was encoded is JSON");
        assert!(is_kept(tree, &encoded), "{name}: {tree} became {encoded}");
        drop(body.survey());
    }
});

/// The command that a body says it is of.
fn own_command(tree: &Value) -> Option<&str> {
    tree.get("CallbackCommand").or_else(|| tree.get("Events")?.get(0)?.get("CallbackCommand"))?.as_str()
}

/// Whether `after` has all that `before` has and nothing else, but for what encoding may change: `null` becomes absence,
/// and integers in quotes become numbers.
fn is_kept(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let kept = |(name, value): (&String, &Value)| match after.get(name) {
                Some(after) => is_kept(value, after),
                None => value.is_null() || value == "",
            };
            before.iter().all(kept) && after.keys().all(|name| before.contains_key(name))
        }
        (Value::Array(before), Value::Array(after)) => {
            before.len() == after.len() && before.iter().zip(after).all(|(before, after)| is_kept(before, after))
        }
        (Value::String(text), Value::Number(number)) => is_number(text, number),
        (Value::Number(before), Value::Number(after)) => before == after || before.as_f64() == after.as_f64(),
        _ => before == after,
    }
}

fn is_number(text: &str, number: &Number) -> bool {
    match number.as_i64() {
        Some(number) => text.parse() == Ok(number),
        None => number.as_u64().is_some_and(|number| text.parse() == Ok(number)),
    }
}
