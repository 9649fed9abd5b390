//! `slow-clients`: a thousand clients that are slow in every way a client can be, and stay for as long as they are let; whoever
//! is cut off comes again at once. What well-behaved clients get meanwhile, beside the same without them.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::sleep,
};

use crate::{
    account::Account,
    cli::Cli,
    configuration::intake,
    figures::{
        ACCEPTED_CALM_P99_MS, ACCEPTED_P50_MS, ACCEPTED_P99_MS, CALM, DECIDED_CALM_P99_MS, DECIDED_P50_MS,
        DECIDED_P99_MS, HELD_SECONDS, OTHERS, PEAK_RSS_MIB, SLOW_OPEN, Values,
    },
    load::{LoadPlan, Span},
    load_process::LoadProcess,
    proc,
    programs::Programs,
    request::Request,
    scenario::Scenario,
    server::{Launch, Server, Told, free_address, new_folder},
    traffic::{Kind, Part},
};

/// The well-behaved: callbacks per second, and over how many connections.
const RATE: f64 = 2_000.0;
const CONNECTIONS: usize = 64;

/// Of each kind: 1,002 in all.
const OF_EACH: usize = 167;

/// How far they come one after the other: 200 a second, as in the examples of `slowhttptest`. Were it one moment, all of
/// a kind would be cut off in one moment ever after.
const ONE_EVERY: Duration = Duration::from_millis(5);

/// How many callbacks say where the last hundredth of them begins.
const ENOUGH: u64 = 2_000;

/// How often one that reads no answer sends a callback: all of those together less than half as often as the well-behaved, so
/// that what is measured is not what so many more callbacks cost; and often enough to be cut off within half a minute.
const DEAF_EVERY: Duration = Duration::from_millis(200);

/// How a client is slow.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slow {
    /// Says nothing.
    Silent,
    /// Says one byte.
    OneByte,
    /// Says half of a head.
    HalfHead,
    /// Says a header every five seconds.
    Header,
    /// Says a whole head, signed, and half of the body.
    HalfBody,
    /// Sends callbacks, signed, and reads no answer.
    Deaf,
}

const KINDS: [Slow; 6] = [Slow::Silent, Slow::OneByte, Slow::HalfHead, Slow::Header, Slow::HalfBody, Slow::Deaf];

/// Measures once, with the slow clients or without them.
pub(crate) async fn measure(are_there: bool, cli: &Cli, programs: &Programs) -> Result<Values> {
    let folder = new_folder(cli)?;
    let address = free_address()?;
    let name = if are_there { "slow-clients" } else { "slow-clients without them" };
    let launch = Launch {
        name,
        program: programs.of(Scenario::SlowClients),
        folder: folder.path(),
        address,
        told: Told::Config(intake(address, "always")),
    };
    let mut server = Server::start(&launch, cli).await?;
    match measure_server(&server, are_there, cli).await {
        Ok(values) => Ok(values),
        Err(err) => Err(server.blame(err).await),
    }
}

async fn measure_server(server: &Server, are_there: bool, cli: &Cli) -> Result<Values> {
    let part = |kind| Part { kind, sender: "sender".into(), share: 1, reply: Some(tencent_chat::OK.into()) };
    let plan = LoadPlan {
        address: server.address,
        connections: CONNECTIONS,
        parts: vec![part(Kind::Message), part(Kind::AttributesChanged)],
        warmup: Span::requests(1_000),
        measured: Span::seconds(cli.trouble / 2.0),
        rate: Some(RATE),
        too_much: false,
    };
    let swarm = are_there.then(|| Swarm::start(server.address));
    if let Some(swarm) = &swarm {
        swarm.complete().await?;
    }
    let mut process = LoadProcess::start(&plan, cli)?;
    process.warm().await?;
    let account = Account::open(server.pid())?;
    process.go().await?;
    let load = process.finish().await?;
    let generator = Duration::from_secs_f64(load.generator_cpu_us * load.requests as f64 / 1e6);
    let [decided, accepted] = &*load.parts else { unreachable!("two were sent") };
    ensure!(decided.unexpected + accepted.unexpected == 0, "well-behaved clients did not get OK alone");
    let mut values = Values::from([
        (DECIDED_P50_MS, decided.p50_us / 1e3),
        (DECIDED_P99_MS, decided.p99_us / 1e3),
        (ACCEPTED_P50_MS, accepted.p50_us / 1e3),
        (ACCEPTED_P99_MS, accepted.p99_us / 1e3),
        (PEAK_RSS_MIB, proc::peak_rss_mib(server.pid())?),
        (CALM, (decided.calm_requests + accepted.calm_requests) as f64 / load.requests as f64),
        (OTHERS, account.taken_by_others(generator)?),
    ]);
    for (name, part) in [(DECIDED_CALM_P99_MS, decided), (ACCEPTED_CALM_P99_MS, accepted)] {
        if part.calm_requests >= ENOUGH {
            values.insert(name, part.calm_p99_us / 1e3);
        }
    }
    if let Some(swarm) = swarm {
        let held = swarm.held();
        for (kind, held) in KINDS.iter().zip(held) {
            eprintln!("slow-clients: {kind:?} held a place for {:.1} s at most", held.as_secs_f64());
        }
        // Who reads no answer is served for as long as the answers find room on the way.
        let limited = KINDS.iter().zip(held).filter(|(kind, _)| **kind != Slow::Deaf);
        let longest = limited.map(|(_, held)| held).max().unwrap_or_default();
        values.extend([(HELD_SECONDS, longest.as_secs_f64()), (SLOW_OPEN, swarm.open() as f64)]);
    }
    Ok(values)
}

