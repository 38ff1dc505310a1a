//! The order in which runs and memtables hold keys: a keyed, reversible mix of the key, so that its remainder names
//! the key exactly and nobody can prepare keys that crowd. Knows nothing of locations.

use crate::encode::key::KeyId;
use std::hash::{BuildHasher, RandomState};

/// Where a key stands in the order. Ordered by the first half, then by the second, which is zero for narrow keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Mixed {
    /// The first 64 bits.
    pub(crate) high: u64,
    /// The others.
    pub(crate) low: u64,
}

/// The order of one index.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order {
    narrow: bool,
    seed: [u64; 4],
}

impl Order {
    pub(crate) fn new(narrow: bool, seed: [u64; 4]) -> Order {
        Order { narrow, seed }
    }

    /// Whether keys are 64 bits.
    pub(crate) fn is_narrow(&self) -> bool {
        self.narrow
    }

    pub(crate) fn seed(&self) -> [u64; 4] {
        self.seed
    }

    /// A number that tells seeds apart without telling the seed.
    pub(crate) fn fingerprint(&self) -> u64 {
        mix(0x7469_6465_7769_7265, &self.seed)
    }

    /// No two keys have one place. A wide id is a keyed hash already, and its own place.
    pub(crate) fn mixed(&self, KeyId([first, second]): KeyId) -> Mixed {
        if self.narrow { Mixed { high: mix(first, &self.seed), low: 0 } } else { Mixed { high: first, low: second } }
    }
}

/// Every step can be undone, so no two keys become one. The factors are secret: whoever chooses two keys without
/// knowing them makes their first d bits equal with a chance of at most 2 in 2^d.
pub(crate) fn mix(key: u64, [first, second, third, fourth]: &[u64; 4]) -> u64 {
    let value = key ^ first;
    let value = (value ^ value >> 32).wrapping_mul(second | 1);
    let value = (value ^ value >> 29).wrapping_mul(third | 1);
    (value ^ value >> 32) ^ fourth
}

/// A seed that nobody can guess.
pub(crate) fn random_seed() -> [u64; 4] {
    let random = RandomState::new();
    [1, 2, 3, 4].map(|number: u64| random.hash_one(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn mixing_loses_nothing(key: u64, other: u64, seed: [u64; 4]) {
            prop_assert_eq!(mix(key, &seed) == mix(other, &seed), key == other);
            // Undone step by step.
            let inverse = |odd: u64| (0..6).fold(1u64, |x, _| x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x))));
            let value = mix(key, &seed) ^ seed[3];
            let value = (value ^ value >> 32).wrapping_mul(inverse(seed[2] | 1));
            let value = (value ^ value >> 29 ^ value >> 58).wrapping_mul(inverse(seed[1] | 1));
            prop_assert_eq!((value ^ value >> 32) ^ seed[0], key);
        }
    }

    #[test]
    fn keys_in_a_row_spread_evenly() {
        let seed = random_seed();
        let mut buckets = vec![0u32; 1 << 10];
        for key in 0..64 << 10 {
            buckets[(mix(key, &seed) >> 54) as usize] += 1;
        }
        // Chance alone would give 64 with a deviation of 8.
        assert!(buckets.iter().all(|count| *count < 64 + 12 * 8), "{:?}", buckets.iter().max());
    }
}
