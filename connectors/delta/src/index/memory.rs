//! An index in memory: 19 to 21 bytes a row for keys that fit 64 bits, 28 to 31 for others, and never two sizes of
//! itself at once.
//!
//! A table is cut into shards by the first bits of a key's hash. In a shard the entries lie in the order of their
//! hashes, each as near to where its hash points as those before it allow (linear probing with the order of Robin
//! Hood): a search ends at the first larger hash, and a shard grows by an eighth in one sweep from front to end, in
//! which the pages it has read serve again for those it writes. Pages have one size, so that the allocator is left
//! with no holes of sizes that nobody asks for again.

use crate::encode::key::KeyId;
use crate::index::RowLocation;
use crate::index::mix::mix;
use std::fmt::Debug;

const SHARD_BITS: u32 = 4;
const PAGE_SLOTS: usize = 64;
/// Slots of a cache line, nearly.
const LINE_SLOTS: usize = 3;
/// A shard grows when so many of eight slots are taken.
const FULL_EIGHTHS: usize = 7;

/// The row number that no row has: the slot is free.
const FREE: RowLocation = RowLocation { file: 0, row: u32::MAX };

/// An index in memory.
#[derive(Debug)]
pub(crate) enum MemoryIndex {
    /// For exact ids.
    Narrow(Shards<u64>),
    /// For hashed ids.
    Wide(Shards<[u64; 2]>),
}

/// What the index keeps of an id. Two ids are the same row only if all of it is the same.
pub(crate) trait IndexKey: Copy + Default + Eq + Debug {
    /// Of an id.
    fn of(id: KeyId) -> Self;

    /// Where it belongs; keyed, so that nobody can prepare keys that crowd together.
    fn hash(self, seed: &[u64; 4]) -> u64;
}

impl IndexKey for u64 {
    fn of(KeyId([exact, _]): KeyId) -> u64 {
        exact
    }

    fn hash(self, seed: &[u64; 4]) -> u64 {
        mix(self, seed)
    }
}

impl IndexKey for [u64; 2] {
    fn of(KeyId(id): KeyId) -> [u64; 2] {
        id
    }

    /// The id is a keyed hash already.
    fn hash(self, _: &[u64; 4]) -> u64 {
        self[0]
    }
}

#[derive(Clone, Copy, Debug)]
struct Slot<K> {
    key: K,
    location: RowLocation,
}

impl<K: IndexKey> Slot<K> {
    fn free() -> Slot<K> {
        Slot { key: K::default(), location: FREE }
    }

    fn is_free(&self) -> bool {
        self.location == FREE
    }
}

type Page<K> = Box<[Slot<K>; PAGE_SLOTS]>;

/// One part of the keys, in the order of their hashes.
#[derive(Debug)]
struct Shard<K> {
    /// Covers `capacity` slots, and what the last entries overflow.
    pages: Vec<Page<K>>,
    capacity: usize,
    len: usize,
}

/// All keys.
#[derive(Debug)]
pub(crate) struct Shards<K> {
    shards: [Shard<K>; 1 << SHARD_BITS],
    seeds: [u64; 4],
}

impl MemoryIndex {
    /// An empty index, in the order of this seed; `narrow` when the second half of every id is zero.
    pub(crate) fn with_seed(narrow: bool, seed: [u64; 4]) -> MemoryIndex {
        if narrow { MemoryIndex::Narrow(Shards::new(seed)) } else { MemoryIndex::Wide(Shards::new(seed)) }
    }

    /// All entries in the order of the first halves of their hashes.
    pub(crate) fn iter(&self) -> Box<dyn Iterator<Item = (KeyId, RowLocation)> + '_> {
        match self {
            MemoryIndex::Narrow(shards) => Box::new(shards.slots().map(|slot| (KeyId([slot.key, 0]), slot.location))),
            MemoryIndex::Wide(shards) => Box::new(shards.slots().map(|slot| (KeyId(slot.key), slot.location))),
        }
    }

    #[cfg(test)]
    fn seed(&self) -> [u64; 4] {
        match self {
            MemoryIndex::Narrow(shards) => shards.seeds,
            MemoryIndex::Wide(shards) => shards.seeds,
        }
    }
}

impl MemoryIndex {
    /// Where the row lies.
    pub(crate) fn get(&self, key: KeyId) -> Option<RowLocation> {
        match self {
            MemoryIndex::Narrow(shards) => shards.get(key),
            MemoryIndex::Wide(shards) => shards.get(key),
        }
    }

    /// Brings what `get` looks at first into the cache. Nothing here depends on what was read, so the misses of many keys
    /// are waited for together; `get` has to know the one before it can go on to the next.
    pub(crate) fn touch(&self, keys: &[KeyId]) {
        match self {
            MemoryIndex::Narrow(shards) => shards.touch(keys),
            MemoryIndex::Wide(shards) => shards.touch(keys),
        }
    }

