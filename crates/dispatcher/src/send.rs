//! `dispatcher send`: callbacks as Tencent would send them, for trying a dispatcher out.

use std::{
    io::{Read as _, Write as _},
    path::Path,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use dispatcher_config::Config;
use dispatcher_core::Registry;
use dispatcher_http::{Roots, client_tls};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use serde_json::Value;
use tencent_chat::Step;

use crate::cli;

/// Sends what `args` ask for and prints each reply. True if every callback was answered OK.
///
/// # Errors
/// When nothing can be sent: no such sample, no file, no server.
pub(crate) fn send(args: &cli::Send, registry: &Registry) -> Result<bool, String> {
    let target = Target::of(args, registry)?;
    let body = Body::of(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|err| format!("cannot start: {err}"))?;
    runtime.block_on(async {
        let client = client(&target.url, args.ca.as_deref())?;
        let client = client.build().map_err(|err| format!("cannot start a client: {err}"))?;
        let (mut n_ok, mut n_refused) = (0_u64, 0_u64);
        for nth in 0..args.count {
            let body = body.nth(nth);
            for _ in 0..=args.repeat {
                let (is_ok, line) = post(&client, &target, &args.command, body.clone()).await?;
                if is_ok {
                    n_ok += 1
                } else {
                    n_refused += 1
                }
                // A reader such as `head` may be gone; the sending goes on.
                let _ = writeln!(std::io::stdout(), "{line}");
            }
        }
        if n_ok + n_refused > 1 {
            let _ = writeln!(std::io::stdout(), "{n_ok} answered OK, {n_refused} refused");
        }
        Ok(n_refused == 0)
    })
}

/// The makings of a client that goes where it is told: no proxy from the environment, no redirects.
pub(crate) fn client(url: &str, ca: Option<&Path>) -> Result<reqwest::ClientBuilder, String> {
    let (roots, of) = match (ca, url.starts_with("https:")) {
        (Some(file), _) => (Roots::These(certificates(file)?), format!("--ca {}", file.display())),
        (None, true) => (Roots::System, "the system's certificates; --ca FILE names others".to_owned()),
        (None, false) => (Roots::Nobody, "TLS".to_owned()),
    };
    let tls = client_tls(roots).map_err(|err| format!("cannot start a client with {of}: {err}"))?;
    let builder = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    Ok(builder.tls_backend_preconfigured(tls))
}

/// The certificates in a PEM file.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let unusable = |err: &dyn std::fmt::Display| format!("--ca {}: {err}", file.display());
    let certificates = CertificateDer::pem_file_iter(file).map_err(|err| unusable(&err))?;
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().map_err(|err| unusable(&err))?;
    if certificates.is_empty() { Err(unusable(&"no certificate is in it; name a PEM file")) } else { Ok(certificates) }
}

async fn post(
    client: &reqwest::Client,
    target: &Target,
    command: &str,
    body: Vec<u8>,
) -> Result<(bool, String), String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let sign_with = target.token.as_deref().map(|token| (token, now));
    let query = tencent_chat::query_string(target.sdk_app_id, command, Some("203.0.113.7"), Some("RESTAPI"), sign_with);
    let started = Instant::now();
    let joint = if target.url.contains('?') { '&' } else { '?' };
    let request = client.post(format!("{}{joint}{query}", target.url)).body(body);
    let response = request.send().await.map_err(|err| {
        format!("cannot reach {}: {}", target.shown(), why(&err.without_url(), "is the dispatcher running there?"))
    })?;
    let status = response.status();
    let text = response.text().await.map_err(|err| {
        // Without its URL, whose signature is good for a minute.
        format!("no whole answer from {}: {}", target.shown(), innermost(&err.without_url()))
    })?;
    let is_ok =
        status.is_success() && serde_json::from_str::<Value>(&text).is_ok_and(|reply| reply["ActionStatus"] == "OK");
    Ok((is_ok, format!("{status} in {:.1} ms: {text}", started.elapsed().as_secs_f64() * 1e3)))
}

/// Why nobody was reached, and what to do: to see `whether` somebody is there, or where somebody is, to name the certificate
/// that was shown.
pub(crate) fn why(err: &dyn std::error::Error, whether: &str) -> String {
    let cause = innermost(err);
    // What is wrong with a certificate is told in words alone by the time that it is here.
    match cause.contains("certificate") {
        true if cause.contains("CaUsedAsEndEntity") => {
            "it shows a certificate as its own that says it is an authority's, as `openssl req -x509` makes them; name that \
             very certificate with --ca FILE, or make one with -addext basicConstraints=critical,CA:FALSE"
                .to_owned()
        }
        true => format!("{cause}; --ca FILE names the certificate that is trusted"),
        false => format!("{cause}; {whether}"),
    }
}

