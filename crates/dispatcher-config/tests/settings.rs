//! What comes of a configuration that is right, with real plugins.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{fs, time::Duration};

use dispatcher_config::{BackoffSettings, Config, JournalRule, Order, RunSettings, StartAt, WhenBlocked};
use dispatcher_core::{ByteSize, Registry, TimeSpan, Timestamp};
use handler_forward as _;
use sink_log as _;

const HEAD: &str = "
[[apps]]
sdk_app_id = 1
name = \"main\"
signature = \"off\"

[handlers.everything]
type = \"forward\"
sinks = [\"console\"]
";

const HOUR: Duration = Duration::from_secs(3600);

#[track_caller]
fn read(sections: &str) -> Config {
    let registry = Registry::collect(&[]).unwrap();
    let text = format!("{HEAD}{sections}");
    Config::parse("f.toml", &text, &registry, &|_| None).unwrap_or_else(|err| panic!("{err}\nin:\n{text}"))
}

#[test]
fn what_is_left_out_has_its_default() {
    let config = read("[sinks.console]\ntype = \"log\"\n[commands.\"Group.*\"]\n");
    let handler = RunSettings {
        lanes: 4,
        batch: 64,
        attempts: Some(20),
        give_up_after: Some(72 * HOUR),
        backoff: BackoffSettings { first: Duration::from_secs(1), max: HOUR / 6, factor: 2.0 },
        timeout: Duration::from_secs(30),
        order: Order::Key,
        rate: None,
        start: StartAt::End,
        threads: 1,
    };
    assert_eq!(config.handlers[0].run, handler);
    assert_eq!(config.sinks[0].run, RunSettings { lanes: 1, batch: 512, ..handler });
    assert!(config.handlers[0].enabled && config.sinks[0].enabled);
    assert_eq!(config.journal.keep_for.get(), 72 * HOUR);
    assert_eq!(config.journal.max_size.get(), None);
    assert_eq!(config.journal.when_blocked, WhenBlocked::Block);
    assert_eq!(config.journal.keep_dead_letters_for.get(), None);
    assert_eq!((config.commands[0].journal, config.commands[0].keep_for), (JournalRule::Always, None));
}

#[test]
fn what_is_written_is_what_counts() {
    let config = read(
        "
[handlers.other]
type = \"forward\"
enabled = false
attempts = 3
give_up_after = \"off\"
start = 2026-01-02T08:00:00+08:00
sinks = [\"console\"]

[sinks.console]
type = \"log\"
enabled = false
batch = 7
attempts = \"off\"
give_up_after = \"90m\"
start = \"oldest\"
order = \"none\"
rate = \"30/m\"
threads = 2

[commands.\"Group.*\"]
keep_for = \"1h\"

[journal]
keep_for = \"10d\"
max_size = \"16MiB\"
when_blocked = \"dead-letter\"
keep_dead_letters_for = \"30d\"
",
    );
    let other = config.handlers.iter().find(|handler| handler.name == "other").unwrap();
    assert!(!other.enabled && !config.sinks[0].enabled);
    assert_eq!((other.run.attempts, other.run.give_up_after), (Some(3), None));
    // Midnight in UTC, as a time of TOML's own.
    assert_eq!(other.run.start, StartAt::Time(Timestamp::from_millis(1_767_312_000_000)));
    let run = config.sinks[0].run;
    assert_eq!((run.batch, run.attempts, run.give_up_after), (7, None, Some(HOUR * 3 / 2)));
    assert_eq!((run.order, run.start, run.threads), (Order::None, StartAt::Oldest, 2));
    assert_eq!(run.rate.map(|rate| rate.to_string()).as_deref(), Some("30/m"));
    assert_eq!(config.commands[0].keep_for, Some(HOUR));
    assert_eq!(config.journal.keep_for.get(), 240 * HOUR);
    assert_eq!(config.journal.max_size.get(), Some(ByteSize::mib(16)));
    assert_eq!(config.journal.when_blocked, WhenBlocked::DeadLetter);
    assert_eq!(config.journal.keep_dead_letters_for.get().map(TimeSpan::get), Some(720 * HOUR));
}

/// What is wrong with `[intake]` when it says this.
#[track_caller]
fn wrong(intake: &str) -> Vec<String> {
    let registry = Registry::collect(&[]).unwrap();
    let text = format!("[intake]\n{intake}\n{HEAD}[sinks.console]\ntype = \"log\"\n");
    let findings = Config::parse("f.toml", &text, &registry, &|_| None).err().map(|findings| findings.errors);
    findings.into_iter().flatten().map(|finding| finding.to_string()).collect()
}

#[test]
fn the_files_of_tls_are_read_when_they_are_checked() {
    let said = wrong(r#"tls = { cert = "/nowhere/cert.pem", key = "/nowhere/key.pem", client_auth = "optional" }"#);
    let keys = ["intake.tls.client_auth", "intake.tls.cert", "intake.tls.key"];
    assert_eq!(said.len(), keys.len(), "{said:?}");
    for (line, key) in said.iter().zip(keys) {
        assert!(line.starts_with(&format!("f.toml:2: {key}: ")), "{line} is not about {key}");
    }
    let misspelt = wrong(r#"tls = { cert = "/nowhere/cert.pem", key = "/nowhere/key.pem", client_cas = "x" }"#);
    assert!(misspelt.iter().any(|line| line.contains("client_cas")), "{misspelt:?}");
}

#[test]
fn further_certificates_are_read_each_at_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let issue = |name: &str, names: &[&str], year| {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params =
            rcgen::CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        fs::write(file(&format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(file(&format!("{name}.key")), key.serialize_pem()).unwrap();
        format!("cert = {:?}\nkey = {:?}\n", file(&format!("{name}.pem")), file(&format!("{name}.key")))
    };
    let (first, second) = (issue("a", &["a.example"], 2999), issue("b", &["b.example", "*.b.example"], 2021));
    let right = format!("[intake.tls]\n{first}[[intake.tls.also]]\n{second}");
    let config = read(&format!("{right}[sinks.console]\ntype = \"log\"\n"));
    assert_eq!(config.tls.as_ref().unwrap().certificates().len(), 2);
    assert!(config.files.contains(&file("b.pem")) && config.files.contains(&file("b.key")));
    let warned: Vec<_> = config.warnings.iter().map(|warning| warning.key.as_str()).collect();
    assert_eq!(warned, ["intake.tls.also[0].cert"]);

    // Renewed in its files: something else is configured.
    issue("b", &["b.example"], 2998);
    let renewed = read(&format!("{right}[sinks.console]\ntype = \"log\"\n"));
    assert_eq!((renewed.changed_since(&config), renewed.warnings.len()), (vec!["intake.tls".to_owned()], 0));

    let twice = issue("c", &["c.example", "a.example"], 2999);
    let gone = "cert = \"/nowhere/d.pem\"\nkey = \"/nowhere/d.key\"\n";
    let said = wrong(&format!("[intake.tls]\n{first}[[intake.tls.also]]\n{twice}[[intake.tls.also]]\n{gone}"));
    let expected = [
        ("f.toml:6: intake.tls.also[0].cert: ", "is for \"a.example\", and so is "),
        ("f.toml:9: intake.tls.also[1].cert: ", "cannot read"),
        ("f.toml:10: intake.tls.also[1].key: ", "cannot read"),
    ];
    assert_eq!(said.len(), expected.len(), "{said:?}");
    for (line, (at, what)) in said.iter().zip(expected) {
        assert!(line.starts_with(at) && line.contains(what), "{line} is not {at}{what}");
    }
    let none = wrong(&format!("[intake.tls]\n{first}[[intake.tls.also]]\ncert = \"d.pem\"\n"));
    assert!(none.iter().any(|line| line.contains("intake.tls.also[0]") && line.contains("key")), "{none:?}");
}

#[test]
fn a_proxys_header_is_asked_for_where_there_is_a_proxy() {
    let said = wrong("proxy_protocol = true");
    assert!(said.len() == 1 && said[0].starts_with("f.toml:2: intake.proxy_protocol: nobody would"), "{said:?}");
    assert_eq!(wrong("proxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/8\"]"), Vec::<String>::new());
    // The list is what is wrong, and told alone.
    let said = wrong("proxy_protocol = true\ntrusted_proxies = [\"10.0.0.0/80\"]");
    assert!(said.len() == 1 && said[0].contains("intake.trusted_proxies"), "{said:?}");
}

#[test]
fn a_certificate_that_expires_soon_or_has_is_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let key = rcgen::KeyPair::generate().unwrap();
    fs::write(file("key.pem"), key.serialize_pem()).unwrap();
    for (year, expected) in [(2021, Some("expires at 2021-01-01")), (2999, None)] {
        let mut params = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        fs::write(file("cert.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        let (cert, key) = (file("cert.pem"), file("key.pem"));
        let config =
            read(&format!("[intake]\ntls = {{ cert = {cert:?}, key = {key:?} }}\n[sinks.console]\ntype = \"log\"\n"));
        let warned: Vec<_> = config.warnings.iter().filter(|warning| warning.key == "intake.tls.cert").collect();
        assert_eq!(warned.len(), usize::from(expected.is_some()), "{warned:?}");
        assert!(expected.is_none_or(|what| warned[0].message.contains(what)), "{warned:?}");
    }
}

#[test]
fn spans_are_exported_by_a_program_that_can_and_refused_by_another() {
    let registry = Registry::collect(&[]).unwrap();
    let parse = |section: &str| {
        let text = format!("{HEAD}[sinks.console]\ntype = \"log\"\n{section}");
        Config::parse("f.toml", &text, &registry, &|_| None).map_err(|err| err.to_string())
    };
    let right = "[observe.otlp]\nendpoint = \"http://127.0.0.1:4318/v1/traces\"\n";
    let wrong = "[observe.otlp]\nendpoint = \"http://127.0.0.1:4318\"\nheaders = { Host = \"x\" }\nsample = 2.0\n";
    if cfg!(feature = "otlp") {
        assert!(parse(right).unwrap().otlp.is_some());
        let said = parse(wrong).err().unwrap();
        for key in [
            "f.toml:13: observe.otlp.endpoint: ",
            "f.toml:14: observe.otlp.headers.Host: ",
            "f.toml:15: observe.otlp.sample: ",
        ] {
            assert!(said.contains(key), "{said}");
        }
    } else {
        for section in [right, wrong] {
            let said = parse(section).err().unwrap();
            assert!(said.starts_with("f.toml:12: observe.otlp: this program was built without it;"), "{said}");
            assert!(said.contains("--features otlp"), "{said}");
        }
    }
    assert!(parse("").unwrap().otlp.is_none());
    let unknown = parse("[observe.otlp]\nendpoint = \"http://x/v1/traces\"\nsampel = 1.0\n").err().unwrap();
    assert!(unknown.contains("observe.otlp.sampel"), "{unknown}");
}
