//! The rows of one table that no commit has named yet: a buffer in memory, data files written from it, and the row
//! numbers to delete. Gives every row a location when it is added, and tells when locations move. Knows nothing of
//! keys or of what a change means.
//!
//! A file gets its ordinal when its first row is added. Row numbers count from 0 in that file: `base` rows are
//! written to the open file already, the rest lie in the buffer. A row that is deleted while in the buffer never
//! reaches the file; the rows after it then move up, which `Flushed` reports.

pub(crate) mod feed;
pub(crate) mod files;
pub(crate) mod holes;
mod making;
mod partition;
mod spill;

use crate::ambient::{Limit, limit};
use crate::encode::column::{Column, Unfit};
use crate::encode::file::PartWriter;
use crate::error::Result;
use crate::index::RowLocation;
use crate::log::NewFile;
use crate::store::TableStore;
use crate::typemap::TableColumn;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_select::filter::filter;
use feed::Feed;
use files::{FileEntry, Files};
use holes::{Holes, Origin};
use partition::Partitions;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::{Error, Value};

/// Size at which a data file is closed and the next begun.
const PART_BYTES_MAX: usize = 128 << 20;
/// Rows of a file, with those of one more buffer still below what an entry of the key index can count.
pub(crate) const PART_ROWS_MAX: u64 = 1 << 29;

/// Rows that moved when the buffer was written: of `file`, the row that was `base + i` is now at `places[i]`.
#[derive(Debug)]
pub(crate) struct Moved {
    /// The file's ordinal.
    pub(crate) file: u32,
    /// Row number of the buffer's first row.
    pub(crate) base: u32,
    /// For each buffered row its new place, `None` for one that was deleted.
    pub(crate) places: Vec<Option<RowLocation>>,
}

/// What a commit takes over.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    /// New files.
    pub(crate) adds: Vec<NewFile>,
    /// Row numbers to delete, by path.
    pub(crate) deletes: BTreeMap<String, RoaringBitmap>,
    /// Files of the change data feed.
    pub(crate) changes: Vec<NewFile>,
    /// Ordinals of the files in `adds` and `deletes`, with their paths.
    pub(crate) touched: Vec<(u32, String)>,
}

/// The uncommitted rows of one table.
pub(crate) struct Parts {
    store: TableStore,
    columns: Vec<TableColumn>,
    key: Vec<usize>,
    buffer: Vec<Column>,
    rows: u32,
    base: u32,
    ordinal: u32,
    dead: RoaringBitmap,
    holes: Holes,
    open: Option<PartWriter>,
    /// Closed files, by ordinal.
    done: BTreeMap<u32, NewFile>,
    files: Files,
    deletes: BTreeMap<u32, RoaringBitmap>,
    nulls: BTreeSet<usize>,
    feed: Option<Feed>,
    partitions: Option<Partitions>,
    /// Size at which a data file is closed and the next begun, in bytes.
    file_bytes: usize,
}

impl Parts {
    /// No rows yet, for a table of these columns.
    pub(crate) fn new(store: TableStore, columns: Vec<TableColumn>, key: Vec<usize>) -> Parts {
        let mut parts = Parts {
            store,
            columns: Vec::new(),
            key: Vec::new(),
            buffer: Vec::new(),
            rows: 0,
            base: 0,
            ordinal: 0,
            dead: RoaringBitmap::new(),
            holes: Holes::default(),
            open: None,
            done: BTreeMap::new(),
            files: Files::default(),
            deletes: BTreeMap::new(),
            nulls: BTreeSet::new(),
            feed: None,
            partitions: None,
            file_bytes: PART_BYTES_MAX,
        };
        parts.set_columns(columns, key);
        parts.next_file();
        parts
    }

    /// Data files are closed at this size, in bytes, or before.
    pub(crate) fn limit_files(&mut self, bytes: u64) {
        self.file_bytes = usize::try_from(bytes).unwrap_or(PART_BYTES_MAX).min(PART_BYTES_MAX);
    }

    /// Where the files lie.
    pub(crate) fn store(&self) -> &TableStore {
        &self.store
    }

    /// The files that rows may lie in.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// As `files`.
    pub(crate) fn files_mut(&mut self) -> &mut Files {
        &mut self.files
    }

    /// Ordinals below `next` have been given out before. Call it before there are rows.
    pub(crate) fn skip_to(&mut self, next: u32) {
        self.files.forget(self.ordinal);
        self.files.skip_to(next);
        self.next_file();
    }

    /// Whether a row is there as far as the changes so far go: neither a commit nor a change since has deleted it.
    /// The deleted rows of its file must have been read.
    pub(crate) fn is_live(&self, location: RowLocation) -> bool {
        self.live()(location)
    }

