//! What a service manager is told, by systemd's protocol: that the dispatcher is ready, that it is alive, that it stops.
//!
//! Without `NOTIFY_SOCKET` in the environment nobody is told anything.

use std::{convert::Infallible, future::pending, time::Duration};

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

/// The service manager, if there is one.
pub(crate) struct Service {
    /// How long it waits for a sign of life before it restarts the dispatcher.
    watchdog: Option<Duration>,
}

impl Service {
    /// As the environment has it.
    pub(crate) fn new() -> Service {
        Service { watchdog: sd_notify::watchdog_enabled().filter(|wait| !wait.is_zero()) }
    }

    /// Callbacks are answered.
    pub(crate) fn ready(&self, status: &str) {
        tell(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// A stop has begun.
    pub(crate) fn stopping(&self) {
        tell(&[NotifyState::Stopping, NotifyState::Status("finishing what is under way")]);
    }

    /// Gives signs of life for as long as it is polled and `is_alive`, which is told how long a thread may take to come round.
    /// So neither a main thread that hangs gives one, nor a dispatcher in which another does.
    pub(crate) async fn live(&self, is_alive: impl Fn(Duration) -> bool) -> Infallible {
        match self.watchdog {
            Some(wait) => beat(wait, is_alive, || tell(&[NotifyState::Watchdog])).await,
            None => pending().await,
        }
    }
}

/// More often than twice in the time that there is for one, so that a moment's stall costs none.
async fn beat(wait: Duration, is_alive: impl Fn(Duration) -> bool, give: impl Fn()) -> Infallible {
    let mut ticks = interval(wait / 6);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Nothing is logged of it: a log that takes no line is one of the things to hang on.
        if is_alive(wait / 2) {
            give();
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(err) = sd_notify::notify(states) {
        warn!(%err, "cannot tell the service manager (NOTIFY_SOCKET)");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn a_dispatcher_that_hangs_gives_no_sign_of_life() {
        let (looks, signs) = (Cell::new(0), Cell::new(Vec::new()));
        let is_alive = |_| {
            looks.set(looks.get() + 1);
            looks.get() % 3 == 0
        };
        let give = || signs.set([signs.take(), vec![looks.get()]].concat());
        let beats = beat(Duration::from_millis(6), is_alive, give);
        let enough = async {
            while looks.get() < 10 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { biased; never = beats => match never {}, () = enough => {} }
        assert_eq!(signs.take()[..3], [3, 6, 9]);
    }
}
