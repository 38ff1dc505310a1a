//! A stream of a million rows allocates per batch, never per row: counted by the allocator itself.
#![expect(unsafe_code, reason = "a counting allocator is an allocator; it only forwards to the system's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tidewire_core::batch::{Before, ChangeHead};
use tidewire_core::cell::Tag;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::{
    BatchBuilder, BatchLimits, Cell, ColumnSchema, DataType, Mark, Op, Phase, Position, SchemaVersion,
    SourceDescriptor, TableName, TableSchema, Transaction, Value,
};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is forwarded unchanged to the system allocator, which upholds the contract.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, which is `System`'s.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as for `dealloc`.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn column(name: &str, data_type: DataType) -> ColumnSchema {
    ColumnSchema {
        name: name.into(),
        data_type,
        native_type: "any".into(),
        nullable: true,
        default: None,
        missing: tidewire_core::Missing::Unknown,
        number: None,
    }
}

#[test]
fn a_million_rows_allocate_per_batch() {
    const ROWS: u64 = 1_000_000;
    let source = Arc::new(SourceDescriptor {
        name: "s".into(),
        connector: "test",
        database: "d".into(),
        provenance: &[],
        has_sequence: false,
        snapshot_floor: None,
    });
    let schema = Arc::new(TableSchema {
        name: TableName::new("public", "t"),
        version: SchemaVersion(1),
        native_id: 1,
        columns: vec![
            column("id", DataType::Int { bits: 64 }),
            column("v", DataType::Text),
            column("n", DataType::Float64),
        ],
        key: vec![0],
        key_kind: KeyKind::Primary,
        old_row: OldRow::Key,
    });
    let id: Arc<str> = Arc::from("7");
    let mut builder = BatchBuilder::new(source, Phase::Stream, BatchLimits::default());
    let (mut batches, mut sum) = (0u64, 0i64);
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    for row in 1..=ROWS {
        if builder.is_empty() {
            builder.transaction(Transaction {
                id: Arc::clone(&id),
                commit: 1,
                commit_time_micros: 0,
                previous_commit: None,
                provenance: Vec::new(),
            });
        }
        let table = builder.table(&schema);
        let old = builder.image();
        for cell in [Cell::int(row as i64), Cell::UNKNOWN, Cell::UNKNOWN] {
            builder.cell(cell);
        }
        let new = builder.image();
        let text = builder.long(Tag::Text, b"some text of an ordinary length");
        for cell in [Cell::int(row as i64), text, Cell::float64(0.5)] {
            builder.cell(cell);
        }
        builder.push(
            ChangeHead { op: Op::Update, ordinal: row, offset: row, row: 0 },
            table,
            Some((Before::Key, old)),
            Some(new),
        );
        if builder.is_full() || row == ROWS {
            let batch =
                builder.finish(Some(Position::new(Mark { major: 1, minor: row }, Arc::clone(&id))), row == ROWS, 0);
            for change in &batch.changes {
                if let Some([first, ..]) = batch.after(change)
                    && let Value::Int(value) = first.value(batch.arena())
                {
                    sum += value;
                }
            }
            batches += 1;
        }
    }
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
    assert_eq!(sum, (ROWS * (ROWS + 1) / 2) as i64, "every row was read back");
    assert!(allocations <= batches * 16 + 64, "{allocations} allocations for {batches} batches");
}
