//! The receiving side: bytes from the socket to messages, through the compressed protocol where that was agreed upon.

use super::inflate::{Codec, FrameHeader, HEADER, InflateError};
use super::packet::{PACKET_MAX, PacketBuffer, PacketError, Taken};
use std::ops::Range;

/// Size of the buffer of compressed frames: they have at most 16 MiB, and grow it so far.
const INITIAL: usize = 64 << 10;

/// Why the server's bytes cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReadError {
    /// As packets.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// As compressed frames.
    #[error(transparent)]
    Inflate(#[from] InflateError),
}

impl ReadError {
    /// Whether a message is longer than is allowed.
    pub(crate) fn is_too_long(&self) -> bool {
        matches!(self, ReadError::Packet(PacketError::TooLong { .. }))
    }
}

/// Bytes on their way to messages.
#[derive(Debug)]
pub(crate) struct Reader {
    packets: PacketBuffer,
    frames: Option<Frames>,
}

/// Compressed bytes.
#[derive(Debug)]
struct Frames {
    codec: Codec,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    sequence: u8,
}

impl Reader {
    /// For plain packets of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Reader {
        Reader { packets: PacketBuffer::new(limit), frames: None }
    }

    /// Longer messages from here on, and compressed frames if there is a codec.
    pub(crate) fn logged_in(&mut self, codec: Option<Codec>) {
        self.packets.set_limit(PACKET_MAX);
        self.frames = codec.map(|codec| {
            self.packets.ignore_sequence();
            Frames { codec, bytes: vec![0; INITIAL], start: 0, end: 0, sequence: 0 }
        });
    }

    /// Whether frames are compressed.
    pub(crate) fn is_compressed(&self) -> bool {
        self.frames.is_some()
    }

    /// Whether nothing is waiting.
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty() && self.frames.as_ref().is_none_or(|frames| frames.start == frames.end)
    }

    /// Number that the server's next packet, or compressed frame, must have.
    pub(crate) fn expect(&mut self, sequence: u8) {
        match &mut self.frames {
            Some(frames) => frames.sequence = sequence,
            None => self.packets.expect(sequence),
        }
    }

    /// Number of the next packet while we log in.
    pub(crate) fn sequence(&self) -> u8 {
        self.packets.sequence()
    }

    /// Space to read into; never empty.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        match &mut self.frames {
            Some(frames) => frames.spare(),
            None => self.packets.spare(),
        }
    }

    /// Tells how many bytes of the spare space were filled.
    pub(crate) fn filled(&mut self, count: usize) {
        match &mut self.frames {
            Some(frames) => frames.end = (frames.end + count).min(frames.bytes.len()),
            None => self.packets.filled(count),
        }
    }

    /// Takes the next message out, for [`Reader::message`]; `None` until more bytes have been read.
    pub(crate) fn advance(&mut self) -> Result<Option<Range<usize>>, ReadError> {
        loop {
            if let Some(place) = self.packets.advance()? {
                return Ok(Some(place));
            }
            let Some(frames) = &mut self.frames else { return Ok(None) };
            if !frames.move_one(&mut self.packets)? {
                return Ok(None);
            }
        }
    }

    /// As [`Reader::advance`]; see [`PacketBuffer::advance_in_parts`].
    pub(crate) fn advance_in_parts(
        &mut self,
        peek: usize,
        in_parts: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Taken>, ReadError> {
        loop {
            if let Some(taken) = self.packets.advance_in_parts(peek, &in_parts)? {
                return Ok(Some(taken));
            }
            let Some(frames) = &mut self.frames else { return Ok(None) };
            if !frames.move_one(&mut self.packets)? {
                return Ok(None);
            }
        }
    }

    /// The message that was taken out last; good until the next call that changes the reader.
    pub(crate) fn message(&self, place: Range<usize>) -> &[u8] {
        self.packets.message(place)
    }
}

