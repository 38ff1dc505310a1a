//! Column mapping: gives a column its name in data files, and finds the table's columns again by the source's own numbers when
//! they have got other names. Without mapping a column is its name.

use super::evolve::{Fit, Step, is_one};
use super::{Layout, SchemaChanges, is_own};
use crate::ambient;
use crate::typemap::{LAST_ID_PROPERTY, MODE_NAME, MODE_PROPERTY, Mapped, TableColumn};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidewire_core::{ColumnNumber, TableSchema};

/// The highest id of a table's columns; `None` without mapping.
pub(super) fn last_id(configuration: &BTreeMap<String, String>) -> Option<u32> {
    let is_mapped = configuration.get(MODE_PROPERTY).is_some_and(|mode| mode == MODE_NAME);
    configuration.get(LAST_ID_PROPERTY).filter(|_| is_mapped)?.parse().ok()
}

impl Layout {
    /// Whether columns have names of their own in data files.
    pub(crate) fn is_mapped(&self) -> bool {
        self.last_id.is_some()
    }

    /// The table's properties about it.
    pub(crate) fn mapping_properties(&self) -> Vec<(String, String)> {
        let Some(last_id) = self.last_id else { return Vec::new() };
        vec![(MODE_PROPERTY.to_owned(), MODE_NAME.to_owned()), (LAST_ID_PROPERTY.to_owned(), last_id.to_string())]
    }

    /// A new column's name in data files, and its id.
    pub(super) fn map(&mut self, column: &mut TableColumn, number: Option<ColumnNumber>) {
        let Some(last_id) = &mut self.last_id else { return };
        *last_id = last_id.saturating_add(1);
        let physical = format!("col-{}", ambient::uuid()).into();
        column.mapped = Some(Mapped { id: *last_id, physical, number });
    }

    /// Gives each column that has none a name in data files: that of `earlier`, where the same column is there.
    pub(super) fn map_all(&mut self, schema: &TableSchema, earlier: Option<&Layout>) {
        self.last_id = self.last_id.map(|_| earlier.and_then(|earlier| earlier.last_id).unwrap_or(0));
        let mut columns = std::mem::take(&mut self.columns);
        // What no reader sees is in no schema that could tell its other name.
        let shown = columns.iter_mut().zip(self.sources.clone()).filter(|(column, _)| !column.is_hidden());
        for (column, source) in shown {
            let number = source.and_then(|source| number(schema, source));
            let is_same = |held: &&TableColumn| {
                let same_number = held.mapped.as_ref().is_some_and(|mapped| mapped.number == number);
                // A number is the same column's, whatever it is called.
                let is_same = same_number && (number.is_some() || held.name == column.name);
                is_same && held.column_type == column.column_type && !held.dropped
            };
            match earlier.and_then(|earlier| earlier.columns.iter().find(is_same)) {
                Some(held) => {
                    column.mapped.clone_from(&held.mapped);
                    column.partition.clone_from(&held.partition);
                }
                None => self.map(column, number),
            }
        }
        self.columns = columns;
    }
}

/// The source's number of its column `at`.
pub(super) fn number(schema: &TableSchema, at: usize) -> Option<ColumnNumber> {
    schema.columns.get(at)?.number
}

/// Whether the column takes the values of the source's column of this number.
fn has_number(column: &TableColumn, number: ColumnNumber) -> bool {
    !column.dropped && column.mapped.as_ref().is_some_and(|mapped| mapped.number == Some(number))
}

