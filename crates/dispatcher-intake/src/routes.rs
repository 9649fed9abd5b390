//! The way of one request: from its head to its reply.
//!
//! All that the query string can tell is checked before the body is read.

use std::{
    convert::Infallible,
    future::{pending, poll_fn, ready},
    hash::Hash,
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
};

use bytes::{Buf, Bytes};
use dispatcher_core::{Callback, CallbackId, CallbackParts, Command, Timestamp};
use dispatcher_journal::{AppendError, Appended, DecisionRecord, Place};
use futures_util::Stream;
use tencent_chat::{Query, inspect, without_signature};
use tracing::{info, warn};
use warp::{
    Filter, Rejection,
    filters::path::FullPath,
    http::{HeaderValue, Method, Response, header},
};

use crate::{
    CallbackOutcome, IntakeApp, Outcome, PathRule, Road, WhenNotDurable,
    app_counts::AppTally,
    body,
    connection::{Connection, Late},
    depth,
    identity::identity,
    line::Line,
    refusal::{self, Refusal, Refused},
    rules::Rules,
    source,
    told::Told,
    verify::{self, Signed},
    worker::{InFlight, Worker},
};

/// How long a request whose callback could not be stored is held, in milliseconds from its head: well past the two seconds
/// that Tencent waits.
const HOLD: u64 = 5_000;

/// Answers the requests of one connection.
///
/// Made anew for each connection, which is then at hand: a request's extensions could carry it too, at three
/// allocations each.
pub(crate) fn routes(
    connection: Arc<Connection>,
) -> impl Filter<Extract = (impl warp::Reply + use<>,), Error = Infallible> + Clone + Send + Sync + 'static {
    let query = warp::query::raw().or_else(|_| ready(Ok::<_, Rejection>((String::new(),))));
    let rejected = connection.clone();
    warp::method()
        .and(warp::path::full())
        .and(query)
        .and(warp::header::optional("content-length"))
        .and(warp::ext::optional())
        .and(warp::body::stream())
        .then(move |method, path, query, length, told: Option<Told>, body| {
            let rules = connection.serve();
            let head = Head { method, path, query, length, told: told.unwrap_or_default() };
            // On the heap: the futures of the filters and of hyper around it are moved eight times for each request, and
            // would carry it along.
            Box::pin(answer(connection.clone(), rules, head, body))
        })
        // What the filters themselves reject: headers that hyper takes and warp does not.
        .recover(move |_: Rejection| {
            let refused = Refusal::HeaderMalformed.because("a header of the request cannot be read");
            let mut response = refuse(&rejected, &refused);
            Line::new(rejected.peer, None).ended = Some(Err(refused));
            finish(&rejected, &mut response, false);
            ready(Ok::<_, Infallible>(response))
        })
}

/// How a request ended, and the reply, where that is not the plain OK.
type Answered = (Outcome, Option<Bytes>);

/// What is known of a request before its body.
struct Head {
    method: Method,
    path: FullPath,
    query: String,
    length: Option<u64>,
    told: Told,
}

async fn answer<S, B>(connection: Arc<Connection>, rules: Arc<Rules>, mut head: Head, body: S) -> Response<Bytes>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let mut body = pin!(body);
    let mut request = Request {
        connection: &connection,
        rules: &rules,
        line: Line::new(connection.peer, head.told.traceparent.take()),
        at: Timestamp::now(),
        tally: None,
        signed: None,
        road: None,
        is_read: false,
    };
    let answered = request.answer(&head, body.as_mut()).await;
    let worker = &connection.worker;
    let (mut response, is_read, ended) = match answered {
        Ok((outcome, reply)) => {
            worker.tally.count(outcome);
            request.count(CallbackOutcome::of(outcome));
            (reply.map_or_else(refusal::ok, refusal::json), true, Ok(outcome))
        }
        Err(refused) => {
            request.count(Some(CallbackOutcome::Refused));
            // What is there of the body costs nothing; for the rest nobody waits.
            let is_read = request.is_read || poll_fn(|cx| Poll::Ready(body::is_over(body.as_mut(), cx))).await;
            (refuse(&connection, &refused), is_read, Err(refused))
        }
    };
    if let Some(road) = request.road {
        worker.tally.answered_in(road, request.line.begun.elapsed());
    }
    request.line.ended = Some(ended);
    finish(&connection, &mut response, is_read);
    response
}

