//! Connections that begin with a header of the PROXY protocol.

use std::{net::SocketAddr, thread, time::Duration};

use dispatcher_intake::{Counters, Outcome};

use crate::{
    client::{Client, post},
    running::{Running, Setup, signed},
    tls::Pki,
};

const AFTER: &str = "Group.CallbackAfterGroupFull";
const BODY: &str = r#"{"CallbackCommand":"Group.CallbackAfterGroupFull","GroupId":"@TGS#1"}"#;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// From 198.51.100.7, port 4711, to 10.0.0.1, port 443.
const FOUR: [u8; 12] = [198, 51, 100, 7, 10, 0, 0, 1, 0x12, 0x67, 1, 0xbb];

/// The proxy is this machine; only callbacks of 198.51.100.0/24 and 2001:db8::/32 are let in.
fn setup() -> Setup {
    let mut setup = Setup::new();
    setup.options.proxy_protocol = true;
    setup.options.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    setup.apps[0].allow_from = ["198.51.100.0/24", "2001:db8::/32"].map(|text| text.parse().unwrap()).into();
    setup
}

fn start() -> Running {
    setup().start()
}

/// A header of version 2: of this kind, with these addresses, and with notes behind them.
fn binary(version_and_command: u8, family: u8, addresses: &[u8], notes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(addresses.len() + notes.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[version_and_command, family], &length, addresses, notes].concat()
}

/// A note of this type and so many bytes.
fn note(kind: u8, length: u16) -> Vec<u8> {
    [&[kind][..], &length.to_be_bytes(), &vec![b'x'; length.into()]].concat()
}

fn text(line: &str) -> Vec<u8> {
    format!("{line}\r\n").into_bytes()
}

fn behind(address: SocketAddr, header: &[u8]) -> Client {
    let mut client = Client::connect(address);
    client.send(header);
    client
}

/// Waits until no connection is open but these.
fn wait_until_open(counters: &Counters, n: usize) {
    while counters.open_connections() != n {
        thread::yield_now();
    }
}

#[test]
fn the_address_in_it_is_the_clients() {
    let running = start();
    let six = [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 28], &[0x12, 0x67, 1, 0xbb]].concat();
    let others: Vec<u8> = [&[192, 0, 2][..], &FOUR[3..]].concat();
    let mapped = [&[0; 10][..], &[0xff, 0xff, 198, 51, 100, 7], &[0; 16], &[0x12, 0x67, 1, 0xbb]].concat();
    for (header, is_let_in) in [
        (text("PROXY TCP4 198.51.100.7 10.0.0.1 4711 443"), true),
        (text("PROXY TCP4 192.0.2.7 10.0.0.1 4711 443"), false),
        (text("PROXY TCP6 2001:db8::7 2001:db8::1 4711 443"), true),
        (text("PROXY TCP6 2001:db9::7 2001:db8::1 4711 443"), false),
        (binary(0x21, 0x11, &FOUR, &[]), true),
        (binary(0x21, 0x11, &others, &[]), false),
        (binary(0x21, 0x21, &six, &[]), true),
        (binary(0x21, 0x21, &mapped, &[]), true),
        // With a host name, a checksum, a note of the proxy's own, and one that is cut off.
        (binary(0x21, 0x11, &FOUR, &[note(2, 11), note(3, 4), note(0xea, 900), vec![1, 0]].concat()), true),
        // The proxy speaks for itself, as when it looks whether somebody is there, or does not know.
        (binary(0x20, 0x00, &[], &[]), false),
        (binary(0x20, 0x11, &FOUR, &[]), false),
        (binary(0x21, 0x00, &[], &note(4, 3)), false),
        (text("PROXY UNKNOWN"), false),
        (text("PROXY UNKNOWN ffff::1 ffff::1 65535 65535"), false),
    ] {
        let said = |reply: crate::client::Reply| match is_let_in {
            true => reply.assert_ok(),
            false => _ = reply.assert_refused(403_003),
        };
        let mut at_once = Client::connect(running.address());
        at_once.send([&header, post(&signed(AFTER), BODY).as_bytes()].concat());
        said(at_once.reply());
        let mut byte_by_byte = Client::connect(running.address());
        header.iter().for_each(|byte| byte_by_byte.send([*byte]));
        said(byte_by_byte.ask(post(&signed(AFTER), BODY)));
    }
    let counters = running.intake.counters();
    assert_eq!([Outcome::ProxyHeader, Outcome::ProxyUnknown, Outcome::NotHttp].map(|it| counters.count(it)), [0, 0, 0]);
}

