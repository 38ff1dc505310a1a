//! The log as the server sends it to a replica, read and thrown away: what the line and the server alone take. No event is
//! looked into.

use super::client::{Client, Session};
use anyhow::{Context, Result, bail};

const COM_BINLOG_DUMP: u8 = 0x12;
/// Ends with an EOF packet at the end of the log instead of waiting for more.
const NON_BLOCK: u16 = 1;
/// Of the replica that we say we are.
const SERVER_ID: u32 = 4_000_000_001;

/// What was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// Events, those that the server makes up included.
    pub events: u64,
    /// Bytes of events.
    pub bytes: u64,
}

impl Dump {
    /// Reads the log from an offset of a file to its present end. The first event of a file is at 4.
    pub fn read(client: &Client, file: &str, offset: u32) -> Result<Dump> {
        client.execute(
            "SET @master_binlog_checksum = @@global.binlog_checksum; SET @mariadb_slave_capability = 4; \
             SET @source_binlog_checksum = @@global.binlog_checksum",
        )?;
        let mut session = client.lock();
        let mut request = vec![COM_BINLOG_DUMP];
        request.extend(offset.to_le_bytes());
        request.extend(NON_BLOCK.to_le_bytes());
        request.extend(SERVER_ID.to_le_bytes());
        request.extend(file.as_bytes());
        session.command(&request)?;
        Dump::drain(&mut session)
    }

    fn drain(session: &mut Session) -> Result<Dump> {
        let mut dump = Dump::default();
        let mut packet = Vec::new();
        loop {
            session.read_into(&mut packet).context("read the log")?;
            match packet.first() {
                Some(0) => {
                    dump.events += 1;
                    dump.bytes += packet.len() as u64 - 1;
                }
                Some(0xfe) if packet.len() < 9 => return Ok(dump),
                _ => bail!("the server ended the log: {}", String::from_utf8_lossy(&packet)),
            }
        }
    }
}
