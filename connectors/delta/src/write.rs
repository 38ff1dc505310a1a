//! The running sink of one source: hands each table its changes and commits them all, then the progress. Knows
//! nothing of columns, keys or files.
//!
//! # Exactly once
//! Delta has no commit over several tables. Each table therefore keeps its own place in the log, in the same
//! commit as its rows, and the sink's progress is stored last. After a crash in between some tables are ahead of
//! the progress; the source sends the changes again, and each table drops those at or before its own place.
//!
//! A snapshot of a table becomes visible in one commit. Before it, the progress says that the table is being read;
//! should the daemon end between the two commits, `open` finds the table whole and says so, and it is not read
//! again.

mod adopting;
mod cadence;
mod committing;
mod compacting;
mod cuts;
mod declaring;
mod feeding;
mod filling;
mod found;
mod keeping;
mod opening;
mod resting;
mod rewriting;
mod table;
mod telling;
mod turns;
mod widening;

#[cfg(test)]
pub(crate) use found::stored_place;
pub(crate) use found::{Identity, Place, foreign_table, own_place, refuse_older, take_over};
pub(crate) use opening::fit;
pub(crate) use resting::splits;

use crate::ambient::{Limit, limit, now_millis};
use crate::barriers::Barriers;
use crate::config::Settings;
use crate::encode::file::PartWriter;
use crate::error::{Result, is_of_location, of_table};
use crate::layout::table_path;
use crate::log::{Weight, gone};
use crate::metrics;
use crate::progress_table::ProgressTable;
use crate::store::{Store, TableStore};
use cadence::Cadence;
use cuts::Standings;
use found::Found;
use resting::Resting;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use table::TableWriter;
use tidewire_core::sink::Selection;
use tidewire_core::{
    Batch, Change, Error, ErrorKind, Phase, Position, Progress, Sink, TableName, TableProgress, TableState,
};
use turns::Turns;

/// What all tables together may take before their commits.
struct Limits {
    /// Rows that wait in memory. More of them would only spare data files the rows that a later change of the same
    /// commit takes back.
    rows_bytes: usize,
    /// Rows of partitions that wait for more of theirs.
    held_bytes: usize,
    /// Encoded rows of open row groups, and their compressors.
    row_groups_bytes: usize,
    /// What open files hold for the next part of an upload to a bucket.
    uploads_bytes: usize,
    /// Open files.
    files: usize,
    /// What key indexes hold in memory before they are written to disk.
    index_bytes: usize,
}

const LIMITS: Limits = Limits {
    rows_bytes: 4 << 20,
    held_bytes: 48 << 20,
    row_groups_bytes: 16 << 20,
    uploads_bytes: 16 << 20,
    files: 256,
    index_bytes: 24 << 20,
};

impl Limits {
    fn now() -> Limits {
        Limits {
            rows_bytes: limit(Limit::RowsBytes, LIMITS.rows_bytes),
            held_bytes: limit(Limit::HeldBytes, LIMITS.held_bytes),
            row_groups_bytes: limit(Limit::RowGroupsBytes, LIMITS.row_groups_bytes),
            uploads_bytes: limit(Limit::UploadsBytes, LIMITS.uploads_bytes),
            files: limit(Limit::Files, LIMITS.files),
            index_bytes: limit(Limit::IndexBytes, LIMITS.index_bytes),
        }
    }
}

/// A running sink of one source.
pub(crate) struct DeltaSink {
    settings: Arc<Settings>,
    limits: Limits,
    identity: Arc<Identity>,
    store: Store,
    tables: BTreeMap<TableName, TableWriter>,
    /// Tables that have been given only what they hold already.
    found: BTreeMap<TableName, Found>,
    progress: ProgressTable,
    stored: Progress,
    /// Whose files are rewritten next.
    turns: Turns,
    /// The last that had house-keeping.
    kept: Option<TableName>,
    /// The other tables.
    resting: Resting,
    cadence: Cadence,
    barriers: Option<Barriers>,
    standings: Standings,
}

