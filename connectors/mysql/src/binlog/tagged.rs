//! GTID_TAGGED (MySQL 8.3 and later): the same facts as GTID, laid out by MySQL's serialization library.
//!
//! Source: MySQL `libs/mysql/serialization/readme.md` ("Message format specification"),
//! `libs/mysql/binlog/event/control_events.h`, `Gtid_event::define_fields`.
//!
//! Layout: version 1 byte, then numbers of variable length: bytes of the whole message, the number after that of the
//! last field that may not be ignored, and fields, each with its number before it in rising order. Fields that are left
//! out have a default.

use super::error::DecodeError;
use super::group::GtidEvent;
use super::kind;
use super::read::Fields;
use crate::gtid::{Gtid, is_tag};
use std::sync::Arc;

/// The only version that servers write.
const VERSION: u64 = 1;

const FLAGS: u64 = 0;
const SOURCE: u64 = 1;
const NUMBER: u64 = 2;
const TAG: u64 = 3;
const LAST_COMMITTED: u64 = 4;
const SEQUENCE_NUMBER: u64 = 5;
const IMMEDIATE_COMMIT: u64 = 6;
const ORIGINAL_COMMIT: u64 = 7;
const TRANSACTION_LENGTH: u64 = 8;
const IMMEDIATE_VERSION: u64 = 9;
const ORIGINAL_VERSION: u64 = 10;
const TICKET: u64 = 11;
/// First number that is not known.
const FIELD_END: u64 = 12;

/// Reads the body.
pub(super) fn parse(body: &[u8]) -> Result<GtidEvent, DecodeError> {
    let mut fields = Fields::new(kind::GTID_TAGGED, body);
    match unsigned(&mut fields, "version")? {
        VERSION => {}
        other => return Err(fields.undefined("version", other)),
    }
    let length = unsigned(&mut fields, "length")?;
    if length != body.len() as u64 {
        return Err(fields.undefined("length", length));
    }
    let last_needed = unsigned(&mut fields, "last field that may not be ignored")?;
    if last_needed > FIELD_END {
        return Err(fields.undefined("last field that may not be ignored", last_needed));
    }
    let mut parts = Parts::default();
    let mut next = 0;
    while !fields.rest.is_empty() {
        let number = unsigned(&mut fields, "field number")?;
        if number < next {
            return Err(fields.undefined("field number", number));
        }
        if number >= FIELD_END {
            // Of a later server, and by `last_needed` may be ignored, as may all behind it.
            break;
        }
        next = number + 1;
        parts.read(number, &mut fields)?;
    }
    parts.finish(&fields)
}

/// The fields as far as they have been read.
#[derive(Default)]
struct Parts {
    flags: u64,
    source: Option<[u8; 16]>,
    number: Option<i64>,
    tag: Option<Arc<str>>,
    last_committed: Option<i64>,
    sequence_number: Option<i64>,
    immediate_commit: Option<u64>,
    original_commit: Option<u64>,
    transaction_length: Option<u64>,
    immediate_version: Option<u64>,
    original_version: Option<u64>,
    ticket: Option<u64>,
}

impl Parts {
    fn read(&mut self, number: u64, fields: &mut Fields<'_>) -> Result<(), DecodeError> {
        match number {
            FLAGS => self.flags = unsigned(fields, "flags")?,
            SOURCE => {
                let mut source = [0; 16];
                for byte in &mut source {
                    let value = unsigned(fields, "source")?;
                    *byte = u8::try_from(value).map_err(|_| fields.undefined("source", value))?;
                }
                self.source = Some(source);
            }
            NUMBER => self.number = Some(signed(fields, "number")?),
            TAG => self.tag = tag(fields)?,
            LAST_COMMITTED => self.last_committed = Some(signed(fields, "last committed")?),
            SEQUENCE_NUMBER => self.sequence_number = Some(signed(fields, "sequence number")?),
            IMMEDIATE_COMMIT => self.immediate_commit = Some(unsigned(fields, "commit time")?),
            ORIGINAL_COMMIT => self.original_commit = Some(unsigned(fields, "original commit time")?),
            TRANSACTION_LENGTH => self.transaction_length = Some(unsigned(fields, "transaction length")?),
            IMMEDIATE_VERSION => self.immediate_version = Some(unsigned(fields, "server version")?),
            ORIGINAL_VERSION => self.original_version = Some(unsigned(fields, "original server version")?),
            TICKET => self.ticket = Some(unsigned(fields, "commit group ticket")?),
            other => return Err(fields.undefined("field number", other)),
        }
        Ok(())
    }

