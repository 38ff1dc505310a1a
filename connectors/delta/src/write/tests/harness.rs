//! A source in miniature: logical changes, the batches that carry them, a worker that drops what the sink holds,
//! and a reader of what the table shows.

mod keyless;
mod purging;
mod reading;
mod shaping;

pub(super) use keyless::ID;

use crate::config::{Budget, Settings};
use crate::layout::{Mode, PartitionBy, SchemaChanges, Widening};
use crate::log::ForeignWrites;
use crate::model::feed::{head, transaction};
use crate::model::shape;
pub(super) use crate::model::source::position;
use crate::store::Store;
use crate::store::faulty::Faults;
use crate::write::{DeltaSink, Identity};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use tidewire_core::batch::Before;
use tidewire_core::cell::Tag;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::sink::Selection;
use tidewire_core::{
    Batch, BatchBuilder, BatchLimits, Cell, ColumnSchema, DataType, Op, Phase, Position, Progress, Result,
    SchemaVersion, Sink, SourceDescriptor, TableName, TableSchema,
};
use url::Url;

pub(super) const SNAPSHOT_AT: u64 = 10;
/// A text that stands for the database's null.
pub(super) const NULL: &str = "<null>";

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Shape {
    /// The key is `id`.
    Int,
    /// The key is `(kind, id)`.
    Composite,
}

#[derive(Clone, Debug)]
pub(super) enum Logical {
    Insert {
        id: i64,
        v: String,
        big: String,
    },
    /// `big` is `None` when the log leaves it out.
    Update {
        old: Option<i64>,
        id: i64,
        v: String,
        big: Option<String>,
    },
    /// An update of `v` alone from a log that carries the key of the old row and, of the new one, what changed.
    Minimal {
        id: i64,
        v: String,
    },
    Delete(i64),
    Truncate,
    /// A row without a key is in the log as a whole: its `v` before and after, all else being as a snapshot has it.
    Whole {
        old: Option<String>,
        new: Option<String>,
    },
}

impl Logical {
    pub(super) fn insert(id: i64, v: &str, big: &str) -> Logical {
        Logical::Insert { id, v: text(v), big: text(big) }
    }

    pub(super) fn update(id: i64, v: &str, big: Option<&str>) -> Logical {
        Logical::Update { old: None, id, v: text(v), big: big.map(text) }
    }
}

/// A version of a row as a reader of a history sees it. Times in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version {
    pub(super) id: i64,
    pub(super) from: (i64, String),
    pub(super) to: Option<(i64, String)>,
    pub(super) v: String,
    pub(super) big: String,
}

pub(super) type Rows = BTreeMap<i64, (String, String)>;

pub(super) fn text(text: &str) -> String {
    text.to_owned()
}

pub(super) fn row(id: i64, v: &str, big: &str) -> (i64, (String, String)) {
    (id, (text(v), text(big)))
}

pub(super) struct Harness {
    directory: tempfile::TempDir,
    /// The sink's part of the state directory.
    state: tempfile::TempDir,
    settings: Settings,
    identity: Identity,
    descriptor: SourceDescriptor,
    /// The table that the steps are about.
    schema: Arc<TableSchema>,
    /// The other tables.
    resting: BTreeMap<TableName, Arc<TableSchema>>,
    /// Tables that the worker no longer gives the sink.
    halted: BTreeSet<TableName>,
    sink: Option<DeltaSink>,
    /// In place of the directory.
    bucket: Option<Store>,
    pub(super) faults: Option<Faults>,
    /// As the sink told at its last start.
    opened: Progress,
    /// As the worker counts on.
    progress: Progress,
    log: Vec<(u64, Arc<TableSchema>, Vec<Logical>)>,
    left_out: Option<String>,
}

impl Harness {
    pub(super) fn new(shape: Shape) -> Harness {
        Harness::with_mode(shape, Mode::Mirror)
    }

