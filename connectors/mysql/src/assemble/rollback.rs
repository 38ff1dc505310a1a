//! Rows that are taken back. The servers cut them off before they log a transaction, but for MariaDB when the transaction
//! also changed a table without transactions, or made a temporary one: there they stay in the log, and the ROLLBACK behind
//! them (MY-34, MY-38). Rows of tables without transactions stay in force.

use super::group::Group;
use super::{Applied, Assembler};
use std::sync::Arc;
use tidewire_core::{Error, Op, Result};

/// A savepoint of the open transaction.
#[derive(Clone, Debug)]
pub(super) struct Savepoint {
    name: Arc<str>,
    /// Changes in the batch before it.
    at: usize,
    /// Whether rows of transactional tables came after it.
    rows: bool,
}

impl Group {
    /// A batch begins, of which nothing is there yet.
    pub(super) fn begin_batch(&mut self) {
        self.begins_at = 0;
        self.savepoints.iter_mut().for_each(|savepoint| savepoint.at = 0);
    }

    /// Takes note of rows of a table of the batch.
    pub(super) fn note_rows(&mut self, table: u32, transactional: bool) {
        if transactional {
            self.transactional_rows = true;
            self.savepoints.iter_mut().for_each(|savepoint| savepoint.rows = true);
        } else if !self.lasting.contains(&table) {
            self.lasting.push(table);
        }
    }
}

impl Assembler {
    pub(super) fn savepoint(&mut self, name: Arc<str>) -> Result<Applied> {
        let at = self.builder.len();
        let group = self.group()?;
        group.savepoints.retain(|savepoint| !same(&savepoint.name, &name));
        group.savepoints.push(Savepoint { name, at, rows: false });
        Ok(Applied::Nothing)
    }

    pub(super) fn rollback(&mut self) -> Result<Applied> {
        let group = self.group()?;
        if group.transactional_rows {
            let from = group.begins_at;
            self.take_back(from, "ROLLBACK")?;
        }
        self.commit()
    }

    pub(super) fn rollback_to(&mut self, name: &str) -> Result<Applied> {
        let group = self.group()?;
        let known = group.savepoints.iter().position(|savepoint| same(&savepoint.name, name));
        let (at, rows) = match known.and_then(|index| group.savepoints.get(index)) {
            Some(savepoint) => (savepoint.at.max(group.begins_at), savepoint.rows),
            None => (group.begins_at, group.transactional_rows),
        };
        group.savepoints.truncate(known.map_or(0, |index| index + 1));
        if rows {
            self.take_back(at, "ROLLBACK TO SAVEPOINT")?;
            if let Some(savepoint) = self.group()?.savepoints.last_mut() {
                savepoint.rows = false;
            }
        }
        Ok(Applied::Nothing)
    }

    /// Takes rows of the batch back. What was handed out cannot be taken back.
    fn take_back(&mut self, from: usize, verb: &str) -> Result<()> {
        let Some(group) = &mut self.open else { return Err(self.out_of_order("a rollback without a transaction")) };
        if group.handed_out {
            return Err(self.taken_back(verb));
        }
        let lasting = &group.lasting;
        let is_row = |op| matches!(op, Op::Insert | Op::Update | Op::Delete);
        self.builder.retract(from, |change| !is_row(change.op) || lasting.contains(&change.table));
        if group.in_batch && self.builder.len() == group.begins_at {
            self.builder.drop_empty_transaction();
            group.in_batch = false;
        }
        Ok(())
    }

    #[cold]
    fn taken_back(&self, verb: &str) -> Error {
        let message =
            format!("rows of a transactional table that are shipped are taken back by {verb}, at `{}`", self.here());
        Error::operator("rows_taken_back", message).with_remedy(
            "MariaDB leaves such rows in its log when a large transaction also made a temporary table or changed a table \
             without transactions (MyISAM, Aria, MEMORY): keep these apart; then read the tables anew, by new names of the \
             sinks (and a new location of a Delta sink)",
        )
    }
}

/// Names of savepoints do not differ by case.
fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other) || one.to_lowercase() == other.to_lowercase()
}
