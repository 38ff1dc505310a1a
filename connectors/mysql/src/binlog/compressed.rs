//! MariaDB's compressed events (`log_bin_compress`): a statement or the images of a rows event, deflated (MY-31).
//!
//! Source: MariaDB `sql/log_event.cc`, "Compressed Record": a byte whose bit 7 is set, bits 4 to 6 the algorithm (0 is
//! zlib), bits 0 to 2 the bytes of the length; the length, *highest byte first*; the zlib stream.

use super::error::DecodeError;
use super::rows::RowsEvent;
use flate2::{Decompress, FlushDecompress, Status};

/// What is reserved at once; the length that an event states is not trusted further.
const STEP: usize = 1 << 20;

/// Opens compressed events one after the other, with one state and one buffer.
pub(crate) struct Inflater {
    state: Decompress,
    buffer: Vec<u8>,
    limit: usize,
}

impl Inflater {
    /// `limit` bounds what one event may become, in bytes. Memory grows to the largest event seen.
    pub(crate) fn new(limit: usize) -> Inflater {
        Inflater { state: Decompress::new(true), buffer: Vec::new(), limit }
    }

    /// The images of a rows event: as they are if it is not compressed.
    pub(crate) fn rows<'b>(&'b mut self, event: &RowsEvent<'b>) -> Result<&'b [u8], DecodeError> {
        if !event.compressed {
            return Ok(event.rows);
        }
        self.inflate(event.event(), event.rows)
    }

    /// Opens one compressed record: the statement of a QUERY_COMPRESSED. `kind` is for errors.
    pub(crate) fn inflate(&mut self, kind: u8, record: &[u8]) -> Result<&[u8], DecodeError> {
        let (length, stream) = head(kind, record)?;
        if length > self.limit {
            let (length, limit) = (length as u64, self.limit as u64);
            return Err(DecodeError::TooLong { kind, field: "compressed record", length, limit });
        }
        let failed = |reason: &str| DecodeError::Compression { kind, reason: reason.to_owned() };
        self.state.reset(true);
        self.buffer.clear();
        loop {
            let taken = usize::try_from(self.state.total_in()).unwrap_or(usize::MAX);
            let input = stream.get(taken..).unwrap_or_default();
            // One byte more than stated, so that a stream that goes on is found out.
            let wanted = length + 1 - self.buffer.len().min(length);
            self.buffer.reserve(wanted.min(STEP));
            let before = self.buffer.len();
            let status = self
                .state
                .decompress_vec(input, &mut self.buffer, FlushDecompress::Finish)
                .map_err(|error| failed(&error.to_string()))?;
            if self.buffer.len() > length {
                return Err(failed("it is longer than it says"));
            }
            let moved = self.buffer.len() > before || self.state.total_in() > taken as u64;
            match status {
                Status::StreamEnd => break,
                Status::Ok | Status::BufError if moved => {}
                Status::Ok | Status::BufError => return Err(failed("it ends early")),
            }
        }
        if self.buffer.len() != length {
            return Err(failed("it is shorter than it says"));
        }
        if self.state.total_in() != stream.len() as u64 {
            return Err(failed("bytes follow its end"));
        }
        Ok(&self.buffer)
    }
}

/// Length of the content, and the stream.
fn head(kind: u8, record: &[u8]) -> Result<(usize, &[u8]), DecodeError> {
    const TRUNCATED: &str = "compressed record";
    let truncated = DecodeError::Truncated { kind, field: TRUNCATED };
    let (first, rest) = record.split_first().ok_or(truncated.clone())?;
    let width = usize::from(first & 0x07);
    if first & 0xf8 != 0x80 || !(1..=4).contains(&width) {
        return Err(DecodeError::Undefined { kind, field: "head of the compressed record", found: u64::from(*first) });
    }
    let (length, stream) = rest.split_at_checked(width).ok_or(truncated)?;
    Ok((length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), stream))
}
