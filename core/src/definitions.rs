//! Definitions of tables that a source must remember between runs: a log that does not carry the names and types of
//! its columns can only be read with the definition in force at its place. The daemon keeps them in the state
//! directory; what they say only the source knows.

use crate::error::Result;
use crate::position::{Mark, Position};

/// A table's definition from a place in the log on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredDefinition {
    /// The table, as the source calls it.
    pub table: String,
    /// From here on.
    pub since: Mark,
    /// In the source's own form; `None` where the table was dropped.
    pub text: Option<String>,
}

/// Where a source keeps its tables' definitions.
pub trait DefinitionStore: Send + Sync {
    /// Up to where nothing is missing: a definition that changed before this place is here. `None` when nothing was
    /// ever recorded.
    fn covered(&self) -> Result<Option<Position>>;

    /// What was in force of every table at a place; of one that was dropped before, that it was.
    fn at(&self, place: Mark) -> Result<Vec<StoredDefinition>>;

    /// Records definitions, durably when it returns. One of the same table and place is replaced.
    fn record(&self, definitions: &[StoredDefinition]) -> Result<()>;

    /// Goes back to a place, in one step: what is recorded beyond it goes, because the log brings it again, maybe in another
    /// order, and nothing is known to be whole beyond it. Kept is what lies up to the place of a table in `ahead`, of which
    /// the log is not read before that place; `records` are added.
    fn rewind(&self, place: &Position, ahead: &[(String, Mark)], records: &[StoredDefinition]) -> Result<()>;

    /// Nothing is missing up to here; what was in force only before `needed` is no longer wanted.
    fn cover(&self, place: &Position, needed: Mark) -> Result<()>;

    /// Forgets everything: what is recorded next stands alone.
    fn clear(&self) -> Result<()>;
}
