//! Reads the binary log of MySQL and MariaDB out of bytes that stay where they are. Owns the layout of events and
//! nothing else: no socket, no catalog, no meaning of a value.
//!
//! The way of an event: [`split`] checks its frame and checksum, [`parse`] reads its fields. Rows stay bytes:
//! [`TableMap`] says what is in them, [`ImageHeader`] which columns follow, and [`skip_value`] how long each is.
//! The events of a compressed transaction, once decompressed, go the same way with [`Format::inner`]. MariaDB's compressed events are opened with an [`Inflater`].
//!
//! Layouts: MySQL source, `libs/mysql/binlog/event/*.h`; MariaDB source, `sql/log_event.h`; MariaDB documentation,
//! "Replication Protocol". What is not known is refused, unless the server says that it may be ignored (MY-14).

mod compressed;
mod control;
mod error;
#[cfg(test)]
pub(crate) mod file;
mod format;
mod group;
pub(crate) mod kind;
mod maria;
mod metadata;
mod payload;
mod query;
mod read;
mod rows;
mod table_map;
mod tagged;
mod value;
mod variable;

pub(crate) use compressed::Inflater;
pub(crate) use control::{HeartbeatEvent, Incident, ViewChange};
pub(crate) use error::DecodeError;
pub(crate) use format::{CHECKSUM_LENGTH, Checksum, Format, HEADER_LENGTH};
pub(crate) use group::{GtidEvent, XaPrepare};
pub(crate) use maria::{AlterPhase, MariaGtidEvent, MariaGtidList, StartEncryption};
pub(crate) use metadata::Metadata;
pub(crate) use payload::{Compression, PayloadEvent};
pub(crate) use query::QueryEvent;
pub(crate) use rows::{Bitmap, ImageHeader, RowsEvent, RowsKind, count_rows_in};
pub(crate) use table_map::{TableMap, TableMapEvent, WireColumn};
pub(crate) use value::skip_value;
pub(crate) use variable::{IntVar, UserVar};

use read::Fields;

/// Flag of FORMAT_DESCRIPTION: the file has not been closed. Not part of the checksum.
pub(crate) const FLAG_IN_USE: u16 = 0x1;
/// Flag: made up by the dump thread, in no file.
pub(crate) const FLAG_ARTIFICIAL: u16 = 0x20;
/// Flag: a replica that does not know the type may go on without it.
pub(crate) const FLAG_IGNORABLE: u16 = 0x80;

/// The common header of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// When the statement began, seconds since 1970. 0 in artificial events. No order may be read from it (MY-12).
    pub(crate) timestamp: u32,
    /// Type; see [`kind`].
    pub(crate) kind: u8,
    /// Server that wrote it first.
    pub(crate) server_id: u32,
    /// Length of the event with header and checksum.
    pub(crate) length: u32,
    /// Where the next event begins, modulo 2^32 (MY-10). 0 in artificial events, and in MariaDB from 11.4 on in events
    /// that went through a transaction's cache (MY-11).
    pub(crate) log_pos: u32,
    /// Flags, of which `FLAG_` constants name some.
    pub(crate) flags: u16,
}

impl Header {
    /// Reads the first 19 bytes of an event.
    #[inline]
    pub(crate) fn read(bytes: &[u8]) -> Result<Header, DecodeError> {
        let kind = bytes.get(4).copied().unwrap_or(kind::UNKNOWN);
        let mut fields = Fields::new(kind, bytes);
        Ok(Header {
            timestamp: fields.u32("header")?,
            kind: fields.u8("header")?,
            server_id: fields.u32("header")?,
            length: fields.u32("header")?,
            log_pos: fields.u32("header")?,
            flags: fields.u16("header")?,
        })
    }

    /// Whether the dump thread made it up.
    #[inline]
    pub(crate) fn is_artificial(&self) -> bool {
        self.flags & FLAG_ARTIFICIAL != 0
    }
}

/// An event whose frame has been checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawEvent<'a> {
    /// Its header.
    pub(crate) header: Header,
    /// What follows, without checksum. That of a FORMAT_DESCRIPTION still ends with the checksum's room.
    pub(crate) body: &'a [u8],
}

/// Takes one event, which `bytes` must hold exactly, into header and body, and verifies its checksum (MY-28).
///
/// FORMAT_DESCRIPTION says itself whether it has a checksum worth checking. An artificial ROTATE may come before it:
/// MySQL ends that with a checksum if checksums were asked for, MariaDB does not, so that before the first
/// FORMAT_DESCRIPTION a checksum is what fits as one.
#[inline]
pub(crate) fn split<'a>(bytes: &'a [u8], format: &Format) -> Result<RawEvent<'a>, DecodeError> {
    let header = Header::read(bytes)?;
    if header.length as usize != bytes.len() {
        return Err(DecodeError::Length {
            kind: header.kind,
            stated: u64::from(header.length),
            found: bytes.len() as u64,
        });
    }
    if header.kind == kind::FORMAT_DESCRIPTION {
        return split_description(header, bytes);
    }
    let (checked, start) = match (format.checksum, header.kind) {
        (Checksum::None, _) => (bytes, format.header_length()),
        (Checksum::Crc32, _) => (checked(bytes, header.kind)?, format.header_length()),
        (Checksum::Unknown, kind::ROTATE) => (checked(bytes, header.kind).unwrap_or(bytes), HEADER_LENGTH),
        (Checksum::Unknown, kind) => {
            return Err(DecodeError::Unsupported { kind, reason: "no FORMAT_DESCRIPTION came before it" });
        }
    };
    let body = checked.get(start..).ok_or(DecodeError::Truncated { kind: header.kind, field: "header" })?;
    Ok(RawEvent { header, body })
}

