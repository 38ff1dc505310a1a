//! The compressed protocol: frames with a header of 7 bytes, each holding a run of bytes of the plain protocol, which
//! need not end where a packet does. See "Compression" in the protocol's documentation.
//!
//! What we send is framed but never compressed: requests are short.

use flate2::{Decompress, FlushDecompress, Status};

/// Length of 3 bytes, number, length of 3 bytes before compression.
pub(crate) const HEADER: usize = 7;

/// How frames are compressed.
pub(crate) enum Codec {
    /// zlib, RFC 1950.
    Zlib(Box<Decompress>),
    /// zstd, a frame of its own in each.
    Zstd(Box<zstd::bulk::Decompressor<'static>>),
}

impl std::fmt::Debug for Codec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Codec::Zlib(_) => "zlib",
            Codec::Zstd(_) => "zstd",
        })
    }
}

/// Why a frame cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InflateError {
    /// Its content is damaged, or not as long as it says.
    #[error("a compressed frame cannot be read")]
    Damaged,
}

impl Codec {
    /// For zlib.
    pub(crate) fn zlib() -> Codec {
        Codec::Zlib(Box::new(Decompress::new(true)))
    }

    /// For zstd.
    pub(crate) fn zstd() -> std::io::Result<Codec> {
        Ok(Codec::Zstd(Box::new(zstd::bulk::Decompressor::new()?)))
    }

    /// Decompresses a frame's content into `out`, which it must fill exactly.
    pub(crate) fn inflate(&mut self, content: &[u8], out: &mut [u8]) -> Result<(), InflateError> {
        match self {
            Codec::Zlib(decompress) => {
                decompress.reset(true);
                let status = decompress.decompress(content, out, FlushDecompress::Finish);
                let filled = usize::try_from(decompress.total_out()).is_ok_and(|count| count == out.len());
                // Without room for more, the end may not have been seen though nothing is left out.
                match status {
                    Ok(Status::StreamEnd) if filled => Ok(()),
                    _ => Err(InflateError::Damaged),
                }
            }
            Codec::Zstd(decompressor) => match decompressor.decompress_to_buffer(content, out) {
                Ok(count) if count == out.len() => Ok(()),
                _ => Err(InflateError::Damaged),
            },
        }
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    /// Bytes that follow.
    pub(crate) length: usize,
    /// Number.
    pub(crate) sequence: u8,
    /// Bytes they decompress to; 0 when they are not compressed.
    pub(crate) inflated: usize,
}

impl FrameHeader {
    /// Reads one, if there is enough of it.
    pub(crate) fn parse(bytes: &[u8]) -> Option<FrameHeader> {
        let [a, b, c, sequence, d, e, f] = *bytes.first_chunk::<HEADER>()?;
        let number = |low, middle, high| u32::from_le_bytes([low, middle, high, 0]) as usize;
        Some(FrameHeader { length: number(a, b, c), sequence, inflated: number(d, e, f) })
    }
}

/// Adds frames around bytes of the plain protocol, not compressed, numbered from `sequence` on; returns the number after
/// the last.
pub(crate) fn wrap(plain: &[u8], mut sequence: u8, out: &mut Vec<u8>) -> u8 {
    for part in plain.chunks(super::packet::FULL) {
        let [a, b, c, ..] = u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes();
        out.extend_from_slice(&[a, b, c, sequence, 0, 0, 0]);
        out.extend_from_slice(part);
        sequence = sequence.wrapping_add(1);
    }
    sequence
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn deflated(plain: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(plain).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn content_must_be_exactly_as_long_as_told() {
        let plain: Vec<u8> = (0..5000u32).flat_map(|number| (number % 97).to_le_bytes()).collect();
        for (mut codec, packed) in
            [(Codec::zlib(), deflated(&plain)), (Codec::zstd().unwrap(), zstd::bulk::compress(&plain, 3).unwrap())]
        {
            for _ in 0..2 {
                let mut out = vec![0; plain.len()];
                codec.inflate(&packed, &mut out).unwrap();
                assert_eq!(out, plain);
            }
            for length in [0, plain.len() - 1, plain.len() + 1] {
                let mut out = vec![0; length];
                assert_eq!(codec.inflate(&packed, &mut out), Err(InflateError::Damaged), "{codec:?} {length}");
            }
            let mut out = vec![0; plain.len()];
            assert_eq!(codec.inflate(&packed[..packed.len() - 6], &mut out), Err(InflateError::Damaged));
            assert_eq!(codec.inflate(b"nonsense", &mut out), Err(InflateError::Damaged));
        }
    }
}
