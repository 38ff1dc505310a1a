//! Tables of which no sink needs anything before a place beyond the log's begin: those that are read now or were read
//! not long ago, while a sink was behind. What the log has of them before that place is passed over, rows and DDL, so that
//! their definitions must be known as they are there (MY-40).

use super::definitions::Known;
use crate::history::{History, Record};
use crate::model::TableDef;
use crate::plan;
use crate::position::StoredPosition;
use crate::snapshot::Consistent;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use tidewire_core::source::Resume;
use tidewire_core::{Mark, Position, Result, TableName};

/// Where each shipped table begins.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    /// With the log: the definition in force there is wanted.
    pub(super) with_log: Vec<TableName>,
    /// Read now; whether all that is needed of it begins at the place of that reading.
    read: Vec<(TableName, bool)>,
    /// At a place in between, whose definition is kept; none of a table that has gone there.
    kept: HashMap<TableName, (Mark, Option<Arc<TableDef>>)>,
}

impl Ahead {
    /// Sorts the tables. `wanted` are those that are read now, at a place beyond all that any sink holds.
    pub(super) fn sort(
        resume: &Resume,
        shipped: &HashSet<TableName>,
        wanted: impl Fn(&TableName) -> bool,
        first: &StoredPosition,
        history: &History,
    ) -> Result<Ahead> {
        let covered = history.covered()?.map(|covered| StoredPosition::parse(&covered)).transpose()?;
        // Kept of another life is kept of no place here.
        let covered = covered.filter(|covered| {
            plan::contains(&covered.place, &first.place) || plan::contains(&first.place, &covered.place)
        });
        let mut ahead = Ahead::default();
        for table in shipped {
            let read_at = wanted(table).then_some(Mark::MAX);
            let from = plan::needed_from(resume, table, read_at);
            let begins_there = from == Mark::MAX;
            if read_at.is_some() {
                ahead.read.push((table.clone(), begins_there));
            }
            if begins_there {
                continue;
            }
            let from = Mark { major: from.major, minor: 0 };
            let kept = match &covered {
                Some(covered) if from.major > first.mark.major => kept(table, from, covered, history)?,
                _ => None,
            };
            match kept {
                Some(kept) => drop(ahead.kept.insert(table.clone(), (from, kept))),
                // What it has before is compared by the sinks, and not taken.
                None => ahead.with_log.push(table.clone()),
            }
        }
        Ok(ahead)
    }

    /// Adds these tables' definitions to what is known at the first place, and takes the history back to it. Hands back the
    /// places up to which the log of a table is passed over, by `Mark::major`.
    pub(super) fn settle(
        self,
        first: &StoredPosition,
        read: Option<(&Consistent, &Position)>,
        known: &mut Known,
        history: &History,
    ) -> Result<HashMap<TableName, u64>> {
        let mut until: HashMap<TableName, Mark> = HashMap::new();
        let mut records: Vec<Record> = Vec::new();
        if let Some((state, floor)) = read {
            for (name, begins_there) in self.read {
                // One that has gone meanwhile ends the snapshot.
                let Some(table) = state.schemas.get(&name) else { continue };
                if begins_there {
                    known.set(&name, Some(&table));
                    until.insert(name.clone(), floor.mark);
                }
                // Also of a table that some sink needs from before: at the next start it may not.
                records.push((floor.mark, name, Some(table)));
            }
        }
        for (name, (from, definition)) in self.kept {
            known.set(&name, definition.as_deref());
            until.insert(name.clone(), from);
            records.push((from, name, definition));
        }
        until.retain(|_, from| from.major > first.mark.major);
        let ahead: Vec<(TableName, Mark)> = until.iter().map(|(name, from)| (name.clone(), *from)).collect();
        history.rewind(&first.place.boundary(&first.prepared)?, &ahead, &records)?;
        Ok(until.into_iter().map(|(name, from)| (name, from.major)).collect())
    }
}

/// What is kept of a table at a place, if it is sure to be what was in force there: recorded for that very place, or
/// nothing is missing up to there.
fn kept(
    table: &TableName,
    from: Mark,
    covered: &StoredPosition,
    history: &History,
) -> Result<Option<Option<Arc<TableDef>>>> {
    let in_force = history.at(from)?;
    let whole = covered.mark.major >= from.major;
    if in_force.dropped.contains(table) {
        return Ok(whole.then_some(None));
    }
    let found = in_force.tables.into_iter().find(|(since, kept)| kept.name == *table && (whole || *since == from));
    Ok(found.map(|(_, table)| Some(Arc::new(table))))
}

#[cfg(test)]
mod tests;
