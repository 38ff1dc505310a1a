//! The `source` member: where in the log a change lies. What is constant is rendered once; what differs
//! between connectors comes from the source's descriptor.

use super::column::Dialect;
use super::connect_type::{ConnectType, field};
use super::json::{write_escaped, write_int, write_name, write_string};
use crate::format::Profile;
use std::sync::Arc;
use tidewire_core::batch::{Ddl, Provenance};
use tidewire_core::source::{ProvenanceField, ProvenanceOrigin, ProvenanceType, SourceDescriptor};
use tidewire_core::{Change, Op, Transaction};

/// What `source.version` says in the `debezium-3` profile: the version whose output it reproduces.
const DEBEZIUM_VERSION: &str = "3.6.1.Final";
/// The words of `source.snapshot`.
const SNAPSHOT_WORDS: &str = "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental";

/// Renders `source` for one source.
pub(crate) struct SourceBlock {
    descriptor: Arc<SourceDescriptor>,
    /// `{"version":...,"connector":...,"name":...,"ts_ms":`.
    head: Box<[u8]>,
    /// Each provenance field with its `,"name":`; those that are always null stand before the next one's.
    provenance: Vec<(Box<[u8]>, ProvenanceField)>,
    /// What follows the last of them.
    tail: Box<[u8]>,
    profile: Profile,
}

/// The parts of `source` that are constant for a table.
#[derive(Debug)]
pub(crate) struct SourceNames {
    /// `","db":"...","sequence":`: follows the snapshot word.
    database: Box<[u8]>,
    /// `,"schema":"...","table":"..."`.
    table: Box<[u8]>,
}

/// The parts of `source` that belong to a change.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) change: &'a Change,
    pub(crate) transaction: Option<&'a Transaction>,
    /// Whether the change counts among its transaction's: not when a snapshot read it, nor as a message
    /// outside transactions.
    pub(crate) counted: bool,
    /// When it happened, in microseconds since 1970.
    pub(crate) micros: i64,
    /// The word of `source.snapshot`; `false` in the log.
    pub(crate) snapshot: &'static str,
}

impl SourceBlock {
    pub(crate) fn new(descriptor: Arc<SourceDescriptor>, profile: Profile) -> SourceBlock {
        let version = match profile {
            Profile::Tidewire => env!("CARGO_PKG_VERSION"),
            Profile::Debezium3 => DEBEZIUM_VERSION,
        };
        let mut head = b"{\"version\":".to_vec();
        write_string(&mut head, version.as_bytes());
        head.extend_from_slice(b",\"connector\":");
        write_string(&mut head, descriptor.connector.as_bytes());
        head.extend_from_slice(b",\"name\":");
        write_string(&mut head, descriptor.name.as_bytes());
        head.extend_from_slice(b",\"ts_ms\":");
        let mut provenance = Vec::new();
        let mut constant = Vec::new();
        for field in descriptor.provenance {
            constant.push(b',');
            write_name(&mut constant, field.name);
            if field.origin == ProvenanceOrigin::Null {
                constant.extend_from_slice(b"null");
            } else {
                provenance.push((std::mem::take(&mut constant).into(), *field));
            }
        }
        constant.push(b'}');
        SourceBlock { descriptor, head: head.into(), provenance, tail: constant.into(), profile }
    }

    /// The constant parts for a table, or for what has none (both empty). A source that reads several
    /// databases calls a table's schema its database and has no `schema` member.
    pub(crate) fn names(&self, schema: &str, table: &str) -> SourceNames {
        let single = self.has_schemas();
        let mut database = b"\",\"db\":".to_vec();
        write_string(&mut database, if single { &self.descriptor.database } else { schema }.as_bytes());
        database.extend_from_slice(b",\"sequence\":");
        let mut names = Vec::new();
        if single {
            names.extend_from_slice(b",\"schema\":");
            write_string(&mut names, schema.as_bytes());
        }
        names.extend_from_slice(b",\"table\":");
        write_string(&mut names, table.as_bytes());
        SourceNames { database: database.into(), table: names.into() }
    }

    /// Writes the object.
    pub(crate) fn write(&self, out: &mut Vec<u8>, names: &SourceNames, place: Place<'_>) {
        out.extend_from_slice(&self.head);
        let mut digits = itoa::Buffer::new();
        let micros = digits.format(place.micros);
        write_millis(out, place.micros, micros);
        out.extend_from_slice(b",\"snapshot\":\"");
        out.extend_from_slice(place.snapshot.as_bytes());
        out.extend_from_slice(&names.database);
        self.write_sequence(out, place);
        write_digits_of_micros(out, micros);
        out.extend_from_slice(&names.table);
        let streamed = place.snapshot == "false";
        // Of what is a statement in the binlog, Debezium does not tell who ran it.
        let statement = self.profile == Profile::Debezium3 && matches!(place.change.op, Op::Ddl | Op::Truncate);
        for (member, field) in &self.provenance {
            out.extend_from_slice(member);
            let hidden = statement && field.name == "thread";
            if (streamed || field.in_snapshot) && !hidden {
                write_provenance(out, field, place);
            } else {
                out.extend_from_slice(b"null");
            }
        }
        out.extend_from_slice(&self.tail);
    }

