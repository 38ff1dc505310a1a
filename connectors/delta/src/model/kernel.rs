//! What the Delta kernel sees of a table: a reader that shares no code with ours. It goes by the log, checkpoints, version
//! checksums, deletion vectors, column mapping and statistics as it finds them.

use super::world::row;
use crate::layout::Mode;
use crate::model::truth::Seen;
use crate::store::TableStore;
use arrow_array::{Array, RecordBatch};
use buoyant_kernel::engine::arrow_data::EngineDataArrowExt;
use buoyant_kernel::table_changes::TableChanges;
use buoyant_kernel::{Engine, Snapshot};
use buoyant_kernel_engine::DefaultEngine;
use buoyant_kernel_engine::executor::tokio::TokioBackgroundExecutor;
use std::sync::{Arc, LazyLock};

static EXECUTOR: LazyLock<Arc<TokioBackgroundExecutor>> = LazyLock::new(Arc::default);

fn engine_of(store: &TableStore) -> (Arc<dyn Engine>, url::Url) {
    let (objects, place) = store.for_others();
    let engine = DefaultEngine::builder(objects).with_task_executor(Arc::clone(&EXECUTOR)).build();
    (Arc::new(engine), place)
}

/// What a version changed, by the change data feed.
pub(crate) fn changes(store: &TableStore, version: i64) -> Vec<RecordBatch> {
    let (engine, place) = engine_of(store);
    let number = u64::try_from(version).unwrap();
    let changes = TableChanges::try_new(place.clone(), engine.as_ref(), number, Some(number));
    let changes = changes.unwrap_or_else(|error| panic!("version {version} of {place} by the kernel: {error}"));
    let scan = changes.into_scan_builder().build().unwrap();
    scan.execute(engine).unwrap().map(|data| data.unwrap().try_into_record_batch().unwrap()).collect()
}

/// The version that is the newest, and all rows.
pub(crate) fn rows(store: &TableStore) -> (i64, Vec<RecordBatch>) {
    let (engine, place) = engine_of(store);
    let snapshot = Snapshot::builder_for(place.as_str()).build(engine.as_ref());
    let snapshot = snapshot.unwrap_or_else(|error| panic!("{place} by the kernel: {error}"));
    let version = i64::try_from(snapshot.version()).unwrap();
    let scan = snapshot.scan_builder().build().unwrap();
    let rows = scan.execute(engine).unwrap().map(|data| data.unwrap().try_into_record_batch().unwrap()).collect();
    (version, rows)
}

/// The same, sorted, as the model has rows.
pub(super) fn read(store: &TableStore, mode: Mode) -> (i64, Vec<Seen>) {
    let (version, batches) = rows(store);
    let mut seen = Vec::new();
    for batch in batches {
        let schema = batch.schema();
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let arrays: Vec<_> = batch.columns().iter().map(|array| Some(Arc::clone(array))).collect();
        let rows = arrays.iter().flatten().next().map_or(0, |array| array.len());
        seen.extend((0..rows).map(|at| row(&names, &arrays, at, mode)));
    }
    seen.sort();
    (version, seen)
}
