//! FORMAT_DESCRIPTION: how the events behind it are laid out, and whether they carry checksums.
//!
//! Source: MySQL `libs/mysql/binlog/event/control_events.h`, `Format_description_event`; MariaDB `sql/log_event.h`,
//! `Format_description_log_event`; MySQL Internals, "Event Structure".

use super::error::DecodeError;
use super::kind;
use super::read::Fields;
use crate::model::Flavour;

/// Bytes of the common header of every event of version 4.
pub(crate) const HEADER_LENGTH: usize = 19;
/// Bytes of a checksum.
pub(crate) const CHECKSUM_LENGTH: usize = 4;
/// Bytes of the server's version in the event, zero padded.
const VERSION_LENGTH: usize = 50;

/// Which checksum events end with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// None.
    None,
    /// Four bytes, the CRC32 of everything before them.
    Crc32,
    /// No FORMAT_DESCRIPTION has been seen: only that event and an artificial ROTATE may come.
    Unknown,
}

/// The layout in force. A file begins with one, a connection may send several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Format {
    /// Version of the server that wrote the file, `8.0.31` or `10.11.19-MariaDB-log`. Empty before the first event.
    pub(crate) server_version: Box<str>,
    /// Which kind of server that is, judged by version and number of event types.
    pub(crate) flavour: Flavour,
    /// Checksum of the events.
    pub(crate) checksum: Checksum,
    /// When the file was made, seconds since 1970; 0 when the server was not started for it.
    pub(crate) created: u32,
    header_length: usize,
    /// Length of the post-header by event type less one.
    lengths: Box<[u8]>,
}

impl Default for Format {
    fn default() -> Format {
        Format {
            server_version: Box::default(),
            flavour: Flavour::MySql,
            checksum: Checksum::Unknown,
            created: 0,
            header_length: HEADER_LENGTH,
            lengths: Box::default(),
        }
    }
}

impl Format {
    /// Bytes before the body of an event.
    #[inline]
    pub(crate) fn header_length(&self) -> usize {
        self.header_length
    }

    /// The layout of events inside a TRANSACTION_PAYLOAD: the same without checksums (MY-28).
    pub(crate) fn inner(&self) -> Format {
        Format { checksum: Checksum::None, ..self.clone() }
    }

    /// Length of the post-header of an event type; `None` when the server does not know the type.
    #[inline]
    pub(crate) fn post_header(&self, kind: u8) -> Option<usize> {
        self.lengths.get(usize::from(kind).checked_sub(1)?).map(|length| usize::from(*length))
    }

    /// Reads the body, of which a checksum has *not* been cut: this event says itself whether there is one.
    pub(crate) fn parse(body: &[u8]) -> Result<Format, DecodeError> {
        let mut fields = Fields::new(kind::FORMAT_DESCRIPTION, body);
        match fields.u16("binary log version")? {
            4 => {}
            other => return Err(fields.undefined("binary log version", u64::from(other))),
        }
        let version = fields.bytes(VERSION_LENGTH, "server version")?;
        let version = version.split(|byte| *byte == 0).next().unwrap_or_default();
        let version = fields.text(version, "server version")?;
        let created = fields.u32("time of creation")?;
        let header_length = usize::from(fields.u8("header length")?);
        if header_length < HEADER_LENGTH {
            return Err(fields.undefined("header length", header_length as u64));
        }
        if !has_checksum_field(version) {
            return Err(DecodeError::Unsupported {
                kind: kind::FORMAT_DESCRIPTION,
                reason: "the server is older than MySQL 5.6.1 or MariaDB 5.3, or its version cannot be read",
            });
        }
        let rest = fields.take_rest();
        let Some((lengths, tail)) =
            rest.split_last_chunk::<5>().map(|(lengths, [algorithm, ..])| (lengths, *algorithm))
        else {
            return Err(fields.truncated("checksum algorithm"));
        };
        let checksum = match tail {
            0 => Checksum::None,
            1 => Checksum::Crc32,
            other => return Err(fields.undefined("checksum algorithm", u64::from(other))),
        };
        let flavour = match version.contains("MariaDB") || lengths.len() >= usize::from(kind::FIRST_OF_MARIADB) {
            true => Flavour::MariaDb,
            false => Flavour::MySql,
        };
        Ok(Format {
            server_version: version.into(),
            flavour,
            checksum,
            created,
            header_length,
            lengths: lengths.into(),
        })
    }
}

/// Whether a server of this version ends the event with a checksum algorithm and the room of a checksum: MySQL from
/// 5.6.1 on, MariaDB from 5.3 on. Numbers alone decide, as in the servers.
fn has_checksum_field(version: &str) -> bool {
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut number = || numbers.next().and_then(Result::ok);
    let Some(major) = number() else { return false };
    let version_number = (major, number().unwrap_or(0), number().unwrap_or(0));
    version_number >= (5, 6, 1) || (version.contains("MariaDB") && version_number >= (5, 3, 0))
}
