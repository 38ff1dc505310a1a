//! A partition's file in the making: rows that are written to it, and rows that wait until they are worth a row group, on disk and
//! in memory. Each row has its place in the file from the beginning, so that waiting moves none.

use super::Holes;
use super::files::Files;
use super::spill::{Piece, Spill};
use crate::encode::file::PartWriter;
use crate::error::Result;
use crate::index::RowLocation;
use crate::log::NewFile;
use crate::store::TableStore;
use crate::typemap::TableColumn;
use arrow_array::{Array, ArrayRef};
use arrow_select::concat::concat;
use tidewire_core::Error;

/// Rows that wait are written when they take this much memory: a row group of fewer is mostly its own description.
pub(super) const WORTH_BYTES: usize = 1 << 20;
/// A row group of rows that waited on disk ends at so many encoded bytes in memory.
const ROW_GROUP_BYTES: usize = 8 << 20;
/// Memory that waiting rows take beside their values, in bytes, nearly.
const PIECE_BYTES: usize = 64;

/// What a file is begun with.
pub(super) struct Site<'a> {
    pub(super) store: &'a TableStore,
    pub(super) files: &'a Files,
    /// The table's columns.
    pub(super) columns: &'a [TableColumn],
    /// Begins the file, for a commit of so many bytes of rows.
    pub(super) begin: &'a dyn Fn(usize) -> Result<PartWriter>,
}

/// A file in the making.
pub(super) struct Making {
    ordinal: u32,
    writer: Option<PartWriter>,
    /// Rows that wait on disk, as they came.
    spilled: Vec<Piece>,
    spilled_rows: u64,
    spilled_bytes: u64,
    /// Rows that wait in memory, after those on disk.
    held: Vec<Vec<ArrayRef>>,
    held_rows: u64,
    held_bytes: usize,
}

impl Making {
    /// No rows yet.
    pub(super) fn new(ordinal: u32) -> Making {
        Making {
            ordinal,
            writer: None,
            spilled: Vec::new(),
            spilled_rows: 0,
            spilled_bytes: 0,
            held: Vec::new(),
            held_rows: 0,
            held_bytes: 0,
        }
    }

    /// Where the next row will lie.
    pub(super) fn next_row(&self) -> RowLocation {
        RowLocation { file: self.ordinal, row: self.rows() as u32 }
    }

    pub(super) fn ordinal(&self) -> u32 {
        self.ordinal
    }

    /// Rows, with those that wait.
    pub(super) fn rows(&self) -> u64 {
        self.writer.as_ref().map_or(0, PartWriter::rows) + self.spilled_rows + self.held_rows
    }

    /// Memory that the waiting rows take, in bytes.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Rows that wait on disk, in bytes.
    pub(super) fn spilled_bytes(&self) -> u64 {
        self.spilled_bytes
    }

    /// Whether rows wait.
    pub(super) fn waits(&self) -> bool {
        self.held_rows + self.spilled_rows > 0
    }

    /// The file, once it is begun.
    pub(super) fn writer(&self) -> Option<&PartWriter> {
        self.writer.as_ref()
    }

    /// As `writer`, to write.
    pub(super) fn writer_mut(&mut self) -> Option<&mut PartWriter> {
        self.writer.as_mut()
    }

    /// Adds rows that wait from now on.
    pub(super) fn hold(&mut self, rows: Vec<ArrayRef>) {
        self.held_rows += rows.first().map_or(0, |array| array.len()) as u64;
        let arrays = rows.iter().map(|array| array.get_array_memory_size()).sum::<usize>();
        self.held_bytes += arrays + rows.capacity() * size_of::<ArrayRef>() + PIECE_BYTES;
        self.held.push(rows);
    }

    /// Has the rows that wait in memory wait on disk. Says whether there was place for them.
    pub(super) fn spill(&mut self, spill: &mut Spill) -> Result<bool> {
        let columns = self.held.first().map_or(0, Vec::len);
        let column = |at: usize| {
            let pieces: Vec<&dyn Array> = self.held.iter().filter_map(|rows| Some(&**rows.get(at)?)).collect();
            concat(&pieces).map_err(|cause| Error::bug("delta_spill", "join rows that wait").with_cause(cause))
        };
        let Some(piece) = spill.put((0..columns).map(column).collect::<Result<_>>()?)? else { return Ok(false) };
        self.spilled_bytes += piece.bytes();
        self.spilled.push(piece);
        self.spilled_rows += std::mem::take(&mut self.held_rows);
        (self.held, self.held_bytes) = (Vec::new(), 0);
        Ok(true)
    }

    /// Writes the rows that wait, and then these with their holes.
    pub(super) fn write(
        &mut self,
        mut spill: Option<&mut Spill>,
        rows: Option<(Vec<ArrayRef>, Holes)>,
        site: &Site<'_>,
    ) -> Result<()> {
        let coming = rows.as_ref().map_or(0, |(rows, _)| super::bytes_of(rows));
        let (held, bytes) = (std::mem::take(&mut self.held), std::mem::take(&mut self.held_bytes));
        let (spilled, on_disk) = (std::mem::take(&mut self.spilled), std::mem::take(&mut self.spilled_bytes));
        (self.held_rows, self.spilled_rows) = (0, 0);
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert((site.begin)(bytes + coming + usize::try_from(on_disk).unwrap_or(usize::MAX))?),
        };
        for piece in spilled {
            let spill = spill.as_deref_mut().ok_or_else(|| Error::bug("delta_spill", "rows wait on no disk"))?;
            writer.write(spill.take(piece)?)?;
            if writer.memory_bytes() >= ROW_GROUP_BYTES {
                writer.end_row_group()?;
            }
        }
        for rows in held {
            writer.write(rows)?;
        }
        match rows {
            Some((rows, holes)) => holes.write(site.store, site.files, site.columns, rows, writer),
            None => Ok(()),
        }
    }

    /// Ends the file. No row may wait.
    pub(super) fn finish(self) -> Result<Option<NewFile>> {
        self.writer.map(PartWriter::finish).transpose()
    }

    /// The name of the file, if it is begun.
    pub(super) fn into_name(self) -> Option<String> {
        self.writer.map(|writer| writer.name().to_owned())
    }
}
