//! Where all tables of a sink stand when a commit has ended, for the table of barriers. Knows no rows.

use super::{DeltaSink, splits};
use crate::ambient::now_millis;
use crate::barriers::Cut;
use crate::error::{Result, of_table};
use crate::log::Table;
use crate::write::found::own_place;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::{Mark, Progress, TableState};

/// A version of a table, and the place of the log that it shows.
type Standing = (i64, Mark);

/// Where tables stand that have not been changed since the sink was opened, by `schema.table`; `None` for one that is not
/// there.
pub(super) type Standings = BTreeMap<String, Option<Standing>>;

impl DeltaSink {
    /// Writes a barrier when one is due. All tables have been committed at the progress.
    pub(super) fn write_barrier(&mut self, progress: &Progress) -> Result<()> {
        let (Some(barriers), Some(position)) = (&mut self.barriers, &progress.position) else { return Ok(()) };
        let now = now_millis();
        if !barriers.is_due(position, now) {
            return Ok(());
        }
        let read = progress.tables.iter().filter(|(_, table)| table.state == TableState::Done).map(|(name, _)| name);
        let is_here = |name: &&String| !progress.behind.contains_key(*name);
        let names: BTreeSet<String> = read.chain(barriers.unread()).filter(is_here).cloned().collect();
        let Some(cuts) = self.cuts(names, progress, position.mark)? else { return Ok(()) };
        let is_unread = |cut: &&Cut| !progress.tables.contains_key(&cut.table);
        let unread = cuts.iter().filter(is_unread).map(|cut| cut.table.clone()).collect();
        match &mut self.barriers {
            Some(barriers) => barriers.write(position, &cuts, unread, now),
            None => Ok(()),
        }
    }

    /// Writes the barrier of the last commit once its time has come, also when the source rests and no other commit comes.
    pub(super) fn write_owed_barrier(&mut self) -> Result<()> {
        if self.barriers.as_ref().is_some_and(|barriers| barriers.owed_in(now_millis()) == Some(0)) {
            let progress = self.stored.clone();
            self.write_barrier(&progress)?;
        }
        Ok(())
    }

    /// Every table at this place; `None` while one of them is beyond it (it was committed before a crash, and the others
    /// have not caught up), or is being read.
    fn cuts(&mut self, names: BTreeSet<String>, progress: &Progress, place: Mark) -> Result<Option<Vec<Cut>>> {
        let mut standings: BTreeMap<String, Standing> = BTreeMap::new();
        for (name, table) in &self.tables {
            if table.is_reading() {
                return Ok(None);
            }
            standings.extend(table.standing().map(|standing| (name.to_string(), standing)));
        }
        standings.extend(self.found.iter().filter_map(|(name, found)| Some((name.to_string(), found.standing()?))));
        for name in names {
            if !standings.contains_key(&name)
                && let Some(standing) = self.standing_of(&name)?
            {
                standings.insert(name, standing);
            }
        }
        // A table that was left behind is not in the picture.
        standings.retain(|name, _| !progress.behind.contains_key(name));
        if standings.values().any(|(_, at)| *at > place) {
            return Ok(None);
        }
        Ok(Some(standings.into_iter().map(|(table, (version, _))| Cut { table, version }).collect()))
    }

    /// Where a table stands that is not open; it is looked at once.
    fn standing_of(&mut self, name: &str) -> Result<Option<Standing>> {
        if let Some(standing) = self.standings.get(name) {
            return Ok(*standing);
        }
        let mut standing = None;
        for table in splits(name) {
            // What is wrong with one table is no reason to halt the others.
            let found = Table::open_among(self.store_of(&table), self.settings.foreign_writes);
            let found = found.map_err(|error| of_table(error, &table))?;
            let place = found.as_ref().and_then(|table| own_place(table, &self.identity, name, &self.settings));
            if let (Some(found), Some(place)) = (found, place) {
                standing = Some((found.version(), place.mark()));
                break;
            }
        }
        self.standings.insert(name.to_owned(), standing);
        Ok(standing)
    }
}
