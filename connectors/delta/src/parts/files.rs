//! The files that rows of a table may lie in, by ordinal, and which of their rows the table's commits have deleted.
//! An ordinal is never given out twice, so what the key index holds of a file stays true when the file is gone.

use crate::log::Partition;
use hashbrown::HashMap;
use roaring::RoaringBitmap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A file of the table, or one in the making.
#[derive(Clone, Debug)]
pub(crate) struct FileEntry {
    /// Name in the table's directory; empty until the file is closed.
    pub(crate) path: String,
    /// Size in bytes.
    pub(crate) size: u64,
    /// What its rows have in the partition columns.
    pub(crate) partition: Partition,
    /// Rows that commits have deleted; `None` when they have not been read yet.
    deleted: Option<Arc<RoaringBitmap>>,
}

impl FileEntry {
    /// Rows that commits have deleted; `None` when they have not been read yet.
    pub(crate) fn deleted(&self) -> Option<&RoaringBitmap> {
        self.deleted.as_deref()
    }
}

/// Gives out ordinals; shared with whoever writes files beside the sink's thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ordinals(Arc<AtomicU32>);

impl Ordinals {
    /// The next one.
    pub(crate) fn take(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// The one that is given out next.
    pub(crate) fn next(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// From here on only those at `next` and above.
    fn skip_to(&self, next: u32) {
        self.0.fetch_max(next, Ordering::Relaxed);
    }
}

/// All files of a table.
#[derive(Debug, Default)]
pub(crate) struct Files {
    known: HashMap<u32, FileEntry>,
    /// Files whose deleted rows have not been read.
    unread: usize,
    /// Ordinals whose file is no part of the table any more, or never became one.
    gone: RoaringBitmap,
    ordinals: Ordinals,
}

impl Files {
    /// Where new ordinals come from.
    pub(crate) fn ordinals(&self) -> &Ordinals {
        &self.ordinals
    }

    /// Ordinals below `next` have been given out before.
    pub(crate) fn skip_to(&mut self, next: u32) {
        self.ordinals.skip_to(next);
    }

    /// Makes a file of the table known, under an ordinal that it has already or a new one.
    pub(crate) fn know(&mut self, ordinal: Option<u32>, path: String, size: u64, partition: &Partition) -> u32 {
        let ordinal = ordinal.unwrap_or_else(|| self.ordinals.take());
        self.ordinals.skip_to(ordinal.saturating_add(1));
        // It may have been that of a file in the making, before it was known which ordinals the table's files have.
        self.gone.remove(ordinal);
        self.known.insert(ordinal, FileEntry { path, size, partition: Arc::clone(partition), deleted: None });
        self.unread += 1;
        ordinal
    }

    /// A file in the making.
    pub(crate) fn begin(&mut self) -> u32 {
        self.begin_for(Partition::default())
    }

    /// A file in the making, of rows that have these values in the partition columns.
    pub(crate) fn begin_for(&mut self, partition: Partition) -> u32 {
        let ordinal = self.ordinals.take();
        let entry = FileEntry { path: String::new(), size: 0, partition, deleted: Some(Arc::default()) };
        self.known.insert(ordinal, entry);
        ordinal
    }

    /// The file in the making has got its name.
    pub(crate) fn end(&mut self, ordinal: u32, path: String, size: u64) {
        if let Some(entry) = self.known.get_mut(&ordinal) {
            (entry.path, entry.size) = (path, size);
        }
    }

    /// The file is no longer part of the table.
    pub(crate) fn forget(&mut self, ordinal: u32) {
        self.gone.insert(ordinal);
        if self.known.remove(&ordinal).is_some_and(|entry| entry.deleted.is_none()) {
            self.unread -= 1;
        }
    }

    /// No file is part of the table any more.
    pub(crate) fn clear(&mut self) {
        self.gone.extend(self.known.drain().map(|(ordinal, _)| ordinal));
        self.unread = 0;
    }

    /// Whether there are files whose deleted rows have not been read.
    pub(crate) fn has_unread(&self) -> bool {
        self.unread > 0
    }

    /// A file that is part of the table or will be.
    pub(crate) fn get(&self, ordinal: u32) -> Option<&FileEntry> {
        self.known.get(&ordinal)
    }

    /// The path of a file whose deleted rows must be read before it can be told which of its rows are live.
    pub(crate) fn unread(&self, ordinal: u32) -> Option<&str> {
        self.known.get(&ordinal).filter(|entry| entry.deleted.is_none()).map(|entry| entry.path.as_str())
    }

    /// What commits have deleted of a file.
    pub(crate) fn set_deleted(&mut self, ordinal: u32, deleted: Arc<RoaringBitmap>) {
        if let Some(entry) = self.known.get_mut(&ordinal)
            && entry.deleted.replace(deleted).is_none()
        {
            self.unread -= 1;
        }
    }

    /// The named files with their ordinals.
    pub(crate) fn named(&self) -> impl Iterator<Item = (u32, &str)> {
        let named = self.known.iter().filter(|(_, entry)| !entry.path.is_empty());
        named.map(|(ordinal, entry)| (*ordinal, entry.path.as_str()))
    }

    /// Ordinals whose file is no part of the table any more, or never became one.
    pub(crate) fn gone(&self) -> &RoaringBitmap {
        &self.gone
    }
}
