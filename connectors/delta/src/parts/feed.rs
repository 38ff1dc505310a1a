//! The change data feed of rows that no commit has named yet: the old rows that changes took away, in files of their own,
//! and which new rows have the key of such a row. Knows what a change of a row is called; nothing of what a key is.
//!
//! A version shows at most one change a key, the net one: the row as the last commit had it and as this one leaves it. What
//! a row is called can change for as long as its commit is open (deleted, it comes back), but in the buffer only: what has
//! been written out before the commit's end is looked at once more then (`Mirror::settle_feed`).

use super::partition::pick;
use super::{Moved, PART_BYTES_MAX, Parts};
use crate::ambient::{Limit, limit};
use crate::encode::column::{Column, Unfit};
use crate::encode::file::PartWriter;
use crate::encode::key::KeyId;
use crate::encode::partition::folder;
use crate::error::Result;
use crate::index::RowLocation;
use crate::log::{NewFile, Partition, new_change_file};
use crate::parts::files::Files;
use crate::parts::holes::{Holes, Origin};
use crate::store::TableStore;
use crate::typemap::{ColumnType, TableColumn};
use arrow_array::{ArrayRef, StringArray, UInt32Array};
use hashbrown::HashMap;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::{Error, Value};

/// The column that names the change, in files of changes and in data files that are among them.
pub(crate) const CHANGE_COLUMN: &str = "_change_type";
/// A new row.
pub(crate) const INSERTED: &str = "insert";
/// A row as it was.
pub(crate) const BEFORE: &str = "update_preimage";
/// A row as it is.
pub(crate) const AFTER: &str = "update_postimage";
/// A row that is no more.
pub(crate) const DELETED: &str = "delete";

/// Files of old rows that a partitioned table has open at once.
const OPEN_FILES_MAX: usize = 32;
/// Memory that is kept for each old row beside its values, in bytes, nearly.
const ROW_BYTES: usize = 48;

/// The columns of a file of changes.
pub(crate) fn with_change_column(columns: &[TableColumn]) -> Vec<TableColumn> {
    let change = TableColumn::own(CHANGE_COLUMN, ColumnType::String);
    columns.iter().cloned().chain([change]).collect()
}

/// The columns of a data file.
pub(super) fn columns_of_file(columns: &[TableColumn], has_feed: bool) -> Vec<TableColumn> {
    if has_feed { with_change_column(columns) } else { columns.to_vec() }
}

/// The feed of one table's uncommitted rows.
#[derive(Default)]
pub(crate) struct Feed {
    /// The table's columns. None has a value for rows that are older than it: the last commit did not show it.
    columns: Arc<[TableColumn]>,
    /// Old rows in the making.
    buffer: Vec<Column>,
    holes: Holes,
    /// For each of them whether its key has a row again.
    is_updated: Vec<bool>,
    rows: HashMap<KeyId, u32>,
    /// In a partitioned table, for each of them the file that it was in.
    from: Vec<u32>,
    /// The files in the making: one for each partition, one in all without.
    open: BTreeMap<Partition, PartWriter>,
    /// Files of old rows.
    done: Vec<NewFile>,
    /// The buffered new rows whose key the table had.
    fresh: RoaringBitmap,
    /// Such rows of the files written since the last commit, by ordinal.
    updates: BTreeMap<u32, RoaringBitmap>,
    /// How often something was written since the last commit.
    windows: usize,
    /// Something has changed about what was written.
    is_open: bool,
    /// What the commit will name.
    named: Vec<NewFile>,
    /// Old rows are read from their files, for others than the source may have changed them.
    from_files: bool,
}

impl Feed {
    /// No changes yet, of a table of these columns.
    pub(super) fn new(columns: &[TableColumn]) -> Feed {
        let mut feed = Feed::default();
        feed.set_columns(columns);
        feed
    }

    fn set_columns(&mut self, columns: &[TableColumn]) {
        self.buffer = columns.iter().map(|column| Column::new(&column.column_type)).collect();
        self.columns = columns.iter().map(|column| TableColumn { filling: None, ..column.clone() }).collect();
    }

    /// What the buffered new rows are called, as a column.
    pub(super) fn change_types(&self, rows: u32) -> ArrayRef {
        let called = |row| if self.fresh.contains(row) { AFTER } else { INSERTED };
        Arc::new(StringArray::from_iter_values((0..rows).map(called)))
    }

