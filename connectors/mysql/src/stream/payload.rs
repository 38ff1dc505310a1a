//! A compressed transaction on its way through: bytes go in as they come from the socket, events come out one after
//! another. Holds a window of zstd and the event in the making, whatever the transaction's size (MY-30).
//!
//! See "Transaction_payload_event" in the documentation of the binary log's events; inner events carry no checksum.

use crate::binlog::{CHECKSUM_LENGTH, Compression, HEADER_LENGTH};
use crate::error::protocol;
use tidewire_core::{Error, Result};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// What is decompressed at a time.
const STEP: usize = 256 << 10;
/// Longest event: `max_allowed_packet` is 1 GiB at most, to which the log adds an event's header.
const EVENT_MAX: usize = (1 << 30) + (1 << 20);

/// The transaction that is being opened.
pub(crate) struct Payload {
    decoder: Option<Decoder<'static>>,
    /// Compressed bytes that were not taken yet.
    input: Vec<u8>,
    taken: usize,
    /// Plain bytes that were not handed out yet.
    plain: Vec<u8>,
    start: usize,
    /// Whether all compressed bytes are here, and their checksum fits.
    whole: bool,
    checksum: Option<Checksum>,
}

/// The checksum of an event that is read in parts: its last bytes are held back until they are known to be the last.
struct Checksum {
    hasher: crc32fast::Hasher,
    tail: Vec<u8>,
}

impl Payload {
    /// One that has come whole and was checked.
    pub(crate) fn whole(compression: Compression, bytes: &[u8]) -> Result<Payload> {
        let mut payload = Payload::new(compression, None)?;
        payload.input.extend_from_slice(bytes);
        payload.whole = true;
        Ok(payload)
    }

    /// One that comes in parts. `head` is what came before the compressed bytes, from the event's first byte on;
    /// `checksum` tells whether the event ends with one.
    pub(crate) fn in_parts(compression: Compression, head: &[u8], checksum: bool) -> Result<Payload> {
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(head);
        Payload::new(compression, checksum.then_some(Checksum { hasher, tail: Vec::new() }))
    }

    fn new(compression: Compression, checksum: Option<Checksum>) -> Result<Payload> {
        let decoder = match compression {
            Compression::Zstd => {
                let decoder = Decoder::new();
                Some(decoder.map_err(|cause| Error::bug("zstd", "make a decompressor").with_cause(cause))?)
            }
            Compression::None => None,
        };
        Ok(Payload { decoder, input: Vec::new(), taken: 0, plain: Vec::new(), start: 0, whole: false, checksum })
    }

    /// Takes the next part.
    pub(crate) fn feed(&mut self, bytes: &[u8], last: bool) -> Result<()> {
        self.input.drain(..self.taken);
        self.taken = 0;
        match &mut self.checksum {
            None => self.input.extend_from_slice(bytes),
            Some(checksum) => {
                checksum.tail.extend_from_slice(bytes);
                let sure = checksum.tail.len().saturating_sub(CHECKSUM_LENGTH);
                let (now, _) = checksum.tail.split_at(sure);
                checksum.hasher.update(now);
                self.input.extend_from_slice(now);
                checksum.tail.drain(..sure);
            }
        }
        if last {
            self.end()?;
        }
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if let Some(Checksum { hasher, tail }) = self.checksum.take() {
            let stated = <[u8; CHECKSUM_LENGTH]>::try_from(&*tail).map(u32::from_le_bytes);
            if stated.ok() != Some(hasher.finalize()) {
                return Err(Error::retry("checksum_wrong", "the checksum of a compressed transaction does not fit"));
            }
        }
        self.whole = true;
        Ok(())
    }

    /// Whether every part has come.
    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    /// The next event; `None` when more parts are needed, or nothing is left of a whole one. The last event is handed
    /// out only when the checksum of all has been found right.
    pub(crate) fn next_event(&mut self) -> Result<Option<&[u8]>> {
        loop {
            let waiting = self.plain.len() - self.start;
            let head = self.plain.get(self.start..).unwrap_or_default();
            let length = match head.get(9..13).map(<[u8; 4]>::try_from) {
                Some(Ok(length)) => u32::from_le_bytes(length) as usize,
                _ => HEADER_LENGTH,
            };
            if !(HEADER_LENGTH..=EVENT_MAX).contains(&length) {
                return Err(protocol(format!("an event of {length} bytes in a compressed transaction")));
            }
            // One byte more: then this event is not the last one.
            let enough = if self.whole { length } else { length + 1 };
            if waiting >= enough && waiting >= HEADER_LENGTH {
                let begin = self.start;
                self.start += length;
                return Ok(self.plain.get(begin..begin + length));
            }
            if !self.inflate()? {
                return match (self.whole, self.plain.len() - self.start) {
                    (true, rest) if rest > 0 => Err(protocol("a compressed transaction ends inside an event")),
                    _ => Ok(None),
                };
            }
        }
    }

