//! Values that the log did not carry and that lie in a data file: they are noted when the row is added and read,
//! many at a time, when the buffer is written. A value that cannot be found stops the table; it never becomes
//! null.

use super::{FileEntry, Files};
use crate::ambient::{Limit, limit};
use crate::encode::file::PartWriter;
use crate::encode::read::ColumnReader;
use crate::error::Result;
use crate::index::RowLocation;
use crate::store::TableStore;
use crate::typemap::TableColumn;
use arrow_array::{Array, ArrayRef, new_null_array};
use arrow_select::interleave::interleave;
use hashbrown::HashMap;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::Error;

/// Bytes of filled-in values that are in memory at a time, as far as the values before foretell.
const FILL_BYTES_MAX: usize = 16 << 20;
const FILL_HOLES_FIRST: usize = 64;
const FILL_HOLES_MAX: usize = 65_536;

/// Memory that a hole takes, in bytes, nearly.
const HOLE_BYTES: usize = 48;

/// Where a hole's value lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    /// The row that has it.
    pub(crate) at: RowLocation,
    /// Whether it may be null because the row is older than its column: as readers see the row.
    pub(crate) as_shown: bool,
}

/// The holes of a buffer: (row, column) and where the value lies.
#[derive(Debug, Default)]
pub(crate) struct Holes(BTreeMap<(u32, usize), Origin>);

impl Holes {
    pub(crate) fn add(&mut self, row: u32, column: usize, origin: Origin) {
        self.0.insert((row, column), origin);
    }

    pub(crate) fn origin(&self, row: u32, column: usize) -> Option<Origin> {
        if self.0.is_empty() { None } else { self.0.get(&(row, column)).copied() }
    }