/// Hands the reply over. It is the last of its connection where the rest of the body is in the way of another request, and
/// where no verified callback has come yet: a stranger has a place for one request, or it could have it for ever.
fn finish(connection: &Connection, response: &mut Response<Bytes>, is_read: bool) {
    connection.leave_unread(!is_read);
    if !is_read || !connection.is_trusted() || connection.worker.common.is_lingering.load(Relaxed) {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    connection.reply();
}

fn refuse(connection: &Connection, refused: &Refused) -> Response<Bytes> {
    connection.worker.tally.refuse(refused.refusal);
    refused.response()
}

struct Request<'c> {
    connection: &'c Connection,
    rules: &'c Rules,
    line: Line<'c>,              // What is known so far.
    at: Timestamp,               // When its head was there.
    tally: Option<&'c AppTally>, // Of the app.
    signed: Option<Signed>,      // If it is, and was looked at.
    road: Option<Road>,          // Of a callback that is verified.
    is_read: bool,               // Its body was read to the end.
}

impl<'c> Request<'c> {
    async fn answer<S, B>(&mut self, head: &Head, mut body: Pin<&mut S>) -> Result<Answered, Refused>
    where
        S: Stream<Item = Result<B, warp::Error>>,
        B: Buf,
    {
        self.check_head(head)?;
        let query = Query::parse(&head.query)?;
        let Some(command) = query.command.as_deref() else {
            return self.probe(head, &query, body).await.map(plain);
        };
        let app = self.verify(head, &query)?;
        let command = verify::command(command)?;
        self.line.command = Some(command.clone());
        self.road = Some(if command.wants_decision() { Road::Before } else { Road::After });
        let _in_flight = self.begin(&command)?;

        let rules = self.rules;
        let read = body::read(body.as_mut(), head.length, rules.options.body_limit);
        let body = self.connection.within(read).await.map_err(body_late)??;
        self.is_read = true;
        self.line.body_bytes = Some(body.len());
        let envelope = inspect(&body, command.as_str())?;
        if depth::is_deeper(&body, rules.options.json_depth) {
            let limit = rules.options.json_depth;
            return Err(Refusal::TooDeep.because(format!(
                "the body has more than {limit} objects and arrays within each other; raise [intake] json_depth"
            )));
        }
        let is_journaled = rules.policy.is_journaled(&command);
        let tells_apart = envelope.tells_apart || query.request_id.is_some();
        let identity =
            tells_apart.then(|| identity(app.app.sdk_app_id(), &command, query.request_id.as_deref(), &body));
        match identity {
            Some(identity) => self.check_replay(app.app.sdk_app_id(), identity)?,
            None => self.check_replay(app.app.sdk_app_id(), (command.as_str(), &body))?,
        }
        if !is_journaled && !command.wants_decision() {
            return Ok(plain(Outcome::NotJournaled));
        }
        let wants_decision = command.wants_decision();
        let query = without_signature(&head.query);
        let id = CallbackId::mint();
        self.line.id = Some(id);
        let callback = Callback::new(CallbackParts {
            id,
            app: app.app.clone(),
            command,
            query: self.line.traceparent.as_ref().map_or_else(|| Arc::from(&*query), |trace| trace.behind(&query)),
            body,
            received_at: Timestamp::now(),
            event_time: envelope.event_time.map(Timestamp::from_millis),
            key: envelope.key.map(Arc::from),
            identity,
        });
        match wants_decision {
            true => Ok(self.decide(callback, is_journaled).await),
            false => self.acknowledge(callback).await.map(plain),
        }
    }