    /// Puts the row there and says where it was.
    pub(crate) fn insert(&mut self, key: KeyId, location: RowLocation) -> Option<RowLocation> {
        match self {
            MemoryIndex::Narrow(shards) => shards.insert(key, location),
            MemoryIndex::Wide(shards) => shards.insert(key, location),
        }
    }

    /// Forgets the row and says where it was.
    pub(crate) fn remove(&mut self, key: KeyId) -> Option<RowLocation> {
        match self {
            MemoryIndex::Narrow(shards) => shards.remove(key),
            MemoryIndex::Wide(shards) => shards.remove(key),
        }
    }

    /// Number of rows.
    pub(crate) fn len(&self) -> usize {
        match self {
            MemoryIndex::Narrow(shards) => shards.len(),
            MemoryIndex::Wide(shards) => shards.len(),
        }
    }
}

impl<K: IndexKey> Shards<K> {
    fn new(seeds: [u64; 4]) -> Shards<K> {
        let shards = std::array::from_fn(|_| Shard { pages: Vec::new(), capacity: 0, len: 0 });
        Shards { shards, seeds }
    }

    fn slots(&self) -> impl Iterator<Item = &Slot<K>> {
        let pages = self.shards.iter().flat_map(|shard| &shard.pages);
        pages.flat_map(|page| page.iter()).filter(|slot| !slot.is_free())
    }

    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.len).sum()
    }

    fn touch(&self, keys: &[KeyId]) {
        let row = |id: &KeyId| {
            let hash = K::of(*id).hash(&self.seeds);
            let shard = self.shards.get(shard_of(hash))?;
            let (at, row) = (shard.aim(hash), |slot: &Slot<K>| slot.location.row);
            // An entry lies some slots behind its aim, which may be in the next line.
            Some(shard.slot(at).map_or(0, row) ^ shard.slot(at + LINE_SLOTS).map_or(0, row))
        };
        let sum = keys.iter().filter_map(row).fold(0, u32::wrapping_add);
        std::hint::black_box(sum);
    }

    fn get(&self, id: KeyId) -> Option<RowLocation> {
        let key = K::of(id);
        let hash = key.hash(&self.seeds);
        let shard = self.shards.get(shard_of(hash))?;
        let at = shard.find(key, hash, &self.seeds).ok()?;
        shard.slot(at).map(|slot| slot.location)
    }

    fn insert(&mut self, id: KeyId, location: RowLocation) -> Option<RowLocation> {
        let key = K::of(id);
        let hash = key.hash(&self.seeds);
        let shard = self.shards.get_mut(shard_of(hash))?;
        let mut at = match shard.find(key, hash, &self.seeds) {
            Ok(at) => return shard.slot_mut(at).map(|slot| std::mem::replace(&mut slot.location, location)),
            Err(at) => at,
        };
        if shard.is_full() {
            shard.grow(&self.seeds);
            at = shard.find(key, hash, &self.seeds).unwrap_or_else(|at| at);
        }
        shard.make_room(at, Slot { key, location });
        None
    }

    fn remove(&mut self, id: KeyId) -> Option<RowLocation> {
        let key = K::of(id);
        let hash = key.hash(&self.seeds);
        let shard = self.shards.get_mut(shard_of(hash))?;
        let at = shard.find(key, hash, &self.seeds).ok()?;
        shard.take(at, &self.seeds)
    }
}

impl<K: IndexKey> Shard<K> {
    fn slot(&self, at: usize) -> Option<&Slot<K>> {
        self.pages.get(at / PAGE_SLOTS)?.get(at % PAGE_SLOTS)
    }

    fn slot_mut(&mut self, at: usize) -> Option<&mut Slot<K>> {
        self.pages.get_mut(at / PAGE_SLOTS)?.get_mut(at % PAGE_SLOTS)
    }

    fn is_full(&self) -> bool {
        self.len >= self.capacity / 8 * FULL_EIGHTHS
    }

    /// Where a hash points to.
    fn aim(&self, hash: u64) -> usize {
        ((u128::from(hash << SHARD_BITS) * self.capacity as u128) >> 64) as usize
    }

    /// The slot of the key, or the one where it would have to be put.
    fn find(&self, key: K, hash: u64, seeds: &[u64; 4]) -> std::result::Result<usize, usize> {
        let mut at = self.aim(hash);
        loop {
            match self.slot(at) {
                Some(slot) if slot.is_free() => return Err(at),
                Some(slot) if slot.key == key => return Ok(at),
                Some(slot) if slot.key.hash(seeds) <= hash => at += 1,
                Some(_) | None => return Err(at),
            }
        }
    }

    /// Puts an entry at `at`; the entries there move up to the next free slot.
    fn make_room(&mut self, mut at: usize, mut entry: Slot<K>) {
        self.len += 1;
        loop {
            match self.slot_mut(at) {
                Some(slot) => {
                    std::mem::swap(slot, &mut entry);
                    if entry.is_free() {
                        return;
                    }
                    at += 1;
                }
                None => self.pages.push(free_page()),
            }
        }
    }