impl DeltaSink {
    /// Opens what the sink holds of a source.
    pub(crate) fn open(
        settings: Arc<Settings>,
        identity: Arc<Identity>,
        store: Store,
    ) -> Result<(DeltaSink, Progress)> {
        let (table, mut progress) = ProgressTable::open(&store, &identity.sink, &identity.source)?;
        let (tables, found, stored) = (BTreeMap::new(), BTreeMap::new(), progress.clone());
        let barriers = settings.barriers.map(|every| {
            let millis = i64::try_from(every.as_millis()).unwrap_or(i64::MAX);
            Barriers::open(&store, &identity.sink, &identity.source, millis)
        });
        let cadence = Cadence::new(settings.commit_interval, settings.commit_interval_max);
        let turns = Turns::new(settings.compaction.and_then(|budget| budget.bytes_per_second));
        let mut sink = DeltaSink {
            settings,
            limits: Limits::now(),
            identity,
            store,
            tables,
            found,
            progress: table,
            stored,
            turns,
            kept: None,
            resting: Resting::new(&progress),
            cadence,
            barriers: barriers.transpose()?,
            standings: Standings::new(),
        };
        for (name, held) in progress.tables.iter_mut().filter(|(_, held)| held.state == TableState::Reading) {
            match sink.is_snapshot_visible(name, &held.floor) {
                Ok(true) => held.state = TableState::Done,
                Ok(false) => {}
                // One table that cannot be read is no reason to keep the others waiting: reading it again meets
                // the same error, which then names it, or looks once more.
                Err(error) if error.kind() == ErrorKind::Operator && !is_of_location(&error) => {
                    tracing::debug!(table = name, error = %error.chain(), "a table's place could not be read");
                }
                Err(error) => return Err(error),
            }
        }
        Ok((sink, progress))
    }

