//! The rows of a partitioned table: which partition each buffered row is in, and one file in the making for each partition. A row
//! has a place in the buffer when it is added; when the buffer is emptied it gets one in its partition's file, and `Moved` says so.
//! There few rows wait for others, as far as there is memory for it, and of more partitions than can have an open file on disk:
//! rows that come in no order would else make a small file of each partition whenever the buffer is full.

use super::feed::columns_of_file;
use super::making::{Making, Site, WORTH_BYTES};
use super::spill::Spill;
use super::{Holes, Moved, PART_ROWS_MAX, Parts};
use crate::ambient::{Limit, limit};
use crate::encode::column::{Column, Unfit};
use crate::encode::file::PartWriter;
use crate::encode::partition::text_of;
use crate::error::Result;
use crate::index::RowLocation;
use crate::log::Partition;
use crate::typemap::TableColumn;
use arrow_array::{ArrayRef, UInt32Array};
use arrow_select::take::take;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use tidewire_core::{Error, Value};

/// Files that a table has open at once. Of more partitions some get a file whenever rows of theirs are written.
const OPEN_FILES_MAX: usize = 128;
/// Rows of a partition that wait on disk are worth a file when they take so many bytes there.
const FILE_BYTES: u64 = 64 << 20;
/// Rows of a table that may wait on disk, in bytes.
const SPILLED_BYTES_MAX: u64 = 2 << 30;

/// What the parts of a partitioned table have in addition.
#[derive(Default)]
pub(super) struct Partitions {
    /// Positions of the partition columns.
    pub(super) by: Vec<usize>,
    known: Vec<Partition>,
    numbers: HashMap<Vec<Option<String>>, u32>,
    /// For each buffered row the number of its partition.
    rows: Vec<u32>,
    /// That of the row in the making.
    next: u32,
    /// The files in the making, by partition.
    making: BTreeMap<u32, Making>,
    /// Their partitions, by their ordinals.
    ordinals: HashMap<u32, u32>,
    /// The partitions whose file has been begun.
    begun: BTreeSet<u32>,
    /// Memory that waiting rows take, in bytes.
    held_bytes: usize,
    /// Where rows wait on disk; `None` without a folder for them.
    spill: Option<Spill>,
}

impl Partitions {
    pub(super) fn end_row(&mut self) {
        self.rows.push(self.next);
    }

    pub(super) fn is_by(&self, at: usize) -> bool {
        self.by.contains(&at)
    }

    /// Memory that is kept beside the rows, in bytes.
    pub(super) fn buffered_bytes(&self) -> usize {
        self.rows.len() * size_of::<u32>()
    }

    pub(super) fn writers(&self) -> impl Iterator<Item = &PartWriter> {
        self.begun.iter().filter_map(|number| self.making.get(number)?.writer())
    }

    pub(super) fn writers_mut(&mut self) -> impl Iterator<Item = &mut PartWriter> {
        self.making.values_mut().filter_map(Making::writer_mut)
    }

    /// Whether no file is in the making.
    pub(super) fn is_idle(&self) -> bool {
        self.making.is_empty()
    }

    /// Forgets the rows; returns the names of the files that were open.
    pub(super) fn discard(&mut self) -> Vec<String> {
        self.rows.clear();
        (self.held_bytes, self.begun, self.ordinals) = (0, BTreeSet::new(), HashMap::new());
        self.spill.iter_mut().for_each(Spill::clear);
        std::mem::take(&mut self.making).into_values().filter_map(Making::into_name).collect()
    }

    fn number(&mut self, columns: &[TableColumn], texts: Vec<Option<String>>) -> u32 {
        if let Some(number) = self.numbers.get(&texts) {
            return *number;
        }
        let number = self.known.len() as u32;
        let named = self.by.iter().filter_map(|at| columns.get(*at)).map(|column| column.file_name().to_string());
        self.known.push(Arc::new(named.zip(texts.iter().cloned()).collect()));
        self.numbers.insert(texts, number);
        number
    }
}

impl Parts {
    /// The columns that the table is partitioned by, and a folder on disk where rows of many partitions may wait. Call it before
    /// there are rows.
    pub(crate) fn partition_by(&mut self, by: &[usize], folder: Option<&Path>) {
        let spill = folder.map(Spill::new);
        self.partitions = (!by.is_empty()).then(|| Partitions { by: by.to_vec(), spill, ..Partitions::default() });
    }

    /// Whether the table is partitioned.
    pub(crate) fn is_partitioned(&self) -> bool {
        self.partitions.is_some()
    }

