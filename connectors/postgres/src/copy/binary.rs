//! Rows in binary form: a header, then each row as a count of values and each value with its length.
//!
//! Layout: PostgreSQL manual, `COPY`, "Binary Format". The server puts the header before the first row into the same
//! message, and the trailer into one of its own; in an empty table both come together.

use super::{malformed, too_few, too_many};
use crate::catalog::Described;
use crate::typemap::ValueError;
use tidewire_core::batch::{BatchBuilder, ImageStart};
use tidewire_core::{Cell, Result};

/// What the data begins with.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
/// Bits of the flags whose meaning a reader must know; there is none yet that a server sets.
const FLAGS_CRITICAL: u32 = 0xffff_0000;

/// Reads rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Tuples {
    /// Nothing has been read.
    #[default]
    Start,
    /// The header has been read.
    Rows,
    /// The trailer has been read.
    Complete,
}

impl Tuples {
    /// Whether the trailer has come.
    pub(super) fn is_complete(self) -> bool {
        matches!(self, Tuples::Complete)
    }

    /// Writes the image of the message's row, if it has one.
    #[inline]
    pub(super) fn read(
        &mut self,
        table: &Described,
        data: &[u8],
        builder: &mut BatchBuilder,
    ) -> Result<Option<ImageStart>> {
        let bad = |what| malformed(&table.schema.name, what);
        let rest = match self {
            Tuples::Rows => data,
            Tuples::Start => {
                *self = Tuples::Rows;
                header(data).ok_or_else(|| bad("the header of a binary `COPY` cannot be read"))?
            }
            Tuples::Complete => return Err(bad("a binary `COPY` goes on after its trailer")),
        };
        if rest.is_empty() {
            return Ok(None);
        }
        let (count, rest) = rest.split_first_chunk().ok_or_else(|| bad("a row of a binary `COPY` is cut off"))?;
        match i16::from_be_bytes(*count) {
            -1 if rest.is_empty() => {
                *self = Tuples::Complete;
                Ok(None)
            }
            count => tuple(table, count, rest, builder).map(Some),
        }
    }
}

#[inline]
fn tuple(table: &Described, count: i16, mut rest: &[u8], builder: &mut BatchBuilder) -> Result<ImageStart> {
    let name = &table.schema.name;
    match usize::try_from(count) {
        Ok(count) if count == table.decoders.len() => {}
        Ok(count) if count > table.decoders.len() => return Err(too_many(name)),
        _ => return Err(too_few(name)),
    }
    let image = builder.image();
    for (column, decoder) in table.decoders.iter().enumerate() {
        let (field, after) = field(rest).ok_or_else(|| malformed(name, "a row of a binary `COPY` is cut off"))?;
        rest = after;
        let cell = match field {
            None => Cell::NULL,
            Some(bytes) => {
                decoder.decode_binary(bytes, builder).map_err(|cause: ValueError| table.unreadable(column, cause))?
            }
        };
        builder.cell(cell);
    }
    if rest.is_empty() { Ok(image) } else { Err(malformed(name, "a message of a binary `COPY` holds more than a row")) }
}

/// One value, `None` for null, and what follows it.
#[inline]
fn field(bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    match u32::from_be_bytes(*length) {
        u32::MAX => Some((None, rest)),
        length => {
            let (value, rest) = rest.split_at_checked(length as usize)?;
            Some((Some(value), rest))
        }
    }
}

/// What follows the header.
fn header(data: &[u8]) -> Option<&[u8]> {
    let (flags, rest) = data.strip_prefix(SIGNATURE)?.split_first_chunk()?;
    let (extension, rest) = rest.split_first_chunk()?;
    if u32::from_be_bytes(*flags) & FLAGS_CRITICAL != 0 {
        return None;
    }
    rest.get(u32::from_be_bytes(*extension) as usize..)
}
