//! The first page of a run, and where everything in it lies. Every number of a header is a stranger's until it is
//! checked here.

use super::unpack;
use crate::index::RowLocation;
use crate::index::bloom::{self, BLOCK};
use crate::index::mix::{Mixed, Order};
use crate::index::page::PAGE;

const MAGIC: [u8; 8] = *b"twindex\x01";
/// Bytes of the header that mean something.
pub(crate) const BYTES: usize = 48;
const LOCATION_BYTES: usize = 7;
/// Entries are counted in 32 bits, and so are pages; the latter come first.
pub(crate) const ENTRIES_MAX: u64 = 1 << 31;
/// A bucket has from so many entries to twice as many.
const BUCKET_MIN: u64 = 17;
const BUCKET_BITS_MAX: u32 = 28;

/// The sizes of a run's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) narrow: bool,
    pub(crate) entries: u64,
    pub(crate) bloom_blocks: u64,
    /// There are 2^this buckets.
    pub(crate) bucket_bits: u32,
    pub(crate) last_file: u32,
    pub(crate) fingerprint: u64,
}

impl Layout {
    /// For up to so many entries.
    pub(crate) fn new(order: &Order, entries: u64) -> Layout {
        Layout {
            narrow: order.is_narrow(),
            entries,
            bloom_blocks: bloom::blocks(entries),
            bucket_bits: (entries / BUCKET_MIN).checked_ilog2().unwrap_or(0).min(BUCKET_BITS_MAX),
            last_file: 0,
            fingerprint: order.fingerprint(),
        }
    }

    /// From a header; `None` when it is not one, or of another order.
    pub(crate) fn read(header: &[u8], order: &Order) -> Option<Layout> {
        let word = |at: usize| header.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
        let layout = Layout {
            narrow: word(8)? == 0,
            fingerprint: word(16)?,
            entries: word(24)?,
            bloom_blocks: word(32)?,
            bucket_bits: u32::from_le_bytes(*header.get(40..)?.first_chunk()?),
            last_file: u32::from_le_bytes(*header.get(44..)?.first_chunk()?),
        };
        let sound = header.starts_with(&MAGIC)
            && word(8)? <= 1
            && layout.narrow == order.is_narrow()
            && layout.fingerprint == order.fingerprint()
            && layout.entries <= ENTRIES_MAX
            && (1..=bloom::blocks(ENTRIES_MAX)).contains(&layout.bloom_blocks)
            && layout.bucket_bits <= BUCKET_BITS_MAX;
        sound.then_some(layout)
    }

    pub(crate) fn write(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        for word in [u64::from(!self.narrow), self.fingerprint, self.entries, self.bloom_blocks] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.bucket_bits.to_le_bytes());
        out.extend_from_slice(&self.last_file.to_le_bytes());
        out.resize(PAGE, 0);
        out
    }

    pub(crate) fn bloom_at(&self) -> u64 {
        PAGE as u64
    }

    pub(crate) fn directory_at(&self) -> u64 {
        self.bloom_at() + pages(self.bloom_blocks * BLOCK as u64) * PAGE as u64
    }

    pub(crate) fn buckets(&self) -> u64 {
        1 << self.bucket_bits
    }

    pub(crate) fn entries_at(&self) -> u64 {
        self.directory_at() + pages((self.buckets() + 1) * 4) * PAGE as u64
    }

    /// Pages of the whole file.
    pub(crate) fn pages(&self) -> u64 {
        self.entries_at() / PAGE as u64 + pages(self.entries * self.width() as u64)
    }

    /// Bytes of the key in an entry.
    pub(crate) fn key_bytes(&self) -> usize {
        let bits = if self.narrow { u64::BITS } else { 2 * u64::BITS };
        (bits - self.bucket_bits).div_ceil(8) as usize
    }

    /// Bytes of an entry: from 12 to 23.
    pub(crate) fn width(&self) -> usize {
        self.key_bytes() + LOCATION_BYTES
    }

    #[inline]
    pub(crate) fn bucket_of(&self, key: Mixed) -> u64 {
        key.high.checked_shr(u64::BITS - self.bucket_bits).unwrap_or(0)
    }

    /// Of the first half of a key, what the bucket does not say.
    #[inline]
    pub(crate) fn head_of(&self, key: Mixed) -> u64 {
        key.high & (u64::MAX >> self.bucket_bits)
    }

    /// The same of an entry. An entry is longer than 8 bytes.
    #[inline]
    pub(crate) fn head(&self, entry: &[u8]) -> u64 {
        let bytes = self.key_bytes() - if self.narrow { 0 } else { 8 };
        let word = entry.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        word.checked_shr(u64::BITS - 8 * bytes as u32).unwrap_or(0)
    }

    /// How many of so many entries of a bucket have smaller heads, if keys are spread evenly.
    #[inline]
    pub(crate) fn share(&self, head: u64, entries: u64) -> u64 {
        ((u128::from(head << self.bucket_bits) * u128::from(entries)) >> 64) as u64
    }

    /// The second half of the key of a wide entry.
    #[inline]
    pub(crate) fn rest(&self, entry: &[u8]) -> u64 {
        let low = entry.get(self.key_bytes().saturating_sub(8)..).and_then(<[u8]>::first_chunk);
        low.map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }
}

/// Where an entry's row lies.
#[inline]
pub(crate) fn location(entry: &[u8]) -> RowLocation {
    unpack(entry.last_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}

fn pages(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE as u64)
}
