//! What of runs the process reads through their maps. Pages that are touched there count as the daemon's memory,
//! so that all tables share an allowance; past the map each look-up is a system call. Knows nothing of runs.

use crate::ambient::{Limit, limit};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of all claims together: the whole index of some nine million rows. Of a larger table's only small runs are claimed.
pub(crate) const CLAIMED_MAX: u64 = 128 << 20;

static CLAIMED: AtomicU64 = AtomicU64::new(0);

/// A part of the allowance, given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim(u64);

impl Claim {
    /// `None` when no more than others' claims fit.
    pub(crate) fn new(bytes: u64) -> Option<Claim> {
        let most = limit(Limit::ClaimedBytes, CLAIMED_MAX);
        let claim = |held: u64| held.checked_add(bytes).filter(|held| *held <= most);
        CLAIMED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim).ok().map(|_| Claim(bytes))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.fetch_sub(self.0, Ordering::Relaxed);
    }
}
