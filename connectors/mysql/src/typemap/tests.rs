//! Values of every type: recorded from real servers in the log and in results, and what must not be read.

mod recorded;

use super::*;
use crate::binlog::WireColumn;
use crate::model::{Charset, ColumnKind, Flavour, GeometryKind};
use proptest::prelude::*;
use tidewire_core::calendar::{self, Fraction};
use tidewire_core::cell::Value;
use tidewire_core::{BatchLimits, Phase, SourceDescriptor};

pub(super) fn builder() -> BatchBuilder {
    let descriptor = SourceDescriptor {
        name: "test".into(),
        connector: "mysql",
        database: "".into(),
        provenance: &[],
        has_sequence: false,
        snapshot_floor: None,
    };
    BatchBuilder::new(Arc::new(descriptor), Phase::Stream, BatchLimits::default())
}

/// What a decoder makes of one whole value, as the server would show it.
pub(super) fn read(decoder: &Decoder, bytes: &[u8]) -> Result<String, ValueError> {
    let mut builder = builder();
    let mut input = bytes;
    let cell = decoder.decode(&mut input, &mut builder, &mut Scratch::default())?;
    assert!(input.is_empty(), "{} bytes left", input.len());
    let batch = builder.finish(None, true, 0);
    Ok(show(cell.value(batch.arena())))
}

pub(super) fn show(value: Value<'_>) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let written = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    };
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    match value {
        Value::Null => "NULL".into(),
        Value::Int(value) => value.to_string(),
        Value::UInt(value) => value.to_string(),
        Value::Float32(value) => format!("{value:?}"),
        Value::Float64(value) => format!("{value:?}"),
        Value::Decimal(value) => text(value.text()),
        Value::Bytes(value) => hex(value),
        Value::Date(value) => written(&|out| {
            calendar::write_date(out, value);
        }),
        Value::Impossible(value) => format!("impossible {}", text(value)),
        Value::FixedTime(value, digits) => written(&|out| calendar::write_time(out, value, Fraction::Fixed(digits))),
        Value::Timestamp(value) | Value::TimestampTz(value) => {
            written(&|out| calendar::write_timestamp(out, value, b' ', Fraction::Trimmed, b""))
        }
        Value::Geometry(srid, wkb) => hex(&srid.to_le_bytes()) + &hex(wkb),
        Value::Array(array) => {
            let dimensions: Vec<u32> = array.dimensions().map(|dimension| dimension.length).collect();
            assert_eq!(dimensions.iter().sum::<u32>() as usize, array.elements().len());
            text(array.text())
        }
        Value::Text(value)
        | Value::Uuid(value)
        | Value::Json(value)
        | Value::Enum(value)
        | Value::Set(value)
        | Value::Bits(value)
        | Value::Other(value) => text(value),
        other => panic!("{other:?}"),
    }
}

pub(super) fn charset(name: &str) -> Option<Charset> {
    Some(Charset { name: name.into(), collation: "".into() })
}

pub(super) fn column(kind: ColumnKind) -> ColumnDef {
    ColumnDef { charset: charset("utf8mb4"), ..ColumnDef::new("c", kind) }
}

fn wire(wire: u8, meta: u16) -> WireColumn {
    WireColumn { wire, meta, nullable: true }
}

pub(super) fn for_log(kind: u8, meta: u16, column: &ColumnDef, zero: ZeroDates) -> Result<Decoder, Mismatch> {
    Decoder::for_log(&wire(kind, meta), column, Flavour::MySql, zero)
}