    /// As `is_live`, of many rows: what is known of a file is looked up once for neighbours of the same one.
    pub(crate) fn live(&self) -> impl FnMut(RowLocation) -> bool {
        let of_file = |file| (self.deletes.get(&file), self.files.get(file).and_then(FileEntry::deleted));
        let mut last = None;
        move |RowLocation { file, row }| {
            if file == self.ordinal && row >= self.base {
                return row - self.base < self.rows && !self.dead.contains(row - self.base);
            }
            let (waiting, committed) = match last {
                Some((of, known)) if of == file => known,
                _ => last.insert((file, of_file(file))).1,
            };
            committed.is_some_and(|rows| !rows.contains(row))
                && waiting.is_none_or(|rows: &RoaringBitmap| !rows.contains(row))
        }
    }

    /// Changes the columns. The rows added before must have been closed off by `close`.
    pub(crate) fn set_columns(&mut self, columns: Vec<TableColumn>, key: Vec<usize>) {
        self.buffer = columns.iter().map(|column| Column::new(&column.column_type)).collect();
        self.feed_columns(&columns);
        self.columns = columns;
        self.key = key;
    }

    /// The columns in the making, for the caller to push one value each; then `end_row`.
    pub(crate) fn columns_mut(&mut self) -> &mut [Column] {
        &mut self.buffer
    }

    /// Ends a row; says where it lies.
    pub(crate) fn end_row(&mut self) -> RowLocation {
        let row = self.base + self.rows;
        self.rows += 1;
        if let Some(partitions) = &mut self.partitions {
            partitions.end_row();
        }
        RowLocation { file: self.ordinal, row }
    }

    /// Whether the row lies in the file in the making but no longer in the buffer, so that its values can only be
    /// read once that file is closed.
    pub(crate) fn is_in_open_file(&self, location: RowLocation) -> bool {
        (location.file == self.ordinal && location.row < self.base) || self.is_open_partition(location.file)
    }

    /// Pushes to column `at` of the row in the making the value that the column has at `from`, now or, for a row
    /// in a file, when the buffer is written. A column that the file does not have yields no value unless it is known that
    /// it was null.
    pub(crate) fn carry(&mut self, at: usize, from: RowLocation) -> std::result::Result<(), Unfit> {
        self.carry_from(at, Origin { at: from, as_shown: false })
    }

    /// As `carry`, but what readers of the table see: null where the file does not have the column.
    pub(crate) fn carry_as_shown(&mut self, at: usize, from: RowLocation) -> std::result::Result<(), Unfit> {
        self.carry_from(at, Origin { at: from, as_shown: true })
    }

    fn carry_from(&mut self, at: usize, from: Origin) -> std::result::Result<(), Unfit> {
        let Some(column) = self.buffer.get_mut(at) else { return Err(Unfit::Unknown) };
        let Origin { at: place, .. } = from;
        if place.file == self.ordinal && place.row >= self.base {
            let row = place.row - self.base;
            if let Some(origin) = self.holes.origin(row, at) {
                self.holes.add(self.rows, at, origin);
            }
            return column.repeat(row as usize);
        }
        column.push_null();
        // What a file's rows have in a partition column is not in the file: `choose` has taken it over.
        if self.partitions.as_ref().is_some_and(|partitions| partitions.is_by(at)) {
            return Ok(());
        }
        self.holes.add(self.rows, at, from);
        Ok(())
    }

    /// Deletes a row, wherever it lies.
    pub(crate) fn delete(&mut self, location: RowLocation) {
        if location.file == self.ordinal && location.row >= self.base {
            self.dead.insert(location.row - self.base);
        } else {
            self.deletes.entry(location.file).or_default().insert(location.row);
        }
    }

    /// The rows of a file that wait to be deleted.
    pub(crate) fn deletes_of(&self, file: u32) -> Option<&RoaringBitmap> {
        self.deletes.get(&file)
    }

    /// A file is no part of the table any more, and what was to be deleted of it neither.
    pub(crate) fn forget_file(&mut self, file: u32) {
        self.files.forget(file);
        self.deletes.remove(&file);
    }

    /// Deletions that `seal` gave out, and that no commit has shown after all.
    pub(crate) fn take_back(&mut self, mut deletes: BTreeMap<String, RoaringBitmap>, touched: &[(u32, String)]) {
        for (file, path) in touched {
            if let Some(rows) = deletes.remove(path) {
                *self.deletes.entry(*file).or_default() |= rows;
            }
        }
    }

