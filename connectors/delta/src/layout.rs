//! How a source's table lies in its Delta table: which column goes where. Pure: no file, no row. What a new version of
//! the source's schema means for the table is the matter of `evolve`.

mod added;
mod evolve;
mod mapping;
mod partition;
mod refusal;
mod widening;

pub(crate) use added::{AddedDefaults, Earlier};
pub(crate) use partition::PartitionBy;
pub(crate) use refusal::{added_unfit, feed_columns};

pub(crate) use evolve::{Evolution, LEFT_OUT_PROPERTY, Rules, SchemaChanges, Step};
pub(crate) use widening::Widening;

use crate::typemap::{ColumnType, Filling, TableColumn, column_name, family};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidewire_core::schema::KeyKind;
use tidewire_core::{ColumnSchema, Error, Missing, Result, TableName, TableSchema};

/// What a table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// One row per key: the source's table.
    Mirror,
    /// Every change, appended.
    Changelog,
    /// Every version of every row, and from when to when it was the row.
    History,
}

impl Mode {
    /// As the configuration writes it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Mode::Mirror => "mirror",
            Mode::Changelog => "changelog",
            Mode::History => "history",
        }
    }

    /// Whether a change looks for the row that it supersedes, by its key.
    pub(crate) fn keeps_keys(self) -> bool {
        match self {
            Mode::Mirror | Mode::History => true,
            Mode::Changelog => false,
        }
    }

    /// The table's own columns, after the source's.
    fn own_columns(self) -> Vec<TableColumn> {
        let scalars: &[(&str, ColumnType)] = match self {
            Mode::Mirror => &[],
            Mode::Changelog => &CHANGELOG_COLUMNS,
            Mode::History => &HISTORY_COLUMNS,
        };
        let mut columns: Vec<_> = scalars.iter().map(|(name, kind)| TableColumn::own(name, kind.clone())).collect();
        if self == Mode::Changelog {
            columns.push(TableColumn::own(UNCHANGED_COLUMN, ColumnType::Array(Box::new(ColumnType::String))));
        }
        columns
    }
}

/// A changelog's own columns, after the source's.
pub(crate) const CHANGELOG_COLUMNS: [(&str, ColumnType); 5] = [
    ("_op", ColumnType::String),
    ("_position", ColumnType::String),
    ("_transaction", ColumnType::String),
    ("_ordinal", ColumnType::Long),
    ("_commit_time", ColumnType::Timestamp),
];
/// A history's own columns, after the source's.
pub(crate) const HISTORY_COLUMNS: [(&str, ColumnType); 5] = [
    ("_valid_from", ColumnType::Timestamp),
    ("_valid_to", ColumnType::Timestamp),
    (CURRENT_COLUMN, ColumnType::Boolean),
    ("_from_position", ColumnType::String),
    ("_to_position", ColumnType::String),
];
/// Whether a version of a history is the row as it is now.
pub(crate) const CURRENT_COLUMN: &str = "_is_current";
/// The property that keeps the key's columns, a JSON array of names in key order; an empty one for a table without a key whose
/// rows are found by all their values.
pub(crate) const KEY_PROPERTY: &str = "tidewire.key";
/// A changelog's list of columns that the log did not carry.
pub(crate) const UNCHANGED_COLUMN: &str = "_unchanged";

/// The columns, as `schema.table.column`, that the operator wants as the database's text.
pub(crate) type TextColumns = BTreeSet<String>;

/// The map from a source's row to a table's row.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// What the table holds.
    pub(crate) mode: Mode,
    /// The table's columns, in the table's order.
    pub(crate) columns: Vec<TableColumn>,
    /// For each of them the source's column, `None` for dropped ones and our own.
    pub(crate) sources: Vec<Option<usize>>,
    /// Positions in `columns` of the key, in key order.
    pub(crate) key: Vec<usize>,
    /// Positions in `columns` of those that the table is partitioned by.
    pub(crate) partition: Vec<usize>,
    /// Columns of the source that the table does not have, by the source's names.
    pub(crate) left_out: BTreeSet<Arc<str>>,
    /// With column mapping, the highest id that a column has had.
    last_id: Option<u32>,
}

impl Layout {
    /// The layout of a table that does not exist yet.
    ///
    /// # Errors
    /// When two columns would have one name.
    pub(crate) fn create(schema: &TableSchema, rules: Rules<'_>) -> Result<Layout> {
        Layout::create_after(schema, rules, None)
    }

