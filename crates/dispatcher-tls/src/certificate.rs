//! What can be told of a certificate: the names that it is for, and how long.

use std::{sync::Arc, time::Duration};

use rustls::{
    CertificateError, Error, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use webpki::EndEntityCert;

/// A certificate that a server shows, with those that come with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The DNS names that it is for, in lower case and in their order in it; a wildcard as it stands there: `*.example.com`.
    pub names: Vec<String>,
    /// When it, or the first of those that come with it, expires, in Unix seconds; `None` if that cannot be told.
    pub expires: Option<u64>,
}

impl Certificate {
    /// Of a chain, the server's own first.
    pub(crate) fn of(chain: &[CertificateDer<'static>]) -> Certificate {
        Certificate {
            names: chain.first().map(names).unwrap_or_default(),
            expires: chain.iter().filter_map(expiry).min(),
        }
    }

    /// What it is called where one is told from another: its first name. A certificate without names has none.
    #[must_use]
    pub fn name(&self) -> &str {
        self.names.first().map_or("", String::as_str)
    }
}

fn names(cert: &CertificateDer<'static>) -> Vec<String> {
    let Ok(cert) = EndEntityCert::try_from(cert) else { return Vec::new() };
    let mut names: Vec<String> = Vec::new();
    for name in cert.valid_dns_names().map(str::to_ascii_lowercase) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// When it expires, in Unix seconds: what a client says that meets it long after.
fn expiry(cert: &CertificateDer<'static>) -> Option<u64> {
    let mut itself = RootCertStore::empty();
    itself.add(cert.clone()).ok()?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = WebPkiServerVerifier::builder_with_provider(Arc::new(itself), provider).build().ok()?;
    let name = ServerName::try_from("localhost").ok()?;
    let long_after = UnixTime::since_unix_epoch(Duration::from_secs(u64::MAX));
    match client.verify_server_cert(cert, &[], &name, &[], long_after) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => Some(not_after.as_secs()),
        _ => None,
    }
}
