//! QUERY and MariaDB's QUERY_COMPRESSED: a statement and what it was run under.
//!
//! Source: MySQL Internals, "QUERY_EVENT"; MySQL `libs/mysql/binlog/event/statement_events.h`, `Query_event`; MariaDB
//! `sql/log_event.{h,cc}`, `Query_log_event`.

use super::Format;
use super::error::DecodeError;
use super::kind;
use super::read::Fields;

/// How MariaDB begins the comment that it puts in the place of an event (MY-31).
const DUMMY: &[u8] = b"# Dummy event replacing event type ";
/// Post-header: connection 4, seconds 4, length of the database 1, error 2, length of the variables 2.
const POST_HEADER: usize = 13;

/// A statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct QueryEvent<'a> {
    /// Connection that ran it.
    pub(crate) thread_id: u32,
    /// Seconds it took.
    pub(crate) execution_seconds: u32,
    /// Error it ended with, 0 without one (MY-54).
    pub(crate) error_code: u16,
    /// Default database, in UTF-8; empty without one.
    pub(crate) database: &'a [u8],
    /// What it was run under.
    pub(crate) status: StatusVariables<'a>,
    /// The statement, in the character set of the client: see [`StatusVariables::charset`]. Compressed in a
    /// QUERY_COMPRESSED.
    pub(crate) statement: &'a [u8],
}

/// Status variables; `None` is what the server did not write. They are not delimited: behind one that is not known
/// nothing more is read, which [`StatusVariables::unknown`] tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StatusVariables<'a> {
    /// `OPTION_` bits of the session: 0x4000 `sql_auto_is_null`, 0x80000 `autocommit` off, 0x4000000 no foreign key
    /// checks, 0x8000000 no unique checks.
    pub(crate) flags2: Option<u32>,
    /// `sql_mode`; bits differ between MySQL and MariaDB.
    pub(crate) sql_mode: Option<u64>,
    /// Catalog, always `std`.
    pub(crate) catalog: Option<&'a [u8]>,
    /// `auto_increment_increment` and `auto_increment_offset`.
    pub(crate) auto_increment: Option<(u16, u16)>,
    /// Collation ids of `character_set_client`, `collation_connection` and `collation_server`.
    pub(crate) charset: Option<[u16; 3]>,
    /// `time_zone`.
    pub(crate) time_zone: Option<&'a [u8]>,
    /// `lc_time_names`.
    pub(crate) lc_time_names: Option<u16>,
    /// Collation id of the default database.
    pub(crate) database_collation: Option<u16>,
    /// Tables of a multi-table update.
    pub(crate) table_map_for_update: Option<u64>,
    /// `DEFINER` of the statement: user and host.
    pub(crate) invoker: Option<(&'a [u8], &'a [u8])>,
    /// Databases it touches, as bytes of count and zero-ended names; empty when they are too many.
    pub(crate) updated_databases: Option<&'a [u8]>,
    /// Microseconds of the time in the header.
    pub(crate) microseconds: Option<u32>,
    /// `explicit_defaults_for_timestamp`.
    pub(crate) explicit_defaults_for_timestamp: Option<bool>,
    /// Transaction number of DDL: MySQL's and MariaDB's.
    pub(crate) ddl_xid: Option<u64>,
    /// `default_collation_for_utf8mb4`, collation id.
    pub(crate) default_collation_for_utf8mb4: Option<u16>,
    /// `sql_require_primary_key`.
    pub(crate) sql_require_primary_key: Option<bool>,
    /// `default_table_encryption`.
    pub(crate) default_table_encryption: Option<bool>,
    /// Second flags of MariaDB's GTID, and the begin of a two-phase `ALTER`.
    pub(crate) extra_flags: Option<(u8, Option<u64>)>,
    /// MariaDB's `character_set_collations`: pairs of the collation ids of a character set's default and of what it is
    /// replaced with, two bytes each.
    pub(crate) charset_collations: Option<&'a [u8]>,
    /// First code that is not known.
    pub(crate) unknown: Option<u8>,
}

