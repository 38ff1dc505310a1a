//! The log: one reader that walks frames in place, and one task that writes back (`stream/feedback.rs`).
//!
//! # Whole transactions, in commit order
//!
//! `proto_version '1'` on every server: it sends a transaction only after its commit, as one run of messages. A long
//! transaction is spooled by the server, on its own disk, and not by us; our memory stays flat whatever its size, and
//! a rollback costs us nothing. Streaming of open transactions (protocol 2 and later) would only move that spool to
//! our side.
//!
//! # When a batch is handed out
//!
//! When it is full, or when the socket has nothing more to give at this moment. A finished transaction is never held
//! back for a fuller batch. Only in the middle of a transaction, whose rest is on its way, a short wait saves a batch
//! that ends inside it.
//!
//! # Idle
//!
//! The server tells how far it has sent; with no transaction open and nothing pending all that commits before is known
//! to hold nothing for us. That place is handed out as an empty batch, so that the sinks record it before it is
//! acknowledged (PG-69, PG-6A, PG-74). After a snapshot such a batch comes at once.

mod feedback;
mod side;

pub(crate) use feedback::Feedback;

use crate::assemble::{Applied, Assembler};
use crate::catalog;
use crate::config::{Host, Settings};
use crate::connection::{Connection, LogReader, SessionKind};
use crate::error::{connection_lost, protocol};
use crate::joined::Joined;
use crate::metrics::SourceMetrics;
use crate::partitions::Partitions;
use crate::position::Lsn;
use crate::publication::{Publication, Watched, check_notice};
use crate::wire::message::server_error;
use crate::wire::pgoutput::RelationBody;
use crate::wire::replication::{self, Replication};
pub(crate) use feedback::now_micros;
use side::{Side, Watch};
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::{Batch, Error, Result, SnapshotMode, TableName};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Client;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Wait for the rest of a transaction that has begun to arrive.
const REST_OF_TRANSACTION: Duration = Duration::from_millis(10);
/// Longest silence of a server whose own timeout is off; it is asked for an answer much more often.
const SILENCE_MAX: Duration = Duration::from_secs(300);
/// Shortest pause between two places recorded because the server asked where we stand.
const ANSWER_PAUSE: Duration = Duration::from_secs(1);

/// What the log needs to start.
pub(crate) struct StreamStart {
    /// Settings of the source.
    pub(crate) settings: Arc<Settings>,
    /// The server.
    pub(crate) host: Host,
    /// First place.
    pub(crate) start: Lsn,
    /// Whether rows were read that are whole with this place.
    pub(crate) after_snapshot: bool,
    /// Puts changes together.
    pub(crate) assembler: Assembler,
    /// Shared with the acknowledger.
    pub(crate) feedback: Arc<Feedback>,
    /// Handles.
    pub(crate) metrics: SourceMetrics,
    /// Tables that were turned away.
    pub(crate) joined: Joined,
    /// The publication as it was when the tables were described.
    pub(crate) publication: Publication,
    /// What is kept of it.
    pub(crate) watched: Watched,
    /// Oids of the tables.
    pub(crate) tables: Arc<[u32]>,
    /// The partitions of the tables.
    pub(crate) partitions: Partitions,
}

/// The log as it runs.
pub(crate) struct LogStream {
    log: LogReader,
    assembler: Assembler,
    side: Side,
    feedback: Arc<Feedback>,
    metrics: SourceMetrics,
    /// What the assembler waits for; kept here so that a dropped future can be taken up again.
    asked_for: Option<Question>,
    /// Whether the log has moved on without changes since the last batch.
    moved: bool,
    /// Whether the server waits to hear that we have everything.
    asked: bool,
    handed_out: Instant,
    heard: Instant,
    silence_max: Duration,
    heartbeat: Duration,
    settings: Arc<Settings>,
    joined: Joined,
    /// Ends the writing task, and the watch, with the reader.
    _stop: DropGuard,
}

/// What must be known before a message can be applied.
struct Question {
    needs: Needs,
    since: std::time::Instant,
    /// The message and its place.
    wal_start: u64,
    payload: Vec<u8>,
}

enum Needs {
    /// A table's description.
    Table(RelationBody),
    /// Whether a partition is still narrower than its table.
    Leaves,
}

/// What has been read.
enum Step {
    /// A batch is due.
    Full,
    /// Nothing is left in the buffer.
    Drained,
}