/// MY-40: a column that the log has as another type or length than declared is never read.
#[test]
fn a_column_that_the_log_has_otherwise_is_refused() {
    let labels = |count: usize| (0..count).map(|n| Arc::from(n.to_string())).collect::<Arc<[Arc<str>]>>();
    for (kind, wire, meta) in [
        (ColumnKind::Int, types::VARCHAR, 80),
        (ColumnKind::Int, types::LONGLONG, 0),
        (ColumnKind::BigInt, types::LONG, 0),
        (ColumnKind::Decimal { precision: 10, scale: 2 }, types::NEWDECIMAL, 10 << 8 | 3),
        (ColumnKind::Decimal { precision: 10, scale: 2 }, 0, 0),
        (ColumnKind::Float { digits: None }, types::DOUBLE, 8),
        (ColumnKind::Bit { length: 9 }, types::BIT, 8),
        (ColumnKind::DateTime { fsp: 3 }, types::DATETIME2, 6),
        (ColumnKind::DateTime { fsp: 3 }, types::DATETIME, 0),
        (ColumnKind::Timestamp { fsp: 6 }, types::DATETIME2, 6),
        (ColumnKind::Time { fsp: 6 }, types::TIME, 0),
        (ColumnKind::VarChar { length: 20 }, types::VARCHAR, 101),
        (ColumnKind::VarChar { length: 20 }, types::VARCHAR, 19),
        (ColumnKind::VarBinary { length: 20 }, types::VARCHAR, 21),
        (ColumnKind::Binary { length: 5 }, types::STRING, 6),
        (ColumnKind::Char { length: 5 }, types::VARCHAR, 20),
        (ColumnKind::Text { width: 2 }, types::BLOB, 4),
        (ColumnKind::Text { width: 4 }, types::JSON, 4),
        (ColumnKind::Json, types::BLOB, 4),
        (ColumnKind::Enum { labels: labels(256) }, types::ENUM, 1),
        (ColumnKind::Enum { labels: labels(255) }, types::ENUM, 2),
        (ColumnKind::Set { labels: labels(9) }, types::SET, 1),
        (ColumnKind::Set { labels: labels(65) }, types::SET, 8),
        (ColumnKind::Uuid, types::STRING, 4),
        (ColumnKind::Inet4, types::STRING, 16),
        (ColumnKind::Vector { dimensions: 3 }, types::VARCHAR, 12),
        (ColumnKind::Geometry { subtype: GeometryKind::Point }, types::BLOB, 4),
        (ColumnKind::Unknown { name: "xmltype".into() }, types::BLOB, 4),
    ] {
        let column = column(kind);
        let error = for_log(wire, meta, &column, ZeroDates::Halt).expect_err(&format!("{column:?}"));
        assert!(error.to_string().contains("column `c`"), "{error}");
    }
    let error = for_log(types::VARCHAR, 80, &column(ColumnKind::Int), ZeroDates::Halt).unwrap_err();
    assert_eq!(error.to_string(), "column `c` is known as int, yet the log has VARCHAR of 80 bytes");
    let error = for_log(types::TIME, 0, &column(ColumnKind::Time { fsp: 6 }), ZeroDates::Halt).unwrap_err();
    assert!(error.to_string().ends_with("rebuild the table with `ALTER TABLE ... FORCE`"), "{error}");
}

#[test]
fn a_text_needs_a_known_character_set() {
    for set in [None, charset("klingon")] {
        let column = ColumnDef { charset: set, ..column(ColumnKind::VarChar { length: 20 }) };
        for error in [
            for_log(types::VARCHAR, 80, &column, ZeroDates::Halt).unwrap_err(),
            Decoder::for_result(&column, types::VAR_STRING, 0, Flavour::MySql, ZeroDates::Halt).unwrap_err(),
        ] {
            assert!(matches!(error, Mismatch::Unsupported(_)), "{error}");
        }
        assert!(column_schema(&column, Flavour::MySql, ZeroDates::Halt).is_err());
    }
}

