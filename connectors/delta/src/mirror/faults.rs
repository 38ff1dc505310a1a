//! Values that stop a mirror's table, in the operator's words: what, where, and what resolves it.

use crate::encode::column::Unfit;
use crate::encode::key::KeyFault;
use crate::layout::{Layout, column_label, key_text};
use tidewire_core::cell::IMPOSSIBLE_DATE_REMEDY;
use tidewire_core::{Error, TableSchema, Value};

/// Why a value stops its table, in the operator's words.
pub(crate) fn unfit_error<'a>(
    schema: &TableSchema,
    layout: &Layout,
    at: usize,
    unfit: Unfit,
    value: impl Fn(usize) -> Value<'a>,
) -> Error {
    let column = column_label(&layout.columns, at);
    let column_type = layout.columns.get(at).map(|column| column.column_type.to_string()).unwrap_or_default();
    let key = key_text(schema, value);
    let place = format!("column `{column}` of the row `{key}` of `{}`", schema.name);
    // A column of the table may have another name than the source's.
    let source = layout.sources.get(at).copied().flatten().and_then(|source| schema.columns.get(source));
    let source = source.map_or(&*column, |source| &*source.name);
    let as_text = format!(
        "add `{}.{source}` to `text_columns` of the sink and read the table again into a new place, or correct the row at the source",
        schema.name
    );
    let what = match unfit {
        Unfit::NotFinite => "is infinite or not a number",
        Unfit::Year => "lies outside the years 1 to 9999",
        Unfit::Digits => "has too many digits",
        Unfit::Shape => "has several dimensions or does not begin at 1",
        Unfit::Calendar => {
            return Error::operator("date_impossible", format!("{place} is a date that no calendar has"))
                .with_remedy(IMPOSSIBLE_DATE_REMEDY)
                .with_table(schema.name.clone());
        }
        Unfit::Empty => {
            return Error::operator("partition_value_empty", format!("{place} is an empty text, which readers take for null in a partition column"))
                .with_remedy("take the column out of `partition_by` and give the sink a new name and location, or correct the row at the source")
                .with_table(schema.name.clone());
        }
        Unfit::Path => {
            return Error::operator("partition_value_text", format!("{place} is a text that no folder of a partition can be called by: `__HIVE_DEFAULT_PARTITION__`, one with a NUL, or one that takes more than 190 bytes there (characters other than `A-Z a-z 0-9 - _ .` take three for each byte of theirs)"))
                .with_remedy("take the column out of `partition_by` and give the sink a new name and location, or correct the row at the source")
                .with_table(schema.name.clone());
        }
        Unfit::Unknown => {
            return Error::operator(
                "unknown_value",
                format!("the log left out {place}, and the table does not have it"),
            )
            .with_remedy(format!(
                "{}, then give the sink a new name and location, which reads its tables anew",
                whole_rows(schema)
            ))
            .with_table(schema.name.clone());
        }
        Unfit::Kind => {
            return Error::bug("cell_kind", format!("{place} came with another kind of value than `{column_type}`"))
                .with_table(schema.name.clone());
        }
    };
    Error::operator("value_out_of_range", format!("{place} {what}, which Delta's `{column_type}` cannot hold"))
        .with_remedy(as_text)
        .with_table(schema.name.clone())
}

/// How the log comes to carry whole rows.
pub(super) fn whole_rows(schema: &TableSchema) -> String {
    format!(
        "let the log carry whole rows: `ALTER TABLE {} REPLICA IDENTITY FULL` in PostgreSQL, `binlog_row_image = FULL` in \
         MySQL and MariaDB",
        schema.name
    )
}

pub(super) fn key_fault<'a>(schema: &TableSchema, fault: KeyFault, value: impl Fn(usize) -> Value<'a>) -> Error {
    let name = |part: usize| schema.key_columns().nth(part).map_or("?", |(_, column)| &*column.name);
    let key = || key_text(schema, &value);
    let (code, message, remedy) = match fault {
        KeyFault::Null(part) => (
            "key_null",
            format!("key column `{}` of `{}` is null in the row `{}`", name(part), schema.name, key()),
            "give the table a primary key, or use `mode = \"changelog\"`".to_owned(),
        ),
        KeyFault::Unfit(part, Unfit::Unknown) => (
            "key_unknown",
            format!("the log left out key column `{}` of a row of `{}`", name(part), schema.name),
            whole_rows(schema),
        ),
        KeyFault::Unfit(part, Unfit::Calendar) => (
            "date_impossible",
            format!(
                "key column `{}` of `{}` has a date that no calendar has, in the row `{}`",
                name(part),
                schema.name,
                key()
            ),
            IMPOSSIBLE_DATE_REMEDY.to_owned(),
        ),
        KeyFault::Unfit(part, _) => (
            "value_out_of_range",
            format!("key column `{}` of `{}` cannot hold the row `{}`", name(part), schema.name, key()),
            format!("add `{}.{}` to `text_columns` of the sink and read the table again", schema.name, name(part)),
        ),
    };
    Error::operator(code, message).with_remedy(remedy).with_table(schema.name.clone())
}
