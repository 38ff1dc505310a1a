//! Our own connection to a server, for the log and for COPY: login, simple queries, copying out, and the two halves
//! of a replication stream. Control queries go through tokio-postgres instead (`control.rs`). Knows no tables.

mod dial;
mod login;

pub(crate) use dial::{Dialed, dial};
pub(crate) use login::{SessionKind, UNLIMITED, UNPINNED, overheard, session_options, unpinned};

use crate::config::{Host, Settings};
use crate::error::{connection_lost, protocol};
use crate::position::Lsn;
use crate::wire::frame::{Frame, FrameBuffer};
use crate::wire::message::{self, server_error};
use bytes::BytesMut;
use postgres_protocol::message::frontend;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;
use tidewire_core::{Error, Result};
use tidewire_tls::Stream;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};

/// Most rows of a simple query that are kept.
const ROWS_MAX: usize = 10_000;

/// What a message of the server means while a query runs.
#[derive(Debug)]
enum Answer {
    Row(Vec<Option<String>>),
    CopyStarts,
    CopyData,
    CopyDone,
    Ready,
    Nothing,
}

/// A session.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: Stream,
    frames: FrameBuffer,
    out: BytesMut,
    server_version: u32,
    /// Whether the database takes any bytes for text.
    unchecked_text: bool,
}

/// A row of a simple query: its values as text.
pub(crate) type Row = Vec<Option<String>>;