/// The innermost cause says what happened; what is around it only says that it happened while sending.
pub(crate) fn innermost(err: &dyn std::error::Error) -> String {
    let mut cause = err;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// Where to, as which app, signed with what.
struct Target {
    url: String,
    sdk_app_id: u64,
    token: Option<String>,
}

impl Target {
    /// The URL without what may be secret in it.
    fn shown(&self) -> String {
        let url = self.url.split(['?', '#']).next().unwrap_or_default();
        match url.split_once("://") {
            Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit_once('@').map_or(rest, |(_, host)| host)),
            None => url.to_owned(),
        }
    }

    fn of(args: &cli::Send, registry: &Registry) -> Result<Target, String> {
        let given_id = args.app.as_deref().and_then(|app| app.parse::<u64>().ok());
        if let (Some(url), Some(sdk_app_id), Some(token)) = (&args.url, given_id, &args.token) {
            return Ok(Target {
                url: url.clone(),
                sdk_app_id,
                token: Some(token.clone()).filter(|token| !token.is_empty()),
            });
        }
        let config = Config::load(&args.config.config, registry).map_err(|findings| {
            format!("{findings}\n(--url, --app and --token, all three, send without a configuration)")
        })?;
        let app = match &args.app {
            None => config.apps.first(),
            Some(app) => config.apps.iter().find(|each| each.name == *app || Some(each.sdk_app_id) == given_id),
        };
        let sdk_app_id = match (app, given_id) {
            (Some(app), _) => app.sdk_app_id,
            (None, Some(id)) => id,
            (None, None) => {
                let (app, file) = (args.app.as_deref().unwrap_or_default(), args.config.config.display());
                let names: Vec<&str> = config.apps.iter().map(|app| app.name.as_str()).collect();
                return Err(format!("no app {app:?} in {file}; there are {}", names.join(", ")));
            }
        };
        let token = match &args.token {
            Some(token) => Some(token.clone()).filter(|token| !token.is_empty()),
            None => app.and_then(|app| app.tokens.first()).map(|token| token.expose().to_owned()),
        };
        let url = args.url.clone().unwrap_or_else(|| {
            let path = if config.intake.path == "*" { "/" } else { &config.intake.path };
            let mut listen = config.intake.listen;
            if listen.ip().is_unspecified() {
                listen.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
            }
            let scheme = if config.intake.tls.is_some() { "https" } else { "http" };
            format!("{scheme}://{listen}{path}")
        });
        Ok(Target { url, sdk_app_id, token })
    }
}

/// What is sent: given bytes, or a sample whose fields are renewed for each callback.
struct Body {
    bytes: Vec<u8>,
    /// Whether the first is to be sent exactly as it is.
    is_given: bool,
    fields: Vec<&'static str>,
}

impl Body {
    fn of(args: &cli::Send) -> Result<Body, String> {
        let info = tencent_chat::command(&args.command);
        let tells_apart = info.map_or(&[][..], |info| info.tells_apart).iter().filter_map(|path| match path.0 {
            [Step::Field(name)] => Some(*name),
            _ => None,
        });
        let fields = std::iter::once("EventTime").chain(tells_apart).collect();
        let bytes = match (&args.body, info) {
            (Some(path), _) if path.as_os_str() == "-" => {
                let mut bytes = Vec::new();
                std::io::stdin().read_to_end(&mut bytes).map_err(|err| format!("cannot read standard input: {err}"))?;
                bytes
            }
            (Some(path), _) => std::fs::read(path).map_err(|err| format!("cannot read {}: {err}", path.display()))?,
            (None, Some(info)) => info.sample.as_bytes().to_vec(),
            (None, None) => {
                return Err(format!(
                    "no sample of {:?}, which is not in the catalogue (`dispatcher commands`); give a body with --body",
                    args.command
                ));
            }
        };
        Ok(Body { bytes, is_given: args.body.is_some(), fields })
    }

    /// The body of the callback number `nth`: one that no other is a repeat of.
    fn nth(&self, nth: u64) -> Vec<u8> {
        if self.is_given && nth == 0 {
            return self.bytes.clone();
        }
        let Ok(Value::Object(mut body)) = serde_json::from_slice(&self.bytes) else { return self.bytes.clone() };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        for field in &self.fields {
            let Some(value) = body.get_mut(*field) else { continue };
            *value = match (&*value, *field) {
                (Value::String(_), "EventTime") => (now + nth).to_string().into(),
                (Value::Number(_), "EventTime") => (now + nth).into(),
                (Value::Number(number), _) => (number.as_u64().unwrap_or(0) + nth).into(),
                (Value::String(text), _) if nth > 0 => format!("{text}_{nth}").into(),
                (other, _) => other.clone(),
            };
        }
        Value::Object(body).to_string().into_bytes()
    }
}
