//! A mirror's change data feed: tells `parts` which rows come and go, and settles at a commit's end what each is called. A key
//! that moves is one row that goes and another that comes.
//!
//! What lay in memory until then is called right. Of what had to be written before, the keys of all old rows are read again:
//! the index knows which of them have a row now. A file that turns out to be wrong, or that has rows which the same commit
//! took away, is copied for the feed; so only commits that outgrow memory ever write a row twice.

use super::load::with_partition_columns;
use super::{Mirror, Row, unfit_error};
use crate::encode::key::KeyId;
use crate::encode::read::ColumnReader;
use crate::error::{self, Result};
use crate::index::RowLocation;
use crate::layout::Layout;
use crate::log::NewFile;
use crate::parts::Parts;
use crate::parts::feed::{AFTER, BEFORE, DELETED, INSERTED, Written, new_file, with_change_column};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, StringArray, new_null_array};
use arrow_select::filter::filter;
use roaring::RoaringBitmap;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::{Error, Value};

/// New rows, by the ordinal of their file.
type Rows = BTreeMap<u32, RoaringBitmap>;

/// What is told in a commit's feed beside the changes of rows.
#[derive(Default)]
pub(crate) struct Told {
    /// Files of which all rows go, with what was deleted of them before.
    pub(crate) emptied: Vec<(NewFile, Arc<RoaringBitmap>)>,
    /// Files whose rows get values in new columns.
    pub(crate) filled: Vec<Filled>,
    /// Columns have got wider types, which files of changes are to have as well.
    pub(crate) is_widened: bool,
}

/// A file whose rows get values in new columns.
pub(crate) struct Filled {
    /// As it was.
    pub(crate) before: NewFile,
    /// The same rows in the same places.
    pub(crate) after: NewFile,
    /// Rows that were deleted, or are so now.
    pub(crate) gone: RoaringBitmap,
}

impl Mirror {
    /// The row of a key goes; `row` is the change that has its values, if any does and the table is the source's alone.
    pub(super) fn leaves(
        parts: &mut Parts,
        layout: &Layout,
        (key, gone): (KeyId, RowLocation),
        is_updated: bool,
        row: Row<'_>,
        has_image: bool,
    ) -> Result<()> {
        if !parts.has_feed() {
            return Ok(());
        }
        let has_image = has_image && !parts.is_fed_from_files();
        let number = layout.number();
        let image = |at: usize| {
            if Some(at) == number {
                return Some(Value::Int(key.number().into()));
            }
            let source = layout.sources.get(at).copied().flatten().filter(|_| has_image)?;
            // What the source says of a row that is older than the column, the table never said.
            let value = layout.columns.get(at).filter(|column| !column.added).map(|_| row.old_value(source))?;
            (value != Value::Unknown).then_some(value)
        };
        let left = parts.leaves(key, gone, is_updated, image);
        left.map_err(|(at, unfit)| unfit_error(row.schema, layout, at, unfit, |source| row.old_value(source)))
    }

    /// Settles what the coming commit's feed names. After `close`, before `seal`.
    pub(crate) fn settle_feed(&mut self, parts: &mut Parts, layout: &Layout, told: Told) -> Result<()> {
        let Told { emptied, filled, is_widened } = told;
        let written = parts.take_written(!emptied.is_empty() || !filled.is_empty());
        let Some(Written { mut old, new, updates, is_open }) = written else { return Ok(()) };
        let mut is_updated = updates.clone();
        if is_open || is_widened {
            is_updated = Rows::new();
            for file in &mut old {
                let (again, is_right) = self.look_again(parts, layout, file, &mut is_updated)?;
                if !is_right || is_widened {
                    let called = |row| Some(if again.contains(row) { BEFORE } else { DELETED });
                    let fixed = copy(parts, layout, file, called)?;
                    parts.store().delete_unnamed(&file.path);
                    *file = fixed;
                }
            }
        }
        let none = RoaringBitmap::new();
        for (ordinal, file, dead) in new {
            let wanted = is_updated.get(&ordinal).unwrap_or(&none);
            if dead.is_empty() && wanted == updates.get(&ordinal).unwrap_or(&none) {
                old.push(file);
                continue;
            }
            let called = |row| match wanted.contains(row) {
                _ if dead.contains(row) => None,
                true => Some(AFTER),
                false => Some(INSERTED),
            };
            old.push(copy(parts, layout, &file, called)?);
        }
        for (file, dead) in emptied {
            old.push(copy(parts, layout, &file, |row| (!dead.contains(row)).then_some(DELETED))?);
        }
        for Filled { before, after, gone } in
            filled.iter().filter(|filled| filled.gone.len() < filled.after.num_records)
        {
            old.push(copy(parts, layout, before, |row| (!gone.contains(row)).then_some(BEFORE))?);
            old.push(copy(parts, layout, after, |row| (!gone.contains(row)).then_some(AFTER))?);
        }
        parts.name_changes(old);
        Ok(())
    }

