//! One table after other writers have changed its files: what waits for a commit is made out anew for the files that are there
//! now. Knows nothing of other tables.

use super::table::{Rows, TableWriter};
use super::widening::Widened;
use crate::error::Result;
use crate::log::{Commit, ForeignWrites, Table, Touched};
use crate::parts::Sealed;
use tidewire_core::Error;

/// Tries in a row that other writers may spoil, each of any number of commits.
const TRIES_MAX: u32 = 16;

impl TableWriter {
    /// Whether the coming commit can be made out anew where others come first. Not when it copies rows, or fills a column that
    /// theirs would lack.
    pub(super) fn may_follow_others(&self, widened: &Widened) -> bool {
        let has_copies = !widened.adds.is_empty() || self.has_filling();
        self.settings.deletion_vectors && !has_copies
    }

    /// Commits, as often as it takes others to leave room; what they did before is followed first or, where it may not be, read
    /// by the next opening. `touched` are the files of which the commit adds or deletes rows.
    pub(super) fn commit_among_others(
        &mut self,
        mut commit: Commit,
        touched: &mut Vec<(u32, String)>,
        may_follow: bool,
    ) -> Result<()> {
        for _ in 0..TRIES_MAX {
            let Some(table) = &mut self.table else { return Ok(()) };
            if table.offer(&commit)? {
                return Ok(());
            }
            let others = table.take_touched();
            // A change data feed tells rows as they were before: where others have moved them they still are that, and where others
            // have changed them they are not.
            if !may_follow || (others.has_other_rows && self.settings.change_data_feed) {
                return Err(table.overtaken());
            }
            self.parts.take_back(std::mem::take(&mut commit.deletes), touched);
            self.follow(&others)?;
            let Sealed { deletes, touched: again, .. } = self.parts.seal();
            commit.deletes = deletes;
            touched.extend(again);
            commit.removes = self.files_to_replace();
        }
        self.table.as_ref().map_or(Ok(()), |table| Err(table.contended()))
    }

    /// Takes note of what others have done to the table's files, when nothing waits for a commit.
    pub(super) fn follow_others(&mut self) -> Result<()> {
        let others = self.table.as_mut().map(Table::take_touched);
        others.map_or(Ok(()), |others| self.follow(&others))
    }

    fn follow(&mut self, others: &Touched) -> Result<()> {
        let Some(table) = &mut self.table else { return Ok(()) };
        self.compacting.others_changed(table);
        // With no index yet, or none of what was there before, nothing is to be followed.
        if let (Rows::Mirror(mirror), true, false) = (&mut self.rows, self.is_loaded, self.replaces_all) {
            let adopted = mirror.adopt(table, &mut self.parts, &self.layout, &others.files);
            adopted.map_err(|error| self.or_taken_away(error))?;
        }
        Ok(())
    }

    /// Files of the table that the commit is to remove.
    pub(super) fn files_to_replace(&self) -> Vec<String> {
        match (&self.table, self.replaces_all) {
            (Some(table), true) => table.files().map(|file| file.path.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// What an error means where others may have taken away what was to be read: the whole table, or files of it by commits of
    /// theirs, with which taken in it passes.
    pub(super) fn or_taken_away(&self, error: Error) -> Error {
        let Some(table) = self.table.as_ref().filter(|_| error.code() == "delta_table_damaged") else { return error };
        if matches!(table.is_gone(), Ok(true)) {
            return crate::log::gone(&self.store).with_cause(error);
        }
        let is_adopting = self.settings.foreign_writes == ForeignWrites::Adopt;
        match table.is_overtaken() {
            Ok(true) if is_adopting => {
                let message = format!("other writers removed files of `{}`", self.store.place(""));
                Error::retry("delta_overtaken", message).with_cause(error)
            }
            _ => error,
        }
    }
}
