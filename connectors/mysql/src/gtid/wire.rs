//! Sets as bytes: what `COM_BINLOG_DUMP_GTID` sends and PREVIOUS_GTIDS holds.
//!
//! Source: MySQL `sql/rpl_gtid_set.cc`, `Gtid_set::encode` and `add_gtid_encoding`; manual, "COM_BINLOG_DUMP_GTID".
//!
//! Without tags: number of sources 8, then of each UUID 16, number of intervals 8, and of each the first number 8 and
//! the one after the last 8. With tags (8.3 and later): byte 0 is 1, number of entries 6, byte 7 is 1; an entry has the
//! tag behind its UUID, a byte of twice its length and then its bytes, empty for none. All numbers little-endian.

use super::set::Interval;
use super::{GtidError, GtidSet, LAST_NUMBER, is_tag};
use std::sync::Arc;

/// Mark of the form with tags, in the top byte of the first number.
const TAGGED: u8 = 1;

impl GtidSet {
    /// Writes the set behind what is in `out`; the form with tags only when a tag is there, so that servers before 8.3
    /// understand it.
    pub(crate) fn encode_dump(&self, out: &mut Vec<u8>) {
        let tagged = self.has_tags();
        let count = self.sources.len() as u64;
        let head = if tagged { u64::from(TAGGED) << 56 | count << 8 | u64::from(TAGGED) } else { count };
        out.extend_from_slice(&head.to_le_bytes());
        for source in &self.sources {
            out.extend_from_slice(&source.sid);
            if tagged {
                let tag = source.tag.as_deref().unwrap_or_default();
                // At most 32 bytes: a number of the serialization library that fits one byte.
                out.push((tag.len() as u8) << 1);
                out.extend_from_slice(tag.as_bytes());
            }
            out.extend_from_slice(&(source.intervals.len() as u64).to_le_bytes());
            for interval in &source.intervals {
                out.extend_from_slice(&interval.first.to_le_bytes());
                out.extend_from_slice(&(interval.last + 1).to_le_bytes());
            }
        }
    }

    /// Reads all of `bytes`, of either form.
    pub(crate) fn decode(bytes: &[u8]) -> Result<GtidSet, GtidError> {
        let mut input = bytes;
        let head = chunk::<8>(&mut input)?;
        let head_number = u64::from_le_bytes(head);
        let (count, tagged) = match head {
            [.., 0] => (head_number, false),
            [.., TAGGED] => (head_number << 8 >> 16, true),
            _ => return Err(GtidError::Encoding("the form is not known")),
        };
        let mut set = GtidSet::default();
        for _ in 0..count {
            let sid = chunk::<16>(&mut input)?;
            let tag = if tagged { read_tag(&mut input)? } else { None };
            let intervals = u64::from_le_bytes(chunk(&mut input)?);
            if intervals > (input.len() / 16) as u64 {
                return Err(GtidError::Encoding("it ends early"));
            }
            let mut floor = 1;
            for _ in 0..intervals {
                let first = u64::from_le_bytes(chunk(&mut input)?);
                let end = u64::from_le_bytes(chunk(&mut input)?);
                if first < floor || end <= first || end > LAST_NUMBER + 1 {
                    return Err(GtidError::Encoding("its intervals are not in order"));
                }
                floor = end;
                set.add(&sid, tag.as_ref(), Interval { first, last: end - 1 });
            }
        }
        if input.is_empty() { Ok(set) } else { Err(GtidError::Encoding("bytes follow its end")) }
    }
}

fn chunk<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], GtidError> {
    let (chunk, rest) = input.split_first_chunk::<N>().ok_or(GtidError::Encoding("it ends early"))?;
    *input = rest;
    Ok(*chunk)
}

fn read_tag(input: &mut &[u8]) -> Result<Option<Arc<str>>, GtidError> {
    let [length] = chunk::<1>(input)?;
    // Longer ones would have the lowest bit set and take more bytes.
    if length & 1 != 0 {
        return Err(GtidError::Encoding("a tag is too long"));
    }
    let (tag, rest) = input.split_at_checked(usize::from(length >> 1)).ok_or(GtidError::Encoding("it ends early"))?;
    *input = rest;
    if tag.is_empty() {
        return Ok(None);
    }
    let tag = std::str::from_utf8(tag).ok().filter(|tag| is_tag(tag)).ok_or(GtidError::Encoding("a tag is none"))?;
    Ok(Some(Arc::from(tag)))
}