impl Connection {
    /// Connects and logs in.
    pub(crate) async fn open(settings: &Settings, host: &Host, kind: SessionKind) -> Result<Connection> {
        let attempt = async {
            let dialed = dial(settings, host).await?;
            login::login(dialed, settings, kind).await
        };
        let limit = settings.connect_timeout;
        let mut connection = tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| {
            Err(Error::retry("connect_timeout", format!("`{host}` does not answer within {} s", limit.as_secs())))
        })?;
        connection.query("set up the session", UNLIMITED).await?;
        let differing = connection.query("check the session's settings", UNPINNED).await?;
        if let Some(name) = differing.first().and_then(|row| row.first()?.as_deref()) {
            return Err(unpinned(name));
        }
        if connection.unchecked_text {
            // With UTF-8 the server would refuse a value that is none without saying whose it is; so we see it.
            connection.query("set up the session", "SET client_encoding = 'SQL_ASCII'").await?;
        }
        Ok(connection)
    }

    /// As `server_version_num` shows it: 150004 for 15.4.
    pub(crate) fn server_version(&self) -> u32 {
        self.server_version
    }

    /// Runs a simple query and returns its rows. `act` says what it is for. Not to be dropped in the middle.
    pub(crate) async fn query(&mut self, act: &'static str, sql: &str) -> Result<Vec<Row>> {
        self.send_query(act, sql).await?;
        let mut rows = Vec::new();
        let mut failure = None;
        loop {
            match self.answer(act).await {
                Ok(Answer::Row(row)) if rows.len() < ROWS_MAX => rows.push(row),
                Ok(Answer::Row(_)) => return Err(protocol(format!("{act}: more than {ROWS_MAX} rows"))),
                Ok(Answer::Ready) => return failure.map_or(Ok(rows), Err),
                Ok(Answer::Nothing | Answer::CopyData | Answer::CopyDone) => {}
                Ok(Answer::CopyStarts) => return Err(protocol(format!("{act}: a copy was not expected"))),
                // The server says that it is ready again after an error, unless the session is over.
                Err(error) if error.kind() == tidewire_core::ErrorKind::Retry && error.code() == "connection_lost" => {
                    return Err(failure.unwrap_or(error));
                }
                Err(error) if failure.is_none() => failure = Some(error),
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts a `COPY ... TO STDOUT`.
    pub(crate) async fn copy_out(&mut self, act: &'static str, sql: &str) -> Result<()> {
        self.send_query(act, sql).await?;
        loop {
            match self.answer(act).await? {
                Answer::CopyStarts => return Ok(()),
                Answer::Nothing => {}
                _ => return Err(protocol(format!("{act}: the server does not start to copy"))),
            }
        }
    }

    /// Hands every piece of copied data that has arrived to `take`, until the copy ends (`false`), nothing more has
    /// arrived, or `take` asks for a pause. Waits for the first piece. Dropping the future loses nothing.
    pub(crate) async fn copy_data(
        &mut self,
        act: &'static str,
        mut take: impl FnMut(&[u8]) -> Result<Take>,
    ) -> Result<bool> {
        let mut taken = false;
        loop {
            match self.frames.next_frame().map_err(|cause| protocol(cause.to_string()))? {
                Some(Frame { tag: b'd', body }) => {
                    taken = true;
                    if take(body)? == Take::Pause {
                        return Ok(true);
                    }
                }
                Some(frame) => match interpret(act, frame)? {
                    Answer::Ready => return Ok(false),
                    _ => continue,
                },
                None if taken => return Ok(true),
                None => read(&mut self.stream, &mut self.frames, act).await?,
            }
        }
    }

    /// Sends START_REPLICATION and parts the session in a reading and a writing half.
    pub(crate) async fn start_replication(mut self, sql: &str) -> Result<(LogReader, WriteHalf<Stream>)> {
        let act = "start replication";
        self.send_query(act, sql).await?;
        while !matches!(self.answer(act).await.map_err(of_start)?, Answer::CopyStarts) {}
        let (read, write) = tokio::io::split(self.stream);
        Ok((LogReader { stream: read, frames: self.frames }, write))
    }

    /// Says goodbye; the server frees what the session holds at once instead of when it notices.
    pub(crate) async fn close(mut self) {
        self.out.clear();
        frontend::terminate(&mut self.out);
        // The session is over either way.
        let goodbye = async {
            if self.stream.write_all(&self.out).await.is_ok() {
                self.stream.shutdown().await.ok();
            }
        };
        tokio::time::timeout(Duration::from_secs(1), goodbye).await.ok();
    }

    async fn send_query(&mut self, act: &'static str, sql: &str) -> Result<()> {
        self.out.clear();
        frontend::query(sql, &mut self.out).map_err(|cause| Error::bug("query_text", act).with_cause(cause))?;
        self.send(act).await
    }

    async fn send(&mut self, act: &'static str) -> Result<()> {
        let sent = self.stream.write_all(&self.out).await;
        self.out.clear();
        sent.map_err(|cause| connection_lost(act, cause))?;
        self.stream.flush().await.map_err(|cause| connection_lost(act, cause))
    }

    async fn answer(&mut self, act: &'static str) -> Result<Answer> {
        loop {
            if let Some(frame) = self.frames.next_frame().map_err(|cause| protocol(cause.to_string()))? {
                return interpret(act, frame);
            }
            read(&mut self.stream, &mut self.frames, act).await?;
        }
    }
}

/// A slot that was there when it was looked at and is not when it is to be used has been dropped in between. The next opening says so
/// by its own words, with what the sinks need of it (PG-01).
fn of_start(error: Error) -> Error {
    match error.code() {
        "object_missing" => Error::retry("slot_vanished", "the slot was dropped a moment ago").with_cause(error),
        _ => error,
    }
}

/// Whether a taker of copied data wants more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Take {
    /// Go on.
    More,
    /// Stop here for now.
    Pause,
}

/// The reading half of a replication stream.
#[derive(Debug)]
pub(crate) struct LogReader {
    stream: ReadHalf<Stream>,
    frames: FrameBuffer,
}

impl LogReader {
    /// The next frame that has been read already.
    pub(crate) fn next_frame(&mut self) -> Result<Option<Frame<'_>>> {
        self.frames.next_frame().map_err(|cause| protocol(cause.to_string()))
    }

    /// Waits for more bytes. Dropping the future loses nothing.
    pub(crate) async fn read(&mut self) -> Result<()> {
        read(&mut self.stream, &mut self.frames, "read the log").await
    }

    /// Reads what has arrived, without waiting; says whether that was anything.
    pub(crate) async fn read_ready(&mut self) -> Result<bool> {
        let LogReader { stream, frames } = self;
        let ready = poll_fn(|context| {
            let mut space = ReadBuf::new(frames.spare());
            match Pin::new(&mut *stream).poll_read(context, &mut space) {
                Poll::Ready(done) => Poll::Ready(Some(done.map(|()| space.filled().len()))),
                Poll::Pending => Poll::Ready(None),
            }
        });
        match ready.await {
            None => Ok(false),
            Some(done) => accept(frames, done, "read the log").map(|()| true),
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), frames: &mut FrameBuffer, act: &'static str) -> Result<()> {
    let done = poll_fn(|context| {
        let mut space = ReadBuf::new(frames.spare());
        Pin::new(&mut *stream).poll_read(context, &mut space).map(|done| done.map(|()| space.filled().len()))
    });
    let done = done.await;
    accept(frames, done, act)
}

fn accept(frames: &mut FrameBuffer, done: std::io::Result<usize>, act: &'static str) -> Result<()> {
    match done {
        Ok(0) => Err(connection_lost(act, std::io::ErrorKind::UnexpectedEof.into())),
        Ok(count) => {
            frames.filled(count);
            Ok(())
        }
        Err(cause) => Err(connection_lost(act, cause)),
    }
}

fn interpret(act: &'static str, frame: Frame<'_>) -> Result<Answer> {
    Ok(match frame.tag {
        b'D' => Answer::Row(message::data_row(frame.body).map_err(|cause| protocol(cause.to_string()))?),
        b'H' | b'W' => Answer::CopyStarts,
        b'd' => Answer::CopyData,
        b'c' => Answer::CopyDone,
        b'Z' => Answer::Ready,
        b'E' => return Err(server_error(frame.body).into_error(act)),
        // Row description, command completion, notices, parameters, notifications, an empty query.
        b'T' | b'C' | b'N' | b'S' | b'A' | b'I' => Answer::Nothing,
        other => return Err(protocol(format!("{act}: message kind {other:#04x} was not expected"))),
    })
}

/// What `IDENTIFY_SYSTEM` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SystemIdentity {
    /// Cluster and timeline.
    pub(crate) identity: crate::position::ServerIdentity,
    /// End of the log that is flushed.
    pub(crate) flushed: Lsn,
}

