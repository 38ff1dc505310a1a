//! Pages with checksums: how an immutable file proves, page by page and only when it is touched, that it holds what
//! was written. Knows nothing of what pages hold.
//!
//! A sealed file is whole pages of 4 KiB, the CRC-32 of each (little endian), and a footer of 16 bytes: the CRC-32
//! of these, the number of pages, and a magic number.

use crate::ambient::{Limit, limit};
use crate::error;
use crate::index::map::Bytes;
use std::sync::atomic::{AtomicU64, Ordering};
use tidewire_core::{Error, Result};

/// Bytes that one checksum covers.
pub(crate) const PAGE: usize = 4096;
const FOOTER: usize = 16;
/// Bytes of a file that may all become part of the process at once: a map is read faster.
const MAPPED_MAX: usize = 16 << 20;
const MAGIC: [u8; 8] = *b"twsealed";

/// A file of the index that is not what was written.
pub(crate) fn damaged(place: &str, what: &str) -> Error {
    Error::retry(DAMAGED, format!("read the key index `{place}`: {what}"))
        .with_remedy("none is needed: the index is built anew from the table")
}

/// The code of [`damaged`].
pub(crate) const DAMAGED: &str = "index_damaged";

/// Whether a look-up may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// For the disk, which is not likely: the bytes are read through the map, and may become part of the process.
    Mapped,
    /// Only what is in the page cache.
    None,
    /// For the disk.
    Disk,
}

/// A sealed file.
#[derive(Debug)]
pub(crate) struct Sealed {
    bytes: Bytes,
    /// The checksum of each page. Not read through the map, which sweeps over the file do not touch.
    sums: Vec<u32>,
    sum: u32,
    /// One bit a page: it was checked.
    checked: Vec<AtomicU64>,
    place: String,
}

