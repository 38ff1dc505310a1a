//! The rows that the keys of a batch have, from change to change. They are looked up all at once before the first change and
//! told to the index all at once after the last one: one by one, in the order of the changes, each look-up would wait for
//! the cache misses of the one before it.

use super::Mirror;
use crate::encode::key::KeyId;
use crate::error::Result;
use crate::index::{Index, RowLocation};
use crate::log::Table;
use crate::parts::Parts;
use tidewire_core::Error;

/// The row of a key.
#[derive(Clone, Copy, Debug)]
struct Slot {
    row: Option<RowLocation>,
    /// It is not what the index has.
    is_new: bool,
}

/// The rows of all keys of a batch; of none between batches.
#[derive(Debug, Default)]
pub(super) struct Present(Vec<Slot>);

/// A key of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) id: KeyId,
    number: u32,
}

impl Present {
    /// Where the key's row lies now.
    pub(super) fn row(&self, key: Known) -> Option<RowLocation> {
        self.0.get(key.number as usize)?.row
    }

    /// The key's row lies there from now on; `None`: it has none.
    pub(super) fn set(&mut self, key: Known, row: Option<RowLocation>) {
        if let Some(slot) = self.0.get_mut(key.number as usize) {
            *slot = Slot { row, is_new: true };
        }
    }

    /// A row has moved.
    pub(super) fn follow(&mut self, index: &Index, id: KeyId, (from, to): (RowLocation, RowLocation)) {
        if self.0.is_empty() {
            return;
        }
        let slot = index.number_of(id).and_then(|number| self.0.get_mut(number));
        if let Some(slot) = slot.filter(|slot| slot.row == Some(from)) {
            slot.row = Some(to);
        }
    }
}

impl Mirror {
    /// Looks all keys of a batch up. Gives them back as `present` knows them, in the order of asking.
    pub(super) fn know(&mut self, asked: &[KeyId], table: Option<&mut Table>, parts: &mut Parts) -> Result<Vec<Known>> {
        self.prefetch(asked, table, parts)?;
        let rows = self.index.live_rows(parts.live()).into_iter();
        self.present = Present(rows.map(|row| Slot { row, is_new: false }).collect());
        let known = asked.iter().zip(self.index.numbers()).map(|(id, number)| Known { id: *id, number: *number });
        Ok(known.collect())
    }

    /// Tells the index what the changes have made of the batch's rows.
    pub(super) fn tell_index(&mut self) -> Result<()> {
        let Present(slots) = std::mem::take(&mut self.present);
        if slots.len() != self.index.asked().len() {
            return Err(Error::bug("index_batch", "the index was asked for other keys in the midst of a batch"));
        }
        self.index.learn(slots.into_iter().map(|Slot { row, is_new }| is_new.then_some(row)));
        Ok(())
    }
}
