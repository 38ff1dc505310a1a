//! Reads data files back: whole columns, or single rows by number; those of other writers as if they were our own. Knows
//! nothing of keys or changes.

mod extent;
mod source;

use crate::error::{self, Result};
use crate::store::TableStore;
use crate::typemap::{ColumnType, TableColumn};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchReader as _};
use arrow_schema::{DataType as ArrowType, Field, Schema, TimeUnit};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use source::{Failed, Source};
use std::collections::VecDeque;
use std::sync::Arc;

/// Rows of a batch, and the bytes that they take in memory, nearly: a column of texts must not outgrow 2 GiB.
const ROWS_PER_BATCH: usize = 8_192;
const BYTES_PER_BATCH: u64 = 8 << 20;

/// The columns of a data file that a reader was asked for.
pub(crate) struct ColumnReader {
    reader: ParquetRecordBatchReader,
    /// What comes after it: the next groups of rows, and how many rows to read at a time.
    next: VecDeque<(Vec<usize>, usize)>,
    source: Source,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    place: String,
    names: Vec<String>,
    types: Vec<ColumnType>,
    present: Vec<bool>,
    failed: Failed,
    /// Rows of the whole file.
    pub(crate) rows: u64,
}

impl ColumnReader {
    /// Opens a file of `size` bytes for these columns; with `rows` (ascending) only for those.
    pub(crate) fn open(
        store: &TableStore,
        name: &str,
        size: u64,
        columns: &[&TableColumn],
        rows: Option<&[u32]>,
    ) -> Result<ColumnReader> {
        let names = columns.iter().map(|column| column.file_name().as_ref()).collect::<Vec<&str>>();
        let place = store.place(name);
        let source = Source::open(store, name, size)?;
        let failed = source.failed();
        let pages = if rows.is_some() { PageIndexPolicy::Optional } else { PageIndexPolicy::Skip };
        // Others note their own Arrow types in the file, which are not ours.
        let options = ArrowReaderOptions::new().with_offset_index_policy(pages).with_skip_arrow_metadata(true);
        let metadata =
            ArrowReaderMetadata::load(&source, options.clone()).map_err(|cause| failed.or_damaged(&place, &cause))?;
        let metadata = match without_nanoseconds(metadata.schema()) {
            None => metadata,
            Some(schema) => ArrowReaderMetadata::try_new(Arc::clone(metadata.metadata()), options.with_schema(schema))
                .map_err(|cause| failed.or_damaged(&place, &cause))?,
        };
        let parquet = Arc::clone(metadata.metadata());
        let total = u64::try_from(parquet.file_metadata().num_rows()).unwrap_or(0);
        let fields = parquet.file_metadata().schema_descr().root_schema().get_fields();
        let roots = fields.iter().enumerate();
        let wanted = roots.filter(|(_, field)| names.contains(&field.name())).map(|(at, _)| at).collect::<Vec<_>>();
        let present = names.iter().map(|name| fields.iter().any(|field| field.name() == *name)).collect();
        let mask = ProjectionMask::roots(parquet.file_metadata().schema_descr(), wanted);
        if rows.is_none() || parquet.offset_index().is_none() {
            source.expect(parquet.row_groups().iter().map(|group| extent::places(group, &mask)));
        }
        let mut next = extent::batches(parquet.row_groups(), &mask, (ROWS_PER_BATCH, BYTES_PER_BATCH));
        if rows.is_some() {
            // Rows are counted over the whole file.
            let least = next.iter().map(|(_, rows)| *rows).min().unwrap_or(ROWS_PER_BATCH);
            next = [((0..parquet.num_row_groups()).collect(), least)].into();
        }
        let first = next.pop_front().unwrap_or_default();
        let reader =
            reader(&source, &metadata, &mask, first, rows).map_err(|cause| failed.or_damaged(&place, &cause))?;
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let types = columns.iter().map(|column| column.column_type.clone()).collect();
        Ok(ColumnReader { reader, next, source, metadata, mask, place, names, types, present, failed, rows: total })
    }

    /// As `open`, for all rows of a file that has as many as the log says.
    pub(crate) fn open_whole(
        store: &TableStore,
        name: &str,
        size: u64,
        rows: u64,
        columns: &[&TableColumn],
    ) -> Result<ColumnReader> {
        let reader = ColumnReader::open(store, name, size, columns, None)?;
        if reader.rows != rows {
            return Err(error::damaged(&reader.place, format!("holds {} rows, the log says {rows}", reader.rows)));
        }
        Ok(reader)
    }

