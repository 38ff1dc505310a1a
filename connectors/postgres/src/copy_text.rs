//! Rows of a snapshot: one line of `COPY ... TO STDOUT` in text form becomes one change. Owns the form of the
//! line (tabs, `\N`, backslash escapes); values are read by the very readers that the stream uses, so both
//! give the same cells. Knows no connection and no snapshot.
//!
//! Layout: PostgreSQL manual, `COPY`, "Text Format"; `CopyAttributeOutText` of the server writes it.

use crate::catalog::Described;
use crate::typemap::{Scratch, ValueError};
use std::sync::Arc;
use tidewire_core::batch::{BatchBuilder, ChangeHead};
use tidewire_core::{Cell, Error, Op, Result, TableName};

/// Turns the lines of one table into [`Op::Read`] changes.
#[derive(Debug)]
pub(crate) struct SnapshotRows {
    table: Arc<Described>,
    /// Where the snapshot lies in the log.
    offset: u64,
    /// Number of the next row.
    ordinal: u64,
    scratch: Scratch,
    unescaped: Vec<u8>,
}

/// Bytes that are kept allocated between values.
const UNESCAPED_KEPT: usize = 1 << 20;

impl SnapshotRows {
    /// For one table, whose columns the `COPY` must name in the order of its schema. `offset` is the snapshot's
    /// place in the log, `first_ordinal` the number of the first row in the transaction that the caller opens.
    pub(crate) fn new(table: Arc<Described>, offset: u64, first_ordinal: u64) -> SnapshotRows {
        SnapshotRows { table, offset, ordinal: first_ordinal, scratch: Scratch::default(), unescaped: Vec::new() }
    }

    /// Number that the next row will have.
    pub(crate) fn next_ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Adds one row. The server sends each row as a `CopyData` message of its own, with its line feed.
    pub(crate) fn push_copy_data(&mut self, line: &[u8], builder: &mut BatchBuilder) -> Result<()> {
        let name = &self.table.schema.name;
        let line = line.strip_suffix(b"\n").ok_or_else(|| malformed(name, "a row of `COPY` does not end its line"))?;
        let table = builder.table(&self.table.schema);
        let image = builder.image();
        let mut decoders = self.table.decoders.iter().enumerate();
        // A table without columns has an empty line, which is not one empty value.
        let mut rest = if self.table.decoders.is_empty() && line.is_empty() { None } else { Some(line) };
        while let Some(text) = rest {
            let (field, after) = split_field(text);
            rest = after;
            let Some((column, decoder)) = decoders.next() else {
                return Err(malformed(name, "a row of `COPY` has more values than the table has columns"));
            };
            let cell = match field {
                b"\\N" => Ok(Cell::NULL),
                field => match unescape(field, &mut self.unescaped) {
                    Some(value) => decoder.decode(value, builder, &mut self.scratch),
                    None => Err(ValueError::Malformed("escaped as `COPY` escapes it")),
                },
            };
            builder.cell(cell.map_err(|cause| self.table.unreadable(column, cause))?);
        }
        if decoders.next().is_some() {
            return Err(malformed(name, "a row of `COPY` has fewer values than the table has columns"));
        }
        self.unescaped.shrink_to(UNESCAPED_KEPT);
        let head = ChangeHead { op: Op::Read, ordinal: self.ordinal, offset: self.offset, row: 0 };
        builder.push(head, table, None, Some(image));
        self.ordinal += 1;
        Ok(())
    }
}

/// The first value of a line, still escaped, and what follows its tab. A tab inside a value is escaped, so
/// the first one ends it.
fn split_field(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'\t', line).and_then(|end| line.split_at_checked(end)) {
        Some((field, after)) => (field, after.get(1..)),
        None => (line, None),
    }
}

/// Takes the escapes out. Without one the value is returned where it lies. `None` for an escape that the
/// server does not write.
fn unescape<'a>(field: &'a [u8], out: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let Some(mut at) = memchr::memchr(b'\\', field) else {
        return Some(field);
    };
    out.clear();
    let mut rest = field;
    loop {
        let (plain, escape) = rest.split_at_checked(at)?;
        out.extend_from_slice(plain);
        let [_, letter, after @ ..] = escape else { return None };
        out.push(match letter {
            b'\\' => b'\\',
            b'b' => 0x08,
            b'f' => 0x0c,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'v' => 0x0b,
            _ => return None,
        });
        rest = after;
        match memchr::memchr(b'\\', rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    out.extend_from_slice(rest);
    Some(out)
}

fn malformed(table: &TableName, message: &str) -> Error {
    Error::operator("snapshot_row_malformed", format!("{message}: table `{table}`"))
        .with_remedy("make sure that nothing altered the table while it was read, then start again")
        .with_table(table.clone())
}

#[cfg(test)]
mod tests;
