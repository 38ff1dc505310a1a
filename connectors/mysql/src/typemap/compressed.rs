//! MariaDB's `COMPRESSED` columns: the log carries their values as the tables keep them. No byte at all is the empty
//! value. Else the upper half of the first byte tells the method: 0 for none, 8 for zlib, whose lower half has the
//! bytes of the true length (bits 0 to 2) and whether zlib's own frame is left out (bit 3). The length is big endian.
//! See `sql/field_comp.cc` of the server.

use super::form::Form;
use super::{Scratch, ValueError, take_bytes};
use flate2::{Decompress, FlushDecompress, Status};
use std::fmt;
use tidewire_core::batch::BatchBuilder;
use tidewire_core::cell::Cell;

const FORM: ValueError = ValueError::Malformed("a compressed value");
/// Longest true value: that of a `LONGBLOB` which a server can send, `max_allowed_packet` being 1 GiB at most.
const INFLATED_MAX: u64 = 1 << 30;
/// Room asked for at once; what a value claims to need is believed only as it arrives.
const STEP: usize = 1 << 16;

/// What decompresses; one with zlib's frame and one without, made when first needed.
#[derive(Default)]
pub(super) struct Inflater {
    framed: Option<Decompress>,
    raw: Option<Decompress>,
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inflater")
    }
}

impl Inflater {
    fn get(&mut self, framed: bool) -> &mut Decompress {
        let place = if framed { &mut self.framed } else { &mut self.raw };
        let inflater = place.get_or_insert_with(|| Decompress::new(framed));
        inflater.reset(framed);
        inflater
    }
}

/// Reads a value of `inner` that is compressed.
pub(super) fn read(
    inner: &Form,
    bytes: &[u8],
    builder: &mut BatchBuilder,
    scratch: &mut Scratch,
) -> Result<Cell, ValueError> {
    let Some((head, rest)) = bytes.split_first() else {
        return inner.read(bytes, builder, scratch);
    };
    match head >> 4 {
        0 => inner.read(rest, builder, scratch),
        8 => {
            let mut inflated = std::mem::take(&mut scratch.inflated);
            inflated.clear();
            let cell = inflate(*head, rest, &mut inflated, scratch.inflater.get(head & 8 == 0))
                .and_then(|()| inner.read(&inflated, builder, scratch));
            inflated.clear();
            inflated.shrink_to(Scratch::BYTES_KEPT);
            scratch.inflated = inflated;
            cell
        }
        _ => Err(FORM),
    }
}

fn inflate(head: u8, mut rest: &[u8], out: &mut Vec<u8>, inflater: &mut Decompress) -> Result<(), ValueError> {
    let length = take_bytes(&mut rest, usize::from(head & 7)).map_err(|_| FORM)?;
    let length = length.iter().fold(0u64, |length, byte| length << 8 | u64::from(*byte));
    if length > INFLATED_MAX {
        return Err(ValueError::TooLarge);
    }
    let length = usize::try_from(length).map_err(|_| ValueError::TooLarge)?;
    loop {
        let used = usize::try_from(inflater.total_in()).map_err(|_| FORM)?;
        let missing = length.saturating_sub(out.len());
        // One byte more than is missing, so that a longer value than announced is noticed.
        out.reserve(missing.min(STEP) + 1);
        let before = out.len();
        let status = inflater.decompress_vec(rest.get(used..).unwrap_or_default(), out, FlushDecompress::None);
        if out.len() > length {
            return Err(FORM);
        }
        match status {
            Ok(Status::StreamEnd) => {
                let all = out.len() == length && inflater.total_in() == rest.len() as u64;
                return if all { Ok(()) } else { Err(FORM) };
            }
            Ok(_) if out.len() > before => {}
            _ => return Err(FORM),
        }
    }
}

#[cfg(test)]
mod tests;
