//! Builds batches from the texts that a server prints, as its connector would. Tables and types here are PostgreSQL's.

use std::sync::Arc;
use tidewire_core::batch::{BatchLimits, Before, ChangeHead, Ddl, Provenance};
use tidewire_core::calendar::{Date, Interval, MICROS_PER_DAY, Timestamp};
use tidewire_core::cell::{Dimension, Tag};
use tidewire_core::schema::{KeyKind, OldRow};
use tidewire_core::source::{ProvenanceField, ProvenanceOrigin, ProvenanceType};
use tidewire_core::{
    Batch, BatchBuilder, Cell, ColumnSchema, DataType, Op, Phase, SchemaVersion, SourceDescriptor, TableName,
    TableSchema, Transaction,
};

/// A cell of the script: a value as the server prints it, null, or not in the log.
#[derive(Clone, Copy, Debug)]
pub(super) enum Text<'a> {
    Null,
    Unknown,
    Impossible(&'a str),
    Is(&'a str),
}

pub(super) fn descriptor(name: &str) -> Arc<SourceDescriptor> {
    const fn field(name: &'static str, field_type: ProvenanceType, origin: ProvenanceOrigin) -> ProvenanceField {
        ProvenanceField { name, field_type, optional: true, origin, in_snapshot: true }
    }
    static FIELDS: [ProvenanceField; 5] = [
        field("txId", ProvenanceType::Int64, ProvenanceOrigin::Transaction(0)),
        field("lsn", ProvenanceType::Int64, ProvenanceOrigin::Offset),
        field("xmin", ProvenanceType::Int64, ProvenanceOrigin::Null),
        field("origin", ProvenanceType::Text, ProvenanceOrigin::Null),
        field("origin_lsn", ProvenanceType::Int64, ProvenanceOrigin::Null),
    ];
    Arc::new(SourceDescriptor {
        name: name.into(),
        connector: "postgresql",
        database: "golden".into(),
        provenance: &FIELDS,
        has_sequence: true,
        snapshot_floor: None,
    })
}

/// A table from `name type[ not null][ = default]` lines; `key` names its key's columns.
pub(super) fn table(name: &str, columns: &[&str], key: &[&str]) -> Arc<TableSchema> {
    let columns: Vec<ColumnSchema> = columns.iter().map(|line| column(line)).collect();
    let index = |name: &&str| columns.iter().position(|column| &*column.name == *name).expect("a column");
    Arc::new(TableSchema {
        name: TableName::new("public", name),
        version: SchemaVersion(1),
        native_id: 1,
        key: key.iter().map(index).collect(),
        key_kind: if key.is_empty() { KeyKind::None } else { KeyKind::Primary },
        old_row: OldRow::Key,
        columns,
    })
}

fn column(line: &str) -> ColumnSchema {
    let (line, default) = line.split_once(" = ").map_or((line, None), |(line, default)| (line, Some(default)));
    let (line, nullable) = line.strip_suffix(" not null").map_or((line, true), |line| (line, false));
    // The name may hold spaces, the types here do not.
    let (name, native) = line.rsplit_once(' ').expect("name and type");
    ColumnSchema {
        name: name.into(),
        data_type: data_type(native),
        native_type: native.into(),
        nullable,
        default: default.map(Into::into),
        missing: tidewire_core::Missing::Unknown,
        number: None,
    }
}

fn data_type(native: &str) -> DataType {
    if let Some(element) = native.strip_suffix("[]") {
        return DataType::Array { element: Box::new(data_type(element)), element_native: element.into() };
    }
    let (name, modifier) = native.split_once('(').unwrap_or((native, ""));
    let mut numbers = modifier.trim_end_matches(')').split(',').filter_map(|part| part.parse::<u32>().ok());
    let precision = numbers.next();
    let fraction = precision.unwrap_or(6) as u8;
    match name {
        "boolean" => DataType::Bool,
        "int2" => DataType::Int { bits: 16 },
        "int4" => DataType::Int { bits: 32 },
        "int8" => DataType::Int { bits: 64 },
        "oid" => DataType::UInt { bits: 32 },
        "uint8" => DataType::UInt { bits: 64 },
        "float4" => DataType::Float32,
        "float8" => DataType::Float64,
        "money" => DataType::Decimal { precision: None, scale: Some(2) },
        "numeric" => DataType::Decimal { precision, scale: numbers.next().map(|scale| scale as i32) },
        "bytea" => DataType::Bytes,
        "date" => DataType::Date,
        "time" => DataType::Time { precision: fraction },
        "timetz" => DataType::TimeTz { precision: fraction },
        "timestamp" => DataType::Timestamp { precision: fraction },
        "timestamptz" => DataType::TimestampTz { precision: fraction },
        "interval" => DataType::Interval,
        "uuid" => DataType::Uuid,
        "json" | "jsonb" => DataType::Json,
        "mood" => DataType::Enum { labels: Arc::new(["sad", "ok", "happy"].map(Into::into)) },
        "bit" => DataType::Bits { length: precision, varying: false },
        "varbit" => DataType::Bits { length: precision, varying: true },
        "text" | "varchar" | "bpchar" | "citext" | "xml" => DataType::Text,
        name if name.ends_with("range") => DataType::Range,
        _ => DataType::Other,
    }
}

/// Fills the batches of a script.
pub(super) struct Fixture {
    is_mysql: bool,
    builder: BatchBuilder,
    ordinal: u64,
    /// Number of the next row within its event, in sources that count them.
    row: u32,
}

impl Fixture {
    pub(super) fn new(source: &Arc<SourceDescriptor>, phase: Phase) -> Fixture {
        let builder = BatchBuilder::new(Arc::clone(source), phase, BatchLimits::default());
        Fixture { builder, is_mysql: source.connector != "postgresql", ordinal: 0, row: 0 }
    }

    pub(super) fn transaction(&mut self, id: i64) {
        self.ordinal = 0;
        self.builder.transaction(Transaction {
            id: id.to_string().into(),
            commit: 700_000_000 + id as u64,
            commit_time_micros: 1_795_434_214_068_688,
            previous_commit: (id > 0).then_some(700_000_000),
            provenance: vec![Provenance::Int(id)],
        });
    }

    /// Opens a transaction with the fields of a binlog.
    pub(super) fn binlog_transaction(&mut self, id: &str, provenance: Vec<Provenance>) {
        self.ordinal = 0;
        self.row = 0;
        self.builder.transaction(Transaction {
            id: id.into(),
            commit: 700_000_000,
            commit_time_micros: 1_795_434_214_068_688,
            previous_commit: None,
            provenance,
        });
    }

    /// The next change is this row of its event.
    pub(super) fn row(&mut self, row: u32) {
        self.row = row;
    }

    pub(super) fn ddl(&mut self, ddl: &Ddl<'_>) {
        let head = self.head(Op::Ddl);
        self.builder.push_ddl(head, ddl);
    }

    /// Changes that follow belong to no transaction.
    pub(super) fn no_transaction(&mut self) {
        self.ordinal = 0;
        self.builder.transaction(Transaction {
            id: "".into(),
            commit: 0,
            commit_time_micros: 1_795_434_214_068_688,
            previous_commit: Some(700_000_000),
            provenance: vec![Provenance::Absent],
        });
    }

    pub(super) fn change(
        &mut self,
        op: Op,
        table: &Arc<TableSchema>,
        before: Option<(Before, &[Text<'_>])>,
        after: Option<&[Text<'_>]>,
    ) {
        let number = self.builder.table(table);
        let before = before.map(|(kind, row)| (kind, self.image(table, row)));
        let after = after.map(|row| self.image(table, row));
        let head = self.head(op);
        self.builder.push(head, number, before, after);
    }

    pub(super) fn message(&mut self, prefix: &str, content: &str) {
        let head = self.head(Op::Message);
        self.builder.push_message(head, prefix.as_bytes(), content.as_bytes());
    }

    pub(super) fn finish(&mut self) -> Batch {
        self.builder.finish(None, true, 1_795_434_215_211_882)
    }

    fn head(&mut self, op: Op) -> ChangeHead {
        self.ordinal += 1;
        ChangeHead { op, ordinal: self.ordinal, offset: 704_937_520 + self.ordinal, row: self.row }
    }

    fn image(&mut self, table: &TableSchema, row: &[Text<'_>]) -> tidewire_core::batch::ImageStart {
        assert_eq!(row.len(), table.columns.len(), "{}", table.name);
        let start = self.builder.image();
        for (column, text) in table.columns.iter().zip(row) {
            let cell = match text {
                Text::Null => Cell::NULL,
                Text::Unknown => Cell::UNKNOWN,
                Text::Impossible(text) => self.builder.long(Tag::Impossible, text.as_bytes()),
                Text::Is(text) => self.cell(&column.data_type, text),
            };
            self.builder.cell(cell);
        }
        start
    }

    fn cell(&mut self, data_type: &DataType, text: &str) -> Cell {
        let tag = match data_type {
            DataType::Bool => return Cell::boolean(text == "t"),
            DataType::Int { .. } => return Cell::int(text.parse().expect("an integer")),
            DataType::UInt { .. } => return Cell::uint(text.parse().expect("an integer")),
            DataType::Float32 => return Cell::float32(text.parse().expect("a float")),
            DataType::Float64 => return Cell::float64(text.parse().expect("a float")),
            DataType::Date => return Cell::date(date(text)),
            DataType::Time { precision } if self.is_mysql => return Cell::fixed_time(time(text), *precision),
            DataType::Time { .. } => return Cell::time(time(text)),
            DataType::TimeTz { .. } => {
                let (micros, offset) = with_offset(text);
                return Cell::time_tz(time(micros), offset);
            }
            DataType::Timestamp { .. } => return Cell::timestamp(timestamp(text)),
            DataType::TimestampTz { .. } => return Cell::timestamp_tz(timestamp(text.trim_end_matches("+00"))),
            DataType::Interval => return self.builder.interval(interval(text)),
            DataType::Array { element, .. } => return self.array(element, text),
            DataType::Bytes => return self.builder.long(Tag::Bytes, &bytes(text)),
            // `srid \xWKB`.
            DataType::Geometry => {
                let (srid, wkb) = text.split_once(' ').expect("a reference system and a geometry");
                return Cell::geometry(self.builder.span(&bytes(wkb)), srid.parse().expect("a number"));
            }
            DataType::Set { .. } => Tag::Set,
            DataType::Decimal { .. } => Tag::Decimal,
            DataType::Text => Tag::Text,
            DataType::Uuid => Tag::Uuid,
            DataType::Json => Tag::Json,
            DataType::Enum { .. } => Tag::Enum,
            DataType::Bits { .. } => Tag::Bits,
            DataType::Range => Tag::Range,
            _ => Tag::Other,
        };
        self.builder.long(tag, text.as_bytes())
    }

    // Elements without quotes, or a list of quoted ones; `{{1,2},{3,4}}` for two dimensions, `[0:1]={7,8}` for subscripts.
    fn array(&mut self, element: &DataType, text: &str) -> Cell {
        let (bounds, braces) = text.split_once('=').filter(|_| text.starts_with('[')).unwrap_or(("", text));
        let outer = braces.matches("},{").count() as u32 + 1;
        let flat = braces.replace("},{", ",").replace("{{", "{").replace("}}", "}");
        let mut cells = Vec::new();
        for item in items(&flat) {
            cells.push(if item == "NULL" { Cell::NULL } else { self.cell(element, &item) });
        }
        let count = cells.len() as u32;
        let lower = bounds.trim_start_matches('[').split(':').next().and_then(|lower| lower.parse().ok()).unwrap_or(1);
        let dimension = |length| Dimension { length, lower };
        let dimensions = match (count, outer) {
            (0, _) => Vec::new(),
            (_, 1) => vec![dimension(count)],
            _ => vec![dimension(outer), dimension(count / outer)],
        };
        self.builder.array(text.as_bytes(), &dimensions, &cells)
    }
}

fn items(text: &str) -> Vec<String> {
    let inner = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).expect("an array");
    let mut items = Vec::new();
    let (mut item, mut quoted, mut characters) = (String::new(), false, inner.chars());
    while let Some(character) = characters.next() {
        match character {
            '"' => quoted = !quoted,
            '\\' => item.extend(characters.next()),
            ',' if !quoted => items.push(std::mem::take(&mut item)),
            other => item.push(other),
        }
    }
    if !inner.is_empty() {
        items.push(item);
    }
    items
}

fn bytes(text: &str) -> Vec<u8> {
    let digits = text.strip_prefix("\\x").expect("hexadecimal").as_bytes();
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("digits");
    digits.chunks(2).map(pair).collect()
}

fn date(text: &str) -> Date {
    match text {
        "infinity" => return Date::INFINITY,
        "-infinity" => return Date::NEG_INFINITY,
        _ => {}
    }
    let (text, before) = text.strip_suffix(" BC").map_or((text, false), |text| (text, true));
    let parts: Vec<i32> = text.split('-').map(|part| part.parse().expect("a number")).collect();
    let year = if before { 1 - parts[0] } else { parts[0] };
    Date::from_civil(year, parts[1] as u32, parts[2] as u32).expect("a date")
}

fn time(text: &str) -> i64 {
    if let Some(text) = text.strip_prefix('-') {
        return -time(text);
    }
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let micros: i64 = format!("{fraction:0<6}").parse().expect("a fraction");
    clock.split(':').fold(0, |sum, part| sum * 60 + part.parse::<i64>().expect("a number")) * 1_000_000 + micros
}

fn with_offset(text: &str) -> (&str, i32) {
    let at = text.rfind(['+', '-']).expect("an offset");
    let (clock, offset) = text.split_at(at);
    let sign = if offset.starts_with('-') { -1 } else { 1 };
    let mut parts = offset.trim_start_matches(['+', '-']).split(':').map(|part| part.parse::<i32>().expect("a number"));
    (clock, sign * (parts.next().unwrap_or(0) * 3_600 + parts.next().unwrap_or(0) * 60))
}

fn timestamp(text: &str) -> Timestamp {
    match text {
        "infinity" => return Timestamp::INFINITY,
        "-infinity" => return Timestamp::NEG_INFINITY,
        _ => {}
    }
    let (text, era) = text.strip_suffix(" BC").map_or((text, ""), |text| (text, " BC"));
    let (day, clock) = text.split_once(' ').expect("a date and a time");
    let micros = time(clock);
    assert!(micros < MICROS_PER_DAY);
    Timestamp { date: date(&format!("{day}{era}")), micros }
}

// Months, days and microseconds.
fn interval(text: &str) -> Interval {
    let parts: Vec<i64> = text.split(' ').map(|part| part.parse().expect("a number")).collect();
    Interval { months: parts[0] as i32, days: parts[1] as i32, micros: parts[2] }
}