    /// The schema of the object.
    pub(crate) fn schema(&self) -> String {
        let snapshot = ConnectType::labels("io.debezium.data.Enum", &[SNAPSHOT_WORDS.into()]);
        let mut fields = vec![
            field("string", false, "version"),
            field("string", false, "connector"),
            field("string", false, "name"),
            field("int64", false, "ts_ms"),
            snapshot.schema(true, Some(b"\"false\""), Some("snapshot")),
            field("string", false, "db"),
            field("string", true, "sequence"),
            field("int64", true, "ts_us"),
            field("int64", true, "ts_ns"),
        ];
        if self.has_schemas() {
            fields.push(field("string", false, "schema"));
        }
        fields.push(field("string", !self.has_schemas(), "table"));
        for part in self.descriptor.provenance {
            let word = match part.field_type {
                ProvenanceType::Int32 => "int32",
                ProvenanceType::Int64 => "int64",
                ProvenanceType::Text => "string",
            };
            fields.push(field(word, part.optional, part.name));
        }
        let name = format!("io.debezium.connector.{}.Source", self.descriptor.connector);
        ConnectType::structure(&name, 1, &fields).schema(false, None, Some("source"))
    }

    /// The field that tells a change's own place in the log, if there is one.
    pub(crate) fn offset_field(&self) -> Option<&ProvenanceField> {
        self.descriptor.provenance.iter().find(|field| field.origin == ProvenanceOrigin::Offset)
    }

    pub(crate) fn descriptor(&self) -> &SourceDescriptor {
        &self.descriptor
    }

    /// The constant parts for a statement. One that touched no table has null for it.
    pub(crate) fn names_of_statement(&self, ddl: &Ddl<'_>) -> SourceNames {
        let mut database = b"\",\"db\":".to_vec();
        write_string(&mut database, ddl.database);
        database.extend_from_slice(b",\"sequence\":");
        let mut table = b",\"table\":".to_vec();
        match ddl.tables {
            [] => table.extend_from_slice(b"null"),
            names => write_string(&mut table, names),
        }
        SourceNames { database: database.into(), table: table.into() }
    }

    /// How Debezium names a transaction of a binlog without GTIDs, whose id is `file:position` here.
    pub(crate) fn debezium_transaction_id(&self, transaction: &Transaction) -> Option<String> {
        let gtid = self.descriptor.provenance.iter().find(|field| field.name == "gtid")?;
        let ProvenanceOrigin::Transaction(index) = gtid.origin else { return None };
        if !matches!(transaction.provenance.get(index), Some(Provenance::Absent) | None) {
            return None;
        }
        let (file, position) = transaction.id.rsplit_once(':')?;
        Some(format!("file={file},pos={position}"))
    }

    /// Whose types the source's tables have.
    pub(crate) fn dialect(&self) -> Dialect {
        Dialect::of(self.descriptor.connector)
    }

    fn has_schemas(&self) -> bool {
        !self.descriptor.database.is_empty()
    }

    // `"[\"previous commit\",\"own place\"]"`.
    fn write_sequence(&self, out: &mut Vec<u8>, place: Place<'_>) {
        if !self.descriptor.has_sequence {
            out.extend_from_slice(b"null");
            return;
        }
        match place.transaction.and_then(|transaction| transaction.previous_commit) {
            Some(previous) => {
                out.extend_from_slice(b"\"[\\\"");
                write_int(out, previous);
                out.extend_from_slice(b"\\\",\\\"");
            }
            None => out.extend_from_slice(b"\"[null,\\\""),
        }
        write_int(out, place.change.offset);
        out.extend_from_slice(b"\\\"]\"");
    }
}

/// Writes `,"ts_us":n,"ts_ns":n` for an instant in microseconds.
pub(crate) fn write_micros_and_nanos(out: &mut Vec<u8>, micros: i64) {
    write_digits_of_micros(out, itoa::Buffer::new().format(micros));
}

// On the digits: one conversion serves three units, and nanoseconds of a far instant pass 64 bits.
fn write_digits_of_micros(out: &mut Vec<u8>, micros: &str) {
    out.extend_from_slice(b",\"ts_us\":");
    out.extend_from_slice(micros.as_bytes());
    out.extend_from_slice(b",\"ts_ns\":");
    out.extend_from_slice(micros.as_bytes());
    if micros != "0" {
        out.extend_from_slice(b"000");
    }
}

fn write_millis(out: &mut Vec<u8>, value: i64, micros: &str) {
    match micros.as_bytes().split_last_chunk::<3>() {
        Some((millis, _)) if value >= 1_000 => out.extend_from_slice(millis),
        _ => write_int(out, value.div_euclid(1_000)),
    }
}

fn write_provenance(out: &mut Vec<u8>, field: &ProvenanceField, place: Place<'_>) {
    let of_transaction = |index: usize| place.transaction.and_then(|transaction| transaction.provenance.get(index));
    match field.origin {
        ProvenanceOrigin::Offset => write_int(out, place.change.offset),
        ProvenanceOrigin::Row => write_int(out, place.change.row),
        ProvenanceOrigin::Null => out.extend_from_slice(b"null"),
        ProvenanceOrigin::Transaction(index) => match of_transaction(index) {
            Some(Provenance::Int(value)) => write_int(out, *value),
            Some(Provenance::Text(text)) => {
                out.push(b'"');
                write_escaped(out, text.as_bytes());
                out.push(b'"');
            }
            Some(Provenance::Absent) | None => out.extend_from_slice(b"null"),
        },
    }
}