    /// Counts a callback that was verified by its app and command.
    fn count(&self, outcome: Option<CallbackOutcome>) {
        if let (Some(outcome), Some(tally), Some(command)) = (outcome, self.tally, &self.line.command) {
            tally.count(command, outcome, self.at);
        }
    }

    fn check_head(&self, head: &Head) -> Result<(), Refused> {
        let options = &self.rules.options;
        if let PathRule::Exact(path) = &options.path
            && head.path.as_str() != path
        {
            return Err(Refusal::PathUnknown.because("not the path of the callback URL; compare it with [intake] path"));
        }
        if head.method != Method::POST {
            return Err(Refusal::MethodNotPost.because("callbacks come with POST"));
        }
        if head.query.len() > options.query_limit {
            let limit = options.query_limit;
            return Err(Refusal::QueryTooLong.because(format!("the query string is longer than {limit} bytes")));
        }
        Ok(())
    }

    /// Notes whether the signature came with another callback before.
    fn check_replay(&self, app: u64, callback: impl Hash) -> Result<(), Refused> {
        let worker = &self.connection.worker;
        let Some(signed) = self.signed else { return Ok(()) };
        if !worker.common.replays.is_another((app, signed.token), signed.second, callback) {
            return Ok(());
        }
        worker.tally.count(Outcome::SignatureReused);
        match self.rules.options.strict_replay {
            false => Ok(()),
            true => Err(Refusal::SignatureReused
                .because("Sign and RequestTime came with another callback before; see [intake] strict_replay")),
        }
    }