    /// Whether a table that the progress calls unfinished was shown whole before the daemon ended. An earlier instance
    /// may be about to show it: where there is a table, it is taken over before it is asked.
    fn is_snapshot_visible(&mut self, name: &str, floor: &Position) -> Result<bool> {
        // Each way to split the name is tried, and the table says who it is.
        for split in splits(name) {
            let known = self.progress.made().version(name);
            let found = Found::look(&self.identity, &self.store_of(&split), name, known, &self.settings)?;
            let Some(found) = found.filter(Found::is_table) else { continue };
            let is_visible = found.shows_snapshot(floor);
            self.found.insert(split, found);
            if is_visible {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Looks for the tables that are not open yet, all at once: each waits for storage several times, and after a start changes of
    /// a thousand tables may come together.
    fn look_for<'a>(&mut self, names: impl Iterator<Item = &'a TableName>) -> Result<()> {
        let absent = names.filter(|name| !self.tables.contains_key(name) && !self.found.contains_key(name));
        let absent: Vec<(&TableName, TableStore)> = absent.map(|name| (name, self.store_of(name))).collect();
        if absent.len() > 1 {
            absent.iter().for_each(|(name, _)| self.resting.give_way(name));
            self.found.extend(Found::open_all(&self.identity, absent, self.progress.made(), &self.settings)?);
        }
        Ok(())
    }

    /// Hands one table its changes.
    fn apply(&mut self, batch: &Batch, name: &TableName, changes: &[&Change]) -> Result<()> {
        self.apply_to(batch, name, changes).map_err(|error| of_table(error, name))
    }

    fn apply_to(&mut self, batch: &Batch, name: &TableName, changes: &[&Change]) -> Result<()> {
        if !self.tables.contains_key(name) {
            self.resting.give_way(name);
            self.standings.remove(&name.to_string());
            let found = match self.found.remove(name) {
                Some(found) => found,
                None => {
                    let (store, text) = (self.store_of(name), name.to_string());
                    let known = self.progress.made().version(&text);
                    Found::open(&self.identity, &store, &text, known, &self.settings)?
                }
            };
            match batch.phase {
                Phase::Snapshot => self.refuse_visible(name, &found)?,
                Phase::Stream => self.refuse_gone(name, &found)?,
            }
            let first = found.first_needed(batch, changes).and_then(|change| Some((change.op, batch.table(change)?)));
            let Some((op, schema)) = first else {
                self.found.insert(name.clone(), found);
                return Ok(());
            };
            let (settings, identity) = (Arc::clone(&self.settings), Arc::clone(&self.identity));
            let writer = TableWriter::open(settings, identity, found, schema, op)?;
            self.tables.insert(name.clone(), writer);
        }
        match self.tables.get_mut(name) {
            Some(table) => table.apply(batch, changes).map_err(|error| table.or_taken_away(error)),
            None => Ok(()),
        }
    }

    fn store_of(&self, name: &TableName) -> TableStore {
        self.store.table(&table_path(&self.settings.table, &self.identity.source, name))
    }

    /// A snapshot must not be written that is there already: an earlier instance has shown it since `open`, or `open`
    /// could not see it. The next opening finds the table whole.
    fn refuse_visible(&self, name: &TableName, found: &Found) -> Result<()> {
        let held = self.stored.tables.get(&name.to_string()).filter(|held| held.state == TableState::Reading);
        match held.is_some_and(|held| found.shows_snapshot(&held.floor)) {
            true => Err(Error::retry("snapshot_visible", format!("the snapshot of `{name}` has been shown meanwhile"))),
            false => Ok(()),
        }
    }

    /// Changes of a table that was there go on with it, and never begin another one without its rows (SK-3A).
    fn refuse_gone(&self, name: &TableName, found: &Found) -> Result<()> {
        let is_gone = !found.is_table() && self.progress.made().has(&name.to_string(), &self.stored);
        if is_gone { Err(gone(&self.store_of(name))) } else { Ok(()) }
    }

    /// Keeps in mind which tables are there, and at which versions.
    fn note_made(&mut self) {
        let written = self.tables.iter().filter_map(|(name, table)| Some((name, table.own_version()?)));
        let found = self.found.iter().filter_map(|(name, found)| Some((name, found.own_version()?)));
        for (name, version) in written.chain(found) {
            self.progress.note_made(&name.to_string(), version);
        }
    }

    /// Keeps memory and open files below the limits, however large a source transaction is and however many tables it
    /// touches.
    fn spill(&mut self) -> Result<()> {
        let limit = self.settings.commit_bytes.min(self.limits.rows_bytes);
        while let Some((name, table)) = self.largest_above(limit, TableWriter::buffered_bytes) {
            table.flush().map_err(|error| of_table(error, name))?;
            while let Some((name, table)) = self.largest_above(self.limits.held_bytes, TableWriter::held_bytes) {
                table.write_held().map_err(|error| of_table(error, name))?;
            }
            self.close_files()?;
        }
        while let Some((name, table)) = self.largest_above(self.limits.row_groups_bytes, TableWriter::writer_bytes) {
            table.end_row_group().map_err(|error| of_table(error, name))?;
        }
        while let Some((name, table)) = self.largest_above(self.limits.uploads_bytes, TableWriter::upload_bytes) {
            table.close_some(PartWriter::upload_bytes).map_err(|error| of_table(error, name))?;
        }
        while let Some((name, table)) = self.largest_above(self.limits.index_bytes, TableWriter::index_bytes) {
            table.spill_index().map_err(|error| of_table(error, name))?;
        }
        Ok(())
    }

    /// Ends large files while too many are open.
    fn close_files(&mut self) -> Result<()> {
        while self.tables.values().map(TableWriter::open_files).sum::<usize>() > self.limits.files {
            let Some((name, table)) = self.tables.iter_mut().max_by_key(|(_, table)| table.open_file_bytes()) else {
                return Ok(());
            };
            table.close_some(PartWriter::size_bytes).map_err(|error| of_table(error, name))?;
        }
        Ok(())
    }

    /// The table with most bytes, when all together are above the limit.
    fn largest_above(
        &mut self,
        limit: usize,
        bytes: impl Fn(&TableWriter) -> usize,
    ) -> Option<(&TableName, &mut TableWriter)> {
        let sum = self.tables.values().map(&bytes).sum::<usize>();
        self.tables.iter_mut().max_by_key(|(_, table)| bytes(table)).filter(|_| sum > limit)
    }

    /// Whether data files are being rewritten.
    fn is_compacting(&self) -> bool {
        self.tables.values().any(TableWriter::is_compacting) || self.resting.is_busy()
    }

    /// Whether a thread is copying rows.
    #[cfg(test)]
    pub(crate) fn is_copying(&self) -> bool {
        self.tables.values().any(|table| table.is_compacting() && !table.has_copies()) || self.resting.is_copying()
    }

    /// Whether copies wait to be shown.
    #[cfg(test)]
    fn has_copies(&self) -> bool {
        self.tables.values().any(TableWriter::has_copies)
    }

    /// Finds out how far the next commit is to be from this one.
    fn weigh(&mut self) {
        let mut weight = Weight::default();
        for table in self.tables.values_mut() {
            weight += table.take_weight();
        }
        if weight != Weight::default() {
            self.cadence.committed(now_millis(), weight);
            self.measure();
        }
    }

    fn measure(&self) {
        let (mut runs, mut bytes, mut entries) = (0, 0, 0);
        for sizes in self.tables.values().map(TableWriter::index_sizes) {
            (runs, bytes, entries) = (runs + sizes.0, bytes + sizes.1, entries + sizes.2);
        }
        let Identity { sink, source } = &*self.identity;
        let gauge = |name: &'static str, value: f64| {
            ::metrics::gauge!(name, "sink" => Arc::clone(sink), "source" => Arc::clone(source)).set(value);
        };
        gauge(metrics::COMMIT_INTERVAL, self.cadence.interval().as_secs_f64());
        gauge(metrics::INDEX_RUNS, runs as f64);
        gauge(metrics::INDEX_BYTES, bytes as f64);
        gauge(metrics::INDEX_ENTRIES, entries as f64);
    }

    /// Notes that tables are being read, before a commit shows them whole.
    fn note_reading(&mut self, progress: &Progress) -> Result<()> {
        let mut noted = self.stored.clone();
        for (name, _) in self.tables.iter().filter(|(_, table)| table.has_snapshot_to_publish()) {
            let name = name.to_string();
            if let (Some(held), false) = (progress.tables.get(&name), noted.tables.contains_key(&name)) {
                noted.tables.insert(name, TableProgress { state: TableState::Reading, floor: held.floor.clone() });
            }
        }
        if noted != self.stored {
            self.progress.store(&noted)?;
            self.stored = noted;
        }
        Ok(())
    }
}

impl Sink for DeltaSink {
    fn write(&mut self, batch: &Batch, selection: Selection<'_>) -> Result<()> {
        // Versions of one table go to one writer, in order.
        let mut by_table: BTreeMap<&TableName, Vec<&Change>> = BTreeMap::new();
        for change in selection.of(batch) {
            if let Some(schema) = batch.table(change) {
                by_table.entry(&schema.name).or_default().push(change);
            }
        }
        if let (Some(barriers), Some(last), false) =
            (&mut self.barriers, batch.transactions.last(), by_table.is_empty())
        {
            barriers.changed(last.commit_time_micros);
        }
        self.look_for(by_table.keys().copied())?;
        for (name, changes) in by_table {
            self.apply(batch, name, &changes)?;
        }
        self.spill()
    }

    fn commit(&mut self, progress: &Progress) -> Result<()> {
        self.note_reading(progress)?;
        self.commit_tables(progress)?;
        // Before the progress: what comes again after a crash in between is at a barrier already, and after one before it,
        // the changes that it is for come again.
        self.write_barrier(progress)?;
        self.note_made();
        self.progress.store(progress)?;
        self.stored = progress.clone();
        self.weigh();
        self.compact()
    }

    fn commit_interval(&self) -> Option<Duration> {
        Some(self.cadence.interval())
    }

    fn maintain(&mut self) -> Result<Option<Duration>> {
        let has_more = self.keep_tables()?;
        self.compact()?;
        self.look_at_resting()?;
        self.write_owed_barrier()?;
        self.barriers.as_mut().map_or(Ok(()), Barriers::maintain)?;
        self.progress.maintain()?;
        self.measure();
        Ok(self.asks_again(has_more))
    }
}

/// A sink that no longer knows what it wrote may not go on.
pub(crate) fn no_floor(name: &TableName) -> Error {
    Error::bug("snapshot_floor", format!("a snapshot of `{name}` came without its place in the log"))
}

#[cfg(test)]
mod tests;
