//! The way to ask this dispatcher over the network, where `[admin] listen` asks for it.

use std::{io, net::TcpListener};

use dispatcher_config::{Config, Finding};
use dispatcher_control::{Admin, AdminOptions, Admission, Audit, Operations};

/// Who is let in.
pub(crate) fn options(config: &Config) -> AdminOptions {
    AdminOptions {
        tokens: config.admin.tokens.clone(),
        hosts: config.admin.hosts.clone(),
        tls: config.admin_tls.clone(),
    }
}

/// Starts to answer there.
///
/// # Errors
/// When the machine gives no thread.
pub(crate) fn start(
    config: &Config,
    listener: TcpListener,
    admission: Admission,
    operations: Operations,
    audit: Audit,
) -> Result<Admin, Finding> {
    let failed = |err: io::Error| config.finding("admin.listen", format!("cannot be asked there: {err}"));
    Admin::start(listener, admission, operations, audit).map_err(failed)
}