    /// The buffered new rows are in a file, where the first of them is `base`.
    pub(super) fn follow(&mut self, file: u32, base: u32, moved: Option<&Moved>) {
        let fresh = std::mem::take(&mut self.fresh);
        let moved_to = |moved: &Moved, row: u32| moved.places.get(row as usize).copied().flatten();
        let place = |row| moved.map_or(Some(RowLocation { file, row: base + row }), |moved| moved_to(moved, row));
        for at in fresh.iter().filter_map(place) {
            self.updates.entry(at.file).or_default().insert(at.row);
        }
    }

    /// Memory that the old rows take, in bytes.
    pub(super) fn buffered_bytes(&self) -> usize {
        if self.is_updated.is_empty() {
            return 0;
        }
        let values = self.buffer.iter().map(Column::size_bytes).sum::<usize>();
        let values = values + self.from.len() * size_of::<u32>();
        values + self.holes.size_bytes() + self.is_updated.len() * ROW_BYTES
    }

    /// The buffered new rows have come to nothing.
    pub(super) fn drop_new_rows(&mut self) {
        self.fresh.clear();
    }

    /// The open files of old rows.
    pub(super) fn writers(&self) -> impl Iterator<Item = &PartWriter> {
        self.open.values()
    }

    /// As `writers`, to write.
    pub(super) fn writers_mut(&mut self) -> impl Iterator<Item = &mut PartWriter> {
        self.open.values_mut()
    }

    /// Adds a row as the table has it at `from`; values that `image` does not have are read there. Those of the partition
    /// columns, `by`, are the file's.
    fn push<'a>(
        &mut self,
        key: KeyId,
        (from, by): (RowLocation, &[usize]),
        is_updated: bool,
        image: impl Fn(usize) -> Option<Value<'a>>,
    ) -> std::result::Result<(), (usize, Unfit)> {
        let row = self.is_updated.len() as u32;
        for (at, column) in self.buffer.iter_mut().enumerate() {
            match image(at) {
                _ if by.contains(&at) => column.push_null(),
                Some(value) => column.push(value).map_err(|unfit| (at, unfit))?,
                None => {
                    column.push_null();
                    self.holes.add(row, at, Origin { at: from, as_shown: true });
                }
            }
        }
        self.is_updated.push(is_updated);
        self.rows.insert(key, row);
        Ok(())
    }

    fn write(&mut self, to: &Place<'_>, is_end: bool) -> Result<()> {
        let called = std::mem::take(&mut self.is_updated);
        let holes = std::mem::take(&mut self.holes);
        let groups = self.take_groups(to.files)?;
        self.rows.clear();
        if !called.is_empty() {
            let finish = |column: &mut Column| {
                column.finish().map_err(|cause| Error::bug("delta_column", "finish a column").with_cause(cause))
            };
            let mut arrays = self.buffer.iter_mut().map(finish).collect::<Result<Vec<ArrayRef>>>()?;
            let called = called.iter().map(|is_updated| if *is_updated { BEFORE } else { DELETED });
            arrays.push(Arc::new(StringArray::from_iter_values(called)));
            if groups.len() < 2 {
                let partition = groups.into_keys().next().unwrap_or_default();
                self.write_to(to, partition, holes, arrays)?;
            } else {
                let rows = arrays.first().map_or(0, |array| array.len());
                let mut parts = holes.split(&within(&groups, rows));
                for (number, (partition, rows)) in (0..).zip(groups) {
                    let picked = pick(&arrays, &UInt32Array::from(rows))?;
                    self.write_to(to, partition, parts.remove(&number).unwrap_or_default(), picked)?;
                }
            }
        }
        let rows_max = limit(Limit::PartRows, u64::MAX);
        let is_full = |open: &PartWriter| open.size_bytes() >= PART_BYTES_MAX || open.rows() >= rows_max;
        for (_, open) in self.open.extract_if(.., |_, open| is_end || is_full(open)) {
            self.done.push(open.finish()?);
        }
        Ok(())
    }

    /// The buffered rows of each partition; of a table without partitions nothing.
    fn take_groups(&mut self, files: &Files) -> Result<BTreeMap<Partition, Vec<u32>>> {
        let mut by_file: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (row, file) in (0..).zip(std::mem::take(&mut self.from)) {
            by_file.entry(file).or_default().push(row);
        }
        let mut groups: BTreeMap<Partition, Vec<u32>> = BTreeMap::new();
        for (file, rows) in by_file {
            let of = files.get(file).ok_or_else(|| Error::bug("delta_feed_file", "an old row's file is not known"))?;
            groups.entry(Partition::clone(&of.partition)).or_default().extend(rows);
        }
        Ok(groups)
    }

    /// Writes rows of one partition.
    fn write_to(&mut self, to: &Place<'_>, partition: Partition, holes: Holes, arrays: Vec<ArrayRef>) -> Result<()> {
        let mut open = match self.open.remove(&partition) {
            Some(open) => open,
            None => new_file(to.store, to.columns, to.by, &partition)?,
        };
        holes.write(to.store, to.files, to.columns, arrays, &mut open)?;
        if !to.by.is_empty() {
            // Many row groups in the making would each take their memory.
            open.end_row_group()?;
        }
        self.open.insert(partition, open);
        while self.open.len() > limit(Limit::Files, OPEN_FILES_MAX) {
            let largest = self.open.iter().max_by_key(|(_, open)| open.size_bytes());
            let Some(largest) = largest.map(|(partition, _)| Partition::clone(partition)) else { break };
            self.done.extend(self.open.remove(&largest).map(PartWriter::finish).transpose()?);
        }
        Ok(())
    }
}

