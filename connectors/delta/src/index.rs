//! Where each live row of a table lies, by its key. The trait is what the writer needs of any index; the one in
//! `memory` is rebuilt from the table. Knows nothing of files but their ordinals.
//!
//! The index on disk (`lsm`) keeps facts that stay true for ever: "the row with this key lies in this file at this
//! row". Files are immutable, so that an old fact is at worst about a row that is dead by now, and whether it is, the
//! caller knows: from deletion vectors and from the files that are gone. So nothing is ever taken back, a crash loses
//! no more than facts that can be read from the table again, and a look-up yields candidates, the newest first.

mod batch;
mod bloom;
mod builder;
mod folder;
mod job;
mod lsm;
mod manifest;
mod map;
mod memory;
mod merge;
mod mix;
mod page;
mod run;

pub(crate) use builder::{PreparedRun, RunBuilder};
pub(crate) use lsm::{Index, Mark, Opened};
pub(crate) use manifest::Binding;
pub(crate) use memory::MemoryIndex;
pub(crate) use page::sealed as seal;
pub(crate) use run::probe;

use crate::encode::key::KeyId;
use tidewire_core::Result;

/// A row: a file's ordinal, given out by the writer, and the row's number in that file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RowLocation {
    /// Ordinal of the file.
    pub(crate) file: u32,
    /// Physical row number, from 0; below `u32::MAX`.
    pub(crate) row: u32,
}

/// From keys to locations. Calls come in the order of the changes; `prefetch` names the keys of a whole batch
/// ahead of them, so that an index on disk can sweep its runs once.
pub(crate) trait KeyIndex: Send {
    /// The keys that the next calls will ask for.
    fn prefetch(&mut self, keys: &[KeyId]) -> Result<()>;

    /// Where the row lies.
    fn get(&self, key: KeyId) -> Result<Option<RowLocation>>;

    /// Puts the row there and says where it was.
    fn insert(&mut self, key: KeyId, location: RowLocation) -> Result<Option<RowLocation>>;

    /// Forgets the row and says where it was.
    fn remove(&mut self, key: KeyId) -> Result<Option<RowLocation>>;

    /// Forgets all rows.
    fn clear(&mut self);

    /// Number of rows.
    fn len(&self) -> usize;
}
