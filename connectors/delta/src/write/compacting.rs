//! One table's rewriting of data files, between its commits: plans it, starts it, and puts the copies in the place of
//! the originals. Knows nothing of other tables.

use super::table::{Rows, TableWriter};
use super::turns::{Begun, Room};
use crate::ambient::now_millis;
use crate::compact::{
    Allowance, Candidate, Compaction, Exchange, Facts, Input, Lane, Occasion, Plan, Shown, Work, bytes_of, candidate,
    next_due, plan, plan_partitioned, waiting_bytes,
};
use crate::error::Result;
use crate::log::{LiveFile, Partition, Table};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewire_core::{ErrorKind, failpoint};

/// After a failure that may pass, so long until the next try.
const PAUSE: Duration = Duration::from_secs(60);
/// A table without a change for so long rests: its readers are freed of all deleted rows then. One of fewer bytes does sooner,
/// as that costs less.
pub(super) const REST_MILLIS: i64 = 10 * 60 * 1_000;
const REST_MILLIS_MIN: i64 = 60 * 1_000;
const REST_BYTES: u64 = 1 << 30;

/// The state of a table's rewriting.
pub(super) struct Compacting {
    running: Option<Compaction>,
    /// The files have changed since they were last looked at.
    is_due: bool,
    failed: Option<Instant>,
    /// When rows were last changed, in milliseconds since 1970.
    changed: i64,
    /// Milliseconds from there until it rests.
    rest: i64,
    /// Nothing is left to do for a table that rests.
    is_rested: bool,
    /// When there will be a reason to rewrite files, in milliseconds since 1970: rows will have been deleted for too long, or
    /// there is enough of the allowance again.
    next: Option<i64>,
    allowance: Allowance,
    /// The partition whose files were rewritten last.
    last: Option<Partition>,
    /// Files that the last rewriting left in place of others.
    left: usize,
}

impl Compacting {
    /// Of a table that is about to be changed.
    pub(super) fn new() -> Compacting {
        Compacting {
            running: None,
            is_due: false,
            failed: None,
            changed: now_millis(),
            rest: REST_MILLIS,
            is_rested: false,
            next: None,
            allowance: Allowance::default(),
            last: None,
            left: 0,
        }
    }

    /// A commit has changed rows.
    pub(super) fn rows_changed(&mut self) {
        self.is_due = true;
        self.changed = now_millis();
        self.is_rested = false;
    }

    /// Whether the table rests. A clock that was set back is no reason to wait until it has caught up.
    fn rests(&self, now: i64) -> bool {
        (now - self.changed).abs() >= self.rest
    }

    /// In how many milliseconds it does. `None` when it was looked at then: what it is waiting for comes by itself.
    fn rests_in(&self, now: i64) -> Option<i64> {
        Some(self.rest - (now - self.changed).abs()).filter(|left| *left > 0 && !self.is_rested)
    }

    /// Whether there may be a reason to rewrite files that there was not before.
    fn is_due(&self) -> bool {
        let now = now_millis();
        self.is_due || (!self.is_rested && self.rests(now)) || self.next.is_some_and(|next| next <= now)
    }

    /// The table is emptied or made anew: no copy is wanted.
    pub(super) fn give_up(&mut self) {
        self.running = None;
    }

