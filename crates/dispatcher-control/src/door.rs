//! Who is let in over TCP: those who ask in the right way, at a name that is ours, with a token.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use dispatcher_core::Secret;
use dispatcher_tls::Tls;
use hyper::{
    HeaderMap, Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderName, ORIGIN},
};
use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq as _};
use tokio::sync::watch;

use crate::{
    AdminCounters,
    wire::{CONTROL_PATH, MAX_REQUEST},
};

/// Who is let in.
#[derive(Clone, Debug, Default)]
pub struct AdminOptions {
    /// Each of them opens. None: nobody gets in.
    pub tokens: Vec<Secret>,
    /// Names that it may be asked at, with a port or, for any port, without. The address that it listens on is one in any
    /// case.
    pub hosts: Vec<String>,
    /// What TLS is spoken with; `None`: plain HTTP.
    pub tls: Option<Tls>,
}

/// The options that count now, and what is counted of those who come. A clone is the same.
#[derive(Clone, Debug)]
pub struct Admission {
    options: watch::Sender<Arc<AdminOptions>>,
    counters: Arc<AdminCounters>,
}

impl Admission {
    /// For these options.
    #[must_use]
    pub fn new(options: AdminOptions) -> Admission {
        let counters = Arc::<AdminCounters>::default();
        counters.set_tls(options.tls.as_ref());
        Admission { options: watch::Sender::new(Arc::new(options)), counters }
    }

    /// From now on these count. Whoever would not be let in by them any more is cut, but for those who have something changed:
    /// that goes on to its end. Nobody else notices.
    pub fn replace(&self, options: AdminOptions) {
        self.counters.set_tls(options.tls.as_ref());
        self.options.send_replace(Arc::new(options));
    }

    /// What is counted.
    #[must_use]
    pub fn counters(&self) -> Arc<AdminCounters> {
        self.counters.clone()
    }

    pub(crate) fn now(&self) -> Arc<AdminOptions> {
        self.options.borrow().clone()
    }

    /// The options as they change from now on.
    pub(crate) fn changes(&self) -> watch::Receiver<Arc<AdminOptions>> {
        self.options.subscribe()
    }
}

/// Why a request is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Origin,
    Host,
    Path,
    Method,
    Token,
    /// Its connection could not be made now.
    Connection,
    TooLarge,
    Broken,
    Late,
    /// Its body is no request; what is wrong with it is told instead of this.
    NoRequest,
    Busy,
}

impl Refusal {
    pub(crate) const ALL: [Refusal; 11] = [
        Refusal::Origin,
        Refusal::Host,
        Refusal::Path,
        Refusal::Method,
        Refusal::Token,
        Refusal::Connection,
        Refusal::TooLarge,
        Refusal::Broken,
        Refusal::Late,
        Refusal::NoRequest,
        Refusal::Busy,
    ];

    /// Its name in metrics: the intake's, where that knows it too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Refusal::Origin => "origin_given",
            Refusal::Host => "host_unknown",
            Refusal::Path => "path_unknown",
            Refusal::Method => "method_not_post",
            Refusal::Token => "token_wrong",
            Refusal::Connection => "connection_outdated",
            Refusal::TooLarge => "body_too_long",
            Refusal::Broken => "body_broken",
            Refusal::Late => "body_late",
            Refusal::NoRequest => "no_request",
            Refusal::Busy => "too_busy",
        }
    }

    /// How it is answered: nothing of the request is repeated.
    pub(crate) fn answer(self) -> (StatusCode, &'static str) {
        match self {
            Refusal::Origin => (StatusCode::FORBIDDEN, "pages of browsers are not answered here"),
            Refusal::Host => {
                (StatusCode::FORBIDDEN, "it is not called that; [admin] hosts says which names it may be asked at")
            }
            Refusal::Path => (StatusCode::NOT_FOUND, "requests are posted to /control"),
            Refusal::Method => (StatusCode::METHOD_NOT_ALLOWED, "ask with POST"),
            Refusal::Token => {
                (StatusCode::UNAUTHORIZED, "this takes a token of [admin] tokens, as `Authorization: Bearer TOKEN`")
            }
            Refusal::Connection => {
                (StatusCode::FORBIDDEN, "who is let in has changed since this connection was made; connect again")
            }
            Refusal::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "a request has at most 1 MiB"),
            Refusal::Broken => (StatusCode::BAD_REQUEST, "the request did not come as a whole"),
            Refusal::Late => (StatusCode::REQUEST_TIMEOUT, "the request took too long to come"),
            Refusal::NoRequest => (StatusCode::BAD_REQUEST, "this is no request"),
            Refusal::Busy => {
                (StatusCode::SERVICE_UNAVAILABLE, "the dispatcher answers as many as it does at once; try again later")
            }
        }
    }
}

/// Of a token. Hashes are compared: of those, the length says nothing.
pub(crate) struct TokenHash([u8; 32]);

impl TokenHash {
    pub(crate) fn of(token: &str) -> TokenHash {
        TokenHash(Sha256::digest(token).into())
    }
}

