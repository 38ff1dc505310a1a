//! The index of a table that is there already: only files that it has not seen are read. An index that has seen none
//! is built from the key columns alone, in bounded memory, and proves that no key has two rows.

use super::{Loaded, Mirror, current_rows};
use crate::encode::partition::array_of;
use crate::encode::read::ColumnReader;
use crate::encode::row::IdCodec;
use crate::error::{self, Result};
use crate::index::{RowLocation, RunBuilder};
use crate::layout::Layout;
use crate::log::{Partition, Table};
use crate::parts::Parts;
use arrow_array::{Array, ArrayRef};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewire_core::Error;

/// Rows up to which an index is built in memory, like that of a table which has just begun.
const ROWS_IN_MEMORY_MAX: u64 = 200_000;
/// How often a long build says how far it is.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Tells the operator how far a long work on a table's rows is.
pub(crate) struct Teller {
    what: &'static str,
    table: String,
    rows: u64,
    done: u64,
    begun: Instant,
    told: Instant,
}

impl Mirror {
    /// Makes the table's files known to `parts`, and the rows of those that the index has not seen known to the index.
    /// Before the first change.
    pub(crate) fn load(&mut self, table: &mut Table, parts: &mut Parts, layout: &Layout) -> Result<Loaded> {
        self.index.reach(table.own_version());
        let seen: BTreeMap<String, u32> = std::mem::take(&mut self.covered).into_iter().map(|(n, p)| (p, n)).collect();
        parts.skip_to(self.index.next_file());
        for (path, ordinal) in &seen {
            if table.file(path).is_none() {
                parts.files_mut().forget(*ordinal);
            }
        }
        let mut unseen = Vec::new();
        let mut loaded = Loaded::default();
        for file in table.files() {
            let (seen, rows) = (seen.get(&file.path).copied(), file.num_records);
            loaded.rows += rows;
            let ordinal = parts.files_mut().know(seen, file.path.clone(), file.size, &file.partition);
            if file.deletion_vector.is_none() {
                // There is nothing to read, and so nothing that looking keys up would have to wait for.
                parts.files_mut().set_deleted(ordinal, Arc::default());
            }
            if seen.is_none() {
                loaded.rows_read += rows;
                unseen.push((ordinal, rows));
            }
        }
        let paths = unseen.iter().filter_map(|(ordinal, _)| parts.files().unread(*ordinal));
        table.read_deleted(paths)?;
        let mut teller = Teller::new("building the key index", table.store().place(""), loaded.rows_read);
        let is_empty = self.index.run_count() == 0;
        if is_empty && loaded.rows_read > ROWS_IN_MEMORY_MAX {
            self.build(table, parts, layout, &unseen, &mut teller)?;
        } else {
            for (file, rows) in &unseen {
                self.catch_up(table, parts, layout, (*file, *rows), &mut teller)?;
            }
        }
        self.committed(parts, table.own_version())?;
        loaded.index_bytes = self.index.run_bytes();
        Ok(loaded)
    }

    /// Adds the rows of one file to what the index holds in memory.
    fn catch_up(
        &mut self,
        table: &mut Table,
        parts: &mut Parts,
        layout: &Layout,
        file: (u32, u64),
        teller: &mut Teller,
    ) -> Result<()> {
        let mut codec = self.codec.clone();
        let (file, rows) = file;
        read_keys(Some(table), parts, layout, (file, Some(rows)), &mut codec, |mut table, parts, ids, locations| {
            teller.add(ids.len());
            self.prefetch(ids, table.as_deref_mut(), parts)?;
            for (id, location) in ids.iter().zip(locations).filter_map(|(id, at)| Some((id, (*at)?))) {
                if let Some(other) = self.find(parts, *id)? {
                    return Err(two_rows(parts, other, location));
                }
                self.index.insert(*id, location);
            }
            Ok(())
        })?;
        if self.index_bytes() > super::LOAD_BYTES_MAX {
            self.spill_index(parts)?;
        }
        Ok(())
    }

    /// Builds the index of all files at once, beside memory.
    fn build(
        &mut self,
        table: &mut Table,
        parts: &mut Parts,
        layout: &Layout,
        files: &[(u32, u64)],
        teller: &mut Teller,
    ) -> Result<()> {
        let mark = self.index.mark();
        let mut run: RunBuilder = self.index.run_builder();
        let mut codec = self.codec.clone();
        for file in files {
            let (file, rows) = *file;
            read_keys(Some(table), parts, layout, (file, Some(rows)), &mut codec, |_, _, ids, locations| {
                teller.add(ids.len());
                for (id, location) in ids.iter().zip(locations) {
                    if let Some(location) = location {
                        run.push(*id, *location)?;
                    }
                }
                Ok(())
            })?;
        }
        let covered = parts.files().named().map(|(ordinal, path)| (ordinal, path.to_owned())).collect();
        self.index.add_run(mark, run.finish()?, covered, parts.files().gone())?;
        let mut proof = Teller::new("proving that no key has two rows", table.store().place(""), 0);
        let twice = self.index.prove_unique(|location| parts.is_live(location), |done, of| proof.tell(done, of))?;
        twice.map_or(Ok(()), |(first, second)| Err(two_rows(parts, first, second)))
    }
}

