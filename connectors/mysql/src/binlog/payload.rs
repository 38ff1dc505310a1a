//! TRANSACTION_PAYLOAD: the events of one transaction, compressed (`binlog_transaction_compression`).
//!
//! Source: MySQL `libs/mysql/binlog/event/codecs/binary.cpp`, `Transaction_payload`: fields of type, length and value,
//! all length-encoded integers, up to type 0, then the payload.

use super::error::DecodeError;
use super::kind;
use super::read::Fields;

#[cfg(test)]
pub(super) mod reader;

const END: u64 = 0;
const PAYLOAD_SIZE: u64 = 1;
const COMPRESSION: u64 = 2;
const UNCOMPRESSED_SIZE: u64 = 3;

/// How the events are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    /// With Zstandard.
    Zstd,
    /// Not at all.
    None,
}

/// A compressed transaction, not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PayloadEvent<'a> {
    /// How.
    pub(crate) compression: Compression,
    /// Bytes of the events, as the server says. Nothing is reserved by it; in the end it must be right (MY-30).
    pub(crate) uncompressed_size: Option<u64>,
    /// The compressed bytes: to the end of the event.
    pub(crate) payload: &'a [u8],
}

impl<'a> PayloadEvent<'a> {
    /// Reads the fields of an event that has come whole.
    pub(crate) fn parse(body: &'a [u8]) -> Result<PayloadEvent<'a>, DecodeError> {
        let (event, size) = PayloadEvent::parse_begin(body)?;
        match size {
            Some(size) if size != event.payload.len() as u64 => {
                Err(Fields::new(kind::TRANSACTION_PAYLOAD, body).undefined("payload size", size))
            }
            _ => Ok(event),
        }
    }

    /// Reads the fields of an event of which only the begin is there, and the size of its payload.
    pub(crate) fn parse_begin(body: &'a [u8]) -> Result<(PayloadEvent<'a>, Option<u64>), DecodeError> {
        let mut fields = Fields::new(kind::TRANSACTION_PAYLOAD, body);
        let (mut size, mut compression, mut uncompressed_size) = (None, None, None);
        loop {
            let field = fields.lenenc("field type")?;
            if field == END {
                break;
            }
            let mut value = Fields::new(kind::TRANSACTION_PAYLOAD, fields.prefixed("field")?);
            match field {
                PAYLOAD_SIZE => size = Some(value.lenenc("payload size")?),
                COMPRESSION => {
                    compression = Some(match value.lenenc("compression")? {
                        0 => Compression::Zstd,
                        255 => Compression::None,
                        other => return Err(value.undefined("compression", other)),
                    });
                }
                UNCOMPRESSED_SIZE => uncompressed_size = Some(value.lenenc("uncompressed size")?),
                // Later fields say nothing that is needed to read the payload: MySQL passes over them too.
                _ => {
                    value.take_rest();
                }
            }
            value.end()?;
        }
        let payload = fields.take_rest();
        let compression = compression.ok_or_else(|| fields.truncated("compression"))?;
        Ok((PayloadEvent { compression, uncompressed_size, payload }, size))
    }
}
