//! How long a row takes to encode. `cargo run --release -p tidewire-kafka --example encode_bench`

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;
use tidewire_core::batch::{BatchLimits, Before, ChangeHead, ImageStart, Provenance};
use tidewire_core::calendar::Timestamp;
use tidewire_core::cell::Tag;
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::source::{ProvenanceField, ProvenanceOrigin, ProvenanceType};
use tidewire_core::{
    Batch, BatchBuilder, Cell, ColumnSchema, DataType, Op, Phase, Result, SchemaVersion, SourceDescriptor, TableName,
    TableSchema, Transaction,
};
use tidewire_kafka::TopicTemplate;
use tidewire_kafka::encode::Encoder;
use tidewire_kafka::format::{Envelope, FormatSettings};

const ROWS: u64 = 8_192;
const ROUNDS: u32 = 60;
const STRETCH: usize = 256;

const FIELDS: &[ProvenanceField] = &[
    field("txId", ProvenanceType::Int64, ProvenanceOrigin::Transaction(0)),
    field("lsn", ProvenanceType::Int64, ProvenanceOrigin::Offset),
    field("xmin", ProvenanceType::Int64, ProvenanceOrigin::Null),
    field("origin", ProvenanceType::Text, ProvenanceOrigin::Null),
    field("origin_lsn", ProvenanceType::Int64, ProvenanceOrigin::Null),
];

const fn field(name: &'static str, field_type: ProvenanceType, origin: ProvenanceOrigin) -> ProvenanceField {
    ProvenanceField { name, field_type, optional: true, origin, in_snapshot: true }
}

fn source() -> Arc<SourceDescriptor> {
    Arc::new(SourceDescriptor {
        name: "shop".into(),
        connector: "postgresql",
        database: "shop".into(),
        provenance: FIELDS,
        has_sequence: true,
        snapshot_floor: None,
    })
}

// Twelve columns of an ordinary order table.
fn table() -> Arc<TableSchema> {
    let columns = [
        ("id", DataType::Int { bits: 64 }),
        ("customer_id", DataType::Int { bits: 64 }),
        ("status", DataType::Text),
        ("note", DataType::Text),
        ("price", DataType::Decimal { precision: Some(10), scale: Some(2) }),
        ("quantity", DataType::Int { bits: 32 }),
        ("paid", DataType::Bool),
        ("created_at", DataType::TimestampTz { precision: 6 }),
        ("updated_at", DataType::Timestamp { precision: 6 }),
        ("token", DataType::Uuid),
        ("attributes", DataType::Json),
        ("weight", DataType::Float64),
    ];
    let column = |(name, data_type): (&str, DataType)| ColumnSchema {
        name: name.into(),
        data_type,
        native_type: "".into(),
        nullable: true,
        default: None,
        missing: tidewire_core::Missing::Unknown,
        number: None,
    };
    Arc::new(TableSchema {
        name: TableName::new("public", "orders"),
        version: SchemaVersion(1),
        native_id: 1,
        columns: columns.into_iter().map(column).collect(),
        key: vec![0],
        key_kind: KeyKind::Primary,
        old_row: OldRow::Key,
    })
}

fn image(builder: &mut BatchBuilder, id: u64) -> ImageStart {
    let start = builder.image();
    let stamp = Timestamp::from_epoch_micros(1_795_434_214_068_688 + id as i64 * 1_001);
    let cells = [
        Cell::int(id as i64),
        Cell::int(id as i64 * 7),
        builder.long(Tag::Text, b"shipped"),
        builder.long(Tag::Text, b"leave it with the neighbours, please, at 4711"),
        builder.long(Tag::Decimal, b"1234.56"),
        Cell::int(3),
        Cell::boolean(true),
        Cell::timestamp_tz(stamp),
        Cell::timestamp(stamp),
        builder.long(Tag::Uuid, b"6f1e9d0a-1111-4222-8333-444455556666"),
        builder.long(Tag::Json, br#"{"colour": "red", "size": 42, "tags": ["a", "b"]}"#),
        Cell::float64(id as f64 * 0.37),
    ];
    for cell in cells {
        builder.cell(cell);
    }
    start
}

fn batch(per_transaction: u64, full_updates: bool) -> Batch {
    let mut builder = BatchBuilder::new(source(), Phase::Stream, BatchLimits::default());
    let table = table();
    for id in 0..ROWS {
        if id % per_transaction == 0 {
            builder.transaction(Transaction {
                id: id.to_string().into(),
                commit: 700_000_000 + id,
                commit_time_micros: 1_795_434_214_068_688,
                previous_commit: Some(700_000_000),
                provenance: vec![Provenance::Int(id as i64)],
            });
        }
        let number = builder.table(&table);
        let before = full_updates.then(|| (Before::Full, image(&mut builder, id)));
        let after = image(&mut builder, id);
        let op = if full_updates { Op::Update } else { Op::Insert };
        let head = ChangeHead { op, ordinal: id % per_transaction + 1, offset: 704_937_520 + id, row: 0 };
        builder.push(head, number, before, Some(after));
    }
    builder.finish(None, true, 1_795_434_215_211_882)
}

fn measure(what: &str, settings: FormatSettings, batch: &Batch) -> Result<()> {
    let template = TopicTemplate::parse(TopicTemplate::DEFAULT).unwrap_or_else(|_| std::process::abort());
    let mut encoder = Encoder::new(settings, source(), template);
    let (mut bytes, mut rows) = (0, 0);
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        // Short stretches, so that the best of them was not interrupted.
        for changes in batch.changes.chunks(STRETCH) {
            let started = Instant::now();
            let mut take = |record: tidewire_kafka::encode::Record<'_>| {
                bytes += black_box(record.value).map_or(0, <[u8]>::len);
                Ok(())
            };
            for change in changes {
                encoder.encode(batch, change, &mut take)?;
            }
            best = best.min(started.elapsed().as_nanos() as f64 / changes.len() as f64);
            rows += changes.len();
        }
    }
    println!("{what}: {best:.0} ns a row, {} bytes a row", bytes / rows);
    Ok(())
}

fn main() -> Result<()> {
    let own = FormatSettings::DEFAULT;
    let debezium = FormatSettings::DEBEZIUM_3;
    let inserts = batch(10, false);
    measure("insert, own defaults", own, &inserts)?;
    measure("insert, flat", FormatSettings { envelope: Envelope::Flat, ..own }, &inserts)?;
    measure("insert, debezium-3 without schemas", FormatSettings { schemas: false, ..debezium }, &inserts)?;
    measure("insert, debezium-3 with schemas", debezium, &inserts)?;
    measure("insert, transaction metadata", FormatSettings { transactions: true, ..own }, &inserts)?;
    measure("insert, one row a transaction", own, &batch(1, false))?;
    measure("update with the whole old row", own, &batch(10, true))
}
