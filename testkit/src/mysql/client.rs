//! A blocking session with MySQL or MariaDB in which every value is text, for tests and for the oracle. It speaks the text
//! protocol itself, so that nothing that the daemon uses can hide a fault of the daemon. It logs in without a password
//! and without TLS.
//!
//! Protocol: "Client/Server Protocol" of the MySQL source documentation.

mod packet;

use super::MysqlVersion;
use anyhow::{Context, Result, anyhow, bail};
use packet::Reader;
pub(super) use packet::Session;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One session.
#[derive(Clone, Debug)]
pub struct Client {
    session: Arc<Mutex<Session>>,
}

/// A row as text; `None` is null.
pub type Row = Vec<Option<String>>;

const COM_QUERY: u8 = 3;
/// Of the status flags: another result follows.
const MORE_RESULTS: u16 = 8;

/// What one statement gave.
#[derive(Debug, Default)]
struct Outcome {
    touched: u64,
    rows: Vec<Row>,
}

impl Client {
    /// Connects to a port of this machine as a user without a password, in a database or, when that is empty, in none.
    pub fn connect(port: u16, user: &str, database: &str) -> Result<Client> {
        let session = Session::open(port, user, database).context("connect to MySQL")?;
        Ok(Client { session: Arc::new(Mutex::new(session)) })
    }

    /// Runs one or more statements; the rows touched by the last one. The first that the server refuses ends it.
    pub fn execute(&self, sql: &str) -> Result<u64> {
        Ok(self.run(sql)?.touched)
    }

    /// The rows of a query, or of several.
    pub fn rows(&self, sql: &str) -> Result<Vec<Row>> {
        Ok(self.run(sql)?.rows)
    }

    /// The one value of a query of one row and one column, not null.
    pub fn value(&self, sql: &str) -> Result<String> {
        match self.rows(sql)?.as_slice() {
            [row] => match row.as_slice() {
                [Some(value)] => Ok(value.clone()),
                other => bail!("`{sql}` gave {other:?} instead of one value"),
            },
            rows => bail!("`{sql}` gave {} rows instead of one", rows.len()),
        }
    }

    /// The newest place of the log: file and offset.
    pub fn log_place(&self, version: MysqlVersion) -> Result<(String, u64)> {
        // Renamed in MySQL 8.2, and the old name is gone from 8.4.
        let ask = if version == MysqlVersion::MySql97 { "SHOW BINARY LOG STATUS" } else { "SHOW MASTER STATUS" };
        match self.rows(ask)?.as_slice() {
            [row] => match row.as_slice() {
                [Some(file), Some(offset), ..] => Ok((file.clone(), offset.parse().context("an offset")?)),
                other => bail!("{ask} answered {other:?}"),
            },
            _ => bail!("the server has no binary log"),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, sql: &str) -> Result<Outcome> {
        let mut session = self.lock();
        let shorten = || format!("run `{}`", sql.chars().take(300).collect::<String>());
        session.command(&[&[COM_QUERY], sql.as_bytes()].concat()).with_context(shorten)?;
        results(&mut session).with_context(shorten)
    }
}

fn results(session: &mut Session) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    loop {
        let first = session.read()?;
        let more = match first.first() {
            Some(0) => {
                let mut reader = Reader::new(first.get(1..).unwrap_or_default());
                outcome.touched = reader.length()?.context("null where a number should be")?;
                reader.length()?;
                reader.u16()?
            }
            Some(0xff) => return Err(server_error(&first)),
            Some(0xfb) => bail!("the server asks for a file"),
            Some(_) => {
                let columns = Reader::new(&first).length()?.context("null where a number should be")?;
                rows(session, columns, &mut outcome.rows)?
            }
            None => bail!("an empty packet"),
        };
        if more & MORE_RESULTS == 0 {
            return Ok(outcome);
        }
    }
}

/// The rows of one result; the status flags at its end.
fn rows(session: &mut Session, columns: u64, rows: &mut Vec<Row>) -> Result<u16> {
    for _ in 0..columns {
        session.read()?;
    }
    end(&session.read()?)?.context("no end of the columns")?;
    loop {
        let packet = session.read()?;
        if let Some(flags) = end(&packet)? {
            return Ok(flags);
        }
        let mut reader = Reader::new(&packet);
        let mut row = Row::new();
        for _ in 0..columns {
            let value = reader.text()?.map(|bytes| String::from_utf8(bytes.to_vec()));
            row.push(value.transpose().context("a value that is no text: ask for its HEX()")?);
        }
        rows.push(row);
    }
}

/// The flags of an EOF packet; an error packet is an error.
fn end(packet: &[u8]) -> Result<Option<u16>> {
    match packet {
        [0xfe, _, _, low, high] => Ok(Some(u16::from_le_bytes([*low, *high]))),
        [0xff, ..] => Err(server_error(packet)),
        _ => Ok(None),
    }
}

/// What the server said no with.
#[derive(Debug)]
pub(crate) struct ServerError {
    /// "Server Error Message Reference" of the manual.
    pub(crate) number: u16,
    /// State and text.
    text: String,
}

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "error {}: {}", self.number, self.text)
    }
}

impl std::error::Error for ServerError {}

/// Number, state and text of an error packet.
pub(super) fn server_error(packet: &[u8]) -> anyhow::Error {
    match packet {
        [_, low, high, rest @ ..] => {
            let text = String::from_utf8_lossy(rest).trim_start_matches('#').to_owned();
            ServerError { number: u16::from_le_bytes([*low, *high]), text }.into()
        }
        _ => anyhow!("an error without a number"),
    }
}