impl LogStream {
    /// Connects, starts replication and spawns the writing task.
    pub(crate) async fn start(start: StreamStart) -> Result<LogStream> {
        let StreamStart {
            settings,
            host,
            start,
            after_snapshot,
            mut assembler,
            feedback,
            metrics,
            joined,
            publication,
            watched,
            tables,
            partitions,
        } = start;
        // All sessions at once: after a snapshot its sinks wait for this.
        let replication = async {
            let mut connection = Connection::open(&settings, &host, SessionKind::Replication).await?;
            let server_timeout = wal_sender_timeout(&mut connection).await?;
            Ok((connection, server_timeout))
        };
        let watch = Watch::prepare(Arc::clone(&settings), host.clone(), publication, watched, tables, partitions);
        let ((connection, server_timeout), watch) = tokio::try_join!(replication, watch)?;
        let sql = start_command(&settings, connection.server_version(), start);
        let messages = connection.server_version() >= 140_000;
        let (log, write) = connection.start_replication(&sql).await?;
        let stop = CancellationToken::new();
        // Each regular update asks how far the server has come: without that an idle place would stay unknown.
        let interval = settings.status_interval.min(settings.heartbeat_interval);
        let interval = server_timeout.map_or(interval, |limit| interval.min(limit / 3));
        tokio::spawn(feedback::run(Arc::clone(&feedback), write, interval, metrics.clone(), stop.clone()));
        let side = watch.start(messages, &stop);
        tracing::info!(slot = settings.slot, start = %start, "the log is being read");
        let now = Instant::now();
        // Sinks show what a snapshot has read once there is a place in the log for it, and that is known now. While the server
        // reads again what lies before the start, it tells of places there: none of them is ours.
        let moved = assembler.keepalive(start.0);
        let heartbeat = settings.heartbeat_interval;
        Ok(LogStream {
            log,
            assembler,
            side,
            feedback,
            metrics,
            asked_for: None,
            moved,
            asked: false,
            handed_out: if after_snapshot { now.checked_sub(heartbeat).unwrap_or(now) } else { now },
            heard: now,
            silence_max: server_timeout.map_or(SILENCE_MAX, |limit| limit * 2),
            heartbeat,
            settings,
            joined,
            _stop: stop.drop_guard(),
        })
    }

    /// The next batch. Dropping the future loses nothing.
    pub(crate) async fn next_batch(&mut self) -> Result<Batch> {
        loop {
            self.side.check()?;
            self.answer().await?;
            match self.decode()? {
                Step::Full => return Ok(self.hand_out()),
                Step::Drained if self.asked_for.is_some() => continue,
                Step::Drained => {}
            }
            if self.log.read_ready().await? {
                self.heard = Instant::now();
                continue;
            }
            let wait_until = match self.due() {
                Due::Now => return Ok(self.hand_out()),
                Due::At(time) => time,
            };
            match timeout_at(wait_until, self.log.read()).await {
                Ok(read) => {
                    read?;
                    self.heard = Instant::now();
                }
                Err(_) if self.assembler.has_changes() => return Ok(self.hand_out()),
                Err(_) => self.check_silence()?,
            }
        }
    }

    /// When a batch is due if nothing more is heard.
    fn due(&self) -> Due {
        let now = Instant::now();
        if self.assembler.has_changes() {
            return if self.assembler.in_transaction() { Due::At(now + REST_OF_TRANSACTION) } else { Due::Now };
        }
        let silence = self.heard + self.silence_max;
        if !self.moved || self.assembler.in_transaction() {
            return Due::At(silence.max(now));
        }
        let pause = if self.asked { ANSWER_PAUSE.min(self.heartbeat) } else { self.heartbeat };
        let record = self.handed_out + pause;
        if record <= now { Due::Now } else { Due::At(record.min(silence).max(now)) }
    }

    fn check_silence(&self) -> Result<()> {
        if self.heard.elapsed() < self.silence_max {
            return Ok(());
        }
        let seconds = self.silence_max.as_secs();
        Err(Error::retry("server_silent", format!("the server has said nothing for {seconds} s")))
    }

    /// Finds out what the assembler needs, and lets it go on with the message that it waits with.
    async fn answer(&mut self) -> Result<()> {
        while let Some(question) = &self.asked_for {
            match &question.needs {
                Needs::Table(relation) => {
                    let client = self.side.control().await?.client();
                    if !self.assembler.knows(relation.oid) {
                        turn_away(client, &self.settings, relation, &self.joined).await?;
                    }
                    let known = self.assembler.described(relation.oid);
                    let described = catalog::describe(client, relation, question.since, known.as_deref()).await?;
                    // A column that only left the publication looks like one that was dropped, and sinks would lose its
                    // values (PG-11).
                    if known.is_some_and(|known| known.has_lost(&described)) {
                        self.side.look().await?;
                    }
                    self.assembler.define(described)?;
                }
                // One that has been mended since logged such rows only until then, and they are known by what they lack.
                Needs::Leaves => self.side.look_at_leaves().await?,
            }
            if let Some(Question { wal_start, payload, .. }) = self.asked_for.take() {
                self.apply(wal_start, payload)?;
            }
        }
        Ok(())
    }

    /// Applies the message of a question again; there may be another.
    fn apply(&mut self, wal_start: u64, payload: Vec<u8>) -> Result<()> {
        if let Some(needs) = needs(self.assembler.apply(wal_start, &payload)?) {
            self.asked_for = Some(Question { needs, since: std::time::Instant::now(), wal_start, payload });
        }
        Ok(())
    }

