//! Callbacks over TLS: versions, certificates of clients, certificates that are replaced; with rustls, and with what
//! OpenSSL says.

use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use dispatcher_decider::Deciders;
use dispatcher_intake::{IntakeOptions, Outcome};
use dispatcher_tls::{ClientAuth, TlsFiles};
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tempfile::TempDir;

use crate::{
    client::{Client, post, post_expecting},
    running::{Running, Setup, signed},
};

const AFTER: &str = "Group.CallbackAfterGroupFull";
const BODY: &str = r#"{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"@TGS#1"}"#;
const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

/// An authority, and what it and a stranger to it have signed, as files in a folder.
pub(crate) struct Pki {
    dir: TempDir,
}

impl Pki {
    /// `ca.pem`, and each certificate with its key: `server`, `client`, `expired`, and `stranger` by another authority.
    pub(crate) fn new() -> Pki {
        let pki = Pki { dir: tempfile::tempdir().unwrap() };
        let authority = |name: &str| {
            let mut params = CertificateParams::new(vec![]).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            (params.self_signed(&key).unwrap().pem(), Issuer::new(params, key))
        };
        let ((ca, ours), (_, theirs)) = (authority("ours"), authority("theirs"));
        fs::write(pki.file("ca.pem"), ca).unwrap();
        pki.issue("server", &ours, (2020, 2999));
        pki.issue("client", &ours, (2020, 2999));
        pki.issue("expired", &ours, (2020, 2021));
        pki.issue("stranger", &theirs, (2020, 2999));
        pki
    }

    fn issue(&self, name: &str, issuer: &Issuer<'_, KeyPair>, years: (i32, i32)) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.not_before = date_time_ymd(years.0, 1, 1);
        params.not_after = date_time_ymd(years.1, 1, 1);
        fs::write(self.cert(name), params.signed_by(&key, issuer).unwrap().pem()).unwrap();
        fs::write(self.key(name), key.serialize_pem()).unwrap();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn cert(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.pem"))
    }

    fn key(&self, name: &str) -> PathBuf {
        self.file(&format!("{name}.key"))
    }

    pub(crate) fn files(&self, client_auth: Option<ClientAuth>) -> TlsFiles {
        TlsFiles {
            cert: self.cert("server"),
            key: self.key("server"),
            client_ca: client_auth.map(|_| self.file("ca.pem")),
            client_auth: client_auth.unwrap_or_default(),
            also: Vec::new(),
        }
    }

    fn start(&self, client_auth: Option<ClientAuth>) -> Running {
        let mut setup = Setup::new();
        setup.options.tls = Some(self.files(client_auth).load().unwrap());
        setup.start()
    }

    /// A client that trusts the authority, and shows this certificate, if any.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        shows: Option<&str>,
    ) -> Arc<ClientConfig> {
        let certs = |path: &Path| -> Vec<CertificateDer<'static>> {
            CertificateDer::pem_file_iter(path).unwrap().map(Result::unwrap).collect()
        };
        let mut roots = RootCertStore::empty();
        certs(&self.file("ca.pem")).into_iter().for_each(|cert| roots.add(cert).unwrap());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        let builder = builder.with_root_certificates(roots);
        Arc::new(match shows {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = PrivateKeyDer::from_pem_file(self.key(name)).unwrap();
                builder.with_client_auth_cert(certs(&self.cert(name)), key).unwrap()
            }
        })
    }
}

/// A callback after which the connection ends.
fn last() -> String {
    post(&signed(AFTER), BODY).replace("Host:", "Connection: close\r\nHost:")
}

#[test]
fn callbacks_come_over_both_versions_and_many_on_a_connection() {
    let pki = Pki::new();
    let running = pki.start(None);
    for version in BOTH {
        let mut client = Client::connect_tls(running.address(), pki.client(&[version], None));
        for _ in 0..3 {
            client.ask(post(&signed(AFTER), BODY)).assert_ok();
        }
        // Ends with a proper goodbye: without one, reading would be an error.
        let rest = client.try_ask(&last()).unwrap();
        assert!(rest.starts_with("HTTP/1.1 200") && rest.contains("connection: close"), "{rest}");
    }
    assert_eq!(running.intake.counters().count(Outcome::TlsFailed), 0);
    assert_eq!(running.end().len(), 8);
}

