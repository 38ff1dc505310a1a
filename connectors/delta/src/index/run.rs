//! A run: an immutable, sorted file of facts "the row with this key lies there", and look-ups in it. Knows nothing of
//! which facts are still true.
//!
//! A header page; a Bloom filter; a directory with the number of the first entry of each bucket (u32, little endian);
//! entries in the order of their keys. Each of the four starts a page, and the file is sealed (`page`). A bucket is the
//! keys with the same first bits; an entry is the rest of its key's bits in whole bytes, big endian, and 7 bytes of
//! location, big endian: 26 bits of file, 30 bits of row.
//!
//! Filter and directory are read through the map: they are small (125 MB and 16 MB for 100 M keys) and hot. So are the
//! entries of a small run, and those of an index that is small as a whole, while they are in the page cache and all tables'
//! allowance lasts; others are copied from the file, bucket by bucket, and those that are not in the page cache are asked of
//! the disk all at once.

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
use crate::index::claim::Share;
use crate::index::folder::Name;
use crate::index::map::Bytes;
use crate::index::mix::{Mixed, Order};
use crate::index::page::{Patience, Sealed};
use header::Layout;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
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
/// Bytes of a bucket's entries that are copied.
const COPIED_MAX: usize = 64 << 10;
/// One sweep of so many over a run that was in the page cache looks whether it still is.
const SWEEPS_WARM: u32 = 32;

/// Files that entries can name.
pub(crate) const FILES_MAX: u32 = 1 << FILE_BITS;

/// Every ordinal of a file has been given out: the index has to begin anew, with the first ones.
pub(crate) fn spent() -> Error {
    Error::retry(SPENT, format!("the key index has counted {FILES_MAX} files, and can name no more"))
        .with_remedy("none is needed: the index is built anew from the table")
}

/// The code of [`spent`].
pub(crate) const SPENT: &str = "index_spent";

/// 56 bits.
fn pack(at: RowLocation) -> Result<u64> {
    if at.row >> ROW_BITS != 0 {
        let message =
            format!("a data file has a row {}, and the key index can name none from {} on", at.row, 1 << ROW_BITS);
        return Err(Error::operator("delta_file_rows", message)
            .with_remedy("rewrite the table's data files as smaller ones, as OPTIMIZE does, then restart"));
    }
    if at.file >= FILES_MAX {
        return Err(spent());
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
    /// Most keys of the last look-up were in it: the filter would only cost the memory that it takes.
    is_sure: AtomicBool,
    sweeps: AtomicU32,
    /// The last sweep that looked found all that it wanted in the page cache.
    is_warm: AtomicBool,
    /// Filter, while it is asked, and directory.
    touched: Share,
    /// Entries are to be read through the map.
    claim: OnceLock<Share>,
}

/// A key that is looked for, its place among the keys, and its bucket: from, and up to.
#[derive(Clone, Copy, Debug)]
struct Sought {
    at: u32,
    key: Mixed,
    start: u32,
    end: u32,
}

/// How a sweep reads a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    patience: Patience,
    /// The filter need not be asked.
    is_sure: bool,
}

impl Way {
    /// Whether each look-up is a system call, and so takes long enough to be shared among threads.
    pub(crate) fn is_long(self) -> bool {
        self.patience != Patience::Mapped
    }
}

/// What a sweep came to.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Swept {
    /// Keys whose entries were looked at, and those of them that had to wait for the disk.
    sought: usize,
    late: usize,
    found: usize,
}