    /// Decodes what is in the buffer. No row allocates here.
    fn decode(&mut self) -> Result<Step> {
        let mut bytes = 0;
        let step = loop {
            if self.assembler.is_full() {
                break Step::Full;
            }
            let Some(frame) = self.log.next_frame()? else { break Step::Drained };
            bytes += frame.body.len();
            match frame.tag {
                b'd' => match replication::parse(frame.body).map_err(|cause| protocol(cause.to_string()))? {
                    Replication::XLogData { wal_start, payload } => {
                        self.feedback.receive(Lsn(wal_start));
                        if side::is_heartbeat(payload) {
                            continue;
                        }
                        match self.assembler.apply(wal_start, payload)? {
                            Applied::Nothing | Applied::Changed => {}
                            Applied::TransactionEnd => self.moved = true,
                            other => {
                                let Some(needs) = needs(other) else { continue };
                                let (since, payload) = (std::time::Instant::now(), payload.to_vec());
                                self.asked_for = Some(Question { needs, since, wal_start, payload });
                                break Step::Drained;
                            }
                        }
                    }
                    Replication::Keepalive { wal_end, reply_requested } => {
                        self.feedback.receive(wal_end);
                        if reply_requested {
                            self.asked = true;
                            self.feedback.want_reply();
                        }
                        self.moved |= self.assembler.keepalive(wal_end.0);
                    }
                },
                b'E' => return Err(server_error(frame.body).into_error("read the log")),
                b'N' => check_notice(&server_error(frame.body))?,
                b'c' | b'C' | b'Z' => {
                    return Err(connection_lost("read the log", std::io::ErrorKind::UnexpectedEof.into()));
                }
                b'S' | b'A' => {}
                other => return Err(protocol(format!("message kind {other:#04x} was not expected in the log"))),
            }
        };
        if bytes > 0 {
            self.metrics.log_bytes.increment(bytes as u64);
        }
        Ok(step)
    }

    fn hand_out(&mut self) -> Batch {
        self.moved = false;
        self.asked = false;
        self.handed_out = Instant::now();
        self.metrics.log_batches.increment(1);
        self.assembler.finish(now_micros())
    }
}

/// What keeps a message from being applied.
fn needs(applied: Applied) -> Option<Needs> {
    match applied {
        Applied::NeedsCatalog(relation) => Some(Needs::Table(relation)),
        Applied::NarrowLeaf { leaf, table } => {
            tracing::debug!(leaf, %table, "a partition logs less of its old rows than the table's replica identity asks for");
            Some(Needs::Leaves)
        }
        Applied::Nothing | Applied::Changed | Applied::TransactionEnd => None,
    }
}

/// A table that nobody has read yet is not shipped from here on: the source is opened anew and reads it first, with the
/// rows that it had before. One that cannot be read then is shipped as it comes: the publication has lost it again, its
/// name of today is not captured, its rows are not wanted, or it was turned away once and nothing came of that.
async fn turn_away(client: &Client, settings: &Settings, relation: &RelationBody, joined: &Joined) -> Result<()> {
    let name = TableName::new(relation.namespace.as_str(), relation.name.as_str());
    if settings.snapshot == SnapshotMode::Initial {
        let now = catalog::published_name(client, &settings.publication, relation.oid).await?;
        let readable = now.is_some_and(|now| settings.tables.captures_name(&now));
        if readable && joined.turn_away(relation.oid) {
            return Err(Error::retry(
                "table_joined",
                format!("table `{name}` has come into the publication and is read first"),
            )
            .with_remedy("nothing: the source starts again with it")
            .with_table(name));
        }
        joined.let_in(relation.oid);
    }
    tracing::info!(table = %name, "a table that was not read is shipped from here on, without the rows it had before");
    Ok(())
}

enum Due {
    Now,
    At(Instant),
}

fn start_command(settings: &Settings, server_version: u32, start: Lsn) -> String {
    let publication = settings.publication.replace('"', "\"\"").replace('\'', "''");
    // Messages let a heartbeat through, and carry what applications write there.
    let messages = if server_version >= 140_000 { ", messages 'true'" } else { "" };
    format!(
        "START_REPLICATION SLOT \"{}\" LOGICAL {start} (proto_version '1', publication_names '\"{publication}\"'{messages})",
        settings.slot
    )
}

/// `None` when it is off.
async fn wal_sender_timeout(connection: &mut Connection) -> Result<Option<Duration>> {
    let sql = "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'wal_sender_timeout'";
    let rows = connection.query("read wal_sender_timeout", sql).await?;
    let millis = rows.first().and_then(|row| row.first()?.as_deref()?.parse::<u64>().ok());
    let millis = millis.ok_or_else(|| protocol("wal_sender_timeout cannot be read"))?;
    Ok((millis > 0).then(|| Duration::from_millis(millis)))
}
