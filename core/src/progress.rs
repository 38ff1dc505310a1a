//! What a sink holds durably of one source. A sink stores this in the same atomic step as the data,
//! so it is the authority.

use crate::batch::{Batch, Change, Op, Phase};
use crate::position::{Mark, Position};
use crate::schema::{TableName, TableSchema};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
    /// Everything of the log up to here is in the sink, but for the tables in `behind`. `None` until the
    /// stream has begun.
    pub position: Option<Position>,
    /// The tables that were or are being read, by `schema.table`.
    #[serde(default)]
    pub tables: BTreeMap<String, TableProgress>,
    /// Tables that stand at a place of their own, because they were halted while the others went on: what
    /// the sink holds of such a table ends here. Never beyond `position`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub behind: BTreeMap<String, Position>,
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

    /// Everything of a table up to here is in the sink.
    pub fn position_of(&self, table: &TableName) -> Option<&Position> {
        if self.behind.is_empty() {
            return self.position.as_ref();
        }
        self.behind.get(&table.to_string()).or(self.position.as_ref())
    }

    /// Everything of every table up to here is in the sink: as far as the source may forget its log. `None`
    /// until the stream has begun.
    pub fn lets_go(&self) -> Option<&Position> {
        let position = self.position.as_ref()?;
        Some(self.behind.values().min().map_or(position, |behind| behind.min(position)))
    }

    /// The place from which this sink needs the log: the lowest of its position and those of the tables
    /// behind it, or, while the first snapshot runs, the lowest floor. `None` when it holds nothing.
    pub fn resume_from(&self) -> Option<&Position> {
        self.lets_go().or_else(|| self.tables.values().map(|t| &t.floor).chain(self.behind.values()).min())
    }

    /// Tells which changes of a batch the sink still needs, by this progress as it was when the run began.
    /// Costs one look-up for each table of the batch and none for a change.
    pub fn needs(&self, batch: &Batch) -> Needs {
        let held = self.position.as_ref().map_or(Mark::default(), |p| p.mark);
        let of = |schema: &Arc<TableSchema>| match batch.phase {
            // Rows that are read have no place: all of a table's are needed, or none.
            Phase::Snapshot if self.is_done(&schema.name) => Mark::MAX,
            Phase::Snapshot => Mark::default(),
            Phase::Stream => {
                let name = schema.name.to_string();
                let held = self.behind.get(&name).map_or(held, |behind| behind.mark);
                self.tables.get(&name).map_or(held, |table| held.max(table.floor.mark))
            }
        };
        Needs { phase: batch.phase, tables: batch.tables.iter().map(of).collect(), rest: held }
    }

    /// The highest place that `needs` compares with: a batch of the log beyond it needs no look at each change.
    pub fn horizon(&self) -> Mark {
        let floors = self.tables.values().map(|t| t.floor.mark);
        floors.chain(self.position.as_ref().map(|p| p.mark)).max().unwrap_or_default()
    }

    /// Leaves a table behind: it stays where this progress has it, and `position` goes on without it. `floor` is
    /// the snapshot's place in the log, if one was read in this run. Returns whether that is possible: a sink that
    /// holds nothing yet, of a source whose place is not known, has no place to leave the table at.
    #[must_use]
    pub fn leave_behind(&mut self, table: &str, floor: Option<&Position>) -> bool {
        let read = self.tables.get(table).map(|table| &table.floor);
        let place = self.behind.get(table).or(self.position.as_ref()).or(read).or(floor).cloned();
        let found = place.is_some();
        if let Some(place) = place {
            self.behind.insert(table.to_owned(), place);
        }
        found
    }

    /// Takes a batch into account that the sink has accepted, all but the changes of the `halted` tables. `floor` is
    /// the snapshot's place in the log, needed while one runs.
    pub fn observe(&mut self, batch: &Batch, floor: Option<&Position>, halted: &BTreeSet<String>) {
        if batch.phase == Phase::Snapshot {
            for change in &batch.changes {
                self.observe_snapshot(batch, change, floor, halted);
            }
        }
        let Some(position) = &batch.position else { return };
        // A table that was behind moves with the log, until it is where the others were.
        let reached = self.position.as_ref().is_none_or(|held| held <= position);
        self.behind.retain(|table, behind| {
            if halted.contains(table) {
                return true;
            }
            if &*behind < position {
                *behind = position.clone();
            }
            !reached
        });
        if self.position.as_ref().is_none_or(|held| held < position) {
            self.position = Some(position.clone());
        }
    }

    fn observe_snapshot(
        &mut self,
        batch: &Batch,
        change: &Change,
        floor: Option<&Position>,
        halted: &BTreeSet<String>,
    ) {
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
            (Op::SnapshotEnd, _) if !halted.contains(&name) => {
                if let Some(table) = self.tables.get_mut(&name) {
                    table.state = TableState::Done;
                }
            }
            _ => {}
        }
    }
}

/// Which changes of one batch a sink still needs; see [`Progress::needs`].
#[derive(Clone, Debug)]
pub struct Needs {
    phase: Phase,
    /// By table of the batch: its changes after this mark.
    tables: Vec<Mark>,
    /// The same for changes of no table.
    rest: Mark,
}

impl Needs {
    /// Wants no change of this table, the batch's `table`-th.
    pub fn exclude(&mut self, table: usize) {
        if let Some(mark) = self.tables.get_mut(table) {
            *mark = Mark::MAX;
        }
    }

    /// Whether the sink needs the change.
    pub fn contains(&self, batch: &Batch, change: &Change) -> bool {
        let after = self.tables.get(change.table as usize).copied().unwrap_or(self.rest);
        match self.phase {
            Phase::Snapshot => after != Mark::MAX,
            Phase::Stream => batch.mark(change) > after,
        }
    }
}

#[cfg(test)]
mod tests;
