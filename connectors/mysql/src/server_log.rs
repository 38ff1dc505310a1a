//! What the server's log holds now, read for the decision where to begin.

use crate::binlog::{Header, kind};
use crate::catalog::{self, text};
use crate::config::{Host, Settings};
use crate::connection::{Connection, DumpStart, LogPacket, Replica};
use crate::error::protocol;
use crate::model::Flavour;
use crate::plan::ServerLog;
use crate::snapshot::{domains, gtid_set};
use tidewire_core::{Error, Result};

const ACT: &str = "read what the log holds";
const BEGUN: &str = "a file of the log does not begin with its format";
/// Offset of a file's first event.
const FIRST_EVENT: u32 = 4;
/// How many events may come before that of the format.
const BEFORE_FORMAT: usize = 4;

/// The binary log's files and their sizes, from the oldest on.
pub(crate) async fn files(session: &mut Connection) -> Result<Vec<(String, u64)>> {
    let rows = session.query(ACT, "SHOW BINARY LOGS").await?;
    let file = |row: &crate::connection::Row| {
        let size = text(row, 1)?.parse().map_err(|_| protocol("the size of a log file cannot be read"))?;
        Ok((text(row, 0)?, size))
    };
    rows.iter().map(file).collect()
}

/// Whether MySQL has GTIDs for every transaction.
pub(crate) async fn gtid_mode_on(session: &mut Connection) -> Result<bool> {
    if session.version().flavour == Flavour::MariaDb {
        return Ok(true);
    }
    let rows = session.query(ACT, "SELECT @@global.gtid_mode").await?;
    let row = rows.first().ok_or_else(|| protocol("gtid_mode cannot be read"))?;
    Ok(text(row, 0)? == "ON")
}

/// Whether the log tells the names of columns.
pub(crate) async fn has_full_metadata(session: &mut Connection) -> Result<bool> {
    let rows = session.query(ACT, "SHOW GLOBAL VARIABLES LIKE 'binlog\\_row\\_metadata'").await?;
    Ok(rows.first().map(|row| text(row, 1)).transpose()?.is_some_and(|value| value.eq_ignore_ascii_case("FULL")))
}

/// When a file was begun, seconds since 1970: what its FORMAT_DESCRIPTION event says.
pub(crate) async fn begun(settings: &Settings, host: &Host, file: &str) -> Result<u32> {
    let session = Connection::open(settings, host).await?;
    let start = DumpStart::File { name: file, position: FIRST_EVENT };
    let mut log = session.start_dump(settings, start, Replica::Aside).await?;
    // A ROTATE that names the file comes first.
    for _ in 0..BEFORE_FORMAT {
        let event = loop {
            if let Some(packet) = log.next_packet()? {
                break match packet {
                    LogPacket::Event(event) => {
                        Header::read(event).map_err(|cause| protocol(BEGUN).with_cause(cause))?
                    }
                    LogPacket::Part { .. } => return Err(protocol(BEGUN)),
                };
            }
            let read = tokio::time::timeout(settings.silence_limit(), log.read()).await;
            read.map_err(|_| Error::retry("server_silent", ACT))??;
        };
        if event.kind == kind::FORMAT_DESCRIPTION {
            return Ok(event.timestamp);
        }
    }
    Err(protocol(BEGUN))
}

/// All of it.
pub(crate) async fn read(session: &mut Connection) -> Result<ServerLog> {
    let flavour = session.version().flavour;
    let server = one(session, catalog::identity_query(flavour)).await?;
    let files = files(session).await?;
    let (mut sets, mut positions) = (None, None);
    match flavour {
        Flavour::MySql if gtid_mode_on(session).await? => {
            let executed = one(session, "SELECT @@global.gtid_executed").await?;
            let purged = one(session, "SELECT @@global.gtid_purged").await?;
            sets = Some((gtid_set(&executed)?, gtid_set(&purged)?));
        }
        Flavour::MySql => {}
        Flavour::MariaDb => {
            let end = one(session, "SELECT @@global.gtid_binlog_pos").await?;
            let oldest = files.first().map_or("", |(name, _)| name).replace(['\'', '\\'], "");
            // The place before the first event of the oldest file that is there.
            let rows = session.query(ACT, &format!("SELECT BINLOG_GTID_POS('{oldest}', 4)")).await?;
            let begin = rows
                .first()
                .and_then(|row| text(row, 0).ok())
                .ok_or_else(|| Error::retry("log_moving", "the oldest file of the log has just gone"))?;
            positions = Some((domains(&end)?, domains(&begin)?));
        }
    }
    Ok(ServerLog { flavour, server, files, sets, domains: positions })
}

async fn one(session: &mut Connection, sql: &str) -> Result<String> {
    let rows = session.query(ACT, sql).await?;
    text(rows.first().ok_or_else(|| protocol(format!("{ACT}: no answer")))?, 0)
}
