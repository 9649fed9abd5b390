//! Which clients are let in by what they show, and whether that is still so for those who are in.

use std::sync::Arc;

use rustls::{
    RootCertStore,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, UnixTime},
    server::{VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};

use crate::ClientAuth;

/// The authorities that clients are judged by.
#[derive(Clone)]
pub(crate) struct Clients {
    authorities: Arc<RootCertStore>,
    auth: ClientAuth,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Clients {
    pub(crate) fn new(
        authorities: RootCertStore,
        auth: ClientAuth,
        provider: Arc<CryptoProvider>,
    ) -> Result<Clients, VerifierBuilderError> {
        let authorities = Arc::new(authorities);
        let verifier = WebPkiClientVerifier::builder_with_provider(authorities.clone(), provider);
        let verifier = match auth {
            ClientAuth::Required => verifier,
            ClientAuth::Optional => verifier.allow_unauthenticated(),
        };
        Ok(Clients { authorities, auth, verifier: verifier.build()? })
    }

    pub(crate) fn verifier(&self) -> Arc<dyn ClientCertVerifier> {
        self.verifier.clone()
    }

    /// Whether these are the same authorities, in any order, that want the same.
    pub(crate) fn are(&self, others: &Clients) -> bool {
        let (ours, theirs) = (&self.authorities.roots, &others.authorities.roots);
        self.auth == others.auth
            && ours.iter().all(|root| theirs.contains(root))
            && theirs.iter().all(|root| ours.contains(root))
    }

    /// Whether who shows this is let in now: its own certificate, then those between it and an authority; or nothing.
    pub(crate) fn let_in(&self, shown: &[CertificateDer<'_>]) -> bool {
        match shown {
            [] => !self.verifier.client_auth_mandatory(),
            [own, between @ ..] => self.verifier.verify_client_cert(own, between, UnixTime::now()).is_ok(),
        }
    }
}
