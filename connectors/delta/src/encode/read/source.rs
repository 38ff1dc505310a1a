//! A data file's bytes, as the Parquet reader asks for them: from a file, or from an object in pieces that are large enough for a
//! request and few enough for memory. Knows nothing of columns and rows.
//!
//! The Parquet reader asks for each page twice, first for its header without saying how long that is. So an object is divided into
//! pieces beforehand, by what its footer says will be read; the first touch of one fetches it whole, and all pages in it are
//! served from there.

use crate::error::{self, Result};
use crate::store::TableStore;
use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, PoisonError};
use tidewire_core::Error;

/// Bytes at an object's end that are asked for first: its footer, and all of a small one.
const TAIL_BYTES: u64 = 64 << 10;
/// Bytes of a piece, and of what lies unwanted between two columns and is rather read than asked around.
const PIECE_BYTES_MAX: u64 = 4 << 20;
const PIECE_BYTES_MIN: u64 = 64 << 10;
const GAP_BYTES_MAX: u64 = 256 << 10;
/// Bytes that are wanted of a group of rows, up to which all of them may be in memory. Ours have not many more than 8 MiB; of
/// larger ones each column has its own piece, so that together they take no more.
const GROUP_BYTES_MAX: u64 = 12 << 20;

/// A data file's bytes, on disk or in a bucket. A clone shares what is held of them.
#[derive(Clone)]
pub(super) struct Source {
    store: TableStore,
    name: String,
    size: u64,
    file: Option<Arc<File>>,
    pieces: Arc<Mutex<Pieces>>,
    failed: Failed,
}

/// Why the store did not give what was asked for last. Arrow makes a text of every cause; whether a call may be repeated, or a
/// file is damaged, would be lost.
#[derive(Clone, Debug, Default)]
pub(super) struct Failed(Arc<Mutex<Option<Error>>>);

impl Failed {
    /// Keeps an error; hands out a stand-in.
    fn keep(&self, error: Error) -> io::Error {
        let stand_in = io::Error::other(error.to_string());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        stand_in
    }

    fn take(&self) -> Option<Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What a fault of the reader means: its cause is the store's, else the file's content.
    pub(super) fn or_damaged(&self, place: &str, cause: &impl std::fmt::Display) -> Error {
        self.take().unwrap_or_else(|| error::damaged(place, cause.to_string()))
    }
}

/// How an object is divided, and what of it is in memory.
#[derive(Default)]
struct Pieces {
    /// In order, without overlaps.
    ranges: Vec<Range<u64>>,
    /// Where they begin, and their bytes; what was touched last is at the end.
    held: VecDeque<(u64, Bytes)>,
    bytes_max: u64,
}

impl Pieces {
    /// The piece that has this byte.
    fn at(&self, byte: u64) -> Option<Range<u64>> {
        let after = self.ranges.partition_point(|range| range.start <= byte);
        self.ranges.get(after.checked_sub(1)?).filter(|range| byte < range.end).cloned()
    }

    fn touch(&mut self, start: u64) -> Option<Bytes> {
        let at = self.held.iter().position(|(held, _)| *held == start)?;
        let touched = self.held.remove(at)?;
        let bytes = touched.1.clone();
        self.held.push_back(touched);
        Some(bytes)
    }

    fn hold(&mut self, start: u64, bytes: Bytes) {
        self.held.push_back((start, bytes));
        let mut sum = self.held.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        while sum > self.bytes_max && self.held.len() > 1 {
            sum -= self.held.pop_front().map_or(0, |(_, bytes)| bytes.len() as u64);
        }
    }
}

impl Source {
    /// The file of this name and size.
    pub(super) fn open(store: &TableStore, name: &str, size: u64) -> Result<Source> {
        let file = match store.local_file(name)? {
            Some(path) => Some(Arc::new(File::open(path).map_err(|cause| {
                // Under a directory that is there, a file that the log names has been taken away.
                let is_there = || store.local_path().is_some_and(|directory| directory.is_dir());
                let place = store.place(name);
                match cause.kind() == io::ErrorKind::NotFound && is_there() {
                    true => error::damaged(&place, "it is missing").with_cause(cause),
                    false => error::local_io("open", &place, cause),
                }
            })?)),
            None => None,
        };
        let tail = size.saturating_sub(TAIL_BYTES)..size;
        let pieces = Pieces { ranges: vec![tail], held: VecDeque::new(), bytes_max: GROUP_BYTES_MAX };
        let (store, name, pieces) = (store.clone(), name.to_owned(), Arc::new(Mutex::new(pieces)));
        Ok(Source { store, name, size, file, pieces, failed: Failed::default() })
    }

    /// Why the last call failed.
    pub(super) fn failed(&self) -> Failed {
        self.failed.clone()
    }

