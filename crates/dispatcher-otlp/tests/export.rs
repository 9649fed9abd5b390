//! What a receiver gets of lines that are told, over a real socket, and what becomes of those that nobody takes.

#![allow(clippy::unwrap_used, reason = "a test may panic, in its helpers as well")]

use std::{
    collections::BTreeMap,
    net::TcpListener,
    time::{Duration, Instant},
};

use dispatcher_core::Secret;
use dispatcher_otlp::{Counts, Exporter, Options};
use dispatcher_testkit::{Answer, PATIENCE, Received, Receiver};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::any_value::Value,
    trace::v1::{Span, span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use tracing::{debug, subscriber::with_default, trace};
use tracing_subscriber::layer::SubscriberExt as _;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";
const ID: &str = "01a206b2-5c4f-7b53-9f39-0a5f6f1b0c77";
/// Long enough for a loaded machine; nobody waits for it where all goes well.
const LONG: Duration = Duration::from_secs(30);

/// An exporter to this URL, fed with what `tell` says.
fn export(url: &str, sample: f64, tell: impl FnOnce()) -> Exporter {
    let headers = BTreeMap::from([("X-Team".to_owned(), Secret::new("a-secret").unwrap())]);
    let options = Options::read(url, &headers, sample, Duration::from_secs(10), "chat").unwrap();
    let (exporter, layer) = Exporter::start(options, "1.2.3").unwrap();
    with_default(tracing_subscriber::registry().with(layer), tell);
    exporter
}

fn tell_callback(id: Option<&str>, traceparent: Option<&str>) {
    debug!(
        target: "dispatcher::callback",
        outcome = "accepted",
        id = id.map(tracing::field::display),
        app = 1_400_000_001_u64,
        command = "Group.CallbackAfterGroupFull",
        cause = "words of a refusal",
        body = "what people write",
        micros = 1500_u64,
        traceparent,
        "request ended"
    );
}

fn requests(received: &[Received]) -> Vec<ExportTraceServiceRequest> {
    received.iter().map(|one| ExportTraceServiceRequest::decode(one.body.clone()).unwrap()).collect()
}

fn spans(received: &[Received]) -> Vec<Span> {
    let resources = requests(received).into_iter().flat_map(|request| request.resource_spans);
    resources.flat_map(|resource| resource.scope_spans).flat_map(|scope| scope.spans).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(span: &Span) -> BTreeMap<&str, String> {
    let text = |value: &Value| match value {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{other:?}"),
    };
    span.attributes.iter().map(|one| (&*one.key, text(one.value.as_ref().unwrap().value.as_ref().unwrap()))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_arrive_as_spans_of_the_trace_that_they_belong_to() {
    let receiver = Receiver::start().await;
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let exporter = export(&receiver.url(), 0.0, || {
        trace!(target: "dispatcher::decision", handler = "words", said = "late", then = "allow", id = ID, micros = 700_u64, traceparent);
        trace!(target: "dispatcher::decision", decision = "allowed", id = ID, micros = 900_u64, traceparent);
        tell_callback(Some(ID), Some(&traceparent));
        trace!(
            target: "dispatcher::attempt", consumer = "handler:everything", seq = 7_u64, attempt = 1_u32, outcome = "done",
            id = ID, micros = 3_u64, traceparent,
        );
        trace!(
            target: "dispatcher::attempt", consumer = "sink:relay", seq = 9_u64, attempt = 2_u32, outcome = "failed",
            error = "status 500 from http://relay/", id = ID, event = "an-event", micros = 3_u64, traceparent,
        );
        // Neither of another sender's trace that is not exported, nor of the share that is nobody's, nor of a stranger.
        tell_callback(Some(ID), Some(&format!("00-{TRACE}-{PARENT}-00")));
        tell_callback(Some(ID), None);
        debug!(target: "dispatcher::callback", outcome = "refused", refusal = "signature_wrong", traceparent);
        debug!(target: "dispatcher::elsewhere", id = ID, command = "x", traceparent);
    });
    exporter.close(LONG);
    assert_eq!(exporter.counts(), Counts { exported: 5, dropped: 0 });
    let received = receiver.received();
    assert!(received.iter().all(|one| one.headers["content-type"] == "application/x-protobuf"));
    assert!(received.iter().all(|one| one.headers["x-team"] == "a-secret" && one.path == "/in"));
    let resource = requests(&received)[0].resource_spans[0].resource.clone().unwrap();
    let of_resource = attributes(&Span { attributes: resource.attributes, ..Span::default() })
        .into_iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect::<Vec<_>>();
    assert_eq!(of_resource, ["service.name=chat", "service.version=1.2.3"]);

    let spans = spans(&received);
    let named = |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name}"));
    let (request, decision) = (named("callback"), named("decision"));
    for (span, parent, kind, micros, is_error) in [
        (request, PARENT.to_owned(), SpanKind::Server, 1500, false),
        (decision, hex(&request.span_id), SpanKind::Internal, 900, false),
        (named("decide words"), hex(&decision.span_id), SpanKind::Internal, 700, true),
        (named("handle everything"), hex(&request.span_id), SpanKind::Internal, 3, false),
        (named("deliver relay"), hex(&request.span_id), SpanKind::Producer, 3, true),
    ] {
        assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), parent), "{span:?}");
        assert_eq!((span.kind, span.span_id.len()), (kind.into(), 8), "{span:?}");
        assert_eq!(span.end_time_unix_nano - span.start_time_unix_nano, micros * 1000, "{span:?}");
        let status = span.status.as_ref().map(|status| status.code);
        assert_eq!(status, is_error.then(|| StatusCode::Error.into()), "{span:?}");
        assert_eq!(attributes(span)["id"], ID);
    }
    assert_eq!(request.flags, 0x301, "sampled, with a parent elsewhere");
    assert_eq!(
        attributes(request).into_keys().collect::<Vec<_>>(),
        ["app", "command", "id", "outcome"],
        "nothing that is not known to be harmless"
    );
    let delivery = attributes(named("deliver relay"));
    assert_eq!((&*delivery["consumer"], &*delivery["attempt"], &*delivery["event"]), ("sink:relay", "2", "an-event"));
    assert_eq!(named("deliver relay").status.as_ref().unwrap().message, "status 500 from http://relay/");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_sender_in_the_trace_all_spans_of_a_callback_are_still_in_one() {
    let receiver = Receiver::start().await;
    let exporter = export(&receiver.url(), 1.0, || {
        tell_callback(Some(ID), None);
        trace!(target: "dispatcher::attempt", consumer = "replay:3", outcome = "down", error = "gone", id = ID, micros = 0_u64);
    });
    exporter.close(LONG);
    let spans = spans(&receiver.received());
    let [request, replay] = &*spans else { panic!("{spans:?}") };
    assert_eq!((&*request.name, &*replay.name), ("callback", "replay"));
    assert_eq!((&request.trace_id, &request.span_id), (&replay.trace_id, &replay.parent_span_id));
    assert!(request.parent_span_id.is_empty() && request.trace_id.len() == 16);
    // The first half of the callback's id, which has its time.
    assert_eq!(hex(&request.trace_id[..8]), ID.replace('-', "")[..16]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_a_moment_comes_again_and_what_never_works_is_dropped() {
    let receiver = Receiver::start().await;
    receiver.answer(Answer::Status(503));
    let exporter = export(&receiver.url(), 1.0, || tell_callback(Some(ID), None));
    let refused = receiver.wait_until(|all| !all.is_empty()).await;
    receiver.answer(Answer::Status(200));
    let received = receiver.wait_for(1).await;
    assert_eq!(received.last().unwrap().body, refused[0].body, "the same spans, with the same ids");
    exporter.close(LONG);
    assert_eq!(exporter.counts(), Counts { exported: 1, dropped: 0 });

    receiver.answer(Answer::Status(400));
    let before = receiver.received().len();
    let exporter = export(&receiver.url(), 1.0, || tell_callback(Some(ID), None));
    exporter.close(LONG);
    assert_eq!(exporter.counts(), Counts { exported: 0, dropped: 1 });
    assert_eq!(receiver.received().len(), before + 1, "not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_nobody_takes_them_a_bounded_number_waits_and_the_rest_is_dropped_and_counted() {
    const TOLD: u64 = 20_000;
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("http://{address}/v1/traces");
    let exporter = export(&url, 1.0, || (0..TOLD).for_each(|_| tell_callback(Some(ID), None)));
    let dropped = exporter.counts().dropped;
    assert!(
        (TOLD - 10_000..TOLD).contains(&dropped),
        "{dropped}: the queue has 8,192 places, and a batch is under way"
    );
    // All that was told is accounted for in the end, also what time was too short for.
    exporter.close(Duration::from_millis(1));
    let started = Instant::now();
    while exporter.counts() != (Counts { exported: 0, dropped: TOLD }) {
        assert!(started.elapsed() < PATIENCE, "{:?}", exporter.counts());
        tokio::task::yield_now().await;
    }
}