    fn begin(&self, command: &Command) -> Result<InFlight<'c>, Refused> {
        // Bounded by the connections: each has one request at a time.
        let limit = if command.wants_decision() { usize::MAX } else { self.rules.max_in_flight };
        self.connection.worker.begin(limit).ok_or_else(|| {
            Refusal::TooBusy.because("too many callbacks are being answered at this time; send it again later")
        })
    }

    fn verify(&mut self, head: &Head, query: &Query<'_>) -> Result<&'c IntakeApp, Refused> {
        let rules = self.rules;
        let (place, app) = rules.apps.find(query)?;
        (self.line.app, self.tally) = (Some(app), rules.counts.of(place));
        if !app.allow_from.is_empty() {
            let trusted = &rules.options.trusted_proxies;
            let client = source::client(self.connection.peer.ip(), trusted, head.told.forwarded.as_ref());
            verify::check_source(app, client)?;
        }
        self.signed = verify::check_signature(app, query)?;
        if let Some(signed) = &self.signed {
            self.connection.worker.tally.skewed_by(signed.behind(self.at));
            self.tally.inspect(|tally| tally.count_signed(signed.token));
            verify::check_freshness(signed, self.at, rules.options.freshness)?;
        }
        self.connection.trust();
        Ok(app)
    }

    /// A request without a command. With an empty body it is a console that tries out the URL – what that sends is not
    /// documented, so nothing else is asked of it – and otherwise a callback that lacks its command.
    async fn probe<S, B>(&mut self, head: &Head, query: &Query<'_>, mut body: Pin<&mut S>) -> Result<Outcome, Refused>
    where
        S: Stream<Item = Result<B, warp::Error>>,
        B: Buf,
    {
        let is_empty = poll_fn(|cx| Poll::Ready(body::is_empty(body.as_mut(), cx))).await;
        if !is_empty {
            // For a body whose length is yet to be seen nobody waits who has not been verified, and nothing is read
            // of it: who sends a body in chunks is no console.
            self.verify(head, query)?;
            return Err(Refusal::CommandMissing.because(
                "query parameter CallbackCommand is missing; only an empty body, as a console may send, does without",
            ));
        }
        Ok(Outcome::Probe)
    }

    /// Answers a callback that wants a decision. The reply does not wait for the journal.
    async fn decide(&mut self, callback: Callback, is_journaled: bool) -> Answered {
        let worker = &self.connection.worker;
        let rules = self.rules;
        let deadline = self.line.begun + rules.options.answer_within;
        let callback = Arc::new(callback);
        let mut recorded = Recorded { worker, callback: is_journaled.then(|| callback.clone()) };
        let answer = rules.deciders.decide(&callback, deadline, Some(&worker.caller)).await;
        self.line.decision = Some(answer.result);
        let place = answer.afterwards.as_ref().map(|_| Place::new());
        recorded.put(answer.record, place.as_ref());
        if let Some(afterwards) = answer.afterwards {
            let place = if is_journaled { place } else { None };
            rules.deciders.go_on(afterwards, place.map(|place| (worker.common.journal.clone(), place)));
        }
        worker.tally.decided_in(self.line.begun.elapsed());
        (if is_journaled { Outcome::Decided } else { Outcome::NotJournaled }, Some(answer.reply))
    }

    /// Answers an after callback, once it is durable.
    async fn acknowledge(&self, callback: Callback) -> Result<Outcome, Refused> {
        let worker = &self.connection.worker;
        let mut append = pin!(worker.port.append(callback));
        let stored = self.connection.within(append.as_mut()).await;
        let is_late = stored.is_err();
        let appended = accepted(stored);
        if worker.common.appends.change(appended.is_ok(), worker.now()) {
            match &appended {
                Ok(_) => info!("the journal stores callbacks again"),
                Err(refused) => warn!(
                    refusal = refused.refusal.name(),
                    "the journal does not store callbacks; they are answered 503"
                ),
            }
        }
        if appended.is_ok() || self.rules.options.when_not_durable == WhenNotDurable::Refuse {
            return appended;
        }
        worker.tally.count(Outcome::Held);
        let appended = match is_late {
            false => appended,
            true => match self.connection.hold(HOLD, append).await {
                Some(stored) => accepted(Ok(stored)),
                None => return appended,
            },
        };
        if appended.is_err() {
            // That is known too soon: nobody has timed out yet.
            self.connection.hold(HOLD, pending::<()>()).await;
        }
        appended
    }
}

fn accepted(stored: Result<Result<Appended, AppendError>, Late>) -> Result<Outcome, Refused> {
    match stored {
        Ok(Ok(_)) => Ok(Outcome::Accepted),
        Ok(Err(err)) => Err(Refused::from(err)),
        Err(Late) => {
            Err(Refusal::JournalLate.because("the journal did not store the callback in time; send it again later"))
        }
    }
}

/// A callback that is stored in any case: also where whoever sent it is gone before it is decided on.
struct Recorded<'w> {
    worker: &'w Worker,
    callback: Option<Arc<Callback>>,
}

impl Recorded<'_> {
    fn put(&mut self, record: Option<DecisionRecord>, place: Option<&Place>) {
        let Some(callback) = self.callback.take() else { return };
        let worker = self.worker;
        let is_taken = match record {
            Some(record) => worker.port.append_decided(callback, record, place),
            None => worker.port.append_detached(callback),
        };
        if worker.common.records.change(is_taken, worker.now()) {
            match is_taken {
                true => info!("the journal takes the records of before callbacks again"),
                false => {
                    warn!("the journal does not take the records of before callbacks; they are answered all the same");
                }
            }
        }
        if !is_taken {
            worker.tally.count(Outcome::Unrecorded);
        }
    }
}

impl Drop for Recorded<'_> {
    fn drop(&mut self) {
        self.put(None, None);
    }
}

fn plain(outcome: Outcome) -> Answered {
    (outcome, None)
}

fn body_late(_: Late) -> Refused {
    Refusal::BodyLate.because("the body was not there in time; see [intake] answer_within")
}
