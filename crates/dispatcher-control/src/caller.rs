//! Who is at the other end of a connection to `[admin] listen`, and whether that is still somebody to be let in.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::watch;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::{
    AdminOptions, Request,
    door::{TokenHash, opens},
};

/// Somebody who is connected.
pub(crate) struct Caller {
    pub(crate) peer: SocketAddr,
    /// The certificates that were shown; `None`: it does not speak TLS.
    shown: Option<Vec<CertificateDer<'static>>>,
    asks: Mutex<Asks>,
}

/// What a connection is at.
enum Asks {
    /// Its request has yet to come, or to be let in.
    Nothing,
    /// This token opened, and what is asked for can end at any point.
    ToSee(TokenHash),
    /// What is asked for goes on to its end.
    ToChange,
}

impl Caller {
    pub(crate) fn new(peer: SocketAddr, shown: Option<Vec<CertificateDer<'static>>>) -> Caller {
        Caller { peer, shown, asks: Mutex::new(Asks::Nothing) }
    }

    /// Whether such a connection could be made now.
    pub(crate) fn could_connect(&self, options: &AdminOptions) -> bool {
        match (&options.tls, &self.shown) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(tls), Some(shown)) => tls.lets_in(shown),
        }
    }

    /// It was let in with this token.
    pub(crate) fn let_in_with(&self, token: TokenHash) {
        *self.asks() = Asks::ToSee(token);
    }

    /// It asks for this.
    pub(crate) fn asks_for(&self, request: &Request) {
        if !can_be_cut(request) {
            *self.asks() = Asks::ToChange;
        }
    }

    /// Ends when a reload has let it out: its certificate or its token opens no more. Who has something changed is let out
    /// after that: there is one request for each connection.
    pub(crate) async fn let_out(&self, mut options: watch::Receiver<Arc<AdminOptions>>) {
        while options.changed().await.is_ok() {
            let now = options.borrow_and_update().clone();
            let is_in = match &*self.asks() {
                Asks::Nothing => self.could_connect(&now),
                Asks::ToSee(token) => self.could_connect(&now) && opens(token, &now.tokens),
                Asks::ToChange => true,
            };
            if !is_in {
                return;
            }
        }
        // Nobody can change them any more.
        std::future::pending().await
    }

    // A std mutex: held for one assignment or one look, and never across an await.
    fn asks(&self) -> MutexGuard<'_, Asks> {
        self.asks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether nothing is left half done where the answers to this end early. What follows or watches may go on for hours.
fn can_be_cut(request: &Request) -> bool {
    match request {
        Request::Callbacks(_)
        | Request::Events(_)
        | Request::Show { .. }
        | Request::DeadLetters { .. }
        | Request::DryRun { .. }
        | Request::Replays
        | Request::WatchReplay { .. }
        | Request::Status
        | Request::Check => true,
        // The replay itself is in the journal, and goes on.
        Request::ReplayDead { watch, .. } | Request::Replay { watch, .. } => *watch,
        Request::Discard(_)
        | Request::CancelReplay { .. }
        | Request::Pause { .. }
        | Request::Resume { .. }
        | Request::Shadow { .. }
        | Request::RenameConsumer { .. }
        | Request::DropConsumer { .. }
        | Request::Reload
        | Request::LogLevel { .. }
        | Request::Backup { .. }
        | Request::Compact => false,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::pin,
        task::{Context, Waker},
    };

    use dispatcher_core::Secret;

    use super::*;
    use crate::{Admission, Search};

    /// Whether somebody who was let in with this token, and asks for this, is let out when only `tokens` open.
    fn is_let_out(request: Option<Request>, tokens: &[&str]) -> bool {
        const TOKEN: &str = "the-one";
        let options = |tokens: &[&str]| AdminOptions {
            tokens: tokens.iter().filter_map(|token| Secret::new(token)).collect(),
            ..AdminOptions::default()
        };
        let admission = Admission::new(options(&[TOKEN]));
        let caller = Caller::new("127.0.0.1:1".parse().unwrap(), None);
        let mut let_out = pin!(caller.let_out(admission.changes()));
        let mut cx = Context::from_waker(Waker::noop());
        if let Some(request) = request {
            caller.let_in_with(TokenHash::of(TOKEN));
            caller.asks_for(&request);
        }
        assert!(let_out.as_mut().poll(&mut cx).is_pending(), "nothing has changed");
        admission.replace(options(tokens));
        let_out.as_mut().poll(&mut cx).is_ready()
    }

    #[test]
    fn whose_token_is_out_sees_no_more_and_what_it_changes_goes_on() {
        let follow = || Some(Request::Callbacks(Search { follow: true, ..Search::default() }));
        assert!(is_let_out(follow(), &[]) && is_let_out(follow(), &["another"]));
        assert!(is_let_out(Some(Request::WatchReplay { id: 1 }), &["another"]));
        assert!(!is_let_out(follow(), &["another", "the-one"]));
        assert!(!is_let_out(Some(Request::Compact), &[]) && !is_let_out(Some(Request::Reload), &[]));
        assert!(!is_let_out(None, &[]), "who has asked nothing has shown no token");
    }
}
