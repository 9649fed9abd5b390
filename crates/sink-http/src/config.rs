//! The settings, and what can be said of them without contacting anybody.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use dispatcher_core::{CheckContext, OpenContext, OpenError, Secret, SettingError, SinkConfig, Takes, TimeSpan};
use dispatcher_http::{Client, ClientParts, Guard, Network, Tls, read_headers, target};
use reqwest::{Proxy, Url, header::HeaderMap};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{sink::HttpSink, webhook::SigningKey};

/// How long an unused connection is kept: below the limits of most servers and balancers, which are 60 s and more.
const IDLE: Duration = Duration::from_secs(30);

/// `[sinks.<name>]` with `type = "http"`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HttpConfig {
    /// Where to post to: http:// or https://. It is shown without its query, which may hold a token. No default.
    url: String,

    /// What is posted. `"cloudevents"` (the default, since it tells all that is known): each event as one CloudEvents 1.0
    /// object, structured mode. `"raw"`: the callback as Tencent sent it, body and query, for receivers that already
    /// understand Tencent; then only handlers that forward can feed this sink.
    #[serde(default)]
    format: Format,

    /// With `format = "raw"`: the token that the receiver verifies `Sign` with; the query is signed afresh with it. Without
    /// it (the default) the query goes unsigned.
    #[serde(default)]
    tencent_token: Option<Secret>,

    /// Headers to send with every request, such as `Authorization`. Values are secrets and never shown. None by default.
    #[serde(default)]
    headers: BTreeMap<String, Secret>,

    /// Secrets of Standard Webhooks, `"whsec_"` and base64 of 24 to 64 random bytes. Each signs every request, so that a
    /// receiver can change from one to the next. None by default: requests then have no `webhook-signature`.
    #[serde(default)]
    webhook_secrets: Vec<Secret>,

    /// Networks or addresses that are not public and may be connected to all the same, such as `"10.0.0.0/8"`. None by
    /// default, so that no URL and no DNS answer leads into the machine or its own network by accident.
    #[serde(default)]
    allow_networks: Vec<Network>,

    /// A proxy to go through, `"http://user:password@proxy:3128"`; hidden, since it may hold a password. None by default,
    /// whatever the environment says. A proxy looks names up itself: `allow_networks` then covers only addresses in `url`.
    #[serde(default)]
    proxy: Option<Secret>,

    /// How long a connection may take to be made, TLS included. Default "5s", enough for two lost packets; keep it below
    /// `timeout`, so that a receiver that cannot be reached is told from one that is slow.
    #[serde(default = "default_connect_timeout")]
    connect_timeout: TimeSpan,

    /// The root certificates and the TLS sessions, shared by all lanes.
    #[serde(skip)]
    tls: Tls,
}

/// What is posted.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// A CloudEvents 1.0 object.
    #[default]
    CloudEvents,
    /// The callback as Tencent sent it.
    Raw,
}

fn default_connect_timeout() -> TimeSpan {
    TimeSpan::from_secs(5)
}

#[async_trait]
impl SinkConfig for HttpConfig {
    type Sink = HttpSink;

    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        self.read().map(drop)
    }

    fn takes(&self) -> Takes {
        match self.format {
            Format::CloudEvents => Takes::Any,
            Format::Raw => Takes::ForwardedOnly { because: "format = \"raw\"" },
        }
    }

    async fn open(&self, _: &OpenContext) -> Result<HttpSink, OpenError> {
        let Read { url, guard, keys, headers, proxy } = self.read()?;
        let tls = self.tls.config(url.scheme() == "https" || proxy.is_some())?;
        let proxied = proxy.is_some();
        let connect_timeout = self.connect_timeout.get();
        let parts = ClientParts { guard, headers, proxy, connect_timeout, idle: IDLE, idle_connections: 1, tls };
        let client = Client::new(parts).map_err(|err| OpenError::other(err.without_url()))?;
        Ok(HttpSink { client, url, format: self.format, token: self.tencent_token.clone(), keys, proxied })
    }
}

/// The settings in the form that they are used in.
struct Read {
    url: Url,
    guard: Guard,
    keys: Vec<SigningKey>,
    headers: HeaderMap,
    proxy: Option<Proxy>,
}

impl HttpConfig {
    fn read(&self) -> Result<Read, Vec<SettingError>> {
        let mut findings = Vec::new();
        let guard = Guard::new(&self.allow_networks);
        let url = target::parse(&self.url).and_then(|url| guard.check_literal(&url).map(|()| url));
        let url = url.map_err(|message| findings.push(SettingError::new("url", message))).ok();
        if self.format == Format::CloudEvents && self.tencent_token.is_some() {
            let message = "signs nothing but format = \"raw\"; for CloudEvents write webhook_secrets";
            findings.push(SettingError::new("tencent_token", message));
        }
        let headers = read_headers(&self.headers, "sink", &mut findings);
        let mut keys = Vec::new();
        for (idx, secret) in self.webhook_secrets.iter().enumerate() {
            match SigningKey::read(secret) {
                Ok(key) => keys.push(key),
                Err(message) => {
                    let path = vec!["webhook_secrets".to_owned(), format!("[{idx}]")];
                    findings.push(SettingError::at(path, message));
                }
            }
        }
        let proxy = self.proxy.as_ref().map(read_proxy).transpose();
        let proxy = proxy.map_err(|message| findings.push(SettingError::new("proxy", message))).ok().flatten();
        if self.connect_timeout.get().is_zero() {
            findings.push(SettingError::new("connect_timeout", "no connection is made in no time; write \"5s\""));
        }
        match url {
            Some(url) if findings.is_empty() => Ok(Read { url, guard, keys, headers, proxy }),
            _ => Err(findings),
        }
    }
}

fn read_proxy(proxy: &Secret) -> Result<Proxy, &'static str> {
    const WRONG: &str = "not the URL of a proxy; write one such as \"http://proxy.example:3128\"";
    let url = Url::parse(proxy.expose()).map_err(|_| WRONG)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(WRONG);
    }
    Proxy::all(url).map_err(|_| WRONG)
}
