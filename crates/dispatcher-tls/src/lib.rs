//! What a server needs to speak TLS, read from PEM files and checked as a whole: the configuration checks it with this,
//! and the intake serves with what came of it.
//!
//! TLS 1.2 and 1.3, with ring. HTTP/1.1 is the only protocol that is offered.

mod clients;

use std::{fmt, fs, io, path::Path, path::PathBuf, sync::Arc, time::Duration};

use rustls::{
    CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::NoServerSessionStorage,
};

use crate::clients::Clients;

/// Larger than any chain of certificates, and small enough to be read.
const LARGEST_FILE: u64 = 1 << 20;

/// Where everything is, and what is asked of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, and those between it and a root that clients know, in this order.
    pub cert: PathBuf,
    /// The private key of that certificate, not encrypted.
    pub key: PathBuf,
    /// The authorities whose certificates a client may show. None: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// Whether a client has to show one.
    pub client_auth: ClientAuth,
}

/// Whether a client has to show a certificate, where there are authorities to judge it by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// Who shows none gets no connection.
    #[default]
    Required,
    /// Who shows none is let in; who shows a wrong one is not.
    Optional,
}

/// One of the files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFile {
    /// [`TlsFiles::cert`].
    Cert,
    /// [`TlsFiles::key`].
    Key,
    /// [`TlsFiles::client_ca`].
    ClientCa,
}

impl TlsFile {
    /// Its key in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            TlsFile::Cert => "cert",
            TlsFile::Key => "key",
            TlsFile::ClientCa => "client_ca",
        }
    }
}

/// What is wrong with one of the files, and what to do. Nothing of what the file says is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError {
    /// Which one.
    pub file: TlsFile,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.name(), self.message)
    }
}

impl std::error::Error for TlsError {}

/// What a server speaks TLS with. A clone is the same.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    clients: Option<Clients>,
    expires: Option<u64>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls") // There is a key inside.
    }
}

impl Tls {
    /// For `rustls` and what is built on it.
    #[must_use]
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.config.clone()
    }

    /// When the first of its own certificates expires, in Unix seconds; `None` if that cannot be told.
    #[must_use]
    pub fn expires(&self) -> Option<u64> {
        self.expires
    }

    /// Whether clients are judged as they are by `other`: by the same authorities, as strictly. Its own certificates may differ.
    #[must_use]
    pub fn judges_as(&self, other: &Tls) -> bool {
        match (&self.clients, &other.clients) {
            (Some(ours), Some(theirs)) => ours.are(theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        }
    }

    /// Whether a client that shows these certificates – its own, then those between it and an authority; or none – is let in
    /// now: for those who got in when it was by another's judgement. Costs what a handshake does, and does not block.
    #[must_use]
    pub fn lets_in(&self, shown: &[CertificateDer<'_>]) -> bool {
        self.clients.as_ref().is_none_or(|clients| clients.let_in(shown))
    }
}

impl TlsFiles {
    /// Reads the files, and checks that they are what they should be and belong together. Blocks on the disk.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(&self) -> Result<Tls, Vec<TlsError>> {
        let certs = certificates(&self.cert, TlsFile::Cert);
        let key = read(&self.key, TlsFile::Key).and_then(|pem| {
            PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
                let what = "holds no private key; write the PEM file of one that is not encrypted";
                error(TlsFile::Key, format!("{:?} {what}", self.key))
            })
        });
        let authorities = self.client_ca.as_ref().map(|path| authorities(path.as_path())).transpose();
        let (certs, key, authorities) = match (certs, key, authorities) {
            (Ok(certs), Ok(key), Ok(authorities)) => (certs, key, authorities),
            (certs, key, authorities) => {
                return Err([certs.err(), key.err(), authorities.err()].into_iter().flatten().collect());
            }
        };
        self.join(certs, key, authorities).map_err(|err| vec![err])
    }

    /// The files there are, for who wants to know when they change.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()].into_iter().flatten().map(PathBuf::as_path)
    }

    fn join(
        &self,
        certs: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        authorities: Option<RootCertStore>,
    ) -> Result<Tls, TlsError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
            .map_err(|err| error(TlsFile::Cert, err.to_string()))?;
        let clients = authorities
            .map(|authorities| Clients::new(authorities, self.client_auth, provider))
            .transpose()
            .map_err(|err| error(TlsFile::ClientCa, err.to_string()))?;
        let builder = match &clients {
            None => builder.with_no_client_auth(),
            Some(clients) => builder.with_client_cert_verifier(clients.verifier()),
        };
        let expires = certs.iter().filter_map(expiry).min();
        let mut config = builder.with_single_cert(certs, key).map_err(|err| match err {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let what =
                    format!("is not the key of the certificate in {:?}; write the one that belongs to it", self.cert);
                error(TlsFile::Key, format!("{:?} {what}", self.key))
            }
            err => error(TlsFile::Cert, format!("{:?} and {:?} cannot be served: {err}", self.cert, self.key)),
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if clients.is_some() {
            // Who comes back shows its certificate again: it may have expired since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Tls { config: Arc::new(config), clients, expires })
    }
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

fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for cert in certificates(path, TlsFile::ClientCa)? {
        store.add(cert).map_err(|err| {
            error(TlsFile::ClientCa, format!("{path:?} holds something that is no authority's certificate: {err}"))
        })?;
    }
    Ok(store)
}

fn certificates(path: &Path, file: TlsFile) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path, file)?;
    let certs: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match certs {
        Ok(certs) if !certs.is_empty() => Ok(certs),
        _ => Err(error(file, format!("{path:?} holds no certificates; write a PEM file of them"))),
    }
}

