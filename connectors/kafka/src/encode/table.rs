//! What is decided and rendered once per table version: how each column is written, the constant parts of
//! keys and values, the schema block.

use super::column::{self, Form};
use super::connect_type::{ConnectType, field};
use super::default_value::column_default;
use super::json::write_name;
use super::source_block::{SourceBlock, SourceNames};
use super::transaction::block_schema;
use super::value::{Fault, ValueWriter};
use crate::format::{Envelope, FormatSettings, Profile};
use std::sync::Arc;
use tidewire_core::{Cell, Error, Result, TableSchema};

/// Number of a topic, given out by the encoder in the order in which topics first appear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicId(pub u32);

/// What to do with a cell that the log did not carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Write the placeholder.
    Placeholder,
    /// Leave the member out.
    Omit,
    /// Write what stands for null.
    Null,
}

/// A fault and the column it lies in.
#[derive(Debug)]
pub(crate) enum RowFault {
    Value(usize, Fault),
    /// The log did not carry the value and no placeholder can stand for it.
    Unknown(usize),
    /// The image does not fit the table.
    Shape,
}

#[derive(Debug)]
struct ColumnPlan {
    /// `,"name":`.
    prefix: Box<[u8]>,
    form: Form,
    /// `null`, or the default where the profile writes that.
    null: Box<[u8]>,
    placeholder: Option<Box<[u8]>>,
}

/// A table version, ready to be encoded.
#[derive(Debug)]
pub(crate) struct TablePlan {
    pub(crate) schema: Arc<TableSchema>,
    pub(crate) topic: TopicId,
    pub(crate) names: SourceNames,
    /// `schema.table`, as transaction metadata counts it.
    pub(crate) collection: Arc<str>,
    /// What precedes the payload of a key; empty without a schema block.
    pub(crate) key_open: Box<[u8]>,
    /// The same for a value.
    pub(crate) value_open: Box<[u8]>,
    /// In the order of the table; none for a column that the profile leaves out.
    columns: Vec<Option<ColumnPlan>>,
}

impl TablePlan {
    pub(crate) fn new(
        schema: &Arc<TableSchema>,
        topic: TopicId,
        topic_name: &str,
        settings: &FormatSettings,
        source: &SourceBlock,
    ) -> Result<TablePlan> {
        let dialect = source.dialect();
        let mut columns = Vec::with_capacity(schema.columns.len());
        let mut fields = Vec::with_capacity(schema.columns.len());
        let mut key_fields = vec![String::new(); schema.key.len()];
        for (index, column) in schema.columns.iter().enumerate() {
            let planned = column::plan(&column.data_type, &column.native_type, settings, dialect);
            let Some((form, connect)) = planned else {
                columns.push(None);
                continue;
            };
            let default = column_default(column, &form, settings.profile, dialect);
            let debezium = settings.profile == Profile::Debezium3;
            // A reader puts the default in place of null, so that a column with both would lose its nulls.
            let shown = default.as_deref().filter(|_| debezium || !column.nullable);
            let field = connect.schema(column.nullable, shown, Some(&column.name));
            for (place, _) in schema.key.iter().enumerate().filter(|(_, part)| **part == index) {
                if let Some(slot) = key_fields.get_mut(place) {
                    field.clone_into(slot);
                }
            }
            fields.push(field);
            let mut prefix = b",".to_vec();
            write_name(&mut prefix, &column.name);
            columns.push(Some(ColumnPlan {
                prefix: prefix.into(),
                placeholder: column::placeholder(&form, &connect).map(Into::into),
                null: default.filter(|_| debezium).unwrap_or_else(|| b"null".to_vec()).into(),
                form,
            }));
        }
        check_reserved_names(schema, settings, source)?;
        key_fields.retain(|field| !field.is_empty());
        let (key_open, value_open) = match settings.schemas {
            false => (Box::default(), Box::default()),
            true => (
                open(&ConnectType::structure(&format!("{topic_name}.Key"), 0, &key_fields).schema(false, None, None)),
                open(&value_schema(topic_name, &fields, settings.envelope, source)),
            ),
        };
        Ok(TablePlan {
            schema: Arc::clone(schema),
            topic,
            names: source.names(&schema.name.schema, &schema.name.table),
            collection: schema.name.to_string().into(),
            key_open,
            value_open,
            columns,
        })
    }

    pub(crate) fn has_key(&self) -> bool {
        !self.schema.key.is_empty()
    }