#[test]
fn a_result_that_is_otherwise_is_refused() {
    let unsigned = ColumnDef { unsigned: true, ..column(ColumnKind::Int) };
    for (column, kind, flags) in [
        (&unsigned, types::LONG, 0),
        (&column(ColumnKind::Int), types::LONG, 32),
        (&column(ColumnKind::Int), types::LONGLONG, 0),
        (&column(ColumnKind::Text { width: 2 }), types::LONG, 0),
        (&column(ColumnKind::Json), types::BLOB, 0),
        (&column(ColumnKind::Date), types::DATETIME, 0),
        (&column(ColumnKind::Unknown { name: "x".into() }), types::BLOB, 0),
    ] {
        let result = Decoder::for_result(column, kind, flags, Flavour::MySql, ZeroDates::Halt);
        assert!(result.is_err(), "{column:?}");
    }
    assert!(Decoder::for_result(&unsigned, types::LONG, 32, Flavour::MySql, ZeroDates::Halt).is_ok());
}

/// MY-67: bytes that are no text are an error, never replaced.
#[test]
fn bytes_that_are_no_text_are_refused() {
    for (set, bytes) in [("utf8mb4", &b"\x02\xff\xfe"[..]), ("utf8mb3", b"\x01\x80"), ("ascii", b"\x01\x80")] {
        let column = ColumnDef { charset: charset(set), ..column(ColumnKind::VarChar { length: 20 }) };
        let decoder = for_log(types::VARCHAR, 80, &column, ZeroDates::Halt).unwrap();
        let error = read(&decoder, bytes).unwrap_err();
        assert!(matches!(error, ValueError::NotUtf8 | ValueError::Charset(_)), "{set}: {error}");
    }
}

/// A text set as `binary` is bytes; where the length is fixed, with the zeros that the log leaves out (MY-66).
#[test]
fn the_character_set_binary_means_bytes() {
    for (kind, wire, meta, expect) in [
        (ColumnKind::Char { length: 3 }, types::STRING, 3, "610000"),
        (ColumnKind::VarChar { length: 3 }, types::VARCHAR, 3, "61"),
    ] {
        let column = ColumnDef { charset: charset("binary"), ..column(kind) };
        let decoder = for_log(wire, meta, &column, ZeroDates::Halt).unwrap();
        assert_eq!(read(&decoder, b"\x01a").unwrap(), expect);
        let schema = column_schema(&column, Flavour::MySql, ZeroDates::Halt).unwrap();
        assert_eq!(schema.data_type, tidewire_core::DataType::Bytes);
    }
}

/// Every way of reading, for the tests that feed it what no server sends.
fn all_decoders() -> Vec<Decoder> {
    let mut decoders = Vec::new();
    for record in recorded::all() {
        for zero in [ZeroDates::Halt, ZeroDates::Text] {
            decoders.extend(record.types.iter().map(|case| case.log(record.flavour, zero)));
            decoders.extend(record.types.iter().map(|case| case.result(record.flavour, zero)));
        }
    }
    for (kind, wire) in [
        (ColumnKind::DateTime { fsp: 0 }, types::DATETIME),
        (ColumnKind::Timestamp { fsp: 0 }, types::TIMESTAMP),
        (ColumnKind::Time { fsp: 0 }, types::TIME),
    ] {
        decoders.push(for_log(wire, 0, &column(kind), ZeroDates::Null).unwrap());
    }
    decoders
}

#[test]
fn every_cut_of_a_value_is_an_error() {
    for record in recorded::all() {
        for case in &record.types {
            for (decoder, rows) in [
                (case.log(record.flavour, ZeroDates::Text), case.rows.iter().map(|row| &row.log).collect::<Vec<_>>()),
                (case.result(record.flavour, ZeroDates::Text), case.rows.iter().map(|row| &row.result).collect()),
            ] {
                for bytes in rows {
                    for length in (0..bytes.len()).step_by(1 + bytes.len() / 50) {
                        assert!(read(&decoder, &bytes[..length]).is_err(), "{} {length}", case.sql);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        use std::sync::LazyLock;
        static DECODERS: LazyLock<Vec<Decoder>> = LazyLock::new(all_decoders);
        let (mut builder, mut scratch) = (builder(), Scratch::default());
        for decoder in DECODERS.iter() {
            let _ = decoder.decode(&mut &bytes[..], &mut builder, &mut scratch);
        }
    }
}
