//! A data file written anew with the table's columns of today: the same rows in the same places, deleted ones too, so that
//! whatever names a row by its number stays true. Knows nothing of commits.

use crate::encode::file::PartWriter;
use crate::encode::filling::{repeat, rows_at_once};
use crate::encode::read::ColumnReader;
use crate::error::{self, Result};
use crate::log::{NewFile, Partition};
use crate::mirror::Teller;
use crate::store::TableStore;
use crate::typemap::TableColumn;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, new_null_array};
use arrow_schema::DataType as ArrowType;
use arrow_select::zip::zip;
use tidewire_core::Error;

/// What copies are made with.
pub(crate) struct Rewriter {
    /// The table's directory.
    pub(crate) store: TableStore,
    /// The table's columns. Those with a filling have it in the copies of files that lack them.
    pub(crate) columns: Vec<TableColumn>,
    /// Positions in `columns` of those that get statistics.
    pub(crate) stats: Vec<usize>,
    /// Whether files with narrower types than the table's are copied for that alone.
    pub(crate) widens: bool,
    /// In a history, the position of the column that tells rows as they are: only those have ever had a filling.
    pub(crate) current: Option<usize>,
    /// Says how far it is.
    pub(crate) teller: Teller,
}

/// A copy.
pub(crate) struct Copied {
    pub(crate) file: NewFile,
    /// Whether its rows have values that the original's have not.
    pub(crate) is_filled: bool,
}

impl Rewriter {
    /// A copy of a file, in the same partition; `None` when it is as the table's columns ask for.
    pub(crate) fn copy(&mut self, file: &NewFile) -> Result<Option<Copied>> {
        let rows = file.num_records;
        let columns = self.columns.iter().collect::<Vec<_>>();
        let mut reader = ColumnReader::open_whole(&self.store, &file.path, file.size, rows, &columns)?;
        let mut present = reader.present();
        let fillings = self.fillings(&present)?;
        let is_narrow = self.widens && !reader.is_as_declared();
        if !is_narrow && fillings.iter().all(Option::is_none) {
            self.teller.add(usize::try_from(rows).unwrap_or(usize::MAX));
            return Ok(None);
        }
        present.iter_mut().zip(&fillings).for_each(|(present, filling)| *present |= filling.is_some());
        let step = fillings.iter().flatten().map(rows_at_once).min().unwrap_or(usize::MAX);
        let partition = Partition::clone(&file.partition);
        let mut out = PartWriter::create_some(&self.store, &self.columns, &self.stats, &present, partition)?;
        while let Some(arrays) = reader.next_arrays()? {
            let length = arrays.iter().flatten().next().map_or(0, |array| array.len());
            let mut start = 0;
            while start < length {
                let count = step.min(length - start);
                let slice = arrays.iter().map(|array| array.as_ref().map(|array| array.slice(start, count)));
                out.write(self.filled(slice.collect(), &fillings, count)?)?;
                start += count;
            }
            self.teller.add(length);
        }
        let is_filled = fillings.iter().any(Option::is_some);
        Ok(Some(Copied { file: out.finish()?, is_filled }))
    }

    /// For each column that a file lacks and that has a filling, the value in one row.
    fn fillings(&self, present: &[bool]) -> Result<Vec<Option<ArrayRef>>> {
        let filling = |(column, present): (&TableColumn, &bool)| {
            let filling = column.filling.as_ref().filter(|_| !present);
            filling.map(|filling| filling.rows(&column.column_type, 1)).transpose()
        };
        self.columns.iter().zip(present).map(filling).collect()
    }

    /// So many rows of a file, with what its columns lack.
    fn filled(
        &self,
        arrays: Vec<Option<ArrayRef>>,
        fillings: &[Option<ArrayRef>],
        rows: usize,
    ) -> Result<Vec<ArrayRef>> {
        let is_current = match self.current {
            Some(at) if fillings.iter().any(Option::is_some) => Some(self.current_rows(arrays.get(at))?),
            _ => None,
        };
        let mut out = Vec::with_capacity(arrays.len());
        for (array, filling) in arrays.into_iter().zip(fillings) {
            match (array, filling) {
                (Some(array), _) => out.push(array),
                (None, Some(one)) => out.push(match &is_current {
                    None => repeat(one, rows)?,
                    Some(current) => only_in(current, &repeat(one, rows)?)?,
                }),
                (None, None) => {}
            }
        }
        Ok(out)
    }

    fn current_rows(&self, array: Option<&Option<ArrayRef>>) -> Result<BooleanArray> {
        let array = array.and_then(Option::as_ref).filter(|array| *array.data_type() == ArrowType::Boolean);
        let bad = || error::damaged(&self.store.place(""), "a file of the history does not tell its current rows");
        array.map(|array| array.as_boolean().clone()).ok_or_else(bad)
    }
}

/// The values in these rows, null in the others.
fn only_in(rows: &BooleanArray, values: &ArrayRef) -> Result<ArrayRef> {
    let nulls = new_null_array(values.data_type(), values.len());
    zip(rows, values, &nulls).map_err(|cause| Error::bug("delta_filling", "fill current rows").with_cause(cause))
}
