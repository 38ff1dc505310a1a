//! MariaDB's own events: GTID, GTID_LIST, START_ENCRYPTION.
//!
//! Source: MariaDB documentation, "GTID_EVENT", "GTID_LIST_EVENT", "START_ENCRYPTION_EVENT"; `sql/log_event.{h,cc}`.

use super::error::DecodeError;
use super::group::XaXid;
use super::read::Fields;
use super::{Header, kind};
use crate::gtid::MariaGtid;

/// The group has no end of its own.
const STANDALONE: u8 = 0x01;
/// There is a group commit number.
const GROUP_COMMIT: u8 = 0x02;
/// Everything in it can be rolled back.
#[cfg(test)]
const TRANSACTIONAL: u8 = 0x04;
/// `XA PREPARE` ends it.
const PREPARED_XA: u8 = 0x40;
/// It is the `XA COMMIT` or `XA ROLLBACK` of a prepared one.
const COMPLETED_XA: u8 = 0x80;

/// Second flags: more than one engine.
const MULTI_ENGINE: u8 = 0x01;
const START_ALTER: u8 = 0x02;
const COMMIT_ALTER: u8 = 0x04;
const ROLLBACK_ALTER: u8 = 0x08;
/// Second flags: the connection's number follows (11.x).
const THREAD_ID: u8 = 0x10;
const KNOWN_EXTRA: u8 = MULTI_ENGINE | START_ALTER | COMMIT_ALTER | ROLLBACK_ALTER | THREAD_ID;

/// Step of an `ALTER TABLE` that is logged when it begins and when it ends (`binlog_alter_two_phase`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AlterPhase {
    /// It begins; nothing has changed yet.
    Start,
    /// It is done.
    Commit {
        /// Sequence number of its begin.
        start: u64,
    },
    /// It failed.
    Rollback {
        /// Sequence number of its begin.
        start: u64,
    },
}

/// GTID of MariaDB: begins a group of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MariaGtidEvent<'a> {
    /// The transaction.
    pub(crate) gtid: MariaGtid,
    /// Flags; besides those with a method here 0x08 says that it may run beside others, 0x10 that it waited for a lock,
    /// 0x20 that it has DDL, 0x80 that it is the `XA COMMIT` or `XA ROLLBACK` of a prepared transaction.
    pub(crate) flags: u8,
    /// Number of its group commit.
    pub(crate) commit_id: Option<u64>,
    /// Which XA transaction it prepares or completes.
    pub(crate) xid: Option<XaXid<'a>>,
    /// Second flags, 0 when there are none.
    pub(crate) extra_flags: u8,
    /// Step of a two-phase `ALTER TABLE`.
    pub(crate) alter: Option<AlterPhase>,
    /// Connection, where servers tell it.
    pub(crate) thread_id: Option<u32>,
}

impl<'a> MariaGtidEvent<'a> {
    /// Whether the group is the next statement alone (MY-3C).
    pub(crate) fn is_standalone(&self) -> bool {
        self.flags & STANDALONE != 0
    }

    /// Whether everything in the group can be rolled back.
    #[cfg(test)]
    pub(crate) fn is_transactional(&self) -> bool {
        self.flags & TRANSACTIONAL != 0
    }

    /// Whether it ends with `XA PREPARE`, so that its rows do not count yet (MY-33).
    pub(crate) fn prepares_xa(&self) -> bool {
        self.flags & PREPARED_XA != 0
    }

