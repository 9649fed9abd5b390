//! The settings, and what can be said of them without contacting anybody.

use std::{collections::BTreeMap, time::Duration};

use async_trait::async_trait;
use dispatcher_core::{CheckContext, HandlerConfig, OpenContext, OpenError, Secret, SettingError, TimeSpan};
use dispatcher_http::{Client, ClientParts, Guard, Network, Tls, read_headers, target};
use reqwest::{Url, header::HeaderMap};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    handler::Endpoint,
    service::{Format, Service},
};

/// How long an unused connection is kept. Application servers, which endpoints mostly are, close theirs after five seconds or
/// more; a decision must not meet a connection that is just being closed.
const IDLE: Duration = Duration::from_secs(4);

/// How many unused connections are kept: a busy endpoint has hundreds of questions at a time.
const IDLE_CONNECTIONS: usize = 256;

/// `[handlers.<name>]` with `type = "endpoint"`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointConfig {
    /// The callback URL of the endpoint: http:// or https://. Tencent's parameters are appended to its query. It is shown without
    /// its query, which may hold a token. No default.
    url: String,

    /// What is posted. `"raw"` (the default, since the endpoint already understands it): the callback as Tencent sent it, body and
    /// query. `"cloudevents"`: the callback as one CloudEvents 1.0 object. The endpoint answers in Tencent's shape either way.
    #[serde(default)]
    format: FormatName,

    /// With `format = "raw"`: the token that the endpoint verifies `Sign` with; the query is signed afresh with it. Without it
    /// (the default) the query goes unsigned.
    #[serde(default)]
    tencent_token: Option<Secret>,

    /// Headers to send with every request, such as `Authorization`. Values are secrets and never shown. None by default.
    #[serde(default)]
    headers: BTreeMap<String, Secret>,

    /// Networks or addresses that are not public and may be connected to all the same, such as `"10.0.0.0/8"`. None by
    /// default, so that no URL and no DNS answer leads into the machine or its own network by accident.
    #[serde(default)]
    allow_networks: Vec<Network>,

    /// How long a connection may take to be made, TLS included; never more than half of what a call has. Default "1s". So an
    /// endpoint that cannot be reached is told from one that is slow.
    #[serde(default = "default_connect_timeout")]
    connect_timeout: TimeSpan,

    /// The root certificates and the TLS sessions, shared by what decides and what handles.
    #[serde(skip)]
    tls: Tls,
}

/// What is posted, as the configuration says it.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum FormatName {
    /// The callback as Tencent sent it.
    #[default]
    Raw,
    /// A CloudEvents 1.0 object.
    CloudEvents,
}

fn default_connect_timeout() -> TimeSpan {
    TimeSpan::from_secs(1)
}

#[async_trait]
impl HandlerConfig for EndpointConfig {
    type Handler = Endpoint;

    fn check(&self, _: &CheckContext) -> Result<(), Vec<SettingError>> {
        self.read().map(drop)
    }

    /// It was asked about them.
    fn handles_decided(&self) -> bool {
        false
    }

    async fn open(&self, cx: &OpenContext) -> Result<Endpoint, OpenError> {
        let Read { url, guard, headers } = self.read()?;
        let tls = self.tls.config(url.scheme() == "https")?;
        let connect_timeout = self.connect_timeout.get();
        let client = Client::new(ClientParts {
            guard,
            headers,
            proxy: None,
            connect_timeout: cx.timeout().map_or(connect_timeout, |timeout| connect_timeout.min(timeout / 2)),
            idle: IDLE,
            idle_connections: IDLE_CONNECTIONS,
            tls,
        });
        let client = client.map_err(|err| OpenError::other(err.without_url()))?;
        let format = match self.format {
            FormatName::Raw => Format::Raw { token: self.tencent_token.clone() },
            FormatName::CloudEvents => Format::CloudEvents,
        };
        let name = cx.name().into();
        Ok(Endpoint::new(Service { client, url, format, name }, cx.timeout()))
    }
}

/// The settings in the form that they are used in.
struct Read {
    url: Url,
    guard: Guard,
    headers: HeaderMap,
}

impl EndpointConfig {
    fn read(&self) -> Result<Read, Vec<SettingError>> {
        let mut findings = Vec::new();
        let guard = Guard::new(&self.allow_networks);
        let url = target::parse(&self.url).and_then(|url| guard.check_literal(&url).map(|()| url));
        let url = url.map_err(|message| findings.push(SettingError::new("url", message))).ok();
        if self.format == FormatName::CloudEvents && self.tencent_token.is_some() {
            let message = "signs nothing but format = \"raw\"; for CloudEvents write a header into `headers`";
            findings.push(SettingError::new("tencent_token", message));
        }
        let headers = read_headers(&self.headers, "handler", &mut findings);
        if self.connect_timeout.get().is_zero() {
            findings.push(SettingError::new("connect_timeout", "no connection is made in no time; write \"1s\""));
        }
        match url {
            Some(url) if findings.is_empty() => Ok(Read { url, guard, headers }),
            _ => Err(findings),
        }
    }
}
