//! What `[admin] listen` knows.

use dispatcher_control::AdminCounters;

use crate::{names, page::Page};

pub(crate) fn write(page: &mut Page, admin: &AdminCounters) {
    for (outcome, count) in admin.requests() {
        page.count(&names::ADMIN_REQUESTS, &[("outcome", outcome)], count);
    }
    page.count(&names::ADMIN_OPEN, &[], admin.open_connections() as u64);
    page.count(&names::ADMIN_CONNECTIONS, &[], admin.connections());
    for (cause, count) in admin.closed() {
        page.count(&names::ADMIN_CLOSED, &[("cause", cause)], count);
    }
    page.count(&names::ADMIN_CERTIFICATE, &[], admin.certificate_expires().unwrap_or_default());
}
