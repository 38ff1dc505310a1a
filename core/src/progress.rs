//! What a sink holds durably of one source. A sink stores this in the same atomic step as the data,
//! so it is the authority; the state directory only caches it.

use crate::batch::{Batch, Change, Op, Phase};
use crate::position::{Mark, Position};
use crate::schema::TableName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How far a table's snapshot has come in a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableState {
    /// Rows are being read. After a crash the table is read again.
    Reading,
    /// The table is whole; changes after its floor are applied.
    Done,
}

/// A table in a sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableProgress {
    /// How far the snapshot has come.
    pub state: TableState,
    /// Changes of this table at or before this place are in the sink already (they are part of the
    /// snapshot), whatever the sink's own position says. A table that is read a second time keeps the
    /// floor of the first reading: the changes between the two undo what the first one left behind.
    pub floor: Position,
}

/// What a sink holds of a source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Everything of the log up to here is in the sink. `None` until the stream has begun.
    pub position: Option<Position>,
    /// The tables that were or are being read, by `schema.table`.
    #[serde(default)]
    pub tables: BTreeMap<String, TableProgress>,
}

impl Progress {
    /// Whether the sink holds nothing of the source.
    pub fn is_empty(&self) -> bool {
        self.position.is_none() && self.tables.is_empty()
    }

    /// Whether the table has been read to its end.
    pub fn is_done(&self, table: &TableName) -> bool {
        self.tables.get(&table.to_string()).is_some_and(|t| t.state == TableState::Done)
    }

    /// The place from which this sink needs the log: its position, or, while the first snapshot runs, the
    /// lowest floor. `None` when it holds nothing.
    pub fn resume_from(&self) -> Option<&Position> {
        self.position.as_ref().or_else(|| self.tables.values().map(|t| &t.floor).min())
    }

    /// Whether the sink still needs a change, by this progress as it was when the run began.
    pub fn needs(&self, batch: &Batch, change: &Change) -> bool {
        let name = batch.table(change).map(|schema| &schema.name);
        match batch.phase {
            Phase::Snapshot => name.is_none_or(|name| !self.is_done(name)),
            Phase::Stream => {
                let mark = batch.mark(change);
                let held = self.position.as_ref().map_or(Mark::default(), |p| p.mark);
                let floor =
                    name.and_then(|n| self.tables.get(&n.to_string())).map_or(Mark::default(), |t| t.floor.mark);
                mark > held.max(floor)
            }
        }
    }

    /// The highest place that `needs` compares with: a batch beyond it needs no look at each change.
    pub fn horizon(&self) -> Mark {
        let floors = self.tables.values().map(|t| t.floor.mark);
        floors.chain(self.position.as_ref().map(|p| p.mark)).max().unwrap_or_default()
    }

    /// Takes a batch into account that the sink has accepted. `floor` is the snapshot's place in the log,
    /// needed while one runs.
    pub fn observe(&mut self, batch: &Batch, floor: Option<&Position>) {
        if batch.phase == Phase::Snapshot {
            for change in &batch.changes {
                self.observe_snapshot(batch, change, floor);
            }
        }
        if let Some(position) = &batch.position
            && self.position.as_ref().is_none_or(|held| held < position)
        {
            self.position = Some(position.clone());
        }
    }

    fn observe_snapshot(&mut self, batch: &Batch, change: &Change, floor: Option<&Position>) {
        // Rows say nothing of it, and making a name of each would cost more than reading it.
        if !matches!(change.op, Op::SnapshotStart | Op::SnapshotEnd) {
            return;
        }
        let Some(name) = batch.table(change).map(|schema| schema.name.to_string()) else {
            return;
        };
        match (change.op, floor) {
            (Op::SnapshotStart, Some(floor)) => {
                self.tables
                    .entry(name)
                    .or_insert_with(|| TableProgress { state: TableState::Reading, floor: floor.clone() });
            }
            (Op::SnapshotEnd, _) => {
                if let Some(table) = self.tables.get_mut(&name) {
                    table.state = TableState::Done;
                }
            }
            _ => {}
        }
    }
}
