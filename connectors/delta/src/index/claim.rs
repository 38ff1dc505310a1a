//! What of runs the process reads through their maps. Pages that are touched there count as the daemon's memory,
//! so that all tables share an allowance; past the map each look-up is a system call. Filters and directories are always
//! read so: entries have what these leave. Knows nothing of runs.

use crate::ambient::{Limit, limit};
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of all maps together, up to which small runs of an index are claimed that is too large to be claimed whole.
const PARTS_MAX: u64 = 128 << 20;
/// Bytes of all maps together, up to which the runs of an index are claimed that is no larger: all of some nine million
/// rows. Each of its look-ups is saved a system call, which a part of a larger one would save few of.
pub(crate) const WHOLE_MAX: u64 = 208 << 20;

/// What all tables of the process share.
static ALLOWANCE: Allowance = Allowance(AtomicU64::new(0));

/// Bytes that are claimed or touched.
#[derive(Debug)]
struct Allowance(AtomicU64);

impl Allowance {
    fn claim(&'static self, bytes: u64, most: u64) -> Option<Share> {
        let claim = |held: u64| held.checked_add(bytes).filter(|held| *held <= most);
        let claimed = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, claim);
        claimed.ok().map(|_| Share { allowance: self, bytes: AtomicU64::new(bytes) })
    }
}

/// A part of the allowance, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    allowance: &'static Allowance,
    bytes: AtomicU64,
}

impl Share {
    /// For the entries of a run of an index that is small as a `whole`, or of a small run. `None` when no more than what others
    /// claim and touch fits.
    pub(crate) fn claim(bytes: u64, whole: bool) -> Option<Share> {
        ALLOWANCE.claim(bytes, limit(Limit::ClaimedBytes, if whole { WHOLE_MAX } else { PARTS_MAX }))
    }

    /// Nothing so far, of what is touched whatever is left.
    pub(crate) fn nothing() -> Share {
        Share { allowance: &ALLOWANCE, bytes: AtomicU64::new(0) }
    }

    /// From here on so many bytes, whatever is left.
    pub(crate) fn take(&self, bytes: u64) {
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        if bytes > before {
            self.allowance.0.fetch_add(bytes - before, Ordering::Relaxed);
        } else if bytes < before {
            self.allowance.0.fetch_sub(before - bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.take(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries have what filters and directories leave, which are touched beyond it too.
    #[test]
    fn what_is_touched_is_not_left_to_claims() {
        static OWN: Allowance = Allowance(AtomicU64::new(0));
        let touched = Share { allowance: &OWN, bytes: AtomicU64::new(0) };
        touched.take(60);
        let claim = OWN.claim(40, 100);
        assert!(claim.is_some() && OWN.claim(1, 100).is_none());
        touched.take(10);
        let another = OWN.claim(50, 100);
        assert!(another.is_some() && OWN.claim(1, 100).is_none());
        touched.take(500);
        drop(claim);
        assert!(OWN.claim(1, 100).is_none() && OWN.claim(1, u64::MAX).is_some());
        drop(touched);
        assert!(OWN.claim(51, 100).is_none() && OWN.claim(50, 100).is_some());
        drop(another);
        assert_eq!(OWN.0.load(Ordering::Relaxed), 0);
    }
}
