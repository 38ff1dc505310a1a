//! Our own connection to a server, for the log, for snapshots, and for control queries where mysql_async cannot keep
//! what the configuration promises (`control.rs`): login, queries in text, prepared statements whose rows are handed
//! out as they lie in the buffer, and the log's stream. Knows no tables.

mod dial;
mod dump;
mod login;
mod prove;

pub(crate) use dump::{DumpStart, LogPacket, LogReader, Replica};
pub(crate) use login::supported;

use crate::config::{Host, Settings};
use crate::error::{connection_lost, protocol};
use crate::model::Flavour;
use crate::wire::answer::{self, AnswerError, QueryStart, ResultColumn};
use crate::wire::inflate;
use crate::wire::packet;
use crate::wire::reader::{ReadError, Reader};
use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tidewire_core::{Error, ErrorKind, Result};
use tidewire_tls::Stream;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};

/// Most rows of a query in text that are kept.
const ROWS_MAX: usize = 1_000_000;
/// Most bytes of the rows of a query in text that are kept.
const ROWS_BYTES_MAX: usize = 256 << 20;

/// A row of a query in text: its values, `None` for null.
pub(crate) type Row = Vec<Option<Vec<u8>>>;

/// A prepared statement.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    id: u32,
    parameters: usize,
}

/// Who answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerVersion {
    /// Which server it is.
    pub(crate) flavour: Flavour,
    /// 80031 for 8.0.31, 101106 for 10.11.6.
    pub(crate) number: u32,
    /// As the server words it.
    pub(crate) text: String,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    reader: Reader,
    out: Vec<u8>,
    version: ServerVersion,
    /// A request whose answer has not been read to its end: the session cannot be used for another.
    unfinished: bool,
}

