//! Writes one Parquet data file, row group by row group, through the table's durable writer. Knows nothing of
//! keys, changes or commits.

use super::dictionary;
use super::partition::folder;
use super::stats::Stats;
use crate::ambient::{self, Limit, limit};
use crate::compression::Compression;
use crate::error::{self, Result};
use crate::log::{NewFile, Partition};
use crate::store::{DataFile, TableStore};
use crate::typemap::TableColumn;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{Field, Schema};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::arrow::{ArrowWriter, PARQUET_FIELD_ID_META_KEY};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::Arc;
use tidewire_core::Error;

/// Rows and encoded bytes of a row group, which the writer holds in memory until it ends.
const ROW_GROUP_ROWS_MAX: usize = 1 << 20;
const ROW_GROUP_BYTES_MAX: usize = 8 << 20;
/// Bytes of a row group's rows before they are encoded. Readers, ours too, plan by a group's averages: however well a group is
/// compressed, and wherever its large rows lie, it fits their memory.
const ROW_GROUP_RAW_BYTES_MAX: usize = 64 << 20;
/// Bytes of a page, and of a dictionary, before compression. A column's compressor keeps memory in proportion to the
/// largest that it has met, and a point read decodes at least a page.
const PAGE_BYTES_MAX: usize = 64 << 10;
const DICTIONARY_BYTES_MAX: usize = 256 << 10;
/// What an open row group takes for each column beside the encoded rows: the compressor's tables, those of the codec that has
/// the largest.
const COMPRESSOR_BYTES: usize = 512 << 10;

/// A data file being written. Dropped unfinished it leaves nothing behind.
pub(crate) struct PartWriter {
    name: String,
    /// Until the first rows: they decide how they are encoded.
    waiting: Option<DataFile>,
    writer: Option<ArrowWriter<Held>>,
    schema: Arc<Schema>,
    compression: Compression,
    /// Positions of the key's columns.
    key: Vec<usize>,
    /// Positions of the table's columns that the file has; all of them without.
    kept: Option<Vec<usize>>,
    partition: Partition,
    stats: Stats,
    rows: u64,
    /// Bytes of the open row group's rows, before they were encoded.
    raw_bytes: usize,
    /// Columns that the table's schema calls free of null.
    required: Vec<usize>,
    /// Those of them that have held one.
    nulls: BTreeSet<usize>,
}

/// What the Parquet writer writes to, until the file is taken out of it. When that writer gives its file back it also
/// writes, and then says in words only why it could not: nobody could tell a full disk from a bug.
struct Held(Option<DataFile>);

impl Held {
    fn file(&mut self) -> io::Result<&mut DataFile> {
        self.0.as_mut().ok_or_else(|| io::Error::other("the file has been taken out"))
    }
}

impl Write for Held {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file()?.flush()
    }
}