    /// Memory that they take, in bytes.
    pub(crate) fn size_bytes(&self) -> usize {
        self.0.len() * HOLE_BYTES
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Follows the rows to their new places.
    pub(crate) fn keep(&mut self, places: &[Option<u32>]) {
        let held = std::mem::take(&mut self.0);
        let place = |row: u32| places.get(row as usize).copied().flatten();
        self.0 = held.into_iter().filter_map(|((row, column), origin)| Some(((place(row)?, column), origin))).collect();
    }

    /// Those of each partition's rows, at the rows' places there: for each row `within` has both.
    pub(crate) fn split(self, within: &[Option<(u32, u32)>]) -> BTreeMap<u32, Holes> {
        let mut parts: BTreeMap<u32, Holes> = BTreeMap::new();
        for ((row, column), origin) in self.0 {
            if let Some((partition, place)) = within.get(row as usize).copied().flatten() {
                parts.entry(partition).or_default().add(place, column, origin);
            }
        }
        parts
    }

    /// Writes rows with their holes filled, in slices small enough for memory.
    pub(crate) fn write(
        self,
        store: &TableStore,
        files: &Files,
        columns: &[TableColumn],
        arrays: Vec<ArrayRef>,
        out: &mut PartWriter,
    ) -> Result<()> {
        if self.0.is_empty() {
            return out.write(arrays);
        }
        let rows = arrays.first().map_or(0, |array| array.len()) as u32;
        let mut waiting = self.0.into_iter().peekable();
        let mut start = 0;
        let holes_first = limit(Limit::FillHoles, FILL_HOLES_FIRST);
        let mut holes_max = holes_first;
        while start < rows {
            let mut taken = Vec::new();
            let mut end = rows;
            while let Some((hole, origin)) = waiting.next() {
                taken.push((hole, origin));
                let next_row = waiting.peek().map(|((row, _), _)| *row);
                if taken.len() >= holes_max && next_row != Some(hole.0) {
                    end = next_row.unwrap_or(rows);
                    break;
                }
            }
            let mut slice = arrays.iter().map(|a| a.slice(start as usize, (end - start) as usize)).collect::<Vec<_>>();
            let count = taken.len();
            let bytes = fill(store, files, columns, &mut slice, start, &taken)?;
            out.write(slice)?;
            holes_max = (FILL_BYTES_MAX / (bytes / count.max(1)).max(1))
                .clamp(holes_first, holes_first.max(limit(Limit::FillHoles, FILL_HOLES_MAX)));
            start = end;
        }
        Ok(())
    }
}

type Hole = ((u32, usize), Origin);

/// What is wanted of a file: rows, and columns, each with whether one that the file does not have is null.
type Wanted = (BTreeSet<u32>, BTreeMap<usize, bool>);

/// Values read from files: per column the arrays, and where in them each location lies.
#[derive(Default)]
struct Found {
    arrays: BTreeMap<usize, Vec<ArrayRef>>,
    places: HashMap<(usize, RowLocation), (usize, usize)>,
}

/// Fills the holes of a slice that begins at row `start`; returns the bytes that were read.
fn fill(
    store: &TableStore,
    files: &Files,
    columns: &[TableColumn],
    slice: &mut [ArrayRef],
    start: u32,
    holes: &[Hole],
) -> Result<usize> {
    let mut found = Found::default();
    let mut by_file: BTreeMap<u32, Wanted> = BTreeMap::new();
    for ((_, column), origin) in holes {
        let (rows, columns) = by_file.entry(origin.at.file).or_default();
        rows.insert(origin.at.row);
        *columns.entry(*column).or_insert(true) &= origin.as_shown;
    }
    for (ordinal, (rows, wanted)) in by_file {
        let file = files.get(ordinal).filter(|file| !file.path.is_empty());
        let file = file.ok_or_else(|| Error::bug("delta_location", "a row's location names no file"))?;
        let rows = rows.into_iter().collect::<Vec<_>>();
        found.read(store, ordinal, file, columns, &rows, &wanted.into_iter().collect::<Vec<_>>())?;
    }
    let mut bytes = 0;
    for (column, array) in slice.iter_mut().enumerate() {
        let Some(read) = found.arrays.get(&column) else { continue };
        bytes += read.iter().map(|array| array.get_array_memory_size()).sum::<usize>();
        let mut choice = (0..array.len()).map(|row| (0, row)).collect::<Vec<_>>();
        for ((row, at), origin) in holes.iter().filter(|((_, at), _)| *at == column) {
            let place = found.places.get(&(*at, origin.at));
            let (number, position) =
                place.ok_or_else(|| Error::bug("delta_location", "a row's location lies behind its file"))?;
            if let Some(slot) = choice.get_mut((row - start) as usize) {
                *slot = (number + 1, *position);
            }
        }
        let mut sources: Vec<&dyn Array> = vec![array.as_ref()];
        sources.extend(read.iter().map(|array| array.as_ref()));
        *array = interleave(&sources, &choice)
            .map_err(|cause| Error::bug("delta_column", "fill values in").with_cause(cause))?;
    }
    Ok(bytes)
}

impl Found {
    fn read(
        &mut self,
        store: &TableStore,
        ordinal: u32,
        file: &FileEntry,
        columns: &[TableColumn],
        rows: &[u32],
        wanted: &[(usize, bool)],
    ) -> Result<()> {
        let asked = wanted.iter().filter_map(|(at, _)| columns.get(*at)).collect::<Vec<_>>();
        let mut reader = ColumnReader::open(store, &file.path, file.size, &asked, Some(rows))?;
        let mut rows = rows.iter();
        while let Some(arrays) = reader.next_arrays()? {
            let length = arrays.iter().flatten().map(|array| array.len()).next().unwrap_or(0);
            let batch = rows.by_ref().take(length).copied().collect::<Vec<_>>();
            for (((at, as_shown), column), array) in wanted.iter().zip(&asked).zip(arrays) {
                let array = match array {
                    Some(array) => array,
                    None => absent(column, *as_shown, length)?,
                };
                self.hold(ordinal, *at, &batch, array);
            }
        }
        // Without one of the columns in the file there is nothing to iterate over at all.
        let rest = rows.as_slice();
        if rest.is_empty() {
            return Ok(());
        }
        for ((at, as_shown), column) in wanted.iter().zip(&asked) {
            self.hold(ordinal, *at, rest, absent(column, *as_shown, rest.len())?);
        }
        Ok(())
    }

    /// Keeps a column's values of these rows of a file.
    fn hold(&mut self, file: u32, column: usize, rows: &[u32], array: ArrayRef) {
        let held = self.arrays.entry(column).or_default();
        for (position, row) in rows.iter().enumerate() {
            self.places.insert((column, RowLocation { file, row: *row }), (held.len(), position));
        }
        held.push(array);
    }
}

/// The values of a column in rows that were written before the table had it.
fn absent(column: &TableColumn, as_shown: bool, length: usize) -> Result<ArrayRef> {
    if let Some(filling) = &column.filling {
        return filling.rows(&column.column_type, length);
    }
    if !column.added_as_null && !as_shown {
        return Err(never_held(&column.name));
    }
    Ok(new_null_array(&column.column_type.arrow(), length))
}

/// The row was written before the table had the column, so the table never held the value.
fn never_held(column: &str) -> Error {
    Error::operator(
        "unknown_value",
        format!("the log left out column `{column}` as unchanged, and the table never held its value"),
    )
    .with_remedy("give the sink a new name and location, which reads its tables anew")
}
