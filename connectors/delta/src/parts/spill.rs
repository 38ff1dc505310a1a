//! Rows that wait on disk, where memory is too small for those of all partitions: pieces, one behind the other in a file without
//! a name, which goes with the process. Knows nothing of partitions. A disk that is nearly full, or gone, takes nothing more:
//! whoever asks does without.

use crate::ambient;
use crate::error::{self, Result};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{Field, Schema};
use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, fstatvfs, open};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tidewire_core::Error;

/// What a piece counts for at least, in bytes: its place is kept in memory.
const PIECE_BYTES_MIN: u64 = 8 << 10;
/// Bytes of the disk that are left free: it is that of the daemon's state, too.
const SPARED_BYTES: u64 = 1 << 30;

/// Where rows are: where the piece begins, its bytes, and their CRC-32.
#[derive(Debug)]
pub(super) struct Piece {
    at: u64,
    length: usize,
    sum: u32,
}

/// A file of such pieces.
#[derive(Debug)]
pub(super) struct Spill {
    folder: PathBuf,
    file: Option<File>,
    /// Where the next piece begins.
    end: u64,
    /// Pieces that are there.
    pieces: usize,
    /// What they take, in bytes.
    bytes: u64,
    /// It has been told that there is no place.
    is_told: bool,
}

impl Spill {
    /// Nothing yet; the file comes with the first piece, and the folder if it is missing.
    pub(super) fn new(folder: &Path) -> Spill {
        Spill { folder: folder.to_owned(), file: None, end: 0, pieces: 0, bytes: 0, is_told: false }
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes columns of as many rows each; `None` when there is no place for them.
    ///
    /// # Errors
    /// When they cannot be encoded.
    pub(super) fn put(&mut self, columns: Vec<ArrayRef>) -> Result<Option<Piece>> {
        let content = encode(columns)?;
        if let Err(cause) = self.append(&content) {
            if !std::mem::replace(&mut self.is_told, true) {
                tracing::warn!(
                    folder = %self.folder.display(),
                    error = %cause,
                    "rows of many partitions find no place on disk to wait for others of theirs, and make small files"
                );
            }
            return Ok(None);
        }
        let piece = Piece { at: self.end, length: content.len(), sum: crc32fast::hash(&content) };
        self.end += content.len() as u64;
        self.pieces += 1;
        self.bytes += piece.bytes();
        Ok(Some(piece))
    }

    fn append(&mut self, content: &[u8]) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => nameless(&self.folder)?,
        };
        let file = self.file.insert(file);
        let about = fstatvfs(&*file)?;
        if about.f_bavail.saturating_mul(about.f_frsize) < SPARED_BYTES + content.len() as u64 {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "less than 1 GiB is free"));
        }
        file.write_all_at(content, self.end)
    }

    /// The columns of a piece again, whose place is free from then on.
    ///
    /// # Errors
    /// When the disk does not give back what it was given; what waits must then be read from the source again.
    pub(super) fn take(&mut self, piece: Piece) -> Result<Vec<ArrayRef>> {
        let failed = |cause| error::local_io("read rows that wait in", &self.folder.display().to_string(), cause);
        let mut content = vec![0; piece.length];
        let file = self.file.as_ref().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        file.read_exact_at(&mut content, piece.at).map_err(failed)?;
        if crc32fast::hash(&content) != piece.sum {
            return Err(failed(io::Error::new(io::ErrorKind::InvalidData, "they do not match their checksum")));
        }
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let is_freed = fallocate(file, flags, piece.at, piece.length as u64).is_ok();
        self.pieces -= 1;
        if self.pieces == 0 {
            self.clear();
        } else if is_freed {
            self.bytes -= piece.bytes();
        }
        decode(&content)
    }

    /// Forgets all pieces.
    pub(super) fn clear(&mut self) {
        // The next piece brings another.
        self.file = None;
        (self.end, self.pieces, self.bytes) = (0, 0, 0);
    }
}

impl Piece {
    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        (self.length as u64).max(PIECE_BYTES_MIN)
    }
}

/// A file without a name, for this process alone.
fn nameless(folder: &Path) -> io::Result<File> {
    fs::create_dir_all(folder)?;
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::EXCL | OFlags::CLOEXEC;
    if let Ok(file) = open(folder, flags, Mode::RUSR | Mode::WUSR) {
        return Ok(File::from(file));
    }
    // Some file systems have none that never had a name.
    let path = folder.join(format!("waiting-{}", ambient::uuid()));
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    fs::remove_file(&path)?;
    Ok(file)
}

fn broken(cause: arrow_schema::ArrowError) -> Error {
    Error::bug("delta_spill", "put rows aside").with_cause(cause)
}

fn encode(columns: Vec<ArrayRef>) -> Result<Vec<u8>> {
    let fields = columns.iter().map(|column| Field::new("", column.data_type().clone(), true));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(broken)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(broken)?;
    writer.write(&batch).map_err(broken)?;
    writer.into_inner().map_err(broken)
}