fn read(path: &Path, file: TlsFile) -> Result<Vec<u8>, TlsError> {
    let cannot = |err: io::Error| error(file, format!("cannot read {path:?}: {err}"));
    let metadata = fs::metadata(path).map_err(cannot)?;
    if !metadata.is_file() || metadata.len() > LARGEST_FILE {
        return Err(error(file, format!("{path:?} is not a file of a size that PEM has; write a PEM file")));
    }
    fs::read(path).map_err(cannot)
}

fn error(file: TlsFile, message: String) -> TlsError {
    TlsError { file, message }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a certificate and its key, and the files in it.
    fn folder() -> (tempfile::TempDir, TlsFiles) {
        let dir = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let files = TlsFiles {
            cert: dir.path().join("cert.pem"),
            key: dir.path().join("key.pem"),
            client_ca: None,
            client_auth: ClientAuth::Required,
        };
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        (dir, files)
    }

    fn wrong(files: &TlsFiles) -> Vec<(TlsFile, String)> {
        let errors = files.load().err().unwrap_or_default();
        errors.into_iter().map(|err| (err.file, err.message)).collect()
    }

    #[test]
    fn takes_what_belongs_together() {
        let (_dir, mut files) = folder();
        let tls = files.load().unwrap();
        assert_eq!(tls.server_config().alpn_protocols, [b"http/1.1"]);
        assert_eq!(format!("{tls:?}"), "Tls");
        files.client_ca = Some(files.cert.clone());
        files.load().unwrap();
        assert_eq!(files.paths().count(), 3);
    }

    #[test]
    fn names_each_file_that_is_wrong() {
        let (dir, good) = folder();
        let nothing = dir.path().join("nothing.pem");
        let missing =
            TlsFiles { cert: nothing.clone(), key: nothing.clone(), client_ca: Some(nothing), ..good.clone() };
        let found = wrong(&missing);
        assert_eq!(
            found.iter().map(|(file, _)| *file).collect::<Vec<_>>(),
            [TlsFile::Cert, TlsFile::Key, TlsFile::ClientCa]
        );
        assert!(found.iter().all(|(_, what)| what.contains("cannot read")), "{found:?}");

        for (files, file, what) in [
            (TlsFiles { cert: good.key.clone(), ..good.clone() }, TlsFile::Cert, "no certificates"),
            (TlsFiles { key: good.cert.clone(), ..good.clone() }, TlsFile::Key, "no private key"),
            (TlsFiles { client_ca: Some(good.key.clone()), ..good.clone() }, TlsFile::ClientCa, "no certificates"),
            (TlsFiles { cert: dir.path().to_owned(), ..good.clone() }, TlsFile::Cert, "not a file"),
        ] {
            let found = wrong(&files);
            assert!(found.len() == 1 && found[0].0 == file && found[0].1.contains(what), "{found:?}, not {what}");
        }
    }

    #[test]
    fn says_when_the_key_is_another_certificates() {
        let (_dir, mut files) = folder();
        let (_other, others) = folder();
        files.key = others.key;
        let found = wrong(&files);
        assert!(found[0].1.contains("is not the key of the certificate"), "{found:?}");
        assert_eq!(found[0].0, TlsFile::Key);
    }

    #[test]
    fn the_first_to_expire_counts() {
        let (dir, mut files) = folder();
        let long = fs::read_to_string(&files.cert).unwrap();
        let far = files.load().unwrap().expires().unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let expired = params.self_signed(&key).unwrap().pem();
        files.cert = dir.path().join("chain.pem");
        fs::write(&files.cert, long + &expired).unwrap();
        assert_eq!(files.load().unwrap().expires(), Some(1_609_459_200));
        assert!(far > 1_609_459_200, "{far}");
    }

    #[test]
    fn clients_are_judged_by_the_authorities_that_count_now() {
        let (dir, plain) = folder();
        let certificate = |name: &str| {
            let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
            fs::write(dir.path().join(name), made.cert.pem()).unwrap();
            made.cert.pem()
        };
        let (first, second) = (certificate("first"), certificate("second"));
        let with = |pem: String, client_auth: ClientAuth| {
            let client_ca = Some(dir.path().join("ca.pem"));
            fs::write(dir.path().join("ca.pem"), pem).unwrap();
            TlsFiles { client_ca, client_auth, ..plain.clone() }.load().unwrap()
        };
        let both = with(format!("{first}{second}"), ClientAuth::Required);
        let turned = with(format!("{second}{first}"), ClientAuth::Required);
        let narrow = with(second.clone(), ClientAuth::Required);
        let lenient = with(second, ClientAuth::Optional);
        let none = plain.load().unwrap();
        assert!(both.judges_as(&turned) && none.judges_as(&none));
        for (one, other) in [(&both, &narrow), (&narrow, &both), (&narrow, &lenient), (&none, &lenient), (&both, &none)]
        {
            assert!(!one.judges_as(other));
        }
        let shows = |name: &str| vec![CertificateDer::from_pem_file(dir.path().join(name)).unwrap()];
        for (tls, first, second, nothing) in [
            (&both, true, true, false),
            (&narrow, false, true, false),
            (&lenient, false, true, true),
            (&none, true, true, true),
        ] {
            let judged = [shows("first"), shows("second"), vec![]].map(|shown| tls.lets_in(&shown));
            assert_eq!(judged, [first, second, nothing]);
        }
    }

    #[test]
    fn repeats_nothing_of_a_file() {
        let (_dir, files) = folder();
        fs::write(&files.key, "-----BEGIN PRIVATE KEY-----\nsesame\n-----END PRIVATE KEY-----\n").unwrap();
        assert!(wrong(&files).iter().all(|(_, what)| !what.contains("sesame")));
    }
}