    /// Writes the members of a row, each with a comma before it.
    pub(crate) fn write_members(
        &self,
        writer: &mut ValueWriter<'_>,
        cells: &[Cell],
        arena: &[u8],
        unknown: Unknown,
    ) -> std::result::Result<(), RowFault> {
        if cells.len() != self.columns.len() {
            return Err(RowFault::Shape);
        }
        for (index, (column, cell)) in self.columns.iter().zip(cells).enumerate() {
            let Some(column) = column else { continue };
            if cell.is_null() {
                writer.out.extend_from_slice(&column.prefix);
                writer.out.extend_from_slice(&column.null);
            } else if cell.is_unknown() {
                match (unknown, &column.placeholder) {
                    (Unknown::Omit, _) => {}
                    (Unknown::Null, _) => {
                        writer.out.extend_from_slice(&column.prefix);
                        writer.out.extend_from_slice(&column.null);
                    }
                    (Unknown::Placeholder, Some(placeholder)) => {
                        writer.out.extend_from_slice(&column.prefix);
                        writer.out.extend_from_slice(placeholder);
                    }
                    (Unknown::Placeholder, None) => return Err(RowFault::Unknown(index)),
                }
            } else {
                writer.out.extend_from_slice(&column.prefix);
                writer.write(&column.form, cell.value(arena)).map_err(|fault| RowFault::Value(index, fault))?;
            }
        }
        Ok(())
    }

    /// Writes the payload of a row's key. `other` is the row's other image: it helps out with what the
    /// first does not carry.
    pub(crate) fn write_key(
        &self,
        writer: &mut ValueWriter<'_>,
        cells: &[Cell],
        other: Option<&[Cell]>,
        arena: &[u8],
    ) -> std::result::Result<(), RowFault> {
        let start = writer.out.len();
        for index in &self.schema.key {
            let (Some(column), Some(cell)) = (self.columns.get(*index), cells.get(*index)) else {
                return Err(RowFault::Shape);
            };
            let Some(column) = column else { continue };
            let cell = match other.and_then(|other| other.get(*index)) {
                Some(known) if cell.is_unknown() => known,
                _ => cell,
            };
            if cell.is_unknown() {
                return Err(RowFault::Unknown(*index));
            }
            writer.out.extend_from_slice(&column.prefix);
            writer.write(&column.form, cell.value(arena)).map_err(|fault| RowFault::Value(*index, fault))?;
        }
        close_object(writer.out, start);
        Ok(())
    }
}

/// Turns members that begin with commas, written from `start` on, into an object.
pub(crate) fn close_object(out: &mut Vec<u8>, start: usize) {
    match out.get_mut(start) {
        Some(comma) => *comma = b'{',
        None => out.push(b'{'),
    }
    out.push(b'}');
}

/// What precedes the payload when the schema is shown.
pub(crate) fn open(schema: &str) -> Box<[u8]> {
    format!("{{\"schema\":{schema},\"payload\":").into_bytes().into()
}

/// Names of the members that the flat envelope adds, the place in the log last.
pub(crate) fn flat_members(source: &SourceBlock) -> Vec<String> {
    let mut names: Vec<String> = ["__deleted", "__op", "__source_ts_ms"].map(str::to_owned).into();
    names.extend(source.offset_field().map(|field| format!("__{}", field.name)));
    names
}

fn check_reserved_names(schema: &TableSchema, settings: &FormatSettings, source: &SourceBlock) -> Result<()> {
    if settings.envelope != Envelope::Flat {
        return Ok(());
    }
    match flat_members(source).iter().find(|name| schema.column_index(name).is_some()) {
        None => Ok(()),
        Some(name) => Err(Error::operator(
            "column_name_reserved",
            format!("column `{name}` of table `{}` has the name of a member that the flat envelope adds", schema.name),
        )
        .with_remedy("rename the column, or set `envelope = \"debezium\"` in the sink's `format`")
        .with_table(schema.name.clone())),
    }
}

fn value_schema(topic: &str, fields: &[String], envelope: Envelope, source: &SourceBlock) -> String {
    let row = ConnectType::structure(&format!("{topic}.Value"), 0, fields);
    if envelope == Envelope::Flat {
        let mut fields = fields.to_vec();
        fields.extend([
            field("string", true, "__deleted"),
            field("string", true, "__op"),
            field("int64", true, "__source_ts_ms"),
        ]);
        fields.extend(flat_members(source).get(3).map(|name| field("int64", true, name)));
        return ConnectType::structure(&format!("{topic}.Value"), 0, &fields).schema(false, None, None);
    }
    let fields = [
        row.schema(true, None, Some("before")),
        row.schema(true, None, Some("after")),
        source.schema(),
        block_schema(),
        field("string", false, "op"),
        field("int64", true, "ts_ms"),
        field("int64", true, "ts_us"),
        field("int64", true, "ts_ns"),
    ];
    ConnectType::structure(&format!("{topic}.Envelope"), 2, &fields).schema(false, None, None)
}
