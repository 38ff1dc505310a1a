//! Writes a run in one sweep over facts in order. The filter, the directory and the entries grow side by side, each
//! at its own place in the file, so that a run of any size takes three buffers and its checksums.

use super::header::{ENTRIES_MAX, Layout};
use super::{Fact, Run, pack};
use crate::error;
use crate::index::bloom::{self, BLOCK};
use crate::index::folder::Name;
use crate::index::map::Bytes;
use crate::index::mix::{Mixed, Order};
use crate::index::page::{self, PAGE};
use std::fs::File;
use std::os::unix::fs::FileExt;
use tidewire_core::{Error, Result};

/// What is written at once, up to the next multiple of it in the file: the page cache keeps it in one piece where the file
/// system can, and then finds it in less time.
const BUFFER: usize = 512 * PAGE;

/// A run that is being written. Its file goes when it is dropped.
#[derive(Debug)]
pub(crate) struct RunWriter {
    file: File,
    name: Name,
    order: Order,
    layout: Layout,
    entries_max: u64,
    bloom: Region,
    directory: Region,
    entries: Region,
    block: [u8; BLOCK],
    /// Blocks and buckets that are written.
    blocks: u64,
    buckets: u64,
    last: Mixed,
}

impl RunWriter {
    /// For up to `most` facts; more are refused.
    pub(crate) fn new((name, file): (Name, File), order: &Order, most: u64) -> Result<RunWriter> {
        if most > ENTRIES_MAX {
            return Err(Error::bug("index_range", format!("{most} facts are too many for one run")));
        }
        let layout = Layout::new(order, most);
        let [bloom, directory, entries] =
            [layout.bloom_at(), layout.directory_at(), layout.entries_at()].map(Region::new);
        Ok(RunWriter {
            file,
            name,
            order: *order,
            layout: Layout { entries: 0, ..layout },
            entries_max: most,
            bloom,
            directory,
            entries,
            block: [0; BLOCK],
            blocks: 0,
            buckets: 0,
            last: Mixed::default(),
        })
    }

    /// Adds a fact; its key must not be smaller than the last one's.
    pub(crate) fn push(&mut self, Fact { key, at }: Fact) -> Result<()> {
        let packed = pack(at)?;
        if key < self.last || self.layout.entries == self.entries_max {
            return Err(Error::bug("index_order", "facts of a run came out of order, or too many"));
        }
        self.fill(bloom::block_of(key, self.layout.bloom_blocks), self.layout.bucket_of(key))?;
        bloom::add(&mut self.block, key);
        let mut entry = [0; 24];
        if let Some(slot) = entry.first_chunk_mut() {
            // What is before the key's own bytes is zero, or said by the bucket.
            let whole = u128::from(self.layout.head_of(key)) << 64 | u128::from(key.low);
            *slot = (if self.layout.narrow { whole >> 64 } else { whole }).to_be_bytes();
        }
        let (start, end) = (16 - self.layout.key_bytes(), 16);
        if let Some(slot) = entry.last_chunk_mut() {
            *slot = (packed << 8).to_be_bytes();
        }
        if let Some(bytes) = entry.get(start..end + 7) {
            self.entries.put(&self.file, &self.name, bytes)?;
        }
        self.layout.entries += 1;
        self.layout.last_file = self.layout.last_file.max(at.file);
        self.last = key;
        Ok(())
    }

    /// Writes the blocks before this one, and the starts of the buckets up to this one.
    fn fill(&mut self, block: u64, bucket: u64) -> Result<()> {
        while self.blocks < block {
            self.bloom.put(&self.file, &self.name, &self.block)?;
            self.block = [0; BLOCK];
            self.blocks += 1;
        }
        while self.buckets <= bucket {
            let start = self.layout.entries as u32;
            self.directory.put(&self.file, &self.name, &start.to_le_bytes())?;
            self.buckets += 1;
        }
        Ok(())
    }

    /// Ends the file and opens it. `durable`: it is on disk, which a run needs that a manifest will name.
    pub(crate) fn finish(mut self, durable: bool) -> Result<Run> {
        self.fill(self.layout.bloom_blocks, self.layout.buckets())?;
        let header = self.layout.write();
        let mut sums: Vec<u32> = page::sums(&header).collect();
        for region in [&mut self.bloom, &mut self.directory, &mut self.entries] {
            region.end(&self.file, &self.name)?;
            sums.append(&mut region.sums);
        }
        write(&self.file, &self.name, &header, 0)?;
        write(&self.file, &self.name, &page::seal(&sums), self.entries.at)?;
        if durable {
            self.file.sync_all().map_err(|cause| error::fsync(&self.name.place(), cause))?;
        }
        let bytes = Bytes::map(self.file).map_err(|cause| error::local_io("map", &self.name.place(), cause))?;
        Run::open(bytes, self.name, &self.order)
    }
}

/// A part of the file that grows by whole pages.
#[derive(Debug)]
struct Region {
    at: u64,
    buffer: Vec<u8>,
    sums: Vec<u32>,
}

impl Region {
    fn new(at: u64) -> Region {
        Region { at, buffer: Vec::new(), sums: Vec::new() }
    }

    fn put(&mut self, file: &File, name: &Name, bytes: &[u8]) -> Result<()> {
        self.buffer.extend_from_slice(bytes);
        let piece = BUFFER - self.at as usize % BUFFER;
        if self.buffer.len() < piece {
            return Ok(());
        }
        let rest = self.buffer.split_off(piece);
        self.flush(file, name)?;
        self.buffer.extend_from_slice(&rest);
        Ok(())
    }

    fn end(&mut self, file: &File, name: &Name) -> Result<()> {
        self.buffer.resize(self.buffer.len().next_multiple_of(PAGE), 0);
        self.flush(file, name)
    }

    fn flush(&mut self, file: &File, name: &Name) -> Result<()> {
        write(file, name, &self.buffer, self.at)?;
        self.sums.extend(page::sums(&self.buffer));
        self.at += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}

fn write(file: &File, name: &Name, bytes: &[u8], at: u64) -> Result<()> {
    file.write_all_at(bytes, at).map_err(|cause| error::local_io("write", &name.place(), cause))
}