    pub(super) fn with_mode(shape: Shape, mode: Mode) -> Harness {
        let directory = tempfile::tempdir().unwrap();
        let settings = Settings {
            mode,
            commit_rows: 1_000,
            compaction: None,
            file_bytes: 1 << 20,
            ..Settings::at(&Url::from_directory_path(directory.path()).unwrap())
        };
        let descriptor = SourceDescriptor {
            name: "shop".into(),
            connector: "postgresql",
            database: "shop".into(),
            provenance: &[],
            has_sequence: false,
            snapshot_floor: Some(position(SNAPSHOT_AT)),
        };
        let mut harness = Harness {
            directory,
            state: tempfile::tempdir().unwrap(),
            settings,
            identity: Identity { sink: "lake".into(), source: "shop".into() },
            descriptor,
            schema: Arc::new(schema(shape)),
            resting: BTreeMap::new(),
            halted: BTreeSet::new(),
            sink: None,
            bucket: None,
            faults: None,
            opened: Progress::default(),
            progress: Progress::default(),
            log: Vec::new(),
            left_out: None,
        };
        harness.open();
        harness
    }

    pub(super) fn sink(&mut self) -> &mut DeltaSink {
        self.sink.as_mut().unwrap()
    }

    pub(super) fn progress_at_open(&self) -> &Progress {
        &self.opened
    }

    pub(super) fn spill_always(&mut self, always: bool) {
        if always {
            self.settings.commit_bytes = 0;
            self.crash();
        }
    }

    /// From here on data files are rewritten at the least occasion.
    pub(super) fn compact_always(&mut self) {
        self.compact_by(Budget {
            target_bytes: 1 << 20,
            deleted_percent: 1,
            deleted_age: None,
            bytes_per_second: None,
            vector_files: 2,
            vector_bytes: 100,
        });
    }

    /// From here on data files are rewritten, and key indexes written to disk at once.
    pub(super) fn compact_by(&mut self, budget: Budget) {
        self.settings.compaction = Some(budget);
        self.crash();
        self.replay();
    }

    /// Waits until the copies of files are written, and leaves it at that.
    pub(super) fn wait_for_copies(&mut self) {
        assert!(self.sink().is_compacting());
        while !self.sink().has_copies() {
            std::thread::yield_now();
        }
    }

    /// Waits for files that are being rewritten, and for what follows from it.
    pub(super) fn finish_compaction(&mut self) {
        self.sink().maintain().unwrap();
        while self.sink().is_compacting() {
            std::thread::yield_now();
            self.sink().maintain().unwrap();
        }
    }

    /// The state directory is lost.
    pub(super) fn lose_state(&mut self) {
        self.sink = None;
        self.state = tempfile::tempdir().unwrap();
        self.open();
    }

    /// The daemon is stopped and goes on by this policy.
    pub(super) fn follow_schema(&mut self, changes: SchemaChanges) {
        self.settings.schema_changes = changes;
        self.crash();
    }

    /// The daemon is stopped and goes on so.
    pub(super) fn map_columns(&mut self, is_mapped: bool) {
        self.settings.column_mapping = is_mapped;
        self.crash();
    }

    /// The daemon is stopped and goes on so.
    pub(super) fn widen(&mut self, widening: Widening) {
        self.settings.widening = widening;
        self.crash();
    }

    /// The daemon is stopped and goes on with this column as text.
    pub(super) fn want_text(&mut self, column: &str) {
        self.settings.text_columns.insert(format!("{}.{column}", self.schema.name));
        self.crash();
    }

    /// The daemon is stopped and goes on with deletion vectors, or without.
    pub(super) fn delete_by_vectors(&mut self, by_vectors: bool) {
        self.settings.deletion_vectors = by_vectors;
        self.crash();
    }

    /// The daemon is stopped and goes on with the tables partitioned by this column, or not.
    pub(super) fn partition(&mut self, column: Option<&str>) {
        let by = column.map(|column| ("public.*".to_owned(), vec![text(column)])).into_iter().collect();
        self.settings.partition_by = PartitionBy::parse(by).unwrap();
        self.crash();
    }

    /// The daemon is stopped and goes on with a change data feed, or without.
    pub(super) fn feed_changes(&mut self, on: bool) {
        self.settings.change_data_feed = on;
        self.crash();
    }

    pub(super) fn change_mode(&mut self, mode: Mode) {
        self.settings.mode = mode;
        self.crash();
    }

