//! The keys of a batch of changes, and what the runs say of them. Knows nothing of runs.

use crate::index::RowLocation;
use crate::index::mix::Mixed;

/// Keys that were asked for together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In order, each once.
    keys: Vec<Mixed>,
    /// For each value of the first bits of a key, the first key that has it or a larger one; one more at the end.
    starts: Vec<u32>,
    bits: u32,
    /// For each key, where its locations begin in `found`; one more at the end.
    spans: Vec<u32>,
    /// Of each key, the newest first.
    found: Vec<RowLocation>,
}

impl Batch {
    /// Of these keys, of which nothing is known yet.
    pub(crate) fn new(mut keys: Vec<Mixed>) -> Batch {
        keys.sort_unstable();
        keys.dedup();
        let bits = keys.len().max(1).ilog2();
        let mut starts = Vec::with_capacity((1 << bits) + 1);
        for (at, key) in keys.iter().enumerate() {
            while starts.len() as u64 <= front(*key, bits) {
                starts.push(at as u32);
            }
        }
        starts.resize((1 << bits) + 1, keys.len() as u32);
        let mut batch = Batch { keys, starts, bits, spans: Vec::new(), found: Vec::new() };
        batch.fill(&[]);
        batch
    }

    /// All keys, in order.
    pub(crate) fn keys(&self) -> &[Mixed] {
        &self.keys
    }

    /// Puts what was found in the place of what was known: a key's place among the keys and a location, the newest
    /// of each key first.
    pub(crate) fn fill(&mut self, found: &[(u32, RowLocation)]) {
        self.spans.clear();
        self.spans.resize(self.keys.len() + 1, 0);
        for (key, _) in found {
            if let Some(count) = self.spans.get_mut(*key as usize + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for span in &mut self.spans {
            sum += *span;
            *span = sum;
        }
        let mut next = self.spans.clone();
        self.found.clear();
        self.found.resize(found.len(), RowLocation { file: 0, row: 0 });
        for (key, location) in found {
            if let Some(at) = next.get_mut(*key as usize)
                && let Some(slot) = self.found.get_mut(*at as usize)
            {
                *slot = *location;
                *at += 1;
            }
        }
    }

    /// What was found of a key, the newest first; `None` when it was not asked for.
    pub(crate) fn of(&self, key: Mixed) -> Option<&[RowLocation]> {
        let bucket = front(key, self.bits) as usize;
        let (start, end) = (*self.starts.get(bucket)? as usize, *self.starts.get(bucket + 1)? as usize);
        let at = start + self.keys.get(start..end)?.binary_search(&key).ok()?;
        self.found.get(*self.spans.get(at)? as usize..*self.spans.get(at + 1)? as usize)
    }
}

fn front(key: Mixed, bits: u32) -> u64 {
    key.high.checked_shr(u64::BITS - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_gives_back_what_it_was_given(
            keys in proptest::collection::vec((any::<u64>(), 0u64..3), 0..200),
            hits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u32>()), 0..300),
            others in proptest::collection::vec((any::<u64>(), 0u64..3), 0..20),
        ) {
            let mixed = |(high, low)| Mixed { high, low };
            let mut batch = Batch::new(keys.iter().copied().map(mixed).collect());
            let mut model: BTreeMap<Mixed, Vec<RowLocation>> = batch.keys().iter().map(|key| (*key, vec![])).collect();
            let mut found = Vec::new();
            for (key, row) in hits.iter().filter(|_| !keys.is_empty()) {
                let at = key.index(batch.keys().len());
                found.push((at as u32, RowLocation { file: 1, row: *row }));
                model.get_mut(&batch.keys()[at]).unwrap().push(RowLocation { file: 1, row: *row });
            }
            batch.fill(&found);
            for key in keys.into_iter().chain(others).map(mixed) {
                prop_assert_eq!(batch.of(key), model.get(&key).map(Vec::as_slice));
            }
        }
    }
}