impl Connection {
    /// Connects, logs in and sets the session up.
    pub(crate) async fn open(settings: &Settings, host: &Host) -> Result<Connection> {
        let attempt = async {
            let mut connection = login::login(settings, host).await?;
            let statements = session_statements(&connection.version, settings.lock_timeout);
            for sql in &statements {
                connection.query("set up the session", sql).await?;
            }
            Ok(connection)
        };
        let limit = settings.connect_timeout;
        tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| {
            Err(Error::retry("connect_timeout", format!("`{host}` does not answer within {} s", limit.as_secs())))
        })
    }

    /// Who answered.
    pub(crate) fn version(&self) -> &ServerVersion {
        &self.version
    }

    /// Whether others on the way cannot read along.
    pub(crate) fn is_private(&self) -> bool {
        !self.stream.can_be_overheard()
    }

    /// Runs a query and returns its rows as text; none for a statement that has no rows. `act` says what it is for. A
    /// future that is dropped in the middle makes the session unusable, which the next request tells.
    pub(crate) async fn query(&mut self, act: &'static str, sql: &str) -> Result<Vec<Row>> {
        self.query_named(act, sql).await.map(|(_, rows)| rows)
    }

    /// As [`Connection::query`], with the columns' names.
    pub(crate) async fn query_named(&mut self, act: &'static str, sql: &str) -> Result<(Vec<String>, Vec<Row>)> {
        self.request(act, &crate::wire::command::query(sql)).await?;
        let columns = self.result_columns(act).await?;
        let mut rows = Vec::new();
        let mut kept = 0;
        if !columns.is_empty() {
            while let Some(message) = self.next_row(act).await? {
                kept += message.len();
                if rows.len() == ROWS_MAX || kept > ROWS_BYTES_MAX {
                    return Err(protocol(format!("{act}: the answer has more rows than can be kept")));
                }
                rows.push(answer::text_row(message, columns.len()).map_err(|cause| misread(act, cause))?);
            }
        }
        Ok((columns.into_iter().map(|column| column.name).collect(), rows))
    }

    /// Prepares a statement; `?` stands for a parameter.
    pub(crate) async fn prepare(&mut self, act: &'static str, sql: &str) -> Result<Statement> {
        self.request(act, &crate::wire::command::prepare(sql)).await?;
        let message = self.answer(act).await?;
        let prepared = answer::prepared(message).map_err(|cause| misread(act, cause))?;
        for definitions in [prepared.parameters, prepared.columns] {
            if definitions > 0 {
                self.definitions(act, definitions).await?;
            }
        }
        self.unfinished = false;
        Ok(Statement { id: prepared.id, parameters: prepared.parameters })
    }

    /// Runs a prepared statement and returns the columns of its result; [`Connection::next_row`] hands out the rows.
    /// Parameters are texts in UTF-8, or null.
    pub(crate) async fn execute(
        &mut self,
        act: &'static str,
        statement: &Statement,
        parameters: &[Option<&[u8]>],
    ) -> Result<Vec<ResultColumn>> {
        if parameters.len() != statement.parameters {
            return Err(Error::bug("statement_parameters", format!("{act}: {} parameters", parameters.len())));
        }
        self.request(act, &crate::wire::command::execute(statement.id, parameters)).await?;
        self.result_columns(act).await
    }

    /// Lets go of a prepared statement.
    pub(crate) async fn close_statement(&mut self, act: &'static str, statement: Statement) -> Result<()> {
        self.request(act, &crate::wire::command::close_statement(statement.id)).await?;
        self.unfinished = false;
        Ok(())
    }

    /// The next row of a running statement, as it lies in the buffer; `None` after the last. Dropping the future loses
    /// nothing.
    pub(crate) async fn next_row(&mut self, act: &'static str) -> Result<Option<&[u8]>> {
        if !self.unfinished {
            return Ok(None);
        }
        let place = self.receive(act).await?;
        self.row_at(act, place)
    }

    /// As [`Connection::next_row`], of what has arrived: the outer `None` says that more must be waited for.
    pub(crate) fn ready_row(&mut self, act: &'static str) -> Result<Option<Option<&[u8]>>> {
        if !self.unfinished {
            return Ok(Some(None));
        }
        match self.reader.advance().map_err(|cause| unreadable(act, cause))? {
            Some(place) => self.row_at(act, place).map(Some),
            None => Ok(None),
        }
    }

    fn row_at(&mut self, act: &'static str, place: Range<usize>) -> Result<Option<&[u8]>> {
        let Connection { reader, unfinished, .. } = self;
        let message = reader.message(place);
        if answer::is_error(message) {
            *unfinished = false;
            return Err(answer::server_error(message).into_error(act));
        }
        if answer::is_end(message) {
            answer::check_last(message).map_err(|cause| misread(act, cause))?;
            *unfinished = false;
            return Ok(None);
        }
        Ok(Some(message))
    }

    /// Says goodbye; the server frees what the session holds at once instead of when it notices.
    pub(crate) async fn close(mut self) {
        self.reader.expect(0);
        self.frame(crate::wire::command::QUIT, 0);
        // The session is over either way.
        let goodbye = async {
            if self.stream.write_all(&self.out).await.is_ok() {
                self.stream.shutdown().await.ok();
            }
        };
        tokio::time::timeout(Duration::from_secs(1), goodbye).await.ok();
    }

    /// Reads the head of a result, down to its first row; no columns when there is no result.
    async fn result_columns(&mut self, act: &'static str) -> Result<Vec<ResultColumn>> {
        let message = self.answer(act).await?;
        match answer::query_start(message).map_err(|cause| misread(act, cause))? {
            QueryStart::Done => {
                self.unfinished = false;
                Ok(Vec::new())
            }
            QueryStart::Columns(count) => self.definitions(act, count).await,
        }
    }

    /// Reads so many definitions, and the mark after them.
    async fn definitions(&mut self, act: &'static str, count: usize) -> Result<Vec<ResultColumn>> {
        let mut columns = Vec::with_capacity(count);
        for _ in 0..count {
            let message = self.answer(act).await?;
            columns.push(answer::column(message).map_err(|cause| misread(act, cause))?);
        }
        match answer::is_end(self.answer(act).await?) {
            true => Ok(columns),
            false => Err(misread(act, AnswerError::Nonsense("the end of the definitions"))),
        }
    }

    /// Sends a request.
    async fn request(&mut self, act: &'static str, message: &[u8]) -> Result<()> {
        if self.unfinished || !self.reader.is_empty() {
            return Err(Error::retry("session_unfinished", format!("{act}: an earlier request was broken off")));
        }
        self.unfinished = true;
        let next = self.frame(message, 0);
        self.reader.expect(next);
        self.send(act).await
    }

    /// Puts a message into `out` in the session's framing; returns the number that the answer has.
    fn frame(&mut self, message: &[u8], sequence: u8) -> u8 {
        self.out.clear();
        let next = packet::frame(message, sequence, &mut self.out);
        if !self.reader.is_compressed() {
            return next;
        }
        let plain = std::mem::take(&mut self.out);
        inflate::wrap(&plain, sequence, &mut self.out)
    }

    async fn send(&mut self, act: &'static str) -> Result<()> {
        let sent = self.stream.write_all(&self.out).await;
        self.out.clear();
        sent.map_err(|cause| connection_lost(act, cause))?;
        self.stream.flush().await.map_err(|cause| connection_lost(act, cause))
    }

    /// The next message; an ERR packet ends the request.
    async fn answer(&mut self, act: &'static str) -> Result<&[u8]> {
        let place = self.receive(act).await?;
        let Connection { reader, unfinished, .. } = self;
        let message = reader.message(place);
        if answer::is_error(message) {
            *unfinished = false;
            return Err(answer::server_error(message).into_error(act));
        }
        Ok(message)
    }

    async fn receive(&mut self, act: &'static str) -> Result<Range<usize>> {
        loop {
            if let Some(place) = self.reader.advance().map_err(|cause| unreadable(act, cause))? {
                return Ok(place);
            }
            read(&mut self.stream, &mut self.reader, act).await?;
        }
    }
}

