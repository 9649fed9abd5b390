//! Servers that are known by certificates in a file that somebody named: those of their authorities, or their own.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};

/// Judges as every client does, but for this: one of the named certificates may be the server's own although it says that it
/// is an authority's, as `openssl req -x509` makes them. Its name and its time have to be right all the same.
#[derive(Debug)]
pub(crate) struct Named {
    certificates: Vec<CertificateDer<'static>>,
    ordinary: Arc<WebPkiServerVerifier>,
}

impl Named {
    pub(crate) fn new(
        certificates: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Named, Box<dyn std::error::Error + Send + Sync>> {
        let mut roots = RootCertStore::empty();
        for certificate in &certificates {
            roots.add(certificate.clone())?;
        }
        let ordinary = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        Ok(Named { certificates, ordinary })
    }
}

impl ServerCertVerifier for Named {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.ordinary.verify_server_cert(own, between, name, ocsp, now) {
            // Said only after its time was looked at, and before its name is.
            Err(err) if is_authority(&err) && self.certificates.contains(own) => {
                verify_server_name(&ParsedCertificate::try_from(own)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.ordinary.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.ordinary.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.ordinary.supported_verify_schemes()
    }
}

/// Whether this says that a server shows an authority's certificate as its own.
fn is_authority(err: &Error) -> bool {
    let Error::InvalidCertificate(CertificateError::Other(other)) = err else { return false };
    other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
    use rustls::crypto::ring;

    use super::*;

    fn authority(name: &str) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    #[test]
    fn an_authoritys_certificate_is_a_servers_own_where_it_is_named_at_its_time_under_its_name() {
        let at = |years: u64| UnixTime::since_unix_epoch(Duration::from_secs(years * 31_557_600));
        let [own, other] = [authority("localhost"), authority("localhost")];
        let named = |certificates: &[&CertificateDer<'static>]| {
            let certificates = certificates.iter().map(|&certificate| certificate.clone()).collect();
            Named::new(certificates, Arc::new(ring::default_provider())).unwrap()
        };
        let judge = |named: &Named, name: &'static str, years: u64| {
            named.verify_server_cert(&own, &[], &ServerName::try_from(name).unwrap(), &[], at(years)).map(drop)
        };
        assert_eq!(judge(&named(&[&own]), "localhost", 55), Ok(()));
        assert_eq!(judge(&named(&[&other, &own]), "localhost", 55), Ok(()));
        assert!(judge(&named(&[&other]), "localhost", 55).is_err(), "the same name is not the same certificate");
        for (name, years) in [("elsewhere", 55), ("localhost", 49), ("localhost", 61)] {
            let err = judge(&named(&[&own]), name, years).unwrap_err();
            assert!(matches!(err, Error::InvalidCertificate(_)) && !is_authority(&err), "{name}, {years}: {err}");
        }
    }
}
