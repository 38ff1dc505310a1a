//! Packets cut from one growing buffer, in place. A packet of 16 MiB - 1 bytes goes on in the next one, down to an empty
//! one after an exact multiple (MY-27); such a chain is joined in the buffer by moving its later parts forward.
//! See "MySQL Packets" in the protocol's documentation.
//!
//! Memory: the buffer starts at [`INITIAL`] bytes, grows only as far as bytes of a longer packet have really come, never
//! much beyond the limit, and shrinks again once such a packet is done.

use std::ops::Range;

/// Size of the buffer while packets are short: a socket is emptied of some hundred small events at a time.
const INITIAL: usize = 512 << 10;
/// Free space below which the rest is moved to the front.
const SPARE_MIN: usize = 64 << 10;
/// Length of 3 bytes and number.
pub(crate) const HEADER: usize = 4;
/// Length of a packet that goes on in the next one.
pub(crate) const FULL: usize = 0xFF_FFFF;

/// Longest message before the login is through.
pub(crate) const LOGIN_PACKET_MAX: usize = 64 << 10;
/// Longest message after it: `max_allowed_packet` is 1 GiB at most, to which the log adds an event's header.
pub(crate) const PACKET_MAX: usize = (1 << 30) + (1 << 20);

/// Why no packet can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PacketError {
    /// Packets are numbered from each request on.
    #[error("packet {found} came where packet {expected} was due")]
    Sequence {
        /// Number that came.
        found: u8,
        /// Number that was due.
        expected: u8,
    },
    /// Above the limit.
    #[error("a packet has more than {limit} bytes")]
    TooLong {
        /// Allowed length.
        limit: usize,
    },
}

/// What was taken out: where it lies, and whether it is only a part of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    /// For [`PacketBuffer::message`].
    pub(crate) place: Range<usize>,
    /// `None` when it is a whole message.
    pub(crate) part: Option<Part>,
}

/// Which part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// The message begins with it.
    pub(crate) first: bool,
    /// The message ends with it.
    pub(crate) last: bool,
}

/// A message that is handed out in parts.
#[derive(Clone, Copy, Debug)]
struct Parted {
    /// What is left of the packet that is being read.
    left: usize,
    /// Whether another packet follows.
    more: bool,
    first: bool,
}

/// Bytes that were read and not yet consumed.
#[derive(Debug)]
pub(crate) struct PacketBuffer {
    bytes: Vec<u8>,
    /// What was not yet handed out: begin of the message that is being joined, or of its header.
    start: usize,
    /// Payload joined so far, inside `start..next`; empty at `start` when there is none.
    joined: Range<usize>,
    /// Header of the next packet.
    next: usize,
    end: usize,
    limit: usize,
    sequence: u8,
    numbered: bool,
    parted: Option<Parted>,
}

