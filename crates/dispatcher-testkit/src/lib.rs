//! For tests of plugins and of dispatchers, ours and yours: no mocks, but small real parts.
//!
//! - [`sample`], [`callback`] and [`events`]: what a handler takes and what a sink takes.
//! - [`check_handler`] and [`check_sink`]: the contract that every plugin keeps. [`decide`]: what a handler decides.
//! - [`TestDispatcher`]: a whole dispatcher in the test's own process, on a free port, in a folder of its own.
//! - [`Process`]: a dispatcher program as a process that can be killed and started again.
//! - [`Tencent`]: sends signed callbacks. [`Receiver`]: an HTTP receiver that can refuse and hang, and be asked what it got.
//! - [`Control`]: steers the sink and the handler `misbehaving`, which this crate registers.
//!
//! Everything here panics with what it saw when a test's expectation does not hold, and waits on the thing itself, never
//! on the clock: what does not come within [`PATIENCE`] is reported as missing.

mod contract;
mod deciding;
mod misbehaving;
mod misdeciding;
mod process;
mod receiver;
mod running;
mod sample;
mod tencent;

use std::time::Duration;

pub use contract::{check_handler, check_sink, open_handler, open_sink};
pub use deciding::decide;
pub use misbehaving::{Behaviour, Control};
pub use process::Process;
pub use receiver::{Answer, Received, Receiver};
pub use running::TestDispatcher;
pub use sample::{callback, callback_from, events, sample};
pub use tencent::{Reply, Tencent};

/// How long anything is waited for before it is reported as missing. Long, since it is never the measure of anything.
pub const PATIENCE: Duration = Duration::from_secs(60);
