//! `dispatcher send` against a running dispatcher.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use dispatcher_testkit::Process;
use tempfile::TempDir;

const DISPATCHER: &str = env!("CARGO_BIN_EXE_dispatcher");

/// The exit code, and what it printed with the times taken out.
fn send(folder: &TempDir, url: &str, args: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(DISPATCHER)
        .args(["send", "--url", url])
        .args(args)
        .current_dir(folder.path())
        .env("http_proxy", "http://127.0.0.1:1")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    let untimed = said.lines().map(|line| match (line.split_once(" in "), line.split_once(" ms")) {
        (Some((status, _)), Some((_, rest))) => format!("{status}{rest}"),
        _ => line.to_owned(),
    });
    (output.status.code(), untimed.collect::<Vec<_>>().join("\n"))
}

#[test]
fn sends_signed_callbacks_and_prints_the_replies() {
    let folder = TempDir::new().unwrap();
    let config = "[intake]\nlisten = \"127.0.0.1:0\"\n[[apps]]\nsdk_app_id = 1400000001\nname = \"main\"\ntokens = \
                  [\"a-token\"]\n[handlers.everything]\ntype = \"forward\"\nsinks = [\"archive\"]\n[sinks.archive]\ntype = \
                  \"file\"\npath = \"events.jsonl\"\n[log]\nformat = \"human\"\n";
    fs::write(folder.path().join("dispatcher.toml"), config).unwrap();
    let process = Process::start(DISPATCHER, folder.path());
    let command = "Group.CallbackAfterGroupAttrChanged";
    let ok = format!("200 OK: {}", tencent_chat::OK);

    assert_eq!(send(&folder, process.url(), &[command]), (Some(0), ok.clone()));
    let three = format!("{ok}\n{ok}\n{ok}\n{ok}\n{ok}\n{ok}\n6 answered OK, 0 refused");
    assert_eq!(send(&folder, process.url(), &[command, "--count", "3", "--repeat", "1"]), (Some(0), three));

    fs::write(folder.path().join("body.json"), r#"{"GroupId":"g"}"#).unwrap();
    assert_eq!(send(&folder, process.url(), &[command, "--body", "body.json"]), (Some(0), ok.clone()));
    assert_eq!(send(&folder, process.url(), &["New.Command", "--body", "body.json"]), (Some(0), ok));

    let (code, said) = send(&folder, process.url(), &[command, "--token", "wrong"]);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("401 Unauthorized: {\"ActionStatus\":\"FAIL\""), "{said}");

    let (code, said) = send(&folder, process.url(), &["New.Command"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        said,
        "no sample of \"New.Command\", which is not in the catalogue (`dispatcher commands`); give a body with --body"
    );

    // Four new callbacks, two bodies; what was only repeated is delivered once.
    assert!(process.terminate().success());
    let process = Process::start(DISPATCHER, folder.path());
    let path = folder.path().join("events.jsonl");
    let started = std::time::Instant::now();
    while fs::read_to_string(&path).unwrap_or_default().lines().count() < 6 {
        assert!(started.elapsed() < dispatcher_testkit::PATIENCE, "{}", process.stderr());
        std::thread::yield_now();
    }
    assert!(process.terminate().success());
    assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 6);
}