    /// As `create`, for one that takes the place of another.
    fn create_after(schema: &TableSchema, rules: Rules<'_>, earlier: Option<&Layout>) -> Result<Layout> {
        let mode = rules.mode;
        let is_mapped = earlier.map_or(rules.column_mapping, Layout::is_mapped);
        let mut columns: Vec<TableColumn> = wanted(schema, rules, is_mapped);
        // No row is older than the table.
        for column in &mut columns {
            (column.added_as_null, column.filling) = (false, None);
        }
        let sources = (0..columns.len()).map(Some).collect();
        columns.extend(mode.own_columns());
        let mut layout = Layout {
            mode,
            columns,
            sources,
            key: Vec::new(),
            partition: Vec::new(),
            left_out: BTreeSet::new(),
            last_id: is_mapped.then_some(0),
        };
        layout.sources.resize(layout.columns.len(), None);
        layout.settle_number(schema);
        layout.refuse_collisions(schema)?;
        layout.place_key(schema);
        layout.map_all(schema, earlier);
        Ok(layout)
    }

    /// The names in data files of the key's columns, in key order. The table's configuration keeps them.
    pub(crate) fn key_names(&self) -> Vec<&str> {
        self.key.iter().filter_map(|at| self.columns.get(*at)).map(|column| &**column.file_name()).collect()
    }

    /// The position of one of our own columns.
    pub(crate) fn own(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| &*column.name == name)
    }

    /// In a history, the position of the column that tells rows as they are from rows as they were.
    pub(crate) fn current(&self) -> Option<usize> {
        if self.mode == Mode::History { self.own(CURRENT_COLUMN) } else { None }
    }

    /// The position of the column that numbers equal rows, where rows are kept of a table without a key.
    pub(crate) fn number(&self) -> Option<usize> {
        self.columns.iter().position(TableColumn::is_hidden)
    }

    /// Positions of the columns that are, or were, the source's. A column keeps its place among them.
    pub(crate) fn told(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().enumerate().filter(|(_, column)| !is_own(column, self.mode)).map(|(at, _)| at)
    }

    /// Positions of the columns by which a row is found: the key's, in key order; without a key all of the source's, then the
    /// number of the row among its equals.
    pub(crate) fn identity(&self) -> Vec<usize> {
        match self.number() {
            None => self.key.clone(),
            Some(number) => self.told().chain([number]).collect(),
        }
    }

    /// Equal rows are numbered, or not, as the source's table has a key.
    fn settle_number(&mut self, schema: &TableSchema) {
        let is_wanted = self.mode.keeps_keys() && !has_key(schema);
        match self.number() {
            None if is_wanted => {
                self.columns.push(TableColumn::number());
                self.sources.push(None);
            }
            Some(at) if !is_wanted => {
                self.columns.remove(at);
                self.sources.remove(at);
            }
            _ => {}
        }
    }

    fn place_key(&mut self, schema: &TableSchema) {
        let place = |source: &usize| self.sources.iter().position(|s| *s == Some(*source));
        self.key = schema.key.iter().filter_map(place).collect();
    }

    /// Delta tells columns apart without regard to case (PG-94).
    fn refuse_collisions(&self, schema: &TableSchema) -> Result<()> {
        match collision(&self.columns) {
            None => Ok(()),
            Some((first, second)) => Err(Error::operator(
                "column_name_collision",
                format!("columns `{first}` and `{second}` of `{}` would be one column in Delta", schema.name),
            )
            .with_remedy("rename one of them at the source, or leave the table out of this sink")
            .with_table(schema.name.clone())),
        }
    }
}

/// Whether the source tells the table's rows apart.
pub(crate) fn has_key(schema: &TableSchema) -> bool {
    schema.key_kind != KeyKind::None && !schema.key.is_empty()
}

/// Whether a table, by its properties, has the column `TableColumn::number` in its data files.
pub(crate) fn numbers_rows(configuration: &BTreeMap<String, String>) -> bool {
    configuration.get(KEY_PROPERTY).is_some_and(|key| key == "[]")
}

/// Two columns that Delta would take for one.
fn collision(columns: &[TableColumn]) -> Option<(&str, &str)> {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    columns.iter().find_map(|column| {
        let earlier = seen.insert(column.name.to_lowercase(), &column.name)?;
        Some((earlier, &*column.name))
    })
}