#[test]
fn a_long_body_comes_whole() {
    let pki = Pki::new();
    let running = pki.start(None);
    let body = BODY.replace("@TGS#1", &"x".repeat(500_000));
    let mut client = Client::connect_tls(running.address(), pki.client(BOTH, None));
    client.ask(post(&signed(AFTER), &body)).assert_ok();
    // And one that is too long is told so, while it is still coming.
    client.ask(&post(&signed(AFTER), &"x".repeat(2 << 20))[..100_000]).assert_refused(413_001);
    drop(client); // Or the rest of it would be waited for.
    assert_eq!(running.end()[0].body_bytes(), body.as_bytes());
}

#[test]
fn who_does_not_finish_its_handshake_is_cut_off() {
    let pki = Pki::new();
    let mut setup = Setup::new();
    setup.options.tls = Some(pki.files(None).load().unwrap());
    setup.options.header_within = Duration::from_millis(300);
    let running = setup.start();
    for begun in [&b""[..], b"\x16", b"\x16\x03\x01\x02\x00\x01"] {
        let mut client = Client::connect(running.address());
        client.send(begun);
        assert_eq!(client.wait_for_close(), "", "after {begun:?}");
    }
    assert_eq!(running.intake.counters().count(Outcome::HeadLate), 3);
}

#[test]
fn what_is_not_tls_is_closed_and_counted() {
    let pki = Pki::new();
    let running = pki.start(None);
    let mut client = Client::connect(running.address());
    client.send(post(&signed(AFTER), BODY));
    client.wait_for_close_of_any_kind(); // After an alert, which is no text.
    let counters = running.intake.counters();
    assert!(running.end().is_empty());
    assert_eq!(counters.count(Outcome::TlsFailed), 1);
}

#[test]
fn a_handshake_that_hangs_does_not_hold_up_a_drain() {
    let pki = Pki::new();
    let running = pki.start(None);
    let address = running.address();
    let mut hanging = Client::connect(address);
    hanging.send(b"\x16\x03\x01");
    // Another connection, behind it in the queue, is being served: so the first has been let in.
    Client::connect_tls(address, pki.client(BOTH, None)).ask(post(&signed(AFTER), BODY)).assert_ok();
    let (report, _) = running.drain(Duration::from_secs(3600)).join().unwrap();
    assert_eq!(report.n_cut, 0);
    hanging.wait_for_close();
}

#[test]
fn what_comes_right_after_its_handshake_is_answered_while_draining() {
    let pki = Pki::new();
    // Whoever is new has a second, in which a busy machine may not come to send.
    let is_answered = |version| {
        let running = pki.start(None);
        let mut idle = Client::connect_tls(running.address(), pki.client(BOTH, None));
        idle.ask(post(&signed(AFTER), BODY)).assert_ok();
        let mut new = Client::connect_tls(running.address(), pki.client(&[version], None));
        while running.intake.counters().count(Outcome::Connection) < 2 {
            std::thread::yield_now();
        }
        let draining = running.drain(Duration::from_secs(3600));
        idle.wait_for_close(); // The order to finish is there.
        let answer = new.try_ask(&post(&signed(AFTER), BODY));
        assert_eq!(draining.join().unwrap().0.n_cut, 0);
        answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    };
    for version in BOTH {
        assert!((0..5).any(|_| is_answered(version)), "{version:?}");
    }
}

