//! Whose callback it is, and whether it really comes from them: what the query string alone can tell.

use std::{net::IpAddr, time::Duration};

use dispatcher_core::{Command, Timestamp};
use tencent_chat::{Query, verify};

use crate::{
    IntakeApp, SignaturePolicy, StartError,
    refusal::{Refusal, Refused},
};

/// The apps whose callbacks are taken.
pub(crate) struct Apps(Vec<IntakeApp>); // Sorted by SDKAppID.

impl Apps {
    pub(crate) fn new(mut apps: Vec<IntakeApp>) -> Result<Apps, StartError> {
        apps.sort_by_key(|app| app.app.sdk_app_id());
        if let Some(pair) = apps.windows(2).find(|pair| pair[0].app.sdk_app_id() == pair[1].app.sdk_app_id()) {
            return Err(StartError::AppTwice(pair[0].app.sdk_app_id()));
        }
        if let Some(app) = apps.iter().find(|app| app.signature != SignaturePolicy::Off && app.tokens.is_empty()) {
            return Err(StartError::NoToken(app.app.sdk_app_id()));
        }
        Ok(Apps(apps))
    }

    /// All of them, in their order.
    pub(crate) fn all(&self) -> impl Iterator<Item = &IntakeApp> {
        self.0.iter()
    }

    /// The app that `SdkAppid` names, and its place.
    pub(crate) fn find(&self, query: &Query<'_>) -> Result<(usize, &IntakeApp), Refused> {
        let Some(sdk_app_id) = query.sdk_app_id.as_deref() else {
            return Err(Refusal::AppMissing.because("query parameter SdkAppid is missing"));
        };
        let found = number(sdk_app_id).and_then(|id| self.0.binary_search_by_key(&id, |app| app.app.sdk_app_id()).ok());
        let idx = found.ok_or_else(|| {
            Refusal::AppUnknown.because("SdkAppid is not configured here; add it under [[apps]], or change the URL")
        })?;
        Ok((idx, &self.0[idx]))
    }
}

/// Whether the app's callbacks may come from here; `None` is nobody knows where.
pub(crate) fn check_source(app: &IntakeApp, client: Option<IpAddr>) -> Result<(), Refused> {
    if client.is_some_and(|client| app.allow_from.iter().any(|network| network.contains(client))) {
        return Ok(());
    }
    Err(Refusal::SourceNotAllowed.because(
        "this address is not among those of the app's allow_from; behind a proxy, see [intake] trusted_proxies",
    ))
}

/// What is right about a signature.
#[derive(Clone, Copy)]
pub(crate) struct Signed {
    /// The place of the token that it is made with.
    pub(crate) token: usize,
    /// Its `RequestTime`, in Unix seconds.
    pub(crate) second: u64,
    millis: i64,
}

impl Signed {
    /// By how many milliseconds it is behind.
    pub(crate) fn behind(&self, now: Timestamp) -> i64 {
        now.as_millis().saturating_sub(self.millis)
    }
}

/// Whether the signature is as this app's policy asks; what it says, if it was looked at. How old it is has yet to be judged.
pub(crate) fn check_signature(app: &IntakeApp, query: &Query<'_>) -> Result<Option<Signed>, Refused> {
    let (sign, request_time) = match (app.signature, &query.sign, &query.request_time) {
        (SignaturePolicy::Off, _, _) | (SignaturePolicy::Optional, None, None) => return Ok(None),
        (_, Some(sign), Some(request_time)) => (sign, request_time),
        _ => {
            return Err(Refusal::SignatureMissing.because(
                "query parameters Sign and RequestTime are not both there; set the app's token in the console",
            ));
        }
    };
    // Every token is tried, whichever is right, so that the time taken does not tell which.
    let tokens = app.tokens.iter().enumerate();
    let right = tokens.fold(None, |right, (n, token)| match verify(token.expose(), request_time, sign) {
        true => Some(n),
        false => right,
    });
    let Some(token) = right else {
        return Err(Refusal::SignatureWrong.because(
            "Sign is not the SHA-256 of the app's token and RequestTime; compare the token with the console's",
        ));
    };
    let second = number(request_time);
    let signed = second.and_then(|second| {
        let millis = i64::try_from(second).ok()?.checked_mul(1000)?;
        Some(Signed { token, second, millis })
    });
    signed.map(Some).ok_or_else(|| Refusal::SignatureStale.because("RequestTime is not a number of Unix seconds"))
}