    /// The daemon is stopped and goes on by this policy for other writers.
    pub(super) fn meet_others(&mut self, others: ForeignWrites) {
        self.settings.foreign_writes = others;
        self.crash();
    }

    pub(super) fn rename_sink(&mut self, name: &str) {
        std::fs::remove_dir_all(self.directory.path().join("_tidewire")).unwrap();
        self.identity.sink = name.into();
        self.crash();
    }

    /// The steps that follow are about this table.
    pub(super) fn turn_to(&mut self, table: &str) {
        let name = TableName::new("public", table);
        let fresh = || Arc::new(TableSchema { name: name.clone(), ..(*self.schema).clone() });
        let next = self.resting.remove(&name).unwrap_or_else(fresh);
        let last = std::mem::replace(&mut self.schema, next);
        self.resting.insert(last.name.clone(), last);
    }

    /// What a worker does after an error that names a table: the sink anew, fed again without that table.
    pub(super) fn halt(&mut self, name: &TableName) {
        self.halted.insert(name.clone());
        self.crash();
        self.replay();
    }

    /// Where the table lies on disk.
    pub(super) fn table_directory(&self) -> PathBuf {
        self.directory.path().join(format!("shop/public/{}", self.schema.name.table))
    }

    pub(super) fn floor_at_end(&mut self) {
        self.descriptor.snapshot_floor = Some(position(self.next_commit()));
    }

    /// From here on the tables lie in a bucket.
    pub(super) fn move_to_bucket(&mut self) {
        self.bucket = Some(Store::in_memory());
        self.crash();
    }

    fn store(&self) -> Store {
        let local = || Store::open(&self.settings.location, &BTreeMap::new()).unwrap();
        let store = self.bucket.clone().unwrap_or_else(local);
        let store = self.faults.as_ref().map_or_else(|| store.clone(), |faults| store.with_faults(faults));
        store.with_intents(self.state.path().to_owned()).with_compression(self.settings.compression)
    }

    fn open(&mut self) {
        let (settings, identity) = (Arc::new(self.settings.clone()), Arc::new(self.identity.clone()));
        let (sink, mut progress) = DeltaSink::open(settings, identity, self.store()).unwrap();
        self.sink = Some(sink);
        if self.settings.compaction.is_some() {
            self.sink().limits.index_bytes = 100;
        }
        for name in &self.halted {
            assert!(progress.leave_behind(&name.to_string(), self.descriptor.snapshot_floor.as_ref()));
        }
        self.opened = progress.clone();
        self.progress = progress;
    }

    /// What was not committed is gone.
    pub(super) fn crash(&mut self) {
        self.sink = None;
        self.open();
    }

    /// As a process that is killed: nothing is tidied up.
    pub(super) fn kill(&mut self) {
        std::mem::forget(self.sink.take());
        self.open();
    }

    /// A second instance opens the sink while the first one, which is handed out, still lives.
    pub(super) fn overtake(&mut self) -> DeltaSink {
        let earlier = self.sink.take().unwrap();
        // Two daemons never have one state directory.
        self.state = tempfile::tempdir().unwrap();
        self.open();
        earlier
    }

    /// The source sends its whole log again.
    pub(super) fn replay(&mut self) {
        self.replay_first(self.log.len());
    }

    /// The source sends its log again, and has come as far as this many transactions.
    pub(super) fn replay_first(&mut self, transactions: usize) {
        for (commit, schema, changes) in self.log.clone().into_iter().take(transactions) {
            let batch = self.batch(commit, &schema, &changes);
            self.write(&batch).unwrap();
        }
    }

    pub(super) fn next_commit(&self) -> u64 {
        self.log.last().map_or(SNAPSHOT_AT, |(commit, ..)| *commit) + 10
    }

    pub(super) fn send(&mut self, changes: &[Logical]) {
        self.try_send(changes).unwrap();
    }

    pub(super) fn try_send(&mut self, changes: &[Logical]) -> Result<()> {
        let commit = self.next_commit();
        self.log.push((commit, Arc::clone(&self.schema), changes.to_vec()));
        let batch = self.batch(commit, &self.schema, changes);
        self.write(&batch)
    }