    /// All of these bytes will be read, group of rows by group of rows: for each where its columns lie.
    pub(super) fn expect(&self, groups: impl Iterator<Item = Vec<Range<u64>>>) {
        if self.file.is_some() {
            return;
        }
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let end = pieces.ranges.first().map_or(self.size, |tail| tail.start);
        let (mut ranges, bytes_max) = divided(groups);
        ranges.sort_unstable_by_key(|range| range.start);
        let mut from = 0;
        for range in &mut ranges {
            // A damaged footer may say anything.
            *range = range.start.max(from)..range.end.min(end);
            from = from.max(range.end);
        }
        ranges.retain(|range| range.start < range.end);
        ranges.append(&mut pieces.ranges);
        // Some columns may have come to the next group while others are in the last one.
        (pieces.ranges, pieces.bytes_max) = (ranges, 2 * bytes_max);
    }

    /// The bytes from `start` on to the end of the piece there; `None` where there is none.
    fn piece_from(&self, start: u64) -> io::Result<Option<Bytes>> {
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(range) = pieces.at(start) else { return Ok(None) };
        let bytes = match pieces.touch(range.start) {
            Some(bytes) => bytes,
            None => {
                let bytes = self.fetch(range.clone())?;
                pieces.hold(range.start, bytes.clone());
                bytes
            }
        };
        Ok(Some(bytes.slice(usize::try_from(start - range.start).unwrap_or(bytes.len())..)))
    }

    /// Bytes of an object. A store refuses a piece behind the object's end as it refuses anything else, so its size is asked for.
    fn fetch(&self, range: Range<u64>) -> io::Result<Bytes> {
        let (start, length) = (range.start, range.end - range.start);
        let what = match self.store.get_range(&self.name, range) {
            Ok(Some(bytes)) if bytes.len() as u64 == length => return Ok(bytes),
            Ok(Some(_)) => "it ends too early",
            Ok(None) => "it is missing",
            Err(_) if matches!(self.store.head(&self.name), Ok(Some(object)) if object.size <= start) => {
                "it ends too early"
            }
            Err(cause) => return Err(self.failed.keep(cause)),
        };
        Err(self.failed.keep(error::damaged(&self.store.place(&self.name), what)))
    }

    fn local(&self, cause: io::Error) -> io::Error {
        self.failed.keep(error::local_io("read", &self.store.place(&self.name), cause))
    }
}

/// Pieces of what is wanted of each group of rows, and how many bytes of them are in use at a time.
fn divided(groups: impl Iterator<Item = Vec<Range<u64>>>) -> (Vec<Range<u64>>, u64) {
    let sum = |chunks: &[Range<u64>]| chunks.iter().map(|chunk| chunk.end.saturating_sub(chunk.start)).sum::<u64>();
    let (mut pieces, mut bytes_max) = (Vec::new(), GROUP_BYTES_MAX);
    // Small groups in a row are as good as one.
    let mut gathered: Vec<Range<u64>> = Vec::new();
    for mut chunks in groups {
        if sum(&gathered) + sum(&chunks) > GROUP_BYTES_MAX {
            together(std::mem::take(&mut gathered), &mut pieces);
        }
        if sum(&chunks) <= GROUP_BYTES_MAX {
            gathered.append(&mut chunks);
            continue;
        }
        let columns = chunks.len().max(1) as u64;
        let step = (GROUP_BYTES_MAX / columns).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX);
        bytes_max = bytes_max.max(step * columns);
        chunks.into_iter().for_each(|chunk| split(chunk, step, &mut pieces));
    }
    together(gathered, &mut pieces);
    (pieces, bytes_max)
}

/// Adds pieces that reach over chunks.
fn together(mut chunks: Vec<Range<u64>>, pieces: &mut Vec<Range<u64>>) {
    chunks.sort_unstable_by_key(|chunk| chunk.start);
    let mut chunks = chunks.into_iter();
    let Some(mut run) = chunks.next() else { return };
    for chunk in chunks {
        if chunk.start.saturating_sub(run.end) <= GAP_BYTES_MAX {
            run.end = run.end.max(chunk.end);
        } else {
            split(std::mem::replace(&mut run, chunk), PIECE_BYTES_MAX, pieces);
        }
    }
    split(run, PIECE_BYTES_MAX, pieces);
}

fn split(range: Range<u64>, step: u64, pieces: &mut Vec<Range<u64>>) {
    let mut start = range.start;
    while start < range.end {
        let end = range.end.min(start.saturating_add(step));
        pieces.push(start..end);
        start = end;
    }
}

