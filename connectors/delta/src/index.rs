//! Where each live row of a table lies, by its key. The trait is what the writer needs of any index; the one here
//! lives in memory and is rebuilt from the table. Knows nothing of files but their ordinals.

use crate::encode::key::KeyId;
use hashbrown::HashMap;
use tidewire_core::Result;

/// A row: a file's ordinal, given out by the writer, and the row's number in that file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RowLocation {
    /// Ordinal of the file.
    pub(crate) file: u32,
    /// Physical row number, from 0.
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

/// An index in memory: about 20 bytes a row for keys that fit 64 bits, about 30 for others.
#[derive(Debug)]
pub(crate) enum MemoryIndex {
    /// For exact ids.
    Narrow(HashMap<u64, RowLocation>),
    /// For hashed ids.
    Wide(HashMap<[u64; 2], RowLocation>),
}

impl MemoryIndex {
    /// An empty index; `narrow` when the second half of every id is zero.
    pub(crate) fn new(narrow: bool) -> MemoryIndex {
        if narrow { MemoryIndex::Narrow(HashMap::new()) } else { MemoryIndex::Wide(HashMap::new()) }
    }
}

impl KeyIndex for MemoryIndex {
    fn prefetch(&mut self, keys: &[KeyId]) -> Result<()> {
        // Grown here, a rehash falls between batches.
        match self {
            MemoryIndex::Narrow(map) => map.reserve(keys.len()),
            MemoryIndex::Wide(map) => map.reserve(keys.len()),
        }
        Ok(())
    }

    fn get(&self, KeyId(key): KeyId) -> Result<Option<RowLocation>> {
        Ok(match self {
            MemoryIndex::Narrow(map) => map.get(&key[0]).copied(),
            MemoryIndex::Wide(map) => map.get(&key).copied(),
        })
    }

    fn insert(&mut self, KeyId(key): KeyId, location: RowLocation) -> Result<Option<RowLocation>> {
        Ok(match self {
            MemoryIndex::Narrow(map) => map.insert(key[0], location),
            MemoryIndex::Wide(map) => map.insert(key, location),
        })
    }

    fn remove(&mut self, KeyId(key): KeyId) -> Result<Option<RowLocation>> {
        Ok(match self {
            MemoryIndex::Narrow(map) => map.remove(&key[0]),
            MemoryIndex::Wide(map) => map.remove(&key),
        })
    }

    fn clear(&mut self) {
        match self {
            MemoryIndex::Narrow(map) => *map = HashMap::new(),
            MemoryIndex::Wide(map) => *map = HashMap::new(),
        }
    }

    fn len(&self) -> usize {
        match self {
            MemoryIndex::Narrow(map) => map.len(),
            MemoryIndex::Wide(map) => map.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_keep_what_they_were_told() {
        for narrow in [true, false] {
            let mut index = MemoryIndex::new(narrow);
            let (key, other) = (KeyId([7, 0]), KeyId([8, 0]));
            let location = |row| RowLocation { file: 1, row };
            assert_eq!(index.insert(key, location(1)).unwrap(), None);
            assert_eq!(index.insert(key, location(2)).unwrap(), Some(location(1)));
            assert_eq!(index.get(key).unwrap(), Some(location(2)));
            assert_eq!(index.get(other).unwrap(), None);
            assert_eq!(index.len(), 1);
            assert_eq!(index.remove(key).unwrap(), Some(location(2)));
            assert_eq!(index.remove(key).unwrap(), None);
            index.insert(other, location(3)).unwrap();
            index.clear();
            assert_eq!(index.len(), 0);
        }
    }
}
