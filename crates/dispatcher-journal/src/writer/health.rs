//! What the writer says and does about a disk that fails and recovers.

use std::{
    mem,
    sync::{Arc, atomic::Ordering},
};

use tracing::{error, info, warn};

use super::Writer;
use crate::{
    Health,
    trouble::{Fault, Trouble},
};

impl Writer<'_> {
    /// After a transaction that succeeded.
    pub(super) fn recover(&mut self) {
        if self.failing.take().is_some() {
            self.shared.set_health(Health::Ok);
            info!(unrecorded = mem::take(&mut self.unrecorded), "the journal writes again");
        }
    }

    /// After one that failed. A consumer's own fault is the consumer's to tell.
    pub(super) fn suffer(&mut self, trouble: &Trouble, has_appends: bool) {
        match trouble.fault {
            Fault::Sync => self.poison(&trouble.reason),
            Fault::Own if !has_appends => {}
            Fault::Disk | Fault::Own => {
                if self.failing.replace(trouble.reason.clone()).is_none() {
                    error!(
                        reason = %trouble,
                        "the journal cannot write, and callbacks are refused until it can; it tries again with each \
                         that comes; free space on its disk, or see to the disk"
                    );
                }
                self.shared.set_health(Health::Failing(trouble.reason.clone()));
            }
        }
    }

    /// So many records of decisions could not be stored.
    pub(super) fn lose_decisions(&mut self, lost: u64) {
        if lost == 0 {
            return;
        }
        self.shared.tallies.unrecorded_decisions.fetch_add(lost, Ordering::Relaxed);
        // Of a disk that fails enough is said.
        let is_own = self.failing.is_none() && self.poisoned.is_none();
        if is_own && !mem::replace(&mut self.loses_decisions, true) {
            warn!(
                lost,
                "records of decisions cannot be stored: their callbacks are gone or damaged, or their page of the journal is;                  `dispatcher journal check` tells which"
            );
        }
    }

    pub(super) fn poison(&mut self, reason: &Arc<str>) {
        if self.poisoned.is_none() {
            error!(
                %reason,
                "the journal could not sync to its disk, so that nothing more can be promised: callbacks are refused from \
                 now on; look for disk errors in the kernel's log, then restart the dispatcher"
            );
            self.poisoned = Some(reason.clone());
            self.shared.set_health(Health::Poisoned(reason.clone()));
        }
    }
}
