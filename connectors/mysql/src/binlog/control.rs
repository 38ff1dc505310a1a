//! Events about the log itself: ROTATE, HEARTBEAT, INCIDENT, checkpoints, and those of group replication.
//!
//! Source: MySQL `libs/mysql/binlog/event/control_events.{h,cpp}` and `codecs/binary.cpp`; MariaDB
//! `sql/log_event.cc`, `Binlog_checkpoint_log_event`.

use super::error::DecodeError;
use super::read::Fields;
use super::{Event, Format, Header, kind};

/// Where events begin in a file, behind the magic number.
const FIRST_POSITION: u64 = 4;

/// ROTATE: position 8, name to the end. Versions without post-header are not supported.
pub(super) fn rotate<'a>(body: &'a [u8], format: &Format) -> Result<Event<'a>, DecodeError> {
    let mut fields = Fields::new(kind::ROTATE, body);
    let length = format.post_header(kind::ROTATE).unwrap_or(8);
    if length != 8 {
        return Err(fields.undefined("post-header length", length as u64));
    }
    let position = fields.u64("position")?;
    if position < FIRST_POSITION {
        return Err(fields.undefined("position", position));
    }
    let file = file_name(&mut fields)?;
    Ok(Event::Rotate { position, file })
}

/// A file's name to the end of the event: neither empty nor with control characters.
fn file_name<'a>(fields: &mut Fields<'a>) -> Result<&'a [u8], DecodeError> {
    let file = fields.take_rest();
    match file.iter().find(|byte| byte.is_ascii_control()) {
        Some(byte) => Err(fields.undefined("file name", u64::from(*byte))),
        None if file.is_empty() => Err(fields.truncated("file name")),
        None => Ok(file),
    }
}

/// HEARTBEAT and HEARTBEAT_V2: not part of any file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeartbeatEvent<'a> {
    /// File that is being sent.
    pub(crate) file: &'a [u8],
    /// Where the last event that was sent ends. From the first version of the event only 32 bits: see `whole`.
    pub(crate) position: u64,
    /// Whether `position` has 64 bits.
    pub(crate) whole: bool,
}

impl<'a> HeartbeatEvent<'a> {
    pub(super) fn parse(header: &Header, body: &'a [u8]) -> Result<HeartbeatEvent<'a>, DecodeError> {
        let mut fields = Fields::new(kind::HEARTBEAT, body);
        let mut file = fields.take_rest();
        // MariaDB writes a position that 32 bits do not hold before the name.
        let mut position = u64::from(header.log_pos);
        let mut whole = false;
        if header.log_pos == 0
            && let Some((wide, name)) = file.split_first_chunk::<8>()
        {
            file = name;
            position = u64::from_le_bytes(*wide);
            whole = true;
        }
        let file = file_name(&mut Fields::new(kind::HEARTBEAT, file))?;
        Ok(HeartbeatEvent { file, position, whole })
    }

    /// Fields of type, length and value, in any order: 1 the name, 2 the position, 0 the end. Lengths and the position
    /// are length-encoded integers. A type that is not known is passed over, as MySQL does.
    pub(super) fn parse_v2(body: &'a [u8]) -> Result<HeartbeatEvent<'a>, DecodeError> {
        const END: u64 = 0;
        const FILE: u64 = 1;
        const POSITION: u64 = 2;
        let mut fields = Fields::new(kind::HEARTBEAT_V2, body);
        let (mut file, mut position) = (None, None);
        while !fields.rest.is_empty() {
            match fields.lenenc("field type")? {
                END => break,
                FILE => file = Some(fields.prefixed("file name")?),
                POSITION => {
                    let mut value = Fields::new(kind::HEARTBEAT_V2, fields.prefixed("position")?);
                    position = Some(value.lenenc("position")?);
                    value.end()?;
                }
                _ => {
                    fields.prefixed("unknown field")?;
                }
            }
        }
        let (Some(file), Some(position)) = (file, position) else {
            return Err(fields.truncated("file name and position"));
        };
        let file = file_name(&mut Fields::new(kind::HEARTBEAT_V2, file))?;
        Ok(HeartbeatEvent { file, position, whole: true })
    }
}

/// INCIDENT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Incident<'a> {
    /// 1 is `LOST_EVENTS`, the only one there is.
    pub(crate) number: u16,
    /// What the server says to it.
    pub(crate) message: &'a [u8],
}

impl<'a> Incident<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<Incident<'a>, DecodeError> {
        let mut fields = Fields::new(kind::INCIDENT, body);
        let number = fields.u16("number")?;
        let length = fields.u8("message length")?;
        Ok(Incident { number, message: fields.bytes(usize::from(length), "message")? })
    }
}

/// VIEW_CHANGE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ViewChange<'a> {
    /// Identifier of the view.
    pub(crate) view: &'a [u8],
}

impl<'a> ViewChange<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<ViewChange<'a>, DecodeError> {
        let mut fields = Fields::new(kind::VIEW_CHANGE, body);
        let view = fields.bytes(40, "view")?;
        Ok(ViewChange { view: view.split(|byte| *byte == 0).next().unwrap_or_default() })
    }
}

/// ROWS_QUERY: a length of one byte that tells nothing beyond 255, then the statement.
pub(super) fn rows_query(body: &[u8]) -> Result<&[u8], DecodeError> {
    let mut fields = Fields::new(kind::ROWS_QUERY, body);
    fields.u8("statement length")?;
    Ok(fields.take_rest())
}

/// BINLOG_CHECKPOINT: a file's name behind its length of four bytes.
pub(super) fn checkpoint(body: &[u8]) -> Result<&[u8], DecodeError> {
    let mut fields = Fields::new(kind::BINLOG_CHECKPOINT, body);
    let length = fields.u32("file name length")?;
    let file = fields.bytes(length as usize, "file name")?;
    fields.end()?;
    Ok(file)
}