/// The event without its CRC32, which must fit.
#[inline]
fn checked(bytes: &[u8], kind: u8) -> Result<&[u8], DecodeError> {
    let Some((event, stated)) = bytes.split_last_chunk::<CHECKSUM_LENGTH>() else {
        return Err(DecodeError::Truncated { kind, field: "checksum" });
    };
    let stated = u32::from_le_bytes(*stated);
    let found = crc32fast::hash(event);
    if found == stated { Ok(event) } else { Err(DecodeError::Checksum { kind, stated, found }) }
}

/// FORMAT_DESCRIPTION always has the room of a checksum. The server clears the flag that says that the file is open
/// before it reckons, and does not reckon anew what it changes for us when checksums are off.
fn split_description(header: Header, bytes: &[u8]) -> Result<RawEvent<'_>, DecodeError> {
    let kind = header.kind;
    let Some((head, body)) = bytes.split_at_checked(HEADER_LENGTH) else {
        return Err(DecodeError::Truncated { kind, field: "header" });
    };
    let format = Format::parse(body)?;
    if format.checksum == Checksum::Crc32
        && let Some((covered, stated)) = body.split_last_chunk::<CHECKSUM_LENGTH>()
        && let Some((before, _)) = head.split_last_chunk::<2>()
    {
        let stated = u32::from_le_bytes(*stated);
        let mut hasher = crc32fast::Hasher::new();
        hasher.update(before);
        hasher.update(&(header.flags & !FLAG_IN_USE).to_le_bytes());
        hasher.update(covered);
        let found = hasher.finalize();
        if found != stated {
            return Err(DecodeError::Checksum { kind, stated, found });
        }
    }
    Ok(RawEvent { header, body })
}

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event<'a> {
    /// The layout of what follows.
    FormatDescription(Format),
    /// The log goes on in another file; artificial at the begin of a connection and of every file sent.
    Rotate {
        /// Where the next event is in that file.
        position: u64,
        /// Name of the file without folder.
        file: &'a [u8],
    },
    /// A transaction of MySQL begins, tagged or not.
    Gtid(GtidEvent),
    /// A transaction of MySQL without identifier begins.
    AnonymousGtid(GtidEvent),
    /// Transactions in the files before this one: for `GtidSet::decode`.
    PreviousGtids(&'a [u8]),
    /// A statement: DDL, `BEGIN`, `COMMIT`, `XA …`, or DML in statement format.
    Query(QueryEvent<'a>),
    /// [`Event::Query`] of MariaDB whose statement is compressed: open it with [`Inflater::inflate`].
    CompressedQuery(QueryEvent<'a>),
    /// A transaction commits; its number in the engine.
    Xid(u64),
    /// An XA transaction is prepared, or commits in one phase.
    XaPrepare(XaPrepare<'a>),
    /// The shape of a table, before rows that use it.
    TableMap(TableMapEvent<'a>),
    /// Rows.
    Rows(RowsEvent<'a>),
    /// A compressed transaction.
    Payload(PayloadEvent<'a>),
    /// The statement behind the rows that follow (MySQL, `binlog_rows_query_log_events`).
    RowsQuery(&'a [u8]),
    /// The server lives and has sent all it has.
    Heartbeat(HeartbeatEvent<'a>),
    /// The log may lack transactions (MY-37).
    Incident(Incident<'a>),
    /// The server was shut down.
    Stop,
    /// A transaction or a statement of its own of MariaDB begins.
    MariaGtid(MariaGtidEvent<'a>),
    /// Positions of MariaDB before this file, or where a connection begins.
    MariaGtidList(MariaGtidList<'a>),
    /// Oldest file that recovery of MariaDB needs.
    BinlogCheckpoint(&'a [u8]),
    /// The statement behind the rows that follow (MariaDB, `binlog_annotate_row_events`).
    AnnotateRows(&'a [u8]),
    /// The rest of the file is encrypted; a server decrypts before it sends.
    StartEncryption(StartEncryption<'a>),
    /// `LAST_INSERT_ID` or `INSERT_ID` of the statement that follows.
    IntVar(IntVar),
    /// Seeds of `RAND()` of the statement that follows.
    Rand {
        /// First seed.
        first: u64,
        /// Second seed.
        second: u64,
    },
    /// A user variable of the statement that follows.
    UserVar(UserVar<'a>),
    /// `LOAD DATA` in statement format, and its file's blocks: the type.
    LoadData(u8),
    /// Group replication: what a transaction was checked against.
    TransactionContext,
    /// Group replication: a member came or went.
    ViewChange(ViewChange<'a>),
    /// A type that is not known and that may be ignored, says the server.
    Ignored(u8),
}

/// Reads the fields of an event. Does not read rows, values, statements and what is compressed.
#[inline]
pub(crate) fn parse<'a>(raw: &RawEvent<'a>, format: &Format) -> Result<Event<'a>, DecodeError> {
    let RawEvent { header, body } = *raw;
    match header.kind {
        kind::WRITE_ROWS_V1..=kind::DELETE_ROWS_V1
        | kind::WRITE_ROWS..=kind::DELETE_ROWS
        | kind::PARTIAL_UPDATE_ROWS
        | kind::WRITE_ROWS_COMPRESSED_V1..=kind::DELETE_ROWS_COMPRESSED => {
            RowsEvent::parse(header.kind, body, format).map(Event::Rows)
        }
        kind::TABLE_MAP => TableMapEvent::parse(body, format).map(Event::TableMap),
        kind::XID => parse_xid(body, format).map(Event::Xid),
        kind::QUERY => QueryEvent::parse(header.kind, body, format).map(Event::Query),
        kind::QUERY_COMPRESSED => QueryEvent::parse(header.kind, body, format).map(Event::CompressedQuery),
        kind::GTID => GtidEvent::parse(header.kind, body).map(Event::Gtid),
        kind::ANONYMOUS_GTID => GtidEvent::parse(header.kind, body).map(Event::AnonymousGtid),
        kind::GTID_TAGGED => tagged::parse(body).map(Event::Gtid),
        kind::MARIA_GTID => MariaGtidEvent::parse(&header, body).map(Event::MariaGtid),
        _ => parse_rare(&header, body, format),
    }
}

fn parse_rare<'a>(header: &Header, body: &'a [u8], format: &Format) -> Result<Event<'a>, DecodeError> {
    let kind = header.kind;
    Ok(match kind {
        kind::FORMAT_DESCRIPTION => Event::FormatDescription(Format::parse(body)?),
        kind::ROTATE => control::rotate(body, format)?,
        kind::STOP => Event::Stop,
        kind::HEARTBEAT => Event::Heartbeat(HeartbeatEvent::parse(header, body)?),
        kind::HEARTBEAT_V2 => Event::Heartbeat(HeartbeatEvent::parse_v2(body)?),
        kind::PREVIOUS_GTIDS => Event::PreviousGtids(body),
        kind::ROWS_QUERY => Event::RowsQuery(control::rows_query(body)?),
        kind::XA_PREPARE => Event::XaPrepare(XaPrepare::parse(body)?),
        kind::TRANSACTION_PAYLOAD => Event::Payload(PayloadEvent::parse(body)?),
        kind::INCIDENT => Event::Incident(Incident::parse(body)?),
        kind::TRANSACTION_CONTEXT => Event::TransactionContext,
        kind::VIEW_CHANGE => Event::ViewChange(ViewChange::parse(body)?),
        kind::MARIA_GTID_LIST => Event::MariaGtidList(MariaGtidList::parse(body)?),
        kind::BINLOG_CHECKPOINT => Event::BinlogCheckpoint(control::checkpoint(body)?),
        kind::ANNOTATE_ROWS => Event::AnnotateRows(body),
        kind::START_ENCRYPTION => Event::StartEncryption(StartEncryption::parse(body)?),
        kind::INTVAR => Event::IntVar(IntVar::parse(body)?),
        kind::RAND => variable::rand(body)?,
        kind::USER_VAR => Event::UserVar(UserVar::parse(body)?),
        kind::LOAD
        | kind::NEW_LOAD
        | kind::CREATE_FILE
        | kind::APPEND_BLOCK
        | kind::EXEC_LOAD
        | kind::DELETE_FILE
        | kind::BEGIN_LOAD_QUERY
        | kind::EXECUTE_LOAD_QUERY => Event::LoadData(kind),
        kind::START_V3 | kind::SLAVE | kind::WRITE_ROWS_V0..=kind::DELETE_ROWS_V0 => {
            return Err(DecodeError::Unsupported { kind, reason: "no server since MySQL 5.1 writes it" });
        }
        kind::PARTIAL_ROW_DATA => {
            return Err(DecodeError::Unsupported {
                kind,
                reason: "rows that are cut into several events cannot be put together yet",
            });
        }
        // MySQL's placeholder for what may be ignored, and whatever has the flag.
        kind::IGNORABLE => Event::Ignored(kind),
        kind if header.flags & FLAG_IGNORABLE != 0 => Event::Ignored(kind),
        kind => return Err(DecodeError::UnknownEvent { kind }),
    })
}

fn parse_xid(body: &[u8], format: &Format) -> Result<u64, DecodeError> {
    let mut fields = Fields::new(kind::XID, body);
    fields.bytes(format.post_header(kind::XID).unwrap_or(0), "post-header")?;
    let xid = fields.u64("transaction number")?;
    fields.end()?;
    Ok(xid)
}

#[cfg(test)]
pub(crate) mod tests;
