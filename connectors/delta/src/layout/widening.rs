//! Types that grow at the source: whether a table's column may follow, and how. What that asks of files is the writer's
//! matter.

use super::evolve::{Fit, Step};
use super::refusal::Misfit;
use super::{Mode, SchemaChanges};
use crate::encode::partition::keeps_texts;
use crate::encode::row::keeps_ids;
use crate::typemap::TableColumn;
use std::sync::Arc;

/// What a table does about a column whose type grows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Widening {
    /// Halts, and says what the choices are.
    #[default]
    Halt,
    /// Writes every file anew, with the new type.
    Rewrite,
    /// Lets the log say that older files have another type.
    Types,
}

impl Widening {
    /// As the configuration writes it, `halt` when it does not.
    pub(crate) fn of(word: Option<&str>, fault: &mut impl FnMut(&str, String)) -> Widening {
        match word {
            None | Some("halt") => Widening::Halt,
            Some("rewrite") => Widening::Rewrite,
            Some("types") => Widening::Types,
            Some(other) => {
                fault("widening", format!("`{other}` is no way: use `halt`, `rewrite` or `types`"));
                Widening::default()
            }
        }
    }
}

impl Fit<'_> {
    /// Whether a column of the table grows when it takes what is wanted: each of its values is one of the new type, and
    /// prints the same at the source.
    pub(super) fn grows(&self, held: usize, wanted: &TableColumn) -> bool {
        let Some(held) = self.layout.columns.get(held) else { return false };
        let is_kin = |from: &str, to: &str| {
            from == to
                || matches!((from, to), ("integer", "double" | "decimal") | ("float", "double") | ("date", "timestamp"))
        };
        let (from, to) = (held.family.trim_end_matches("[]"), wanted.family.trim_end_matches("[]"));
        is_kin(from, to) && held.column_type.widens_to(&wanted.column_type)
    }

    /// Whether the column may grow in its place.
    pub(super) fn may_widen(&self, held: usize, wanted: &TableColumn) -> bool {
        let may = match self.rules.widening {
            Widening::Halt => false,
            Widening::Types => true,
            // The files of a changelog are written anew before the commit that comes with the change, and changes from before
            // may be sent once more: a column of the new type must still take them.
            Widening::Rewrite if self.rules.mode == Mode::Changelog => self
                .layout
                .columns
                .get(held)
                .is_some_and(|held| held.family == wanted.family && wanted.column_type.holds(&held.column_type)),
            Widening::Rewrite => true,
        };
        let follows = may && self.rules.changes != SchemaChanges::Ignore;
        follows && self.grows(held, wanted) && self.keeps_partitions(held, wanted)
    }

    /// Whether files stay in their partitions as a column takes the type that is wanted: a partition column's values lie in the
    /// log, as texts.
    pub(super) fn keeps_partitions(&self, held: usize, wanted: &TableColumn) -> bool {
        let column = self.layout.columns.get(held).filter(|_| self.is_partition(held));
        column.is_none_or(|held| keeps_texts(&held.column_type, &wanted.column_type))
    }

    /// Gives the column the type that is wanted.
    pub(super) fn widen(&mut self, held: usize, at: usize, wanted: TableColumn, misfit: Misfit) {
        self.keep(held, at, &wanted);
        let Some(column) = self.layout.columns.get_mut(held) else { return };
        if self.rules.widening == Widening::Types {
            column.type_changes.push(column.column_type.change_to(&wanted.column_type));
        }
        let keeps_ids = keeps_ids(&column.column_type, &wanted.column_type);
        (column.column_type, column.family) = (wanted.column_type, wanted.family);
        self.evolution.steps.push(Step::Widened { misfit, column: Arc::clone(&column.name), keeps_ids });
    }
}
