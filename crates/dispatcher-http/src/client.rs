//! The HTTP client: connections are kept, redirects not followed, the environment's proxy not obeyed.

use std::{
    error::Error,
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;
use dispatcher_core::OpenError;
use reqwest::{
    Method, Proxy, Request, Response, Url,
    header::{HeaderMap, HeaderValue},
    redirect,
};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::CertificateDer};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::time::{Instant, timeout_at};

use crate::{
    answer::{Answer, BodyEnd, NoAnswer},
    guard::Guard,
    named::Named,
    target,
};

/// How much of an answer's body is read so that the connection can be used again. A longer one costs the connection.
const ANSWER_MAX: usize = 64 * 1024;

const USER_AGENT: &str = concat!("dispatcher/", env!("CARGO_PKG_VERSION"));

/// What a client is made of.
pub struct ClientParts {
    /// Where it may connect to, unless it goes through a proxy.
    pub guard: Guard,
    /// What every request says; no answer's excerpt repeats it.
    pub headers: HeaderMap,
    /// What it goes through. Names are then looked up by the proxy, and the guard does not see their addresses.
    pub proxy: Option<Proxy>,
    /// How long a connection may take to be made, TLS included.
    pub connect_timeout: Duration,
    /// How long an unused connection is kept. Below the limit of the other side, so that we are the ones who close it and no
    /// request meets a connection that is being closed.
    pub idle: Duration,
    /// How many unused connections are kept.
    pub idle_connections: usize,
    /// What TLS is made with: see [`Tls`].
    pub tls: ClientConfig,
}

/// Posts. Cheap to clone; clones share their connections, which live on the runtime that they were made on.
#[derive(Clone)]
pub struct Client {
    client: reqwest::Client,
    /// Values of headers: left out where a receiver repeats them.
    secret: Arc<[HeaderValue]>,
}

impl Client {
    /// Makes a client. Connects to nobody.
    ///
    /// # Errors
    /// When TLS cannot be used as it is configured.
    pub fn new(parts: ClientParts) -> Result<Client, reqwest::Error> {
        let secret = parts.headers.values().cloned().collect();
        let builder = reqwest::Client::builder()
            // Without this, `http_proxy` in the environment is obeyed, and a proxy goes where the guard would not.
            .no_proxy()
            .redirect(redirect::Policy::none())
            .tls_backend_preconfigured(parts.tls)
            .connect_timeout(parts.connect_timeout)
            .pool_max_idle_per_host(parts.idle_connections)
            .pool_idle_timeout(parts.idle)
            .tcp_nodelay(true)
            .user_agent(USER_AGENT)
            .default_headers(parts.headers);
        let client = match parts.proxy {
            // Names are looked up by the proxy; only its own would be by us, and it was named on purpose.
            Some(proxy) => builder.proxy(proxy),
            None => builder.dns_resolver(parts.guard),
        }
        .build()?;
        Ok(Client { client, secret })
    }

    /// Posts, and reads the answer: of its body, `keep` bytes are kept. Ends by `deadline`, and of an answer whose body has not
    /// ended by then, what has come is there. It can be dropped at any `.await`; the connection is then closed.
    ///
    /// # Errors
    /// When there is no answer: at least its status and its headers.
    pub async fn post(
        &self,
        url: Url,
        headers: HeaderMap,
        body: Bytes,
        keep: usize,
        deadline: Instant,
    ) -> Result<Answer, NoAnswer> {
        let mut request = Request::new(Method::POST, url.clone());
        *request.headers_mut() = headers;
        *request.body_mut() = Some(body.clone().into());
        let mut response = match timeout_at(deadline, self.client.execute(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(err)) => return Err(NoAnswer::because(&url, &err)),
            Err(_) => return Err(NoAnswer::Lost(format!("no answer from {} in time", target::shown(&url)))),
        };
        let mut kept = Vec::new();
        let end = timeout_at(deadline, read(&mut response, keep, &mut kept)).await.unwrap_or(BodyEnd::Broken);
        Ok(Answer {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: kept,
            end,
            url,
            sent: body,
            secret: self.secret.clone(),
        })
    }
}

/// Reads the body to its end or to the limit, and keeps its beginning.
async fn read(response: &mut Response, keep: usize, kept: &mut Vec<u8>) -> BodyEnd {
    let mut len = 0;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                kept.extend_from_slice(&chunk[..chunk.len().min(keep - kept.len())]);
                len += chunk.len();
                if len > ANSWER_MAX {
                    return BodyEnd::TooLong;
                }
            }
            Ok(None) if len > kept.len() => return BodyEnd::TooLong,
            Ok(None) => return BodyEnd::Whole,
            Err(_) => return BodyEnd::Broken,
        }
    }
}

/// TLS of one plugin instance, made at its first opening: the system's root certificates are read once, and sessions are shared
/// by all that it opens.
#[derive(Debug, Default)]
pub struct Tls(OnceLock<ClientConfig>);

impl Tls {
    /// The configuration of it: with the system's root certificates, or with none at all where TLS is not going to be `used`.
    /// What the first call says holds for all.
    ///
    /// # Errors
    /// When the system's root certificates cannot be read; they are read again at the next call. It names the setting `url`.
    pub fn config(&self, used: bool) -> Result<ClientConfig, OpenError> {
        if let Some(tls) = self.0.get() {
            return Ok(tls.clone());
        }
        let roots = if used { Roots::System } else { Roots::Nobody };
        let tls = client_tls(roots).map_err(|err| OpenError::key("url", format!("cannot use TLS: {err}")))?;
        Ok(self.0.get_or_init(|| tls).clone())
    }
}

/// Whose word a client takes for who a server is.
#[derive(Debug)]
pub enum Roots {
    /// The system's authorities.
    System,
    /// These alone: certificates of authorities, or the server's own.
    These(Vec<CertificateDer<'static>>),
    /// Nobody's: TLS is not going to be used. A machine without certificates is then no obstacle, and nothing is read.
    Nobody,
}

/// What a client speaks TLS with. The provider is ring, for this client alone: what the process or a plugin has installed is
/// left as it is. Reads the system's root certificates where they are asked for, and may block on that.
///
/// # Errors
/// When these cannot be read, or there is something among those that were named that is no certificate.
pub fn client_tls(roots: Roots) -> Result<ClientConfig, Box<dyn Error + Send + Sync>> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let builder = match roots {
        Roots::System => builder.with_platform_verifier()?,
        Roots::These(named) => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Named::new(named, provider)?))
        }
        Roots::Nobody => builder.with_root_certificates(RootCertStore::empty()),
    };
    Ok(builder.with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_name_that_leads_inside_is_never_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let client = Client::new(ClientParts {
            guard: Guard::new(&[]),
            headers: HeaderMap::new(),
            proxy: None,
            connect_timeout: Duration::from_secs(60),
            idle: Duration::from_secs(1),
            idle_connections: 1,
            tls: client_tls(Roots::Nobody).unwrap(),
        })
        .unwrap();
        let url: Url = format!("http://localhost:{}/", listener.local_addr().unwrap().port()).parse().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let answer = client.post(url.clone(), HeaderMap::new(), Bytes::new(), 0, deadline).await;
        let Err(NoAnswer::NotConnected(said)) = answer else { panic!("{:?}", answer.err()) };
        assert!(said.starts_with(&format!("cannot connect to {url}: localhost resolves to ")), "{said}");
        assert!(said.ends_with("which is not a public address; if it is meant, add it to allow_networks"), "{said}");
        assert!(listener.accept().is_err(), "somebody connected");
    }
}