/// The slow clients. They end when this is dropped.
struct Swarm {
    seen: Arc<Seen>,
    _clients: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    open: AtomicUsize,
    /// When each connection that is open was opened, by client; and the longest time that one of a kind ever was.
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    since: Vec<Option<Instant>>,
    longest: [Duration; KINDS.len()],
}

impl Swarm {
    fn start(address: SocketAddr) -> Self {
        let seen = Arc::<Seen>::default();
        let mut clients = JoinSet::new();
        let n_clients = OF_EACH * KINDS.len();
        seen.lock().since.resize(n_clients, None);
        for client in 0..n_clients {
            let seen = seen.clone();
            clients.spawn(async move {
                let kind = KINDS[client % KINDS.len()];
                sleep(ONE_EVERY * client as u32).await;
                loop {
                    let Ok(stream) = connect(address, kind).await else {
                        sleep(Duration::from_millis(100)).await;
                        continue;
                    };
                    seen.opened(client);
                    // However it ends, it is over.
                    let _ = be_slow(stream, kind, address).await;
                    seen.closed(client);
                }
            });
        }
        Self { seen, _clients: clients }
    }

    /// Waits until all are connected.
    async fn complete(&self) -> Result<()> {
        let began = Instant::now();
        while self.open() < OF_EACH * KINDS.len() {
            ensure!(began.elapsed() < Duration::from_secs(20), "only {} slow clients get in", self.open());
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    fn open(&self) -> usize {
        self.seen.open.load(Relaxed)
    }

    /// The longest time that each kind has held a place, those included that are open.
    fn held(&self) -> [Duration; KINDS.len()] {
        let held = &mut *self.seen.lock();
        for (client, since) in held.since.iter().enumerate() {
            let longest = &mut held.longest[client % KINDS.len()];
            *longest = since.map_or(*longest, |since| since.elapsed().max(*longest));
        }
        held.longest
    }
}

impl Seen {
    fn opened(&self, client: usize) {
        self.lock().since[client] = Some(Instant::now());
        self.open.fetch_add(1, Relaxed);
    }

    fn closed(&self, client: usize) {
        let held = &mut *self.lock();
        let longest = &mut held.longest[client % KINDS.len()];
        if let Some(since) = held.since[client].take() {
            *longest = since.elapsed().max(*longest);
        }
        self.open.fetch_sub(1, Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(address: SocketAddr, kind: Slow) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if kind == Slow::Deaf {
        // As little as the system allows, as those do who attack this way: about a hundred answers.
        socket.set_recv_buffer_size(1)?;
    }
    socket.connect(address).await
}

/// Is slow until the server has had enough.
async fn be_slow(mut stream: TcpStream, kind: Slow, address: SocketAddr) -> std::io::Result<()> {
    let mut request = Request::new(&address.to_string(), Kind::AttributesChanged, "slow");
    let whole = request.next().to_vec();
    let head = memchr::memmem::find(&whole, b"\r\n\r\n").unwrap_or(0) + 4;
    match kind {
        Slow::Silent => {}
        Slow::OneByte => stream.write_all(b"P").await?,
        Slow::HalfHead => stream.write_all(&whole[..head - 20]).await?,
        Slow::HalfBody => stream.write_all(&whole[..head.midpoint(whole.len())]).await?,
        Slow::Header => {
            stream.write_all(&whole[..head - 2]).await?;
            let (mut reading, mut writing) = stream.split();
            let headers = async {
                for nth in 0.. {
                    sleep(Duration::from_secs(5)).await;
                    if writing.write_all(format!("X-Nth: {nth}\r\n").as_bytes()).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! { () = headers => {}, () = until_closed(&mut reading) => {} }
            return Ok(());
        }
        Slow::Deaf => loop {
            request.keep_fresh();
            stream.write_all(request.next()).await?;
            sleep(DEAF_EVERY).await;
        },
    }
    until_closed(&mut stream).await;
    Ok(())
}

/// Reads until there is nothing more to come.
async fn until_closed(stream: &mut (impl AsyncReadExt + Unpin)) {
    let mut answer = [0; 1024];
    while stream.read(&mut answer).await.is_ok_and(|n_read| n_read > 0) {}
}
