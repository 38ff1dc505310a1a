//! Numbers and names of event types.
//!
//! MySQL: `libs/mysql/binlog/event/binlog_event.h`, `Log_event_type`; MariaDB: `sql/log_event.h`, `Log_event_type`.
//! Both count alike up to 26 and part ways from 160 on.

use std::fmt;

pub(crate) const UNKNOWN: u8 = 0;
pub(crate) const START_V3: u8 = 1;
pub(crate) const QUERY: u8 = 2;
pub(crate) const STOP: u8 = 3;
pub(crate) const ROTATE: u8 = 4;
pub(crate) const INTVAR: u8 = 5;
pub(crate) const LOAD: u8 = 6;
pub(crate) const SLAVE: u8 = 7;
pub(crate) const CREATE_FILE: u8 = 8;
pub(crate) const APPEND_BLOCK: u8 = 9;
pub(crate) const EXEC_LOAD: u8 = 10;
pub(crate) const DELETE_FILE: u8 = 11;
pub(crate) const NEW_LOAD: u8 = 12;
pub(crate) const RAND: u8 = 13;
pub(crate) const USER_VAR: u8 = 14;
pub(crate) const FORMAT_DESCRIPTION: u8 = 15;
pub(crate) const XID: u8 = 16;
pub(crate) const BEGIN_LOAD_QUERY: u8 = 17;
pub(crate) const EXECUTE_LOAD_QUERY: u8 = 18;
pub(crate) const TABLE_MAP: u8 = 19;
pub(crate) const WRITE_ROWS_V0: u8 = 20;
pub(crate) const UPDATE_ROWS_V0: u8 = 21;
pub(crate) const DELETE_ROWS_V0: u8 = 22;
pub(crate) const WRITE_ROWS_V1: u8 = 23;
pub(crate) const UPDATE_ROWS_V1: u8 = 24;
pub(crate) const DELETE_ROWS_V1: u8 = 25;
pub(crate) const INCIDENT: u8 = 26;
pub(crate) const HEARTBEAT: u8 = 27;
pub(crate) const IGNORABLE: u8 = 28;
pub(crate) const ROWS_QUERY: u8 = 29;
pub(crate) const WRITE_ROWS: u8 = 30;
pub(crate) const UPDATE_ROWS: u8 = 31;
pub(crate) const DELETE_ROWS: u8 = 32;
pub(crate) const GTID: u8 = 33;
pub(crate) const ANONYMOUS_GTID: u8 = 34;
pub(crate) const PREVIOUS_GTIDS: u8 = 35;
pub(crate) const TRANSACTION_CONTEXT: u8 = 36;
pub(crate) const VIEW_CHANGE: u8 = 37;
pub(crate) const XA_PREPARE: u8 = 38;
pub(crate) const PARTIAL_UPDATE_ROWS: u8 = 39;
pub(crate) const TRANSACTION_PAYLOAD: u8 = 40;
pub(crate) const HEARTBEAT_V2: u8 = 41;
pub(crate) const GTID_TAGGED: u8 = 42;
pub(crate) const ANNOTATE_ROWS: u8 = 160;
pub(crate) const BINLOG_CHECKPOINT: u8 = 161;
pub(crate) const MARIA_GTID: u8 = 162;
pub(crate) const MARIA_GTID_LIST: u8 = 163;
pub(crate) const START_ENCRYPTION: u8 = 164;
pub(crate) const QUERY_COMPRESSED: u8 = 165;
pub(crate) const WRITE_ROWS_COMPRESSED_V1: u8 = 166;
pub(crate) const UPDATE_ROWS_COMPRESSED_V1: u8 = 167;
pub(crate) const DELETE_ROWS_COMPRESSED_V1: u8 = 168;
pub(crate) const WRITE_ROWS_COMPRESSED: u8 = 169;
pub(crate) const UPDATE_ROWS_COMPRESSED: u8 = 170;
pub(crate) const DELETE_ROWS_COMPRESSED: u8 = 171;
pub(crate) const PARTIAL_ROW_DATA: u8 = 172;