/// The token of this request, if it is by its head one to be answered.
pub(crate) fn admit<B>(request: &Request<B>, options: &AdminOptions, local: SocketAddr) -> Result<TokenHash, Refusal> {
    let headers = request.headers();
    // Only browsers say where a page is from; none has business here.
    if headers.contains_key(ORIGIN) {
        return Err(Refusal::Origin);
    }
    // A page whose name somebody points at this address comes with that name.
    let is_ours = |host: &str| is_ours(host, local, &options.hosts);
    let in_target = request.uri().authority().is_none_or(|authority| is_ours(authority.as_str()));
    if !in_target || !only(headers, HOST).is_some_and(is_ours) {
        return Err(Refusal::Host);
    }
    if request.uri().path() != CONTROL_PATH {
        return Err(Refusal::Path);
    }
    if request.method() != Method::POST {
        return Err(Refusal::Method);
    }
    let token = bearer(headers).map(TokenHash::of);
    let token = token.filter(|token| opens(token, &options.tokens)).ok_or(Refusal::Token)?;
    let declared = only(headers, CONTENT_LENGTH).and_then(|len| len.parse::<u64>().ok());
    if declared.is_some_and(|len| len > MAX_REQUEST) {
        return Err(Refusal::TooLarge);
    }
    Ok(token)
}

/// The value of a header that is there once.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok())?
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = only(headers, AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_matches(' '))
}

/// Whether it is one of these. Takes as long for a nearly right one as for any other.
pub(crate) fn opens(token: &TokenHash, tokens: &[Secret]) -> bool {
    let right = tokens.iter().map(|right| Sha256::digest(right.expose()).ct_eq(&token.0[..]));
    right.fold(Choice::from(0), |any, one| any | one).into()
}

fn is_ours(host: &str, local: SocketAddr, hosts: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => name,
        _ => host,
    };
    let address = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name).parse::<IpAddr>();
    address.is_ok_and(|address| address.to_canonical() == local.ip().to_canonical())
        || hosts.iter().any(|known| known.eq_ignore_ascii_case(host) || known.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "a-token-of-thirty-two-characters";

    fn judged(head: &[(&str, &str)]) -> Result<(), Refusal> {
        let options = AdminOptions {
            tokens: vec![Secret::new("another-one-that-opens-as-well!!").unwrap(), Secret::new(TOKEN).unwrap()],
            hosts: vec!["Control.example".into(), "10.0.0.7:99".into()],
            tls: None,
        };
        let mut request = Request::builder().method("POST").uri("/control");
        for (name, value) in head {
            request = match *name {
                ":uri" => request.uri(*value),
                ":method" => request.method(*value),
                name => request.header(name, *value),
            };
        }
        admit(&request.body(()).unwrap(), &options, "127.0.0.1:8081".parse().unwrap()).map(drop)
    }

    #[test]
    fn lets_in_who_asks_in_the_right_way_at_a_name_that_is_ours_with_a_token() {
        let token = ("authorization", "Bearer a-token-of-thirty-two-characters");
        let host = ("host", "127.0.0.1:8081");
        for head in [
            &[host, token][..],
            &[host, ("authorization", "bearer another-one-that-opens-as-well!!")],
            &[("host", "127.0.0.1"), token],
            &[("host", "CONTROL.example:443"), token],
            &[("host", "control.example"), token],
            &[("host", "10.0.0.7:99"), token],
            &[host, token, ("content-length", "1048576")],
            &[host, token, (":uri", "http://control.example/control?x")],
        ] {
            assert_eq!(judged(head), Ok(()), "{head:?}");
        }
        for (head, refusal) in [
            (&[token][..], Refusal::Host),
            (&[host, host, token], Refusal::Host),
            (&[("host", "evil.example"), token], Refusal::Host),
            (&[("host", "127.0.0.1.evil.example:8081"), token], Refusal::Host),
            (&[("host", "10.0.0.7:98"), token], Refusal::Host),
            (&[("host", ""), token], Refusal::Host),
            (&[host, token, (":uri", "http://evil.example/control")], Refusal::Host),
            (&[host, token, ("origin", "null")], Refusal::Origin),
            (&[host, token, ("origin", "http://127.0.0.1:8081")], Refusal::Origin),
            (&[host, token, (":uri", "/")], Refusal::Path),
            (&[host, token, (":method", "GET")], Refusal::Method),
            (&[host], Refusal::Token),
            (&[host, token, token], Refusal::Token),
            (&[host, ("authorization", TOKEN)], Refusal::Token),
            (&[host, ("authorization", "Basic a-token-of-thirty-two-characters")], Refusal::Token),
            (&[host, ("authorization", "Bearer a-token-of-thirty-two-character")], Refusal::Token),
            (&[host, ("authorization", "Bearer a-token-of-thirty-two-charactersX")], Refusal::Token),
            (&[host, ("authorization", "Bearer ")], Refusal::Token),
            (&[host, token, ("content-length", "1048577")], Refusal::TooLarge),
        ] {
            assert_eq!(judged(head), Err(refusal), "{head:?}");
        }
        for token in ["", TOKEN] {
            assert!(!opens(&TokenHash::of(token), &[]), "without tokens nobody gets in");
        }
    }
}
