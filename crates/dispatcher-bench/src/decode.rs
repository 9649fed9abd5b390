//! Typed decoding of each command's sample, beside `serde_json::Value` on the same bytes.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde_json::Value;
use tencent_chat::{Body, CommandInfo, commands};

use crate::{statistics::median, table::table};

/// A batch is as long as this: long enough for the clock, short enough for few interruptions.
const BATCH: Duration = Duration::from_micros(500);

/// What typed decoding may take of the time that a `Value` takes.
const BAR: f64 = 1.0;

/// Decodes each command's sample into its type, beside a tree of `serde_json::Value`, and compares the times.
///
/// Needs no server and no disk, and takes half a minute. Fails if any command's type is slower than the tree.
#[derive(Args)]
pub(crate) struct DecodeArgs {
    /// How often each pair is measured, in turns; the table shows medians
    #[arg(long, value_name = "N", default_value_t = 201, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rounds: u32,
    /// Measure only this command (may be given several times)
    #[arg(long, value_name = "COMMAND")]
    only: Vec<String>,
}

/// Prints the table; an error if a command is over the bar.
pub(crate) fn run(args: &DecodeArgs) -> Result<()> {
    for name in &args.only {
        ensure!(tencent_chat::command(name).is_some(), "there is no command {name:?} in the catalogue");
    }
    let chosen = |info: &&CommandInfo| args.only.is_empty() || args.only.iter().any(|name| name == info.name);
    let mut rows = Vec::new();
    let mut slower = Vec::new();
    for info in commands().iter().filter(chosen) {
        let row = measure(info, args.rounds).with_context(|| format!("cannot decode the sample of {}", info.name))?;
        if row.ratio > BAR {
            slower.push(info.name);
        }
        rows.push(row);
    }
    println!("{}", table(&["command", "bytes", "Value ns", "typed ns", "÷ Value", "bar"], rows.iter().map(Row::cells)));
    println!("median of all commands: {:.2}", median(rows.iter().map(|row| row.ratio).collect()));
    if !slower.is_empty() {
        bail!("typed decoding is slower than a Value for {}", slower.join(", "));
    }
    Ok(())
}

/// Medians over the rounds.
struct Row {
    command: &'static str,
    n_bytes: usize,
    value_ns: f64,
    typed_ns: f64,
    /// The median of the rounds' ratios.
    ratio: f64,
}

impl Row {
    fn cells(&self) -> Vec<String> {
        vec![
            self.command.to_owned(),
            self.n_bytes.to_string(),
            format!("{:.0}", self.value_ns),
            format!("{:.0}", self.typed_ns),
            format!("{:.2}", self.ratio),
            if self.ratio > BAR { "missed" } else { "ok" }.to_owned(),
        ]
    }
}

fn measure(info: &'static CommandInfo, rounds: u32) -> Result<Row> {
    let compact = without_white_space(info.sample);
    let body = compact.as_bytes();
    let typed = || drop(black_box(Body::decode(black_box(info.name), black_box(body))));
    let value = || drop(black_box(serde_json::from_slice::<Value>(black_box(body))));
    // A decoder that gives up at once would be the fastest.
    ensure!(Body::decode(info.name, body)?.is_some(), "the command has no type");

    let n_calls = calls_per_batch(value);
    let (mut value_ns, mut typed_ns, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        // Who goes first changes from round to round.
        let (of_value, of_typed) = if round % 2 == 0 {
            let of_value = time_per_call(n_calls, value);
            (of_value, time_per_call(n_calls, typed))
        } else {
            let of_typed = time_per_call(n_calls, typed);
            (time_per_call(n_calls, value), of_typed)
        };
        value_ns.push(of_value);
        typed_ns.push(of_typed);
        ratios.push(of_typed / of_value);
    }
    Ok(Row {
        command: info.name,
        n_bytes: body.len(),
        value_ns: median(value_ns),
        typed_ns: median(typed_ns),
        ratio: median(ratios),
    })
}

/// A body as Tencent sends it: members in the sample's order, without the white space that makes it readable, which both
/// would only skip.
fn without_white_space(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let is_kept = |char: &char| {
        if in_string {
            in_string = *char != '"' || escaped;
            escaped = *char == '\\' && !escaped;
            true
        } else {
            in_string = *char == '"';
            !char.is_ascii_whitespace()
        }
    };
    json.chars().filter(is_kept).collect()
}

/// How many calls fill a batch; warms up caches and the allocator on the way.
fn calls_per_batch(call: impl Fn()) -> u32 {
    let mut n_calls = 16;
    while time_per_call(n_calls, &call) * f64::from(n_calls) < BATCH.as_nanos() as f64 {
        n_calls *= 2;
    }
    n_calls
}

/// In nanoseconds.
fn time_per_call(n_calls: u32, call: impl Fn()) -> f64 {
    let start = Instant::now();
    for _ in 0..n_calls {
        call();
    }
    start.elapsed().as_nanos() as f64 / f64::from(n_calls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_goes_but_what_is_in_strings_stays() {
        assert_eq!(
            without_white_space("{\n  \"b\": [1, 2],\n  \"a \\\" x\": \"c \\\\\" }"),
            r#"{"b":[1,2],"a \" x":"c \\"}"#
        );
        for info in commands() {
            let compact = without_white_space(info.sample);
            assert!(!compact.contains('\n') && !compact.contains(r#"": "#), "{compact}");
            let (compact, sample): (Value, Value) =
                (serde_json::from_str(&compact).unwrap(), serde_json::from_str(info.sample).unwrap());
            assert_eq!(compact, sample, "{}", info.name);
        }
    }
}