fn is_own(column: &TableColumn, mode: Mode) -> bool {
    column.is_hidden() || (mode != Mode::Mirror && column.family.is_empty())
}

fn wanted(schema: &TableSchema, rules: Rules<'_>, is_mapped: bool) -> Vec<TableColumn> {
    let Rules { mode, texts, .. } = rules;
    let column = |column: &ColumnSchema| {
        let as_text = texts.contains(&format!("{}.{}", schema.name, column.name));
        let column_type = if as_text { ColumnType::String } else { ColumnType::of(&column.data_type) };
        let filling = match &column.missing {
            Missing::Value(constant) => Some(constant.clone()),
            Missing::Null | Missing::Unknown => None,
        };
        TableColumn {
            name: if is_mapped { Arc::clone(&column.name) } else { column_name(&column.name) },
            filling: filling.map(|constant| Filling { constant, column_type: column_type.clone() }),
            column_type,
            nullable: column.nullable || mode == Mode::Changelog,
            family: family(&column.data_type).into(),
            dropped: false,
            added: false,
            added_as_null: column.missing == Missing::Null,
            source: None,
            type_changes: Vec::new(),
            mapped: None,
            partition: None,
        }
    };
    schema.columns.iter().map(column).collect()
}

/// The path of a table under the sink's location. Segments are the names as they are, but for `/`, `%`, control
/// characters, a leading dot, and the two names that mean something to us, which are percent-encoded; so two
/// tables never share a path (SEC-20).
pub(crate) fn table_path(template: &str, source: &str, name: &TableName) -> String {
    let segment = |segment: &str| {
        let filled = segment
            .split_inclusive('}')
            .map(|piece| {
                let (text, value) = match piece.split_once('{') {
                    Some((text, "source}")) => (text, source),
                    Some((text, "schema}")) => (text, &*name.schema),
                    Some((text, "table}")) => (text, &*name.table),
                    _ => (piece, ""),
                };
                format!("{text}{}", encode(value))
            })
            .collect::<String>();
        match filled.as_str() {
            "_delta_log" | "_tidewire" => filled.replacen('_', "%5F", 1),
            dotted if dotted.starts_with('.') => filled.replacen('.', "%2E", 1),
            _ => filled,
        }
    };
    template.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn encode(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        if c == '/' || c == '%' || c.is_control() {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                out.push_str(&format!("%{byte:02X}"));
            }
        } else {
            out.push(c);
        }
    }
    out
}

/// A short text of a row's key, for messages to the operator.
pub(crate) fn key_text<'a>(schema: &TableSchema, value: impl Fn(usize) -> tidewire_core::Value<'a>) -> String {
    const CHARS_MAX: usize = 120;
    let part = |(at, column): (usize, &ColumnSchema)| {
        let mut text = Vec::new();
        if crate::encode::text::write_text(&mut text, value(at)).is_err() {
            text = b"?".to_vec();
        }
        format!("{}={}", column.name, String::from_utf8_lossy(&text))
    };
    let text = schema.key_columns().map(part).collect::<Vec<_>>().join(", ");
    text.chars().take(CHARS_MAX).collect()
}

/// The names of a template's fields that may not be left out, or why the template is wrong.
pub(crate) fn check_template(template: &str) -> std::result::Result<(), String> {
    for field in ["{schema}", "{table}"] {
        if !template.contains(field) {
            return Err(format!("must contain `{field}`, or tables would share a path"));
        }
    }
    for piece in template.split_inclusive('}') {
        if let Some((_, name)) = piece.split_once('{')
            && !["source}", "schema}", "table}"].contains(&name)
        {
            return Err(format!("`{{{name}` is no field: use {{source}}, {{schema}} and {{table}}"));
        }
    }
    let wrong_segment = |segment: &str| segment.is_empty() || segment == "." || segment == "..";
    if template.split('/').any(wrong_segment) || template.contains(char::is_control) {
        return Err("must be a relative path without empty, `.` or `..` segments".to_owned());
    }
    Ok(())
}

/// The name under which a column is reported, for callers that only know its place.
pub(crate) fn column_label(columns: &[TableColumn], at: usize) -> Arc<str> {
    columns.get(at).map_or_else(|| "?".into(), |column| Arc::clone(&column.name))
}

#[cfg(test)]
mod tests;
