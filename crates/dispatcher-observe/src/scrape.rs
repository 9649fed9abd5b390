//! A page of all metrics.

use prometheus::core::Collector as _;

use crate::{admin, consumers, deciders, intake, journal, names, page::Page, sources::Observed};

/// All metrics as text. Blocks for a few reads of the journal.
///
/// # Errors
/// When one of them cannot be written.
pub(crate) fn scrape(observed: &Observed) -> Result<String, prometheus::Error> {
    let mut page = Page::default();
    page.count(&names::BUILD_INFO, &[("version", &observed.sources.version)], 1);
    page.count(&names::DRAINING, &[], u64::from(observed.is_draining()));
    let reloads = (observed.sources.reloads)();
    for (result, count) in [("applied", reloads.applied), ("invalid", reloads.invalid), ("failed", reloads.failed)] {
        page.count(&names::RELOADS, &[("result", result)], count);
    }
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of the epoch are far below 2^53")]
    page.add(&names::LAST_RELOAD, &[], reloads.last.as_millis() as f64 / 1e3);
    let spans = (observed.sources.spans)();
    for (result, count) in [("exported", spans.exported), ("dropped", spans.dropped)] {
        page.count(&names::SPANS, &[("result", result)], count);
    }
    intake::write(&mut page, observed);
    deciders::write(&mut page, &(observed.sources.deciders)());
    journal::write(&mut page, &observed.sources.journal);
    consumers::write(&mut page, observed);
    admin::write(&mut page, &observed.sources.admin);
    page.append(observed.process.collect());
    page.text()
}
