//! Buffers of batches that are done with, for the next ones. Fresh memory costs the kernel more than filling it costs us:
//! every page is taken, emptied and given back again.

use super::Change;
use crate::cell::Cell;
use std::sync::{Mutex, PoisonError};

/// Most that wait. The others of a batch's way are in use, or given back.
const KEPT_MAX: usize = 3;
/// Largest that are kept, in bytes: a batch of one huge row leaves nothing behind.
const BYTES_MAX: usize = 8 << 20;

/// What a batch is filled with.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    pub(super) changes: Vec<Change>,
    pub(super) cells: Vec<Cell>,
    pub(super) arena: Vec<u8>,
}

impl Buffers {
    fn capacity_bytes(&self) -> usize {
        self.arena.capacity()
            + self.cells.capacity() * size_of::<Cell>()
            + self.changes.capacity() * size_of::<Change>()
    }

    /// Room for as much, in one piece each.
    pub(super) fn reserve(&mut self, changes: usize, cells: usize, arena: usize) {
        self.changes.reserve(changes);
        self.cells.reserve(cells);
        self.arena.reserve(arena);
    }
}

/// The buffers that wait, shared by a builder and its batches.
#[derive(Debug, Default)]
pub(super) struct Spares(Mutex<Vec<Buffers>>);

impl Spares {
    /// Empty buffers, with room where some waited.
    pub(super) fn take(&self) -> Buffers {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    /// Keeps the room of what is done with.
    pub(super) fn keep(&self, mut buffers: Buffers) {
        if buffers.capacity_bytes() > BYTES_MAX {
            return;
        }
        buffers.changes.clear();
        buffers.cells.clear();
        buffers.arena.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_MAX {
            kept.push(buffers);
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}
