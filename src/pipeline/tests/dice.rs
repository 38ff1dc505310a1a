//! Chance from a seed. Knows nothing of what it decides.

use std::sync::{Arc, Mutex};

/// SplitMix64: the whole run follows from one number.
#[derive(Clone)]
pub(super) struct Dice(Arc<Mutex<u64>>);

impl Dice {
    pub(super) fn new(seed: u64) -> Dice {
        Dice(Arc::new(Mutex::new(seed)))
    }

    /// A number below `sides`.
    pub(super) fn roll(&self, sides: u64) -> u64 {
        let mut state = self.0.lock().unwrap();
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }

    /// Whether something happens that does so once in `odds`; 0 stands for never.
    pub(super) fn strikes(&self, odds: u64) -> bool {
        odds > 0 && self.roll(odds) == 0
    }

    /// One of these.
    pub(super) fn pick<T: Copy>(&self, from: &[T]) -> T {
        from[self.roll(from.len() as u64) as usize]
    }
}
