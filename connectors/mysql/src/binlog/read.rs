//! A cursor over the bytes of one event. Every step is checked; numbers are little-endian unless the name says else.

use super::error::DecodeError;

/// What is left of an event's body.
#[derive(Clone, Debug)]
pub(crate) struct Fields<'a> {
    kind: u8,
    pub(crate) rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Over a body, or a part of one; `kind` is for errors alone.
    pub(crate) fn new(kind: u8, rest: &'a [u8]) -> Fields<'a> {
        Fields { kind, rest }
    }

    /// The error for a field that is not all there.
    pub(crate) fn truncated(&self, field: &'static str) -> DecodeError {
        DecodeError::Truncated { kind: self.kind, field }
    }

    /// The error for a field that holds what is not defined.
    pub(crate) fn undefined(&self, field: &'static str, found: u64) -> DecodeError {
        DecodeError::Undefined { kind: self.kind, field, found }
    }

    #[inline]
    pub(crate) fn chunk<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let Some((chunk, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.truncated(field));
        };
        self.rest = rest;
        Ok(*chunk)
    }

    /// The next `length` bytes.
    #[inline]
    pub(crate) fn bytes(&mut self, length: usize, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.truncated(field));
        };
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    pub(crate) fn u8(&mut self, field: &'static str) -> Result<u8, DecodeError> {
        self.chunk::<1>(field).map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self, field: &'static str) -> Result<u16, DecodeError> {
        self.chunk(field).map(u16::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u24(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.chunk::<3>(field).map(|[a, b, c]| u32::from_le_bytes([a, b, c, 0]))
    }

    #[inline]
    pub(crate) fn u32(&mut self, field: &'static str) -> Result<u32, DecodeError> {
        self.chunk(field).map(u32::from_le_bytes)
    }

    #[inline]
    pub(crate) fn u48(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.chunk::<6>(field).map(|[a, b, c, d, e, f]| u64::from_le_bytes([a, b, c, d, e, f, 0, 0]))
    }

    #[inline]
    pub(crate) fn u56(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.chunk::<7>(field).map(|[a, b, c, d, e, f, g]| u64::from_le_bytes([a, b, c, d, e, f, g, 0]))
    }

    #[inline]
    pub(crate) fn u64(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        self.chunk(field).map(u64::from_le_bytes)
    }

    /// A length-encoded integer of the client/server protocol: one byte below 251, else 0xfc, 0xfd or 0xfe and 2, 3
    /// or 8 bytes. 0xfb (null) and 0xff are none.
    #[inline]
    pub(crate) fn lenenc(&mut self, field: &'static str) -> Result<u64, DecodeError> {
        match self.u8(field)? {
            small @ 0..=250 => Ok(u64::from(small)),
            0xfc => self.u16(field).map(u64::from),
            0xfd => self.u24(field).map(u64::from),
            0xfe => self.u64(field),
            other => Err(self.undefined(field, u64::from(other))),
        }
    }

    /// [`Fields::lenenc`] as a length of bytes that must be there.
    #[inline]
    pub(crate) fn length(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        let length = self.lenenc(field)?;
        usize::try_from(length).ok().filter(|length| *length <= self.rest.len()).ok_or_else(|| self.truncated(field))
    }

    /// Bytes behind their length-encoded length.
    #[inline]
    pub(crate) fn prefixed(&mut self, field: &'static str) -> Result<&'a [u8], DecodeError> {
        let length = self.length(field)?;
        self.bytes(length, field)
    }

    /// Everything that is left.
    #[inline]
    pub(crate) fn take_rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Ends the reading: nothing may be left.
    #[inline]
    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(DecodeError::Trailing { kind: self.kind, count }),
        }
    }

    /// Text of a name.
    pub(crate) fn text(&self, bytes: &'a [u8], field: &'static str) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(bytes).map_err(|_| DecodeError::NotUtf8 { kind: self.kind, field })
    }
}
