//! The tables that one sink cannot take. They are left behind at the place that the sink holds, and the others go on.

use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::{Error, ErrorKind, Position, Progress, Result, TableName};

/// Tables that a sink cannot take, until the daemon starts anew.
#[derive(Debug, Default)]
pub(crate) struct HaltedTables {
    pub(super) names: BTreeSet<String>,
    /// The floor of the snapshot in which it happened, by table.
    floors: BTreeMap<String, Position>,
}

impl HaltedTables {
    /// Leaves them all behind in what a sink says that it holds.
    pub(super) fn leave_behind(&self, progress: &mut Progress) -> Result<()> {
        let cannot = |name: &&String| !progress.leave_behind(name, self.floors.get(*name));
        match self.names.iter().find(cannot) {
            None => Ok(()),
            Some(name) => Err(Error::operator(
                "table_without_place",
                format!("table `{name}` was halted before the sink held anything, so it cannot be left behind"),
            )
            .with_remedy("resolve the reason for which it was halted, and start again")),
        }
    }

    /// Takes up the table that an error is about, if it can be halted alone. `floor` is the snapshot's place in the
    /// log, if one is being read.
    pub(super) fn add(&mut self, error: &Error, floor: Option<&Position>) -> Option<TableName> {
        let table = error.table().filter(|_| error.kind() == ErrorKind::Operator)?;
        let name = table.to_string();
        // One that is halted already is not written to: then the error is about something else.
        if !self.names.insert(name.clone()) {
            return None;
        }
        if let Some(floor) = floor {
            self.floors.insert(name, floor.clone());
        }
        Some(table.clone())
    }
}
