//! Columns that come with a value for the rows that are there: what the sink's settings make of them. Writes nothing; the files
//! are the matter of `widening`.

use super::table::TableWriter;
use crate::config::Settings;
use crate::encode::column::Unfit;
use crate::error::Result;
use crate::layout::{Earlier, Evolution, Layout, added_unfit};
use crate::log::Table;
use tidewire_core::{Error, TableSchema};

/// Decides what older rows get in the columns that `evolution` has added to `layout`.
///
/// # Errors
/// When the table must not go on, see `Layout::settle_added`; when a column does not hold its value.
pub(super) fn settle(
    settings: &Settings,
    schema: &TableSchema,
    earlier: Earlier<'_>,
    layout: &mut Layout,
    evolution: &mut Evolution,
) -> Result<()> {
    layout.settle_added(evolution, schema, earlier, settings.added_defaults)?;
    for column in &layout.columns {
        let Some(filling) = &column.filling else { continue };
        filling.one(&column.column_type).map_err(|unfit| match unfit {
            Unfit::Kind | Unfit::Unknown => {
                let what = format!(
                    "column `{}` of `{}` came with another kind of value than its own",
                    column.name, schema.name
                );
                Error::bug("cell_kind", what).with_table(schema.name.clone())
            }
            _ => added_unfit(schema, column),
        })?;
    }
    Ok(())
}

/// Fits a table that was found to a version of the source's schema; `is_anew`: all its rows are about to be read.
///
/// # Errors
/// As `Layout::evolve` and `settle`.
pub(super) fn fit_found(
    settings: &Settings,
    schema: &TableSchema,
    table: &Table,
    present: &Layout,
    is_anew: bool,
) -> Result<(Layout, Evolution)> {
    if is_anew {
        return present.read_anew(schema, settings.rules());
    }
    let (mut layout, mut evolution) = present.evolve(schema, settings.rules())?;
    let earlier = Earlier { layout: present, schema: None, has_rows: table.files().next().is_some() };
    settle(settings, schema, earlier, &mut layout, &mut evolution)?;
    Ok((layout, evolution))
}

impl TableWriter {
    /// Whether older rows wait for values of columns that have come since the last commit.
    pub(super) fn has_filling(&self) -> bool {
        self.layout.columns.iter().any(|column| column.filling.is_some())
    }

    /// Every file of the table has all columns now.
    pub(super) fn forget_filling(&mut self) {
        self.layout.columns.iter_mut().for_each(|column| column.filling = None);
    }

    /// Whether there are rows that may be older than a change of the schema which comes now.
    pub(super) fn has_rows(&self) -> bool {
        let table = self.table.as_ref().filter(|_| !self.replaces_all);
        !self.parts.is_empty() || table.is_some_and(|table| table.files().next().is_some())
    }
}
