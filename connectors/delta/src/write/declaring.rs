//! What a table declares of itself: its features, its properties, the columns with statistics. Commits nothing.

use super::table::{Rows, TableWriter};
use super::telling;
use crate::layout::{KEY_PROPERTY, LEFT_OUT_PROPERTY, Layout, Mode};
use crate::log::{CHANGE_FEED_PROPERTY, Features, NewMetadata, NewTable, Table};
use crate::store::TableStore;
use crate::typemap::schema_string;
use std::collections::BTreeMap;
use tidewire_core::{Error, Position, TableSchema};

impl TableWriter {
    pub(super) fn new_table(&self) -> NewTable {
        NewTable {
            id: self.home.table_id.clone(),
            schema_string: schema_string(&self.layout.columns),
            partition_columns: self.layout.partition_names(),
            configuration: self.properties(),
            features: match self.settings.mode {
                Mode::Mirror | Mode::History if !self.settings.deletion_vectors => Features::Plain,
                Mode::Mirror | Mode::History => Features::DeletionVectors,
                Mode::Changelog => Features::AppendOnly,
            },
        }
    }

    pub(super) fn new_metadata(&self) -> NewMetadata {
        NewMetadata {
            schema_string: schema_string(&self.layout.columns),
            partition_columns: self.layout.partition_names(),
            configuration: self.properties(),
        }
    }

    pub(super) fn properties(&self) -> BTreeMap<String, String> {
        let mode = self.settings.mode;
        let names = stats_columns(&self.layout, mode);
        let names = names.iter().filter_map(|at| self.layout.columns.get(*at)).map(|column| quoted(&column.name));
        let names = names.collect::<Vec<_>>().join(",");
        let mut properties = BTreeMap::new();
        if !names.is_empty() {
            properties.insert("delta.dataSkippingStatsColumns".to_owned(), names);
        }
        if mode.keeps_keys() {
            properties.insert(KEY_PROPERTY.to_owned(), key_property(&self.layout));
        }
        properties.extend(self.layout.mapping_properties());
        if self.layout.columns.iter().any(|column| !column.type_changes.is_empty()) {
            properties.insert("delta.enableTypeWidening".to_owned(), "true".to_owned());
        }
        let has_feed = self.settings.change_data_feed;
        if has_feed || self.table.as_ref().is_some_and(feeds) {
            properties.insert(CHANGE_FEED_PROPERTY.to_owned(), has_feed.to_string());
        }
        properties.extend(self.settings.retention.properties());
        let had_left_out = |table: &Table| table.configuration().contains_key(LEFT_OUT_PROPERTY);
        if !self.layout.left_out.is_empty() || self.table.as_ref().is_some_and(had_left_out) {
            properties.insert(LEFT_OUT_PROPERTY.to_owned(), self.layout.left_out_property());
        }
        properties
    }

    /// What the table's history shows beside the commit.
    pub(super) fn user_metadata(&mut self, reached: &Position) -> String {
        let rows = match &mut self.rows {
            Rows::Mirror(mirror) => {
                let counts = mirror.take_counts();
                telling::tell_unseen(&self.schema.name, &self.identity, counts.unseen, &mut self.is_unseen_told);
                serde_json::json!({
                    "inserted": counts.inserted, "updated": counts.updated, "deleted": counts.deleted, "unseen": counts.unseen,
                })
            }
            Rows::Changelog(changelog) => serde_json::json!({ "appended": changelog.take_appended() }),
        };
        serde_json::json!({ "source": &*self.identity.source, "to": &*reached.text, "rows": rows }).to_string()
    }
}

/// The key's columns as the table's property keeps them: a JSON array, in key order.
pub(super) fn key_property(layout: &Layout) -> String {
    serde_json::Value::from(layout.key_names()).to_string()
}

/// Whether the table's commits say what they changed.
pub(super) fn feeds(table: &Table) -> bool {
    table.configuration().get(CHANGE_FEED_PROPERTY).is_some_and(|value| value == "true")
}

/// The columns whose bounds readers can use to skip files.
pub(super) fn stats_columns(layout: &Layout, mode: Mode) -> Vec<usize> {
    match mode {
        Mode::Mirror | Mode::History => {
            layout.key.iter().filter(|at| !layout.partition.contains(at)).copied().collect()
        }
        Mode::Changelog => ["_position", "_commit_time"].iter().filter_map(|name| layout.own(name)).collect(),
    }
}

/// A column's name as the property lists it.
fn quoted(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.chars().all(plain) { name.to_owned() } else { format!("`{}`", name.replace('`', "``")) }
}

/// A table stays as it was created: its readers would be lost overnight.
pub(super) fn not_mapped(store: &TableStore, schema: &TableSchema) -> Error {
    Error::operator(
        "table_without_column_mapping",
        format!("`{}` was created without column mapping, which `column_mapping` asks for", store.place("")),
    )
    .with_remedy(
        "remove `column_mapping` from the sink's `delta` section, or give the sink a new name and location, which reads its \
         tables anew; see that your readers know column mapping",
    )
    .with_table(schema.name.clone())
}