#[test]
fn clients_are_asked_for_a_certificate() {
    let pki = Pki::new();
    for (client_auth, shows, gets_in) in [
        (ClientAuth::Required, Some("client"), true),
        (ClientAuth::Required, None, false),
        (ClientAuth::Required, Some("expired"), false),
        (ClientAuth::Required, Some("stranger"), false),
        (ClientAuth::Optional, Some("client"), true),
        (ClientAuth::Optional, None, true),
        (ClientAuth::Optional, Some("expired"), false),
        (ClientAuth::Optional, Some("stranger"), false),
    ] {
        let running = pki.start(Some(client_auth));
        for version in BOTH {
            let asked = Client::connect_tls(running.address(), pki.client(&[version], shows)).try_ask(&last());
            let got_in = asked.as_ref().is_ok_and(|reply| reply.starts_with("HTTP/1.1 200"));
            assert_eq!(got_in, gets_in, "{client_auth:?}, {shows:?}, {version:?}: {asked:?}");
        }
        let n_failed = if gets_in { 0 } else { 2 };
        let counters = running.intake.counters();
        assert_eq!(running.end().len(), 2 - n_failed as usize);
        assert_eq!(counters.count(Outcome::TlsFailed), n_failed); // It is counted when the peer knows it already.
    }
}

#[test]
fn certificates_are_replaced_without_dropping_a_connection() {
    let (old, new) = (Pki::new(), Pki::new());
    let mut setup = Setup::new();
    setup.options.tls = Some(old.files(None).load().unwrap());
    let (mut options, apps) = (setup.options.clone(), setup.apps.clone());
    let running = setup.start();
    let mut open = Client::connect_tls(running.address(), old.client(BOTH, None));
    open.ask(post(&signed(AFTER), BODY)).assert_ok();
    options.tls = Some(new.files(None).load().unwrap());
    let deciders = Deciders::start(vec![], &[], Duration::from_secs(1)).unwrap();
    running.intake.replace(options, apps, vec![], deciders).unwrap();
    open.ask(post(&signed(AFTER), BODY)).assert_ok();
    Client::connect_tls(running.address(), new.client(BOTH, None)).ask(post(&signed(AFTER), BODY)).assert_ok();
    let refused = Client::connect_tls(running.address(), old.client(BOTH, None)).try_ask(&last());
    assert!(refused.unwrap_err().to_string().contains("certificate"));
    let certificates = running.intake.counters().certificates();
    assert!(certificates[0].expires.is_some_and(|expires| expires > 32_000_000_000), "{certificates:?}");
}

#[test]
fn who_is_connected_without_tls_goes_when_it_is_switched_on() {
    let (pki, setup) = (Pki::new(), Setup::new());
    let (mut options, apps) = (setup.options.clone(), setup.apps.clone());
    let running = setup.start();
    let mut open = Client::connect(running.address());
    open.ask(post(&signed(AFTER), BODY)).assert_ok();
    options.tls = Some(pki.files(None).load().unwrap());
    let deciders = Deciders::start(vec![], &[], Duration::from_secs(1)).unwrap();
    running.intake.replace(options, apps, vec![], deciders).unwrap();
    open.wait_for_close();
    Client::connect_tls(running.address(), pki.client(BOTH, None)).ask(post(&signed(AFTER), BODY)).assert_ok();
}

