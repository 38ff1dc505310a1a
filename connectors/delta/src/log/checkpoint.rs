//! Checkpoints: a table's whole content at one version as one Parquet file, so that loading need not begin at
//! version 0. Ours are of the classic form, one file: every reader knows it.
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#checkpoints>

pub(super) mod listed;

use crate::error::{self, Result};
use crate::log::action::{self, Action};
use crate::log::checkpoint::listed::Listed;
use crate::log::load;
use crate::log::state::State;
use crate::store::TableStore;
use arrow_array::RecordBatch;
use arrow_json::{LineDelimitedWriter, ReaderBuilder};
use arrow_schema::{DataType, Field, Fields, Schema};
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;
use serde::{Deserialize, Serialize};
use std::io::Write;
use std::sync::Arc;
use tidewire_core::{Error, failpoint};

/// Names the newest checkpoint; only a hint.
const HINT: &str = "_delta_log/_last_checkpoint";
/// Actions turned into columns at a time.
const CHUNK_ACTIONS: usize = 4_096;

/// The hint's content.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Hint {
    version: i64,
    size: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size_in_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    num_of_add_files: Option<i64>,
}

/// The name of a version's checkpoint.
pub(super) fn name(version: i64) -> String {
    format!("_delta_log/{version:020}.checkpoint.parquet")
}

/// The version that the hint names; `None` when there is none or it is damaged.
pub(super) fn hinted(store: &TableStore) -> Result<Option<i64>> {
    let content = store.get(HINT)?;
    Ok(content.and_then(|content| serde_json::from_slice::<Hint>(&content).ok()).map(|hint| hint.version))
}

/// Writes the checkpoint, then the hint. The hint comes last, so that it never names a file that is not whole (SK-34).
pub(super) fn write(store: &TableStore, version: i64, state: &State) -> Result<()> {
    let name = name(version);
    if store.head(&name)?.is_some() {
        return Ok(());
    }
    let (mut count, mut files) = (0i64, 0i64);
    let mut file = store.data_file(&name)?;
    let failed = |cause: Box<dyn std::error::Error + Send + Sync>| {
        Error::retry("delta_checkpoint", format!("write `{}`", store.place(&name))).with_cause(cause)
    };
    {
        let schema = Arc::new(schema());
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let mut writer =
            ArrowWriter::try_new(&mut file, Arc::clone(&schema), Some(properties)).map_err(|e| failed(e.into()))?;
        let mut decoder =
            ReaderBuilder::new(schema).with_batch_size(CHUNK_ACTIONS).build_decoder().map_err(|e| failed(e.into()))?;
        let mut actions = state.actions().peekable();
        while actions.peek().is_some() {
            let chunk: Vec<Action> = actions.by_ref().take(CHUNK_ACTIONS).collect();
            count += i64::try_from(chunk.len()).unwrap_or(0);
            files += chunk.iter().map(|action| i64::from(action.add.is_some())).sum::<i64>();
            decoder.serialize(&chunk).map_err(|e| failed(e.into()))?;
            if let Some(batch) = decoder.flush().map_err(|e| failed(e.into()))? {
                writer.write(&batch).map_err(|e| failed(e.into()))?;
            }
        }
        writer.close().map_err(|e| failed(e.into()))?;
    }
    file.flush().map_err(|e| failed(e.into()))?;
    let size = file.finish()?;
    failpoint::step("delta_checkpoint_written")?;
    let hint = Hint { version, size: count, size_in_bytes: Some(size), num_of_add_files: Some(files) };
    let hint = serde_json::to_vec(&hint).map_err(|e| failed(e.into()))?;
    store.put(HINT, hint.into())
}

/// Reads a checkpoint; `None` when it is missing or damaged, for which an older one and the entries stand in.
pub(super) fn read(store: &TableStore, listed: Listed) -> Result<Option<State>> {
    let mut state = State::default();
    for name in listed.names() {
        let Some(content) = store.get(&name)? else {
            return Ok(None);
        };
        let place = store.place(&name);
        if let Err(damage) = read_content(content, &place, &mut state) {
            tracing::warn!(checkpoint = place, error = %damage.chain(), "checkpoint is damaged, reading older entries");
            return Ok(None);
        }
    }
    if state.protocol.is_none() || state.metadata.is_none() {
        let place = store.place(&listed.first());
        tracing::warn!(checkpoint = place, "checkpoint lacks the protocol or the metadata, reading older entries");
        return Ok(None);
    }
    state.complete();
    // Those that an earlier release, or another writer, has kept.
    state.forget_replaced(0);
    Ok(Some(state))
}