/// Whether it was signed lately, and not too early.
pub(crate) fn check_freshness(signed: &Signed, now: Timestamp, freshness: Duration) -> Result<(), Refused> {
    let signed_at = signed.millis;
    let apart = Duration::from_millis(signed_at.abs_diff(now.as_millis()));
    if apart <= freshness {
        return Ok(());
    }
    let side = if signed_at < now.as_millis() { "behind" } else { "ahead of" };
    let (apart, freshness) = (apart.as_secs(), freshness.as_secs());
    Err(Refusal::SignatureStale.because(format!(
        "RequestTime is {apart} s {side} this machine's clock, and {freshness} s are allowed; check both clocks"
    )))
}

/// The command, if it is one that can be stored and shown: up to 128 bytes of printable ASCII without spaces.
pub(crate) fn command(name: &str) -> Result<Command, Refused> {
    if name.len() <= 128 {
        let command = Command::new(name);
        // The catalogue's are.
        if command.info().is_some() || !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Ok(command);
        }
    }
    Err(Refusal::CommandMalformed
        .because("CallbackCommand in the query is not 1 to 128 bytes of printable ASCII without spaces"))
}

/// Decimal digits and nothing else: `parse` alone would take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use dispatcher_core::{App, Secret};
    use tencent_chat::query_string;

    use super::*;

    // The published vector.
    const TIME: i64 = 1_669_872_112_000;
    const SIGNED: &str = "Sign=17773bc39a671d7b9aa835458704d2a6db81360a5940292b587d6d760d484061&RequestTime=1669872112";

    fn app(id: u64, tokens: &[&str], signature: SignaturePolicy) -> IntakeApp {
        let tokens = tokens.iter().map(|token| Secret::new(token).unwrap()).collect();
        IntakeApp { app: App::new(id, "main"), tokens, signature, allow_from: vec![] }
    }

    #[track_caller]
    fn check(app: &IntakeApp, query: &str, now: i64) -> Option<Refusal> {
        let query = Query::parse(query).unwrap();
        judge(app, &query, now).err().map(|refused| refused.refusal)
    }

    fn judge(app: &IntakeApp, query: &Query<'_>, now: i64) -> Result<(), Refused> {
        let Some(signed) = check_signature(app, query)? else { return Ok(()) };
        check_freshness(&signed, Timestamp::from_millis(now), Duration::from_secs(60))
    }

    #[test]
    fn takes_the_published_vector_for_a_minute_either_way() {
        let app = app(1, &["xxxxyyyy"], SignaturePolicy::Required);
        for (now, refusal) in [
            (TIME, None),
            (TIME + 60_000, None),
            (TIME - 60_000, None),
            (TIME + 60_001, Some(Refusal::SignatureStale)),
            (TIME - 60_001, Some(Refusal::SignatureStale)),
            (i64::MAX, Some(Refusal::SignatureStale)),
            (0, Some(Refusal::SignatureStale)),
        ] {
            assert_eq!(check(&app, SIGNED, now), refusal, "at {now}");
        }
    }

    #[test]
    fn takes_any_of_the_tokens_and_either_hex_case() {
        let upper = SIGNED.to_uppercase();
        for (tokens, query, refusal) in [
            (&["xxxxyyyy"][..], SIGNED, None),
            (&["old", "xxxxyyyy"], SIGNED, None),
            (&["xxxxyyyy", "new"], SIGNED, None),
            (&["xxxxyyyy"], &*upper, None),
            (&["old", "new"], SIGNED, Some(Refusal::SignatureWrong)),
        ] {
            assert_eq!(check(&app(1, tokens, SignaturePolicy::Required), query, TIME), refusal, "{tokens:?} {query}");
        }
    }

    #[test]
    fn asks_for_as_much_as_the_policy_says() {
        use SignaturePolicy::{Off, Optional, Required};
        let (missing, wrong) = (Some(Refusal::SignatureMissing), Some(Refusal::SignatureWrong));
        for (signature, query, refusal) in [
            (Required, "", missing),
            (Required, "Sign=ab", missing),
            (Required, "RequestTime=1669872112", missing),
            (Required, "Sign=ab&RequestTime=1669872112", wrong),
            (Optional, "", None),
            (Optional, SIGNED, None),
            (Optional, "Sign=ab", missing),
            (Optional, "Sign=&RequestTime=1669872112", missing),
            (Optional, "Sign=ab&RequestTime=1669872112", wrong),
            (Off, "Sign=ab", None),
            (Off, "", None),
        ] {
            assert_eq!(check(&app(1, &["xxxxyyyy"], signature), query, TIME), refusal, "{signature:?} on {query:?}");
        }
    }

    #[test]
    fn a_time_that_is_no_number_is_refused_though_rightly_signed() {
        for time in ["+1669872112", "1669872112.0", "-1", "99999999999999999999", "9223372036854775807", "now"] {
            let sign = tencent_chat::sign("xxxxyyyy", time);
            let query = format!("Sign={sign}&RequestTime={}", time.replace('+', "%2B"));
            let app = app(1, &["xxxxyyyy"], SignaturePolicy::Required);
            assert_eq!(check(&app, &query, TIME), Some(Refusal::SignatureStale), "{time}");
        }
    }

    #[test]
    fn a_stale_time_says_by_how_much() {
        let app = app(1, &["t"], SignaturePolicy::Required);
        let raw = query_string(1, "A.B", None, None, Some(("t", 1000)));
        let query = Query::parse(&raw).unwrap();
        let refused = judge(&app, &query, 1_075_000).unwrap_err();
        assert_eq!(
            refused.info,
            "RequestTime is 75 s behind this machine's clock, and 60 s are allowed; check both clocks"
        );
    }

    #[test]
    fn finds_apps_by_their_whole_number() {
        let apps = Apps::new(vec![app(20, &["t"], SignaturePolicy::Required), app(3, &[], SignaturePolicy::Off)]);
        let apps = apps.ok().unwrap();
        for (query, found) in [
            ("SdkAppid=20", Ok(20)),
            ("sdkappid=3", Ok(3)),
            ("SdkAppid=4", Err(Refusal::AppUnknown)),
            ("SdkAppid=%2B3", Err(Refusal::AppUnknown)),
            ("SdkAppid=3x", Err(Refusal::AppUnknown)),
            ("SdkAppid=99999999999999999999", Err(Refusal::AppUnknown)),
            ("SdkAppid=", Err(Refusal::AppMissing)),
            ("", Err(Refusal::AppMissing)),
        ] {
            let query = Query::parse(query).unwrap();
            let app = apps.find(&query).map(|(_, app)| app.app.sdk_app_id()).map_err(|refused| refused.refusal);
            assert_eq!(app, found, "{query:?}");
        }
    }

    #[test]
    fn an_app_needs_a_token_unless_nothing_is_signed() {
        let without = |signature| Apps::new(vec![app(1, &[], signature)]).is_ok();
        assert!(without(SignaturePolicy::Off));
        assert!(!without(SignaturePolicy::Optional) && !without(SignaturePolicy::Required));
        assert!(Apps::new(vec![app(1, &[], SignaturePolicy::Off), app(1, &[], SignaturePolicy::Off)]).is_err());
    }

    #[test]
    fn commands_are_short_printable_ascii() {
        let longest = "x".repeat(128);
        for (name, fine) in [
            ("Group.CallbackAfterGroupFull", true),
            ("anything", true),
            (&*longest, true),
            (&*format!("{longest}x"), false),
            ("", false),
            ("A B", false),
            ("A\n", false),
            ("群", false),
        ] {
            assert_eq!(command(name).is_ok(), fine, "{name:?}");
        }
    }
}