impl Length for Source {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Source {
    type T = Box<dyn Read>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let Some(file) = &self.file else {
            return Ok(Box::new(Ahead { source: self.clone(), at: start, held: Bytes::new() }));
        };
        let sought = file.try_clone().and_then(|mut file| file.seek(SeekFrom::Start(start)).map(|_| file));
        let file = sought.map_err(|cause| self.local(cause))?;
        let place = self.store.place(&self.name);
        Ok(Box::new(BufReader::new(Local { file, place, failed: self.failed.clone() })))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        // A damaged footer may ask for anything.
        let end = start.checked_add(length as u64).filter(|end| *end <= self.size);
        let range = start..end.ok_or_else(|| ParquetError::EOF("the file is shorter".to_owned()))?;
        if range.is_empty() {
            // The dictionary of a column without a value, where it is not compressed. No store gives an empty range.
            return Ok(Bytes::new());
        }
        if let Some(file) = &self.file {
            let mut bytes = vec![0; length];
            return match file.read_exact_at(&mut bytes, start) {
                Ok(()) => Ok(bytes.into()),
                Err(cause) if cause.kind() == io::ErrorKind::UnexpectedEof => {
                    Err(ParquetError::EOF("the file is shorter".to_owned()))
                }
                Err(cause) => Err(self.local(cause).into()),
            };
        }
        let Some(first) = self.piece_from(start)? else { return Ok(self.fetch(range)?) };
        if first.len() >= length {
            return Ok(first.slice(..length));
        }
        let mut bytes = Vec::with_capacity(length);
        bytes.extend_from_slice(&first);
        while bytes.len() < length {
            let at = range.start + bytes.len() as u64;
            let next = match self.piece_from(at)? {
                Some(next) => next,
                None => self.fetch(at..range.end)?,
            };
            bytes.extend_from_slice(next.get(..next.len().min(length - bytes.len())).unwrap_or_default());
        }
        Ok(bytes.into())
    }
}

/// Reads a file in order.
struct Local {
    file: File,
    place: String,
    failed: Failed,
}

impl Read for Local {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.file.read(out) {
            Err(cause) if cause.kind() != io::ErrorKind::Interrupted => {
                Err(self.failed.keep(error::local_io("read", &self.place, cause)))
            }
            read => read,
        }
    }
}

/// Reads an object in order, a piece at a time.
struct Ahead {
    source: Source,
    at: u64,
    held: Bytes,
}

impl Read for Ahead {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.held.is_empty() && self.at < self.source.size {
            self.held = match self.source.piece_from(self.at)? {
                Some(piece) => piece,
                // A page's header, where nobody expected one.
                None => {
                    let end = self.source.size.min(self.at.saturating_add(PIECE_BYTES_MIN));
                    self.source.fetch(self.at..end)?
                }
            };
        }
        let count = out.len().min(self.held.len());
        let piece = self.held.split_to(count);
        if let Some(target) = out.get_mut(..count) {
            target.copy_from_slice(&piece);
        }
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;

    #[test]
    fn an_object_is_divided_by_what_is_wanted_of_it() {
        let columns =
            |starts: &[u64], length: u64| starts.iter().map(|start| *start..start + length).collect::<Vec<_>>();
        for (what, groups, pieces, bytes_max) in [
            ("neighbours", vec![columns(&[0, MIB], MIB)], vec![(0, 2 * MIB)], 12 * MIB),
            ("a small gap", vec![columns(&[0, 2 * MIB - 800 * KIB], MIB)], vec![(0, 3 * MIB - 800 * KIB)], 12 * MIB),
            ("a large gap", vec![columns(&[0, 2 * MIB], MIB)], vec![(0, MIB), (2 * MIB, 3 * MIB)], 12 * MIB),
            ("small groups", vec![columns(&[0], MIB), columns(&[MIB], MIB)], vec![(0, 2 * MIB)], 12 * MIB),
            ("a group", vec![columns(&[0, 3 * MIB], 3 * MIB)], vec![(0, 4 * MIB), (4 * MIB, 6 * MIB)], 12 * MIB),
            (
                "a large group",
                vec![columns(&[0, 5 * MIB, 10 * MIB, 15 * MIB], 5 * MIB)],
                (0..4)
                    .flat_map(|n| [(5 * n * MIB, (5 * n + 3) * MIB), ((5 * n + 3) * MIB, (5 * n + 5) * MIB)])
                    .collect(),
                12 * MIB,
            ),
            (
                "a large group of many columns",
                vec![(0..256).map(|n| n * 64 * KIB..(n + 1) * 64 * KIB).collect()],
                (0..256).map(|n| (n * 64 * KIB, (n + 1) * 64 * KIB)).collect(),
                16 * MIB,
            ),
            ("none", vec![vec![]], vec![], 12 * MIB),
        ] {
            let (ranges, most) = divided(groups.into_iter());
            let ranges = ranges.iter().map(|range| (range.start, range.end)).collect::<Vec<(u64, u64)>>();
            assert_eq!((ranges, most), (pieces, bytes_max), "{what}");
        }
    }
}
