//! What a change costs in a mirror: 1,000,000 inserts and 200,000 updates of six columns into a directory, in
//! batches of 8,192 and commits of 100,000 changes; or, after the directory, `large`: one transaction of 2,000,000
//! inserts. Prints microseconds per change, and the process's peak of resident memory. Run in release.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;
use tidewire_core::batch::{ChangeHead, Phase};
use tidewire_core::calendar::Timestamp;
use tidewire_core::cell::Tag;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::secret::{Secret, SecretRef, SecretResolver};
use tidewire_core::sink::Selection;
use tidewire_core::{
    Batch, BatchBuilder, BatchLimits, Cell, ColumnSchema, DataType, Mark, Op, Position, SchemaVersion,
    SourceDescriptor, TableName, TableSchema, Transaction,
};
use tidewire_delta::{Config, SinkOptions, connector};

const INSERTS: u64 = 1_000_000;
const UPDATES: u64 = 200_000;
const BATCH: u64 = 8_192;
const COMMIT: u64 = 100_000;
const LARGE: u64 = 2_000_000;

struct NoSecrets;

impl SecretResolver for NoSecrets {
    fn resolve(&self, _: &SecretRef) -> tidewire_core::Result<Secret> {
        Err(tidewire_core::Error::bug("no_secrets", "the benchmark has no secrets"))
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("give an empty directory")?;
    let config: Config = serde_json::from_value(serde_json::json!({ "location": format!("file://{directory}") }))?;
    let state_dir = Some(std::path::Path::new(&directory).join("state"));
    let options = SinkOptions { name: "bench".into(), state_dir, secrets: Arc::new(NoSecrets) };
    let sink = connector(options, config).map_err(|faults| format!("{faults:?}"))?;
    let (mut sink, mut progress) = sink.open("bench").map_err(|error| error.chain())?;
    let schema = schema();
    let descriptor = descriptor();
    let backlog = [("insert", INSERTS, Op::Insert, COMMIT), ("update", UPDATES, Op::Update, COMMIT)];
    let large = [("insert", LARGE, Op::Insert, u64::MAX)];
    let is_large = std::env::args().nth(2).as_deref() == Some("large");
    for (what, count, op, commit) in if is_large { &large[..] } else { &backlog[..] } {
        let (count, op, commit) = (*count, *op, *commit);
        let (mut sent, mut since_commit) = (0, 0);
        let mut spent = std::time::Duration::ZERO;
        while sent < count {
            let size = BATCH.min(count - sent);
            let batch =
                batch(&descriptor, &schema, op, sent, size, progress.position.as_ref().map_or(1, |p| p.mark.major));
            progress.position.clone_from(&batch.position);
            let begun = Instant::now();
            sink.write(&batch, Selection::All).map_err(|error| error.chain())?;
            since_commit += size;
            sent += size;
            if since_commit >= commit || sent == count {
                sink.commit(&progress).map_err(|error| error.chain())?;
                sink.maintain().map_err(|error| error.chain())?;
                since_commit = 0;
            }
            spent += begun.elapsed();
        }
        println!("{what}: {count} changes, {:.2} us each", spent.as_secs_f64() * 1e6 / count as f64);
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    println!("{}", status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or("no VmHWM"));
    Ok(())
}

fn batch(source: &Arc<SourceDescriptor>, schema: &Arc<TableSchema>, op: Op, from: u64, size: u64, after: u64) -> Batch {
    let limits = BatchLimits { changes_max: usize::MAX, bytes_max: usize::MAX };
    let mut b = BatchBuilder::new(Arc::clone(source), Phase::Stream, limits);
    let table = b.table(schema);
    let commit = after + 1;
    b.transaction(Transaction {
        id: "1".into(),
        commit,
        commit_time_micros: 1_700_000_000_000_000,
        previous_commit: None,
        provenance: Vec::new(),
    });
    for number in 0..size {
        // Updates fall anywhere in the table.
        let id = if op == Op::Insert { from + number } else { (from + number).wrapping_mul(2_654_435_761) % INSERTS };
        let image = b.image();
        let name = b.long(Tag::Text, format!("customer {id}").as_bytes());
        let note = b.long(Tag::Text, b"a short note that repeats");
        let price = b.long(Tag::Decimal, format!("{}.{:02}", id % 1_000, id % 100).as_bytes());
        let time = Timestamp::from_epoch_micros(1_700_000_000_000_000 + id as i64 * 1_000);
        for cell in [Cell::int(id as i64), name, note, price, Cell::timestamp_tz(time), Cell::boolean(id % 3 == 0)] {
            b.cell(cell);
        }
        b.push(ChangeHead { op, ordinal: number + 1, offset: 0, row: 0 }, table, None, Some(image));
    }
    let end = Mark { major: commit + 1, minor: 0 };
    b.finish(Some(Position::new(end, format!("bench/{}", end.major))), true, 0)
}

fn descriptor() -> Arc<SourceDescriptor> {
    Arc::new(SourceDescriptor {
        name: "bench".into(),
        connector: "postgresql",
        database: "bench".into(),
        provenance: &[],
        has_sequence: false,
        snapshot_floor: None,
    })
}

fn schema() -> Arc<TableSchema> {
    let column = |name: &str, data_type, nullable| ColumnSchema {
        name: name.into(),
        data_type,
        native_type: "x".into(),
        nullable,
        default: None,
        missing: tidewire_core::Missing::Unknown,
        number: None,
    };
    Arc::new(TableSchema {
        name: TableName::new("public", "orders"),
        version: SchemaVersion(1),
        native_id: 1,
        columns: vec![
            column("id", DataType::Int { bits: 64 }, false),
            column("name", DataType::Text, true),
            column("note", DataType::Text, true),
            column("price", DataType::Decimal { precision: Some(12), scale: Some(2) }, true),
            column("at", DataType::TimestampTz { precision: 6 }, true),
            column("paid", DataType::Bool, true),
        ],
        key: vec![0],
        key_kind: KeyKind::Primary,
        old_row: OldRow::Key,
    })
}
