//! Where a key lies: the hash of Kafka's Java client. Reckoned here and with the number of partitions that the sink
//! knows, so that partitions added to a topic while it runs do not move a key behind its own back (SK-0C).

use std::num::NonZeroU32;

/// The partition of a key.
pub(super) fn of_key(key: &[u8], partitions: NonZeroU32) -> i32 {
    // At most 31 bits, as the Java client makes its hash positive.
    ((murmur2(key) & 0x7fff_ffff) % partitions).cast_signed()
}

fn murmur2(key: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    // As in the Java client, whose arrays have no more bytes than that.
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mut part = u32::from_le_bytes(*word).wrapping_mul(M);
        part ^= part >> 24;
        hash = hash.wrapping_mul(M) ^ part.wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    // SK-0D: the hashes of Kafka's own `UtilsTest.testMurmur2`, made positive as its default partitioner does.
    #[test]
    fn keys_are_placed_as_by_the_java_client() {
        for (key, hash) in [
            ("21", -973_932_308_i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
            for partitions in [1, 2, 3, 12, 100, 1_000] {
                let expect = (hash & 0x7fff_ffff) % partitions;
                let partitions = NonZeroU32::new(partitions.cast_unsigned()).expect("partitions");
                assert_eq!(of_key(key.as_bytes(), partitions), expect, "{key}");
            }
        }
    }
}