    /// Forgets all rows and deletions, and the files written so far: nothing names them. Of the table's own files none
    /// counts any more.
    pub(crate) fn discard(&mut self) {
        self.remove_unnamed();
        self.files.clear();
        self.dead.clear();
        self.holes.clear();
        self.deletes.clear();
        self.nulls.clear();
        self.buffer = self.columns.iter().map(|column| Column::new(&column.column_type)).collect();
        self.rows = 0;
        self.next_file();
    }

    /// Memory that the buffer takes, in bytes.
    pub(crate) fn buffered_bytes(&self) -> usize {
        let feed = self.feed.as_ref().map_or(0, Feed::buffered_bytes);
        let feed = feed + self.partitions.as_ref().map_or(0, Partitions::buffered_bytes);
        if self.rows == 0 {
            return feed;
        }
        feed + self.buffer.iter().map(Column::size_bytes).sum::<usize>() + self.holes.size_bytes()
    }

    fn writers(&self) -> impl Iterator<Item = &PartWriter> {
        let partitions = self.partitions.iter().flat_map(Partitions::writers);
        self.open.iter().chain(self.feed.iter().flat_map(Feed::writers)).chain(partitions)
    }

    /// Memory that the open files' row groups take, in bytes.
    pub(crate) fn writer_bytes(&self) -> usize {
        self.writers().map(PartWriter::memory_bytes).sum()
    }

    /// Memory that the open files take until they are closed, in bytes.
    pub(crate) fn upload_bytes(&self) -> usize {
        self.writers().map(PartWriter::upload_bytes).sum()
    }

    /// Size of the open files, if there are any.
    pub(crate) fn open_file_bytes(&self) -> Option<usize> {
        self.writers().map(PartWriter::size_bytes).reduce(|a, b| a + b)
    }

    /// Number of open files.
    pub(crate) fn open_files(&self) -> usize {
        self.writers().count()
    }

    /// Writes out what the open files' row groups hold in memory.
    pub(crate) fn end_row_group(&mut self) -> Result<()> {
        let partitions = self.partitions.iter_mut().flat_map(Partitions::writers_mut);
        let open = self.open.iter_mut().chain(self.feed.iter_mut().flat_map(Feed::writers_mut));
        open.chain(partitions).try_for_each(PartWriter::end_row_group)
    }

    /// Whether there is nothing for a commit.
    pub(crate) fn is_empty(&self) -> bool {
        let is_idle = self.partitions.as_ref().is_none_or(Partitions::is_idle);
        self.rows == 0 && is_idle && self.writers().next().is_none() && self.done.is_empty() && self.deletes.is_empty()
    }

    /// Writes the buffer to the open file; closes it when it is large enough.
    pub(crate) fn flush(&mut self) -> Result<Option<Moved>> {
        let had_rows = self.rows > 0;
        let moved = self.write_buffer()?;
        self.write_feed(had_rows, false)?;
        let rows_max = limit(Limit::PartRows, PART_ROWS_MAX);
        if self.open.as_ref().is_some_and(|open| open.size_bytes() >= self.file_bytes || open.rows() >= rows_max) {
            self.close_open()?;
        }
        Ok(moved)
    }

    /// Writes the buffer and closes the file.
    pub(crate) fn close(&mut self) -> Result<Option<Moved>> {
        let had_rows = self.rows > 0;
        let moved = self.write_buffer()?;
        self.write_feed(had_rows, true)?;
        self.close_open()?;
        Ok(moved)
    }

    /// Puts copies in the place of files that no commit has named yet, where there is one: the same rows in the same places.
    pub(crate) fn replace_done(&mut self, mut copy: impl FnMut(&NewFile) -> Result<Option<NewFile>>) -> Result<()> {
        for (ordinal, file) in &mut self.done {
            let Some(copy) = copy(file)? else { continue };
            self.files.end(*ordinal, copy.path.clone(), copy.size);
            let original = std::mem::replace(file, copy);
            self.store.delete_unnamed(&original.path);
        }
        Ok(())
    }

    /// Columns that hold null although the table's schema says that they never do. Call `close` first.
    pub(crate) fn take_nulls(&mut self) -> BTreeSet<usize> {
        std::mem::take(&mut self.nulls)
    }

    /// Hands over what a commit shall name. Call `close` first.
    pub(crate) fn seal(&mut self) -> Sealed {
        let mut sealed = Sealed { changes: self.take_named(), ..Sealed::default() };
        let mut deletes = std::mem::take(&mut self.deletes);
        for (ordinal, file) in std::mem::take(&mut self.done) {
            if deletes.get(&ordinal).is_some_and(|rows| rows.len() == file.num_records) {
                deletes.remove(&ordinal);
                self.files.forget(ordinal);
                self.store.delete_unnamed(&file.path);
                continue;
            }
            if !deletes.contains_key(&ordinal) {
                sealed.touched.push((ordinal, file.path.clone()));
            }
            sealed.adds.push(file);
        }
        for (ordinal, rows) in deletes {
            if let Some(entry) = self.files.get(ordinal) {
                sealed.touched.push((ordinal, entry.path.clone()));
                sealed.deletes.insert(entry.path.clone(), rows);
            }
        }
        sealed
    }

