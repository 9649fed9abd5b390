//! The thread that exports: takes what was told out of the queue and posts it, beside everything else.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc as std_mpsc,
    },
    thread,
    time::Duration,
};

use dispatcher_http::{Answer, Client, ClientParts, Guard, NoAnswer, Roots, client_tls};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::InstrumentationScope,
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans},
};
use prost::Message as _;
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::{info, warn};

use crate::{
    Options, SpanLayer,
    span::{Told, Value, attribute},
};

/// How much waits to be exported: some megabytes at most, and more than a second of what can be exported.
const QUEUE: usize = 8192;
/// How many spans one request has at most, and for how long more of them are waited for.
const BATCH: usize = 512;
const GATHER: Duration = Duration::from_millis(100);
/// How often a batch is tried, and how long is waited in between at first and at most.
const TRIES: u32 = 5;
const BACKOFF: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How much of an answer is read: it says how many spans were not taken.
const ANSWER: usize = 4096;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(30);

/// How many spans were exported and dropped since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Those that were taken.
    pub exported: u64,
    /// Those that found no room, or that nobody took in the end.
    pub dropped: u64,
}

/// What is counted.
#[derive(Default)]
pub(crate) struct Tally {
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl Tally {
    pub(crate) fn count_dropped(&self, n: u64) {
        self.dropped.fetch_add(n, Relaxed);
    }

    fn read(&self) -> Counts {
        Counts { exported: self.exported.load(Relaxed), dropped: self.dropped.load(Relaxed) }
    }
}

/// Exports until it is closed; dropped without, it goes on for as long as the process.
pub struct Exporter {
    tally: Arc<Tally>,
    closing: watch::Sender<Option<Instant>>,
    ended: Mutex<std_mpsc::Receiver<()>>,
}

impl Exporter {
    /// Starts the thread, and gives the layer that fills its queue. `version` is that of the program. Reads the system's root
    /// certificates where the endpoint speaks TLS, and contacts nobody yet.
    ///
    /// # Errors
    /// When TLS cannot be used, or the machine gives no thread.
    pub fn start(options: Options, version: &str) -> Result<(Exporter, SpanLayer), String> {
        let client = client(&options)?;
        let tally = Arc::new(Tally::default());
        let (queue, take) = mpsc::channel(QUEUE);
        let (closing, until) = watch::channel(None);
        let (ending, ended) = std_mpsc::channel();
        let layer = SpanLayer { queue, tally: tally.clone(), sample: options.sample };
        let failed = |err: io::Error| format!("cannot start its thread: {err}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (of_thread, version) = (tally.clone(), version.to_owned());
        let run = move || {
            let sender = Sender {
                resource: resource(&options, &version),
                scope: InstrumentationScope { name: "dispatcher".to_owned(), version, ..Default::default() },
                options,
                client,
                tally: of_thread,
                until,
                trouble: Trouble::None,
                n_dropped: 0,
            };
            runtime.block_on(sender.run(take));
            // An error means that nobody waits.
            let _ = ending.send(());
        };
        thread::Builder::new().name("otlp".to_owned()).spawn(run).map_err(failed)?;
        Ok((Exporter { tally, closing, ended: Mutex::new(ended) }, layer))
    }

    /// How many spans were exported and dropped so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.tally.read()
    }

    /// Exports what is in the queue, for at most `within`, and ends. What is told from then on is dropped. Blocks until then; a
    /// second call finds nothing to do.
    pub fn close(&self, within: Duration) {
        self.closing.send_replace(Some(Instant::now() + within));
        // What the thread takes to notice that its time is up.
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = ended.recv_timeout(within + Duration::from_millis(500));
    }
}

fn client(options: &Options) -> Result<Client, String> {
    let is_secure = options.endpoint.scheme() == "https";
    let tls = client_tls(if is_secure { Roots::System } else { Roots::Nobody });
    let parts = ClientParts {
        // A collector is mostly inside, and its address is the operator's word alone.
        guard: Guard::new(&["0.0.0.0/0", "::/0"].map(|network| network.parse().expect("a network"))),
        headers: options.headers.clone(),
        proxy: None,
        connect_timeout: CONNECT_TIMEOUT.min(options.timeout),
        idle: IDLE,
        idle_connections: 1,
        tls: tls.map_err(|err| format!("cannot use TLS: {err}"))?,
    };
    Client::new(parts).map_err(|err| err.without_url().to_string())
}

fn resource(options: &Options, version: &str) -> Resource {
    let service = [("service.name", options.service_name.as_str()), ("service.version", version)];
    let attributes = service.map(|(name, value)| attribute((name, Value::Text(value.to_owned()))));
    Resource { attributes: attributes.into(), ..Resource::default() }
}

/// What was last said of how it goes, so that it is said once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    /// More is told than can be exported.
    Flooded,
    /// The endpoint does not take them.
    Refused,
}

/// What came of a batch, tried once.
enum Tried {
    /// Taken, but for so many.
    Taken(u64),
    Again {
        why: String,
        wait: Option<Duration>,
    },
    Never(String),
}

