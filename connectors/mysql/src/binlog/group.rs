//! Begin and end of MySQL's transactions: GTID, ANONYMOUS_GTID, XA_PREPARE.
//!
//! Source: MySQL `libs/mysql/binlog/event/control_events.{h,cpp}`, `Gtid_event`, `XA_prepare_event`.

use super::error::DecodeError;
use super::kind;
use super::read::Fields;
use crate::gtid::Gtid;

/// Bit of [`GtidEvent::flags`]: there may be statements in statement format.
#[cfg(test)]
const MAY_HAVE_STATEMENTS: u8 = 1;

/// Mark of the two logical clocks.
const LOGICAL_CLOCK: u8 = 2;
/// Top bit of a time of seven bytes: a second one follows.
const TWO_TIMES: u64 = 1 << 55;
/// Top bit of a version: a second one follows.
const TWO_VERSIONS: u32 = 1 << 31;

/// GTID, GTID_TAGGED and ANONYMOUS_GTID. What older servers do not write is `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GtidEvent {
    /// The transaction; number 0 when it is anonymous.
    pub(crate) gtid: Gtid,
    /// Flags, of which one is known: see [`GtidEvent::may_have_statements`].
    pub(crate) flags: u8,
    /// `(last_committed, sequence_number)` within the file.
    pub(crate) logical_clock: Option<(i64, i64)>,
    /// Commit on the server whose log this is, microseconds since 1970.
    pub(crate) immediate_commit: Option<u64>,
    /// Commit on the server where the transaction began, microseconds since 1970. 0 when that server did not tell.
    pub(crate) original_commit: Option<u64>,
    /// Bytes of the transaction in the log, this event included. Of a compressed one, as it is in the log.
    pub(crate) transaction_length: Option<u64>,
    /// Version of the server whose log this is, as 80031.
    pub(crate) immediate_version: Option<u32>,
    /// Version of the server where the transaction began.
    pub(crate) original_version: Option<u32>,
    /// Group commit ticket, of group replication.
    pub(crate) ticket: Option<u64>,
}

impl GtidEvent {
    /// Whether the transaction may hold statements in statement format: DDL does. Versions before 5.7.19 and 8.0.2 always
    /// say so.
    #[cfg(test)]
    pub(crate) fn may_have_statements(&self) -> bool {
        self.flags & MAY_HAVE_STATEMENTS != 0
    }

    /// The event of fixed places: flags 1, source 16, number 8, then as far as the server writes: mark 1, clocks 8+8,
    /// times 7 or 14, transaction length, versions 4 or 8, ticket 8.
    pub(super) fn parse(kind: u8, body: &[u8]) -> Result<GtidEvent, DecodeError> {
        let mut fields = Fields::new(kind, body);
        let flags = fields.u8("flags")?;
        let sid = fields.chunk::<16>("source")?;
        let number = fields.u64("number")?;
        let valid = if kind == kind::GTID { (1..i64::MAX as u64).contains(&number) } else { number == 0 };
        if !valid {
            return Err(fields.undefined("number", number));
        }
        let mut event = GtidEvent {
            gtid: Gtid { sid, tag: None, number },
            flags,
            logical_clock: None,
            immediate_commit: None,
            original_commit: None,
            transaction_length: None,
            immediate_version: None,
            original_version: None,
            ticket: None,
        };
        // Servers before 5.7.5 write nothing, or another mark with what cannot be told.
        if fields.rest.first() == Some(&LOGICAL_CLOCK) {
            fields.u8("mark")?;
            event.logical_clock = Some((fields.u64("last committed")? as i64, fields.u64("sequence number")? as i64));
            event.parse_times(&mut fields)?;
        }
        Ok(event)
    }

    fn parse_times(&mut self, fields: &mut Fields<'_>) -> Result<(), DecodeError> {
        if fields.rest.is_empty() {
            return Ok(());
        }
        let immediate = fields.u56("commit time")?;
        self.immediate_commit = Some(immediate & !TWO_TIMES);
        self.original_commit =
            Some(if immediate & TWO_TIMES == 0 { immediate } else { fields.u56("original commit time")? });
        if fields.rest.is_empty() {
            return Ok(());
        }
        self.transaction_length = Some(fields.lenenc("transaction length")?);
        if fields.rest.is_empty() {
            return Ok(());
        }
        let immediate = fields.u32("server version")?;
        self.immediate_version = Some(immediate & !TWO_VERSIONS);
        self.original_version =
            Some(if immediate & TWO_VERSIONS == 0 { immediate } else { fields.u32("original server version")? });
        if !fields.rest.is_empty() {
            self.ticket = Some(fields.u64("commit group ticket")?);
        }
        Ok(())
    }
}

/// Identifier of an XA transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct XaXid<'a> {
    /// `formatID`.
    pub(crate) format: u32,
    /// `gtrid`, 1 to 64 bytes.
    pub(crate) global: &'a [u8],
    /// `bqual`, 0 to 64 bytes.
    pub(crate) branch: &'a [u8],
}

/// Most bytes of either part.
const XID_PART: u64 = 64;

impl<'a> XaXid<'a> {
    /// The two parts behind their lengths, which have been read.
    pub(super) fn parts(
        fields: &mut Fields<'a>,
        format: u32,
        global: u32,
        branch: u32,
    ) -> Result<XaXid<'a>, DecodeError> {
        for length in [global, branch] {
            if u64::from(length) > XID_PART {
                return Err(fields.undefined("length of a part of the xid", u64::from(length)));
            }
        }
        let global = fields.bytes(global as usize, "gtrid")?;
        Ok(XaXid { format, global, branch: fields.bytes(branch as usize, "bqual")? })
    }
}

/// XA_PREPARE: ends the rows of an XA transaction. Whether they count is told by a later `XA COMMIT` or `XA ROLLBACK`
/// with an identifier of its own, unless it commits in one phase (MY-33).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct XaPrepare<'a> {
    /// Whether it commits right here.
    pub(crate) one_phase: bool,
    /// Which transaction.
    pub(crate) xid: XaXid<'a>,
}

impl<'a> XaPrepare<'a> {
    pub(super) fn parse(body: &'a [u8]) -> Result<XaPrepare<'a>, DecodeError> {
        let mut fields = Fields::new(kind::XA_PREPARE, body);
        let one_phase = match fields.u8("phase")? {
            0 => false,
            1 => true,
            other => return Err(fields.undefined("phase", u64::from(other))),
        };
        let format = fields.u32("format of the xid")?;
        let global = fields.u32("gtrid length")?;
        let branch = fields.u32("bqual length")?;
        let xid = XaXid::parts(&mut fields, format, global, branch)?;
        fields.end()?;
        Ok(XaPrepare { one_phase, xid })
    }
}
