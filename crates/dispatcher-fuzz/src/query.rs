//! The query string of a callback, held against a reader that was written to be plain rather than fast.

use std::{collections::HashMap, time::Duration};

use dispatcher_core::{App, Secret, Timestamp};
use dispatcher_intake::{IntakeApp, Refusal, SignaturePolicy, fuzzing};
use sha2::{Digest, Sha256};
use tencent_chat::{Query, QueryError, resign, without_signature};

/// This machine's clock, in Unix seconds, and how far from it a signature may be.
const NOW: i64 = 1_700_000_000;
const FRESHNESS: i64 = 60;

const APPS: [(u64, &[&str], SignaturePolicy); 3] = [
    (1_400_000_001, &["token", "older"], SignaturePolicy::Required),
    (2, &["token"], SignaturePolicy::Optional),
    (3, &[], SignaturePolicy::Off),
];

/// Nobody finds a signature by trying, so these stand for one by each token, over the `RequestTime` of the same query.
const PLACEHOLDERS: [(&str, &str); 3] = [("@token@", "token"), ("@older@", "older"), ("@wrong@", "wrong")];

/// A query string, as text: it is read, verified and passed on exactly as the plain reader says.
///
/// # Panics
/// It is not.
pub fn query(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let text = &signed(text);
    let (read, expected) = (Query::parse(text), naive(text));
    match (&read, &expected) {
        (Err(err), Err(expected)) => assert_eq!(err, expected, "{text:?}"),
        (Ok(query), Ok(expected)) => {
            let fields = [
                ("SdkAppid", &query.sdk_app_id),
                ("CallbackCommand", &query.command),
                ("Sign", &query.sign),
                ("RequestTime", &query.request_time),
                ("ClientIP", &query.client_ip),
                ("OptPlatform", &query.opt_platform),
                ("RequestID", &query.request_id),
            ];
            for (name, value) in fields {
                assert_eq!(value.as_deref(), expected.get(name).map(String::as_str), "{name} of {text:?}");
            }
        }
        _ => panic!("{text:?} is read as {read:?}, and plainly as {expected:?}"),
    }
    check_verified(text, expected.as_ref());
    check_passed_on(text);
}

/// The text with its placeholders replaced.
fn signed(text: &str) -> String {
    let time = naive(text).ok().and_then(|mut query| query.remove("RequestTime")).unwrap_or_default();
    PLACEHOLDERS.iter().fold(text.to_owned(), |text, (placeholder, token)| {
        if text.contains(placeholder) { text.replace(placeholder, &sign(token, &time)) } else { text }
    })
}

fn sign(token: &str, time: &str) -> String {
    Sha256::digest(format!("{token}{time}")).iter().map(|byte| format!("{byte:02x}")).collect()
}

type Plain = HashMap<&'static str, String>;

const NAMES: [&str; 7] = ["SdkAppid", "CallbackCommand", "Sign", "RequestTime", "ClientIP", "OptPlatform", "RequestID"];

/// The parameters that mean something and are not empty.
fn naive(text: &str) -> Result<Plain, QueryError> {
    let (mut seen, mut query) = (Vec::new(), Plain::new());
    for parameter in text.split('&') {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let Some(name) = NAMES.into_iter().find(|known| known.to_lowercase() == name.to_ascii_lowercase()) else {
            continue;
        };
        if seen.contains(&name) {
            return Err(QueryError::Twice(name));
        }
        seen.push(name);
        let value = decoded(value).ok_or(QueryError::BadEncoding(name))?;
        if !value.is_empty() {
            query.insert(name, value);
        }
    }
    Ok(query)
}

fn decoded(value: &str) -> Option<String> {
    let mut pieces = value.split('%');
    let mut bytes = pieces.next()?.replace('+', " ").into_bytes();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        if !digits.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend(rest.replace('+', " ").bytes());
    }
    String::from_utf8(bytes).ok()
}

fn check_verified(text: &str, plain: Result<&Plain, &QueryError>) {
    let apps = APPS.map(|(id, tokens, signature)| {
        let tokens = tokens.iter().filter_map(|token| Secret::new(token)).collect();
        IntakeApp { app: App::new(id, "app"), tokens, signature, allow_from: vec![] }
    });
    let now = Timestamp::from_millis(NOW * 1000);
    let freshness = Duration::from_secs(FRESHNESS.unsigned_abs());
    let read = fuzzing::read_query(text, apps.to_vec(), now, freshness);
    assert_eq!(read, expected(plain), "{text:?}");
}

/// What the README of the intake says becomes of it.
fn expected(plain: Result<&Plain, &QueryError>) -> Result<(u64, String), Refusal> {
    let query = plain.map_err(|err| match err {
        QueryError::Twice(_) => Refusal::ParameterTwice,
        QueryError::BadEncoding(_) => Refusal::ParameterEncoding,
    })?;
    let id = query.get("SdkAppid").ok_or(Refusal::AppMissing)?;
    let known = |(known, ..): &(u64, _, _)| digits(id) == Some(u128::from(*known));
    let (id, tokens, policy) = APPS.into_iter().find(known).ok_or(Refusal::AppUnknown)?;
    let (sign_read, time) = (query.get("Sign"), query.get("RequestTime"));
    let is_looked_at = match policy {
        SignaturePolicy::Required => true,
        SignaturePolicy::Optional => sign_read.is_some() || time.is_some(),
        SignaturePolicy::Off => false,
    };
    if is_looked_at {
        let (Some(sign_read), Some(time)) = (sign_read, time) else { return Err(Refusal::SignatureMissing) };
        if !tokens.iter().any(|token| sign(token, time) == sign_read.to_ascii_lowercase()) {
            return Err(Refusal::SignatureWrong);
        }
        let is_fresh =
            |time: u128| (NOW - FRESHNESS..=NOW + FRESHNESS).any(|second| second.unsigned_abs() as u128 == time);
        if !digits(time).is_some_and(is_fresh) {
            return Err(Refusal::SignatureStale);
        }
    }
    let command = query.get("CallbackCommand").ok_or(Refusal::CommandMissing)?;
    let is_plain = |command: &str| command.chars().all(|char| ('!'..='~').contains(&char));
    if !is_plain(command) || command.len() > 128 {
        return Err(Refusal::CommandMalformed);
    }
    Ok((id, command.clone()))
}

/// The number that these digits are; what is too long to be any is none.
fn digits(text: &str) -> Option<u128> {
    let is_digits = !text.is_empty() && text.chars().all(|digit| digit.is_ascii_digit());
    is_digits.then(|| text.parse().ok()).flatten()
}

/// What is stored is the query without its signature, and what forwards it can sign it again.
fn check_passed_on(text: &str) {
    let is_kept = |parameter: &&str| {
        let name = parameter.split('=').next().unwrap_or_default().to_ascii_lowercase();
        name != "sign" && name != "requesttime"
    };
    let kept: Vec<&str> = text.split('&').filter(is_kept).collect();
    let rest = without_signature(text);
    assert_eq!(rest, kept.join("&"), "{text:?}");
    let resigned = resign(text, "token", 7);
    let appended = format!("Sign={}&RequestTime=7", sign("token", "7"));
    assert!(resigned.starts_with(&*rest) && resigned.ends_with(&appended), "{text:?} became {resigned:?}");
}
