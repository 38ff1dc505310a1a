//! The actions of a Delta log as serde sees them, and the lines they make. One struct serves the JSON entries and the
//! checkpoints, so that both are read by the same code.
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#actions>

use crate::deletion_vector::DvDescriptor;
use crate::error::{self, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// One line of an entry: exactly one member is set. Kinds that are unknown here are ignored, as the protocol
/// asks; what would make ignoring them wrong is declared as a feature and refused there.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Action {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) commit_info: Option<CommitInfo>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<Protocol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) meta_data: Option<MetaData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remove: Option<Remove>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) add: Option<Add>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cdc: Option<Cdc>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) txn: Option<Txn>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) domain_metadata: Option<DomainMetadata>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct CommitInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) operation: Option<String>,
    pub(super) operation_parameters: BTreeMap<String, serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_blind_append: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) engine_info: Option<String>,
    /// How delta-rs names itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_version: Option<String>,
    /// Random; by it an entry is recognised as ours after a lost answer (SK-31).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) txn_id: Option<String>,
    /// The process that wrote the entry; by it another instance of ours is told from this one (SK-30).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tidewire_instance: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user_metadata: Option<String>,
}

/// The values that all rows of a file have in the partition columns, by the column's name in data files and as the log writes
/// them; `None` is null.
/// Empty in a table without such columns.
pub(crate) type Partition = Arc<BTreeMap<String, Option<String>>>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Protocol {
    pub(super) min_reader_version: i32,
    pub(super) min_writer_version: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reader_features: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) writer_features: Option<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct MetaData {
    pub(super) id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    pub(super) format: Format,
    pub(super) schema_string: String,
    #[serde(default)]
    pub(super) partition_columns: Vec<String>,
    #[serde(default)]
    pub(super) configuration: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) created_time: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Format {
    pub(super) provider: String,
    #[serde(default)]
    pub(super) options: BTreeMap<String, String>,
}

impl Default for Format {
    fn default() -> Format {
        Format { provider: "parquet".to_owned(), options: BTreeMap::new() }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Add {
    pub(super) path: Arc<str>,
    #[serde(default)]
    pub(super) partition_values: Partition,
    pub(super) size: i64,
    pub(super) modification_time: i64,
    pub(super) data_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stats: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deletion_vector: Option<DvDescriptor>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Remove {
    pub(super) path: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deletion_timestamp: Option<i64>,
    pub(super) data_change: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) extended_file_metadata: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) partition_values: Option<Partition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) deletion_vector: Option<DvDescriptor>,
}

/// A file of the change data feed: what the version changed. No part of what the table holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Cdc {
    pub(super) path: Arc<str>,
    #[serde(default)]
    pub(super) partition_values: Partition,
    pub(super) size: i64,
    /// Always false.
    pub(super) data_change: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Txn {
    pub(super) app_id: String,
    pub(super) version: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) last_updated: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DomainMetadata {
    pub(super) domain: String,
    pub(super) configuration: String,
    #[serde(default)]
    pub(super) removed: bool,
}

/// The actions of lines of JSON; `place` names them in errors.
pub(super) fn parse(lines: &[u8], place: &str) -> Result<Vec<Action>> {
    let mut actions = Vec::new();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let action = serde_json::from_slice(line);
        actions.push(action.map_err(|e| error::damaged(place, "a line is no action").with_cause(e))?);
    }
    Ok(actions)
}

/// Actions as lines of JSON.
pub(super) fn to_lines(actions: &[Action]) -> Result<Vec<u8>> {
    let mut lines = Vec::new();
    for action in actions {
        serde_json::to_writer(&mut lines, action)
            .map_err(|e| tidewire_core::Error::bug("delta_action", "write an action as JSON").with_cause(e))?;
        lines.push(b'\n');
    }
    Ok(lines)
}
