//! What the server's log holds now, read for the decision where to begin.

use crate::catalog::{self, text};
use crate::connection::Connection;
use crate::error::protocol;
use crate::model::Flavour;
use crate::plan::ServerLog;
use crate::snapshot::{domains, gtid_set};
use tidewire_core::{Error, Result};

const ACT: &str = "read what the log holds";

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
