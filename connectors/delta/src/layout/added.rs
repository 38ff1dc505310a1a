//! Columns that come to a table with rows: what those rows have in them, how sure that is, and what the policy makes of it. The
//! log does not tell such values row by row (PG-48, MY-79). Writes nothing.

use super::evolve::{Evolution, Step};
use super::{Layout, is_own, refusal};
use crate::typemap::{Mapped, TableColumn};
use tidewire_core::{ColumnSchema, Missing, Result, TableSchema};

/// What a table does about a column that is added with a value for the rows that are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum AddedDefaults {
    /// Shows null in them.
    #[default]
    Null,
    /// Writes the value into them, and halts where it is not known.
    Fill,
    /// Halts.
    Halt,
}

impl AddedDefaults {
    /// As the configuration writes it, `null` when it does not.
    pub(crate) fn of(word: Option<&str>, fault: &mut impl FnMut(&str, String)) -> AddedDefaults {
        match word {
            None | Some("null") => AddedDefaults::Null,
            Some("fill") => AddedDefaults::Fill,
            Some("halt") => AddedDefaults::Halt,
            Some(other) => {
                fault("added_defaults", format!("`{other}` is no way: use `null`, `fill` or `halt`"));
                AddedDefaults::default()
            }
        }
    }
}

/// The table as it was before a version of the source's schema.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Earlier<'a> {
    /// How it lay.
    pub(crate) layout: &'a Layout,
    /// The version that its last changes were made under, where this run has seen it.
    pub(crate) schema: Option<&'a TableSchema>,
    /// Whether it may have rows.
    pub(crate) has_rows: bool,
}

impl Layout {
    /// Decides what becomes of older rows in the columns that `evolution` has added. Those that still have a filling after it
    /// are to be filled.
    ///
    /// # Errors
    /// When the policy does not have null shown where it may not be the truth.
    pub(crate) fn settle_added(
        &mut self,
        evolution: &mut Evolution,
        schema: &TableSchema,
        earlier: Earlier<'_>,
        policy: AddedDefaults,
    ) -> Result<()> {
        // Rows that are found by all their values cannot get others; `refuse_other_rows` has the word there.
        let is_free = !self.mode.keeps_keys() || self.number().is_some();
        let policy = if is_free { AddedDefaults::Null } else { policy };
        let numbers = newest_number(schema, evolution);
        let has_losses = evolution.steps.iter().any(Step::loses_a_column);
        for step in &mut evolution.steps {
            let Step::Added { source, column, is_filled, .. } = step else { continue };
            let is_it = |held: &&mut TableColumn| !held.dropped && held.name == *column;
            let Some(held) = self.columns.iter_mut().find(is_it) else { continue };
            let Some(source) = schema.columns.iter().find(|other| other.name == *source) else { continue };
            if !is_new(source, schema, earlier, numbers, has_losses) {
                (held.added_as_null, held.filling) = (false, None);
                *is_filled |= source.missing != Missing::Unknown;
            }
            if !earlier.has_rows {
                held.filling = None;
                continue;
            }
            match (policy, &held.filling) {
                (AddedDefaults::Null, _) => held.filling = None,
                _ if held.added_as_null => {}
                (AddedDefaults::Fill, Some(_)) => *is_filled = false,
                (AddedDefaults::Fill, None) => return Err(refusal::added_unknown(schema, source)),
                (AddedDefaults::Halt, _) => return Err(refusal::added(schema, source)),
            }
        }
        Ok(())
    }
}

/// The highest of the source's numbers of columns that were there before.
fn newest_number(schema: &TableSchema, evolution: &Evolution) -> Option<u32> {
    let is_added = |column: &ColumnSchema| {
        evolution.steps.iter().any(|step| matches!(step, Step::Added { source, .. } if *source == column.name))
    };
    schema.columns.iter().filter(|column| !is_added(column)).filter_map(|column| schema.catalog_number(column)).max()
}

/// Whether the source's column is certain to be newer than the rows, and not one of theirs under another name. A source that
/// follows the log's statements tells by itself which columns one has added.
fn is_new(
    source: &ColumnSchema,
    schema: &TableSchema,
    earlier: Earlier<'_>,
    newest: Option<u32>,
    has_losses: bool,
) -> bool {
    let Some(number) = schema.catalog_number(source) else { return true };
    if let Some(before) = earlier.schema.filter(|before| before.native_id == schema.native_id) {
        let numbers = before.columns.iter().map(|column| before.catalog_number(column)).collect::<Option<Vec<_>>>();
        if let Some(numbers) = numbers {
            return !numbers.contains(&number);
        }
    }
    if is_numbered(earlier.layout, schema) {
        return !knows(earlier.layout, number);
    }
    // By names alone a renamed column looks like one that went and one that came.
    !has_losses && newest.is_some_and(|newest| number > newest) && !knows(earlier.layout, number)
}

/// Whether the table knows the number of each of the source's columns that it has.
fn is_numbered(layout: &Layout, schema: &TableSchema) -> bool {
    let is_known = |column: &TableColumn| {
        let number = column.mapped.as_ref().and_then(|mapped| mapped.number);
        number.is_some_and(|number| number.within == schema.native_id)
    };
    let mut columns = layout.columns.iter().filter(|column| !column.dropped && !is_own(column, layout.mode));
    columns.all(is_known)
}

/// Whether the table has had the column of this number.
fn knows(layout: &Layout, number: u32) -> bool {
    let number_of = |mapped: &Mapped| mapped.number.map(|number| number.number);
    layout.columns.iter().any(|column| column.mapped.as_ref().and_then(number_of) == Some(number))
}
