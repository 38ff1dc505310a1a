//! How a source's table and the table that lies at its path go together, before the first change: which layout it goes on with,
//! or why it cannot go on. Writes nothing, so that `check` may ask as well.

use super::declaring::{feeds, key_property, not_mapped};
use super::filling;
use super::found::foreign_table;
use super::rewriting::refuse_change;
use super::table::key_changed;
use crate::config::{Settings, mode_changed};
use crate::error::Result;
use crate::layout::{Evolution, KEY_PROPERTY, Layout, feed_columns};
use crate::log::Table;
use crate::store::TableStore;
use tidewire_core::{Op, TableSchema};

/// What a table goes on with.
pub(crate) struct Fitted {
    pub(crate) layout: Layout,
    /// What the source's schema has become since the table was last written.
    pub(super) evolution: Evolution,
    /// The table does not declare all of this yet.
    pub(super) metadata_due: bool,
}

/// Fits the table that lies there, if there is one, and the name of the mode that it was made in to the source's schema; `first`
/// is the first change that it needs. `settings` are those of the table.
///
/// # Errors
/// When the source's schema or the settings no longer fit.
pub(crate) fn fit(
    settings: &Settings,
    schema: &TableSchema,
    store: &TableStore,
    found: Option<(&Table, &str)>,
    first: Op,
) -> Result<Fitted> {
    let (mode, rules) = (settings.mode, settings.rules());
    let (layout, evolution, mut metadata_due, present) = match found {
        None => (Layout::create(schema, rules)?, Evolution::default(), false, None),
        Some((table, made_as)) => {
            if made_as != mode.name() {
                return Err(mode_changed(schema, made_as, mode));
            }
            let present = Layout::read(mode, table.schema_string(), table.configuration())
                .ok_or_else(|| foreign_table(store, &schema.name.to_string()))?
                .partitioned_by(table.partition_columns());
            if rules.column_mapping && !present.is_mapped() {
                return Err(not_mapped(store, schema));
            }
            // With a snapshot every row will be replaced, so the table may take the source's shape as it is now.
            let is_anew = mode.keeps_keys() && first == Op::SnapshotStart;
            let (layout, evolution) = filling::fit_found(settings, schema, table, &present, is_anew)?;
            let has_key = !mode.keeps_keys() || table.configuration().get(KEY_PROPERTY) == Some(&key_property(&layout));
            if !is_anew && !has_key {
                return Err(key_changed(schema));
            }
            if !is_anew && table.files().next().is_some() {
                layout.refuse_other_rows(schema, &evolution)?;
            }
            let metadata_due = evolution.metadata_changed || !has_key || table.lacks_features();
            (layout, evolution, metadata_due, Some((table, present)))
        }
    };
    let layout = layout.partition(schema, &settings.partition_by)?;
    if let Some((table, present)) = present {
        layout.refuse_partition_change(schema, &present)?;
        if mode.keeps_keys() {
            refuse_change(schema, settings.deletion_vectors, table.has_deletion_vectors())?;
        }
        metadata_due |= feeds(table) != settings.change_data_feed;
        metadata_due |= settings.retention.differs(table.configuration());
    }
    if settings.change_data_feed {
        feed_columns(schema, &layout.columns)?;
    }
    Ok(Fitted { layout, evolution, metadata_due })
}
