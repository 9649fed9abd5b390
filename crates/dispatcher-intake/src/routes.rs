//! The way of one request: from its head to its reply.
//!
//! All that the query string can tell is checked before the body is read.

use std::{
    convert::Infallible,
    future::{poll_fn, ready},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Instant,
};

use bytes::{Buf, Bytes};
use dispatcher_core::{Callback, CallbackId, CallbackParts, Timestamp};
use dispatcher_journal::{DecisionRecord, Place};
use futures_util::Stream;
use tencent_chat::{Query, inspect, without_signature};
use tracing::{debug, info, warn};
use warp::{
    Filter, Rejection,
    filters::path::FullPath,
    http::{Method, Response},
};

use crate::{
    IntakeApp, Outcome, PathRule, body,
    connection::{Connection, Late},
    identity::identity,
    refusal::{self, Refusal, Refused},
    verify,
    worker::Worker,
};

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
        .and(warp::body::stream())
        .then(move |method, path, query, length, body| {
            connection.serve();
            answer(connection.clone(), Head { method, path, query, length }, body)
        })
        // What the filters themselves reject: headers that hyper takes and warp does not.
        .recover(move |_: Rejection| {
            let refused = Refusal::HeaderMalformed.because("a header of the request cannot be read");
            rejected.reply();
            ready(Ok::<_, Infallible>(refuse(&rejected, None, &refused)))
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
}

async fn answer<S, B>(connection: Arc<Connection>, head: Head, body: S) -> Response<Bytes>
where
    S: Stream<Item = Result<B, warp::Error>>,
    B: Buf,
{
    let mut body = pin!(body);
    let begun = Instant::now();
    let mut request = Request { connection: &connection, begun, app: None, is_read: false };
    let response = match request.answer(&head, body.as_mut()).await {
        Ok((outcome, reply)) => {
            connection.worker.tally.count(outcome);
            reply.map_or_else(refusal::ok, refusal::json)
        }
        Err(refused) => {
            // What is there of the body costs nothing; for the rest nobody waits.
            let is_read = request.is_read || poll_fn(|cx| Poll::Ready(body::is_over(body.as_mut(), cx))).await;
            connection.leave_unread(!is_read);
            refuse(&connection, request.app, &refused)
        }
    };
    connection.reply();
    response
}

fn refuse(connection: &Connection, app: Option<&IntakeApp>, refused: &Refused) -> Response<Bytes> {
    connection.worker.tally.refuse(refused.refusal);
    let app = app.map(|app| app.app.sdk_app_id());
    debug!(peer = %connection.peer, app, refusal = refused.refusal.name(), cause = &*refused.info, "request refused");
    refused.response()
}

struct Request<'c> {
    connection: &'c Connection,
    begun: Instant, // When its head was there.
    app: Option<&'c IntakeApp>,
    is_read: bool, // Its body was read to the end.
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
            return self.probe(&query, body).await.map(plain);
        };
        let app = self.verify(&query)?;
        let command = verify::command(command)?;

        let rules = &self.connection.worker.rules;
        let read = body::read(body.as_mut(), head.length, rules.options.body_limit);
        let body = self.connection.within(read).await.map_err(body_late)??;
        self.is_read = true;
        let envelope = inspect(&body, command.as_str())?;
        let is_journaled = rules.policy.is_journaled(&command);
        if !is_journaled && !command.wants_decision() {
            return Ok(plain(Outcome::NotJournaled));
        }

        let tells_apart = envelope.tells_apart || query.request_id.is_some();
        let identity =
            tells_apart.then(|| identity(app.app.sdk_app_id(), &command, query.request_id.as_deref(), &body));
        let wants_decision = command.wants_decision();
        let callback = Callback::new(CallbackParts {
            id: CallbackId::mint(),
            app: app.app.clone(),
            command,
            query: Arc::from(&*without_signature(&head.query)),
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

    fn check_head(&self, head: &Head) -> Result<(), Refused> {
        let options = &self.connection.worker.rules.options;
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

    fn verify(&mut self, query: &Query<'_>) -> Result<&'c IntakeApp, Refused> {
        let rules = &self.connection.worker.rules;
        let app = rules.apps.find(query)?;
        self.app = Some(app);
        verify::check_signature(app, query, Timestamp::now(), rules.options.freshness)?;
        self.connection.trust();
        Ok(app)
    }

    /// A request without a command. With an empty body it is a console that tries out the URL – what that sends is not
    /// documented, so nothing else is asked of it – and otherwise a callback that lacks its command.
    async fn probe<S, B>(&mut self, query: &Query<'_>, mut body: Pin<&mut S>) -> Result<Outcome, Refused>
    where
        S: Stream<Item = Result<B, warp::Error>>,
        B: Buf,
    {
        let is_empty = poll_fn(|cx| Poll::Ready(body::is_empty(body.as_mut(), cx))).await;
        if !is_empty {
            // For a body whose length is yet to be seen nobody waits who has not been verified, and nothing is read
            // of it: who sends a body in chunks is no console.
            self.verify(query)?;
            return Err(Refusal::CommandMissing.because(
                "query parameter CallbackCommand is missing; only an empty body, as a console may send, does without",
            ));
        }
        Ok(Outcome::Probe)
    }

    /// Answers a callback that wants a decision. The reply does not wait for the journal.
    async fn decide(&self, callback: Callback, is_journaled: bool) -> Answered {
        let worker = &self.connection.worker;
        let rules = &worker.rules;
        let deadline = self.begun + rules.options.answer_within;
        let callback = Arc::new(callback);
        let mut recorded = Recorded { worker, callback: is_journaled.then(|| callback.clone()) };
        let answer = rules.deciders.decide(&callback, deadline, &worker.caller).await;
        let place = answer.afterwards.as_ref().map(|_| Place::new());
        recorded.put(answer.record, place.as_ref());
        if let Some(afterwards) = answer.afterwards {
            let place = if is_journaled { place } else { None };
            rules.deciders.go_on(afterwards, place.map(|place| (rules.journal.clone(), place)));
        }
        worker.tally.decided_in(self.begun.elapsed());
        (if is_journaled { Outcome::Decided } else { Outcome::NotJournaled }, Some(answer.reply))
    }

    /// Answers an after callback, once it is durable.
    async fn acknowledge(&self, callback: Callback) -> Result<Outcome, Refused> {
        let worker = &self.connection.worker;
        let appended = match self.connection.within(worker.port.append(callback)).await {
            Ok(Ok(_)) => Ok(Outcome::Accepted),
            Ok(Err(err)) => Err(Refused::from(err)),
            Err(Late) => {
                Err(Refusal::JournalLate.because("the journal did not store the callback in time; send it again later"))
            }
        };
        if worker.rules.appends.change(appended.is_ok()) {
            match &appended {
                Ok(_) => info!("the journal stores callbacks again"),
                Err(refused) => warn!(
                    refusal = refused.refusal.name(),
                    "the journal does not store callbacks; they are answered 503"
                ),
            }
        }
        appended
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
        if worker.rules.records.change(is_taken) {
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
