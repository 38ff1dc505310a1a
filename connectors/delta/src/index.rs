//! Where each live row of a table lies, by its key. The trait is what the writer needs of any index; the one in
//! `memory` is rebuilt from the table. Knows nothing of files but their ordinals.

mod memory;

pub(crate) use memory::MemoryIndex;

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