    /// Sequence 8, domain 4, flags 1; then as flags say: group commit 8, xid 6 and its parts, second flags 1 and what
    /// they say; zeros up to 19 bytes.
    pub(super) fn parse(header: &Header, body: &'a [u8]) -> Result<MariaGtidEvent<'a>, DecodeError> {
        let mut fields = Fields::new(kind::MARIA_GTID, body);
        let sequence = fields.u64("sequence number")?;
        let domain = fields.u32("domain")?;
        let flags = fields.u8("flags")?;
        let commit_id = if flags & GROUP_COMMIT != 0 { Some(fields.u64("group commit")?) } else { None };
        let xid = match flags & (PREPARED_XA | COMPLETED_XA) {
            0 => None,
            _ => {
                let format = fields.u32("format of the xid")?;
                let global = fields.u8("gtrid length")?;
                let branch = fields.u8("bqual length")?;
                Some(XaXid::parts(&mut fields, format, u32::from(global), u32::from(branch))?)
            }
        };
        let extra_flags = if fields.rest.is_empty() { 0 } else { fields.u8("second flags")? };
        if extra_flags & !KNOWN_EXTRA != 0 {
            return Err(fields.undefined("second flags", u64::from(extra_flags)));
        }
        if extra_flags & MULTI_ENGINE != 0 {
            fields.u8("engines")?;
        }
        let alter = match extra_flags & (START_ALTER | COMMIT_ALTER | ROLLBACK_ALTER) {
            0 => None,
            START_ALTER => Some(AlterPhase::Start),
            COMMIT_ALTER => Some(AlterPhase::Commit { start: fields.u64("begin of the alter")? }),
            ROLLBACK_ALTER => Some(AlterPhase::Rollback { start: fields.u64("begin of the alter")? }),
            other => return Err(fields.undefined("second flags", u64::from(other))),
        };
        let thread_id = if extra_flags & THREAD_ID != 0 { Some(fields.u32("connection")?) } else { None };
        if let Some(byte) = fields.rest.iter().find(|byte| **byte != 0) {
            return Err(fields.undefined("padding", u64::from(*byte)));
        }
        let gtid = MariaGtid { domain, server: header.server_id, sequence };
        Ok(MariaGtidEvent { gtid, flags, commit_id, xid, extra_flags, alter, thread_id })
    }
}

/// GTID_LIST: the positions before the file, or where a connection begins (artificial). A domain may come several times,
/// once for each server; the last one is its position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MariaGtidList<'a> {
    /// Top four bits of the count: 1 when an `UNTIL` condition was reached, 2 when the list only moves positions on.
    pub(crate) flags: u8,
    entries: &'a [[u8; 16]],
}

impl<'a> MariaGtidList<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<MariaGtidList<'a>, DecodeError> {
        let mut fields = Fields::new(kind::MARIA_GTID_LIST, body);
        let head = fields.u32("count")?;
        let count = (head & 0x0fff_ffff) as usize;
        let length = count.checked_mul(16).ok_or_else(|| fields.truncated("list"))?;
        let (entries, _) = fields.bytes(length, "list")?.as_chunks::<16>();
        // An empty list is filled up to the post-header's six bytes.
        if let Some(byte) = fields.rest.iter().find(|byte| **byte != 0) {
            return Err(fields.undefined("padding", u64::from(*byte)));
        }
        Ok(MariaGtidList { flags: (head >> 28) as u8, entries })
    }

    /// The transactions in the list.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = MariaGtid> {
        self.entries.iter().map(|entry| {
            let [a, b, c, d, e, f, g, h, sequence @ ..] = *entry;
            MariaGtid {
                domain: u32::from_le_bytes([a, b, c, d]),
                server: u32::from_le_bytes([e, f, g, h]),
                sequence: u64::from_le_bytes(sequence),
            }
        })
    }
}

/// START_ENCRYPTION.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StartEncryption<'a> {
    /// Scheme; 1 is the only one.
    pub(crate) scheme: u8,
    /// Version of the key.
    pub(crate) key_version: u32,
    /// Nonce, 12 bytes.
    pub(crate) nonce: &'a [u8],
}

impl<'a> StartEncryption<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<StartEncryption<'a>, DecodeError> {
        let mut fields = Fields::new(kind::START_ENCRYPTION, body);
        let scheme = fields.u8("scheme")?;
        let key_version = fields.u32("key version")?;
        let nonce = fields.bytes(12, "nonce")?;
        fields.end()?;
        Ok(StartEncryption { scheme, key_version, nonce })
    }
}