impl PacketBuffer {
    /// Empty, for messages of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> PacketBuffer {
        let bytes = vec![0; INITIAL];
        PacketBuffer {
            bytes,
            start: 0,
            joined: 0..0,
            next: 0,
            end: 0,
            limit,
            sequence: 0,
            numbered: true,
            parted: None,
        }
    }

    /// Allows longer messages from here on.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Number that the next packet must have.
    pub(crate) fn expect(&mut self, sequence: u8) {
        self.sequence = sequence;
    }

    /// Number that the next packet must have, and that our next one has while we log in.
    pub(crate) fn sequence(&self) -> u8 {
        self.sequence
    }

    /// Numbers are not looked at from here on: inside of compressed frames, which have numbers of their own, servers
    /// differ in how they count.
    pub(crate) fn ignore_sequence(&mut self) {
        self.numbered = false;
    }

    /// Whether bytes are waiting.
    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Takes the next message out and tells where it lies, for [`PacketBuffer::message`]; `None` until more bytes have
    /// been read.
    pub(crate) fn advance(&mut self) -> Result<Option<Range<usize>>, PacketError> {
        loop {
            let Some(waiting) = self.bytes.get(self.next..self.end) else { return Ok(None) };
            let Some((header, rest)) = waiting.split_first_chunk::<HEADER>() else { return Ok(None) };
            let [a, b, c, sequence] = *header;
            let length = u32::from_le_bytes([a, b, c, 0]) as usize;
            if self.numbered && sequence != self.sequence {
                return Err(PacketError::Sequence { found: sequence, expected: self.sequence });
            }
            if self.joined.len() + length > self.limit {
                return Err(PacketError::TooLong { limit: self.limit });
            }
            if rest.len() < length {
                return Ok(None);
            }
            self.sequence = sequence.wrapping_add(1);
            let body = self.next + HEADER..self.next + HEADER + length;
            self.next = body.end;
            if self.joined.is_empty() {
                self.joined = body;
            } else {
                self.bytes.copy_within(body, self.joined.end);
                self.joined.end += length;
            }
            if length < FULL {
                let message = self.joined.clone();
                self.start = self.next;
                self.joined = self.start..self.start;
                return Ok(Some(message));
            }
        }
    }

    /// As [`PacketBuffer::advance`], but a message of several packets whose first `peek` bytes are such as `in_parts`
    /// says is handed out in parts, as they come, and never held as a whole.
    pub(crate) fn advance_in_parts(
        &mut self,
        peek: usize,
        in_parts: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Taken>, PacketError> {
        if self.parted.is_none() && self.joined.is_empty() {
            let waiting = self.bytes.get(self.next..self.end).unwrap_or_default();
            let Some((header, rest)) = waiting.split_first_chunk::<HEADER>() else { return Ok(None) };
            let [a, b, c, sequence] = *header;
            if u32::from_le_bytes([a, b, c, 0]) as usize == FULL {
                let Some(head) = rest.get(..peek) else { return Ok(None) };
                if in_parts(head) {
                    self.number(sequence)?;
                    self.parted = Some(Parted { left: FULL, more: true, first: true });
                    self.consume(HEADER);
                }
            }
        }
        if self.parted.is_some() {
            self.part(peek)
        } else {
            Ok(self.advance()?.map(|place| Taken { place, part: None }))
        }
    }

    fn part(&mut self, peek: usize) -> Result<Option<Taken>, PacketError> {
        loop {
            let Some(parted) = &mut self.parted else { return Ok(None) };
            let waiting = self.end - self.next;
            if parted.left > 0 {
                let count = waiting.min(parted.left);
                // The first part holds at least what was looked at.
                if count == 0 || (parted.first && count < peek) {
                    return Ok(None);
                }
                parted.left -= count;
                let part = Part { first: parted.first, last: parted.left == 0 && !parted.more };
                parted.first = false;
                if part.last {
                    self.parted = None;
                }
                let place = self.next..self.next + count;
                self.consume(count);
                return Ok(Some(Taken { place, part: Some(part) }));
            }
            let Some(header) = self.bytes.get(self.next..self.next + HEADER).filter(|_| waiting >= HEADER) else {
                return Ok(None);
            };
            let [a, b, c, sequence] = *header else { return Ok(None) };
            let length = u32::from_le_bytes([a, b, c, 0]) as usize;
            (parted.left, parted.more) = (length, length == FULL);
            self.number(sequence)?;
            self.consume(HEADER);
            if length == 0 {
                self.parted = None;
                let part = Some(Part { first: false, last: true });
                return Ok(Some(Taken { place: self.next..self.next, part }));
            }
        }
    }

    fn number(&mut self, sequence: u8) -> Result<(), PacketError> {
        if self.numbered && sequence != self.sequence {
            return Err(PacketError::Sequence { found: sequence, expected: self.sequence });
        }
        self.sequence = sequence.wrapping_add(1);
        Ok(())
    }

    fn consume(&mut self, count: usize) {
        self.next += count;
        self.start = self.next;
        self.joined = self.start..self.start;
    }

    /// The message that [`PacketBuffer::advance`] told of last; good until the next read.
    pub(crate) fn message(&self, place: Range<usize>) -> &[u8] {
        self.bytes.get(place).unwrap_or_default()
    }

    /// Space to read into; never empty.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        self.spare_of(SPARE_MIN)
    }

    /// Space of at least `least` bytes.
    pub(crate) fn spare_of(&mut self, least: usize) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.joined, self.next, self.end) = (0, 0..0, 0, 0);
            if self.bytes.len() > INITIAL && least <= INITIAL {
                self.bytes = vec![0; INITIAL];
            }
        }
        if self.bytes.len() - self.end < least {
            if self.start > 0 {
                self.bytes.copy_within(self.start..self.end, 0);
                self.joined = self.joined.start - self.start..self.joined.end - self.start;
                self.next -= self.start;
                self.end -= self.start;
                self.start = 0;
            }
            if self.bytes.len() - self.end < least {
                self.bytes.resize((self.bytes.len() * 2).max(self.end + least), 0);
            }
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Tells how many bytes of the spare space were filled.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }
}

