//! Which token of an app its callbacks are signed with: when nothing comes with the old one any more, it can go.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::IntakeApp;

/// How many rightly signed callbacks came with one token of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenCount {
    /// The app's SDKAppID.
    pub sdk_app_id: u64,
    /// The token's place in the app's list, from 0. After the list was changed another may stand there.
    pub token: usize,
    /// How many.
    pub count: u64,
}

/// More than the configuration lets an app have.
const TOKENS: usize = 2;

type Cells = Arc<[AtomicU64; TOKENS]>;

/// What one worker has counted, for every app it ever knew.
#[derive(Default)]
pub(crate) struct TokenCounts(Mutex<BTreeMap<u64, Cells>>);

/// Where one worker counts for the apps of its rules, without a lock.
#[derive(Clone, Default)]
pub(crate) struct TokenCells(Vec<(u64, Cells)>); // Sorted by SDKAppID.

impl TokenCounts {
    /// Where to count for these apps, in any order.
    pub(crate) fn of<'a>(&self, apps: impl Iterator<Item = &'a IntakeApp>) -> TokenCells {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cells = apps.map(|app| app.app.sdk_app_id()).map(|id| (id, all.entry(id).or_default().clone()));
        let mut cells: Vec<_> = cells.collect();
        cells.sort_by_key(|&(id, _)| id);
        TokenCells(cells)
    }
}

impl TokenCells {
    pub(crate) fn count(&self, sdk_app_id: u64, token: usize) {
        let idx = self.0.binary_search_by_key(&sdk_app_id, |&(id, _)| id);
        if let Some((_, cells)) = idx.ok().and_then(|idx| self.0.get(idx))
            && let Some(cell) = cells.get(token)
        {
            cell.fetch_add(1, Relaxed);
        }
    }
}

/// What all workers have counted, by app and token; tokens that nothing came with are left out.
pub(crate) fn sum<'c>(workers: impl Iterator<Item = &'c TokenCounts>) -> Vec<TokenCount> {
    let mut sums: BTreeMap<(u64, usize), u64> = BTreeMap::new();
    for worker in workers {
        for (&id, cells) in worker.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            for (token, cell) in cells.iter().enumerate() {
                *sums.entry((id, token)).or_default() += cell.load(Relaxed);
            }
        }
    }
    let counted = sums.into_iter().filter(|&(_, count)| count > 0);
    counted.map(|((sdk_app_id, token), count)| TokenCount { sdk_app_id, token, count }).collect()
}
