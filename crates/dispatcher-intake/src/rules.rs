//! What requests are judged by: replaced as a whole while requests go on. A request keeps what it started with.

use std::sync::Arc;

use dispatcher_decider::Deciders;
use hyper::server::conn::http1;
use tokio_rustls::TlsAcceptor;

use crate::{
    CommandRule, IntakeApp, IntakeOptions, StartError, app_counts::AppCounts, clock::Limits, counters::Tally,
    policy::Policy, verify::Apps,
};

/// Everything that is configured and that a request or a connection looks at. Each worker has a copy of its own, so that
/// counting who holds it is nothing that workers share.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) options: IntakeOptions,
    pub(crate) limits: Limits,
    pub(crate) http: http1::Builder, // For connections that begin under these rules.
    pub(crate) max_in_flight: usize, // Of each worker.
    pub(crate) tls: Option<TlsAcceptor>,
    pub(crate) apps: Arc<Apps>,
    pub(crate) counts: AppCounts,
    pub(crate) policy: Arc<Policy>,
    pub(crate) deciders: Deciders,
}

impl Rules {
    pub(crate) fn new(
        options: IntakeOptions,
        apps: Vec<IntakeApp>,
        commands: Vec<CommandRule>,
        deciders: Deciders,
        n_workers: usize,
    ) -> Result<Rules, StartError> {
        let mut http = http1::Builder::new();
        // No timer: time is kept by the connections' clocks, which tell an idle connection from a slow head.
        http.half_close(false).max_header_size(options.header_bytes).max_buf_size(options.header_bytes.max(64 << 10));
        if options.max_headers != IntakeOptions::default().max_headers {
            http.max_headers(options.max_headers);
        }
        Ok(Rules {
            limits: Limits::new(&options),
            http,
            max_in_flight: options.max_in_flight.div_ceil(n_workers.max(1)).max(1),
            tls: options.tls.as_ref().map(|tls| TlsAcceptor::from(tls.server_config())),
            apps: Arc::new(Apps::new(apps)?),
            counts: AppCounts::default(),
            policy: Arc::new(Policy::new(commands)),
            deciders,
            options,
        })
    }

    /// These, for the worker that counts here.
    pub(crate) fn counted_in(mut self, tally: &Tally) -> Rules {
        self.counts = tally.apps.of(self.apps.all().map(|app| &app.app));
        self
    }
}