/// Adds a message's packets to `out`, numbered from `sequence` on, and returns the number after the last.
pub(crate) fn frame(message: &[u8], mut sequence: u8, out: &mut Vec<u8>) -> u8 {
    let mut rest = message;
    loop {
        let (part, later) = rest.split_at(rest.len().min(FULL));
        let [a, b, c, ..] = u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes();
        out.extend_from_slice(&[a, b, c, sequence]);
        out.extend_from_slice(part);
        sequence = sequence.wrapping_add(1);
        rest = later;
        if part.len() < FULL {
            return sequence;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(buffer: &mut PacketBuffer, bytes: &[u8]) -> usize {
        let spare = buffer.spare();
        let count = bytes.len().min(spare.len());
        spare[..count].copy_from_slice(&bytes[..count]);
        buffer.filled(count);
        count
    }

    fn next(buffer: &mut PacketBuffer) -> Result<Option<Vec<u8>>, PacketError> {
        Ok(buffer.advance()?.map(|place| buffer.message(place).to_vec()))
    }

    /// All messages of a stream of bytes that comes in portions.
    fn cut(bytes: &[u8], portion: usize, limit: usize) -> Result<Vec<Vec<u8>>, PacketError> {
        let mut buffer = PacketBuffer::new(limit);
        let mut seen = Vec::new();
        for mut part in bytes.chunks(portion) {
            while !part.is_empty() {
                let count = feed(&mut buffer, part);
                part = &part[count..];
                while let Some(message) = next(&mut buffer)? {
                    seen.push(message);
                }
            }
        }
        Ok(seen)
    }

    proptest! {
        // MY-59: bytes may dribble in any portions.
        #[test]
        fn packets_survive_any_portioning(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..600),
            portion in 1usize..700,
        ) {
            let mut bytes = Vec::new();
            let mut sequence = 0;
            for message in &messages {
                sequence = frame(message, sequence, &mut bytes);
            }
            prop_assert_eq!(cut(&bytes, portion, 1 << 20).unwrap(), messages);
        }

        #[test]
        fn any_bytes_are_cut_without_a_panic(bytes: Vec<u8>) {
            let mut buffer = PacketBuffer::new(64);
            buffer.ignore_sequence();
            feed(&mut buffer, &bytes);
            while let Ok(Some(_)) = buffer.advance() {}
        }
    }

    #[test]
    fn my_30_a_long_message_comes_in_parts() {
        for length in [FULL - 1, FULL, FULL + 5, 2 * FULL] {
            let long: Vec<u8> = (0..length).map(|index| (index / 11) as u8 | 1).collect();
            let mut bytes = Vec::new();
            let next = frame(b"short", 0, &mut bytes);
            let next = frame(&long, next, &mut bytes);
            frame(b"after", next, &mut bytes);
            let mut buffer = PacketBuffer::new(PACKET_MAX);
            let (mut messages, mut joined, mut parts, mut largest) = (Vec::new(), Vec::new(), 0, 0);
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                rest = &rest[feed(&mut buffer, rest)..];
                while let Some(taken) = buffer.advance_in_parts(20, |head| head[0] == 1).unwrap() {
                    let message = buffer.message(taken.place).to_vec();
                    match taken.part {
                        None => messages.push(message),
                        Some(part) => {
                            assert_eq!(part.first, joined.is_empty() && !message.is_empty());
                            parts += 1;
                            joined.extend(message);
                            if part.last {
                                messages.push(std::mem::take(&mut joined));
                            }
                        }
                    }
                }
                largest = largest.max(buffer.bytes.len());
            }
            assert_eq!(parts > 0, length >= FULL);
            assert!(length < FULL || largest <= INITIAL, "nothing long is held");
            assert!(messages == [b"short".to_vec(), long, b"after".to_vec()], "{length}");
        }
    }

    #[test]
    fn my_27_chains_are_joined_down_to_the_empty_packet() {
        for length in [FULL - 1, FULL, FULL + 1, 2 * FULL - 1, 2 * FULL, 2 * FULL + 5] {
            let message: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            let mut bytes = Vec::new();
            let after = frame(b"before", 7, &mut bytes);
            let after = frame(&message, after, &mut bytes);
            frame(b"after", after, &mut bytes);
            assert_eq!(usize::from(after), 8 + length / FULL + 1);
            let mut buffer = PacketBuffer::new(PACKET_MAX);
            buffer.expect(7);
            let mut seen = Vec::new();
            for mut part in bytes.chunks(300_000) {
                while !part.is_empty() {
                    let count = feed(&mut buffer, part);
                    part = &part[count..];
                    while let Some(message) = next(&mut buffer).unwrap() {
                        seen.push(message);
                    }
                }
            }
            assert!(seen == [b"before".to_vec(), message, b"after".to_vec()], "{length}");
            assert_eq!(buffer.spare().len(), INITIAL, "the memory is given back");
        }
    }

    #[test]
    fn my_27_what_is_above_the_limit_is_refused_before_it_is_read() {
        let mut buffer = PacketBuffer::new(1000);
        feed(&mut buffer, &[0xE9, 3, 0, 0]);
        assert_eq!(next(&mut buffer), Err(PacketError::TooLong { limit: 1000 }));
        let mut buffer = PacketBuffer::new(FULL + 10);
        let mut bytes = Vec::new();
        frame(&vec![0; FULL], 0, &mut bytes);
        let header = bytes.len() - HEADER;
        bytes[header] = 11;
        let mut rest = &bytes[..];
        while rest.len() > 1 {
            let count = feed(&mut buffer, &rest[..rest.len() - 1]);
            rest = &rest[count..];
            assert_eq!(next(&mut buffer), Ok(None));
        }
        feed(&mut buffer, rest);
        assert_eq!(next(&mut buffer), Err(PacketError::TooLong { limit: FULL + 10 }));
    }

    #[test]
    fn my_59_a_packet_out_of_order_is_refused() {
        let mut buffer = PacketBuffer::new(1000);
        buffer.expect(1);
        feed(&mut buffer, &[0, 0, 0, 1, 0, 0, 0, 3]);
        assert_eq!(next(&mut buffer), Ok(Some(Vec::new())));
        assert_eq!(next(&mut buffer), Err(PacketError::Sequence { found: 3, expected: 2 }));
    }
}
