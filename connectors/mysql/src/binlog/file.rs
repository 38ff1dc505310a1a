//! Walks a whole binary log file in memory: for recorded files, tests and benchmarks.
//!
//! Source: MySQL Internals, "Binary Log Files": four bytes of magic, then events without a gap.

use super::{DecodeError, Event, Format, Header, RawEvent, kind, parse, split};

/// How a file begins.
pub(crate) const MAGIC: [u8; 4] = *b"\xfebin";
/// How a file of MySQL's begins that is encrypted.
const MAGIC_ENCRYPTED: [u8; 4] = *b"\xfdbin";

/// The events of a file, with the layout in force.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    rest: &'a [u8],
    position: u64,
    format: Format,
    ended: bool,
}

impl<'a> Walk<'a> {
    /// Over the bytes of a file.
    pub(crate) fn new(file: &'a [u8]) -> Result<Walk<'a>, DecodeError> {
        let problem = match file.split_first_chunk::<4>() {
            Some((&MAGIC, rest)) => {
                return Ok(Walk { rest, position: 4, format: Format::default(), ended: false });
            }
            Some((&MAGIC_ENCRYPTED, _)) => "it is encrypted",
            _ => "it does not begin with the magic number",
        };
        Err(DecodeError::NotALog { problem })
    }

    /// Layout of the last event.
    pub(crate) fn format(&self) -> &Format {
        &self.format
    }

    /// The next event; `None` at the end. After an error nothing more comes.
    pub(crate) fn next_event(&mut self) -> Result<Option<(RawEvent<'a>, Event<'a>)>, DecodeError> {
        if self.ended || self.rest.is_empty() {
            return Ok(None);
        }
        let result = self.step();
        self.ended |= result.is_err();
        result.map(Some)
    }

    fn step(&mut self) -> Result<(RawEvent<'a>, Event<'a>), DecodeError> {
        let header = Header::read(self.rest)?;
        let truncated = DecodeError::Truncated { kind: header.kind, field: "event" };
        let (bytes, rest) = self.rest.split_at_checked(header.length as usize).ok_or(truncated)?;
        let raw = split(bytes, &self.format)?;
        let event = parse(&raw, &self.format)?;
        match &event {
            Event::FormatDescription(format) => self.format = format.clone(),
            // A server decrypts what it sends; a file cannot be read on.
            Event::StartEncryption(_) => {
                return Err(DecodeError::Unsupported { kind: kind::START_ENCRYPTION, reason: "the file is encrypted" });
            }
            _ => {}
        }
        self.position += bytes.len() as u64;
        self.rest = rest;
        Ok((raw, event))
    }
}
