//! The rows of a partitioned table: which partition each buffered row is in, and one open file for each partition. A row has
//! a place in the buffer when it is added; when the buffer is written it goes to its partition's file, and `Moved` says so.

use super::{Moved, PART_ROWS_MAX, Parts, bytes_of};
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
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::{Error, Value};

/// Files that a table has open at once. Of more partitions each gets a file whenever the buffer is written.
pub(super) const OPEN_FILES_MAX: usize = 32;

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
    /// The open files and their ordinals, by partition.
    open: BTreeMap<u32, (u32, PartWriter)>,
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
        self.open.values().map(|(_, writer)| writer)
    }

    pub(super) fn writers_mut(&mut self) -> impl Iterator<Item = &mut PartWriter> {
        self.open.values_mut().map(|(_, writer)| writer)
    }

    /// Forgets the rows; returns the names of the files that were open.
    pub(super) fn discard(&mut self) -> Vec<String> {
        self.rows.clear();
        std::mem::take(&mut self.open).into_values().map(|(_, writer)| writer.name().to_owned()).collect()
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
    /// The columns that the table is partitioned by. Call it before there are rows.
    pub(crate) fn partition_by(&mut self, by: &[usize]) {
        self.partitions = (!by.is_empty()).then(|| Partitions { by: by.to_vec(), ..Partitions::default() });
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

    /// Whether a file of a partition is open, so that its rows cannot be read yet.
    pub(super) fn is_open_partition(&self, file: u32) -> bool {
        let partitions = self.partitions.as_ref();
        partitions.is_some_and(|partitions| partitions.open.values().any(|(ordinal, _)| *ordinal == file))
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
            let first = self.open_partition(number, bytes_of(&picked))?;
            for (row, place) in indices.values().iter().zip(0u32..) {
                if let Some(slot) = places.get_mut(*row as usize) {
                    *slot = Some(RowLocation { file: first.file, row: first.row + place });
                }
            }
            self.write_to(number, holes.remove(&number).unwrap_or_default(), picked, is_alone)?;
        }
        let moved = Moved { file: self.ordinal, base, places };
        if let Some(feed) = &mut self.feed {
            feed.follow(self.ordinal, base, Some(&moved));
        }
        self.files.forget(self.ordinal);
        self.next_file();
        Ok(Some(moved))
    }

    /// Where the next row of a partition's file will lie; of so many bytes of rows that come now.
    fn open_partition(&mut self, number: u32, bytes: usize) -> Result<RowLocation> {
        let columns = self.file_columns();
        let Some(partitions) = &mut self.partitions else { return Err(no_partition()) };
        if let Some((file, open)) = partitions.open.get(&number) {
            return Ok(RowLocation { file: *file, row: open.rows() as u32 });
        }
        let partition = partitions.known.get(number as usize).cloned().ok_or_else(no_partition)?;
        let store = self.store.of_commit(bytes);
        let writer = PartWriter::create_for(&store, &columns, &self.key, &partitions.by, Arc::clone(&partition))?;
        let file = self.files.begin_for(partition);
        partitions.open.insert(number, (file, writer));
        Ok(RowLocation { file, row: 0 })
    }

    fn write_to(&mut self, number: u32, holes: super::Holes, arrays: Vec<ArrayRef>, is_alone: bool) -> Result<()> {
        let Some(partitions) = &mut self.partitions else { return Err(no_partition()) };
        let is_only = is_alone && partitions.open.len() == 1;
        let (_, open) = partitions.open.get_mut(&number).ok_or_else(no_partition)?;
        holes.write(&self.store, &self.files, &self.columns, arrays, open)?;
        if !is_only {
            // Many row groups in the making would each take their memory.
            open.end_row_group()?;
        }
        if open.size_bytes() >= self.file_bytes || open.rows() >= limit(Limit::PartRows, PART_ROWS_MAX) {
            self.close_partition(number)?;
        }
        while let Some(largest) = self.largest_above(limit(Limit::Files, OPEN_FILES_MAX)) {
            self.close_partition(largest)?;
        }
        Ok(())
    }

    fn largest_above(&self, files: usize) -> Option<u32> {
        let open = &self.partitions.as_ref().filter(|partitions| partitions.open.len() > files)?.open;
        open.iter().max_by_key(|(_, (_, writer))| writer.size_bytes()).map(|(number, _)| *number)
    }

    fn close_partition(&mut self, number: u32) -> Result<()> {
        let Some(partitions) = &mut self.partitions else { return Ok(()) };
        let Some((ordinal, open)) = partitions.open.remove(&number) else { return Ok(()) };
        self.nulls.extend(open.nulls());
        let null = |at: &&usize| {
            let column = self.columns.get(**at).filter(|column| !column.nullable);
            let partition = partitions.known.get(number as usize);
            column.zip(partition).is_some_and(|(column, partition)| partition.get(&**column.file_name()) == Some(&None))
        };
        self.nulls.extend(partitions.by.iter().filter(null));
        let file = open.finish()?;
        self.files.end(ordinal, file.path.clone(), file.size);
        self.done.insert(ordinal, file);
        Ok(())
    }

    /// Ends all files. The buffer must have been written: no number is of use any more.
    pub(super) fn close_partitions(&mut self) -> Result<()> {
        let numbers = self.partitions.iter().flat_map(|partitions| partitions.open.keys().copied()).collect::<Vec<_>>();
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
