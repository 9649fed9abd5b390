//! One file for each fault.

pub(crate) mod clock;
pub(crate) mod error;
pub(crate) mod flip;
pub(crate) mod kill;
pub(crate) mod power;
pub(crate) mod sink;
pub(crate) mod step;
