//! The log's stream: what a replica says before it, and the reader of its events. Knows nothing of what events mean.

use super::{Connection, read, read_ready, unreadable};
use crate::binlog::kind::TRANSACTION_PAYLOAD;
use crate::config::Settings;
use crate::error::protocol;
use crate::model::Flavour;
use crate::wire::answer::server_error;
use crate::wire::command;
use crate::wire::packet::{Part, Taken};
use crate::wire::reader::Reader;
use std::time::Duration;
use tidewire_core::{Error, Result};
use tidewire_tls::Stream;

const ACT: &str = "start to read the log";
const READ: &str = "read the log";
/// What sets our number apart from that of a second stream beside the first.
const ASIDE: u32 = 0x4000_0000;

/// Where the log is to be sent from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DumpStart<'a> {
    /// A place in a file, of either server.
    File {
        /// Its name.
        name: &'a str,
        /// Offset of an event.
        position: u32,
    },
    /// MySQL: everything that is not in a set of GTIDs, in its form for the protocol.
    MySqlGtids {
        /// The encoded set.
        encoded: &'a [u8],
    },
    /// MariaDB: everything after a place in each domain, as `0-1-100,1-2-50`.
    MariaDbGtids {
        /// Its text.
        state: &'a str,
    },
}

/// As whom the log is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replica {
    /// As the source's replica.
    Own,
    /// Beside it, for a short while, without being taken for it.
    Aside,
}

/// What comes out of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogPacket<'a> {
    /// An event, from its header to its checksum.
    Event(&'a [u8]),
    /// A part of a compressed transaction too long to be held; the first one begins with the event's header.
    Part {
        /// The bytes.
        bytes: &'a [u8],
        /// The event begins with it.
        first: bool,
        /// The event ends with it.
        last: bool,
    },
}

/// Status byte and header of an event, and the fields of a compressed transaction before its bytes.
const PEEK: usize = 1 + 19 + 64;
/// Where the type of an event is behind the status byte.
const KIND: usize = 1 + 4;

/// The log as it comes.
#[derive(Debug)]
pub(crate) struct LogReader {
    stream: Stream,
    reader: Reader,
}

impl Connection {
    /// Asks for the log from a place on; the session is then that of a replica and nothing else.
    pub(crate) async fn start_dump(
        mut self,
        settings: &Settings,
        start: DumpStart<'_>,
        replica: Replica,
    ) -> Result<LogReader> {
        self.agree_on_checksums().await?;
        for sql in replica_statements(self.version.flavour, settings, start, replica) {
            self.query(ACT, &sql).await?;
        }
        let server_id = match replica {
            Replica::Own => settings.server_id,
            Replica::Aside => settings.server_id ^ ASIDE,
        };
        if replica == Replica::Own {
            let name = settings.client_name();
            self.request(ACT, &command::register_replica(server_id, &name)).await?;
            self.answer(ACT).await?;
            self.unfinished = false;
        }
        let flags = match self.version.flavour {
            Flavour::MySql => 0,
            Flavour::MariaDb => command::SEND_ANNOTATE_ROWS,
        };
        let request = match start {
            DumpStart::File { name, position } => command::dump(position, flags, server_id, name),
            DumpStart::MySqlGtids { encoded } => command::dump_gtid(server_id, encoded)
                .ok_or_else(|| Error::bug("gtid_set_too_long", format!("{ACT}: {} bytes", encoded.len())))?,
            DumpStart::MariaDbGtids { .. } => command::dump(4, flags, server_id, ""),
        };
        self.request(ACT, &request).await?;
        Ok(LogReader { stream: self.stream, reader: self.reader })
    }

    /// Tells the server that we know its checksums, without which it would send none, or refuse (MY-28). Only CRC32
    /// exists; anything newer is refused here and not taken for damage later.
    async fn agree_on_checksums(&mut self) -> Result<()> {
        self.query(
            ACT,
            "SET @source_binlog_checksum = @@global.binlog_checksum, @master_binlog_checksum = @@global.binlog_checksum",
        )
        .await?;
        let rows = self.query(ACT, "SELECT @master_binlog_checksum").await?;
        match rows.first().and_then(|row| row.first()?.as_deref()) {
            Some(b"CRC32" | b"NONE") => Ok(()),
            other => {
                let shown = other.map(String::from_utf8_lossy).unwrap_or_default();
                Err(Error::operator("checksum_unsupported", format!("binlog_checksum is `{shown}`"))
                    .with_remedy("SET GLOBAL binlog_checksum = 'CRC32';"))
            }
        }
    }
}