/// Calls back for each batch of a file's rows, which are `rows` if that is known: their ids, and where those are that are not deleted and, in a history,
/// current.
pub(super) fn read_keys(
    mut table: Option<&mut Table>,
    parts: &mut Parts,
    layout: &Layout,
    (file, rows): (u32, Option<u64>),
    codec: &mut IdCodec,
    mut each: impl FnMut(Option<&mut Table>, &mut Parts, &[crate::encode::key::KeyId], &[Option<RowLocation>]) -> Result<()>,
) -> Result<()> {
    let Some(entry) = parts.files().get(file).cloned() else { return Ok(()) };
    let (path, size) = (entry.path, entry.size);
    // Of a file that no commit has named yet none is deleted, as far as commits go.
    let deleted = match table.as_deref_mut().filter(|table| table.file(&path).is_some()) {
        Some(table) => Arc::clone(table.deleted_rows(&path)?),
        None => Arc::default(),
    };
    parts.files_mut().set_deleted(file, Arc::clone(&deleted));
    let store = parts.store().clone();
    let place = store.place(&path);
    let current = layout.current();
    let is_history = current.is_some();
    let identity = layout.identity();
    let columns = identity.iter().chain(&current).filter_map(|at| layout.columns.get(*at)).collect::<Vec<_>>();
    let mut reader = match rows {
        Some(rows) => ColumnReader::open_whole(&store, &path, size, rows, &columns)?,
        None => ColumnReader::open(&store, &path, size, &columns, None)?,
    };
    let (mut row, mut ids, mut locations) = (0u32, Vec::new(), Vec::new());
    while let Some(mut arrays) = reader.next_arrays()? {
        ids.clear();
        locations.clear();
        let whole = if is_history { arrays.last().cloned().flatten() } else { None };
        let current = arrays.pop_if(|_| is_history).map(|array| {
            current_rows(array).ok_or_else(|| error::damaged(&place, "it does not tell which rows are current"))
        });
        let current = current.transpose()?;
        let length = arrays.iter().flatten().chain(&whole).map(|array| array.len()).next().unwrap_or(0);
        let arrays = with_partition_columns(layout, &identity, &entry.partition, (arrays, length));
        let read = arrays.and_then(|arrays| codec.ids_of_arrays(&arrays, &mut ids));
        read.ok_or_else(|| error::damaged(&place, "its key columns are not those of the table"))?;
        for (at, row) in (row..).take(ids.len()).enumerate() {
            let is_current = current.as_ref().is_none_or(|current| current.value(at));
            locations.push((is_current && !deleted.contains(row)).then_some(RowLocation { file, row }));
        }
        row += ids.len() as u32;
        each(table.as_deref_mut(), parts, &ids, &locations)?;
    }
    Ok(())
}

/// The columns of so many rows of a file, with those that it is partitioned by: they are not in the file. `None` when one has
/// no value of its type.
pub(super) fn with_partition_columns(
    layout: &Layout,
    columns: &[usize],
    partition: &Partition,
    (arrays, length): (Vec<Option<ArrayRef>>, usize),
) -> Option<Vec<Option<ArrayRef>>> {
    let column = |(array, at): (Option<ArrayRef>, &usize)| match array {
        None if layout.partition.contains(at) => array_of(layout.columns.get(*at)?, partition, length).map(Some),
        array => Some(array),
    };
    arrays.into_iter().zip(columns).map(column).collect()
}

/// The table is not what this writer left.
pub(super) fn two_rows(parts: &Parts, first: RowLocation, second: RowLocation) -> Error {
    let path = |at: RowLocation| parts.files().get(at.file).map_or("?", |file| &file.path).to_owned();
    let what = format!("row {} has the key of row {} of `{}`", second.row, first.row, path(first));
    Error::operator("duplicate_key", format!("read `{}`: {what}", parts.store().place(&path(second)))).with_remedy(
        "delete one of the two rows with another writer, under `foreign_writes = \"adopt\"`, and restart, or give the sink a new name and \
         location, which reads its tables anew",
    )
}

impl Teller {
    /// For so many rows of the table at this place.
    pub(crate) fn new(what: &'static str, table: String, rows: u64) -> Teller {
        let now = Instant::now();
        Teller { what, table, rows, done: 0, begun: now, told: now }
    }

    /// So many rows more are done.
    pub(crate) fn add(&mut self, rows: usize) {
        self.done += rows as u64;
        self.tell(self.done, self.rows);
    }

    fn tell(&mut self, rows: u64, of: u64) {
        if self.told.elapsed() < TELL_EVERY {
            return;
        }
        self.told = Instant::now();
        let rate = rows as f64 / self.begun.elapsed().as_secs_f64().max(0.001);
        let left = of.saturating_sub(rows) as f64 / rate.max(1.0);
        let (table, rows_per_second, seconds_left) = (&self.table, rate as u64, left as u64);
        tracing::info!(table, rows, of, rows_per_second, seconds_left, "{}", self.what);
    }
}