    /// Others have changed files: copies of what is gone are not wanted.
    pub(super) fn others_changed(&mut self, table: &Table) {
        self.is_due = true;
        if self.running.as_ref().is_some_and(|running| running.has_lost(table)) {
            self.give_up();
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub(super) fn is_done(&self) -> bool {
        self.running.as_ref().is_some_and(Compaction::is_done)
    }
}

fn rest_millis(table_bytes: u64) -> i64 {
    let share = table_bytes.min(REST_BYTES) * REST_MILLIS.unsigned_abs() / REST_BYTES;
    i64::try_from(share).unwrap_or(REST_MILLIS).max(REST_MILLIS_MIN)
}

impl TableWriter {
    /// Whether files are being rewritten.
    pub(super) fn is_compacting(&self) -> bool {
        self.compacting.is_running()
    }

    /// In how many milliseconds it will rest, with files that may be rewritten then.
    pub(super) fn rests_in(&self, now: i64) -> Option<i64> {
        self.compacting.rests_in(now).filter(|_| self.settings.compaction.is_some())
    }

    /// Bytes of the files that are being rewritten, if any are.
    pub(super) fn compacting_bytes(&self) -> Option<u64> {
        self.compacting.running.as_ref().map(Compaction::bytes)
    }

    /// Whether the copies are written.
    pub(super) fn has_copies(&self) -> bool {
        self.compacting.is_done()
    }

    /// Puts copies that are done in the place of the originals. Between commits.
    pub(super) fn finish_compaction(&mut self) -> Result<()> {
        if !self.is_at_rest() || !self.compacting.is_done() {
            return Ok(());
        }
        self.take_over()
    }

    /// Waits for the copies and puts them in the place of the originals.
    fn take_over(&mut self) -> Result<()> {
        let (Some(running), Some(table)) = (self.compacting.running.take(), &mut self.table) else { return Ok(()) };
        failpoint::step("delta_compaction_copied")?;
        let finished = running.finish(table);
        let exchange = match finished.map_err(|error| self.or_taken_away(error)) {
            Ok(exchange) => exchange,
            Err(error) if error.kind() == ErrorKind::Retry => {
                tracing::warn!(table = %self.schema.name, error = %error.chain(), "rewriting data files put off");
                self.compacting.failed = Some(Instant::now());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        self.exchange(exchange)
    }

    fn exchange(&mut self, mut exchange: Exchange) -> Result<()> {
        let Some(table) = &mut self.table else { return Ok(()) };
        self.compacting.left = exchange.adds.len();
        match exchange.show(table, &self.identity.app_id())? {
            Shown::Done(_) => {}
            Shown::Nothing => return Ok(()),
            Shown::Overtaken => return self.follow_others(),
        }
        let Exchange { gone, come, facts, .. } = exchange;
        for (ordinal, file) in &come {
            self.parts.files_mut().know(Some(*ordinal), file.path.clone(), file.size, &file.partition);
            let deleted = Arc::clone(table.deleted_rows(&file.path)?);
            self.parts.files_mut().set_deleted(*ordinal, deleted);
        }
        for ordinal in gone {
            self.parts.files_mut().forget(ordinal);
        }
        if let (Rows::Mirror(mirror), Some((mark, facts))) = (&mut self.rows, facts) {
            let covered = come.into_iter().map(|(ordinal, file)| (ordinal, file.path)).collect();
            mirror.add_facts(mark, facts, covered, &self.parts, table.own_version())?;
        }
        self.compacting.is_due = true;
        Ok(())
    }

    /// Whether the table shows all that it was given.
    fn is_at_rest(&self) -> bool {
        let shows_schema = !self.metadata_due && !self.rewrite_due;
        !self.is_reading && self.parts.is_empty() && self.snapshot_due.is_none() && !self.replaces_all && shows_schema
    }

    /// Whether the files have changed since they were last looked at, and may be rewritten now.
    pub(super) fn may_compact(&self) -> bool {
        let is_paused = self.compacting.failed.is_some_and(|failed| failed.elapsed() < PAUSE);
        self.compacting.is_due() && !is_paused && self.is_loaded && self.is_at_rest() && !self.compacting.is_running()
    }

    /// Starts rewriting files when the table has too many of them, or too many deleted rows, and there is room for them.
    pub(super) fn start_compaction(&mut self, lane: &Arc<Lane>, room: Room) -> Result<Begun> {
        let (Some(budget), Some(table)) = (self.settings.compaction, &mut self.table) else {
            return Ok(Begun::Nothing);
        };
        let (files, candidates): (Vec<&LiveFile>, Vec<Candidate>) = table.files().map(|f| (f, candidate(f))).unzip();
        let now = now_millis();
        let table_bytes = bytes_of(&candidates);
        self.compacting.rest = rest_millis(table_bytes);
        let allowance = self.compacting.allowance.at(now, table_bytes);
        let occasion = Occasion { now, rests: self.compacting.rests(now), left: self.compacting.left, allowance };
        let Plan { files: places, is_paid } = if self.layout.partition.is_empty() {
            plan(&candidates, &budget, occasion)
        } else {
            let partitions = files.iter().map(|file| Arc::clone(&file.partition)).collect::<Vec<_>>();
            plan_partitioned(&candidates, &partitions, (&budget, occasion), self.compacting.last.as_ref())
        };
        let chosen = places.into_iter().filter_map(|at| files.get(at));
        let chosen = chosen.map(|file| (*file).clone()).collect::<Vec<_>>();
        self.compacting.is_due = !chosen.is_empty();
        self.compacting.is_rested = chosen.is_empty() && occasion.rests;
        let waiting = waiting_bytes(&candidates, &budget, occasion.rests).filter(|_| chosen.is_empty());
        let paid = waiting.map(|bytes| self.compacting.allowance.when(bytes, table_bytes));
        self.compacting.next = next_due(&candidates, &budget).into_iter().chain(paid).min();
        if chosen.is_empty() {
            return Ok(Begun::Nothing);
        }
        let bytes = chosen.iter().map(|file| file.size).sum();
        if !room.has(bytes) {
            return Ok(Begun::PutOff(bytes));
        }
        if is_paid {
            self.compacting.allowance.spend(bytes);
        }
        self.compacting.last = chosen.first().map(|file| Arc::clone(&file.partition));
        let ordinals: BTreeMap<&str, u32> = self.parts.files().named().map(|(ordinal, path)| (path, ordinal)).collect();
        let mut inputs = Vec::with_capacity(chosen.len());
        for LiveFile { path, size, num_records: rows, partition, .. } in chosen {
            let ordinal = ordinals.get(path.as_str()).copied();
            let deleted = Arc::clone(table.deleted_rows(&path)?);
            inputs.push(Input { ordinal, path, size, rows, deleted, partition });
        }
        let (facts, mark) = match &mut self.rows {
            Rows::Mirror(mirror) => {
                let (codec, run, mark) = mirror.prepare_facts();
                let (identity, ordinals) = (self.layout.identity(), self.parts.files().ordinals().clone());
                (Some(Facts { codec, identity, current: self.layout.current(), run, ordinals }), Some(mark))
            }
            Rows::Changelog(_) => (None, None),
        };
        let work = Work {
            store: self.store.clone(),
            columns: self.layout.columns.clone(),
            stats: super::declaring::stats_columns(&self.layout, self.settings.mode),
            inputs,
            facts,
            target_bytes: u64::MAX,
            lane: Arc::clone(lane),
        };
        self.compacting.running = Some(Compaction::start(work, mark)?);
        if !self.settings.deletion_vectors {
            // A row that went meanwhile could not be taken out of a copy again.
            self.take_over()?;
        }
        Ok(Begun::Yes(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_rests_the_later_the_larger_it_is() {
        const MIB: u64 = 1 << 20;
        const MINUTE: i64 = 60_000;
        for (bytes, millis) in [
            (0, MINUTE),
            (50 * MIB, MINUTE),
            (512 * MIB, 5 * MINUTE),
            (1024 * MIB, 10 * MINUTE),
            (u64::MAX, 10 * MINUTE),
        ] {
            assert_eq!(rest_millis(bytes), millis, "{bytes}");
        }
    }
}