    /// Opens some more; false when nothing more can be had from what is here.
    fn inflate(&mut self) -> Result<bool> {
        self.plain.drain(..self.start);
        self.start = 0;
        let input = self.input.get(self.taken..).unwrap_or_default();
        let Some(decoder) = &mut self.decoder else {
            let more = !input.is_empty();
            self.plain.extend_from_slice(input);
            self.taken = self.input.len();
            return Ok(more);
        };
        let before = self.plain.len();
        self.plain.resize(before + STEP, 0);
        let mut source = InBuffer::around(input);
        let mut target = OutBuffer::around_pos(self.plain.as_mut_slice(), before);
        let ran = decoder.run(&mut source, &mut target);
        let (read, written) = (source.pos(), target.pos());
        self.plain.truncate(written);
        ran.map_err(|cause| Error::operator("payload_damaged", "open a compressed transaction").with_cause(cause))?;
        self.taken += read;
        Ok(read > 0 || written > before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(length: usize, fill: u8) -> Vec<u8> {
        let mut bytes = vec![fill; length];
        bytes[9..13].copy_from_slice(&(length as u32).to_le_bytes());
        bytes
    }

    fn drain(payload: &mut Payload, seen: &mut Vec<Vec<u8>>) {
        while let Some(event) = payload.next_event().unwrap() {
            seen.push(event.to_vec());
        }
    }

    proptest! {
        #[test]
        fn my_30_events_come_out_whatever_the_parts(
            lengths in prop::collection::vec(19usize..5000, 1..40),
            part in 1usize..4000,
            compressed: bool,
        ) {
            let events: Vec<_> = lengths.iter().enumerate().map(|(n, length)| event(*length, n as u8)).collect();
            let plain = events.concat();
            let (kind, bytes) = match compressed {
                true => (Compression::Zstd, zstd::bulk::compress(&plain, 3).unwrap()),
                false => (Compression::None, plain),
            };
            let mut sum = crc32fast::Hasher::new();
            sum.update(b"head");
            sum.update(&bytes);
            let sent = [bytes.as_slice(), &sum.finalize().to_le_bytes()].concat();
            let mut payload = Payload::in_parts(kind, b"head", true).unwrap();
            let mut seen = Vec::new();
            let count = sent.chunks(part).count();
            for (number, part) in sent.chunks(part).enumerate() {
                prop_assert!(seen.len() < events.len(), "the last event waits for the checksum");
                payload.feed(part, number + 1 == count).unwrap();
                drain(&mut payload, &mut seen);
            }
            prop_assert!(seen == events);
            let mut whole = Payload::whole(kind, &bytes).unwrap();
            let mut seen = Vec::new();
            drain(&mut whole, &mut seen);
            prop_assert!(seen == events);
        }
    }

    #[test]
    fn a_wrong_checksum_is_found_before_the_last_event() {
        let bytes = zstd::bulk::compress(&[event(30, 1), event(40, 2)].concat(), 3).unwrap();
        let mut payload = Payload::in_parts(Compression::Zstd, b"", true).unwrap();
        payload.feed(&bytes, false).unwrap();
        let mut seen = Vec::new();
        drain(&mut payload, &mut seen);
        assert!(seen.len() < 2);
        assert_eq!(payload.feed(&[0, 0, 0, 0], true).unwrap_err().code(), "checksum_wrong");
    }

    #[test]
    fn a_length_that_cannot_be_is_refused() {
        let mut payload = Payload::whole(Compression::None, &[0; 64]).unwrap();
        assert!(payload.next_event().is_err());
        let mut payload = Payload::whole(Compression::None, &event(64, 1)[..60]).unwrap();
        assert!(payload.next_event().is_err());
    }
}
