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

    /// Gives a sign of life, twice in the time that there is for one, for as long as it is polled: a main thread that does
    /// not come round gives none.
    pub(crate) async fn live(&self) -> Infallible {
        let Some(wait) = self.watchdog else { return pending().await };
        let mut ticks = interval(wait / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(err) = sd_notify::notify(states) {
        warn!(%err, "cannot tell the service manager (NOTIFY_SOCKET)");
    }
}
