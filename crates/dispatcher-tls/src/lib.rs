//! What a server needs to speak TLS, read from PEM files and checked as a whole: the configuration checks it with this,
//! and the intake serves with what came of it.
//!
//! TLS 1.2 and 1.3, with ring. HTTP/1.1 is the only protocol that is offered.

mod by_name;
mod certificate;
mod clients;

use std::{collections::HashMap, fmt, fs, io, path::Path, path::PathBuf, sync::Arc};

use rustls::{
    Error, InconsistentKeys, RootCertStore, ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
    sign::CertifiedKey,
};

pub use crate::certificate::Certificate;
use crate::{by_name::ByName, clients::Clients};

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
    /// Further certificates, each for those clients that ask for one of its names. `cert` is for all others.
    pub also: Vec<CertFiles>,
}

/// A further certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertFiles {
    /// As [`TlsFiles::cert`]. Its names are the DNS names that stand in it.
    pub cert: PathBuf,
    /// As [`TlsFiles::key`].
    pub key: PathBuf,
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
    /// [`TlsFiles::cert`], or that of a further certificate.
    Cert,
    /// [`TlsFiles::key`], or that of a further certificate.
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
    /// Of which of [`TlsFiles::also`], counted from 0. `None`: of what stands in [`TlsFiles`] itself.
    pub also: Option<usize>,
    /// Which one.
    pub file: TlsFile,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.also.map_or(Ok(()), |idx| write!(f, "also[{idx}]."))?;
        write!(f, "{}: {}", self.file.name(), self.message)
    }
}

impl std::error::Error for TlsError {}

/// What a server speaks TLS with. A clone is the same.
#[derive(Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    certificates: Arc<[Certificate]>,
    clients: Option<Clients>,
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

    /// Its own certificates: the one for everybody, and then those of [`TlsFiles::also`].
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
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

/// A certificate with its key, read, and what can be told of it.
struct Shown {
    certificate: Certificate,
    key: CertifiedKey,
}

impl TlsFiles {
    /// Reads the files, and checks that they are what they should be and belong together. Blocks on the disk.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(&self) -> Result<Tls, Vec<TlsError>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let (mut errors, mut of_names, mut also) = (Vec::new(), HashMap::new(), Vec::new());
        let everybodys = read_pair(&self.cert, &self.key, &provider).map_err(|wrong| errors.extend(wrong)).ok();
        let authorities = self.client_ca.as_ref().map(|path| authorities(path.as_path())).transpose();
        let authorities = authorities.map_err(|wrong| errors.push(wrong)).ok();
        let names_of = |shown: &Shown| shown.certificate.names.clone().into_iter();
        of_names.extend(everybodys.iter().flat_map(names_of).map(|name| (name, &self.cert)));
        for (idx, CertFiles { cert, key }) in self.also.iter().enumerate() {
            let at = |err| TlsError { also: Some(idx), ..err };
            let shown = match read_pair(cert, key, &provider) {
                Ok(shown) => shown,
                Err(wrong) => {
                    errors.extend(wrong.into_iter().map(at));
                    continue;
                }
            };
            if shown.certificate.names.is_empty() {
                let what = "is for no DNS name, so that nobody could ask for it; write one that is, or leave it out";
                errors.push(at(error(TlsFile::Cert, format!("{cert:?} {what}"))));
            }
            if let Some((name, other)) = names_of(&shown).find_map(|name| of_names.get_key_value(&name)) {
                let what = "leave one of them out, or write one that is for other names";
                errors.push(at(error(TlsFile::Cert, format!("{cert:?} is for {name:?}, and so is {other:?}; {what}"))));
            }
            of_names.extend(names_of(&shown).map(|name| (name, cert)));
            also.push(shown);
        }
        match (everybodys, authorities) {
            (Some(everybodys), Some(authorities)) if errors.is_empty() => {
                self.join(everybodys, also, authorities, provider).map_err(|err| vec![err])
            }
            _ => Err(errors),
        }
    }

    /// The files there are, for who wants to know when they change.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        let also = self.also.iter().flat_map(|files| [&files.cert, &files.key]);
        [Some(&self.cert), Some(&self.key), self.client_ca.as_ref()]
            .into_iter()
            .flatten()
            .chain(also)
            .map(PathBuf::as_path)
    }

    fn join(
        &self,
        everybodys: Shown,
        also: Vec<Shown>,
        authorities: Option<RootCertStore>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Tls, TlsError> {
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
        let mut certificates = vec![everybodys.certificate.clone()];
        let mut by_name = ByName::new(&everybodys.certificate.names, everybodys.key);
        for Shown { certificate, key } in also {
            by_name.add(&certificate.names, key);
            certificates.push(certificate);
        }
        let mut config = builder.with_cert_resolver(Arc::new(by_name));
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        if clients.is_some() {
            // Who comes back shows its certificate again: it may have expired since.
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.send_tls13_tickets = 0;
        }
        Ok(Tls { config: Arc::new(config), certificates: certificates.into(), clients })
    }
}