fn decode(content: &[u8]) -> Result<Vec<ArrayRef>> {
    let mut reader = StreamReader::try_new(content, None).map_err(broken)?;
    let batch = reader.next().transpose().map_err(broken)?;
    Ok(batch.map_or_else(Vec::new, |batch| batch.columns().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::types::Int32Type;
    use arrow_array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, LargeStringArray, NullArray,
        PrimitiveArray, StringArray, StringViewArray, TimestampMicrosecondArray,
    };

    fn columns(rows: i32) -> Vec<ArrayRef> {
        let texts = (0..rows).map(|row| (row % 3 > 0).then(|| format!("text {row}"))).collect::<Vec<_>>();
        let mut lists = ListBuilder::new(StringBuilder::new());
        for row in 0..rows {
            lists.values().append_option((row % 5 > 0).then(|| row.to_string()));
            lists.append(row % 4 > 0);
        }
        let numbers: PrimitiveArray<Int32Type> = (0..rows).map(|row| (row % 7 > 0).then_some(row)).collect();
        let decimals = Decimal128Array::from_iter_values((0..rows).map(i128::from));
        vec![
            Arc::new(numbers),
            Arc::new(StringArray::from(texts.clone())),
            Arc::new(LargeStringArray::from(texts.clone())),
            Arc::new(StringViewArray::from_iter(texts.iter().map(Option::as_deref))),
            Arc::new(BinaryArray::from_iter_values((0..rows).map(|row| vec![0xff; row as usize % 9]))),
            Arc::new(decimals.with_precision_and_scale(20, 3).unwrap()),
            Arc::new(TimestampMicrosecondArray::from_iter_values((0..rows).map(i64::from)).with_timezone("UTC")),
            Arc::new(Float64Array::from_iter_values((0..rows).map(|row| if row == 1 { -0.0 } else { f64::NAN }))),
            Arc::new(BooleanArray::from_iter((0..rows).map(|row| (row % 2 > 0).then_some(row % 3 > 0)))),
            Arc::new(Date32Array::from_iter_values(0..rows)),
            Arc::new(lists.finish()),
            Arc::new(NullArray::new(rows as usize)),
        ]
    }

    #[test]
    fn rows_come_back_as_they_were_and_their_place_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(&folder.path().join("made"));
        // Also those of which arrays are only a part.
        let part = |(from, rows)| columns(3_000).iter().map(|column| column.slice(from, rows)).collect::<Vec<_>>();
        let parts = [(0, 3_000), (7, 1), (101, 1_900), (5, 0)].map(part);
        let mut pieces = parts.iter().map(|part| spill.put(part.clone()).unwrap().unwrap()).collect::<Vec<_>>();
        assert!(pieces[1].length < 4_096, "{} bytes of one row", pieces[1].length);
        let before = spill.file.as_ref().unwrap().metadata().unwrap();
        assert_eq!(fs::read_dir(folder.path().join("made")).unwrap().count(), 0, "it has no name");
        let largest = pieces.remove(0);
        assert_eq!(spill.take(largest).unwrap(), parts[0]);
        let after = spill.file.as_ref().unwrap().metadata().unwrap();
        use std::os::unix::fs::MetadataExt;
        assert!(after.blocks() < before.blocks(), "{} and {} blocks", before.blocks(), after.blocks());
        assert_eq!(spill.bytes(), pieces.iter().map(Piece::bytes).sum::<u64>());
        for (piece, part) in pieces.into_iter().zip(&parts[1..]) {
            assert_eq!(&spill.take(piece).unwrap(), part);
        }
        assert_eq!((spill.bytes(), spill.file.is_none()), (0, true));
        let again = spill.put(columns(3)).unwrap().unwrap();
        assert_eq!((again.at, spill.take(again).unwrap()), (0, columns(3)));
    }

    #[test]
    fn what_a_disk_does_not_give_back_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(folder.path());
        let piece = spill.put(columns(100)).unwrap().unwrap();
        let file = spill.file.as_ref().unwrap();
        file.write_all_at(&[1, 2, 3], 1_000).unwrap();
        assert!(spill.take(piece).unwrap_err().chain().contains("checksum"));
        let piece = spill.put(columns(100)).unwrap().unwrap();
        spill.file.as_ref().unwrap().set_len(1_000).unwrap();
        assert!(spill.take(piece).is_err());
    }

    #[test]
    fn a_disk_without_place_takes_nothing() {
        let folder = tempfile::NamedTempFile::new().unwrap();
        let mut spill = Spill::new(&folder.path().join("below a file"));
        for _ in 0..2 {
            assert!(spill.put(columns(1)).unwrap().is_none());
            assert!(spill.is_told && spill.bytes() == 0);
        }
    }
}
