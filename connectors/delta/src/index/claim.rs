//! What of runs the process reads through their maps. Pages that are touched there count as the daemon's memory,
//! so that all tables share an allowance; past the map each look-up is a system call. Knows nothing of runs.

use crate::ambient::{Limit, limit};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of all claims together, up to which small runs of an index are claimed that is too large to be claimed whole.
const PARTS_MAX: u64 = 128 << 20;
/// Bytes of all claims together, up to which the runs of an index are claimed that is no larger: all of some nine million
/// rows. Each of its look-ups is saved a system call, which a part of a larger one would save few of.
pub(crate) const WHOLE_MAX: u64 = 208 << 20;

static CLAIMED: AtomicU64 = AtomicU64::new(0);

/// A part of the allowance, given back when dropped.
#[derive(Debug)]
pub(crate) struct Claim(u64);

impl Claim {
    /// For a run of an index that is small as a `whole`, or for a small run. `None` when no more than others' claims fit.
    pub(crate) fn new(bytes: u64, whole: bool) -> Option<Claim> {
        let most = limit(Limit::ClaimedBytes, if whole { WHOLE_MAX } else { PARTS_MAX });
        let claim = |held: u64| held.checked_add(bytes).filter(|held| *held <= most);
        CLAIMED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim).ok().map(|_| Claim(bytes))
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        CLAIMED.fetch_sub(self.0, Ordering::Relaxed);
    }
}
