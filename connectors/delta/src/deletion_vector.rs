//! Deletion vectors: which rows of a data file no longer count. Owns their bytes, their packing into files and
//! their descriptors; knows nothing of commits.

use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Where a deletion vector lies, in the log's own terms.
/// <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#deletion-vector-descriptor-schema>
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DvDescriptor {
    /// `u` (a file in the table, by UUID) or `i` (in the descriptor itself); `p` is refused.
    pub(crate) storage_type: Arc<str>,
    /// The UUID in Z85, or the vector itself.
    pub(crate) path_or_inline_dv: Arc<str>,
    /// Byte offset of the vector in its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<i32>,
    /// Size of the vector in bytes, magic included, length and checksum not.
    pub(crate) size_in_bytes: i32,
    /// Rows that it deletes.
    pub(crate) cardinality: i64,
}
