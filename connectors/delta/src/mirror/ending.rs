//! The truncate of a history: every version that is open ends, in bounded memory. Their rows are looked for in the files, as the
//! index cannot tell which of its facts are about rows that are live.

use super::Mirror;
use crate::encode::read::ColumnReader;
use crate::error::{self, Result};
use crate::history::Versions;
use crate::index::RowLocation;
use crate::layout::Layout;
use crate::log::Table;
use crate::parts::Parts;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray};
use std::sync::Arc;
use tidewire_core::{Batch, Change};

/// Memory that copies take before they are written to a file, in bytes.
const COPIES_BYTES_MAX: usize = 4 << 20;
/// So many copies between two looks at the memory.
const COPIES_BETWEEN: u64 = 64;

impl Mirror {
    /// Ends all versions. The table must have been loaded.
    pub(crate) fn end_all(
        &mut self,
        parts: &mut Parts,
        layout: &Layout,
        batch: &Batch,
        change: &Change,
        mut table: Option<&mut Table>,
    ) -> Result<()> {
        let Some(mut versions) = Versions::of(layout)? else { return Ok(()) };
        versions.turn_to(batch, change);
        // What is added from here on are copies, in files that are not looked through.
        self.close(parts)?;
        let files: Vec<(u32, String)> = parts.files().named().map(|(file, path)| (file, path.to_owned())).collect();
        for (file, path) in files {
            if let (Some(_), Some(table)) = (parts.files().unread(file), &mut table) {
                let deleted = Arc::clone(table.deleted_rows(&path)?);
                parts.files_mut().set_deleted(file, deleted);
            }
            self.end_those_of(parts, &versions, layout, (file, &path))?;
        }
        Ok(())
    }

    fn end_those_of(
        &mut self,
        parts: &mut Parts,
        versions: &Versions,
        layout: &Layout,
        (file, path): (u32, &str),
    ) -> Result<()> {
        let Some(size) = parts.files().get(file).map(|entry| entry.size) else { return Ok(()) };
        let place = parts.store().place(path);
        let current = layout.current().and_then(|at| layout.columns.get(at));
        let columns = current.into_iter().collect::<Vec<_>>();
        let mut reader = ColumnReader::open(parts.store(), path, size, &columns, None)?;
        let mut next = 0u32;
        while let Some(arrays) = reader.next_arrays()? {
            let current = current_rows(arrays.first().cloned().flatten())
                .ok_or_else(|| error::damaged(&place, "it does not tell which rows are current"))?;
            for (row, is_current) in (next..).zip(current.values()) {
                let version = RowLocation { file, row };
                if is_current && parts.is_live(version) {
                    self.end(parts, versions, version)?;
                    self.counts.deleted += 1;
                    if self.counts.deleted.is_multiple_of(COPIES_BETWEEN)
                        && parts.buffered_bytes() + self.buffered_bytes() > COPIES_BYTES_MAX
                    {
                        self.flush(parts)?;
                    }
                }
            }
            next += current.len() as u32;
        }
        Ok(())
    }
}

/// A data file's column that tells rows as they are from rows as they were; `None` when it does not.
pub(crate) fn current_rows(array: Option<ArrayRef>) -> Option<BooleanArray> {
    array?.as_boolean_opt().filter(|rows| rows.null_count() == 0).cloned()
}
