//! A run: an immutable, sorted file of facts "the row with this key lies there", and look-ups in it. Knows nothing of
//! which facts are still true.
//!
//! A header page; a Bloom filter; a directory with the number of the first entry of each bucket (u32, little endian);
//! entries in the order of their keys. Each of the four starts a page, and the file is sealed (`page`). A bucket is the
//! keys with the same first bits; an entry is the rest of its key's bits in whole bytes, big endian, and 7 bytes of
//! location, big endian: 26 bits of file, 30 bits of row.

mod header;
mod stream;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use header::ENTRIES_MAX;
pub(crate) use stream::Stream;
pub(crate) use writer::RunWriter;

use crate::index::RowLocation;
use crate::index::bloom::{self, BLOCK};
use crate::index::folder::Name;
use crate::index::map::Bytes;
use crate::index::mix::{Mixed, Order};
use crate::index::page::Sealed;
use header::Layout;
use std::sync::Arc;
use tidewire_core::{Error, Result};

/// A key and where its row lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) key: Mixed,
    pub(crate) at: RowLocation,
}

const FILE_BITS: u32 = 26;
const ROW_BITS: u32 = 30;
/// Keys that are taken through the filter, the directory and the buckets together, so that the cache misses of one
/// overlap those of the next.
const STRIDE: usize = 1024;

/// 56 bits.
fn pack(at: RowLocation) -> Result<u64> {
    if at.file >> FILE_BITS != 0 || at.row >> ROW_BITS != 0 {
        return Err(Error::bug("index_range", format!("file {} or row {} is too large to be kept", at.file, at.row)));
    }
    Ok(u64::from(at.file) << ROW_BITS | u64::from(at.row))
}

fn unpack(packed: u64) -> RowLocation {
    RowLocation {
        file: (packed >> ROW_BITS) as u32 & ((1 << FILE_BITS) - 1),
        row: packed as u32 & ((1 << ROW_BITS) - 1),
    }
}

/// A run, open for look-ups.
#[derive(Debug)]
pub(crate) struct Run {
    sealed: Sealed,
    layout: Layout,
    name: Name,
}

impl Run {
    /// Opens the run of this name. Anything that is not a run of this order is damaged.
    pub(crate) fn open(bytes: Bytes, name: Name, order: &Order) -> Result<Run> {
        let sealed = Sealed::open(bytes, name.place())?;
        let layout = Layout::read(sealed.get(0, header::BYTES)?, order);
        let layout = layout.ok_or_else(|| sealed.damaged("the header is of another index"))?;
        if layout.pages() != sealed.pages() {
            return Err(sealed.damaged("its size is not what the header says"));
        }
        Ok(Run { sealed, layout, name })
    }

    /// Number of entries.
    pub(crate) fn entries(&self) -> u64 {
        self.layout.entries
    }

    /// The largest ordinal of a file in it.
    pub(crate) fn last_file(&self) -> u32 {
        self.layout.last_file
    }

    /// Tells it from every other run.
    pub(crate) fn sum(&self) -> u32 {
        self.sealed.sum()
    }

    pub(crate) fn name(&self) -> &Name {
        &self.name
    }

    /// Size of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.sealed.file_bytes()
    }

    /// Appends what is known of these keys, which stand in order: the place among the keys, and the location.
    pub(crate) fn seek(&self, keys: &[Mixed], found: &mut Vec<(u32, RowLocation)>) -> Result<()> {
        let mut likely = Vec::with_capacity(STRIDE);
        let mut spans = Vec::with_capacity(STRIDE);
        for (number, stride) in keys.chunks(STRIDE).enumerate() {
            likely.clear();
            spans.clear();
            for (at, key) in (number * STRIDE..).zip(stride) {
                if self.may_hold(*key)? {
                    likely.push((at as u32, *key));
                }
            }
            for (at, key) in &likely {
                let (start, end) = self.bucket(*key)?;
                if start < end {
                    spans.push((*at, *key, start, end));
                }
            }
            for (at, key, start, end) in &spans {
                self.scan(*key, *start, *end, |location| found.push((*at, location)))?;
            }
        }
        Ok(())
    }

    #[inline]
    fn may_hold(&self, key: Mixed) -> Result<bool> {
        let block = bloom::block_of(key, self.layout.bloom_blocks);
        let block = self.sealed.get(self.layout.bloom_at() + block * BLOCK as u64, BLOCK)?;
        Ok(block.first_chunk().is_some_and(|block| bloom::may_hold(block, key)))
    }

    /// The entries of the key's bucket: from, and up to.
    #[inline]
    fn bucket(&self, key: Mixed) -> Result<(u32, u32)> {
        let at = self.layout.directory_at() + self.layout.bucket_of(key) * 4;
        let span = self.sealed.get(at, 8)?;
        let number = |at: usize| span.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
        match (number(0), number(4)) {
            (Some(start), Some(end)) if start <= end && u64::from(end) <= self.layout.entries => Ok((start, end)),
            _ => Err(self.sealed.damaged("the directory is not in order")),
        }
    }

    #[inline]
    fn scan(&self, key: Mixed, start: u32, end: u32, mut found: impl FnMut(RowLocation)) -> Result<()> {
        let width = self.layout.width();
        let at = self.layout.entries_at() + u64::from(start) * width as u64;
        let entries = self.sealed.get(at, (end - start) as usize * width)?;
        let sought = self.layout.head_of(key);
        // Keys are spread evenly, so the first look is near the place: a bucket is several cache lines.
        let guess = self.layout.share(sought, u64::from(end - start)) as usize;
        let head = |at: usize| entries.get(at * width..).map(|entry| self.layout.head(entry));
        let first = (0..guess).rev().find(|at| head(*at).is_some_and(|head| head < sought)).map_or(0, |at| at + 1);
        let entries = entries.get(first * width..).unwrap_or_default();
        for entry in entries.chunks_exact(width) {
            let head = self.layout.head(entry);
            if head < sought {
                continue;
            }
            if head > sought {
                break;
            }
            // The head is all of a narrow key.
            if self.layout.narrow || self.layout.rest(entry) == key.low {
                found(header::location(entry));
            }
        }
        Ok(())
    }
}

/// Opens a run from bytes of anyone's, sweeps it and looks keys up; the number of entries that were read and found.
/// For fuzzing only: the run must be of the narrow order with the seed 1, 2, 3, 4.
pub(crate) fn probe(bytes: Vec<u8>, keys: &[u64]) -> Result<u64> {
    let order = Order::new(true, [1, 2, 3, 4]);
    let run = Arc::new(Run::open(Bytes::Owned(bytes), Name::nowhere(), &order)?);
    let mut keys: Vec<Mixed> = keys.iter().map(|high| Mixed { high: *high, low: 0 }).collect();
    keys.sort_unstable();
    let mut found = Vec::new();
    run.seek(&keys, &mut found)?;
    let mut stream = Stream::new(Arc::clone(&run))?;
    let mut count = found.len() as u64;
    while stream.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}
