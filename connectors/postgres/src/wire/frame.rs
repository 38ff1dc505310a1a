//! Frames of the protocol (a tag, a length, a body) cut from one growing buffer, in place. Parses the header itself
//! because postgres-protocol knows neither CopyBothResponse nor NegotiateProtocolVersion.
//!
//! Memory: the buffer starts at [`INITIAL`] bytes, grows only as far as bytes of a longer frame have really come, never
//! beyond the limit, and shrinks again once such a frame is done.

/// Size of the buffer while frames are short: a walsender fills a socket with some hundred small frames at a time.
const INITIAL: usize = 512 << 10;
/// Free space below which the rest is moved to the front.
const SPARE_MIN: usize = 64 << 10;
/// Tag and length.
const HEADER: usize = 5;

/// Longest body before the login is through: errors and the lists of SASL mechanisms are short.
pub(crate) const LOGIN_BODY_MAX: usize = 64 << 10;
/// Longest body after it. The server cannot build a message above 1 GiB (its MaxAllocSize).
pub(crate) const BODY_MAX: usize = 1 << 30;

/// A frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    /// Kind.
    pub(crate) tag: u8,
    /// Content.
    pub(crate) body: &'a [u8],
}

/// Why no frame can be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    /// The length does not even cover itself.
    #[error("a frame of kind {0:#04x} has an impossible length")]
    Length(u8),
    /// Above the limit.
    #[error("a frame of kind {tag:#04x} has {length} bytes, more than {limit}")]
    TooLong {
        /// Kind.
        tag: u8,
        /// Announced length.
        length: usize,
        /// Allowed length.
        limit: usize,
    },
}

/// Bytes that were read and not yet consumed.
#[derive(Debug)]
pub(crate) struct FrameBuffer {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    limit: usize,
}

impl FrameBuffer {
    /// Empty, for bodies of at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> FrameBuffer {
        FrameBuffer { bytes: vec![0; INITIAL], start: 0, end: 0, limit }
    }

    /// Allows longer bodies from here on.
    pub(crate) fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The next frame, or `None` until more bytes have been read.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame<'_>>, FrameError> {
        let Some(waiting) = self.bytes.get(self.start..self.end) else { return Ok(None) };
        let Some((header, rest)) = waiting.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [tag, a, b, c, d] = *header;
        let length = self.body_length(tag, [a, b, c, d])?;
        let Some(body) = rest.get(..length) else { return Ok(None) };
        self.start += HEADER + length;
        Ok(Some(Frame { tag, body }))
    }

    fn body_length(&self, tag: u8, length: [u8; 4]) -> Result<usize, FrameError> {
        let length = u32::from_be_bytes(length).checked_sub(4).ok_or(FrameError::Length(tag))? as usize;
        if length > self.limit {
            return Err(FrameError::TooLong { tag, length, limit: self.limit });
        }
        Ok(length)
    }

    /// Space to read into; never empty.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.bytes.len() > INITIAL {
                self.bytes = vec![0; INITIAL];
            }
        }
        if self.bytes.len() - self.end < SPARE_MIN {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.bytes.len() - self.end < SPARE_MIN {
                self.bytes.resize(self.bytes.len() * 2, 0);
            }
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Tells how many bytes of the spare space were filled.
    pub(crate) fn filled(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn feed(buffer: &mut FrameBuffer, bytes: &[u8]) -> usize {
        let spare = buffer.spare();
        let count = bytes.len().min(spare.len());
        spare[..count].copy_from_slice(&bytes[..count]);
        buffer.filled(count);
        count
    }

    fn encode(tag: u8, body: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        out.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
        out.extend_from_slice(body);
        out
    }

    proptest! {
        // PG-75: bytes may dribble in any portions.
        #[test]
        fn frames_survive_any_portioning(
            frames in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20),
            portion in 1usize..700,
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(tag, body)| encode(*tag, body)).collect();
            let mut buffer = FrameBuffer::new(1 << 20);
            let mut seen = Vec::new();
            for part in bytes.chunks(portion) {
                prop_assert_eq!(feed(&mut buffer, part), part.len());
                while let Some(frame) = buffer.next_frame().unwrap() {
                    seen.push((frame.tag, frame.body.to_vec()));
                }
            }
            prop_assert_eq!(seen, frames);
            prop_assert_eq!(buffer.start, buffer.end);
        }

        #[test]
        fn any_bytes_are_cut_without_a_panic(bytes: Vec<u8>) {
            let mut buffer = FrameBuffer::new(64);
            feed(&mut buffer, &bytes);
            while let Ok(Some(_)) = buffer.next_frame() {}
        }
    }

    #[test]
    fn a_frame_above_the_buffer_grows_it_and_gives_the_memory_back() {
        let body = vec![9; 5 << 20];
        let bytes = encode(b'd', &body);
        let mut buffer = FrameBuffer::new(BODY_MAX);
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            assert!(buffer.next_frame().unwrap().is_none());
            let count = feed(&mut buffer, rest);
            rest = &rest[count..];
        }
        assert_eq!(buffer.next_frame().unwrap().unwrap().body, body);
        assert_eq!(buffer.spare().len(), INITIAL);
    }

    #[test]
    fn impossible_lengths_are_refused() {
        let mut buffer = FrameBuffer::new(10);
        feed(&mut buffer, &[b'E', 0, 0, 0, 3]);
        assert_eq!(buffer.next_frame(), Err(FrameError::Length(b'E')));
        let mut buffer = FrameBuffer::new(10);
        feed(&mut buffer, &[b'E', 0xFF, 0xFF, 0xFF, 0xFF]);
        assert!(matches!(buffer.next_frame(), Err(FrameError::TooLong { .. })));
    }
}