/// The Arrow schema of a table's data files. Every column may be null there; whether the table allows it is
/// said in the table's own schema only.
pub(crate) fn file_schema(columns: &[TableColumn]) -> Arc<Schema> {
    let field = |column: &TableColumn| {
        let field = Field::new(&**column.file_name(), column.column_type.arrow(), true);
        let id = column.mapped.as_ref().map(|mapped| (PARQUET_FIELD_ID_META_KEY.to_owned(), mapped.id.to_string()));
        field.with_metadata(id.into_iter().collect())
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// The name of a new data file in this folder (`column=value/`, or none).
fn new_name(store: &TableStore, folder: &str) -> String {
    format!("{folder}part-{}{}", ambient::uuid(), store.compression().suffix())
}

impl PartWriter {
    /// Starts a file of these columns; `key` are the positions of those that get statistics.
    pub(crate) fn create(store: &TableStore, columns: &[TableColumn], key: &[usize]) -> Result<PartWriter> {
        PartWriter::create_as(new_name(store, ""), store, columns, key)
    }

    /// As `create`, for rows that all have these values in the table's partition columns, which lie at `by`: the file has
    /// none of those, and `write` takes them all the same.
    pub(crate) fn create_for(
        store: &TableStore,
        columns: &[TableColumn],
        key: &[usize],
        by: &[usize],
        partition: Partition,
    ) -> Result<PartWriter> {
        PartWriter::create_within(new_name(store, &folder(&partition)), store, columns, key, (by, partition))
    }

    /// As `create_for`, under a name in the table's directory.
    pub(crate) fn create_within(
        name: String,
        store: &TableStore,
        columns: &[TableColumn],
        key: &[usize],
        (by, partition): (&[usize], Partition),
    ) -> Result<PartWriter> {
        let kept = (0..columns.len()).filter(|at| !by.contains(at)).collect::<Vec<_>>();
        let held = kept.iter().filter_map(|at| columns.get(*at)).cloned().collect::<Vec<_>>();
        let key = key.iter().filter_map(|at| kept.iter().position(|kept| kept == at)).collect::<Vec<_>>();
        let mut writer = PartWriter::create_as(name, store, &held, &key)?;
        writer.partition = partition;
        writer.kept = (!by.is_empty()).then_some(kept);
        Ok(writer)
    }

    /// As `create`, under a name in the table's directory.
    pub(crate) fn create_as(
        name: String,
        store: &TableStore,
        columns: &[TableColumn],
        key: &[usize],
    ) -> Result<PartWriter> {
        if let Some(intents) = store.intents() {
            intents.record(&name);
        }
        let schema = file_schema(columns);
        let waiting = Some(store.data_file(&name)?);
        let stats = Stats::new(columns, key);
        let required = columns.iter().enumerate().filter(|(_, column)| !column.nullable).map(|(at, _)| at).collect();
        let (kept, partition, key, nulls) = (None, Partition::default(), key.to_vec(), BTreeSet::new());
        let compression = store.compression();
        let writer = None;
        Ok(PartWriter {
            name,
            waiting,
            writer,
            schema,
            compression,
            key,
            kept,
            partition,
            stats,
            rows: 0,
            raw_bytes: 0,
            required,
            nulls,
        })
    }

    /// As `create`, for a copy of a file that has not all of the columns: one that it lacks has never held a value there, and
    /// the copy must say the same.
    pub(crate) fn create_some(
        store: &TableStore,
        columns: &[TableColumn],
        key: &[usize],
        present: &[bool],
        partition: Partition,
    ) -> Result<PartWriter> {
        let is_present = |at: &usize| present.get(*at).copied().unwrap_or(false);
        let places = (0..columns.len()).filter(is_present).collect::<Vec<_>>();
        let columns = places.iter().filter_map(|at| columns.get(*at)).cloned().collect::<Vec<_>>();
        let key = key.iter().filter_map(|at| places.iter().position(|place| place == at)).collect::<Vec<_>>();
        PartWriter::create_for(store, &columns, &key, &[], partition)
    }

    /// Appends rows; the columns are those of `create`, in their order.
    pub(crate) fn write(&mut self, arrays: Vec<ArrayRef>) -> Result<()> {
        let arrays = match &self.kept {
            Some(kept) => kept.iter().filter_map(|at| arrays.get(*at).cloned()).collect(),
            None => arrays,
        };
        let batch = RecordBatch::try_new(Arc::clone(&self.schema), arrays)
            .map_err(|cause| Error::bug("delta_batch", "put columns together").with_cause(cause))?;
        self.stats.observe(&batch);
        let has_null = |at: &&usize| batch.columns().get(**at).is_some_and(|column| column.null_count() > 0);
        self.nulls.extend(self.required.iter().filter(has_null));
        self.rows += batch.num_rows() as u64;
        let writer = self.begin(&batch)?;
        let before = writer.in_progress_rows();
        let written = writer.write(&batch);
        let open = writer.in_progress_rows();
        written.map_err(|cause| write_error(&self.name, cause))?;
        let bytes = raw_bytes_of(&batch);
        self.raw_bytes = match open == before + batch.num_rows() {
            true => self.raw_bytes + bytes,
            // A group has ended within these rows.
            false => bytes / batch.num_rows().max(1) * open,
        };
        if self.raw_bytes >= limit(Limit::RowGroupRawBytes, ROW_GROUP_RAW_BYTES_MAX) {
            self.end_row_group()?;
        }
        Ok(())
    }

    /// The Parquet writer, begun for rows like these.
    fn begin(&mut self, first: &RecordBatch) -> Result<&mut ArrowWriter<Held>> {
        if let Some(file) = self.waiting.take() {
            self.writer = Some(self.parquet_writer(file, first)?);
        }
        self.writer.as_mut().ok_or_else(|| Error::bug("delta_parquet", "a file was used after it had failed"))
    }

    fn parquet_writer(&self, file: DataFile, first: &RecordBatch) -> Result<ArrowWriter<Held>> {
        let mut properties = WriterProperties::builder()
            .set_created_by("tidewire".to_owned())
            .set_compression(self.compression.codec())
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_data_page_size_limit(PAGE_BYTES_MAX)
            .set_dictionary_page_size_limit(DICTIONARY_BYTES_MAX)
            .set_max_row_group_row_count(Some(limit(Limit::RowGroupRows, ROW_GROUP_ROWS_MAX)))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX));
        let has_dictionaries = self.compression != Compression::None;
        for (at, (field, column)) in self.schema.fields().iter().zip(first.columns()).enumerate() {
            // Keys hardly repeat.
            if !has_dictionaries || self.key.contains(&at) || !dictionary::may_hold(column, DICTIONARY_BYTES_MAX) {
                let path = ColumnPath::from(vec![field.name().clone()]);
                properties = properties.set_column_dictionary_enabled(path, false);
            }
        }
        let options = ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
        ArrowWriter::try_new_with_options(Held(Some(file)), Arc::clone(&self.schema), options)
            .map_err(|cause| write_error(&self.name, cause))
    }

    /// Its name in the table's directory.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Rows written so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Columns that hold null although the table's schema says that they never do, by their position in the table.
    pub(crate) fn nulls(&self) -> impl Iterator<Item = usize> {
        let place = |at: &usize| self.kept.as_ref().map_or(Some(*at), |kept| kept.get(*at).copied());
        self.nulls.iter().filter_map(place)
    }

    /// Bytes that the file has or will have, without what compression of the open row group still saves.
    pub(crate) fn size_bytes(&self) -> usize {
        self.writer.as_ref().map_or(0, |writer| writer.bytes_written() + writer.in_progress_size())
    }

    /// Memory that the open row group takes, in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        let open = self.writer.as_ref().filter(|writer| writer.in_progress_rows() > 0);
        open.map_or(0, |writer| writer.memory_size() + self.schema.fields().len() * COMPRESSOR_BYTES)
    }

    /// Memory that the file takes until it ends, in bytes.
    pub(crate) fn upload_bytes(&self) -> usize {
        self.writer.as_ref().and_then(|writer| writer.inner().0.as_ref()).map_or(0, DataFile::buffered_bytes)
    }

    /// Writes the open row group out.
    pub(crate) fn end_row_group(&mut self) -> Result<()> {
        self.raw_bytes = 0;
        let flushed = self.writer.as_mut().map_or(Ok(()), ArrowWriter::flush);
        flushed.map_err(|cause| write_error(&self.name, cause))
    }

    /// Makes the file durable. It belongs to the table once a commit names it.
    pub(crate) fn finish(mut self) -> Result<NewFile> {
        let none = RecordBatch::new_empty(Arc::clone(&self.schema));
        let writer = self.begin(&none)?;
        let finished = writer.finish();
        let file = writer.inner_mut().0.take();
        finished.map_err(|cause| write_error(&self.name, cause))?;
        let size = file.ok_or_else(|| Error::bug("delta_parquet", "end a file that has ended"))?.finish()?;
        let stats = Some(self.stats.json(self.rows));
        Ok(NewFile { path: self.name, size, num_records: self.rows, stats, partition: self.partition })
    }
}

