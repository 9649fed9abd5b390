//! Names the steps at which a crash is tried.

/// Says that this step is reached: an event of `dispatcher::step` at level trace, and nothing more than a look at one
/// atomic where nobody listens. The crash harness kills the process here; see `crates/dispatcher-crash`.
#[inline]
pub(crate) fn step(step: &'static str) {
    tracing::trace!(target: "dispatcher::step", step);
}