impl Fit<'_> {
    /// Whether columns come, go and change names by the table's metadata alone.
    pub(super) fn follows_names(&self) -> bool {
        let follows =
            matches!(self.rules.changes, SchemaChanges::Evolve | SchemaChanges::Lenient | SchemaChanges::Fail);
        self.layout.is_mapped() && follows
    }

    /// Whether the `held`-th column of the table takes the values of the source's column `at`: numbers decide where both are
    /// known.
    pub(super) fn is_of(&self, held: usize, at: usize) -> bool {
        let Some((source, column)) = self.schema.columns.get(at).zip(self.layout.columns.get(held)) else {
            return false;
        };
        if column.dropped || is_own(column, self.rules.mode) {
            return false;
        }
        let told = number(self.schema, at).filter(|_| self.follows_names());
        if let Some(place) = told.and_then(|told| self.layout.columns.iter().position(|held| has_number(held, told))) {
            return place == held;
        }
        let held_number = column.mapped.as_ref().and_then(|mapped| mapped.number);
        let is_another = told.zip(held_number).is_some_and(|(told, held)| told.within == held.within);
        column.takes(&source.name) && !is_another
    }

    /// Takes the columns that the source has no more out of the table: their values stay in files, where nobody asks for them.
    pub(super) fn remove_gone(&mut self) {
        if !self.follows_names() {
            return;
        }
        self.retire_partitions();
        let is_kept = |held: usize| (0..self.schema.columns.len()).any(|at| self.is_of(held, at));
        let stays =
            |(held, column): (usize, &TableColumn)| column.dropped || is_own(column, self.rules.mode) || is_kept(held);
        let stays = self.layout.columns.iter().enumerate().map(stays).collect::<Vec<_>>();
        let (kept, gone): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.layout.columns).into_iter().zip(stays).partition(|(_, stays)| *stays);
        self.evolution.steps.extend(gone.into_iter().map(|(column, _)| Step::Removed(column.name)));
        self.layout.columns = kept.into_iter().map(|(column, _)| column).collect();
        self.layout.sources.truncate(self.layout.columns.len());
    }

    /// A column that the table is partitioned by cannot go from it, for it tells every file's partition: it stays, null from here
    /// on.
    fn retire_partitions(&mut self) {
        for held in 0..self.layout.columns.len() {
            let has_gone = |held| !(0..self.schema.columns.len()).any(|at| self.is_of(held, at));
            let is_dropped = self.layout.columns.get(held).is_none_or(|column| column.dropped);
            if !is_dropped && self.is_partition(held) && has_gone(held) {
                let name = self.retire(held);
                self.evolution.steps.push(Step::Dropped(name));
            }
        }
    }

    /// Gives the columns that the source calls otherwise now their new names. All at once: two may have changed places.
    pub(super) fn rename(&mut self) {
        if !self.follows_names() {
            return;
        }
        let mut renames = Vec::new();
        for (at, source) in self.schema.columns.iter().enumerate() {
            let of = self.layout.columns.iter().enumerate().find(|(held, _)| self.is_of(*held, at));
            if let Some((held, column)) = of.filter(|(_, column)| !column.takes(&source.name)) {
                renames.push((held, at, source, column.clone()));
            }
        }
        let renamed: BTreeSet<usize> = renames.iter().map(|(held, ..)| *held).collect();
        for (held, at, source, column) in renames {
            // One that is renamed as well makes room.
            let mut others = self.layout.columns.iter().enumerate().filter(|(other, _)| !renamed.contains(other));
            let is_taken = others.any(|(_, other)| is_one(&other.name, &source.name));
            let from = Arc::clone(&column.name);
            let column = TableColumn { name: Arc::clone(&source.name), source: None, ..column };
            let column = if is_taken && self.may_move(at) { self.numbered(source, column) } else { column };
            self.evolution.steps.push(Step::Renamed { from, to: Arc::clone(&column.name) });
            if let Some(slot) = self.layout.columns.get_mut(held) {
                *slot = column;
            }
        }
    }

    /// Notes the source's numbers of the columns. Where the source does not tell them and columns have come or gone, it is
    /// not known either whether those that stayed are the same: from then on names decide, until numbers are told again.
    pub(super) fn note_numbers(&mut self) {
        if !self.layout.is_mapped() {
            return;
        }
        let has_changed = !self.evolution.steps.is_empty();
        let mut noted = false;
        for (column, source) in self.layout.columns.iter_mut().zip(&self.layout.sources) {
            let (Some(mapped), Some(source)) = (&mut column.mapped, source) else { continue };
            let told = number(self.schema, *source);
            if mapped.number != told && (told.is_some() || has_changed) {
                mapped.number = told;
                noted = true;
            }
        }
        self.evolution.metadata_changed |= noted;
    }
}
