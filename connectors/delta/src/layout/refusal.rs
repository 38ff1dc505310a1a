//! Why a table cannot follow the source's schema, in the operator's words: what changed, from what to what, and what to
//! run. Decides nothing.

use super::evolve::Step;
use crate::typemap::TableColumn;
use std::fmt;
use std::sync::Arc;
use tidewire_core::{ColumnSchema, Error, Result, TableSchema};

/// The way out that is always there.
pub(super) const READ_ANEW: &str = "give the sink a new name and location, which reads its tables anew";

/// A type of the source that the table's column does not hold as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// Family of the source's type and Delta's type, as the table has them.
    from: (Arc<str>, String),
    /// The type in the source's words, its family, and Delta's type.
    to: (Arc<str>, Arc<str>, String),
}

impl Misfit {
    /// `None` when the table's column holds every value that is wanted.
    pub(super) fn of(held: &TableColumn, wanted: &TableColumn, native: &Arc<str>) -> Option<Misfit> {
        let fits = held.family == wanted.family && held.column_type.holds(&wanted.column_type);
        (!fits).then(|| Misfit {
            from: (Arc::clone(&held.family), held.column_type.to_string()),
            to: (Arc::clone(native), Arc::clone(&wanted.family), wanted.column_type.to_string()),
        })
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ((family, held), (native, new_family, wanted)) = (&self.from, &self.to);
        write!(f, "from {family}, Delta's `{held}`, to {new_family} `{native}`, Delta's `{wanted}`")
    }
}

/// The choices for a type that only grows.
const WIDEN: &str = "set `widening = \"rewrite\"` (every data file of the table is written anew, for any reader) or \
     `widening = \"types\"` (readers must know Delta's type widening) in the sink's `delta` section and restart Tidewire: the table goes on \
     from where it stopped";

fn refuse(schema: &TableSchema, code: &'static str, message: String, remedy: impl Into<String>) -> Error {
    Error::operator(code, message).with_remedy(remedy).with_table(schema.name.clone())
}

/// The commands by which a column that does not fit goes on under another name.
fn make_lenient(source: &ColumnSchema, is_key: bool) -> String {
    if is_key {
        return format!("a key column cannot go on under another name: {READ_ANEW}");
    }
    format!(
        "set `schema_changes = \"lenient\"` in the sink's `delta` section and restart Tidewire: `{}` then goes on in a new column \
         and the old one stays as it is; or {READ_ANEW}",
        source.name
    )
}

pub(super) fn retyped(
    schema: &TableSchema,
    source: &ColumnSchema,
    misfit: &Misfit,
    is_key: bool,
    grows: bool,
) -> Error {
    let message = format!(
        "column `{}` of `{}` has changed its type {misfit}; the table's column does not hold such values as they are",
        source.name, schema.name
    );
    let remedy = make_lenient(source, is_key);
    let remedy = match grows {
        true => format!("{WIDEN}; or {remedy}"),
        false => remedy,
    };
    refuse(schema, "column_type_changed", message, remedy)
}

/// A partition column whose type has grown to one that the log's values of partitions are not of.
pub(super) fn partition_retyped(schema: &TableSchema, source: &ColumnSchema, misfit: &Misfit, is_key: bool) -> Error {
    let message = format!(
        "column `{}` of `{}` has changed its type {misfit}; the table is partitioned by it, and the values of its partitions in \
         the table's log are not texts of the new type",
        source.name, schema.name
    );
    let remedy = make_lenient(source, is_key);
    let remedy =
        format!("{remedy}; a column of dates with times, or of floats, must be left out of `partition_by` then");
    refuse(schema, "partition_column_type", message, remedy)
}

pub(super) fn returned(schema: &TableSchema, source: &ColumnSchema, is_key: bool) -> Error {
    let message = format!(
        "column `{}` of `{}` was dropped at the source and has come back; its old rows would be wrong",
        source.name, schema.name
    );
    refuse(schema, "column_returned", message, make_lenient(source, is_key))
}

pub(super) fn key_left_out(schema: &TableSchema, source: &ColumnSchema) -> Error {
    let message = format!(
        "the key of `{}` is not the one that the table was built with: `{}` is not in the table",
        schema.name, source.name
    );
    refuse(schema, "key_changed", message, READ_ANEW)
}