/// Where old rows are written to.
struct Place<'a> {
    store: &'a TableStore,
    files: &'a Files,
    columns: &'a [TableColumn],
    /// Positions of the partition columns.
    by: &'a [usize],
}

/// For each of so many rows the number of its group, and its place there.
fn within(groups: &BTreeMap<Partition, Vec<u32>>, rows: usize) -> Vec<Option<(u32, u32)>> {
    let mut within = vec![None; rows];
    for (number, rows) in (0..).zip(groups.values()) {
        for (place, row) in (0..).zip(rows) {
            if let Some(slot) = within.get_mut(*row as usize) {
                *slot = Some((number, place));
            }
        }
    }
    within
}

/// A new file of changes of these columns, of rows that are all in one partition; the file has none of the columns `by`, and
/// takes them all the same.
pub(crate) fn new_file(
    store: &TableStore,
    columns: &[TableColumn],
    by: &[usize],
    partition: &Partition,
) -> Result<PartWriter> {
    let (name, columns) = (new_change_file(store, &folder(partition)), with_change_column(columns));
    PartWriter::create_within(name, store, &columns, &[], (by, Partition::clone(partition)))
}

/// What was written for a commit's feed.
pub(crate) struct Written {
    /// Files of old rows.
    pub(crate) old: Vec<NewFile>,
    /// Files of new rows that are not all deleted, with their ordinals and the rows that are.
    pub(crate) new: Vec<(u32, NewFile, RoaringBitmap)>,
    /// Rows of these that have the key of an old one.
    pub(crate) updates: BTreeMap<u32, RoaringBitmap>,
    /// Whether rows were written before the commit's end, so that what they are called is to be looked at again.
    pub(crate) is_open: bool,
}

impl Parts {
    /// With a change data feed.
    pub(crate) fn feed_changes(&mut self) {
        self.feed = Some(Feed::new(&self.columns));
    }

    /// The columns are others. The old rows so far must have been written.
    pub(super) fn feed_columns(&mut self, columns: &[TableColumn]) {
        if let Some(feed) = &mut self.feed {
            feed.set_columns(columns);
        }
    }

    /// Whether old rows are to be told as their files have them, whatever the source says of them.
    pub(crate) fn feed_from_files(&mut self, from_files: bool) {
        if let Some(feed) = &mut self.feed {
            feed.from_files = from_files;
        }
    }

    /// Whether they are.
    pub(crate) fn is_fed_from_files(&self) -> bool {
        self.feed.as_ref().is_some_and(|feed| feed.from_files)
    }

    /// Whether there is a change data feed.
    pub(crate) fn has_feed(&self) -> bool {
        self.feed.is_some()
    }

    /// Whether the last commit had a row with the key of this one, which is there now.
    pub(crate) fn was_there(&self, row: RowLocation) -> bool {
        let Some(feed) = &self.feed else { return false };
        if row.file == self.ordinal && row.row >= self.base {
            return feed.fresh.contains(row.row - self.base);
        }
        self.is_committed(row) || feed.updates.get(&row.file).is_some_and(|rows| rows.contains(row.row))
    }

    fn is_committed(&self, row: RowLocation) -> bool {
        row.file != self.ordinal && !self.done.contains_key(&row.file) && !self.is_open_partition(row.file)
    }

