//! A mirror's memory does not follow the size of a source transaction, but for what the index keeps of each key:
//! counted by the allocator itself.
#![expect(unsafe_code, reason = "a counting allocator is an allocator; it only forwards to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tidewire_core::batch::{ChangeHead, Phase};
use tidewire_core::cell::Tag;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::secret::{Secret, SecretRef, SecretResolver};
use tidewire_core::sink::Selection;
use tidewire_core::{
    Batch, BatchBuilder, BatchLimits, Cell, ColumnSchema, DataType, Error, Mark, Op, Position, Result, SchemaVersion,
    SourceDescriptor, TableName, TableSchema, Transaction,
};
use tidewire_delta::{Config, SinkOptions, connector};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grown(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(live, Ordering::Relaxed);
}

// SAFETY: every call is forwarded unchanged to the system allocator, which upholds the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grown(layout.size());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `pointer` came from `alloc` above, which is `System`'s.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there for a moment.
        grown(size);
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as for `dealloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const BATCH_ROWS: u64 = 4_096;
/// Bytes that the index may take for a key, spare slots included.
const KEY_BYTES_MAX: usize = 24;

struct NoSecrets;

impl SecretResolver for NoSecrets {
    fn resolve(&self, _: &SecretRef) -> Result<Secret> {
        Err(Error::bug("no_secrets", "the test has no secrets"))
    }
}

fn schema(table: u64) -> Arc<TableSchema> {
    let column = |name: &str, data_type| ColumnSchema {
        name: name.into(),
        data_type,
        native_type: "any".into(),
        nullable: true,
        default: None,
        missing: tidewire_core::Missing::Unknown,
        number: None,
    };
    Arc::new(TableSchema {
        name: TableName::new("public", format!("t{table}")),
        version: SchemaVersion(1),
        native_id: table + 1,
        columns: vec![column("id", DataType::Int { bits: 64 }), column("v", DataType::Text)],
        key: vec![0],
        key_kind: KeyKind::Primary,
        old_row: OldRow::Key,
    })
}

/// Rows `from..from + count` of one transaction, spread over the tables; text that cannot be compressed much.
fn batch(schemas: &[Arc<TableSchema>], from: u64, count: u64, is_last: bool) -> Batch {
    let source = Arc::new(SourceDescriptor {
        name: "s".into(),
        connector: "test",
        database: "d".into(),
        provenance: &[],
        has_sequence: false,
        snapshot_floor: None,
    });
    let limits = BatchLimits { changes_max: usize::MAX, bytes_max: usize::MAX };
    let mut b = BatchBuilder::new(source, Phase::Stream, limits);
    b.transaction(Transaction {
        id: "1".into(),
        commit: 1,
        commit_time_micros: 0,
        previous_commit: None,
        provenance: Vec::new(),
    });
    for (row, schema) in (from..from + count).zip(schemas.iter().cycle()) {
        let table = b.table(schema);
        let image = b.image();
        let mixed = |salt: u64| (row + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_mul(salt | 1);
        let text = (1..8u64).map(|n| format!("{:016x}", mixed(n * 0x1234_5678_9abc_def1))).collect::<String>();
        let text = b.long(Tag::Text, text.as_bytes());
        b.cell(Cell::int(row as i64));
        b.cell(text);
        b.push(ChangeHead { op: Op::Insert, ordinal: row + 1, offset: 0, row: 0 }, table, None, Some(image));
    }
    let mark = if is_last { Mark { major: 2, minor: 0 } } else { Mark { major: 1, minor: from + count } };
    b.finish(Some(Position::new(mark, mark.to_string())), is_last, 0)
}

/// The most memory that a mirror takes for one transaction of `rows` rows over `tables` tables, its commit included.
fn peak(rows: u64, tables: u64) -> std::result::Result<usize, Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let config = serde_json::json!({ "location": format!("file://{}", directory.path().display()) });
    let config: Config = serde_json::from_value(config)?;
    let options = SinkOptions {
        name: "lake".into(),
        state_dir: Some(directory.path().join("state")),
        secrets: Arc::new(NoSecrets),
    };
    let sink = connector(options, config).map_err(|faults| format!("{faults:?}"))?;
    let (mut sink, mut progress) = sink.open("s")?;
    let schemas = (0..tables).map(schema).collect::<Vec<_>>();
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let mut sent = 0;
    while sent < rows {
        let count = BATCH_ROWS.min(rows - sent);
        let batch = batch(&schemas, sent, count, sent + count == rows);
        sink.write(&batch, Selection::All)?;
        progress.observe(&batch, None, &BTreeSet::new());
        sent += count;
    }
    sink.commit(&progress)?;
    Ok(PEAK.load(Ordering::Relaxed) - before)
}

/// One test, since the allocator counts for the whole process.
#[test]
fn memory_does_not_follow_the_transaction() {
    const FEW: u64 = 150_000;
    const MANY: u64 = 450_000;
    let few = peak(FEW, 1).unwrap();
    let many = peak(MANY, 1).unwrap();
    let for_keys = (MANY - FEW) as usize * KEY_BYTES_MAX;
    assert!(many <= few + for_keys + (1 << 20), "{few} bytes for {FEW} rows, {many} for {MANY}");
    assert!(few <= 24 << 20, "{few} bytes for {FEW} rows");
    // Nor the number of tables that it touches, but for some pages that each has open.
    let spread = peak(FEW, 40).unwrap();
    assert!(spread <= few + (8 << 20), "{few} bytes for one table, {spread} for many");
}