    /// Which of the asked columns the file has.
    pub(crate) fn present(&self) -> Vec<bool> {
        self.present.clone()
    }

    /// The next rows: one array for each asked column, `None` for one that the file does not have.
    pub(crate) fn next_arrays(&mut self) -> Result<Option<Vec<Option<ArrayRef>>>> {
        let batch: RecordBatch = loop {
            match self.reader.next() {
                Some(Ok(batch)) => break batch,
                Some(Err(cause)) => return Err(self.failed.or_damaged(&self.place, &cause)),
                None => {}
            }
            let Some(groups) = self.next.pop_front() else { return Ok(None) };
            let opened = reader(&self.source, &self.metadata, &self.mask, groups, None);
            self.reader = opened.map_err(|cause| self.failed.or_damaged(&self.place, &cause))?;
        };
        let columns = self.names.iter().zip(&self.types);
        columns.map(|(name, kind)| self.as_declared(batch.column_by_name(name), kind)).collect::<Result<_>>().map(Some)
    }

    /// Whether all asked columns that the file has are of the table's types, and not of narrower ones from before.
    pub(crate) fn is_as_declared(&self) -> bool {
        let schema = self.reader.schema();
        let is_same = |(name, kind): (&String, &ColumnType)| {
            schema.field_with_name(name).map_or(true, |field| is_of(field.data_type(), kind))
        };
        self.names.iter().zip(&self.types).all(is_same)
    }

    fn as_declared(&self, array: Option<&ArrayRef>, kind: &ColumnType) -> Result<Option<ArrayRef>> {
        let Some(array) = array.filter(|array| !is_of(array.data_type(), kind)) else { return Ok(array.cloned()) };
        let bad = || error::damaged(&self.place, format!("holds {} instead of Delta's `{kind}`", array.data_type()));
        kind.widen(array).map(Some).ok_or_else(bad)
    }
}

/// A reader of these groups of rows, so many rows at a time.
fn reader(
    source: &Source,
    metadata: &ArrowReaderMetadata,
    mask: &ProjectionMask,
    (groups, batch): (Vec<usize>, usize),
    rows: Option<&[u32]>,
) -> Result<ParquetRecordBatchReader, ParquetError> {
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(source.clone(), metadata.clone());
    let builder = builder.with_projection(mask.clone()).with_row_groups(groups).with_batch_size(batch);
    let builder = match rows {
        Some(rows) => builder.with_row_selection(selection(rows)),
        None => builder,
    };
    builder.build()
}

/// Without building the type of a column anew for each batch, which texts of a time zone would allocate for.
fn is_of(found: &ArrowType, kind: &ColumnType) -> bool {
    match (found, kind) {
        (ArrowType::List(field), ColumnType::Array(element)) => is_of(field.data_type(), element),
        (ArrowType::Int64, ColumnType::Long) | (ArrowType::Utf8, ColumnType::String) => true,
        _ => *found == kind.arrow(),
    }
}

/// The schema to read a file by that Spark wrote with its old form of timestamps, which Arrow takes for nanoseconds: those
/// end in the year 2262. `None` for any other file.
fn without_nanoseconds(schema: &Schema) -> Option<Arc<Schema>> {
    fn of(field: &Field) -> Option<Field> {
        match field.data_type() {
            ArrowType::Timestamp(TimeUnit::Nanosecond, None) => {
                let micros = ArrowType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
                Some(field.clone().with_data_type(micros))
            }
            ArrowType::List(item) => of(item).map(|item| field.clone().with_data_type(ArrowType::List(Arc::new(item)))),
            _ => None,
        }
    }
    let fields: Vec<Option<Field>> = schema.fields().iter().map(|field| of(field)).collect();
    if fields.iter().all(Option::is_none) {
        return None;
    }
    let fields =
        fields.into_iter().zip(schema.fields()).map(|(new, old)| new.map_or_else(|| Arc::clone(old), Arc::new));
    Some(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

fn selection(rows: &[u32]) -> RowSelection {
    let mut selectors = Vec::with_capacity(rows.len() * 2);
    let mut next = 0;
    for row in rows {
        let row = *row as usize;
        if row > next {
            selectors.push(RowSelector::skip(row - next));
        }
        selectors.push(RowSelector::select(1));
        next = row + 1;
    }
    RowSelection::from(selectors)
}

#[cfg(test)]
mod tests;
