//! A blocked Bloom filter: whether a run may hold a key, by one cache line. Blocks stand in the order of the keys, so
//! that they are written in one sweep and read in one. Knows nothing of files.

use crate::index::mix::Mixed;

/// Bytes of a block: one cache line.
pub(crate) const BLOCK: usize = 64;
const BITS_PER_KEY: u64 = 10;
const PROBES: usize = 7;

/// Blocks for so many keys.
pub(crate) fn blocks(keys: u64) -> u64 {
    (keys * BITS_PER_KEY).div_ceil(BLOCK as u64 * 8).max(1)
}

/// The block of a key.
#[inline]
pub(crate) fn block_of(key: Mixed, blocks: u64) -> u64 {
    ((u128::from(key.high) * u128::from(blocks)) >> 64) as u64
}

/// The bits of a key in its block. Drawn from all of the key: those that chose the block are the same in all of it.
#[inline]
fn probes(key: Mixed) -> impl Iterator<Item = (usize, u8)> {
    let value = (key.high ^ key.low.rotate_left(32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    (0..PROBES).map(move |number| {
        let bit = value >> (number * 9) & 511;
        ((bit >> 3) as usize, 1 << (bit & 7))
    })
}

/// Adds a key to its block.
pub(crate) fn add(block: &mut [u8; BLOCK], key: Mixed) {
    for (byte, bit) in probes(key) {
        if let Some(byte) = block.get_mut(byte) {
            *byte |= bit;
        }
    }
}

/// Whether the key may have been added to this block of its own.
#[inline]
pub(crate) fn may_hold(block: &[u8; BLOCK], key: Mixed) -> bool {
    // All of them always: most look-ups of a batch take the same way, and nothing waits for a wrong guess.
    probes(key).fold(true, |all, (byte, bit)| all & block.get(byte).is_some_and(|byte| byte & bit != 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::key::KeyId;
    use crate::index::mix::{Order, random_seed};

    #[test]
    fn it_forgets_none_and_takes_few_for_known() {
        for narrow in [true, false] {
            let order = Order::new(narrow, random_seed());
            let source = Order::new(true, random_seed());
            let key = |n: u64| {
                let hashed = KeyId([source.mixed(KeyId([n, 0])).high, source.mixed(KeyId([!n, 0])).high]);
                order.mixed(if narrow { KeyId([n, 0]) } else { hashed })
            };
            let mut filter = vec![[0u8; BLOCK]; blocks(20_000) as usize];
            let count = filter.len() as u64;
            (0..20_000).map(key).for_each(|key| add(&mut filter[block_of(key, count) as usize], key));
            let may = |n: u64| may_hold(&filter[block_of(key(n), count) as usize], key(n));
            assert!((0..20_000).all(may));
            let wrong = (20_000..40_000).filter(|n| may(*n)).count();
            assert!(wrong < 20_000 * 2 / 100, "{wrong} of 20000");
        }
    }
}