impl Frames {
    fn spare(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        let waiting = self.bytes.get(self.start..self.end).unwrap_or_default();
        let needed = FrameHeader::parse(waiting).map_or(HEADER, |header| HEADER + header.length);
        if self.start + needed > self.bytes.len() || self.end == self.bytes.len() {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            // Room for the frame is made only as its bytes come.
            if self.end == self.bytes.len() {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Moves one frame's content to the packets; `false` until more bytes have been read.
    fn move_one(&mut self, packets: &mut PacketBuffer) -> Result<bool, ReadError> {
        let waiting = self.bytes.get(self.start..self.end).unwrap_or_default();
        let Some(header) = FrameHeader::parse(waiting) else { return Ok(false) };
        if header.sequence != self.sequence {
            let expected = self.sequence;
            return Err(PacketError::Sequence { found: header.sequence, expected }.into());
        }
        let Some(content) = waiting.get(HEADER..HEADER + header.length) else { return Ok(false) };
        let length = if header.inflated == 0 { header.length } else { header.inflated };
        let Some(space) = packets.spare_of(length).get_mut(..length) else { return Err(InflateError::Damaged.into()) };
        match header.inflated {
            0 => space.copy_from_slice(content),
            _ => self.codec.inflate(content, space)?,
        }
        packets.filled(length);
        self.start += HEADER + header.length;
        self.sequence = self.sequence.wrapping_add(1);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::{FULL, frame};
    use super::*;
    use proptest::prelude::*;

    fn wrap_zstd(plain: &[u8], part: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for (index, part) in plain.chunks(part).enumerate() {
            // Every third frame is left as it is, as servers do with short ones.
            let packed = if index % 3 == 0 { part.to_vec() } else { zstd::bulk::compress(part, 3).unwrap() };
            let inflated = if index % 3 == 0 { 0 } else { part.len() };
            out.extend(&u32::try_from(packed.len()).unwrap().to_le_bytes()[..3]);
            out.push(index as u8);
            out.extend(&u32::try_from(inflated).unwrap().to_le_bytes()[..3]);
            out.extend(packed);
        }
        out
    }

    fn read_all(bytes: &[u8], portion: usize) -> Vec<Vec<u8>> {
        let mut reader = Reader::new(100);
        reader.logged_in(Some(Codec::zstd().unwrap()));
        let mut seen = Vec::new();
        for mut part in bytes.chunks(portion) {
            while !part.is_empty() {
                let spare = reader.spare();
                let count = part.len().min(spare.len());
                spare[..count].copy_from_slice(&part[..count]);
                reader.filled(count);
                part = &part[count..];
                while let Some(place) = reader.advance().unwrap() {
                    seen.push(reader.message(place).to_vec());
                }
            }
        }
        assert!(reader.is_empty());
        seen
    }

    proptest! {
        #[test]
        fn packets_may_lie_across_frames(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..60),
            part in 1usize..500,
            portion in 1usize..700,
        ) {
            let mut plain = Vec::new();
            for message in &messages {
                frame(message, 9, &mut plain);
            }
            prop_assert_eq!(read_all(&wrap_zstd(&plain, part), portion), messages);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let mut reader = Reader::new(100);
            reader.logged_in(Some(Codec::zlib()));
            let spare = reader.spare();
            let count = bytes.len().min(spare.len());
            spare[..count].copy_from_slice(&bytes[..count]);
            reader.filled(count);
            while let Ok(Some(_)) = reader.advance() {}
        }
    }

    #[test]
    fn my_27_long_messages_come_through_frames_of_every_size() {
        let message: Vec<u8> = (0..FULL + 7).map(|index| (index / 7) as u8).collect();
        let mut plain = Vec::new();
        frame(&message, 0, &mut plain);
        for part in [100_000, FULL] {
            assert!(read_all(&wrap_zstd(&plain, part), 250_000) == [message.clone()]);
        }
    }
}