    fn write(&mut self, batch: &Batch) -> Result<()> {
        let mut needs = self.opened.needs(batch);
        for (index, _) in batch.tables.iter().enumerate().filter(|(_, schema)| self.halted.contains(&schema.name)) {
            needs.exclude(index);
        }
        let needed = |at: &u32| needs.contains(batch, &batch.changes[*at as usize]);
        let selected: Vec<u32> = (0..batch.changes.len() as u32).filter(needed).collect();
        let halted: BTreeSet<String> = self.halted.iter().map(ToString::to_string).collect();
        self.progress.observe(batch, self.descriptor.snapshot_floor.as_ref(), &halted);
        self.sink.as_mut().unwrap().write(batch, Selection::Some(&selected))
    }

    pub(super) fn commit(&mut self) {
        self.try_commit().unwrap();
        self.sink().maintain().unwrap();
    }

    pub(super) fn try_commit(&mut self) -> Result<()> {
        let progress = self.progress.clone();
        self.sink().commit(&progress)
    }

    /// As far as a commit comes when the daemon ends before the progress is stored.
    pub(super) fn commit_tables_only(&mut self) {
        let progress = self.progress.clone();
        let sink = self.sink();
        sink.note_reading(&progress).unwrap();
        commit_tables(sink, progress.position.as_ref()).unwrap();
    }

    /// The snapshot is about to be shown: the progress says that it is being read.
    pub(super) fn note_reading(&mut self) {
        let progress = self.progress.clone();
        self.sink().note_reading(&progress).unwrap();
    }

    pub(super) fn snapshot_start(&mut self) {
        self.snapshot(|b, table| b.push(head(Op::SnapshotStart, 0), table, None, None));
    }

    pub(super) fn snapshot_end(&mut self) {
        self.snapshot(|b, table| b.push(head(Op::SnapshotEnd, 0), table, None, None));
    }

    pub(super) fn snapshot_rows(&mut self, rows: &[(i64, &str)]) {
        let schema = Arc::clone(&self.schema);
        self.snapshot(|b, table| {
            for (id, v) in rows {
                let image = b.image();
                image_of(b, &schema, *id, Some((v, Some("snap"))), None);
                b.push(head(Op::Read, 0), table, None, Some(image));
            }
        });
    }

    pub(super) fn try_snapshot_start(&mut self) -> Result<()> {
        self.try_snapshot(|b, table| b.push(head(Op::SnapshotStart, 0), table, None, None))
    }

    fn snapshot(&mut self, fill: impl FnOnce(&mut BatchBuilder, u32)) {
        self.try_snapshot(fill).unwrap();
    }

    fn try_snapshot(&mut self, fill: impl FnOnce(&mut BatchBuilder, u32)) -> Result<()> {
        let mut b = BatchBuilder::new(Arc::new(self.descriptor.clone()), Phase::Snapshot, BatchLimits::default());
        let table = b.table(&self.schema);
        b.transaction(transaction(SNAPSHOT_AT));
        fill(&mut b, table);
        let batch = b.finish(None, true, 0);
        self.write(&batch)
    }

