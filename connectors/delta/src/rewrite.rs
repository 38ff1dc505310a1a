//! A data file written anew with the table's types of today: the same rows in the same places, deleted ones too, so that
//! whatever names a row by its number stays true. Knows nothing of commits.

use crate::encode::file::PartWriter;
use crate::encode::read::ColumnReader;
use crate::error::Result;
use crate::log::{NewFile, Partition};
use crate::mirror::Teller;
use crate::store::TableStore;
use crate::typemap::TableColumn;
use arrow_array::ArrayRef;

/// What copies are made with.
pub(crate) struct Rewriter {
    /// The table's directory.
    pub(crate) store: TableStore,
    /// The table's columns.
    pub(crate) columns: Vec<TableColumn>,
    /// Positions in `columns` of those that get statistics.
    pub(crate) stats: Vec<usize>,
    /// Says how far it is.
    pub(crate) teller: Teller,
}

impl Rewriter {
    /// A copy of a file of so many bytes and rows; `None` when its columns are of the table's types.
    pub(crate) fn copy(&mut self, path: &str, size: u64, rows: u64) -> Result<Option<NewFile>> {
        let columns = self.columns.iter().collect::<Vec<_>>();
        let mut reader = ColumnReader::open_whole(&self.store, path, size, rows, &columns)?;
        if reader.is_as_declared() {
            self.teller.add(usize::try_from(rows).unwrap_or(usize::MAX));
            return Ok(None);
        }
        let mut out =
            PartWriter::create_some(&self.store, &self.columns, &self.stats, &reader.present(), Partition::default())?;
        while let Some(arrays) = reader.next_arrays()? {
            let arrays = arrays.into_iter().flatten().collect::<Vec<ArrayRef>>();
            self.teller.add(arrays.first().map_or(0, |array| array.len()));
            out.write(arrays)?;
        }
        out.finish().map(Some)
    }
}