#[test]
fn who_is_out_by_a_narrower_client_ca_goes_and_nobody_else() {
    let (ours, theirs) = (Pki::new(), Pki::new());
    let ca = |who: &[&Pki]| who.iter().map(|pki| fs::read_to_string(pki.file("ca.pem")).unwrap()).collect::<String>();
    let files = |pem: String, client_auth: ClientAuth| {
        let client_ca = ours.file("clients.pem");
        fs::write(&client_ca, pem).unwrap();
        TlsFiles { client_ca: Some(client_ca), client_auth, ..ours.files(None) }
    };
    // Who trusts the intake's authority, and shows what another one signed.
    fs::copy(theirs.cert("client"), ours.cert("guest")).unwrap();
    fs::copy(theirs.key("client"), ours.key("guest")).unwrap();
    let mut setup = Setup::new();
    setup.options.tls = Some(files(ca(&[&ours, &theirs]), ClientAuth::Optional).load().unwrap());
    let (options, apps) = (setup.options.clone(), setup.apps.clone());
    let running = setup.start();
    let replace = |files: TlsFiles| {
        let options = IntakeOptions { tls: Some(files.load().unwrap()), ..options.clone() };
        let deciders = Deciders::start(vec![], &[], Duration::from_secs(1)).unwrap();
        running.intake.replace(options, apps.clone(), vec![], deciders).unwrap();
    };
    for version in BOTH {
        let connect = |shows: Option<&str>| {
            let mut client = Client::connect_tls(running.address(), ours.client(&[version], shows));
            client.ask(post(&signed(AFTER), BODY)).assert_ok();
            client
        };
        replace(files(ca(&[&ours, &theirs]), ClientAuth::Optional));
        let (mut client, mut guest, mut nobody) = (connect(Some("client")), connect(Some("guest")), connect(None));
        let mut busy = connect(Some("guest"));
        // A request that is under way: its body is asked for when the intake has it before it.
        busy.send(post_expecting(&signed(AFTER), BODY.len()));
        assert!(busy.read_head().starts_with("http/1.1 100"));

        // The same authorities, and a new certificate of the intake's own.
        fs::copy(ours.cert("client"), ours.cert("server")).unwrap();
        fs::copy(ours.key("client"), ours.key("server")).unwrap();
        replace(files(ca(&[&theirs, &ours]), ClientAuth::Optional));
        for open in [&mut client, &mut guest, &mut nobody] {
            open.ask(post(&signed(AFTER), BODY)).assert_ok();
        }
        replace(files(ca(&[&ours]), ClientAuth::Optional));
        guest.wait_for_close();
        busy.send(BODY);
        let answer = busy.wait_for_close();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{version:?}: {answer}");
        for open in [&mut client, &mut nobody] {
            open.ask(post(&signed(AFTER), BODY)).assert_ok();
        }
        replace(files(ca(&[&ours]), ClientAuth::Required));
        nobody.wait_for_close();
        client.ask(post(&signed(AFTER), BODY)).assert_ok();
    }
}

/// What `openssl s_client` gets for a callback: everything it writes.
fn openssl(address: SocketAddr, pki: &Pki, args: &[&str]) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address.to_string(), "-servername", "localhost", "-CAfile"]);
    command.arg(pki.file("ca.pem")).args(["-verify_return_error", "-ign_eof"]).args(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may have ended already.
    let _ = child.stdin.take().unwrap().write_all(last().as_bytes());
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn openssl_agrees() {
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CI").is_none(), "there is no openssl on this machine, and CI is to run this");
        eprintln!("skipped: there is no openssl on this machine");
        return;
    }
    let pki = Pki::new();
    let (open, closed) = (pki.start(None), pki.start(Some(ClientAuth::Required)));
    let shows = |name: &str| [pki.cert(name).display().to_string(), pki.key(name).display().to_string()];
    let (client, expired, stranger) = (shows("client"), shows("expired"), shows("stranger"));
    fn with<'a>(version: &'a str, shown: &'a [String; 2]) -> Vec<&'a str> {
        vec![version, "-cert", &shown[0], "-key", &shown[1]]
    }
    for (running, args, expected) in [
        (&open, vec!["-tls1_2"], "HTTP/1.1 200"),
        (&open, vec!["-tls1_3"], "HTTP/1.1 200"),
        (&open, vec!["-tls1_3", "-alpn", "http/1.1,h2"], "ALPN protocol: http/1.1"),
        (&open, vec!["-tls1_3", "-alpn", "h2"], "no application protocol"),
        (&open, vec!["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], "alert handshake failure"),
        (&open, vec!["-tls1", "-cipher", "ALL:@SECLEVEL=0"], "alert handshake failure"),
        (&closed, with("-tls1_2", &client), "HTTP/1.1 200"),
        (&closed, with("-tls1_3", &client), "HTTP/1.1 200"),
        (&closed, vec!["-tls1_3"], "alert certificate required"),
        (&closed, with("-tls1_3", &expired), "alert certificate expired"),
        (&closed, with("-tls1_3", &stranger), "alert unknown ca"),
        (&closed, with("-tls1_2", &expired), "alert certificate expired"),
        (&closed, with("-tls1_2", &stranger), "alert unknown ca"),
    ] {
        let said = openssl(running.address(), &pki, &args);
        assert!(said.contains(expected), "{args:?}: {expected:?} is not in what openssl says:\n{said}");
        assert_eq!(said.contains("HTTP/1.1 200"), expected.contains("1.1"), "{args:?}:\n{said}");
    }
    assert_eq!(closed.end().len(), 2);
}
