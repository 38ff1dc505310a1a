//! The bytes of a run: a file mapped into memory, or bytes that are in memory. The only `unsafe` code of this crate.
//! Knows nothing of what the bytes mean.

#![expect(unsafe_code, reason = "mapping a file is unsafe, because others could change it; said below")]

use memmap2::{Advice, Mmap};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that stay as they are.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// A file that nobody changes, mapped.
    Mapped(Mmap, File),
    /// Not of a file.
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps the whole file.
    pub(crate) fn map(file: File) -> io::Result<Bytes> {
        if file.metadata()?.len() == 0 {
            // Cannot be mapped.
            return Ok(Bytes::Owned(Vec::new()));
        }
        // SAFETY: the slice that the map hands out must not change while it lives. The file is in a directory of
        // the daemon's own, under its lock; it was written and synced before this call, and no code of ours opens
        // it for writing again: a run is only ever removed, and a removed file stays as it is while it is mapped.
        // A stranger who writes into it in place breaks a checksum at worst, since every use of the bytes is
        // checked for its bounds and for what it means. One who truncates it ends the daemon by SIGBUS; that is
        // accepted, as whoever can do so can also remove the daemon's state.
        let map = unsafe { Mmap::map(&file) }?;
        // Look-ups hit single pages; reading ahead would push out what is of use.
        map.advise(Advice::Random)?;
        Ok(Bytes::Mapped(map, file))
    }

    /// All of them.
    pub(crate) fn all(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map, _) => map,
            Bytes::Owned(bytes) => bytes,
        }
    }

    /// Copies bytes without touching the map, so that a sweep over the whole file takes no memory.
    pub(crate) fn copy(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        match self {
            Bytes::Mapped(_, file) => file.read_exact_at(out, at),
            Bytes::Owned(bytes) => {
                let from = usize::try_from(at).ok().and_then(|at| bytes.get(at..)?.get(..out.len()));
                out.copy_from_slice(from.ok_or(io::ErrorKind::UnexpectedEof)?);
                Ok(())
            }
        }
    }
}
