//! Statements that changed the shapes of tables, as records of Debezium's schema-change topic. Knows how they look;
//! what became of the tables (`tableChanges`) comes as JSON from the source.

use super::connect_type::{ConnectType, field};
use super::json::{write_int, write_string};
use super::source_block::{Place, SourceBlock};
use super::table::{TopicId, open};
use tidewire_core::batch::Ddl;

/// What is constant for the statements of a source.
pub(crate) struct SchemaChangePlan {
    pub(crate) topic: TopicId,
    key_open: Box<[u8]>,
    value_open: Box<[u8]>,
}

impl SchemaChangePlan {
    /// With `schemas`, records carry the schema block.
    pub(crate) fn new(topic: TopicId, schemas: bool, source: &SourceBlock) -> SchemaChangePlan {
        let (key_open, value_open) = match schemas {
            false => (Box::default(), Box::default()),
            true => (open(&key_schema(source)), open(&value_schema(source))),
        };
        SchemaChangePlan { topic, key_open, value_open }
    }

    /// Writes `{"databaseName":...}`.
    pub(crate) fn write_key(&self, out: &mut Vec<u8>, ddl: &Ddl<'_>) {
        out.extend_from_slice(&self.key_open);
        out.extend_from_slice(b"{\"databaseName\":");
        write_string(out, ddl.database);
        out.extend_from_slice(if self.key_open.is_empty() { b"}" } else { b"}}" });
    }

    /// Writes the value.
    pub(crate) fn write_value(
        &self,
        out: &mut Vec<u8>,
        source: &SourceBlock,
        place: Place<'_>,
        received_micros: i64,
        ddl: &Ddl<'_>,
    ) {
        out.extend_from_slice(&self.value_open);
        out.extend_from_slice(b"{\"source\":");
        source.write(out, &source.names_of_statement(ddl), place);
        out.extend_from_slice(b",\"ts_ms\":");
        write_int(out, received_micros.div_euclid(1_000));
        out.extend_from_slice(b",\"databaseName\":");
        write_string(out, ddl.database);
        out.extend_from_slice(b",\"schemaName\":null,\"ddl\":");
        write_string(out, ddl.statement);
        out.extend_from_slice(b",\"tableChanges\":");
        out.extend_from_slice(ddl.table_changes);
        out.extend_from_slice(if self.value_open.is_empty() { b"}" } else { b"}}" });
    }
}

fn name(source: &SourceBlock, part: &str) -> String {
    format!("io.debezium.connector.{}.{part}", source.descriptor().connector)
}

fn key_schema(source: &SourceBlock) -> String {
    let fields = [field("string", false, "databaseName")];
    ConnectType::structure(&name(source, "SchemaChangeKey"), 1, &fields).schema(false, None, None)
}

fn value_schema(source: &SourceBlock) -> String {
    let changes = ConnectType::array(&change(), false);
    let fields = [
        source.schema(),
        field("int64", false, "ts_ms"),
        field("string", true, "databaseName"),
        field("string", true, "schemaName"),
        field("string", true, "ddl"),
        changes.schema(false, None, Some("tableChanges")),
    ];
    ConnectType::structure(&name(source, "SchemaChangeValue"), 1, &fields).schema(false, None, None)
}

fn change() -> ConnectType {
    let texts = || ConnectType::array(&ConnectType::plain("string"), false);
    let column = [
        field("string", false, "name"),
        field("int32", false, "jdbcType"),
        field("int32", true, "nativeType"),
        field("string", false, "typeName"),
        field("string", true, "typeExpression"),
        field("string", true, "charsetName"),
        field("int32", true, "length"),
        field("int32", true, "scale"),
        field("int32", false, "position"),
        field("boolean", true, "optional"),
        field("boolean", true, "autoIncremented"),
        field("boolean", true, "generated"),
        field("string", true, "comment"),
        field("string", true, "defaultValueExpression"),
        texts().schema(true, None, Some("enumValues")),
    ];
    let column = ConnectType::structure("io.debezium.connector.schema.Column", 1, &column);
    let table = [
        field("string", true, "defaultCharsetName"),
        texts().schema(true, None, Some("primaryKeyColumnNames")),
        ConnectType::array(&column, false).schema(false, None, Some("columns")),
        field("string", true, "comment"),
    ];
    let table = ConnectType::structure("io.debezium.connector.schema.Table", 1, &table);
    let change =
        [field("string", false, "type"), field("string", false, "id"), table.schema(true, None, Some("table"))];
    ConnectType::structure("io.debezium.connector.schema.Change", 1, &change)
}
