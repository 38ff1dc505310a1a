//! What other writers have done to a mirror's files, while changes wait for their commit: the index learns where rows are
//! now, and the deletions that wait are made out for the files that are there. To other writers' changes those that wait
//! come later, so of one key the row that waits wins.

use super::Mirror;
use super::load::{read_keys, two_rows, with_partition_columns};
use crate::encode::key::KeyId;
use crate::encode::read::ColumnReader;
use crate::error::{self, Result};
use crate::layout::Layout;
use crate::log::{LiveFile, Table};
use crate::parts::Parts;
use arrow_array::Array as _;
use roaring::RoaringBitmap;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

impl Mirror {
    /// Follows others' changes of the files in `touched`. The mirror must have been loaded, and `parts` be closed. The keys of
    /// rows that wait to be deleted and that others have moved are in memory meanwhile.
    ///
    /// # Errors
    /// When the table has two rows of one key.
    pub(crate) fn adopt(
        &mut self,
        table: &mut Table,
        parts: &mut Parts,
        layout: &Layout,
        touched: &BTreeSet<Arc<str>>,
    ) -> Result<()> {
        let known: BTreeMap<String, u32> = parts.files().named().map(|(at, path)| (path.to_owned(), at)).collect();
        let (known, new): (Vec<_>, Vec<_>) =
            touched.iter().map(|path| (path, known.get(&**path))).partition(|(_, at)| at.is_some());
        let mut superseded = HashSet::new();
        for (path, ordinal) in known.into_iter().filter_map(|(path, ordinal)| Some((path, *ordinal?))) {
            let now = match table.file(path) {
                Some(_) => Some(Arc::clone(table.deleted_rows(path)?)),
                None => None,
            };
            let waiting = parts.deletes_of(ordinal).cloned().unwrap_or_default();
            let gone = now.as_ref().map_or_else(|| waiting.clone(), |now| &waiting & now.as_ref());
            self.keys_of(table, parts, layout, (ordinal, &gone), &mut superseded)?;
            match now {
                Some(now) => parts.files_mut().set_deleted(ordinal, now),
                None => parts.forget_file(ordinal),
            }
        }
        for (path, _) in new {
            let Some(LiveFile { path, size, num_records: rows, partition, .. }) = table.file(path).cloned() else {
                continue;
            };
            let ordinal = parts.files_mut().know(None, path, size, &partition);
            self.adopt_file(table, parts, layout, (ordinal, rows), &superseded)?;
            if self.index_bytes() > super::LOAD_BYTES_MAX {
                self.spill_index(parts)?;
            }
        }
        Ok(())
    }

    /// The keys of these rows of a file.
    fn keys_of(
        &mut self,
        table: &Table,
        parts: &Parts,
        layout: &Layout,
        (file, rows): (u32, &RoaringBitmap),
        keys: &mut HashSet<KeyId>,
    ) -> Result<()> {
        let Some(entry) = parts.files().get(file).filter(|_| !rows.is_empty()) else { return Ok(()) };
        let rows: Vec<u32> = rows.iter().collect();
        let columns = layout.key.iter().filter_map(|at| layout.columns.get(*at)).collect::<Vec<_>>();
        let mut reader = ColumnReader::open(table.store(), &entry.path, entry.size, &columns, Some(&rows))?;
        let mut ids = Vec::new();
        while let Some(arrays) = reader.next_arrays()? {
            ids.clear();
            let length = arrays.iter().flatten().map(|array| array.len()).next().unwrap_or(0);
            let arrays = with_partition_columns(layout, &layout.key, &entry.partition, (arrays, length));
            let read = arrays.and_then(|arrays| self.codec.ids_of_arrays(&arrays, &mut ids));
            let place = || table.store().place(&entry.path);
            read.ok_or_else(|| error::damaged(&place(), "its key columns are not those of the table"))?;
            keys.extend(ids.iter().copied());
        }
        Ok(())
    }

    /// The rows of one file of others.
    fn adopt_file(
        &mut self,
        table: &mut Table,
        parts: &mut Parts,
        layout: &Layout,
        (file, rows): (u32, u64),
        superseded: &HashSet<KeyId>,
    ) -> Result<()> {
        let mut codec = self.codec.clone();
        let file = (file, Some(rows));
        read_keys(Some(table), parts, layout, file, &mut codec, |table, parts, ids, locations| {
            let Some(table) = table else { return Ok(()) };
            self.prefetch(ids, Some(table), parts)?;
            for (id, location) in ids.iter().zip(locations).filter_map(|(id, at)| Some((id, (*at)?))) {
                match self.find(parts, *id)? {
                    Some(other) if is_of_table(table, parts, other.file) => {
                        return Err(two_rows(parts, other, location));
                    }
                    // A newer row waits for its commit.
                    Some(_) => parts.delete(location),
                    None if superseded.contains(id) => parts.delete(location),
                    None => self.index.insert(*id, location),
                }
            }
            Ok(())
        })
    }
}

/// Whether the table's commits have shown the file.
fn is_of_table(table: &Table, parts: &Parts, file: u32) -> bool {
    parts.files().get(file).is_some_and(|entry| table.file(&entry.path).is_some())
}
