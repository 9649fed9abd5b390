//! One lane's HTTP client: one connection kept alive, no redirects, no proxy from the environment.

use std::{error::Error, sync::Arc, time::Duration};

use reqwest::{Client, Proxy, header::HeaderMap, redirect};
use rustls::{ClientConfig, RootCertStore, crypto::ring};
use rustls_platform_verifier::BuilderVerifierExt as _;

use crate::guard::Guard;

/// How long an unused connection is kept. Below the limits of most servers and balancers (60 s and more), so that we are
/// the ones who close it and no request meets a connection that is being closed.
const IDLE_MAX: Duration = Duration::from_secs(30);

const USER_AGENT: &str = concat!("dispatcher/", env!("CARGO_PKG_VERSION"));

/// What a client is made of.
pub(crate) struct ClientParts {
    pub(crate) guard: Guard,
    pub(crate) headers: HeaderMap,
    pub(crate) proxy: Option<Proxy>,
    pub(crate) connect_timeout: Duration,
    pub(crate) tls: ClientConfig,
}

/// Makes a client.
pub(crate) fn client(parts: ClientParts) -> Result<Client, reqwest::Error> {
    let builder = Client::builder()
        // Without this, `http_proxy` in the environment is obeyed, and a proxy goes where the guard would not.
        .no_proxy()
        .redirect(redirect::Policy::none())
        .tls_backend_preconfigured(parts.tls)
        .connect_timeout(parts.connect_timeout)
        .pool_max_idle_per_host(1)
        .pool_idle_timeout(IDLE_MAX)
        .tcp_nodelay(true)
        .user_agent(USER_AGENT)
        .default_headers(parts.headers);
    match parts.proxy {
        // Names are looked up by the proxy; only its own would be by us, and it was named on purpose.
        Some(proxy) => builder.proxy(proxy),
        None => builder.dns_resolver(parts.guard),
    }
    .build()
}

/// TLS with the system's root certificates, or with none at all where TLS is not going to be used: then a machine without
/// certificates is no obstacle, and nothing is read.
///
/// The provider is ring, for this client alone: what the process or another plugin has installed is left as it is.
pub(crate) fn tls(used: bool) -> Result<ClientConfig, Box<dyn Error + Send + Sync>> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?;
    let builder =
        if used { builder.with_platform_verifier()? } else { builder.with_root_certificates(RootCertStore::empty()) };
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
        let parts = ClientParts {
            guard: Guard::new(&[]),
            headers: HeaderMap::new(),
            proxy: None,
            connect_timeout: Duration::from_secs(60),
            tls: tls(false).unwrap(),
        };
        let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
        let err = client(parts).unwrap().post(&url).timeout(Duration::from_secs(20)).send().await.unwrap_err();
        assert!(err.is_connect(), "{err:?}");
        let said = crate::verdict::without_answer(&url.parse().unwrap(), &err).unwrap_err().to_string();
        assert!(said.starts_with(&format!("cannot connect to {url}: localhost resolves to ")), "{said}");
        assert!(said.ends_with("which is not a public address; if it is meant, add it to allow_networks"), "{said}");
        assert!(listener.accept().is_err(), "somebody connected");
    }
}