#[test]
fn who_is_no_client_of_a_proxy_stays_who_it_is() {
    let mut setup = setup();
    setup.apps[0].allow_from = vec!["127.0.0.1".parse().unwrap()];
    let running = setup.start();
    // What somebody may have written who came through it, it has not said itself.
    let forged = post(&signed(AFTER), BODY).replace("Host:", "X-Forwarded-For: 192.0.2.1\r\nHost:");
    for header in [binary(0x20, 0x00, &[], &[]), binary(0x21, 0x00, &[], &[]), text("PROXY UNKNOWN")] {
        behind(running.address(), &header).ask(post(&signed(AFTER), BODY)).assert_ok();
        behind(running.address(), &header).ask(&forged).assert_ok();
    }
    // A proxy behind the proxy is believed as well; one that says nothing is the client.
    let mut inner = behind(running.address(), &text("PROXY TCP4 127.0.0.9 10.0.0.1 4711 443"));
    let through = post(&signed(AFTER), BODY).replace("Host:", "X-Forwarded-For: 192.0.2.1, 127.0.0.1\r\nHost:");
    inner.ask(through).assert_refused(403_003);
}

#[test]
fn many_requests_come_behind_one_header_and_each_over_tls() {
    let pki = Pki::new();
    let mut setup = setup();
    setup.options.tls = Some(pki.files(None).load().unwrap());
    let running = setup.start();
    let config = pki.client(&[&rustls::version::TLS12, &rustls::version::TLS13], None);
    for header in [text("PROXY TCP4 198.51.100.7 10.0.0.1 4711 443"), binary(0x21, 0x11, &FOUR, &note(5, 300))] {
        let mut client = behind(running.address(), &header).with_tls(config.clone(), "localhost");
        for _ in 0..3 {
            client.ask(post(&signed(AFTER), BODY)).assert_ok();
        }
    }
    // TLS alone is no header.
    assert!(Client::connect_tls(running.address(), config).try_ask("").is_err());
    assert_eq!(running.intake.counters().count(Outcome::ProxyHeader), 1);
    assert_eq!(running.end().len(), 6);
}

#[test]
fn the_header_the_handshake_and_the_head_have_one_deadline() {
    let mut setup = setup();
    setup.options.header_within = Duration::from_millis(300);
    let running = setup.start();
    let (line, binary) = (text("PROXY TCP4 198.51.100.7 10.0.0.1 4711 443"), binary(0x21, 0x11, &FOUR, &[]));
    let begun =
        [&b""[..], &line[..1], &line[..20], &line[..line.len() - 1], &binary[..14], &binary[..27], &line, &binary];
    for header in begun {
        let mut client = behind(running.address(), header);
        assert_eq!(client.wait_for_close(), "", "after {header:?}");
    }
    let counters = running.intake.counters();
    assert_eq!(counters.count(Outcome::HeadLate), begun.len() as u64);
    assert_eq!(counters.count(Outcome::ProxyHeader), 0);
}

#[test]
fn what_is_no_header_is_closed_and_counted() {
    let running = start();
    let request = post(&signed(AFTER), BODY);
    let whole = text("PROXY TCP4 198.51.100.7 10.0.0.1 4711 443");
    let malformed = [
        request.clone().into_bytes(),
        b"\x16\x03\x01\x02\x00\x01".to_vec(),
        text("PROXY TCP4 198.51.100.700 10.0.0.1 4711 443"),
        text("PROXY TCP4 198.51.100.7 10.0.0.1 4711 70000"),
        text("PROXY TCP9 198.51.100.7 10.0.0.1 4711 443"),
        text(&format!("PROXY TCP4 {}", "1".repeat(200))),
        text(&format!("PROXY UNKNOWN {}", "x".repeat(5000))),
        b"\r\n\r\n\0\r\nQUID\n\x21\x11\0\x0c".to_vec(),
        binary(0x31, 0x11, &FOUR, &[]),
        binary(0x22, 0x11, &FOUR, &[]),
        binary(0x21, 0x41, &FOUR, &[]),
        binary(0x21, 0x11, &FOUR[..4], &note(4, 30)[..4]),
        // Datagrams do not come over TCP.
        binary(0x21, 0x12, &FOUR, &[]),
        // More than is read of a header.
        binary(0x21, 0x11, &FOUR, &note(0xea, 5000)),
    ];
    for header in &malformed {
        let mut client = Client::connect(running.address());
        client.send_in_vain(header);
        client.send_in_vain(&request);
        client.wait_for_close_of_any_kind();
    }
    let counters = running.intake.counters();
    // It is counted before the peer can know.
    assert_eq!(counters.count(Outcome::ProxyHeader), malformed.len() as u64);
    // One that breaks off is counted; a probe that only connects is nothing.
    for (header, n_more) in [(&whole[..30], 1), (b"", 1)] {
        let mut client = behind(running.address(), header);
        client.stop_sending();
        assert_eq!(client.wait_for_close(), "");
        assert_eq!(counters.count(Outcome::ProxyHeader), malformed.len() as u64 + n_more);
    }
    assert!(running.end().is_empty());
}