    /// Removes the files that only this buffer knows.
    fn remove_unnamed(&mut self) {
        let open = self.open.take().map(|open| open.name().to_owned());
        let open = open.into_iter().chain(self.partitions.iter_mut().flat_map(Partitions::discard)).collect::<Vec<_>>();
        if let Some(intents) = self.store.intents() {
            intents.strike(open.iter().map(String::as_str));
        }
        let done = std::mem::take(&mut self.done).into_values().map(|file| file.path);
        for path in done.chain(self.discard_feed()) {
            // A store that does not answer is not asked again for each of them: they cost space only.
            if !self.store.delete_unnamed(&path) {
                break;
            }
        }
    }

    fn next_file(&mut self) {
        self.base = 0;
        self.ordinal = self.files.begin();
    }

    fn close_open(&mut self) -> Result<()> {
        self.close_partitions()?;
        if let Some(open) = self.open.take() {
            self.nulls.extend(open.nulls());
            let file = open.finish()?;
            self.files.end(self.ordinal, file.path.clone(), file.size);
            self.done.insert(self.ordinal, file);
            self.next_file();
        }
        Ok(())
    }

    fn write_buffer(&mut self) -> Result<Option<Moved>> {
        if self.partitions.is_some() {
            return self.write_partitions();
        }
        let rows = std::mem::take(&mut self.rows);
        let dead = std::mem::take(&mut self.dead);
        let mut holes = std::mem::take(&mut self.holes);
        if rows == 0 {
            return Ok(None);
        }
        let finish = |column: &mut Column| {
            column.finish().map_err(|cause| Error::bug("delta_column", "finish a column").with_cause(cause))
        };
        let mut arrays = self.buffer.iter_mut().map(finish).collect::<Result<Vec<ArrayRef>>>()?;
        arrays.extend(self.feed.as_ref().map(|feed| feed.change_types(rows)));
        let mut moved = None;
        let mut kept = rows;
        if !dead.is_empty() {
            let keep: BooleanArray = (0..rows).map(|row| Some(!dead.contains(row))).collect();
            let sift = |array: &ArrayRef| {
                filter(array, &keep)
                    .map_err(|cause| Error::bug("delta_column", "drop superseded rows").with_cause(cause))
            };
            // One after the other: each is let go as soon as it is sifted.
            arrays = arrays.into_iter().map(|array| sift(&array)).collect::<Result<_>>()?;
            let places = places(rows, &dead);
            holes.keep(&places);
            kept = arrays.first().map_or(0, |array| array.len() as u32);
            let (file, base) = (self.ordinal, self.base);
            let place = |place| RowLocation { file, row: base + place };
            let places = places.into_iter().map(|at: Option<u32>| at.map(place)).collect();
            moved = Some(Moved { file, base, places });
        }
        if let (0, Some(feed)) = (kept, &mut self.feed) {
            feed.drop_new_rows();
        }
        if kept > 0 {
            let columns = self.file_columns();
            let open = match &mut self.open {
                Some(open) => open,
                none => none.insert(PartWriter::create(&self.store.of_commit(bytes_of(&arrays)), &columns, &self.key)?),
            };
            holes.write(&self.store, &self.files, &self.columns, arrays, open)?;
            if let Some(feed) = &mut self.feed {
                feed.follow(self.ordinal, self.base, moved.as_ref());
            }
            self.base += kept;
        }
        Ok(moved)
    }
}

impl Drop for Parts {
    /// What no commit was told of goes with the writer. Files of a commit whose outcome is open are not among them:
    /// `seal` has handed them over.
    fn drop(&mut self) {
        self.remove_unnamed();
    }
}

/// What the rows take in memory, nearly, in bytes.
fn bytes_of(arrays: &[ArrayRef]) -> usize {
    arrays.iter().map(|array| array.get_buffer_memory_size()).sum()
}

/// The place of each row among those that are not dead.
fn places(rows: u32, dead: &RoaringBitmap) -> Vec<Option<u32>> {
    let mut next = 0;
    let place = |row| {
        (!dead.contains(row)).then(|| {
            next += 1;
            next - 1
        })
    };
    (0..rows).map(place).collect()
}

/// Pushes a value for `Parts::columns_mut`.
pub(crate) fn push(columns: &mut [Column], at: usize, value: Value<'_>) -> std::result::Result<(), Unfit> {
    columns.get_mut(at).ok_or(Unfit::Kind)?.push(value)
}
