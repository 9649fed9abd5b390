//! Which trace a callback belongs to, and the ids of its spans.
//!
//! All of them follow from the callback's id and from the `traceparent` that came with it, both of which are stored with the
//! callback. So spans that are made days apart, or after a restart, name the same parent, and nothing is stored for them.

use dispatcher_core::TraceParent;

/// The trace of one callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    /// The id of the trace.
    pub(crate) id: u128,
    /// The sender's span, if there was one.
    pub(crate) parent: Option<u64>,
    /// The span of the request.
    pub(crate) request: u64,
    /// Whether the sender exports its part; `None` where there is no sender's part.
    is_sampled: Option<bool>,
}

/// Told apart by what they are added to the callback's id with.
const OF_TRACE: u64 = 0;
const OF_REQUEST: u64 = 1;
const OF_DECISION: u64 = 2;

impl Trace {
    /// The trace of the callback with this id and this `traceparent`; both may be missing, for a request that was refused.
    pub(crate) fn of(id: Option<u128>, traceparent: Option<&str>) -> Trace {
        let id = id.unwrap_or_else(|| fastrand::u128(1..));
        let request = derived(id, OF_REQUEST);
        match traceparent.and_then(|text| TraceParent::read(text.as_bytes())) {
            Some(parent) => {
                let mut parts = parent.as_str().split('-').skip(1);
                let mut next = || parts.next().and_then(|digits| u128::from_str_radix(digits, 16).ok()).unwrap_or(1);
                let (id, span, flags) = (next(), next(), next());
                #[expect(clippy::cast_possible_truncation, reason = "16 hexadecimal digits are 64 bits")]
                let parent = Some(span as u64);
                Trace { id, parent, request, is_sampled: Some(flags & 1 == 1) }
            }
            None => {
                // The half that is random has to look so in each bit, and in a UUID the first two are fixed.
                let id = (id >> 64 << 64) | u128::from(derived(id, OF_TRACE));
                Trace { id, parent: None, request, is_sampled: None }
            }
        }
    }

    /// Whether it is exported: as the sender does, or, where there is none, for this share of all.
    pub(crate) fn is_exported(&self, share: f64) -> bool {
        self.is_sampled.unwrap_or_else(|| is_within(self.id, share))
    }
}

/// The id of the span that deciders' parts have as parent.
pub(crate) fn decision(id: u128) -> u64 {
    derived(id, OF_DECISION)
}

/// An id that nobody else has to know.
pub(crate) fn any_span() -> u64 {
    fastrand::u64(1..)
}

/// By the half that is random, as other exporters of a trace judge it.
#[expect(clippy::cast_precision_loss, reason = "a share is not that precise")]
#[expect(clippy::cast_possible_truncation, reason = "it is the lower half that counts")]
fn is_within(trace: u128, share: f64) -> bool {
    let place = ((trace as u64) >> 1) as f64 / (1_u64 << 63) as f64;
    place < share || share >= 1.0
}

/// An id out of a callback's: spread over all bits, never zero, the same each time.
#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
fn derived(id: u128, of: u64) -> u64 {
    let mut x = (id as u64).wrapping_add(((id >> 64) as u64).rotate_left(32)).wrapping_add(of.wrapping_mul(GOLDEN));
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (x ^ (x >> 31)).max(1)
}

/// The step of splitmix64, whose way of mixing this is.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// A number of 128 bits in hexadecimal, as ids are written.
pub(crate) fn id(text: &str) -> Option<u128> {
    u128::from_str_radix(&text.replace('-', ""), 16).ok().filter(|id| *id != 0)
}

#[cfg(test)]
mod tests {
    use dispatcher_core::CallbackId;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_traceparent_is_followed_and_its_flag_decides() {
        let trace = Trace::of(Some(7), Some(PARENT));
        let (id, parent) = (0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736, Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!((trace.id, trace.parent), (id, parent));
        assert!(trace.is_exported(0.0));
        let not_sampled = Trace::of(Some(7), Some(&format!("{}0", &PARENT[..54])));
        assert!(!not_sampled.is_exported(1.0));
        assert_eq!(not_sampled.request, trace.request);
    }

    #[test]
    fn without_one_ids_follow_from_the_callback_and_a_share_of_them_is_exported() {
        let ids: Vec<u128> = (0..4000).map(|_| id(&CallbackId::mint().to_string()).unwrap()).collect();
        let traces: Vec<Trace> = ids.iter().map(|id| Trace::of(Some(*id), None)).collect();
        assert_eq!(Trace::of(Some(ids[0]), Some("nonsense")), traces[0], "the same each time");
        let count = |share| traces.iter().filter(|trace| trace.is_exported(share)).count();
        assert_eq!((count(0.0), count(1.0)), (0, 4000));
        // Of 4,000 with a share of 0.25: 1,000, and 27 are one standard deviation.
        assert!((800..1200).contains(&count(0.25)), "{}", count(0.25));
        let mut spans: Vec<u64> =
            ids.iter().flat_map(|&id| [Trace::of(Some(id), None).request, decision(id)]).collect();
        spans.sort_unstable();
        spans.dedup();
        assert_eq!(spans.len(), 8000);
    }
}