#[test]
fn only_proxies_get_a_connection() {
    let mut setup = setup();
    setup.options.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    let running = setup.start();
    for said in [text("PROXY TCP4 198.51.100.7 10.0.0.1 4711 443"), post(&signed(AFTER), BODY).into_bytes(), vec![]] {
        let mut client = Client::connect(running.address());
        client.send_in_vain(&said);
        client.wait_for_close_of_any_kind();
    }
    assert_eq!(running.intake.counters().count(Outcome::ProxyUnknown), 3);
    assert!(running.end().is_empty());
}

#[test]
fn connections_are_counted_by_the_address_in_it() {
    let mut setup = setup();
    setup.options.max_connections_per_address = Some(2);
    let running = setup.start();
    let counters = running.intake.counters();
    let open = |last: u8| {
        let mut client = behind(running.address(), &text(&format!("PROXY TCP4 198.51.100.{last} 10.0.0.1 4711 443")));
        client.send_in_vain(post(&signed(AFTER), BODY));
        client
    };
    let mut of_one = [open(1), open(1)];
    of_one.iter_mut().for_each(|client| client.reply().assert_ok());
    open(1).wait_for_close_of_any_kind();
    assert_eq!(counters.count(Outcome::AddressFull), 1);
    let mut of_others = [open(2), open(3), open(4)];
    of_others.iter_mut().for_each(|client| client.reply().assert_ok());
    wait_until_open(&counters, 5);
    let [gone, mut stays] = of_one;
    drop(gone);
    wait_until_open(&counters, 4);
    open(1).reply().assert_ok();
    stays.ask(post(&signed(AFTER), BODY)).assert_ok();
}

#[test]
fn half_a_header_does_not_hold_up_a_drain_and_a_callback_behind_one_is_answered() {
    let running = start();
    let counters = running.intake.counters();
    let line = text("PROXY TCP4 198.51.100.7 10.0.0.1 4711 443");
    let mut half = behind(running.address(), &line[..9]);
    // Another connection, behind it in the queue, is being served: so the first has been let in.
    let mut served = behind(running.address(), &line);
    served.ask(post(&signed(AFTER), BODY)).assert_ok();
    let draining = running.drain(Duration::from_secs(3600));
    served.wait_for_close(); // The order to finish is there.
    half.wait_for_close();
    assert_eq!(draining.join().unwrap().0.n_cut, 0);
    assert_eq!(counters.count(Outcome::HeadLate), 1);
}

#[test]
fn a_callback_behind_a_header_is_answered_while_draining() {
    // Whoever is new has a second, in which a busy machine may not come to send.
    let is_answered = || {
        let running = start();
        let line = text("PROXY TCP4 198.51.100.7 10.0.0.1 4711 443");
        let mut served = behind(running.address(), &line);
        served.ask(post(&signed(AFTER), BODY)).assert_ok();
        let mut new = behind(running.address(), &line[..9]);
        while running.intake.counters().count(Outcome::Connection) < 2 {
            thread::yield_now();
        }
        let draining = running.drain(Duration::from_secs(3600));
        served.wait_for_close(); // The order to finish is there.
        new.send_in_vain(&line[9..]);
        let answer = new.try_ask(&post(&signed(AFTER), BODY));
        draining.join().unwrap();
        answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
    };
    assert!((0..5).any(|_| is_answered()));
}
