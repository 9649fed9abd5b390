//! What a request's headers tell that the intake has a use for. Most requests tell nothing.

use dispatcher_core::TraceParent;
use warp::http::{HeaderMap, HeaderName};

use crate::source::Forwarded;

/// The one thing that is put behind a request's head for its answer: each of its own would make the answer's future larger,
/// and that is moved often.
#[derive(Clone, Default)]
pub(crate) struct Told {
    /// On whose behalf it says it came. Whether to believe that is for [`client`](crate::source::client) to say.
    pub(crate) forwarded: Option<Forwarded>,
    /// The trace that it says it is part of.
    pub(crate) traceparent: Option<TraceParent>,
}

impl Told {
    /// What these headers tell, if anything; a proxy's word among it where proxies are heard.
    pub(crate) fn by(headers: &HeaderMap, hears_proxies: bool) -> Option<Told> {
        let forwarded = if hears_proxies { Forwarded::of(headers) } else { None };
        let told = Told { forwarded, traceparent: traceparent(headers) };
        (told.forwarded.is_some() || told.traceparent.is_some()).then_some(told)
    }
}

static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// One that says so twice, or in a way that the standard does not know, says nothing.
fn traceparent(headers: &HeaderMap) -> Option<TraceParent> {
    let mut values = headers.get_all(&TRACEPARENT).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => TraceParent::read(value.as_bytes()),
        _ => None,
    }
}
