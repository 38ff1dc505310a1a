//! What the daemon tells every source beside its connector's own table, and how a fault in that table is told.

use crate::secret::SecretResolver;
use std::fmt;
use std::sync::Arc;

/// How existing rows are read first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotMode {
    /// Every captured table that a sink does not hold yet.
    Initial,
    /// Not at all.
    Never,
}

/// What the daemon knows about a source beside the connector's own table.
#[derive(Clone)]
pub struct SourceOptions {
    /// The source's name.
    pub name: Arc<str>,
    /// Globs on `schema.table`.
    pub tables: Vec<String>,
    /// How existing rows are read first.
    pub snapshot: SnapshotMode,
    /// Reads secrets.
    pub secrets: Arc<dyn SecretResolver>,
}

/// Something in a source's configuration that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// The key in the connector's table; `tables` alone lies beside that table.
    pub key: &'static str,
    /// What is wrong and what is allowed. Never holds a secret.
    pub message: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl std::error::Error for ConfigFault {}
