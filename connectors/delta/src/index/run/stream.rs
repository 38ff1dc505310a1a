//! All facts of a run in order, read from the file in large pieces and not through the map: a merge of a hundred
//! million facts takes no memory and pushes no page out of it.

use super::header;
use super::{Fact, Run};
use crate::index::mix::Mixed;
use crate::index::page::PAGE;
use std::sync::Arc;
use tidewire_core::Result;

const PIECE_PAGES: u64 = 16;

/// The facts of one run.
#[derive(Debug)]
pub(crate) struct Stream {
    run: Arc<Run>,
    directory: Pages,
    entries: Pages,
    left: u64,
    bucket: u64,
    /// Entries before `bucket` ends that are still to come.
    in_bucket: u64,
    /// Where the next bucket must not start before.
    passed: u64,
    last: Mixed,
}

impl Stream {
    pub(crate) fn new(run: Arc<Run>) -> Result<Stream> {
        let layout = run.layout;
        let mut directory = Pages::new(layout.directory_at());
        let left = layout.entries;
        let first = directory.number(&run)?;
        if first != 0 {
            return Err(run.sealed.damaged("the directory does not begin at the first entry"));
        }
        let entries = Pages::new(layout.entries_at());
        // Before the first bucket.
        let bucket = u64::MAX;
        Ok(Stream { run, directory, entries, left, bucket, in_bucket: 0, passed: 0, last: Mixed::default() })
    }

    /// The next fact. Equal keys may come one after the other.
    pub(crate) fn next(&mut self) -> Result<Option<Fact>> {
        let Some(left) = self.left.checked_sub(1) else {
            return Ok(None);
        };
        let layout = &self.run.layout;
        while self.in_bucket == 0 {
            self.bucket = self.bucket.wrapping_add(1);
            // A directory that names no entry at all would be gone through without an end.
            if self.bucket >= layout.buckets() {
                return Err(self.run.sealed.damaged("the directory ends before the last entry"));
            }
            let end = self.directory.number(&self.run)?;
            let Some(count) = end.checked_sub(self.passed).filter(|_| end <= layout.entries) else {
                return Err(self.run.sealed.damaged("the directory is not in order"));
            };
            (self.in_bucket, self.passed) = (count, end);
        }
        let entry = self.entries.next(&self.run, layout.width())?;
        let front = self.bucket.checked_shl(u64::BITS - layout.bucket_bits).unwrap_or(0);
        let low = if layout.narrow { 0 } else { layout.rest(entry) };
        let key = Mixed { high: front | layout.head(entry), low };
        if key < self.last || layout.bucket_of(key) != self.bucket {
            return Err(self.run.sealed.damaged("the entries are not in order"));
        }
        let at = header::location(entry);
        (self.left, self.in_bucket, self.last) = (left, self.in_bucket - 1, key);
        Ok(Some(Fact { key, at }))
    }
}

/// Bytes from a page on, in pieces.
#[derive(Debug)]
struct Pages {
    buffer: Vec<u8>,
    at: usize,
    page: u64,
}

impl Pages {
    fn new(at: u64) -> Pages {
        Pages { buffer: Vec::new(), at: 0, page: at / PAGE as u64 }
    }

    fn number(&mut self, run: &Run) -> Result<u64> {
        let bytes = self.next(run, 4)?;
        Ok(bytes.first_chunk().map_or(0, |bytes| u64::from(u32::from_le_bytes(*bytes))))
    }

    fn next(&mut self, run: &Run, length: usize) -> Result<&[u8]> {
        if self.buffer.len() - self.at < length {
            self.buffer.drain(..self.at);
            let kept = self.buffer.len();
            let pages = run.sealed.pages().saturating_sub(self.page).min(PIECE_PAGES);
            self.buffer.resize(kept + pages as usize * PAGE, 0);
            if let Some(fresh) = self.buffer.get_mut(kept..) {
                run.sealed.copy(self.page, fresh)?;
            }
            (self.at, self.page) = (0, self.page + pages);
        }
        let start = self.at;
        self.at += length;
        self.buffer.get(start..self.at).ok_or_else(|| run.sealed.damaged("it ends too early"))
    }
}
