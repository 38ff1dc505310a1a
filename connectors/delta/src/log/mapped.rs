//! Names of columns in the log's actions where a table maps its columns. Knows no file.
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#column-mapping>

use super::action::MetaData;
use super::protocol::MAPPING_MODE;
use serde_json::Value as Json;
use std::collections::BTreeSet;

/// The names by which files tell their values of the partition columns: with column mapping the names in data files, which a
/// new name of the column does not change.
pub(super) fn partition_keys(metadata: &MetaData) -> BTreeSet<String> {
    let mode = metadata.configuration.get(MAPPING_MODE);
    let schema: Option<Json> = match mode.is_some_and(|mode| mode != "none") && !metadata.partition_columns.is_empty() {
        true => serde_json::from_str(&metadata.schema_string).ok(),
        false => None,
    };
    let fields = schema.as_ref().and_then(|schema| schema.get("fields")?.as_array());
    let key = |name: &String| {
        let is_it = |field: &&Json| field.get("name").and_then(Json::as_str) == Some(name);
        let field = fields?.iter().find(is_it)?;
        Some(field.get("metadata")?.get("delta.columnMapping.physicalName")?.as_str()?.to_owned())
    };
    metadata.partition_columns.iter().map(|name| key(name).unwrap_or_else(|| name.clone())).collect()
}