    /// Looks for the keys of a file of old rows. Adds to `updates` the new rows that have one; returns the old rows whose
    /// key has a new one, and whether the file says so already.
    fn look_again(
        &mut self,
        parts: &Parts,
        layout: &Layout,
        file: &NewFile,
        updates: &mut Rows,
    ) -> Result<(RoaringBitmap, bool)> {
        let all = with_change_column(&layout.columns);
        let identity = layout.identity();
        let columns = identity.iter().filter_map(|at| all.get(*at)).chain(all.last()).collect::<Vec<_>>();
        let bad = || error::damaged(&parts.store().place(&file.path), "it is not what was written a moment ago");
        let mut reader = ColumnReader::open_whole(parts.store(), &file.path, file.size, file.num_records, &columns)?;
        let mut codec = self.codec.clone();
        let (mut row, mut ids, mut again, mut is_right) = (0u32, Vec::new(), RoaringBitmap::new(), true);
        while let Some(mut arrays) = reader.next_arrays()? {
            ids.clear();
            let called = arrays.pop().flatten().ok_or_else(bad)?;
            let called = called.as_string_opt::<i32>().ok_or_else(bad)?;
            let arrays = with_partition_columns(layout, &identity, &file.partition, (arrays, called.len()));
            arrays.and_then(|arrays| codec.ids_of_arrays(&arrays, &mut ids)).ok_or_else(bad)?;
            self.index.prefetch(&ids)?;
            for (id, called) in ids.iter().zip(called) {
                let found = self.find(parts, *id)?;
                if let Some(found) = found {
                    again.insert(row);
                    updates.entry(found.file).or_default().insert(found.row);
                }
                is_right &= called == Some(if found.is_some() { BEFORE } else { DELETED });
                row += 1;
            }
        }
        Ok((again, is_right))
    }
}

/// Copies rows of a file to one of changes; `called` says which, and what they are called.
fn copy(
    parts: &Parts,
    layout: &Layout,
    file: &NewFile,
    called: impl Fn(u32) -> Option<&'static str>,
) -> Result<NewFile> {
    let columns = layout.columns.iter().collect::<Vec<_>>();
    let mut reader = ColumnReader::open_whole(parts.store(), &file.path, file.size, file.num_records, &columns)?;
    let mut out = new_file(parts.store(), &layout.columns, &layout.partition, &file.partition)?;
    let mut row = 0u32;
    while let Some(arrays) = reader.next_arrays()? {
        let rows = arrays.iter().flatten().map(|array| array.len()).next().unwrap_or(0);
        let words = (row..row + rows as u32).map(&called).collect::<Vec<_>>();
        row += rows as u32;
        let keep = words.iter().map(|word| Some(word.is_some())).collect::<BooleanArray>();
        let columns = arrays.into_iter().zip(&layout.columns);
        // A file that was begun before a column came shows null there; those of its partition lie in no file.
        let columns =
            columns.map(|(array, column)| array.unwrap_or_else(|| new_null_array(&column.column_type.arrow(), rows)));
        let words: ArrayRef = Arc::new(words.into_iter().collect::<StringArray>());
        let sift = |array: ArrayRef| {
            filter(&array, &keep).map_err(|cause| Error::bug("delta_column", "copy changes").with_cause(cause))
        };
        let kept = columns.chain([words]).map(sift).collect::<Result<Vec<_>>>()?;
        if kept.first().is_some_and(|array| !array.is_empty()) {
            out.write(kept)?;
        }
    }
    out.finish()
}
