//! Rows in text form: tabs, `\N`, backslash escapes.
//!
//! Layout: PostgreSQL manual, `COPY`, "Text Format"; `CopyAttributeOutText` of the server writes it.

use super::{malformed, too_few, too_many};
use crate::catalog::Described;
use crate::typemap::{Scratch, ValueError};
use tidewire_core::batch::{BatchBuilder, ImageStart};
use tidewire_core::{Cell, Result};

/// Bytes that are kept allocated between values.
const UNESCAPED_KEPT: usize = 1 << 20;

/// Reads lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    scratch: Scratch,
    unescaped: Vec<u8>,
}

impl Lines {
    /// Writes the image of one row. The server sends each as a `CopyData` message of its own, with its line feed.
    pub(super) fn read(&mut self, table: &Described, line: &[u8], builder: &mut BatchBuilder) -> Result<ImageStart> {
        let name = &table.schema.name;
        let line = line.strip_suffix(b"\n").ok_or_else(|| malformed(name, "a row of `COPY` does not end its line"))?;
        let image = builder.image();
        let mut decoders = table.decoders.iter().enumerate();
        // A table without columns has an empty line, which is not one empty value.
        let mut rest = if table.decoders.is_empty() && line.is_empty() { None } else { Some(line) };
        while let Some(text) = rest {
            let (field, after) = split_field(text);
            rest = after;
            let Some((column, decoder)) = decoders.next() else { return Err(too_many(name)) };
            let cell = match field {
                b"\\N" => Ok(Cell::NULL),
                field => match unescape(field, &mut self.unescaped) {
                    Some(value) => decoder.decode(value, builder, &mut self.scratch),
                    None => Err(ValueError::Malformed("escaped as `COPY` escapes it")),
                },
            };
            builder.cell(cell.map_err(|cause| table.unreadable(column, cause))?);
        }
        if decoders.next().is_some() {
            return Err(too_few(name));
        }
        self.unescaped.shrink_to(UNESCAPED_KEPT);
        Ok(image)
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
