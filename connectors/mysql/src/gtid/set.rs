//! Sets of MySQL's transactions.

use super::{Gtid, LAST_NUMBER};
use std::sync::Arc;

/// Numbers from `first` to `last`, both within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) first: u64,
    pub(super) last: u64,
}

/// The numbers of one source and tag: sorted, apart from each other by at least one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) sid: [u8; 16],
    pub(super) tag: Option<Arc<str>>,
    pub(super) intervals: Vec<Interval>,
}

impl Source {
    fn key(&self) -> ([u8; 16], Option<&str>) {
        (self.sid, self.tag.as_deref())
    }
}

/// A set of transactions. Gaps are kept: what lies in one has not been seen (MY-02).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GtidSet {
    /// Sorted by UUID, then tag, none first. None is without intervals.
    pub(super) sources: Vec<Source>,
}

impl GtidSet {
    /// Whether nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Whether a transaction with a tag is in it.
    pub(crate) fn has_tags(&self) -> bool {
        self.sources.iter().any(|source| source.tag.is_some())
    }

    /// Number of transactions; stays at the greatest number when that is passed.
    pub(crate) fn count(&self) -> u64 {
        let intervals = self.sources.iter().flat_map(|source| &source.intervals);
        intervals.fold(0, |sum: u64, interval| sum.saturating_add(interval.last - interval.first + 1))
    }

    fn find(&self, sid: &[u8; 16], tag: Option<&str>) -> Result<usize, usize> {
        self.sources.binary_search_by(|source| source.key().cmp(&(*sid, tag)))
    }

    fn intervals(&self, sid: &[u8; 16], tag: Option<&str>) -> &[Interval] {
        let source = self.find(sid, tag).ok().and_then(|index| self.sources.get(index));
        source.map_or(&[], |source| &source.intervals)
    }

    /// Whether a transaction is in it.
    pub(crate) fn contains(&self, gtid: &Gtid) -> bool {
        let intervals = self.intervals(&gtid.sid, gtid.tag.as_deref());
        let after = intervals.partition_point(|interval| interval.first <= gtid.number);
        let last = after.checked_sub(1).and_then(|index| intervals.get(index));
        last.is_some_and(|interval| gtid.number <= interval.last)
    }

    /// Adds a transaction; whether it is new. Number 0 is none and is never added.
    pub(crate) fn insert(&mut self, gtid: &Gtid) -> bool {
        if !(1..=LAST_NUMBER).contains(&gtid.number) || self.contains(gtid) {
            return false;
        }
        self.add(&gtid.sid, gtid.tag.as_ref(), Interval { first: gtid.number, last: gtid.number });
        true
    }

    /// Adds numbers, `1 <= first <= last <= LAST_NUMBER`, and joins what touches.
    pub(super) fn add(&mut self, sid: &[u8; 16], tag: Option<&Arc<str>>, new: Interval) {
        let index = match self.find(sid, tag.map(AsRef::as_ref)) {
            Ok(index) => index,
            Err(index) => {
                self.sources.insert(index, Source { sid: *sid, tag: tag.cloned(), intervals: Vec::new() });
                index
            }
        };
        let Some(source) = self.sources.get_mut(index) else { return };
        let intervals = &mut source.intervals;
        // The common case: the next transaction of a source.
        if let Some(last) = intervals.last_mut()
            && last.first <= new.first
            && new.first <= last.last + 1
        {
            last.last = last.last.max(new.last);
            return;
        }
        // Intervals from `start` to `end` touch the new one and become one with it.
        let start = intervals.partition_point(|interval| interval.last + 1 < new.first);
        let end = intervals.partition_point(|interval| interval.first <= new.last + 1);
        let touched = intervals.get(start..end).unwrap_or_default();
        let first = touched.first().map_or(new.first, |interval| interval.first.min(new.first));
        let last = touched.last().map_or(new.last, |interval| interval.last.max(new.last));
        intervals.splice(start..end.max(start), [Interval { first, last }]);
    }

    /// Whether all of it is in another.
    pub(crate) fn is_subset_of(&self, other: &GtidSet) -> bool {
        self.sources.iter().all(|source| {
            let others = other.intervals(&source.sid, source.tag.as_deref());
            source.intervals.iter().all(|interval| {
                let after = others.partition_point(|other| other.first <= interval.first);
                let holder = after.checked_sub(1).and_then(|index| others.get(index));
                holder.is_some_and(|holder| interval.last <= holder.last)
            })
        })
    }

    /// Adds all of another.
    pub(crate) fn union(&mut self, other: &GtidSet) {
        for source in &other.sources {
            for interval in &source.intervals {
                self.add(&source.sid, source.tag.as_ref(), *interval);
            }
        }
    }

    /// What is in it and not in another: the server's `GTID_SUBTRACT`.
    #[must_use]
    pub(crate) fn subtract(&self, other: &GtidSet) -> GtidSet {
        let mut sources = Vec::new();
        for source in &self.sources {
            let mut removed = other.intervals(&source.sid, source.tag.as_deref()).iter().peekable();
            let mut intervals = Vec::new();
            for interval in &source.intervals {
                let mut first = interval.first;
                // What is left of the interval, from `first` on, loses one removed interval after the other.
                while removed.next_if(|gone| gone.last < first).is_some() {}
                while let Some(gone) = removed.peek().filter(|gone| gone.first <= interval.last) {
                    if first < gone.first {
                        intervals.push(Interval { first, last: gone.first - 1 });
                    }
                    first = gone.last + 1;
                    if gone.last > interval.last {
                        break;
                    }
                    removed.next();
                }
                if first <= interval.last {
                    intervals.push(Interval { first, last: interval.last });
                }
            }
            if !intervals.is_empty() {
                sources.push(Source { intervals, ..source.clone() });
            }
        }
        GtidSet { sources }
    }
}