/// A certificate and its key, that belong together.
fn read_pair(cert: &Path, key: &Path, provider: &CryptoProvider) -> Result<Shown, Vec<TlsError>> {
    let certs = certificates(cert, TlsFile::Cert);
    let private = read(key, TlsFile::Key).and_then(|pem| {
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
            let what = "holds no private key; write the PEM file of one that is not encrypted";
            error(TlsFile::Key, format!("{key:?} {what}"))
        })
    });
    let (certs, private) = match (certs, private) {
        (Ok(certs), Ok(private)) => (certs, private),
        (certs, private) => return Err([certs.err(), private.err()].into_iter().flatten().collect()),
    };
    let certificate = Certificate::of(&certs);
    let key = CertifiedKey::from_der(certs, private, provider).map_err(|err| match err {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            let what = format!("is not the key of the certificate in {cert:?}; write the one that belongs to it");
            vec![error(TlsFile::Key, format!("{key:?} {what}"))]
        }
        err => vec![error(TlsFile::Cert, format!("{cert:?} and {key:?} cannot be served: {err}"))],
    })?;
    Ok(Shown { certificate, key })
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
    TlsError { also: None, file, message }
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
            also: Vec::new(),
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
        let far = files.load().unwrap().certificates()[0].expires.unwrap();
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        let key = rcgen::KeyPair::generate().unwrap();
        let expired = params.self_signed(&key).unwrap().pem();
        files.cert = dir.path().join("chain.pem");
        fs::write(&files.cert, long + &expired).unwrap();
        assert_eq!(files.load().unwrap().certificates()[0].expires, Some(1_609_459_200));
        assert!(far > 1_609_459_200, "{far}");
    }

    /// A further certificate for these names, in files called so.
    fn further(dir: &tempfile::TempDir, called: &str, names: &[&str]) -> CertFiles {
        let made = rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>());
        let made = made.unwrap();
        let files =
            CertFiles { cert: dir.path().join(format!("{called}.pem")), key: dir.path().join(format!("{called}.key")) };
        fs::write(&files.cert, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
        files
    }

    #[test]
    fn a_name_has_one_certificate() {
        let (dir, mut files) = folder();
        files.also = vec![
            further(&dir, "a", &["a.example", "*.a.example"]),
            further(&dir, "b", &["B.example", "10.0.0.1", "b.a.example"]),
        ];
        let tls = files.load().unwrap();
        let names: Vec<_> = tls.certificates().iter().map(|one| (one.name(), one.names.len())).collect();
        assert_eq!(names, [("localhost", 1), ("a.example", 2), ("b.example", 2)]);
        assert_eq!(files.paths().count(), 6);

        files.also.push(further(&dir, "c", &["c.example", "b.example"]));
        files.also.push(further(&dir, "d", &["localhost"]));
        files.also.push(further(&dir, "e", &["10.0.0.1"]));
        files.also.push(CertFiles { cert: dir.path().join("nothing"), key: files.also[0].key.clone() });
        files.also.push(CertFiles { cert: files.cert.clone(), key: files.also[0].key.clone() });
        let errors = files.load().unwrap_err();
        let found: Vec<_> = errors.iter().map(|err| (err.also, err.file)).collect();
        let expected =
            [(2, TlsFile::Cert), (3, TlsFile::Cert), (4, TlsFile::Cert), (5, TlsFile::Cert), (6, TlsFile::Key)];
        assert_eq!(found, expected.map(|(idx, file)| (Some(idx), file)), "{errors:?}");
        for (err, what) in
            errors.iter().zip(["\"b.example\"", "\"localhost\"", "no DNS name", "cannot read", "not the key"])
        {
            assert!(err.message.contains(what), "{err} does not say {what}");
        }
        assert!(errors[0].to_string().starts_with("also[2].cert: "), "{}", errors[0]);
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