/// Takes in what a file of a checkpoint says.
fn read_content(content: Bytes, place: &str, state: &mut State) -> Result<()> {
    let bad = |cause: Box<dyn std::error::Error + Send + Sync>| {
        error::damaged(place, "it is no checkpoint").with_cause(cause)
    };
    let builder = ParquetRecordBatchReaderBuilder::try_new(content).map_err(|e| bad(e.into()))?;
    // Other writers add parsed copies of statistics and partition values, which may be of any type.
    let columns = builder.parquet_schema().columns();
    let wanted = columns.iter().enumerate().filter(|(_, column)| {
        !column.path().parts().iter().any(|part| part == "stats_parsed" || part == "partitionValues_parsed")
    });
    let mask = ProjectionMask::leaves(builder.parquet_schema(), wanted.map(|(index, _)| index));
    let reader = builder.with_projection(mask).with_batch_size(CHUNK_ACTIONS).build().map_err(|e| bad(e.into()))?;
    for batch in reader {
        let lines = to_lines(&batch.map_err(|e| bad(e.into()))?).map_err(|e| bad(e.into()))?;
        state.apply_part(action::parse(&lines, place)?, place)?;
    }
    Ok(())
}

fn to_lines(batch: &RecordBatch) -> std::result::Result<Vec<u8>, arrow_schema::ArrowError> {
    let mut writer = LineDelimitedWriter::new(Vec::new());
    writer.write(batch)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, true)
}

fn long(name: &str) -> Field {
    Field::new(name, DataType::Int64, true)
}

fn int(name: &str) -> Field {
    Field::new(name, DataType::Int32, true)
}

fn flag(name: &str) -> Field {
    Field::new(name, DataType::Boolean, true)
}

fn group(name: &str, fields: Vec<Field>) -> Field {
    Field::new(name, DataType::Struct(Fields::from(fields)), true)
}

fn texts(name: &str) -> Field {
    Field::new_list(name, Field::new("element", DataType::Utf8, true), true)
}

fn map(name: &str) -> Field {
    let key = Field::new("key", DataType::Utf8, false);
    Field::new_map(name, "key_value", key, text("value"), false, true)
}

/// The columns of a checkpoint.
fn schema() -> Schema {
    let vector = || {
        let place =
            vec![text("storageType"), text("pathOrInlineDv"), int("offset"), int("sizeInBytes"), long("cardinality")];
        group("deletionVector", place)
    };
    let add = vec![
        text("path"),
        map("partitionValues"),
        long("size"),
        long("modificationTime"),
        flag("dataChange"),
        text("stats"),
        map("tags"),
        vector(),
    ];
    let remove = vec![
        text("path"),
        long("deletionTimestamp"),
        flag("dataChange"),
        flag("extendedFileMetadata"),
        map("partitionValues"),
        long("size"),
        vector(),
    ];
    let metadata = vec![
        text("id"),
        text("name"),
        text("description"),
        group("format", vec![text("provider"), map("options")]),
        text("schemaString"),
        texts("partitionColumns"),
        map("configuration"),
        long("createdTime"),
    ];
    let protocol =
        vec![int("minReaderVersion"), int("minWriterVersion"), texts("readerFeatures"), texts("writerFeatures")];
    Schema::new(vec![
        group("txn", vec![text("appId"), long("version"), long("lastUpdated")]),
        group("add", add),
        group("remove", remove),
        group("metaData", metadata),
        group("protocol", protocol),
        group("domainMetadata", vec![text("domain"), text("configuration"), flag("removed")]),
    ])
}

/// Whether a listed name is that of a checkpoint of one file, and of which version.
pub(super) fn version_of(name: &str) -> Option<i64> {
    load::version_before(name, ".checkpoint.parquet")
}