impl<'a> QueryEvent<'a> {
    pub(super) fn parse(kind: u8, body: &'a [u8], format: &Format) -> Result<QueryEvent<'a>, DecodeError> {
        let mut fields = Fields::new(kind, body);
        let thread_id = fields.u32("connection")?;
        let execution_seconds = fields.u32("execution time")?;
        let database_length = fields.u8("length of the database")?;
        let error_code = fields.u16("error code")?;
        let status_length = fields.u16("length of the status variables")?;
        let post_header = format.post_header(kind).unwrap_or(POST_HEADER);
        let more = post_header
            .checked_sub(POST_HEADER)
            .ok_or_else(|| fields.undefined("post-header length", post_header as u64))?;
        fields.bytes(more, "post-header")?;
        let status = fields.bytes(usize::from(status_length), "status variables")?;
        let database = fields.bytes(usize::from(database_length), "database")?;
        match fields.u8("end of the database")? {
            0 => {}
            other => return Err(fields.undefined("end of the database", u64::from(other))),
        }
        let statement = fields.take_rest();
        let event = QueryEvent {
            thread_id,
            execution_seconds,
            error_code,
            database,
            status: StatusVariables::parse(kind, status)?,
            statement,
        };
        if kind == kind::QUERY && event.is_dummy(status) {
            let comment = String::from_utf8_lossy(statement).trim_end().to_owned();
            return Err(DecodeError::Dummy { comment });
        }
        Ok(event)
    }

    /// The comment may be cut to the room that the replaced event had. A real statement has status variables.
    fn is_dummy(&self, status: &[u8]) -> bool {
        let cut = self.thread_id == 0 && status.is_empty() && !self.statement.is_empty();
        self.statement.starts_with(DUMMY) || (cut && DUMMY.starts_with(self.statement))
    }
}

impl<'a> StatusVariables<'a> {
    fn parse(kind: u8, bytes: &'a [u8]) -> Result<StatusVariables<'a>, DecodeError> {
        let mut fields = Fields::new(kind, bytes);
        let mut status = StatusVariables::default();
        while !fields.rest.is_empty() {
            let code = fields.u8("status variable")?;
            if !status.read(code, &mut fields)? && !status.read_later(code, &mut fields)? {
                status.unknown = Some(code);
                break;
            }
        }
        Ok(status)
    }

    /// Variables up to MySQL 5.6, which both servers have; whether the code is one of them.
    fn read(&mut self, code: u8, fields: &mut Fields<'a>) -> Result<bool, DecodeError> {
        match code {
            0 => self.flags2 = Some(fields.u32("flags2")?),
            1 => self.sql_mode = Some(fields.u64("sql_mode")?),
            2 => {
                self.catalog = Some(short(fields, "catalog")?);
                fields.u8("end of the catalog")?;
            }
            3 => self.auto_increment = Some((fields.u16("auto_increment")?, fields.u16("auto_increment")?)),
            4 => self.charset = Some([fields.u16("charset")?, fields.u16("charset")?, fields.u16("charset")?]),
            5 => self.time_zone = Some(short(fields, "time_zone")?),
            6 => self.catalog = Some(short(fields, "catalog")?),
            7 => self.lc_time_names = Some(fields.u16("lc_time_names")?),
            8 => self.database_collation = Some(fields.u16("collation_database")?),
            9 => self.table_map_for_update = Some(fields.u64("table_map_for_update")?),
            10 => {
                fields.u32("master_data_written")?;
            }
            11 => self.invoker = Some((short(fields, "invoker")?, short(fields, "invoker")?)),
            12 => self.updated_databases = Some(databases(fields)?),
            13 => self.microseconds = Some(fields.u24("microseconds")?),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// MySQL's from 8.0 on, and those of MariaDB alone, from 128 on.
    fn read_later(&mut self, code: u8, fields: &mut Fields<'a>) -> Result<bool, DecodeError> {
        match code {
            16 => self.explicit_defaults_for_timestamp = Some(fields.u8("explicit_defaults_for_timestamp")? != 0),
            17 => self.ddl_xid = Some(fields.u64("xid of ddl")?),
            18 => self.default_collation_for_utf8mb4 = Some(fields.u16("default_collation_for_utf8mb4")?),
            19 => self.sql_require_primary_key = Some(fields.u8("sql_require_primary_key")? != 0),
            20 => self.default_table_encryption = Some(fields.u8("default_table_encryption")? != 0),
            128 => self.microseconds = Some(fields.u24("microseconds")?),
            129 => self.ddl_xid = Some(fields.u64("xid of ddl")?),
            130 => {
                // Commit and rollback of a two-phase `ALTER` name its begin.
                let flags = fields.u8("second flags")?;
                let start = if flags & 0x0c != 0 { Some(fields.u64("begin of the alter")?) } else { None };
                self.extra_flags = Some((flags, start));
            }
            131 => {
                let count = fields.u8("character_set_collations")?;
                self.charset_collations = Some(fields.bytes(usize::from(count) * 4, "character_set_collations")?);
            }
            // Fills what the server left room for.
            255 => {}
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// Bytes behind a length of one byte.
fn short<'a>(fields: &mut Fields<'a>, field: &'static str) -> Result<&'a [u8], DecodeError> {
    let length = fields.u8(field)?;
    fields.bytes(usize::from(length), field)
}

/// Count 1 and zero-ended names; a count of 254 means that there are more than 16 and none is named.
fn databases<'a>(fields: &mut Fields<'a>) -> Result<&'a [u8], DecodeError> {
    const TOO_MANY: u8 = 254;
    const FIELD: &str = "updated databases";
    let count = fields.u8(FIELD)?;
    if count == TOO_MANY {
        return Ok(&[]);
    }
    let mut length = 0;
    for _ in 0..count {
        let rest = fields.rest.get(length..).unwrap_or_default();
        length += memchr::memchr(0, rest).ok_or_else(|| fields.truncated(FIELD))? + 1;
    }
    fields.bytes(length, FIELD)
}