impl std::ops::AddAssign for Swept {
    fn add_assign(&mut self, other: Swept) {
        self.sought += other.sought;
        self.late += other.late;
        self.found += other.found;
    }
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
        // A run may only be opened to be merged, as the pieces of a large table are, by the dozen.
        sealed.let_go();
        let (is_sure, is_warm) = (AtomicBool::new(false), AtomicBool::new(false));
        let (sweeps, touched, claim) = (AtomicU32::new(0), Share::nothing(), OnceLock::new());
        Ok(Run { sealed, layout, name, is_sure, sweeps, is_warm, touched, claim })
    }

    /// Whether most keys of the last sweep are here, so that the next one does not ask the filter.
    pub(crate) fn is_sure(&self) -> bool {
        self.is_sure.load(Ordering::Relaxed)
    }

    /// Says so of a run that was not swept yet. One sweep of a large filter brings all of it into the process.
    pub(crate) fn expect_most(&self) {
        self.is_sure.store(true, Ordering::Relaxed);
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
    /// `may_claim` says that the run is of an index that may be mapped as a whole.
    pub(crate) fn seek(&self, keys: &[Mixed], may_claim: bool, found: &mut Vec<(u32, RowLocation)>) -> Result<()> {
        let way = self.begin(may_claim);
        let swept = self.sweep(way, keys, 0, found)?;
        self.end(way, keys.len(), swept);
        Ok(())
    }

    /// How the next sweep reads: the same for all its parts.
    pub(crate) fn begin(&self, may_claim: bool) -> Way {
        let is_sure = self.is_sure();
        if self.sealed.is_mapped() {
            let from = if is_sure { self.layout.directory_at() } else { self.layout.bloom_at() };
            self.touched.take(self.layout.entries_at() - from);
        }
        Way { patience: self.patience(may_claim), is_sure }
    }

    /// As `seek`, of a part of a sweep's keys, on any thread; `first` is the place of the first of them.
    pub(crate) fn sweep(
        &self,
        Way { patience, is_sure }: Way,
        keys: &[Mixed],
        first: u32,
        found: &mut Vec<(u32, RowLocation)>,
    ) -> Result<Swept> {
        let before = found.len();
        let mut likely = Vec::with_capacity(STRIDE);
        let mut spans = Vec::with_capacity(STRIDE);
        let (mut sought_in_all, mut late) = (0, Vec::new());
        let mut buffer = Vec::new();
        for (number, stride) in keys.chunks(STRIDE).enumerate() {
            likely.clear();
            spans.clear();
            if !is_sure {
                self.sealed.touch(stride.iter().map(|key| self.block_at(*key)));
            }
            for (at, key) in (first + (number * STRIDE) as u32..).zip(stride) {
                if is_sure || self.may_hold(*key)? {
                    likely.push((at, *key));
                }
            }
            for (at, key) in &likely {
                let (start, end) = self.bucket(*key)?;
                if start < end {
                    spans.push(Sought { at: *at, key: *key, start, end });
                }
            }
            sought_in_all += spans.len();
            if patience == Patience::Mapped {
                self.sealed.touch(spans.iter().map(|sought| self.guessed_at(sought)));
            }
            for sought in &spans {
                match self.entries_of(sought, &mut buffer, patience)? {
                    Some(entries) => self.scan(sought, entries, |location| found.push((sought.at, location))),
                    None => late.push(*sought),
                }
            }
        }
        for sought in &late {
            let (at, length) = self.place_of(sought);
            self.sealed.fetch(at, length);
        }
        for sought in &late {
            if let Some(entries) = self.entries_of(sought, &mut buffer, Patience::Disk)? {
                self.scan(sought, entries, |location| found.push((sought.at, location)));
            }
        }
        Ok(Swept { sought: sought_in_all, late: late.len(), found: found.len() - before })
    }

    /// Takes note of what all parts of a sweep over so many keys came to.
    pub(crate) fn end(&self, way: Way, keys: usize, swept: Swept) {
        // A few entries say nothing of the rest, unless one of them is missing.
        if way.patience == Patience::None && (swept.sought >= STRIDE || swept.late > 0) {
            self.is_warm.store(swept.late == 0, Ordering::Relaxed);
        }
        let is_sure_now = swept.found * 2 > keys;
        if !self.is_sure.swap(is_sure_now, Ordering::Relaxed) && is_sure_now {
            // The filter is not asked again, and is most of what was touched.
            self.sealed.let_go();
        }
    }

    /// How the next sweep reads entries. A small run is read through its map as long as the allowance of all runs lasts, of which
    /// there may be many: tables of their own, or what a large table has not merged yet. Otherwise entries are copied, and
    /// while they are known to be in the page cache, without asking for it at each: that takes a fourth of a look-up.
    fn patience(&self, may_claim: bool) -> Patience {
        if !self.sealed.is_mapped() || (!self.sealed.is_large() && self.has_claim(may_claim)) {
            return Patience::Mapped;
        }
        let sweep = self.sweeps.fetch_add(1, Ordering::Relaxed);
        if sweep.is_multiple_of(SWEEPS_WARM) || !self.is_warm.load(Ordering::Relaxed) {
            return Patience::None;
        }
        if self.claim.get().is_some() || (may_claim && self.has_claim(true)) {
            Patience::Mapped
        } else {
            Patience::Disk
        }
    }

    /// Claims a part of the allowance, if there is enough left and it has none yet.
    fn has_claim(&self, whole: bool) -> bool {
        if self.claim.get().is_none()
            && let Some(claim) = Share::claim(self.file_bytes() - self.layout.entries_at(), whole)
        {
            // Another thread's claim does as well.
            drop(self.claim.set(claim));
        }
        self.claim.get().is_some()
    }

    /// Where the key's block of the filter is in the file.
    #[inline]
    fn block_at(&self, key: Mixed) -> u64 {
        self.layout.bloom_at() + bloom::block_of(key, self.layout.bloom_blocks) * BLOCK as u64
    }

    #[inline]
    fn may_hold(&self, key: Mixed) -> Result<bool> {
        let block = self.sealed.get(self.block_at(key), BLOCK)?;
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

    /// Where the entries of a bucket are in the file, and their bytes.
    fn place_of(&self, sought: &Sought) -> (u64, usize) {
        let width = self.layout.width();
        let at = self.layout.entries_at() + u64::from(sought.start) * width as u64;
        (at, (sought.end - sought.start) as usize * width)
    }

    /// The entry of a bucket that is looked at first: keys are spread evenly.
    #[inline]
    fn guess(&self, sought: &Sought) -> usize {
        self.layout.share(self.layout.head_of(sought.key), u64::from(sought.end - sought.start)) as usize
    }

    /// Where it is in the file.
    #[inline]
    fn guessed_at(&self, sought: &Sought) -> u64 {
        let entry = u64::from(sought.start) + self.guess(sought) as u64;
        self.layout.entries_at() + entry * self.layout.width() as u64
    }

    #[inline]
    fn entries_of<'a>(
        &'a self,
        sought: &Sought,
        buffer: &'a mut Vec<u8>,
        patience: Patience,
    ) -> Result<Option<&'a [u8]>> {
        let (at, length) = self.place_of(sought);
        // Keys are spread evenly, so a bucket is small; one that is not takes no memory of its own either.
        if length > COPIED_MAX {
            self.sealed.get(at, length).map(Some)
        } else {
            self.sealed.read(at, length, buffer, patience)
        }
    }

    #[inline]
    fn scan(&self, sought: &Sought, entries: &[u8], mut found: impl FnMut(RowLocation)) {
        let (key, width) = (sought.key, self.layout.width());
        let head_sought = self.layout.head_of(key);
        // The first look is near the place: a bucket is several cache lines.
        let guess = self.guess(sought);
        let head = |at: usize| entries.get(at * width..).map(|entry| self.layout.head(entry));
        let first = (0..guess).rev().find(|at| head(*at).is_some_and(|head| head < head_sought)).map_or(0, |at| at + 1);
        let entries = entries.get(first * width..).unwrap_or_default();
        for entry in entries.chunks_exact(width) {
            let head = self.layout.head(entry);
            if head < head_sought {
                continue;
            }
            if head > head_sought {
                break;
            }
            // The head is all of a narrow key.
            if self.layout.narrow || self.layout.rest(entry) == key.low {
                found(header::location(entry));
            }
        }
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
    run.seek(&keys, false, &mut found)?;
    let mut stream = Stream::new(Arc::clone(&run))?;
    let mut count = found.len() as u64;
    while stream.next()?.is_some() {
        count += 1;
    }
    Ok(count)
}
