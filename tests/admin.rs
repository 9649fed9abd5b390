//! The dispatcher asked and steered over TCP: who is let in, what is answered, and what is on record of it.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

mod commands;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
};

use dispatcher_testkit::{PATIENCE, Process, Tencent};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::commands::{fails, json, ok, run, text};

const DISPATCHER: &str = env!("CARGO_BIN_EXE_dispatcher");
const TOKEN: &str = "marked-token-of-the-first-half-year";
const NEXT_TOKEN: &str = "marked-token-of-the-second-half-year";
const WRONG_TOKEN: &str = "marked-token-that-never-was-right!!";
/// What nobody may see without asking for it.
const SECRET: &str = "meet me at pier four";

fn program() -> &'static str {
    DISPATCHER
}

fn config(folder: &Path, admin: &str) {
    let text = format!(
        "[intake]\nlisten = \"127.0.0.1:0\"\n\n[[apps]]\nsdk_app_id = 1400000001\nname = \"main\"\ntokens = \
         [\"a-token\"]\n\n[journal]\npath = \"journal.db\"\n\n[log]\nformat = \"human\"\n\n[handlers.forward]\nsinks = \
         [\"archive\"]\n\n[sinks.archive]\ntype = \"file\"\npath = \"events.jsonl\"\n\n{admin}"
    );
    fs::write(folder.join("dispatcher.toml"), text).unwrap();
}

const ADMIN: &str =
    "[admin]\nlisten = \"127.0.0.1:0\"\ntokens = [{ file = \"token\" }]\nhosts = [\"control.example\"]\n";

/// A dispatcher with that section, and where it can be asked.
fn start(folder: &Path, admin: &str) -> (Process, String) {
    fs::write(folder.join("token"), TOKEN).unwrap();
    config(folder, admin);
    let process = Process::start(DISPATCHER, folder);
    let addr = json(folder, &["status", "--json"])["running"]["admin"].as_str().unwrap().to_owned();
    (process, addr)
}

/// A command that is told of a dispatcher elsewhere; no configuration is where it runs.
fn remote(url: &str, token: &str, args: &[&str]) -> Output {
    let nowhere = TempDir::new().unwrap();
    let mut command = Command::new(DISPATCHER);
    command.args(args).current_dir(nowhere.path()).stdin(Stdio::null());
    command.env("DISPATCHER_ADMIN_URL", url).env("DISPATCHER_ADMIN_TOKEN", token).output().unwrap()
}

#[track_caller]
fn remote_ok(addr: &str, args: &[&str]) -> String {
    let output = remote(&format!("http://{addr}"), TOKEN, args);
    assert_eq!(output.status.code(), Some(0), "{args:?} says: {}", text(&output.stderr));
    text(&output.stdout)
}