    /// Takes the entry at `at` out; the entries behind it that do not lie where they belong move down.
    fn take(&mut self, mut at: usize, seeds: &[u64; 4]) -> Option<RowLocation> {
        let location = self.slot(at)?.location;
        self.len -= 1;
        loop {
            let next = self.slot(at + 1).copied().filter(|slot| !slot.is_free());
            let next = next.filter(|slot| self.aim(slot.key.hash(seeds)) <= at);
            *self.slot_mut(at)? = next.unwrap_or_else(Slot::free);
            if next.is_none() {
                return Some(location);
            }
            at += 1;
        }
    }

    /// Spreads the entries over an eighth more slots.
    fn grow(&mut self, seeds: &[u64; 4]) {
        self.capacity += (self.capacity / 8).next_multiple_of(PAGE_SLOTS).max(PAGE_SLOTS);
        let mut spare: Vec<Page<K>> = Vec::new();
        let mut next = 0;
        // An entry never moves down, so the pages that are written stay ahead of those that are read only by
        // what the shard grows.
        for mut page in std::mem::take(&mut self.pages) {
            for entry in page.iter().filter(|slot| !slot.is_free()) {
                let at = self.aim(entry.key.hash(seeds)).max(next);
                while self.pages.len() * PAGE_SLOTS <= at {
                    self.pages.push(spare.pop().unwrap_or_else(free_page));
                }
                if let Some(slot) = self.slot_mut(at) {
                    *slot = *entry;
                }
                next = at + 1;
            }
            page.fill(Slot::free());
            spare.push(page);
        }
        while self.pages.len() * PAGE_SLOTS < self.capacity {
            self.pages.push(spare.pop().unwrap_or_else(free_page));
        }
    }
}

fn shard_of(hash: u64) -> usize {
    (hash >> (u64::BITS - SHARD_BITS)) as usize
}

fn free_page<K: IndexKey>() -> Page<K> {
    Box::new([Slot::free(); PAGE_SLOTS])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::mix::Order;
    use crate::index::mix::random_seed;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[derive(Clone, Debug)]
    enum Act {
        Put(u64, u64, u32),
        Remove(u64, u64),
    }

    /// Wide ids are taken as their own hashes, so these crowd at both ends of a shard and share hashes.
    fn half() -> impl Strategy<Value = u64> {
        prop_oneof![0u64..40, (0u64..40).prop_map(|n| u64::MAX - n), (0u64..40).prop_map(|n| n << 55), any::<u64>()]
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            300 => (half(), 0u64..4, 0u32..1_000).prop_map(|(a, b, row)| Act::Put(a, b, row)),
            100 => (half(), 0u64..4).prop_map(|(a, b)| Act::Remove(a, b)),
        ]
    }

    fn run(narrow: bool, acts: &[Act]) -> std::result::Result<(), TestCaseError> {
        let mut index = MemoryIndex::with_seed(narrow, random_seed());
        let mut model = HashMap::new();
        let id = |a: u64, b: u64| if narrow { [a, 0] } else { [a, b] };
        for act in acts {
            match *act {
                Act::Put(a, b, row) => {
                    let location = RowLocation { file: 7, row };
                    let was = index.insert(KeyId(id(a, b)), location);
                    prop_assert_eq!(was, model.insert(id(a, b), location));
                }
                Act::Remove(a, b) => {
                    prop_assert_eq!(index.remove(KeyId(id(a, b))), model.remove(&id(a, b)));
                }
            }
            prop_assert_eq!(index.len(), model.len());
        }
        for (key, location) in &model {
            prop_assert_eq!(index.get(KeyId(*key)), Some(*location));
        }
        prop_assert_eq!(index.iter().map(|(KeyId(key), location)| (key, location)).collect::<HashMap<_, _>>(), model);
        let order = Order::new(narrow, index.seed());
        prop_assert!(index.iter().map(|(key, _)| order.mixed(key).high).is_sorted());
        Ok(())
    }

    proptest! {
        #[test]
        fn it_answers_as_a_map_does(narrow: bool, acts in proptest::collection::vec(act(), 0..2_000)) {
            run(narrow, &acts)?;
        }
    }

    #[test]
    fn it_stays_dense_while_it_grows() {
        let mut shards: Shards<u64> = Shards::new(random_seed());
        for key in 0..300_000u64 {
            shards.insert(KeyId([key, 0]), RowLocation { file: 0, row: key as u32 });
            let slots = shards.shards.iter().map(|shard| shard.pages.len() * PAGE_SLOTS).sum::<usize>();
            let taken = shards.len();
            assert!(slots <= taken * 4 / 3 + (PAGE_SLOTS << SHARD_BITS) * 2, "{slots} slots for {taken} keys");
        }
        for key in (0..300_000u64).step_by(2) {
            assert_eq!(shards.remove(KeyId([key, 0])), Some(RowLocation { file: 0, row: key as u32 }));
        }
        for key in 0..300_000u64 {
            let expect = (key % 2 == 1).then_some(RowLocation { file: 0, row: key as u32 });
            assert_eq!(shards.get(KeyId([key, 0])), expect);
        }
    }
}
