//! Opens a payload that is in memory as a whole: for tests, recorded files and measurements.

use super::{Compression, PayloadEvent};
use crate::binlog::{DecodeError, HEADER_LENGTH, Header, kind};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// What is decompressed at once. An event that does not fit makes the buffer grow as its bytes come.
const CHUNK: usize = 1 << 17;

/// Hands out the events of compressed transactions one after the other while it decompresses: memory is bounded by the
/// largest event and the window of the compressor, never by what the transaction says of itself (MY-30).
///
/// Holds its bytes, `B`, so that it can outlive the frame they came in. One reader can serve one transaction after the
/// other, which saves the making of a decompressor.
pub(crate) struct PayloadReader<B> {
    input: B,
    /// Bytes of the input that have been taken.
    taken: usize,
    compression: Compression,
    uncompressed_size: Option<u64>,
    decoder: Decoder<'static>,
    /// Whether the frame is whole: another byte would begin the next one.
    frame_ended: bool,
    /// Decompressed bytes, of which `start..end` are not handed out yet.
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes decompressed so far.
    produced: u64,
    limit: usize,
}

impl<B> std::fmt::Debug for PayloadReader<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PayloadReader").field("taken", &self.taken).field("produced", &self.produced).finish()
    }
}

impl<B: AsRef<[u8]>> PayloadReader<B> {
    /// Over the payload of `event`, which `payload` holds the bytes of. `limit` bounds the length of one event.
    pub(crate) fn new(event: &PayloadEvent<'_>, payload: B, limit: usize) -> Result<PayloadReader<B>, DecodeError> {
        Ok(PayloadReader {
            input: payload,
            taken: 0,
            compression: event.compression,
            uncompressed_size: event.uncompressed_size,
            decoder: Decoder::new().map_err(|error| failed(&error.to_string()))?,
            frame_ended: true,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            produced: 0,
            limit,
        })
    }

    /// Goes over to another transaction and keeps decompressor and buffer.
    pub(crate) fn restart(&mut self, event: &PayloadEvent<'_>, payload: B) -> Result<(), DecodeError> {
        self.decoder.reinit().map_err(|error| failed(&error.to_string()))?;
        self.input = payload;
        self.compression = event.compression;
        self.uncompressed_size = event.uncompressed_size;
        (self.taken, self.start, self.end, self.produced, self.frame_ended) = (0, 0, 0, 0, true);
        Ok(())
    }

    /// The next event, for [`super::split`] with [`super::Format::inner`]; `None` behind the last one, when all of the
    /// payload has been taken and is as long as the server said.
    pub(crate) fn next_event(&mut self) -> Result<Option<&[u8]>, DecodeError> {
        if !self.ensure(HEADER_LENGTH)? {
            if self.start != self.end {
                return Err(DecodeError::Truncated { kind: kind::TRANSACTION_PAYLOAD, field: "events" });
            }
            return self.finish().map(|()| None);
        }
        let header = Header::read(self.buffer.get(self.start..self.end).unwrap_or_default())?;
        let length = header.length as usize;
        if length < HEADER_LENGTH {
            let (kind, found) = (header.kind, u64::from(header.length));
            return Err(DecodeError::Undefined { kind, field: "length", found });
        }
        if length > self.limit {
            let (length, limit) = (length as u64, self.limit as u64);
            return Err(DecodeError::TooLong { kind: header.kind, field: "event in a payload", length, limit });
        }
        if !self.ensure(length)? {
            return Err(DecodeError::Truncated { kind: header.kind, field: "event in a payload" });
        }
        let start = self.start;
        self.start += length;
        Ok(self.buffer.get(start..self.start))
    }

    fn finish(&self) -> Result<(), DecodeError> {
        match self.uncompressed_size {
            Some(size) if size != self.produced => {
                let kind = kind::TRANSACTION_PAYLOAD;
                Err(DecodeError::Undefined { kind, field: "uncompressed size", found: size })
            }
            _ => Ok(()),
        }
    }

    /// Sees to it that `length` bytes lie at `start`; false when the payload ends before.
    fn ensure(&mut self, length: usize) -> Result<bool, DecodeError> {
        while self.end - self.start < length {
            if self.start > 0 {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            }
            if self.end == self.buffer.len() {
                // Twice what has come, so that a stated length alone reserves nothing.
                let grown = (self.buffer.len() * 2).max(CHUNK);
                self.buffer.resize(grown, 0);
            }
            if self.fill()? == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Decompresses into what is free; 0 at the end.
    fn fill(&mut self) -> Result<usize, DecodeError> {
        let free = self.buffer.get_mut(self.end..).unwrap_or_default();
        let input = self.input.as_ref();
        let produced = match self.compression {
            Compression::None => {
                let rest = input.get(self.taken..).unwrap_or_default();
                let length = free.len().min(rest.len());
                let (to, from) = (free.get_mut(..length), rest.get(..length));
                to.unwrap_or_default().copy_from_slice(from.unwrap_or_default());
                self.taken += length;
                length
            }
            Compression::Zstd => loop {
                let rest = input.get(self.taken..).unwrap_or_default();
                if rest.is_empty() && self.frame_ended {
                    break 0;
                }
                let mut from = InBuffer::around(rest);
                let mut to = OutBuffer::around(&mut *free);
                let hint = self.decoder.run(&mut from, &mut to).map_err(|error| failed(&error.to_string()))?;
                let (read, written) = (from.pos(), to.pos());
                self.taken += read;
                self.frame_ended = hint == 0;
                if written > 0 {
                    break written;
                }
                if read == 0 {
                    return Err(failed("it ends early"));
                }
            },
        };
        self.end += produced;
        self.produced += produced as u64;
        Ok(produced)
    }
}

fn failed(reason: &str) -> DecodeError {
    DecodeError::Compression { kind: kind::TRANSACTION_PAYLOAD, reason: reason.to_owned() }
}
