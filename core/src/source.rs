//! The source's side of the contract: validate, build, run. A connector implements these traits; the
//! daemon never learns which database is behind them.

use crate::batch::Batch;
use crate::error::Result;
use crate::finding::Finding;
use crate::position::Position;
use crate::progress::Progress;
use crate::schema::TableSchema;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// A boxed future, so that the traits stay usable as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Where a provenance field's value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvenanceOrigin {
    /// `Transaction::provenance`, at this index.
    Transaction(usize),
    /// `Change::offset`.
    Offset,
    /// `Change::row`.
    Row,
    /// Null for every change: the field exists for compatibility.
    Null,
}

/// The type of a provenance field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProvenanceType {
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Text.
    Text,
}

/// One field that tells consumers where in the log a change lies (`lsn`, `gtid`, `file`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProvenanceField {
    /// Name.
    pub name: &'static str,
    /// Type.
    pub field_type: ProvenanceType,
    /// Whether it may be null.
    pub optional: bool,
    /// Where the value comes from.
    pub origin: ProvenanceOrigin,
    /// Whether rows read by a snapshot carry it too.
    pub in_snapshot: bool,
}

/// What is constant about a running source.
#[derive(Clone, Debug)]
pub struct SourceDescriptor {
    /// The source's name in the configuration.
    pub name: Arc<str>,
    /// The connector's name on the wire: `postgresql`, `mysql`, `mariadb`.
    pub connector: &'static str,
    /// The database that is read, empty when there is more than one.
    pub database: Arc<str>,
    /// The log's fields on the wire, after those that every source has.
    pub provenance: &'static [ProvenanceField],
    /// Whether consumers get a `sequence` of the previous commit and the change's own offset.
    pub has_sequence: bool,
    /// Where the source's snapshot of this run lies in the log; the floor of the tables read in it.
    pub snapshot_floor: Option<Position>,
}

/// What a sink reported at start.
#[derive(Clone, Debug)]
pub struct SinkProgress {
    /// The sink's name.
    pub sink: Arc<str>,
    /// What it holds.
    pub progress: Progress,
}

/// What a source needs to know to start.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// Every sink of the source.
    pub sinks: Vec<SinkProgress>,
    /// The operator vouches for the server's position where it cannot be proved.
    pub accept_server_position: bool,
}

/// A step that a database needs before it can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupStep {
    /// What it is for.
    pub reason: String,
    /// The statement.
    pub sql: String,
    /// Why it is left to a person, who must weigh first how it changes what others do, and what it needs; `None` when it
    /// may be applied.
    pub left: Option<&'static str>,
    /// What came of it, when it was applied; `None` when only printed.
    pub applied: Option<std::result::Result<(), String>>,
}

impl SetupStep {
    /// One that may be applied.
    pub fn new(reason: impl Into<String>, sql: impl Into<String>) -> SetupStep {
        SetupStep { reason: reason.into(), sql: sql.into(), left: None, applied: None }
    }

    /// One that is left to a person.
    pub fn to_weigh(reason: impl Into<String>, sql: impl Into<String>, left: &'static str) -> SetupStep {
        SetupStep { left: Some(left), ..SetupStep::new(reason, sql) }
    }
}

/// Numbers about the log that the status page and the metrics show. All in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogState {
    /// Log between what was acknowledged and the server's end.
    pub lag_bytes: Option<u64>,
    /// Log that the server keeps for this source.
    pub retained_bytes: Option<u64>,
    /// Log that the server may still keep before it gives up on this source.
    pub allowance_bytes: Option<i64>,
    /// The server's own word for the state of what it keeps for this source.
    pub state: Option<String>,
}

/// A source that runs.
pub struct OpenSource {
    /// What is constant about it.
    pub descriptor: Arc<SourceDescriptor>,
    /// The tables captured at start.
    pub tables: Vec<Arc<TableSchema>>,
    /// Rows that the snapshot will read, by the server's estimate.
    pub snapshot_rows_expected: u64,
    /// Hands out the changes.
    pub reader: Box<dyn SourceReader>,
    /// Tells the server what may be forgotten.
    pub acknowledger: Arc<dyn Acknowledger>,
    /// Tells how the log stands.
    pub monitor: Arc<dyn LogMonitor>,
}

/// A checked source that is not connected yet.
pub trait SourceConnector: Send + Sync {
    /// Connects and says what is missing or odd; changes nothing.
    fn check(&self) -> BoxFuture<'_, Result<Vec<Finding>>>;

    /// Whether a start that goes on from there would find all that it needs on the server; the error is the one that would halt
    /// it. Changes nothing. A source that somebody reads at the moment has nothing amiss.
    fn can_resume(&self, _resume: Resume) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Whether the server would serve this source now. Asked before any sink is opened, because opening a sink
    /// takes it away from an earlier instance: one that is kept out by the server must not do that.
    fn ready(&self) -> BoxFuture<'_, Result<()>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Connects and describes the tables that would be captured; changes nothing.
    fn tables(&self) -> BoxFuture<'_, Result<Vec<Arc<TableSchema>>>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// What the database still needs; with `apply` runs what the login may run, but for what a person must weigh.
    fn setup(&self, apply: bool) -> BoxFuture<'_, Result<Vec<SetupStep>>>;

    /// Gives back everything that the source holds on its server and says what that was. Refuses while
    /// something else uses it.
    fn remove(&self) -> BoxFuture<'_, Result<Vec<String>>>;

    /// Checks again, compares what the sinks hold with what the server still has, and starts to read at the
    /// lowest place that a sink needs. Never starts past it.
    fn open(&self, resume: Resume) -> BoxFuture<'_, Result<OpenSource>>;
}

/// Reads a source. Owned by one task.
pub trait SourceReader: Send {
    /// The next batch: first the snapshot's, if one is due, then the log's, in order, without a gap. An
    /// empty batch tells how far the log is known to hold nothing for us. Dropping the future loses
    /// nothing. An error ends the reader.
    fn next_batch(&mut self) -> BoxFuture<'_, Result<Batch>>;
}

/// The way back to the server. Never blocks; the newest call wins.
pub trait Acknowledger: Send + Sync {
    /// Everything up to `position` is durable in every sink.
    fn acknowledge(&self, position: &Position);
}

/// How the log stands on the server.
pub trait LogMonitor: Send + Sync {
    /// The numbers as of now; an error is only shown, never acted upon.
    fn log_state(&self) -> BoxFuture<'_, Result<LogState>>;
}
