//! Several certificates on one address, each for those who ask for its names.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use dispatcher_decider::Deciders;
use dispatcher_tls::{CertFiles, ClientAuth, TlsFiles};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tempfile::TempDir;

use crate::{
    client::{Client, post},
    running::{Running, Setup, signed},
};

const AFTER: &str = "Group.CallbackAfterGroupFull";
const BODY: &str = r#"{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"@TGS#1"}"#;

/// A folder with certificates that nobody signed.
struct Certificates(TempDir);

impl Certificates {
    fn new() -> Certificates {
        let certificates = Certificates(tempfile::tempdir().unwrap());
        certificates.issue("everybodys", &["localhost", "a.many.example"]);
        certificates.issue("many", &["*.many.example"]);
        certificates.issue("one", &["one.example", "b.many.example"]);
        certificates
    }

    fn issue(&self, called: &str, names: &[&str]) {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let made = rcgen::generate_simple_self_signed(names).unwrap();
        let CertFiles { cert, key } = self.files_of(called);
        fs::write(cert, made.cert.pem()).unwrap();
        fs::write(key, made.signing_key.serialize_pem()).unwrap();
    }

    fn files_of(&self, called: &str) -> CertFiles {
        let file = |ending: &str| self.0.path().join(format!("{called}.{ending}"));
        CertFiles { cert: file("pem"), key: file("key") }
    }

    fn files(&self) -> TlsFiles {
        let CertFiles { cert, key } = self.files_of("everybodys");
        let also = ["many", "one"].map(|called| self.files_of(called)).into();
        TlsFiles { cert, key, client_ca: None, client_auth: ClientAuth::default(), also }
    }

    fn read(&self, called: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.files_of(called).cert).unwrap()
    }

    /// A client that trusts all of them.
    fn client(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        for called in ["everybodys", "many", "one"] {
            roots.add(self.read(called)).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        builder.with_root_certificates(roots).with_no_client_auth()
    }

    fn start(&self) -> Running {
        let mut setup = Setup::new();
        setup.options.tls = Some(self.files().load().unwrap());
        setup.start()
    }
}

/// What a client is shown that asks for this name; the error, if it is not for that.
fn shown(address: SocketAddr, client: ClientConfig, name: &str) -> std::io::Result<CertificateDer<'static>> {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut tls = ClientConnection::new(Arc::new(client), name.to_owned().try_into().unwrap()).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut socket)?;
    }
    Ok(tls.peer_certificates().unwrap()[0].clone())
}

#[test]
fn each_is_shown_to_who_asks_for_its_names() {
    let certificates = Certificates::new();
    let running = certificates.start();
    for (name, expected) in [
        ("localhost", "everybodys"),
        ("one.example", "one"),
        ("ONE.example", "one"),
        ("c.many.example", "many"),
        // A name by itself goes before a wildcard.
        ("a.many.example", "everybodys"),
        ("b.many.example", "one"),
    ] {
        let found = shown(running.address(), certificates.client(), name).unwrap();
        assert_eq!(found, certificates.read(expected), "{name} is for {expected}");
    }
    let mut nameless = certificates.client();
    nameless.enable_sni = false;
    assert_eq!(shown(running.address(), nameless, "localhost").unwrap(), certificates.read("everybodys"));
    for other in ["other.example", "many.example", "d.c.many.example", "example"] {
        let refused = shown(running.address(), certificates.client(), other).unwrap_err().to_string();
        assert!(refused.contains("localhost"), "{other} is not shown everybody's, but: {refused}");
    }
    assert_eq!(running.intake.counters().certificates().len(), 3);
}

#[test]
fn they_are_replaced_without_dropping_a_connection() {
    let certificates = Certificates::new();
    let mut setup = Setup::new();
    setup.options.tls = Some(certificates.files().load().unwrap());
    let (mut options, apps) = (setup.options.clone(), setup.apps.clone());
    let running = setup.start();
    let mut open = Client::connect_tls_as(running.address(), Arc::new(certificates.client()), "one.example");
    open.ask(post(&signed(AFTER), BODY)).assert_ok();

    let old = certificates.read("one");
    certificates.issue("one", &["one.example", "two.example"]);
    options.tls = Some(certificates.files().load().unwrap());
    let deciders = Deciders::start(vec![], &[], Duration::from_secs(1)).unwrap();
    running.intake.replace(options, apps, vec![], deciders).unwrap();
    open.ask(post(&signed(AFTER), BODY)).assert_ok();
    for name in ["one.example", "two.example"] {
        let found = shown(running.address(), certificates.client(), name).unwrap();
        assert!(found == certificates.read("one") && found != old, "{name}");
    }
    // The name that it had once is the wildcard's now.
    let found = shown(running.address(), certificates.client(), "b.many.example").unwrap();
    assert_eq!(found, certificates.read("many"));
    let names: Vec<_> = running.intake.counters().certificates().iter().map(|one| one.names.clone()).collect();
    assert_eq!(names[2], ["one.example", "two.example"]);
}

#[test]
fn openssl_is_shown_the_same() {
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CI").is_none(), "there is no openssl on this machine, and CI is to run this");
        eprintln!("skipped: there is no openssl on this machine");
        return;
    }
    let certificates = Certificates::new();
    let running = certificates.start();
    let address = running.address().to_string();
    for (args, expected) in [
        (&["-servername", "one.example"][..], "one"),
        (&["-servername", "x.many.example"], "many"),
        (&["-servername", "other.example"], "everybodys"),
        (&["-noservername"], "everybodys"),
    ] {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &address, "-showcerts"]).args(args);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let without_spaces = |text: &str| text.split_whitespace().collect::<String>();
        let said = without_spaces(&String::from_utf8_lossy(&output.stdout));
        let cert = without_spaces(&fs::read_to_string(certificates.files_of(expected).cert).unwrap());
        assert!(said.contains(&cert), "{args:?} is not shown {expected}, but: {said}");
    }
}