/// The first of the configured servers that lets us in, and a session with it. One that cannot be reached, or is full, is
/// passed over; one that refuses is not.
pub(crate) async fn open_any(settings: &Settings) -> Result<(Host, Connection)> {
    let mut failed = None;
    for host in &settings.hosts {
        match Connection::open(settings, host).await {
            Ok(connection) => return Ok((host.clone(), connection)),
            Err(error) if error.kind() == ErrorKind::Retry && settings.hosts.len() > 1 => {
                tracing::info!(%host, code = error.code(), "a server is passed over: {}", error.chain());
                failed = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Err(failed.unwrap_or_else(|| Error::bug("hosts_empty", "no server is configured")))
}

/// What every session must be like, whatever the server's defaults are: they shape values, words and limits. Grammar and
/// names are those of the oldest versions that are supported.
pub(crate) fn session_statements(version: &ServerVersion, lock_timeout: Duration) -> Vec<String> {
    let lock_seconds = lock_timeout.as_secs().max(1);
    let limit = match version.flavour {
        // A key that the server made itself is in the log: the catalog has to show it too (MY-47).
        Flavour::MySql if version.number >= 80_030 => {
            "max_execution_time = 0, show_gipk_in_create_table_and_information_schema = ON"
        }
        Flavour::MySql => "max_execution_time = 0",
        Flavour::MariaDb => "max_statement_time = 0",
    };
    vec![
        "SET NAMES utf8mb4".to_owned(),
        // No ANSI_QUOTES, no NO_BACKSLASH_ESCAPES, no PAD_CHAR_TO_FULL_LENGTH (MY-66); times as they lie in the log
        // (MY-64); a session that waits for its sinks is not ended (MY-5B).
        format!(
            "SET SESSION time_zone = '+00:00', sql_mode = '', sql_select_limit = DEFAULT, sql_quote_show_create = 1, \
             net_write_timeout = 3600, wait_timeout = 86400, lock_wait_timeout = {lock_seconds}, \
             innodb_lock_wait_timeout = {lock_seconds}, {limit}"
        ),
    ]
}

/// Waits for bytes. Dropping the future loses nothing.
async fn read(stream: &mut Stream, reader: &mut Reader, act: &'static str) -> Result<()> {
    let done = poll_fn(|context| {
        let mut space = ReadBuf::new(reader.spare());
        Pin::new(&mut *stream).poll_read(context, &mut space).map(|done| done.map(|()| space.filled().len()))
    });
    let done = done.await;
    accept(reader, done, act)
}

/// Takes what has arrived, without waiting; says whether that was anything.
async fn read_ready(stream: &mut Stream, reader: &mut Reader, act: &'static str) -> Result<bool> {
    let ready = poll_fn(|context| {
        let mut space = ReadBuf::new(reader.spare());
        match Pin::new(&mut *stream).poll_read(context, &mut space) {
            Poll::Ready(done) => Poll::Ready(Some(done.map(|()| space.filled().len()))),
            Poll::Pending => Poll::Ready(None),
        }
    });
    match ready.await {
        None => Ok(false),
        Some(done) => accept(reader, done, act).map(|()| true),
    }
}

fn accept(reader: &mut Reader, done: std::io::Result<usize>, act: &'static str) -> Result<()> {
    match done {
        Ok(0) => Err(connection_lost(act, std::io::ErrorKind::UnexpectedEof.into())),
        Ok(count) => {
            reader.filled(count);
            Ok(())
        }
        Err(cause) => Err(connection_lost(act, cause)),
    }
}

fn misread(act: &str, cause: AnswerError) -> Error {
    protocol(format!("{act}: {cause}"))
}

fn unreadable(act: &str, cause: ReadError) -> Error {
    if cause.is_too_long() {
        return Error::operator("row_too_large", format!("{act}: {cause}"))
            .with_remedy("leave the table with such rows out of `tables`");
    }
    // Damaged on the way, or out of step: a new connection may be sound.
    Error::retry("protocol_violation", format!("{act}: {cause}"))
}

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) mod testing {
    //! Settings for tests.

    use crate::config::{Config, Settings};
    use std::sync::Arc;
    use tidewire_core::secret::{Secret, SecretRef, SecretResolver};
    use tidewire_core::{SnapshotMode, SourceOptions};

    /// A key that nobody has the other half of.
    pub(crate) const RSA_PUBLIC_KEY: &str = "\
-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAspjSmliRxB0RSzTyVNnT
InnwTVX23ZyW9XyIzws5xvF4rLdp2qF2WDnfFEYhuD2lSLktenxyL3IqGHbzOI3f
mTbLIYaZk6JilJdjZd6nFFzXz/bWplyi5TAANrA7R2wDwyT8UGKl+muGecn9/HlX
B1on38ltIScfEoKgitEttRcEIbjGBC8Y2ggBnxpWm17po1YjdqBgL+Cs6yQWHeYK
K+98rrR48CT9WQIwHWJQbDpdHTV2+z73XNw/rtnARzko+0uAteuRz89LXndpGeMX
p7C+RVgbv8uILTdlzawn0zi1BqtOt2OnGn+1iZSb8R/im6klUHFG4EtYrJvswGIZ
HQIDAQAB
-----END PUBLIC KEY-----
";

    struct Inline;

    impl SecretResolver for Inline {
        fn resolve(&self, secret: &SecretRef) -> tidewire_core::Result<Secret> {
            match secret {
                SecretRef::Inline(secret) => Ok(secret.clone()),
                _ => Err(tidewire_core::Error::configuration("no_secret", "no secret here")),
            }
        }
    }

    /// From a URL and nothing else.
    pub(crate) fn settings(url: &str) -> Settings {
        let options = SourceOptions {
            name: Arc::from("shop"),
            tables: Vec::new(),
            snapshot: SnapshotMode::Initial,
            secrets: Arc::new(Inline),
        };
        let config: Config = serde_json::from_value(serde_json::json!({ "url": url })).unwrap();
        Settings::check(options, config).unwrap()
    }
}