/// Asks a replication session who the server is.
pub(crate) async fn identify(connection: &mut Connection) -> Result<SystemIdentity> {
    let rows = connection.query("identify the server", "IDENTIFY_SYSTEM").await?;
    let identity = rows.first().and_then(|row| {
        let text = |index: usize| row.get(index)?.as_deref();
        Some(SystemIdentity {
            identity: crate::position::ServerIdentity {
                system_id: text(0)?.parse().ok()?,
                timeline: text(1)?.parse().ok()?,
            },
            flushed: text(2)?.parse().ok()?,
        })
    });
    identity.ok_or_else(|| protocol("the answer to IDENTIFY_SYSTEM cannot be read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::ErrorKind;

    #[test]
    fn a_slot_that_goes_before_it_is_used_is_looked_at_again_pg_01() {
        let answer = |code: &str| {
            let body = format!("SERROR\0C{code}\0Mreplication slot \"s\" does not exist\0\0");
            interpret("start replication", Frame { tag: b'E', body: body.as_bytes() }).err().map(of_start)
        };
        let found = ["42704", "42501"].map(|code| answer(code).map(|error| (error.kind(), error.code())));
        assert_eq!(
            found,
            [Some((ErrorKind::Retry, "slot_vanished")), Some((ErrorKind::Operator, "permission_denied"))]
        );
    }
}