/// First type that only MariaDB has.
pub(crate) const FIRST_OF_MARIADB: u8 = ANNOTATE_ROWS;

/// The server's name of a type.
pub(crate) fn name(kind: u8) -> Option<&'static str> {
    Some(match kind {
        START_V3 => "START_EVENT_V3",
        QUERY => "QUERY",
        STOP => "STOP",
        ROTATE => "ROTATE",
        INTVAR => "INTVAR",
        LOAD => "LOAD",
        SLAVE => "SLAVE",
        CREATE_FILE => "CREATE_FILE",
        APPEND_BLOCK => "APPEND_BLOCK",
        EXEC_LOAD => "EXEC_LOAD",
        DELETE_FILE => "DELETE_FILE",
        NEW_LOAD => "NEW_LOAD",
        RAND => "RAND",
        USER_VAR => "USER_VAR",
        FORMAT_DESCRIPTION => "FORMAT_DESCRIPTION",
        XID => "XID",
        BEGIN_LOAD_QUERY => "BEGIN_LOAD_QUERY",
        EXECUTE_LOAD_QUERY => "EXECUTE_LOAD_QUERY",
        TABLE_MAP => "TABLE_MAP",
        WRITE_ROWS_V0 => "WRITE_ROWS_V0",
        UPDATE_ROWS_V0 => "UPDATE_ROWS_V0",
        DELETE_ROWS_V0 => "DELETE_ROWS_V0",
        WRITE_ROWS_V1 => "WRITE_ROWS_V1",
        UPDATE_ROWS_V1 => "UPDATE_ROWS_V1",
        DELETE_ROWS_V1 => "DELETE_ROWS_V1",
        INCIDENT => "INCIDENT",
        HEARTBEAT => "HEARTBEAT",
        IGNORABLE => "IGNORABLE",
        ROWS_QUERY => "ROWS_QUERY",
        WRITE_ROWS => "WRITE_ROWS",
        UPDATE_ROWS => "UPDATE_ROWS",
        DELETE_ROWS => "DELETE_ROWS",
        GTID => "GTID",
        ANONYMOUS_GTID => "ANONYMOUS_GTID",
        PREVIOUS_GTIDS => "PREVIOUS_GTIDS",
        TRANSACTION_CONTEXT => "TRANSACTION_CONTEXT",
        VIEW_CHANGE => "VIEW_CHANGE",
        XA_PREPARE => "XA_PREPARE",
        PARTIAL_UPDATE_ROWS => "PARTIAL_UPDATE_ROWS",
        TRANSACTION_PAYLOAD => "TRANSACTION_PAYLOAD",
        HEARTBEAT_V2 => "HEARTBEAT_V2",
        GTID_TAGGED => "GTID_TAGGED",
        ANNOTATE_ROWS => "ANNOTATE_ROWS",
        BINLOG_CHECKPOINT => "BINLOG_CHECKPOINT",
        MARIA_GTID => "MARIADB_GTID",
        MARIA_GTID_LIST => "GTID_LIST",
        START_ENCRYPTION => "START_ENCRYPTION",
        QUERY_COMPRESSED => "QUERY_COMPRESSED",
        WRITE_ROWS_COMPRESSED_V1 => "WRITE_ROWS_COMPRESSED_V1",
        UPDATE_ROWS_COMPRESSED_V1 => "UPDATE_ROWS_COMPRESSED_V1",
        DELETE_ROWS_COMPRESSED_V1 => "DELETE_ROWS_COMPRESSED_V1",
        WRITE_ROWS_COMPRESSED => "WRITE_ROWS_COMPRESSED",
        UPDATE_ROWS_COMPRESSED => "UPDATE_ROWS_COMPRESSED",
        DELETE_ROWS_COMPRESSED => "DELETE_ROWS_COMPRESSED",
        PARTIAL_ROW_DATA => "PARTIAL_ROW_DATA",
        _ => return None,
    })
}

/// Shows a type by name and number, as errors do.
pub(crate) struct Named(pub(crate) u8);

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match name(self.0) {
            Some(name) => write!(f, "{name} ({})", self.0),
            None => write!(f, "type {}", self.0),
        }
    }
}
