//! The rows of one table that no commit has named yet: a buffer in memory, data files written from it, and the row
//! numbers to delete. Gives every row a location when it is added, and tells when locations move. Knows nothing of
//! keys or of what a change means.
//!
//! A file gets its ordinal when its first row is added. Row numbers count from 0 in that file: `base` rows are
//! written to the open file already, the rest lie in the buffer. A row that is deleted while in the buffer never
//! reaches the file; the rows after it then move up, which `Flushed` reports.

pub(crate) mod files;
pub(crate) mod holes;

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
use files::{FileEntry, Files};
use holes::{Holes, Origin};
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::{Error, Value};

/// Size at which a data file is closed and the next begun.
const PART_BYTES_MAX: usize = 128 << 20;
/// Rows of a file, far below what a 32-bit row number can count.
const PART_ROWS_MAX: u64 = 1 << 30;

/// Rows that moved when the buffer was written: of `file`, the row that was `base + i` is now `base + moved[i]`.
#[derive(Debug)]
pub(crate) struct Moved {
    /// The file's ordinal.
    pub(crate) file: u32,
    /// Row number of the buffer's first row.
    pub(crate) base: u32,
    /// For each buffered row its place among those kept, `None` for one that was deleted.
    pub(crate) places: Vec<Option<u32>>,
}

/// What a commit takes over.
#[derive(Debug, Default)]
pub(crate) struct Sealed {
    /// New files.
    pub(crate) adds: Vec<NewFile>,
    /// Row numbers to delete, by path.
    pub(crate) deletes: BTreeMap<String, RoaringBitmap>,
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
    done: Vec<(u32, NewFile)>,
    files: Files,
    deletes: BTreeMap<u32, RoaringBitmap>,
    nulls: BTreeSet<usize>,
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
            done: Vec::new(),
            files: Files::default(),
            deletes: BTreeMap::new(),
            nulls: BTreeSet::new(),
        };
        parts.set_columns(columns, key);
        parts.next_file();
        parts
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
        if location.file == self.ordinal && location.row >= self.base {
            return location.row - self.base < self.rows && !self.dead.contains(location.row - self.base);
        }
        let is_deleted = self.deletes.get(&location.file).is_some_and(|rows| rows.contains(location.row));
        !is_deleted && self.files.holds(location)
    }

    /// Changes the columns. The rows added before must have been closed off by `close`.
    pub(crate) fn set_columns(&mut self, columns: Vec<TableColumn>, key: Vec<usize>) {
        self.buffer = columns.iter().map(|column| Column::new(&column.column_type)).collect();
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
        RowLocation { file: self.ordinal, row }
    }

    /// Whether the row lies in the file in the making but no longer in the buffer, so that its values can only be
    /// read once that file is closed.
    pub(crate) fn is_in_open_file(&self, location: RowLocation) -> bool {
        location.file == self.ordinal && location.row < self.base
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
        if self.rows == 0 {
            return 0;
        }
        self.buffer.iter().map(Column::size_bytes).sum::<usize>() + self.holes.size_bytes()
    }

    /// Memory that the open file's row group takes, in bytes.
    pub(crate) fn writer_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, PartWriter::memory_bytes)
    }

    /// Memory that the open file takes until it is closed, in bytes.
    pub(crate) fn upload_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, PartWriter::upload_bytes)
    }

    /// Size of the open file, if there is one.
    pub(crate) fn open_file_bytes(&self) -> Option<usize> {
        self.open.as_ref().map(PartWriter::size_bytes)
    }

    /// Writes out what the open file's row group holds in memory.
    pub(crate) fn end_row_group(&mut self) -> Result<()> {
        self.open.as_mut().map_or(Ok(()), PartWriter::end_row_group)
    }

    /// Whether there is nothing for a commit.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows == 0 && self.open.is_none() && self.done.is_empty() && self.deletes.is_empty()
    }

    /// Writes the buffer to the open file; closes it when it is large enough.
    pub(crate) fn flush(&mut self) -> Result<Option<Moved>> {
        let moved = self.write_buffer()?;
        let rows_max = limit(Limit::PartRows, PART_ROWS_MAX);
        if self.open.as_ref().is_some_and(|open| open.size_bytes() >= PART_BYTES_MAX || open.rows() >= rows_max) {
            self.close_open()?;
        }
        Ok(moved)
    }

    /// Writes the buffer and closes the file.
    pub(crate) fn close(&mut self) -> Result<Option<Moved>> {
        let moved = self.write_buffer()?;
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
        let mut sealed = Sealed::default();
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
        if let Some(open) = self.open.take()
            && let Some(intents) = self.store.intents()
        {
            intents.strike([open.name()]);
        }
        for (_, file) in std::mem::take(&mut self.done) {
            // A store that does not answer is not asked again for each of them: they cost space only.
            if !self.store.delete_unnamed(&file.path) {
                break;
            }
        }
    }

    fn next_file(&mut self) {
        self.base = 0;
        self.ordinal = self.files.begin();
    }

    fn close_open(&mut self) -> Result<()> {
        if let Some(open) = self.open.take() {
            self.nulls.extend(open.nulls());
            let file = open.finish()?;
            self.files.end(self.ordinal, file.path.clone(), file.size);
            self.done.push((self.ordinal, file));
            self.next_file();
        }
        Ok(())
    }

    fn write_buffer(&mut self) -> Result<Option<Moved>> {
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
            moved = Some(Moved { file: self.ordinal, base: self.base, places });
        }
        if kept > 0 {
            let open = match &mut self.open {
                Some(open) => open,
                none => none.insert(PartWriter::create(&self.store, &self.columns, &self.key)?),
            };
            holes.write(&self.store, &self.files, &self.columns, arrays, open)?;
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