struct Sender {
    options: Options,
    client: Client,
    resource: Resource,
    scope: InstrumentationScope,
    tally: Arc<Tally>,
    until: watch::Receiver<Option<Instant>>,
    trouble: Trouble,
    n_dropped: u64,
}

impl Sender {
    async fn run(mut self, mut queue: mpsc::Receiver<Told>) {
        let mut told = Vec::with_capacity(BATCH);
        loop {
            if self.is_closing() {
                queue.close();
            }
            tokio::select! {
                n = queue.recv_many(&mut told, BATCH) => if n == 0 { return },
                () = closing(self.until.clone()), if !self.is_closing() => continue,
            }
            // Few requests with many spans, and whoever tells the next one need not wake anybody.
            if told.len() < BATCH {
                let _ = timeout(GATHER, closing(self.until.clone())).await;
            }
            while told.len() < BATCH
                && let Ok(next) = queue.try_recv()
            {
                told.push(next);
            }
            let batch = std::mem::replace(&mut told, Vec::with_capacity(BATCH));
            self.export(batch).await;
        }
    }

    fn is_closing(&self) -> bool {
        self.until.borrow().is_some()
    }

    /// Until when it may try, if it is to end.
    fn deadline(&self) -> Option<Instant> {
        *self.until.borrow()
    }

    /// Whether its time to end is up.
    fn is_over(&self) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }

    async fn export(&mut self, batch: Vec<Told>) {
        let n = batch.len() as u64;
        if self.is_over() {
            return self.tally.count_dropped(n);
        }
        let scope_spans = ScopeSpans {
            scope: Some(self.scope.clone()),
            spans: batch.into_iter().map(Told::into_span).collect(),
            ..ScopeSpans::default()
        };
        let resource_spans = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![scope_spans],
            ..ResourceSpans::default()
        };
        let body = ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec();
        let rejected = self.post(body.into()).await.unwrap_or(n).min(n);
        self.tally.exported.fetch_add(n - rejected, Relaxed);
        self.tally.count_dropped(rejected);
        let dropped = self.tally.read().dropped;
        let has_dropped = std::mem::replace(&mut self.n_dropped, dropped) < dropped;
        if rejected == n {
            return;
        }
        match (has_dropped, self.trouble) {
            (false, Trouble::None) | (true, Trouble::Flooded) => {}
            (false, _) => {
                self.trouble = Trouble::None;
                info!(dropped, "spans are exported again");
            }
            (true, _) => {
                self.trouble = Trouble::Flooded;
                warn!(
                    dropped,
                    "spans are dropped: there are more than are taken; [observe.otlp] sample makes them fewer"
                );
            }
        }
    }

    /// How many were not taken; none if it was given up on.
    async fn post(&mut self, body: prost::bytes::Bytes) -> Option<u64> {
        let mut backoff = BACKOFF.0;
        for n in 1..=TRIES {
            if self.is_over() {
                return None;
            }
            let (why, wait) = match self.try_once(body.clone()).await {
                Tried::Taken(rejected) => return Some(rejected),
                Tried::Again { why, wait } => (why, wait),
                Tried::Never(why) => {
                    self.tell_refused(&why);
                    return None;
                }
            };
            self.tell_refused(&why);
            if n == TRIES {
                break;
            }
            let wait = wait.unwrap_or(backoff).min(BACKOFF.1);
            backoff = (backoff * 2).min(BACKOFF.1);
            match self.deadline() {
                Some(deadline) => sleep_until(deadline.min(Instant::now() + wait)).await,
                // Who is to end tries once more, at once.
                None => _ = timeout(wait, closing(self.until.clone())).await,
            }
        }
        None
    }

    async fn try_once(&self, body: prost::bytes::Bytes) -> Tried {
        let now = Instant::now();
        let deadline = self.deadline().map_or(now + self.options.timeout, |end| end.min(now + self.options.timeout));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        match self.client.post(self.options.endpoint.clone(), headers, body, ANSWER, deadline).await {
            Ok(answer) => of(&answer),
            Err(NoAnswer::NotConnected(why) | NoAnswer::Lost(why)) => Tried::Again { why, wait: None },
        }
    }

    fn tell_refused(&mut self, why: &str) {
        if self.trouble != Trouble::Refused {
            self.trouble = Trouble::Refused;
            warn!(
                error = why,
                "spans are not taken; callbacks are answered all the same, and what cannot wait is dropped and counted"
            );
        }
    }
}

/// What an answer means, by the specification of OTLP.
fn of(answer: &Answer) -> Tried {
    match answer.status {
        status if status.is_success() => {
            // Without a body, or with another, all were taken.
            let said = ExportTraceServiceResponse::decode(&*answer.body).ok().and_then(|said| said.partial_success);
            Tried::Taken(said.map_or(0, |said| u64::try_from(said.rejected_spans).unwrap_or(0)))
        }
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Tried::Again { why: answer.text(), wait: answer.retry_after() },
        status if status.is_redirection() => Tried::Never(answer.redirect()),
        _ => Tried::Never(answer.text()),
    }
}

/// Resolves when it is to end.
async fn closing(mut until: watch::Receiver<Option<Instant>>) {
    if until.wait_for(Option::is_some).await.is_err() {
        // Nobody is left to say so.
        std::future::pending().await
    }
}