/// What rows take in memory, of arrays that may share it with others.
fn raw_bytes_of(batch: &RecordBatch) -> usize {
    let bytes = |array: &ArrayRef| array.to_data().get_slice_memory_size().unwrap_or(0);
    batch.columns().iter().map(bytes).sum()
}

/// What a fault of the Parquet writer means: its cause is the file's, unless we gave it columns it cannot take.
fn write_error(place: &str, cause: ParquetError) -> Error {
    match cause {
        ParquetError::External(inner) => match inner.downcast::<std::io::Error>() {
            Ok(io) => error::local_io("write", place, *io),
            Err(other) => Error::retry("storage_io", format!("write `{place}`")).with_cause(other),
        },
        other => Error::bug("delta_parquet", format!("write `{place}`")).with_cause(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::read::ColumnReader;
    use crate::log::new_change_file;
    use crate::store::Store;
    use crate::store::faulty::{Call, Fault, Faults, Plan};
    use crate::typemap::ColumnType;
    use arrow_array::{Int64Array, StringArray};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use tidewire_core::ErrorKind;

    #[test]
    fn a_file_says_how_it_is_compressed() {
        let columns = [TableColumn::own("id", ColumnType::Long), TableColumn::own("n", ColumnType::Long)];
        let plain = Store::in_memory();
        for (compression, suffix, codec) in [
            (Compression::Zstd, ".zstd.parquet", "ZSTD(ZstdLevel(1))"),
            (Compression::Snappy, ".snappy.parquet", "SNAPPY"),
            (Compression::Lz4, ".lz4.parquet", "LZ4_RAW"),
            (Compression::None, ".parquet", "UNCOMPRESSED"),
            (Compression::Fast, ".snappy.parquet", "SNAPPY"),
            (Compression::Fast.of_commit(1 << 20), ".snappy.parquet", "SNAPPY"),
            (Compression::Fast.of_commit((1 << 20) - 1), ".parquet", "UNCOMPRESSED"),
            (Compression::Snappy.of_commit(1), ".snappy.parquet", "SNAPPY"),
        ] {
            // Others of the location were written with another codec.
            let store = plain.clone().with_compression(compression).table("t");
            let changes = new_change_file(&store, "a=1/");
            assert!(changes.starts_with("_change_data/a=1/cdc-") && changes.ends_with(suffix), "{changes}");
            let mut writers = [
                PartWriter::create(&store, &columns, &[0]).unwrap(),
                PartWriter::create_for(&store, &columns, &[0], &[], Partition::default()).unwrap(),
                PartWriter::create_within(changes, &store, &columns, &[], (&[], Partition::default())).unwrap(),
            ];
            let numbers = Arc::new(Int64Array::from_iter_values(0..20_000)) as ArrayRef;
            for writer in &mut writers {
                writer.write(vec![Arc::clone(&numbers), Arc::clone(&numbers)]).unwrap();
            }
            for file in writers.map(|writer| writer.finish().unwrap()) {
                assert!(file.path.ends_with(suffix), "{}", file.path);
                let bytes = plain.table("t").get(&file.path).unwrap().unwrap();
                let metadata = SerializedFileReader::new(bytes).unwrap().metadata().clone();
                let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
                let codecs = chunks.map(|chunk| format!("{:?}", chunk.compression())).collect::<BTreeSet<_>>();
                assert_eq!(codecs, BTreeSet::from([codec.to_owned()]), "{}", file.path);
                let asked = columns.iter().collect::<Vec<_>>();
                let mut reader =
                    ColumnReader::open_whole(&plain.table("t"), &file.path, file.size, 20_000, &asked).unwrap();
                let first = reader.next_arrays().unwrap().unwrap();
                assert_eq!(
                    first[1].as_ref().unwrap().as_ref(),
                    numbers.slice(0, first[0].as_ref().unwrap().len()).as_ref()
                );
            }
        }
    }

    #[test]
    fn a_group_of_rows_ends_by_what_its_rows_are_before_compression() {
        ambient::take(ambient::Own { limits: [(Limit::RowGroupRawBytes, 1 << 20)].into(), ..ambient::Own::default() });
        let store = Store::in_memory().with_compression(Compression::Zstd).table("t");
        let body = TableColumn::own("body", ColumnType::String);
        let mut writer = PartWriter::create(&store, std::slice::from_ref(&body), &[]).unwrap();
        // Slices, as a file that is written anew has them.
        let all = StringArray::from_iter_values((0..320).map(|row| format!("{row:<8192}")));
        for first in (0..320).step_by(32) {
            writer.write(vec![Arc::new(all.slice(first, 32)) as ArrayRef]).unwrap();
        }
        let file = writer.finish().unwrap();
        ambient::take(ambient::Own::default());
        let metadata = SerializedFileReader::new(store.get(&file.path).unwrap().unwrap()).unwrap().metadata().clone();
        let rows: Vec<i64> = metadata.row_groups().iter().map(|group| group.num_rows()).collect();
        assert_eq!(rows, [128, 128, 64], "of {} bytes", file.size);
    }

    #[test]
    fn a_write_that_fails_is_tried_again_wherever_in_the_file_it_was_sk_38() {
        let column = TableColumn::own("id", ColumnType::Long);
        let mut failed = 0;
        loop {
            let faults = Faults::default();
            let (calls, fault) = (vec![Call::Write], Fault::Before);
            faults.plan(Plan { calls, after: failed, fault, is_final: false });
            let store = Store::in_memory().with_faults(&faults).table("t");
            let mut writer = PartWriter::create(&store, std::slice::from_ref(&column), &[0]).unwrap();
            // More than the Parquet writer holds back.
            let rows = || vec![Arc::new(Int64Array::from_iter_values(0..20_000)) as ArrayRef];
            let written =
                writer.write(rows()).and_then(|()| writer.end_row_group()).and_then(|()| writer.write(rows()));
            let Err(error) = written.and_then(|()| writer.finish().map(drop)) else { break };
            assert_eq!((error.kind(), error.code()), (ErrorKind::Retry, "storage_io"), "{}", error.chain());
            failed += 1;
        }
        assert!(failed >= 3, "the last one was at the end of the file: {failed}");
    }
}