impl Sealed {
    /// Checks the footer and the table of checksums. `place` is for errors.
    pub(crate) fn open(bytes: Bytes, place: String) -> Result<Sealed> {
        let (sums, sum) = footer(bytes.all()).ok_or_else(|| damaged(&place, "the footer is damaged"))?;
        let checked = (0..sums.len().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Ok(Sealed { bytes, sums, sum, checked, place })
    }

    /// Number of pages.
    pub(crate) fn pages(&self) -> u64 {
        self.sums.len() as u64
    }

    /// The checksum of the checksums: tells this file from any other.
    pub(crate) fn sum(&self) -> u32 {
        self.sum
    }

    /// Size of the file.
    pub(crate) fn file_bytes(&self) -> u64 {
        self.bytes.all().len() as u64
    }

    #[cfg(test)]
    pub(crate) fn all_bytes(&self) -> &[u8] {
        self.bytes.all()
    }

    /// `index_damaged` about this file.
    pub(crate) fn damaged(&self, what: &str) -> Error {
        damaged(&self.place, what)
    }

    /// Bytes of the pages, checked.
    #[inline]
    pub(crate) fn get(&self, at: u64, length: usize) -> Result<&[u8]> {
        let last = (at + length.max(1) as u64 - 1) / PAGE as u64;
        for page in at / PAGE as u64..=last {
            if !self.is_checked(page) {
                self.check(page)?;
            }
        }
        let at = at as usize;
        self.bytes.all().get(at..at + length).ok_or_else(|| self.damaged("it ends too early"))
    }

    /// Brings bytes into the cache that will be read through the map in a moment. Nothing depends on what they are, so the
    /// misses are waited for together.
    #[inline]
    pub(crate) fn touch(&self, places: impl Iterator<Item = u64>) {
        let all = self.bytes.all();
        let sum = places.filter_map(|at| all.get(at as usize)).fold(0, |sum: u8, byte| sum.wrapping_add(*byte));
        std::hint::black_box(sum);
    }

    /// Whether it is a file.
    pub(crate) fn is_mapped(&self) -> bool {
        matches!(self.bytes, Bytes::Mapped(..))
    }

    /// Whether all of it would be a burden as a part of the process.
    pub(crate) fn is_large(&self) -> bool {
        self.is_mapped() && self.bytes.all().len() > limit(Limit::MappedBytes, MAPPED_MAX)
    }

    /// As `get`, but copied past the map unless `patience` says that it may be touched. `None` when a disk had to be waited
    /// for and `patience` says not to.
    pub(crate) fn read<'a>(
        &'a self,
        at: u64,
        length: usize,
        buffer: &'a mut Vec<u8>,
        patience: Patience,
    ) -> Result<Option<&'a [u8]>> {
        if patience == Patience::Mapped {
            return self.get(at, length).map(Some);
        }
        let (first, last) = (at / PAGE as u64, (at + length.max(1) as u64 - 1) / PAGE as u64);
        // Pages that were never checked are read whole.
        let is_checked = (first..=last).all(|page| self.is_checked(page));
        let (from, size, skip) = match is_checked {
            true => (at, length, 0),
            false => (first * PAGE as u64, ((last - first + 1) as usize) * PAGE, (at % PAGE as u64) as usize),
        };
        buffer.resize(size, 0);
        let done = match patience {
            Patience::None => self.bytes.copy_cached(from, buffer),
            Patience::Mapped | Patience::Disk => self.bytes.copy(from, buffer).map(|()| true),
        };
        if !done.map_err(|cause| error::local_io("read", &self.place, cause))? {
            return Ok(None);
        }
        if !is_checked {
            for (page, content) in (first..).zip(buffer.chunks(PAGE)) {
                self.compare(page, content)?;
                self.note_checked(page);
            }
        }
        buffer.get(skip..skip + length).map(Some).ok_or_else(|| self.damaged("it ends too early"))
    }

    /// Has the pages of these bytes fetched from the disk.
    pub(crate) fn fetch(&self, at: u64, length: usize) {
        self.bytes.fetch(at, length);
    }

    fn is_checked(&self, page: u64) -> bool {
        // Relaxed, because the pages never change: at worst a page is checked twice.
        let word = self.checked.get((page / 64) as usize);
        word.is_some_and(|word| word.load(Ordering::Relaxed) >> (page % 64) & 1 != 0)
    }

    fn note_checked(&self, page: u64) {
        if let Some(word) = self.checked.get((page / 64) as usize) {
            word.fetch_or(1 << (page % 64), Ordering::Relaxed);
        }
    }

    #[cold]
    fn check(&self, page: u64) -> Result<()> {
        let start = page as usize * PAGE;
        let content = self.bytes.all().get(start..start + PAGE).filter(|_| page < self.pages());
        let content = content.ok_or_else(|| self.damaged("it ends too early"))?;
        self.compare(page, content)?;
        self.note_checked(page);
        Ok(())
    }

    /// Copies whole pages from the file, past the map, and checks them.
    pub(crate) fn copy(&self, first: u64, out: &mut [u8]) -> Result<()> {
        let read = self.bytes.copy(first * PAGE as u64, out);
        read.map_err(|cause| error::local_io("read", &self.place, cause))?;
        for (page, content) in (first..).zip(out.chunks(PAGE)) {
            self.compare(page, content)?;
        }
        Ok(())
    }

    fn compare(&self, page: u64, content: &[u8]) -> Result<()> {
        let stored = self.sums.get(page as usize);
        if stored == Some(&crc32fast::hash(content)) {
            return Ok(());
        }
        Err(self.damaged(&format!("page {page} does not match its checksum")))
    }

    /// Takes what was touched through the map out of the process.
    pub(crate) fn let_go(&self) {
        self.bytes.let_go();
    }
}

/// The checksums of the pages and that of these checksums, if file and footer agree.
fn footer(all: &[u8]) -> Option<(Vec<u32>, u32)> {
    let (rest, footer) = all.split_at_checked(all.len().checked_sub(FOOTER)?)?;
    let sum = u32::from_le_bytes(*footer.first_chunk()?);
    let pages = u32::from_le_bytes(*footer.get(4..)?.first_chunk()?);
    let (body, sums) = rest.split_at_checked(pages as usize * PAGE)?;
    let right = footer.ends_with(&MAGIC) && sums.len() == body.len() / PAGE * 4 && crc32fast::hash(sums) == sum;
    right.then(|| {
        let stored = sums.as_chunks::<4>().0.iter();
        (stored.map(|sum| u32::from_le_bytes(*sum)).collect(), sum)
    })
}

/// What follows the pages with these checksums.
pub(crate) fn seal(sums: &[u32]) -> Vec<u8> {
    let mut out: Vec<u8> = sums.iter().flat_map(|sum| sum.to_le_bytes()).collect();
    let sum = crc32fast::hash(&out);
    out.extend_from_slice(&sum.to_le_bytes());
    out.extend_from_slice(&(sums.len() as u32).to_le_bytes());
    out.extend_from_slice(&MAGIC);
    out
}

/// The checksums of whole pages.
pub(crate) fn sums(pages: &[u8]) -> impl Iterator<Item = u32> {
    pages.chunks(PAGE).map(crc32fast::hash)
}

/// A sealed file of these bytes, for fuzzing.
pub(crate) fn sealed(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(bytes.len().next_multiple_of(PAGE), 0);
    let sums: Vec<u32> = sums(&out).collect();
    out.extend(seal(&sums));
    out
}