    /// The row in the making has a key that the last commit had as well.
    pub(crate) fn follows_old_row(&mut self) {
        if let Some(feed) = &mut self.feed {
            feed.fresh.insert(self.rows);
        }
    }

    /// A key without a row has one again. Says whether the last commit had one, as far as that is in memory.
    pub(crate) fn returns(&mut self, key: KeyId) -> bool {
        let Some(feed) = &mut self.feed else { return false };
        let old = feed.rows.get(&key).and_then(|row| feed.is_updated.get_mut(*row as usize));
        old.map(|is_updated| *is_updated = true).is_some()
    }

    /// The row of a key goes; `is_updated` says whether the key has another one. `image` has values of the row, by column.
    ///
    /// # Errors
    /// The column that a value does not fit, and why.
    pub(crate) fn leaves<'a>(
        &mut self,
        key: KeyId,
        row: RowLocation,
        is_updated: bool,
        image: impl Fn(usize) -> Option<Value<'a>>,
    ) -> std::result::Result<(), (usize, Unfit)> {
        let is_committed = self.is_committed(row);
        let Some(feed) = &mut self.feed else { return Ok(()) };
        if is_committed {
            let by = self.partitions.as_ref().map_or(&[][..], |partitions| &partitions.by);
            if !by.is_empty() {
                feed.from.push(row.file);
            }
            return feed.push(key, (row, by), is_updated, image);
        }
        match feed.rows.get(&key).and_then(|old| feed.is_updated.get_mut(*old as usize)) {
            Some(old) => *old = is_updated,
            None => feed.is_open |= feed.windows > 0,
        }
        Ok(())
    }

    /// Writes old rows, together with the new ones.
    pub(super) fn write_feed(&mut self, had_rows: bool, is_end: bool) -> Result<()> {
        let Some(feed) = &mut self.feed else { return Ok(()) };
        feed.windows += usize::from(had_rows || !feed.is_updated.is_empty());
        let by = self.partitions.as_ref().map_or(&[][..], |partitions| &partitions.by);
        let columns = Arc::clone(&feed.columns);
        feed.write(&Place { store: &self.store, files: &self.files, columns: &columns, by }, is_end)
    }

    /// What was written, for the feed of a commit; `None` when readers see the changes from the files alone, unless it
    /// `is_needed` all the same. After `close`.
    pub(crate) fn take_written(&mut self, is_needed: bool) -> Option<Written> {
        let feed = self.feed.as_mut()?;
        let mut new = Vec::new();
        for (ordinal, file) in &self.done {
            let dead = self.deletes.get(ordinal).cloned().unwrap_or_default();
            if dead.len() < file.num_records {
                new.push((*ordinal, file.clone(), dead));
            }
        }
        let (old, updates) = (std::mem::take(&mut feed.done), std::mem::take(&mut feed.updates));
        let is_open = std::mem::take(&mut feed.is_open) | (std::mem::take(&mut feed.windows) > 1);
        let is_needed = is_needed || !old.is_empty() || new.iter().any(|(_, _, dead)| !dead.is_empty());
        is_needed.then_some(Written { old, new, updates, is_open })
    }

    /// Whether rows that were written since the last commit have gone again.
    pub(crate) fn loses_new_rows(&self) -> bool {
        self.done.keys().any(|ordinal| self.deletes.contains_key(ordinal))
    }

    /// Names what the next commit's feed is made of.
    pub(crate) fn name_changes(&mut self, files: Vec<NewFile>) {
        if let Some(feed) = &mut self.feed {
            feed.named = files;
        }
    }

    /// The columns of data files.
    pub(crate) fn file_columns(&self) -> Vec<TableColumn> {
        columns_of_file(&self.columns, self.has_feed())
    }

    pub(super) fn take_named(&mut self) -> Vec<NewFile> {
        self.feed.as_mut().map_or_else(Vec::new, |feed| std::mem::take(&mut feed.named))
    }

    /// Begins anew; returns the files that no commit will name.
    pub(super) fn discard_feed(&mut self) -> Vec<String> {
        let Some(feed) = &mut self.feed else { return Vec::new() };
        let Feed { open, done, named, .. } = std::mem::replace(feed, Feed::new(&self.columns));
        if let Some(intents) = self.store.intents() {
            intents.strike(open.values().map(PartWriter::name));
        }
        // Of the named ones some are data files, which others remove as well.
        done.into_iter().chain(named).map(|file| file.path).collect()
    }
}