#[test]
fn nobody_listening_is_said_plainly() {
    let folder = TempDir::new().unwrap();
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{nobody}/callback");
    let (code, said) =
        send(&folder, &url, &["Group.CallbackAfterGroupFull", "--app", "1400000001", "--token", "a-token"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        said,
        format!("cannot reach {url}: Connection refused (os error 111); is the dispatcher running there?")
    );
}

/// What an intake with this certificate answers to a callback that is sent with each of these, and its URL.
#[track_caller]
fn sends(folder: &TempDir, all: &[&[&str]]) -> (Vec<(Option<i32>, String)>, String) {
    let config = "[intake]\nlisten = \"127.0.0.1:0\"\ntls = { cert = \"cert.pem\", key = \"key.pem\" }\n[[apps]]\nsdk_app_id = \
                  1400000001\nname = \"main\"\ntokens = [\"a-token\"]\n[log]\nformat = \"human\"\n";
    fs::write(folder.path().join("dispatcher.toml"), config).unwrap();
    let mut command = Command::new(DISPATCHER);
    command.current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let screen = BufReader::new(child.stdout.take().unwrap());
    let words = screen.lines().map_while(Result::ok).filter_map(|line| {
        let url = line.split_whitespace().find(|word| word.starts_with("https://"));
        url.map(|url| url.trim_end_matches(',').to_owned())
    });
    let url = { words }.next();
    let said = url.map(|url| {
        let command = "Group.CallbackAfterGroupFull";
        (all.iter().map(|args| send(folder, &url, &[&[command], *args].concat())).collect(), url)
    });
    child.kill().unwrap();
    child.wait().unwrap();
    said.expect("it says where it listens")
}

#[test]
fn an_intake_with_a_certificate_of_its_own_is_reached_with_ca() {
    let folder = TempDir::new().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().self_signed(&key).unwrap();
    for (file, text) in
        [("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem()), ("empty.pem", String::new())]
    {
        fs::write(folder.path().join(file), text).unwrap();
    }
    let (said, _) = sends(&folder, &[&["--ca", "cert.pem"], &[], &["--ca", "empty.pem"], &["--ca", "nowhere.pem"]]);
    let [trusted, unknown, empty, missing] = said.try_into().unwrap();
    assert_eq!(trusted, (Some(0), format!("200 OK: {}", tencent_chat::OK)));
    assert_eq!(unknown.0, Some(1), "{unknown:?}");
    assert!(unknown.1.contains("; --ca FILE names the certificate that is trusted"), "{unknown:?}");
    assert!(empty.1.starts_with("--ca empty.pem: no certificate is in it"), "{empty:?}");
    assert!(missing.1.starts_with("--ca nowhere.pem: "), "{missing:?}");
}

#[test]
fn a_certificate_as_openssl_makes_it_is_taken_by_who_names_it() {
    let folder = TempDir::new().unwrap();
    let make = |name: &str, address: &str| {
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=dispatcher"]);
        openssl.args(["-keyout", &format!("{name}.key"), "-out", &format!("{name}.pem")]);
        openssl.args(["-addext", &format!("subjectAltName=IP:{address}")]).current_dir(folder.path());
        openssl.stdout(Stdio::null()).stderr(Stdio::null()).status()
    };
    if make("cert", "127.0.0.1").is_err() {
        assert!(std::env::var_os("CI").is_none(), "there is no openssl on this machine, and CI is to run this");
        eprintln!("skipped: there is no openssl on this machine");
        return;
    }
    fs::rename(folder.path().join("cert.key"), folder.path().join("key.pem")).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["x509", "-in", "cert.pem", "-noout", "-text"]).current_dir(folder.path());
    let shown = String::from_utf8(openssl.output().unwrap().stdout).unwrap();
    assert!(shown.contains("CA:TRUE"), "an authority's by what it says: {shown}");
    make("other", "127.0.0.1").unwrap();
    let (said, url) = sends(&folder, &[&["--ca", "cert.pem"], &["--ca", "other.pem"], &[]]);
    assert_eq!(said[0], (Some(0), format!("200 OK: {}", tencent_chat::OK)));
    for (code, said) in &said[1..] {
        assert_eq!(*code, Some(1), "{said}");
        assert!(said.starts_with(&format!("cannot reach {url}: it shows a certificate as its own that ")), "{said}");
        assert!(said.contains("name that very certificate with --ca FILE"), "{said}");
    }

    // The right certificate under another name is not enough.
    make("cert", "192.0.2.1").unwrap();
    fs::rename(folder.path().join("cert.key"), folder.path().join("key.pem")).unwrap();
    let (said, _) = sends(&folder, &[&["--ca", "cert.pem"]]);
    assert!(said[0].0 == Some(1) && said[0].1.contains("not valid for name"), "{said:?}");
}