    fn finish(self, fields: &Fields<'_>) -> Result<GtidEvent, DecodeError> {
        let number = self.number.ok_or_else(|| fields.truncated("number"))?;
        let valid = u64::try_from(number).ok().filter(|number| (1..i64::MAX as u64).contains(number));
        let number = valid.ok_or_else(|| fields.undefined("number", number as u64))?;
        let sid = self.source.ok_or_else(|| fields.truncated("source"))?;
        let version = |version: Option<u64>| {
            version
                .map(|number| u32::try_from(number).map_err(|_| fields.undefined("server version", number)))
                .transpose()
        };
        let immediate_version = version(self.immediate_version)?;
        Ok(GtidEvent {
            gtid: Gtid { sid, tag: self.tag, number },
            flags: u8::try_from(self.flags).map_err(|_| fields.undefined("flags", self.flags))?,
            logical_clock: self.last_committed.zip(self.sequence_number),
            immediate_commit: self.immediate_commit,
            original_commit: self.original_commit.or(self.immediate_commit),
            transaction_length: self.transaction_length,
            immediate_version,
            original_version: version(self.original_version)?.or(immediate_version),
            ticket: self.ticket,
        })
    }
}

/// A string: its length, then its bytes. Empty is a transaction without tag.
fn tag(fields: &mut Fields<'_>) -> Result<Option<Arc<str>>, DecodeError> {
    let length = unsigned(fields, "tag length")?;
    let length = usize::try_from(length).map_err(|_| fields.truncated("tag"))?;
    let bytes = fields.bytes(length, "tag")?;
    if bytes.is_empty() {
        return Ok(None);
    }
    let text = fields.text(bytes, "tag")?;
    if !is_tag(text) {
        return Err(fields.undefined("tag", u64::from(bytes.first().copied().unwrap_or(0))));
    }
    Ok(Some(Arc::from(text)))
}

/// A number of 1 to 9 bytes, little-endian: as many ones at the low end as bytes follow the first, then a zero, then
/// the value; nine bytes are eight ones and the value.
fn unsigned(fields: &mut Fields<'_>, field: &'static str) -> Result<u64, DecodeError> {
    let first = fields.u8(field)?;
    let more = first.trailing_ones();
    let mut low = [0; 8];
    for byte in low.iter_mut().take(more as usize) {
        *byte = fields.u8(field)?;
    }
    let low = u64::from_le_bytes(low);
    // What the first byte has above its ones and its zero; nothing from seven ones on.
    let head = u64::from(first).checked_shr(more + 1).unwrap_or(0);
    Ok(if more >= 7 { low } else { head | low << (7 - more) })
}

/// A number with sign: the lowest bit is the sign, the others the number, of a negative one less one.
fn signed(fields: &mut Fields<'_>, field: &'static str) -> Result<i64, DecodeError> {
    let encoded = unsigned(fields, field)?;
    let magnitude = (encoded >> 1) as i64;
    Ok(if encoded & 1 == 0 { magnitude } else { -1 - magnitude })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_variable_length_read_as_the_library_says() {
        // Examples of `libs/mysql/serialization/readme.md`.
        let cases: [(&[u8], u64); 5] = [
            (&[0b1111_1011, 0xff, 0x07], 65535),
            (&[0], 0),
            (&[0xfe], 127),
            (&[0x01, 0x02], 128),
            (&[0xff, 1, 2, 3, 4, 5, 6, 7, 8], 0x0807_0605_0403_0201),
        ];
        for (bytes, expected) in cases {
            let mut fields = Fields::new(kind::GTID_TAGGED, bytes);
            assert_eq!(unsigned(&mut fields, "x").unwrap(), expected, "{bytes:?}");
            assert!(fields.rest.is_empty());
        }
        let cases: [(&[u8], i64); 3] =
            [(&[0xf3, 0xff, 0x0f], 65535), (&[0xeb, 0xff, 0x0f], -65535), (&[0xfb, 0xff, 0x0f], -65536)];
        for (bytes, expected) in cases {
            assert_eq!(signed(&mut Fields::new(kind::GTID_TAGGED, bytes), "x").unwrap(), expected, "{bytes:?}");
        }
    }
}