    /// What a row has in the partition columns.
    fn partition_of(&self, row: RowLocation) -> Partition {
        let buffered = self.partitions.as_ref().filter(|_| row.file == self.ordinal).and_then(|partitions| {
            let number = partitions.rows.get(row.row.checked_sub(self.base)? as usize)?;
            partitions.known.get(*number as usize)
        });
        let of_file = || self.files.get(row.file).map(|file| &file.partition);
        buffered.or_else(of_file).cloned().unwrap_or_default()
    }

    /// The row in the making has these values in the partition columns; what is unknown is as it is at `prior`.
    ///
    /// # Errors
    /// The column that has no such value, and why.
    pub(crate) fn choose<'a>(
        &mut self,
        prior: Option<RowLocation>,
        value: impl Fn(usize) -> Value<'a>,
    ) -> std::result::Result<(), (usize, Unfit)> {
        let Some(partitions) = &self.partitions else { return Ok(()) };
        let mut texts = Vec::with_capacity(partitions.by.len());
        for at in &partitions.by {
            let column = self.columns.get(*at).ok_or((*at, Unfit::Kind))?;
            let text = match (value(*at), prior) {
                (Value::Unknown, Some(prior)) => self.partition_of(prior).get(&**column.file_name()).cloned().flatten(),
                (value, _) => text_of(&column.column_type, value).map_err(|unfit| (*at, unfit))?,
            };
            texts.push(text);
        }
        if let Some(partitions) = &mut self.partitions {
            partitions.next = partitions.number(&self.columns, texts);
        }
        Ok(())
    }

    /// The row in the making is in the partition of another.
    pub(crate) fn choose_as(&mut self, row: RowLocation) {
        if self.partitions.is_none() {
            return;
        }
        let partition = self.partition_of(row);
        if let Some(partitions) = &mut self.partitions {
            let name = |at: &usize| self.columns.get(*at).map(|column| &**column.file_name()).unwrap_or_default();
            let texts = partitions.by.iter().map(|at| partition.get(name(at)).cloned().flatten()).collect();
            partitions.next = partitions.number(&self.columns, texts);
        }
    }

    /// Whether a file of a partition is in the making, so that its rows cannot be read yet.
    pub(super) fn is_open_partition(&self, file: u32) -> bool {
        self.partitions.as_ref().is_some_and(|partitions| partitions.ordinals.contains_key(&file))
    }

    /// Ends the file that a row lies in if it is a partition's in the making; no row moves. Says whether it was one.
    pub(crate) fn close_partition_of(&mut self, row: RowLocation) -> Result<bool> {
        let number = self.partitions.as_ref().and_then(|partitions| partitions.ordinals.get(&row.file).copied());
        number.map_or(Ok(false), |number| self.close_partition(number).map(|()| true))
    }

    /// Writes the buffer to the files of its rows' partitions.
    pub(super) fn write_partitions(&mut self) -> Result<Option<Moved>> {
        let (rows, base) = (std::mem::take(&mut self.rows), self.base);
        let (dead, holes) = (std::mem::take(&mut self.dead), std::mem::take(&mut self.holes));
        let Some(partitions) = self.partitions.as_mut().filter(|_| rows > 0) else { return Ok(None) };
        let finish = |column: &mut Column| {
            column.finish().map_err(|cause| Error::bug("delta_column", "finish a column").with_cause(cause))
        };
        let mut arrays = self.buffer.iter_mut().map(finish).collect::<Result<Vec<ArrayRef>>>()?;
        arrays.extend(self.feed.as_ref().map(|feed| feed.change_types(rows)));
        let mut by_partition: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        // For each row its partition, and its place among that one's rows.
        let mut within = Vec::with_capacity(rows as usize);
        for (row, number) in (0u32..).zip(std::mem::take(&mut partitions.rows)) {
            let kept = by_partition.entry(number).or_default();
            let is_kept = !dead.contains(row);
            within.push(is_kept.then_some((number, kept.len() as u32)));
            kept.extend(is_kept.then_some(row));
        }
        by_partition.retain(|_, kept| !kept.is_empty());
        let mut holes = holes.split(&within);
        let mut places = vec![None; rows as usize];
        let is_alone = by_partition.len() == 1;
        for (number, kept) in by_partition {
            let indices = UInt32Array::from(kept);
            let picked = pick(&arrays, &indices)?;
            let first = self.open_partition(number)?;
            for (row, place) in indices.values().iter().zip(0u32..) {
                if let Some(slot) = places.get_mut(*row as usize) {
                    *slot = Some(RowLocation { file: first.file, row: first.row + place });
                }
            }
            self.take_in(number, picked, holes.remove(&number), is_alone)?;
        }
        let moved = Moved { file: self.ordinal, base, places };
        if let Some(feed) = &mut self.feed {
            feed.follow(self.ordinal, base, Some(&moved));
        }
        self.files.forget(self.ordinal);
        self.next_file();
        Ok(Some(moved))
    }

    /// Where the next row of a partition's file will lie.
    fn open_partition(&mut self, number: u32) -> Result<RowLocation> {
        let Some(partitions) = &mut self.partitions else { return Err(no_partition()) };
        if let Some(making) = partitions.making.get(&number) {
            return Ok(making.next_row());
        }
        let partition = partitions.known.get(number as usize).cloned().ok_or_else(no_partition)?;
        let ordinal = self.files.begin_for(partition);
        let making = Making::new(ordinal);
        let first = making.next_row();
        partitions.ordinals.insert(ordinal, number);
        partitions.making.insert(number, making);
        Ok(first)
    }

    /// Takes rows of a partition: they wait, if that may make a larger row group. `is_alone` if the buffer had none of others.
    fn take_in(&mut self, number: u32, rows: Vec<ArrayRef>, holes: Option<Holes>, is_alone: bool) -> Result<()> {
        let Some(partitions) = &mut self.partitions else { return Err(no_partition()) };
        // Many row groups in the making would each take their memory.
        let goes_on = is_alone && partitions.making.len() == 1;
        if goes_on || holes.is_some() {
            self.write_rows(number, Some((rows, holes.unwrap_or_default())), goes_on)?;
        } else {
            let making = partitions.making.get_mut(&number).ok_or_else(no_partition)?;
            let before = making.held_bytes();
            making.hold(rows);
            partitions.held_bytes += making.held_bytes() - before;
            if making.held_bytes() >= WORTH_BYTES {
                self.write_waiting(number)?;
            }
        }
        self.close_full(number)
    }

    /// Writes a partition's waiting rows, and then these with their holes; the row group goes on only if it is said so.
    fn write_rows(&mut self, number: u32, rows: Option<(Vec<ArrayRef>, Holes)>, goes_on: bool) -> Result<()> {
        let (store, columns, key, has_feed) = (&self.store, &self.columns, &self.key, self.feed.is_some());
        let Some(partitions) = &mut self.partitions else { return Err(no_partition()) };
        let partition = partitions.known.get(number as usize).cloned().ok_or_else(no_partition)?;
        let making = partitions.making.get_mut(&number).ok_or_else(no_partition)?;
        let by = &partitions.by;
        let begin = |bytes| {
            let columns = columns_of_file(columns, has_feed);
            PartWriter::create_for(&store.of_commit(bytes), &columns, key, by, Arc::clone(&partition))
        };
        partitions.begun.insert(number);
        partitions.held_bytes -= making.held_bytes();
        making.write(partitions.spill.as_mut(), rows, &Site { store, files: &self.files, columns, begin: &begin })?;
        if goes_on { Ok(()) } else { making.writer_mut().map_or(Ok(()), PartWriter::end_row_group) }
    }

    /// Ends a partition's file when it is large enough, and the largest ones while too many are open.
    fn close_full(&mut self, number: u32) -> Result<()> {
        let making = self.partitions.as_ref().and_then(|partitions| partitions.making.get(&number));
        let bytes = making.and_then(Making::writer).map_or(0, PartWriter::size_bytes);
        let rows = making.map_or(0, Making::rows);
        if bytes >= self.file_bytes || rows >= limit(Limit::PartRows, PART_ROWS_MAX) {
            self.close_partition(number)?;
        }
        let begun = |parts: &Parts| parts.partitions.as_ref().map_or(0, |partitions| partitions.begun.len());
        while begun(self) > limit(Limit::Files, OPEN_FILES_MAX) && self.close_largest(PartWriter::size_bytes)? {}
        Ok(())
    }

    /// Ends the partition's file that is the largest in this respect. Says whether there was one.
    pub(crate) fn close_largest(&mut self, bytes: impl Fn(&PartWriter) -> usize) -> Result<bool> {
        let Some(partitions) = &self.partitions else { return Ok(false) };
        let size = |number: &u32| partitions.making.get(number).and_then(Making::writer).map_or(0, &bytes);
        let largest = partitions.begun.iter().copied().max_by_key(size).filter(|number| size(number) > 0);
        largest.map_or(Ok(false), |number| self.close_partition(number).map(|()| true))
    }

    /// Memory that waiting rows of partitions take, in bytes.
    pub(crate) fn held_bytes(&self) -> usize {
        self.partitions.as_ref().map_or(0, |partitions| partitions.held_bytes)
    }

    /// Writes a partition's rows that wait in memory: to its file, or, when not all partitions can have an open one, to where they
    /// wait on disk until they are worth a file.
    fn write_waiting(&mut self, number: u32) -> Result<()> {
        let Some(partitions) = &mut self.partitions else { return Err(no_partition()) };
        let is_crowded = partitions.making.len() > limit(Limit::Files, OPEN_FILES_MAX);
        let making = partitions.making.get_mut(&number).ok_or_else(no_partition)?;
        let spill = partitions.spill.as_mut().filter(|_| is_crowded || making.spilled_bytes() > 0);
        let before = making.held_bytes();
        let is_spilled = spill.map_or(Ok(false), |spill| making.spill(spill))?;
        if !is_spilled {
            self.write_rows(number, None, false)?;
            return self.close_full(number);
        }
        partitions.held_bytes -= before;
        if making.spilled_bytes() >= limit(Limit::SpilledFileBytes, FILE_BYTES).min(self.file_bytes as u64) {
            self.close_partition(number)?;
        }
        while let Some(largest) = self.largest_beyond_place() {
            self.close_partition(largest)?;
        }
        Ok(())
    }

    /// When more rows wait on disk than may, the partition that has most of them.
    fn largest_beyond_place(&self) -> Option<u32> {
        let partitions = self.partitions.as_ref()?;
        let bytes = partitions.spill.as_ref().map_or(0, Spill::bytes);
        let spilled = partitions.making.iter().map(|(number, making)| (making.spilled_bytes(), *number));
        let largest = || spilled.max().filter(|(bytes, _)| *bytes > 0).map(|(_, number)| number);
        (bytes > limit(Limit::SpilledBytes, SPILLED_BYTES_MAX)).then(largest).flatten()
    }

    /// Writes waiting rows, those of the partitions that have most first, until a quarter of their memory is free.
    pub(crate) fn write_held(&mut self) -> Result<()> {
        let Some(partitions) = &self.partitions else { return Ok(()) };
        let held = partitions.making.iter().map(|(number, making)| (making.held_bytes(), *number));
        let mut held = held.filter(|(bytes, _)| *bytes > 0).collect::<Vec<_>>();
        held.sort_unstable_by(|one, other| other.cmp(one));
        let left = partitions.held_bytes / 4 * 3;
        for (_, number) in held {
            // It may have ended meanwhile for another's sake.
            let making = self.partitions.as_ref().and_then(|partitions| partitions.making.get(&number));
            if making.is_some_and(|making| making.held_bytes() > 0) {
                self.write_waiting(number)?;
            }
            if self.held_bytes() <= left {
                break;
            }
        }
        Ok(())
    }

    fn close_partition(&mut self, number: u32) -> Result<()> {
        let making = self.partitions.as_ref().and_then(|partitions| partitions.making.get(&number));
        if making.is_some_and(Making::waits) {
            self.write_rows(number, None, true)?;
        }
        let Some(partitions) = &mut self.partitions else { return Ok(()) };
        let Some(making) = partitions.making.remove(&number) else { return Ok(()) };
        let ordinal = making.ordinal();
        partitions.ordinals.remove(&ordinal);
        partitions.begun.remove(&number);
        self.nulls.extend(making.writer().into_iter().flat_map(PartWriter::nulls));
        let null = |at: &&usize| {
            let column = self.columns.get(**at).filter(|column| !column.nullable);
            let partition = partitions.known.get(number as usize);
            column.zip(partition).is_some_and(|(column, partition)| partition.get(&**column.file_name()) == Some(&None))
        };
        self.nulls.extend(partitions.by.iter().filter(null));
        if let Some(file) = making.finish()? {
            self.files.end(ordinal, file.path.clone(), file.size);
            self.done.insert(ordinal, file);
        }
        Ok(())
    }

    /// Ends all files. The buffer must have been written: no number is of use any more.
    pub(super) fn close_partitions(&mut self) -> Result<()> {
        let numbers =
            self.partitions.iter().flat_map(|partitions| partitions.making.keys().copied()).collect::<Vec<_>>();
        numbers.into_iter().try_for_each(|number| self.close_partition(number))?;
        if let Some(partitions) = &mut self.partitions {
            partitions.known.clear();
            partitions.numbers.clear();
        }
        Ok(())
    }
}

/// These rows of each array.
pub(super) fn pick(arrays: &[ArrayRef], rows: &UInt32Array) -> Result<Vec<ArrayRef>> {
    let pick = |array: &ArrayRef| {
        take(array, rows, None).map_err(|cause| Error::bug("delta_column", "pick a partition's rows").with_cause(cause))
    };
    arrays.iter().map(pick).collect()
}

fn no_partition() -> Error {
    Error::bug("delta_partition", "a row is in no partition")
}
