//! The keys of a batch of changes, and what the runs say of them. Knows nothing of runs.

use crate::encode::key::KeyId;
use crate::index::RowLocation;
use crate::index::mix::Mixed;

/// Keys that were asked for together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// In order, each once.
    keys: Vec<Mixed>,
    /// The same keys as they were asked for.
    ids: Vec<KeyId>,
    /// For each key in the order of asking, its number among `keys`.
    numbers: Vec<u32>,
    /// For each value of the first bits of a key, the first key that has it or a larger one; one more at the end.
    starts: Vec<u32>,
    bits: u32,
    /// For each key, where its locations begin in `found`; one more at the end.
    spans: Vec<u32>,
    /// Of each key, the newest first.
    found: Vec<RowLocation>,
}

impl Batch {
    /// Of these keys, of which nothing is known yet; `mixed` tells where each stands in the order.
    pub(crate) fn new(asked: &[KeyId], mixed: impl Fn(KeyId) -> Mixed) -> Batch {
        let order = sorted(asked.iter().map(|id| mixed(*id)).zip(0u32..).collect());
        let (mut keys, mut ids) = (Vec::with_capacity(order.len()), Vec::with_capacity(order.len()));
        let mut numbers = vec![0; order.len()];
        for (key, at) in order {
            if keys.last() != Some(&key) {
                keys.push(key);
                ids.extend(asked.get(at as usize));
            }
            if let Some(number) = numbers.get_mut(at as usize) {
                *number = keys.len() as u32 - 1;
            }
        }
        let bits = keys.len().max(1).ilog2();
        let mut starts = Vec::with_capacity((1 << bits) + 1);
        for (at, key) in keys.iter().enumerate() {
            while starts.len() as u64 <= front(*key, bits) {
                starts.push(at as u32);
            }
        }
        starts.resize((1 << bits) + 1, keys.len() as u32);
        let mut batch = Batch { keys, ids, numbers, starts, bits, spans: Vec::new(), found: Vec::new() };
        batch.fill(&[]);
        batch
    }

    /// All keys, in order.
    pub(crate) fn keys(&self) -> &[Mixed] {
        &self.keys
    }

    /// The same keys, in the same order, as they were asked for.
    pub(crate) fn ids(&self) -> &[KeyId] {
        &self.ids
    }

    /// For each key that was asked for, in the order of asking, its number among `keys`.
    pub(crate) fn numbers(&self) -> &[u32] {
        &self.numbers
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
        self.at(self.number_of(key)?)
    }

    /// The same of a key's number.
    pub(crate) fn at(&self, number: usize) -> Option<&[RowLocation]> {
        self.found.get(*self.spans.get(number)? as usize..*self.spans.get(number + 1)? as usize)
    }

    /// A key's number; `None` when it was not asked for.
    pub(crate) fn number_of(&self, key: Mixed) -> Option<usize> {
        let bucket = front(key, self.bits) as usize;
        let (start, end) = (*self.starts.get(bucket)? as usize, *self.starts.get(bucket + 1)? as usize);
        Some(start + self.keys.get(start..end)?.binary_search(&key).ok()?)
    }
}

/// Keys are spread evenly, so that each is near its place once it is with those that have the same first bits.
fn sorted(order: Vec<(Mixed, u32)>) -> Vec<(Mixed, u32)> {
    let bits = order.len().max(1).ilog2();
    let mut ends = vec![0u32; 1 << bits];
    for (key, _) in &order {
        if let Some(count) = ends.get_mut(front(*key, bits) as usize) {
            *count += 1;
        }
    }
    let mut sum = 0;
    for end in &mut ends {
        let count = std::mem::replace(end, sum);
        sum += count;
    }
    let mut sorted = vec![(Mixed { high: 0, low: 0 }, 0); order.len()];
    for entry in order {
        if let Some(next) = ends.get_mut(front(entry.0, bits) as usize) {
            if let Some(slot) = sorted.get_mut(*next as usize) {
                *slot = entry;
            }
            *next += 1;
        }
    }
    let mut start = 0;
    for end in ends {
        if let Some(some) = sorted.get_mut(start as usize..end as usize) {
            some.sort_unstable();
        }
        start = end;
    }
    sorted
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
            keys in proptest::collection::vec((prop_oneof![any::<u64>(), 0u64..9, Just(u64::MAX)], 0u64..3), 0..200),
            hits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u32>()), 0..300),
            others in proptest::collection::vec((any::<u64>(), 0u64..3), 0..20),
        ) {
            let mixed = |(high, low)| Mixed { high, low };
            let ids = keys.iter().map(|(high, low)| KeyId([!high, *low])).collect::<Vec<_>>();
            let mut batch = Batch::new(&ids, |KeyId([first, low])| mixed((!first, low)));
            prop_assert!(batch.keys().is_sorted() && batch.ids().len() == batch.keys().len());
            for (id, number) in ids.iter().zip(batch.numbers()) {
                prop_assert_eq!(batch.ids()[*number as usize], *id);
            }
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