    fn batch(&self, commit: u64, schema: &Arc<TableSchema>, changes: &[Logical]) -> Batch {
        let mut b = BatchBuilder::new(Arc::new(self.descriptor.clone()), Phase::Stream, BatchLimits::default());
        let table = b.table(schema);
        let left_out = self.left_out.as_deref();
        b.transaction(transaction(commit));
        for (ordinal, change) in (1u64..).zip(changes) {
            let key_image = |b: &mut BatchBuilder, id: i64| {
                let image = b.image();
                image_of(b, schema, id, None, left_out);
                (Before::Key, image)
            };
            match change {
                Logical::Insert { id, v, big } => {
                    let image = b.image();
                    image_of(&mut b, schema, *id, Some((v, Some(big))), left_out);
                    b.push(head(Op::Insert, ordinal), table, None, Some(image));
                }
                Logical::Update { old, id, v, big } => {
                    let before = old.map(|old| key_image(&mut b, old));
                    let image = b.image();
                    image_of(&mut b, schema, *id, Some((v, big.as_deref())), left_out);
                    b.push(head(Op::Update, ordinal), table, before, Some(image));
                }
                Logical::Minimal { id, v } => {
                    let before = key_image(&mut b, *id);
                    let image = b.image();
                    for column in &schema.columns {
                        let changed = &*column.name == "v";
                        let cell = if changed { b.long(Tag::Text, v.as_bytes()) } else { Cell::UNKNOWN };
                        b.cell(cell);
                    }
                    b.push(head(Op::Update, ordinal), table, Some(before), Some(image));
                }
                Logical::Delete(id) => {
                    let before = key_image(&mut b, *id);
                    b.push(head(Op::Delete, ordinal), table, Some(before), None);
                }
                Logical::Whole { old, new } => {
                    let mut image = |v: &Option<String>| {
                        let v = v.as_ref()?;
                        let image = b.image();
                        image_of(&mut b, schema, ID, Some((v, Some("snap"))), left_out);
                        Some(image)
                    };
                    let (before, after) = (image(old).map(|image| (Before::Full, image)), image(new));
                    let op = match (&before, after) {
                        (None, _) => Op::Insert,
                        (_, None) => Op::Delete,
                        _ => Op::Update,
                    };
                    b.push(head(op, ordinal), table, before, after);
                }
                Logical::Truncate => b.push(head(Op::Truncate, ordinal), table, None, None),
            }
        }
        // A transaction ends past its commit's own place.
        b.finish(Some(position(commit + 1)), true, 0)
    }

    /// From here on the log leaves this column out.
    pub(super) fn leave_out(&mut self, name: &str) {
        self.left_out = Some(name.to_owned());
    }
}

impl DeltaSink {
    /// Ends every open file.
    pub(super) fn close_all(&mut self) {
        self.tables.values_mut().for_each(|table| table.close().unwrap());
    }
}

pub(super) fn commit_tables(sink: &mut DeltaSink, position: Option<&Position>) -> Result<()> {
    sink.tables.values_mut().try_for_each(|table| table.commit(position))
}

/// When a transaction was committed, in microseconds.
pub(super) fn commit_time(commit: u64) -> i64 {
    transaction(commit).commit_time_micros
}

fn column(name: &str, data_type: DataType) -> ColumnSchema {
    shape::column(name, data_type, name != "id")
}

fn schema(shape: Shape) -> TableSchema {
    TableSchema {
        name: TableName::new("public", "t"),
        version: SchemaVersion(1),
        native_id: 16_384,
        columns: vec![
            column("kind", DataType::Text),
            column("id", DataType::Int { bits: 64 }),
            column("v", DataType::Text),
            column("big", DataType::Text),
        ],
        key: if shape == Shape::Int { vec![1] } else { vec![0, 1] },
        key_kind: KeyKind::Primary,
        old_row: OldRow::Key,
    }
}

/// Writes a row's cells: the key, and the values or, without them, unknown.
fn image_of(
    b: &mut BatchBuilder,
    schema: &TableSchema,
    id: i64,
    values: Option<(&str, Option<&str>)>,
    left_out: Option<&str>,
) {
    for (at, column) in schema.columns.iter().enumerate() {
        let is_key = schema.key.contains(&at);
        let text = match (&*column.name, values) {
            (name, _) if Some(name) == left_out => None,
            ("id" | "number", _) => {
                b.cell(Cell::int(id));
                continue;
            }
            (_, Some(_)) if matches!(column.data_type, DataType::Int { .. }) => {
                b.cell(Cell::int(id));
                continue;
            }
            ("kind", values) => Some("even").filter(|_| is_key || values.is_some()),
            ("v", Some((v, _))) => Some(v),
            ("big", Some((_, big))) => big,
            ("later", Some(_)) => Some(NULL),
            (_, Some(_)) => Some("x"),
            (_, None) => None,
        };
        let cell = match text {
            None => Cell::UNKNOWN,
            Some(NULL) => Cell::NULL,
            Some(text) => b.long(Tag::Text, text.as_bytes()),
        };
        b.cell(cell);
    }
}