/// What is answered to these bytes, as a whole.
fn raw(addr: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn post(host: &str, headers: &str, body: &str) -> String {
    format!("POST /control HTTP/1.1\r\nHost: {host}\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn audit(folder: &Path) -> Vec<Value> {
    let lines = fs::read_to_string(folder.join("audit.jsonl")).unwrap_or_default();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

const STATUS: &str = "{\"version\":1,\"request\":\"status\"}\n";

#[tokio::test(flavor = "multi_thread")]
async fn who_is_let_in_and_who_is_not() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let (process, addr) = start(folder, ADMIN);
    let bearer = format!("Authorization: Bearer {TOKEN}\r\n");
    let status = |answer: &str| answer.split(' ').nth(1).unwrap_or("none").to_owned();
    for host in [addr.as_str(), "control.example", "Control.Example:443"] {
        let answer = raw(&addr, &post(host, &bearer, STATUS));
        assert_eq!(status(&answer), "200", "{host}: {answer}");
        assert!(answer.contains("application/jsonl") && answer.contains("{\"done\":"), "{answer}");
    }
    let wrong = format!("Authorization: Bearer {WRONG_TOKEN}\r\n");
    let too_large = post(&addr, &bearer, "").replace("Content-Length: 0", "Content-Length: 2000000");
    let chunked =
        format!("POST /control HTTP/1.1\r\nHost: {addr}\r\n{bearer}Transfer-Encoding: chunked\r\n\r\n100001\r\n");
    for (request, code, says) in [
        (post(&addr, "", STATUS), "401", "www-authenticate: Bearer"),
        (post(&addr, &wrong, STATUS), "401", "www-authenticate: Bearer"),
        (post(&addr, &format!("{bearer}Origin: http://{addr}\r\n"), STATUS), "403", "pages of browsers"),
        (post("evil.example", &bearer, STATUS), "403", "[admin] hosts"),
        (post(&addr, &bearer, STATUS).replace("POST", "GET"), "405", "allow: POST"),
        (post(&addr, &bearer, STATUS).replace("/control", "/"), "404", "/control"),
        (too_large, "413", "1 MiB"),
        (format!("{chunked}{}", "x".repeat(0x10_0001)), "413", "1 MiB"),
        (post(&addr, &bearer, "hello"), "400", "{\"failed\":\"this is no request: "),
        (
            post(&addr, &bearer, "{\"version\":1,\"request\":{\"launch\":1}}"),
            "400",
            "{\"failed\":\"this is no request: ",
        ),
        (format!("GET / HTTP/1.1\r\n{}\r\n\r\n", "x".repeat(20_000)), "4", ""),
    ] {
        let answer = raw(&addr, &request);
        assert!(status(&answer).starts_with(code) && answer.contains(says), "not {code} {says}: {answer}");
        assert!(!answer.contains("marked-token"), "{answer}");
    }

    // Whoever guesses holds up no one else.
    let guessing: Vec<TcpStream> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(&addr).unwrap();
            stream.write_all(post(&addr, &wrong, STATUS).as_bytes()).unwrap();
            stream
        })
        .collect();
    remote_ok(&addr, &["status"]);
    for mut stream in guessing {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(status(&answer), "401");
    }
    let before = audit(folder);
    assert_eq!(before.len(), 1, "the first at once, and the rest together: {before:?}");
    assert_eq!(
        (&before[0]["action"], &before[0]["n"], &before[0]["via"]),
        (&json!("authenticate"), &json!(1), &json!("tcp"))
    );
    assert!(process.stderr().contains("a token that is not right came to [admin] listen"), "{}", process.stderr());
    let stderr = process.stderr();
    assert!(process.terminate().success());
    let after = audit(folder);
    assert_eq!((after.len(), &after[1]["n"]), (2, &json!(9)), "{after:?}");
    for text in [stderr, fs::read_to_string(folder.join("audit.jsonl")).unwrap()] {
        assert!(!text.contains("marked-token"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_goes_through_the_socket_goes_over_tcp_and_is_on_record() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let (process, addr) = start(folder, ADMIN);
    let body = format!(
        r#"{{"CallbackCommand":"Group.CallbackAfterSendMsg","GroupId":"g","MsgSeq":1,"From_Account":"mara","MsgBody":[{{
        "MsgType":"TIMTextElem","MsgContent":{{"Text":"{SECRET}"}}}}],"EventTime":"1767000000000"}}"#
    );
    let tencent = Tencent::new(process.url(), 1_400_000_001, Some("a-token"));
    tencent.send("Group.CallbackAfterSendMsg", &body).await.expect_ok();
    for args in [
        &["callbacks", "--json"][..],
        &["handlers", "list"],
        &["show", "callbacks/1", "--contents"],
        &["consumers", "list"],
    ] {
        assert_eq!(remote_ok(&addr, args), ok(folder, args), "{args:?}");
    }
    let version = |status: &str| serde_json::from_str::<Value>(status).unwrap()["running"]["pid"].clone();
    assert_eq!(version(&remote_ok(&addr, &["status", "--json"])), process.id());
    assert!(remote_ok(&addr, &["callbacks", "--contents", "--text", "pier four"]).contains(SECRET));
    assert_eq!(
        remote_ok(&addr, &["sinks", "pause", "archive", "--reason", "new disk"]),
        "sink archive is paused; `dispatcher sinks resume archive` lets it go on\n"
    );
    assert_eq!(ok(folder, &["sinks", "resume", "archive"]), "sink archive goes on\n");
    assert_eq!(remote_ok(&addr, &["reload"]), "nothing has changed\n");
    let url = format!("http://{addr}");
    let failed = remote(&url, TOKEN, &["sinks", "pause", "x"]);
    assert!(text(&failed.stderr).starts_with("the journal knows no consumer sink:x"), "{failed:?}");
    assert!(
        text(&remote(&url, TOKEN, &["journal", "backup", "copy.db"]).stderr).contains("write an absolute path there")
    );
    let copy = folder.join("copy.db");
    assert!(remote_ok(&addr, &["journal", "backup", copy.to_str().unwrap()]).contains("1 callbacks"));
    let with_option = remote("", TOKEN, &["sinks", "list", "--admin", &url]);
    assert_eq!(text(&with_option.stdout), ok(folder, &["sinks", "list"]));
    for (url, token, says) in [
        (
            url.as_str(),
            WRONG_TOKEN,
            "does not take this token; put one of its [admin] tokens into DISPATCHER_ADMIN_TOKEN",
        ),
        (&url, "", "put one of its [admin] tokens into the variable DISPATCHER_ADMIN_TOKEN"),
        ("http://10.0.0.7:1", TOKEN, "the token would be read on the way; write a URL such as https://"),
        ("http://127.0.0.1:1", TOKEN, "cannot reach http://127.0.0.1:1/control: "),
        (
            &url.replace("127.0.0.1", "localhost"),
            TOKEN,
            "answers 403 Forbidden: it is not called that; [admin] hosts says ",
        ),
    ] {
        let output = remote(url, token, &["status"]);
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains(says), "{said}");
        assert!(!said.contains("marked-token"), "{said}");
    }

    // A line is there before the answer is.
    let lines = audit(folder);
    let told: Vec<String> = lines
        .iter()
        .map(|line| {
            let show = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", show("via"), show("action"), show("result"))
        })
        .collect();
    assert_eq!(
        told,
        [
            "tcp show done",
            "socket show done",
            "tcp callbacks done",
            "tcp pause done",
            "socket resume done",
            "tcp reload done",
            "tcp pause failed",
            "tcp backup done",
            "tcp authenticate refused"
        ]
    );
    assert_eq!(lines[2]["request"]["text"], "(not written down)", "{}", lines[2]);
    assert_eq!(lines[3]["request"], json!({ "consumer": "sink:archive", "reason": "new disk" }));
    assert!(lines[3]["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{}", lines[3]);
    assert_eq!(lines[4]["uid"], rustix::process::geteuid().as_raw());
    assert!(lines[4]["pid"].as_i64().unwrap() > 0, "{}", lines[4]);
    assert!(lines[6]["why"].as_str().unwrap().starts_with("the journal knows no consumer"), "{}", lines[6]);
    let file = folder.join("audit.jsonl");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let stderr = process.stderr();
    assert!(stderr.contains("action=\"pause\"") || stderr.contains("action=pause"), "{stderr}");
    for text in [stderr, fs::read_to_string(file).unwrap(), ok(folder, &["config"]), ok(folder, &["config", "--json"])]
    {
        assert!(!text.contains("marked-token") && !text.contains(SECRET), "{text}");
    }

    // Who follows, and goes, or is there when it stops.
    let mut follower = Command::new(DISPATCHER)
        .args(["callbacks", "--follow", "--contents", "--config", "none", "--admin", &url])
        .env("DISPATCHER_ADMIN_TOKEN", TOKEN)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut first = [0; 1];
    follower.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert!(process.terminate().success(), "it stops with someone at the other end");
    assert_eq!(follower.wait().unwrap().code(), Some(1));
    let lines = audit(folder);
    let last = lines.last().unwrap();
    assert_eq!((&last["action"], &last["result"]), (&json!("callbacks"), &json!("cut")), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_names_and_the_audit_file_are_reloaded_and_the_address_is_not() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let (process, addr) = start(folder, ADMIN);
    let url = format!("http://{addr}");
    let does = |token: &str| remote(&url, token, &["status"]).status.success();
    let reload = || serde_json::from_str::<Value>(&ok(folder, &["reload", "--json"])).unwrap();
    config(folder, &ADMIN.replace("tokens = [", &format!("tokens = [\"{NEXT_TOKEN}\", ")));
    assert_eq!(reload()["settings"], json!(["admin.tokens"]));
    assert!(does(TOKEN) && does(NEXT_TOKEN), "one while the other is replaced");
    let last =
        ADMIN.replace("{ file = \"token\" }", &format!("\"{NEXT_TOKEN}\"")).replace("control.example", "localhost");
    config(folder, &format!("{last}audit = \"other.jsonl\"\n"));
    assert_eq!(reload()["settings"], json!(["admin.audit", "admin.hosts", "admin.tokens"]));
    assert!(!does(TOKEN) && does(NEXT_TOKEN));
    assert!(remote(&url.replace("127.0.0.1", "localhost"), NEXT_TOKEN, &["status"]).status.success());
    let n = audit(folder).len();
    config(folder, &last.replace("127.0.0.1:0", "127.0.0.2:0").replace("listen", "audit = false\nlisten"));
    let reloaded = reload();
    assert_eq!(reloaded["needs_restart"], json!(["admin.listen"]), "{reloaded}");
    assert!(does(NEXT_TOKEN), "it stays where it was");
    ok(folder, &["log-level", "warn"]);
    assert_eq!(audit(folder).len(), n, "what came later is elsewhere, and then nowhere");
    let other = fs::read_to_string(folder.join("other.jsonl")).unwrap();
    assert!(!other.contains("log_level") && !other.contains("marked-token"), "{other}");
    config(folder, "");
    assert_eq!(reload()["needs_restart"], json!(["admin.listen"]));
    assert!(!does(NEXT_TOKEN), "without tokens nobody gets in");
    assert!(process.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_it_is_asked_by_its_name() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(folder.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.join("other.pem"), other.cert.pem()).unwrap();
    let tls = "tls = { cert = \"cert.pem\", key = \"key.pem\" }\n";
    let (process, addr) = start(folder, &format!("{}{tls}", ADMIN.replace("control.example", "localhost")));
    let url = format!("https://localhost:{}", addr.rsplit_once(':').unwrap().1);
    let ask = |args: &[&str], names: &str, file: &str| {
        let mut command = Command::new(DISPATCHER);
        command.arg("status").args(args).env("DISPATCHER_ADMIN_TOKEN", TOKEN).stdin(Stdio::null());
        command.current_dir(folder).env(names, file).env_remove("SSL_CERT_DIR").output().unwrap()
    };
    let admin = ["--admin", url.as_str()];
    for (args, names, file) in [
        (&admin[..], "SSL_CERT_FILE", "cert.pem"),
        (&admin, "DISPATCHER_ADMIN_CA", "cert.pem"),
        (&[&admin[..], &["--ca", "cert.pem"]].concat(), "DISPATCHER_ADMIN_CA", "nowhere.pem"),
    ] {
        let answered = ask(args, names, file);
        assert!(answered.status.success(), "{args:?}, {names}: {}", text(&answered.stderr));
        assert!(text(&answered.stdout).starts_with("dispatcher "), "{}", text(&answered.stdout));
    }
    for (args, names, file, says) in [
        (&admin[..], "SSL_CERT_FILE", "other.pem", "--ca FILE names the certificate that is trusted"),
        (&admin, "SSL_CERT_FILE", "key.pem", "with the system's certificates; --ca FILE names others: "),
        (&admin, "DISPATCHER_ADMIN_CA", "nowhere.pem", "--ca nowhere.pem: "),
        (
            &["--ca", "cert.pem"],
            "X",
            "",
            "--ca is for a dispatcher elsewhere; name it with --admin or in DISPATCHER_ADMIN_URL",
        ),
    ] {
        let said = ask(args, names, file);
        assert!(!said.status.success() && text(&said.stderr).contains(says), "{args:?}, {names}: {said:?}");
    }
    assert!(process.terminate().success());
}

/// Someone who follows over TLS, showing a certificate.
struct Follower(BufReader<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>);

impl Follower {
    /// Reads until the first callback is there: then the request is under way.
    fn start(folder: &Path, addr: &str, shows: &str, token: &str) -> Follower {
        let certs = |name: &str| vec![CertificateDer::from_pem_file(folder.join(name)).unwrap()];
        let mut roots = rustls::RootCertStore::empty();
        certs("authority.pem").into_iter().for_each(|cert| roots.add(cert).unwrap());
        let key = PrivateKeyDer::from_pem_file(folder.join(format!("{shows}.key"))).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(certs(&format!("{shows}.pem")), key)
            .unwrap();
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let tls = rustls::ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
        let mut follower = Follower(BufReader::new(rustls::StreamOwned::new(tls, stream)));
        let request = "{\"version\":1,\"request\":{\"callbacks\":{\"follow\":true,\"limit\":1}}}";
        let bearer = format!("Authorization: Bearer {token}\r\n");
        follower.0.get_mut().write_all(post("localhost", &bearer, request).as_bytes()).unwrap();
        assert!(follower.hears_of_a_callback(), "{shows} is let in");
        follower
    }

    /// Waits for the next callback; false where the connection ends instead.
    fn hears_of_a_callback(&mut self) -> bool {
        let mut line = String::new();
        loop {
            line.clear();
            // Whoever is cut hears no goodbye.
            match self.0.read_line(&mut line) {
                Ok(0) => return false,
                Ok(_) if line.starts_with("{\"callback\":") => return true,
                Ok(_) => {}
                Err(err) => {
                    assert_ne!(err.kind(), std::io::ErrorKind::WouldBlock, "neither a callback nor an end");
                    return false;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_certificate_or_token_is_out_by_a_reload_is_cut_off_and_nobody_else() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    // Two authorities; each has signed a client, the first the server as well.
    let [authority, guests] = ["authority", "guests"].map(|name| {
        let mut params = rcgen::CertificateParams::new(vec![]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        fs::write(folder.join(format!("{name}.pem")), &pem).unwrap();
        (pem, rcgen::Issuer::new(params, key))
    });
    let issue = |name: &str, issuer: &rcgen::Issuer<'_, rcgen::KeyPair>| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        fs::write(folder.join(format!("{name}.pem")), params.signed_by(&key, issuer).unwrap().pem()).unwrap();
        fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    };
    issue("server", &authority.1);
    issue("client", &authority.1);
    issue("guest", &guests.1);
    fs::write(folder.join("clients.pem"), format!("{}{}", authority.0, guests.0)).unwrap();
    let tls = "tls = { cert = \"server.pem\", key = \"server.key\", client_ca = \"clients.pem\" }\n";
    let admin = ADMIN.replace("tokens = [", &format!("tokens = [\"{NEXT_TOKEN}\", "));
    let admin = format!("{}{tls}", admin.replace("control.example", "localhost"));
    let (process, addr) = start(folder, &admin);
    let tencent = Tencent::new(process.url(), 1_400_000_001, Some("a-token"));
    tencent.change_attribute("group", 0).await;
    let start = |shows: &str, token: &str| Follower::start(folder, &addr, shows, token);
    let (mut client, mut guest, mut next) =
        (start("client", TOKEN), start("guest", TOKEN), start("client", NEXT_TOKEN));

    issue("server", &authority.1);
    assert_eq!(json(folder, &["reload", "--json"])["settings"], json!(["admin.tls"]));
    tencent.change_attribute("group", 1).await;
    assert!([&mut client, &mut guest, &mut next].into_iter().all(Follower::hears_of_a_callback), "it is only renewed");

    fs::write(folder.join("clients.pem"), &authority.0).unwrap();
    ok(folder, &["reload"]);
    assert!(!guest.hears_of_a_callback());
    tencent.change_attribute("group", 2).await;
    assert!([&mut client, &mut next].into_iter().all(Follower::hears_of_a_callback));

    config(folder, &admin.replace(", { file = \"token\" }", ""));
    ok(folder, &["reload"]);
    assert!(!client.hears_of_a_callback());
    tencent.change_attribute("group", 3).await;
    assert!(next.hears_of_a_callback());
    drop(next);
    assert!(process.terminate().success());
    let ended: Vec<_> = audit(folder).into_iter().filter(|line| line["action"] == "callbacks").collect();
    assert!(ended.is_empty(), "nothing that is on record was shown: {ended:?}");
    assert!(!fs::read_to_string(folder.join("audit.jsonl")).unwrap().contains("marked-token"));
}

#[test]
fn what_would_give_the_token_away_is_refused() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let long = format!("tokens = [\"{TOKEN}\"]");
    for (section, line) in [
        ("listen = \"127.0.0.1:0\"".to_owned(), "admin.tokens: nobody would get in; write tokens = ["),
        ("listen = \"127.0.0.1:0\"\ntokens = [\"marked-token\"]".to_owned(), "admin.tokens[0]: could be guessed"),
        (
            format!("listen = \"10.0.0.7:8081\"\n{long}"),
            "admin.listen: whoever is on the way to 10.0.0.7:8081 could read the",
        ),
        (format!("listen = \"0.0.0.0:8081\"\nallow_plain = true\n{long}"), "admin.hosts: nobody asks at 0.0.0.0:8081"),
        (
            format!("listen = \"127.0.0.1:8080\"\n{long}\n[observe]\nlisten = \"127.0.0.1:8080\""),
            "admin.listen: is [observe] ",
        ),
        (
            format!("hosts = [\"https://control.example\"]\n{long}"),
            "admin.hosts[0]: \"https://control.example\" is not what ",
        ),
        ("audit = true".to_owned(), "admin.audit: write a file, such as "),
        ("audit = \"events.jsonl\"".to_owned(), "admin.audit: \"events.jsonl\" may be written by something else"),
        ("audit = \"journal.db-wal\"".to_owned(), "admin.audit: \"journal.db-wal\" may be written by something else"),
    ] {
        config(folder, &format!("[admin]\n{section}\n"));
        let said = fails(folder, &["check"], 78);
        assert!(said.contains(line), "{section} says: {said}");
        assert!(!said.contains("marked-token"), "{said}");
    }
    let fine =
        format!("[admin]\nlisten = \"0.0.0.0:8081\"\nallow_plain = true\nhosts = [\"control.example\"]\n{long}\n");
    config(folder, &fine);
    ok(folder, &["check"]);
    let help = text(&run(folder, &["status", "--help"]).stdout);
    assert!(help.contains("--admin <URL>") && help.contains("DISPATCHER_ADMIN_TOKEN"), "{help}");
}