/// How a table goes on where older rows may have a value in a column that was added.
const SHOW_NULL: &str = "set `added_defaults = \"null\"` in the sink's `delta` section and restart Tidewire: the table goes on from \
     where it stopped, and older rows show null in the column until they change";

/// A column that was added, and what older rows have in it cannot be told.
pub(super) fn added_unknown(schema: &TableSchema, source: &ColumnSchema) -> Error {
    let message = format!(
        "column `{}` of `{}` was added at the source, and what the rows from before have in it is not known for certain: its \
         default is computed, or the table or the column has been changed since",
        source.name, schema.name
    );
    refuse(schema, "added_default_unknown", message, format!("{READ_ANEW}; or {SHOW_NULL}"))
}

/// A column that was added and whose value for older rows the table's column does not hold.
pub(crate) fn added_unfit(schema: &TableSchema, column: &TableColumn) -> Error {
    let message = format!(
        "column `{}` of `{}` was added at the source with a value for the rows from before that Delta's `{}` cannot hold",
        column.name, schema.name, column.column_type
    );
    let remedy =
        format!("add `{}.{}` to `text_columns` of the sink and {READ_ANEW}; or {SHOW_NULL}", schema.name, column.name);
    refuse(schema, "value_out_of_range", message, remedy)
}

/// A column that was added, for a sink that is to show no null in its place.
pub(super) fn added(schema: &TableSchema, source: &ColumnSchema) -> Error {
    let message = format!(
        "column `{}` of `{}` was added at the source, and the rows from before may have a value in it, which the log does not tell",
        source.name, schema.name
    );
    let fill = "set `added_defaults = \"fill\"` (where the value is known, every data file is written anew with it)";
    refuse(schema, "added_default", message, format!("{fill}; or {SHOW_NULL}; or {READ_ANEW}"))
}

/// Any change at all, for a sink that is to follow none.
pub(super) fn changed(schema: &TableSchema, steps: &[Step]) -> Error {
    let told = steps.iter().map(told).collect::<Vec<_>>().join("; ");
    let message = format!("the source has changed the columns of `{}`: {told}", schema.name);
    let only_lenient = |step: &Step| match step {
        Step::Moved { .. } => true,
        Step::Added { column, source, .. } => column != source && *column != crate::typemap::column_name(source),
        Step::Widened { .. }
        | Step::Dropped(_)
        | Step::Removed(_)
        | Step::Renamed { .. }
        | Step::NullAllowed(_)
        | Step::LeftOut(_) => false,
    };
    let (word, how) = match steps.iter().any(only_lenient) {
        true => ("lenient", ", with a new column for each that does not fit the table's"),
        false => ("evolve", ""),
    };
    let remedy = format!(
        "set `schema_changes = \"{word}\"` in the sink's `delta` section and restart Tidewire: the table goes on from where it \
         stopped{how}"
    );
    refuse(schema, "schema_change_refused", message, remedy)
}

/// Columns that readers of a change data feed add to a row.
const FEED_COLUMNS: [&str; 3] = ["_change_type", "_commit_version", "_commit_timestamp"];

/// A table with a change data feed may not have columns of the feed's names.
pub(crate) fn feed_columns(schema: &TableSchema, columns: &[TableColumn]) -> Result<()> {
    let is_of_feed = |column: &&TableColumn| FEED_COLUMNS.iter().any(|name| column.name.eq_ignore_ascii_case(name));
    let Some(column) = columns.iter().find(is_of_feed) else { return Ok(()) };
    let message = format!("column `{}` of `{}` has a name that the change data feed needs", column.name, schema.name);
    let remedy = "rename the column at the source, leave the table out of this sink, or set `change_data_feed = false`";
    Err(refuse(schema, "feed_column_name", message, remedy))
}

/// A change that was not made.
fn told(step: &Step) -> String {
    match step {
        Step::Added { source, native, .. } => format!("added `{source}` ({native})"),
        Step::Moved { misfit, from, .. } => format!("retyped `{from}` {misfit}"),
        Step::Removed(column) => format!("dropped `{column}`"),
        other => other.to_string(),
    }
}

/// Of a table without a key.
pub(super) fn other_rows(schema: &TableSchema, step: &Step) -> Error {
    let message = format!(
        "the source has {step} in `{}`, which has no key: rows from before are no longer told by the values that the table has",
        schema.name
    );
    refuse(schema, "rows_changed", message, READ_ANEW)
}
