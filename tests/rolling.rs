//! Two dispatchers behind a balancer, restarted one after the other under load: nobody who calls notices.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{
    collections::HashSet,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use dispatcher_testkit::{PATIENCE, Process, Tencent};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};

const CONFIGURATION: &str = "\
[intake]
listen = \"127.0.0.1:0\"
linger = \"3s\"
[observe]
listen = \"127.0.0.1:0\"
[[apps]]
sdk_app_id = 1400000001
name = \"main\"
tokens = [\"a-token\"]
[journal]
path = \"journal.db\"
[handlers.forward]
sinks = [\"archive\"]
[sinks.archive]
type = \"file\"
path = \"events.jsonl\"
[log]
format = \"human\"
";

/// One of the two, as the balancer sees it.
#[derive(Clone, Copy)]
struct Backend {
    intake: SocketAddr,
    observe: SocketAddr,
    is_ready: bool,
}

/// Passes each connection on to one that says it is ready, in turn; what is open it leaves alone, as balancers do.
#[derive(Clone, Default)]
struct Balancer(Arc<Mutex<[Option<Backend>; 2]>>);

impl Balancer {
    async fn start(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        for idx in 0..2 {
            tokio::spawn(self.clone().keep_asking(idx));
        }
        let balancer = self.clone();
        tokio::spawn(async move {
            for turn in 0.. {
                let (mut client, _) = listener.accept().await.unwrap();
                let backends = *balancer.0.lock().unwrap();
                let mut ready = (0..2).filter_map(|n| backends[(turn + n) % 2]).filter(|backend| backend.is_ready);
                let backend = ready.next();
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(backend?.intake).await.ok()?;
                    copy_bidirectional(&mut client, &mut server).await.ok()
                });
            }
        });
        addr
    }

    fn put(&self, idx: usize, backend: Backend) {
        self.0.lock().unwrap()[idx] = Some(backend);
    }

    fn is_ready(&self, idx: usize) -> bool {
        self.0.lock().unwrap()[idx].is_some_and(|backend| backend.is_ready)
    }

    async fn keep_asking(self, idx: usize) {
        loop {
            let asked = self.0.lock().unwrap()[idx];
            if let Some(backend) = asked {
                let is_ready = matches!(timeout(PATIENCE, readyz(backend.observe)).await, Ok(Some(200)));
                if let Some(now) = &mut self.0.lock().unwrap()[idx]
                    && now.observe == backend.observe
                {
                    now.is_ready = is_ready;
                }
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The status of an answer to a probe.
async fn readyz(addr: SocketAddr) -> Option<u16> {
    let mut stream = TcpStream::connect(addr).await.ok()?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: probe\r\nconnection: close\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

/// Starts one, and gives what the balancer has to know. Nobody calls it before it has said that it is ready.
fn start(folder: &Path) -> (Process, Backend) {
    let process = Process::start(env!("CARGO_BIN_EXE_dispatcher"), folder);
    let (_, intake) = process.url().split_once("http://").unwrap();
    let intake = intake.split('/').next().unwrap().parse().unwrap();
    let began = Instant::now();
    loop {
        let said = process.stdout();
        let metrics = said.lines().find(|line| line.trim_start().starts_with("metrics"));
        if let Some((_, observe)) = metrics.and_then(|line| line.split_once("http://")) {
            let observe = observe.split('/').next().unwrap().parse().unwrap();
            return (process, Backend { intake, observe, is_ready: false });
        }
        assert!(began.elapsed() < PATIENCE, "it does not say where its metrics are: {said}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn groups(folder: &Path) -> Vec<String> {
    let text = fs::read_to_string(folder.join("events.jsonl")).unwrap_or_default();
    let group = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        event["data"]["GroupId"].as_str().unwrap().to_owned()
    };
    text.lines().map(group).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_in_turn_behind_a_balancer_lose_nothing_and_refuse_nobody() {
    let folders = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let balancer = Balancer::default();
    let mut processes = Vec::new();
    for (idx, folder) in folders.iter().enumerate() {
        fs::write(folder.path().join("dispatcher.toml"), CONFIGURATION).unwrap();
        let (process, backend) = start(folder.path());
        balancer.put(idx, backend);
        processes.push(process);
    }
    let url = format!("http://{}/callback", balancer.start().await);
    let ready = async |idx| {
        while !balancer.is_ready(idx) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    for idx in 0..2 {
        timeout(PATIENCE, ready(idx)).await.expect("it says that it is ready");
    }

    let (is_over, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let senders: Vec<_> = (0..4)
        .map(|sender| {
            let (url, is_over, sent) = (url.clone(), is_over.clone(), sent.clone());
            tokio::spawn(async move {
                let tencent = Tencent::new(&url, 1_400_000_001, Some("a-token"));
                for nth in 0.. {
                    if is_over.load(Relaxed) {
                        return nth;
                    }
                    tencent.change_attribute(&format!("{sender}-{nth}"), nth).await;
                    sent.fetch_add(1, Relaxed);
                    sleep(Duration::from_millis(2)).await;
                }
                unreachable!("there are more numbers than time")
            })
        })
        .collect();
    let more = async || {
        let before = sent.load(Relaxed);
        while sent.load(Relaxed) < before + 100 {
            assert!(!senders.iter().any(tokio::task::JoinHandle::is_finished), "a sender gave up");
            sleep(Duration::from_millis(10)).await;
        }
    };
    for (idx, folder) in folders.iter().enumerate() {
        timeout(PATIENCE, more()).await.expect("callbacks are answered");
        let stopping = processes.remove(0);
        let ended = tokio::task::spawn_blocking(move || stopping.terminate()).await.unwrap();
        assert!(ended.success());
        timeout(PATIENCE, more()).await.expect("callbacks are answered by the other one");
        let (process, backend) = start(folder.path());
        balancer.put(idx, backend);
        processes.push(process);
        timeout(PATIENCE, ready(idx)).await.expect("it says that it is ready again");
    }
    timeout(PATIENCE, more()).await.expect("callbacks are answered");
    is_over.store(true, Relaxed);
    let mut expected = HashSet::new();
    for (sender, task) in senders.into_iter().enumerate() {
        expected.extend((0..task.await.unwrap()).map(|nth| format!("{sender}-{nth}")));
    }
    let ending = processes.into_iter().map(|process| tokio::task::spawn_blocking(move || process.terminate()));
    for ended in ending.collect::<Vec<_>>() {
        assert!(ended.await.unwrap().success());
    }
    let got: Vec<String> = folders.iter().flat_map(|folder| groups(folder.path())).collect();
    let once: HashSet<String> = got.iter().cloned().collect();
    assert_eq!(once, expected);
    assert_eq!(got.len(), once.len(), "nothing is delivered twice");
    for folder in &folders {
        assert!(groups(folder.path()).len() > 100, "both had their share");
    }
}
