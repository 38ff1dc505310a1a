//! Reads data files back: whole columns, or single rows by number; those of other writers as if they were our own. Knows
//! nothing of keys or changes.

use crate::error::{self, Result};
use crate::store::TableStore;
use crate::typemap::{ColumnType, TableColumn};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchReader as _};
use arrow_schema::{DataType as ArrowType, Field, Schema, TimeUnit};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder, RowSelection,
    RowSelector,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::PageIndexPolicy;
use parquet::file::reader::{ChunkReader, Length};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use tidewire_core::Error;

/// Bytes that one request to an object store asks for when pages follow each other.
const READ_AHEAD_BYTES: u64 = 1 << 20;
const ROWS_PER_BATCH: usize = 8_192;

/// A data file's bytes, on disk or in a bucket.
struct Source {
    store: TableStore,
    name: String,
    size: u64,
    file: Option<File>,
    failed: Failed,
}

/// Why the store did not give what was asked for last. Arrow makes a text of every cause; whether a call may be repeated, or a
/// file is damaged, would be lost.
#[derive(Clone, Debug, Default)]
struct Failed(Arc<Mutex<Option<Error>>>);

impl Failed {
    /// Keeps an error; hands out a stand-in.
    fn keep(&self, error: Error) -> std::io::Error {
        let stand_in = std::io::Error::other(error.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        stand_in
    }

    fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What a fault of the reader means: its cause is the store's, else the file's content.
    fn or_damaged(&self, place: &str, cause: &impl std::fmt::Display) -> Error {
        self.take().unwrap_or_else(|| error::damaged(place, cause.to_string()))
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Source {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        if let Some(file) = &self.file {
            let sought = file.try_clone().and_then(|mut file| file.seek(SeekFrom::Start(start)).map(|_| file));
            let file = sought.map_err(|cause| self.local(cause))?;
            return Ok(Box::new(BufReader::new(Local {
                file,
                place: self.store.place(&self.name),
                failed: self.failed.clone(),
            })));
        }
        let (store, name, size, failed) = (self.store.clone(), self.name.clone(), self.size, self.failed.clone());
        Ok(Box::new(Ahead { store, name, size, at: start, held: Bytes::new(), failed }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // A damaged footer may ask for anything.
        let end = start.checked_add(length as u64).filter(|end| *end <= self.size);
        let range = start..end.ok_or_else(|| ParquetError::EOF("the file is shorter".to_owned()))?;
        if range.is_empty() {
            // The dictionary of a column without a value, where it is not compressed. No store gives an empty range.
            return Ok(Bytes::new());
        }
        if let Some(file) = &self.file {
            let mut bytes = vec![0; length];
            return match file.read_exact_at(&mut bytes, start) {
                Ok(()) => Ok(bytes.into()),
                Err(cause) if cause.kind() == std::io::ErrorKind::UnexpectedEof => {
                    Err(ParquetError::EOF("the file is shorter".to_owned()))
                }
                Err(cause) => Err(self.local(cause).into()),
            };
        }
        let bytes = piece(&self.store, &self.name, range, &self.failed)?;
        if bytes.len() == length { Ok(bytes) } else { Err(ParquetError::EOF("the object is shorter".to_owned())) }
    }
}

impl Source {
    fn local(&self, cause: std::io::Error) -> std::io::Error {
        self.failed.keep(error::local_io("read", &self.store.place(&self.name), cause))
    }
}

/// Bytes of an object. A store refuses a piece behind the object's end as it refuses anything else, so its size is asked for.
fn piece(store: &TableStore, name: &str, range: Range<u64>, failed: &Failed) -> std::io::Result<Bytes> {
    let start = range.start;
    let what = match store.get_range(name, range) {
        Ok(Some(bytes)) => return Ok(bytes),
        Ok(None) => "it is missing",
        Err(_) if matches!(store.head(name), Ok(Some(object)) if object.size <= start) => "it ends too early",
        Err(cause) => return Err(failed.keep(cause)),
    };
    Err(failed.keep(error::damaged(&store.place(name), what)))
}

/// Reads a file in order.
struct Local {
    file: File,
    place: String,
    failed: Failed,
}

impl Read for Local {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        match self.file.read(out) {
            Err(cause) if cause.kind() != std::io::ErrorKind::Interrupted => {
                Err(self.failed.keep(error::local_io("read", &self.place, cause)))
            }
            read => read,
        }
    }
}

/// Reads an object in order, a piece at a time.
struct Ahead {
    store: TableStore,
    name: String,
    size: u64,
    at: u64,
    held: Bytes,
    failed: Failed,
}

impl Read for Ahead {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.held.is_empty() && self.at < self.size {
            let range = self.at..self.size.min(self.at + READ_AHEAD_BYTES);
            self.held = piece(&self.store, &self.name, range, &self.failed)?;
        }
        let count = out.len().min(self.held.len());
        let piece = self.held.split_to(count);
        if let Some(target) = out.get_mut(..count) {
            target.copy_from_slice(&piece);
        }
        self.at += count as u64;
        Ok(count)
    }
}

/// The columns of a data file that a reader was asked for.
pub(crate) struct ColumnReader {
    reader: ParquetRecordBatchReader,
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
        let file = match store.local_file(name)? {
            Some(path) => Some(File::open(path).map_err(|cause| {
                // Under a directory that is there, a file that the log names has been taken away.
                let is_there = || store.local_path().is_some_and(|directory| directory.is_dir());
                match cause.kind() == std::io::ErrorKind::NotFound && is_there() {
                    true => error::damaged(&place, "it is missing").with_cause(cause),
                    false => error::local_io("open", &place, cause),
                }
            })?),
            None => None,
        };
        let failed = Failed::default();
        let source = Source { store: store.clone(), name: name.to_owned(), size, file, failed: failed.clone() };
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
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(source, metadata);
        let total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(0);
        let roots = builder.parquet_schema().root_schema().get_fields().iter().enumerate();
        let wanted = roots.filter(|(_, field)| names.contains(&field.name())).map(|(at, _)| at).collect::<Vec<_>>();
        let fields = builder.parquet_schema().root_schema().get_fields();
        let present = names.iter().map(|name| fields.iter().any(|field| field.name() == *name)).collect();
        let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
        let mut builder = builder.with_projection(mask).with_batch_size(ROWS_PER_BATCH);
        if let Some(rows) = rows {
            builder = builder.with_row_selection(selection(rows));
        }
        let reader = builder.build().map_err(|cause| failed.or_damaged(&place, &cause))?;
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        let types = columns.iter().map(|column| column.column_type.clone()).collect();
        Ok(ColumnReader { reader, place, names, types, present, failed, rows: total })
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
        let batch: RecordBatch = match self.reader.next() {
            None => return Ok(None),
            Some(Ok(batch)) => batch,
            Some(Err(cause)) => return Err(self.failed.or_damaged(&self.place, &cause)),
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
