//! The bytes of a run: a file mapped into memory, or bytes that are in memory. The only `unsafe` code of this crate.
//! Knows nothing of what the bytes mean.
//!
//! The map serves what every look-up touches. What single look-ups touch here and there is copied: a fault on a mapped page
//! brings its neighbours into the process too (as many as the page cache keeps in one piece, up to megabytes), and soon the
//! whole of a large file counts as the daemon's memory.

#![expect(unsafe_code, reason = "mapping a file is unsafe, because others could change it; said below")]

use memmap2::{Advice, Mmap, UncheckedAdvice};
use rustix::fs::{Advice as FileAdvice, fadvise};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
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

    /// Takes out of the process what the map has brought into it. The next touch brings it back.
    pub(crate) fn let_go(&self) {
        if let Bytes::Mapped(map, _) = self {
            // SAFETY: this drops pages of the process, and what was written to them. Nobody writes to this map: it is
            // read-only, so each page comes again from the file, with the same bytes.
            let dropped = unsafe { map.unchecked_advise(UncheckedAdvice::DontNeed) };
            // Advice only: without it the process looks larger than it is.
            let _ = dropped;
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

    /// As `copy`, but only if no disk has to be waited for; says whether it was done.
    pub(crate) fn copy_cached(&self, at: u64, out: &mut [u8]) -> io::Result<bool> {
        let Bytes::Mapped(_, file) = self else { return self.copy(at, out).map(|()| true) };
        match preadv2(file, &mut [IoSliceMut::new(out)], at, ReadWriteFlags::NOWAIT) {
            Ok(read) => Ok(read == out.len()),
            // Not in the page cache, or a file system that cannot tell.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INTR) => Ok(false),
            Err(cause) => Err(cause.into()),
        }
    }

    /// Has the system fetch bytes that will be copied soon, so that many disk reads run at once.
    pub(crate) fn fetch(&self, at: u64, length: usize) {
        if let (Bytes::Mapped(_, file), Some(length)) = (self, NonZeroU64::new(length as u64)) {
            // Advice only: without it the copy waits longer.
            let _ = fadvise(file, at, Some(length), FileAdvice::WillNeed);
        }
    }
}
