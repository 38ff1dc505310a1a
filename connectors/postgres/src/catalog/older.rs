//! What rows from before a column have in it, as far as the catalog proves it. Pure.
//!
//! `ADD COLUMN ... DEFAULT` with a constant leaves the rows as they lie and keeps the value in the catalog (`attmissingval`)
//! until they are written anew, by `VACUUM FULL`, `CLUSTER` or a change of a type. So a column that is there without such a value
//! has null in older rows only if they have not been written anew since: a default that is computed for each row does that as
//! well, and may be gone by now.

use super::shape::{Described, Held, TableFacts, TableFactsColumn};
use crate::typemap::{ColumnDecoder, Scratch};
use std::sync::Arc;
use tidewire_core::{BatchBuilder, Missing};

/// A table whose catalog still has the very columns that the log tells of.
#[derive(Clone, Copy)]
pub(super) struct Older<'a> {
    facts: &'a TableFacts,
    known: Option<&'a Described>,
}

impl<'a> Older<'a> {
    /// `known` is the table as it was described before. `None` where the columns may be others than they look.
    pub(super) fn of(facts: &'a TableFacts, known: Option<&'a Described>) -> Option<Older<'a>> {
        (!facts.is_listed).then_some(Older { facts, known })
    }

    /// Where the rows lie.
    pub(super) fn places(self) -> Arc<[String]> {
        self.facts.places.as_slice().into()
    }

    /// What rows from before the column have in it.
    pub(super) fn missing(self, column: &TableFactsColumn, decoder: &ColumnDecoder) -> Missing {
        if column.generated {
            return Missing::Unknown;
        }
        match &column.held {
            Held::Value(text) => {
                let read =
                    |builder: &mut BatchBuilder| decoder.decode(text.as_bytes(), builder, &mut Scratch::default());
                BatchBuilder::constant(read).map_or(Missing::Unknown, Missing::from)
            }
            Held::Nothing if self.facts.is_untouched || self.has_come_since(column) => Missing::Null,
            Held::Nothing | Held::Unclear => Missing::Unknown,
        }
    }

    /// Whether the table was described without the column, and no row of then has been written anew since.
    fn has_come_since(self, column: &TableFactsColumn) -> bool {
        let Some((known, places)) = self.known.and_then(|known| Some((known, known.places.as_ref()?))) else {
            return false;
        };
        let is_it =
            |other: &tidewire_core::ColumnSchema| other.number.is_none_or(|other| other.number == column.number);
        !known.schema.columns.iter().any(is_it) && places.iter().all(|place| self.facts.places.contains(place))
    }
}
