//! When a table's log is due for a checkpoint by its age, and when what has expired is looked for. Knows the time and
//! what was committed; reads and writes no storage.

use crate::ambient::{Limit, limit};
use crate::log::action::Action;
use crate::log::clean;
use crate::log::state::{State, WRITER_DOMAIN};
use std::time::{Duration, Instant};

/// A checkpoint is due when a change has waited for it so long.
const CHECKPOINT_AGE: Duration = Duration::from_mins(10);
/// Expired files and entries are looked for at most this often, and twice within the retention where that is shorter.
const CLEAN_SECONDS: u64 = 3_600;
/// But never more often than this.
const CLEAN_SECONDS_MIN: u64 = 30;
/// Checksums and checkpoints are looked at this often, since all stay for an hour.
const ORDER_SECONDS: u64 = 3_600;
/// A table that rests is looked at this often even if no removal of it has expired: its entries may have.
const REST_INTERVAL: Duration = Duration::from_hours(24);

/// What is known of the last times.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// The first change of ours since the last checkpoint.
    changed: Option<Instant>,
    opened: Instant,
    /// When nothing expired was left.
    cleaned: Option<Instant>,
    /// The version up to which no checksum or checkpoint is too much.
    pub(super) in_order_to: i64,
    /// When they were looked at.
    put_in_order: Option<Instant>,
    /// More has expired than was removed at the last look.
    pub(super) is_behind: bool,
}

impl Upkeep {
    /// Of a table that was loaded just now. Changes from before do not count: whether there were any, only the next one
    /// makes them worth a checkpoint.
    pub(super) fn new() -> Upkeep {
        Upkeep {
            changed: None,
            opened: Instant::now(),
            cleaned: None,
            in_order_to: 0,
            put_in_order: None,
            is_behind: false,
        }
    }

    /// Takes note of a commit of ours. A claim changes nothing: a table that is taken over at every start and otherwise
    /// rests needs no checkpoint.
    pub(super) fn committed(&mut self, actions: &[Action]) {
        let is_change = |action: &Action| {
            let domain = action.domain_metadata.as_ref().is_some_and(|domain| domain.domain != WRITER_DOMAIN);
            domain || action.add.is_some() || action.remove.is_some() || action.meta_data.is_some()
        };
        if self.changed.is_none() && actions.iter().any(is_change) {
            self.changed = Some(Instant::now());
        }
    }

    /// A checkpoint holds all changes.
    pub(super) fn checkpointed(&mut self) {
        self.changed = None;
    }

    /// All that had expired has been removed, or nothing may be for now.
    pub(super) fn cleaned(&mut self) {
        self.cleaned = Some(Instant::now());
    }

    /// Whether a change has waited for `times` the age.
    pub(super) fn is_checkpoint_due(&self, times: u32) -> bool {
        self.changed.is_some_and(|since| since.elapsed() >= CHECKPOINT_AGE * times)
    }

    /// Whether the next checkpoint cleans too. Until all is clean, every one does.
    pub(super) fn is_clean_due(&self, state: &State) -> bool {
        self.cleaned.is_none_or(|last| last.elapsed() >= clean_interval(state))
    }

    /// Whether a table without a checkpoint to write is to be cleaned all the same.
    pub(super) fn is_rest_clean_due(&self, state: &State, now_millis: i64) -> bool {
        let since = self.cleaned.unwrap_or(self.opened).elapsed();
        since >= REST_INTERVAL || (since >= clean_interval(state) && clean::has_expired(state, now_millis))
    }

    /// Whether checksums and checkpoints may be too many: they stay for an hour in any case.
    pub(super) fn is_order_due(&self) -> bool {
        let interval = Duration::from_secs(limit(Limit::CleanSeconds, ORDER_SECONDS));
        self.put_in_order.is_none_or(|last| last.elapsed() >= interval)
    }

    /// Checksums and checkpoints have been looked at.
    pub(super) fn put_in_order(&mut self) {
        self.put_in_order = Some(Instant::now());
    }

    /// As if so much time had passed.
    #[cfg(test)]
    pub(super) fn age(&mut self, by: Duration) {
        let earlier = |instant: Instant| instant.checked_sub(by).unwrap();
        self.changed = self.changed.map(earlier);
        self.opened = earlier(self.opened);
        self.cleaned = self.cleaned.map(earlier);
        self.put_in_order = self.put_in_order.map(earlier);
    }

    /// Whether nothing expired was left at the last look.
    #[cfg(test)]
    pub(super) fn is_clean(&self) -> bool {
        self.cleaned.is_some()
    }
}

fn clean_interval(state: &State) -> Duration {
    let half = u64::try_from(clean::retention_millis(state)).unwrap_or(0) / 2_000;
    Duration::from_secs(limit(Limit::CleanSeconds, half.clamp(CLEAN_SECONDS_MIN, CLEAN_SECONDS)))
}