/// What the server's dump thread reads from the session's variables. See `Binlog_sender::init` in MySQL and
/// `init_binlog_sender` in MariaDB. Semi-synchronous replication is never asked for, so that no event has its header
/// (MY-3A) and no commit waits for us.
fn replica_statements(flavour: Flavour, settings: &Settings, start: DumpStart<'_>, replica: Replica) -> Vec<String> {
    let heartbeat = nanoseconds(settings.heartbeat_interval);
    let mut statements =
        vec![format!("SET @master_heartbeat_period = {heartbeat}, @source_heartbeat_period = {heartbeat}")];
    match flavour {
        // A server that still holds a stream of ours ends it when it sees the UUID again (MY-57).
        Flavour::MySql if replica == Replica::Aside => {}
        Flavour::MySql => {
            let uuid = &settings.replica_uuid;
            statements.push(format!("SET @slave_uuid = '{uuid}', @replica_uuid = '{uuid}'"));
        }
        // 4: GTIDs. With less, the server writes dummies over events that it thinks we cannot read (MY-31).
        Flavour::MariaDb => statements.push("SET @mariadb_slave_capability = 4".to_owned()),
    }
    if let DumpStart::MariaDbGtids { state } = start {
        // A position has digits, dashes and commas, and nothing else may come into a statement from here.
        let state: String = state.chars().filter(|c| c.is_ascii_digit() || matches!(c, '-' | ',')).collect();
        statements.push(format!(
            "SET @slave_connect_state = '{state}', @slave_gtid_strict_mode = 0, @slave_gtid_ignore_duplicates = 0"
        ));
    }
    statements
}

/// The server takes 2^32 seconds at most, and 0 for "never".
fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).clamp(1_000_000, 4_294_967_000_000_000)
}

impl LogReader {
    /// The next event out of what has arrived, or the next part of one; `None` until more has been read.
    pub(crate) fn next_packet(&mut self) -> Result<Option<LogPacket<'_>>> {
        let long = |head: &[u8]| head.first() == Some(&0) && head.get(KIND) == Some(&TRANSACTION_PAYLOAD);
        let taken = self.reader.advance_in_parts(PEEK, long).map_err(|cause| unreadable(READ, cause))?;
        let Some(Taken { place, part }) = taken else { return Ok(None) };
        let message = self.reader.message(place);
        if let Some(Part { first, last }) = part {
            let bytes = if first { message.get(1..).unwrap_or_default() } else { message };
            return Ok(Some(LogPacket::Part { bytes, first, last }));
        }
        match message.split_first() {
            Some((0, event)) => Ok(Some(LogPacket::Event(event))),
            Some((0xFF, _)) => Err(server_error(message).into_error(READ)),
            // The server has nothing more to send: its dump thread was stopped.
            Some((0xFE, _)) if message.len() < 9 => {
                Err(Error::retry("connection_lost", format!("{READ}: the server ends the stream")))
            }
            _ => Err(protocol(format!("{READ}: a message that is no event"))),
        }
    }

    /// Waits until something has arrived. Dropping the future loses nothing.
    pub(crate) async fn read(&mut self) -> Result<()> {
        read(&mut self.stream, &mut self.reader, READ).await
    }

    /// Reads what has arrived, without waiting; says whether that was anything.
    pub(crate) async fn read_ready(&mut self) -> Result<bool> {
        read_ready(&mut self.stream, &mut self.reader, READ).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn my_0c_a_position_brings_nothing_else_into_a_statement() {
        let settings = crate::connection::testing::settings("mysql://cdc@127.0.0.1");
        let start = DumpStart::MariaDbGtids { state: "0-1-100,1-2-50'; DROP TABLE t; --" };
        let statements = replica_statements(Flavour::MariaDb, &settings, start, Replica::Own).join(";");
        assert!(statements.contains("@slave_connect_state = '0-1-100,1-2-50--'"), "{statements}");
        assert!(statements.contains("@mariadb_slave_capability = 4"));
        assert!(statements.contains("@master_heartbeat_period = 10000000000,"));
        assert!(!statements.contains("semi"), "MY-3A");
    }

    #[test]
    fn my_57_mysql_is_told_a_uuid_that_stays() {
        let settings = crate::connection::testing::settings("mysql://cdc@127.0.0.1");
        let start = DumpStart::MySqlGtids { encoded: &[0; 8] };
        let statements = replica_statements(Flavour::MySql, &settings, start, Replica::Own).join(";");
        assert!(statements.contains(&format!("@replica_uuid = '{}'", settings.replica_uuid)));
        assert_eq!(nanoseconds(Duration::from_secs(1 << 40)), 4_294_967_000_000_000);
    }
}
