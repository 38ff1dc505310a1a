//! Logs and the daemon's own metrics. Names are constants; `docs/metrics.md` says which question each
//! one answers. Recorded per batch or commit, never per row, never with a row's values.

use crate::status::{Board, State};
use metrics::{Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::source::LogState;
use tidewire_core::{Error, Op, Result};
use tracing_subscriber::EnvFilter;

/// Changes read from a source, by kind.
pub(crate) const SOURCE_CHANGES_TOTAL: &str = "tidewire_source_changes_total";
/// Changes read of a table, by kind; `admin.table_labels = false` drops it.
pub(crate) const TABLE_CHANGES_TOTAL: &str = "tidewire_table_changes_total";
/// Bytes of batches read from a source.
pub(crate) const SOURCE_BYTES_TOTAL: &str = "tidewire_source_bytes_total";
/// 1 for the state that a source is in, 0 for the others.
pub(crate) const SOURCE_STATE: &str = "tidewire_source_state";
/// Largest lag of a source's sinks.
pub(crate) const SOURCE_LAG_SECONDS: &str = "tidewire_source_lag_seconds";
/// Log between what was acknowledged and the server's end.
pub(crate) const SOURCE_LAG_BYTES: &str = "tidewire_source_lag_bytes";
/// Log that the server keeps for a source.
pub(crate) const SOURCE_LOG_RETAINED_BYTES: &str = "tidewire_source_log_retained_bytes";
/// Log that the server may still keep.
pub(crate) const SOURCE_LOG_ALLOWANCE_BYTES: &str = "tidewire_source_log_allowance_bytes";
/// Rows read by the snapshot.
pub(crate) const SNAPSHOT_ROWS_TOTAL: &str = "tidewire_snapshot_rows_total";
/// Rows that the snapshot will read, by estimate.
pub(crate) const SNAPSHOT_ROWS_EXPECTED: &str = "tidewire_snapshot_rows_expected";
/// Times that a source or sink was tried again, by reason.
pub(crate) const RETRIES_TOTAL: &str = "tidewire_retries_total";
/// Changes that a sink holds durably.
pub(crate) const SINK_CHANGES_TOTAL: &str = "tidewire_sink_changes_total";
/// Bytes of batches that a sink holds durably.
pub(crate) const SINK_BYTES_TOTAL: &str = "tidewire_sink_bytes_total";
/// Commits of a sink.
pub(crate) const SINK_COMMITS_TOTAL: &str = "tidewire_sink_commits_total";
/// Lag of a sink.
pub(crate) const SINK_LAG_SECONDS: &str = "tidewire_sink_lag_seconds";
/// Batches that wait for a sink.
pub(crate) const SINK_QUEUE_BATCHES: &str = "tidewire_sink_queue_batches";
/// 1 for the state that a sink is in, 0 for the others.
pub(crate) const SINK_STATE: &str = "tidewire_sink_state";
/// Tables that a sink has halted.
pub(crate) const SINK_TABLES_HALTED: &str = "tidewire_sink_tables_halted";
/// Time to encode and hand over one batch.
pub(crate) const SINK_WRITE_SECONDS: &str = "tidewire_sink_write_seconds";
/// Time of one commit.
pub(crate) const SINK_COMMIT_SECONDS: &str = "tidewire_sink_commit_seconds";
/// CPU time of the process.
pub(crate) const PROCESS_CPU_SECONDS_TOTAL: &str = "tidewire_process_cpu_seconds_total";
/// Resident memory of the process.
pub(crate) const PROCESS_MEMORY_BYTES: &str = "tidewire_process_resident_memory_bytes";
/// Open file descriptors of the process.
pub(crate) const PROCESS_FILE_DESCRIPTORS: &str = "tidewire_process_open_file_descriptors";
/// Constant 1 with the version.
pub(crate) const BUILD_INFO: &str = "tidewire_build_info";

/// Bounds of the duration histograms, in seconds.
const SECONDS: [f64; 12] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to stderr. Without a format: text on a terminal, JSON otherwise.
pub(crate) fn start_logs(format: Option<LogFormat>, filter: &str) -> std::result::Result<(), String> {
    // librdkafka's wrapper logs what the sink handles and reports itself, once.
    let filter = EnvFilter::try_new(format!("rdkafka=off,librdkafka=off,{filter}"))
        .map_err(|error| format!("the log filter `{filter}` cannot be read: {error}"))?;
    let terminal = std::io::stderr().is_terminal();
    let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    // A log that cannot be written, on a full disk or to a journal that went away, is no reason to end: to say so on
    // stderr, as the library would, panics.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(colour);
    let builder = builder.log_internal_errors(false);
    let started = match format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json }) {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| error.to_string())
}

/// Installs the recorder behind `/metrics`.
pub(crate) fn start_metrics() -> Result<PrometheusHandle> {
    let failed = |error: metrics_exporter_prometheus::BuildError| {
        Error::bug("metrics_unavailable", "start the metrics").with_cause(error)
    };
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)
        .map_err(failed)?;
    let handle = builder.install_recorder().map_err(failed)?;
    describe();
    gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    Ok(handle)
}

fn describe() {
    describe_counter!(SOURCE_CHANGES_TOTAL, "Changes read from a source, by kind.");
    describe_counter!(TABLE_CHANGES_TOTAL, "Changes read of a table, by kind.");
    describe_counter!(SOURCE_BYTES_TOTAL, "Bytes of batches read from a source.");
    describe_gauge!(SOURCE_STATE, "1 for the state that a source is in, 0 for the others.");
    describe_gauge!(SOURCE_LAG_SECONDS, "Largest lag of a source's sinks.");
    describe_gauge!(SOURCE_LAG_BYTES, "Log between what was acknowledged and the server's end.");
    describe_gauge!(SOURCE_LOG_RETAINED_BYTES, "Log that the server keeps for a source.");
    describe_gauge!(SOURCE_LOG_ALLOWANCE_BYTES, "Log that the server may still keep before it gives up on a source.");
    describe_counter!(SNAPSHOT_ROWS_TOTAL, "Rows read by the snapshot.");
    describe_gauge!(SNAPSHOT_ROWS_EXPECTED, "Rows that the snapshot will read, by the server's estimate.");
    describe_counter!(RETRIES_TOTAL, "Times that a source or sink was tried again, by reason.");
    describe_counter!(SINK_CHANGES_TOTAL, "Changes that a sink holds durably.");
    describe_counter!(SINK_BYTES_TOTAL, "Bytes of batches that a sink holds durably.");
    describe_counter!(SINK_COMMITS_TOTAL, "Commits of a sink.");
    describe_gauge!(SINK_LAG_SECONDS, "Lag of a sink; 0 when it holds all that was read.");
    describe_gauge!(SINK_QUEUE_BATCHES, "Batches that wait for a sink.");
    describe_gauge!(SINK_STATE, "1 for the state that a sink is in, 0 for the others.");
    describe_gauge!(SINK_TABLES_HALTED, "Tables that a sink has halted: they wait for a person.");
    describe_histogram!(SINK_WRITE_SECONDS, "Time to encode and hand over one batch.");
    describe_histogram!(SINK_COMMIT_SECONDS, "Time of one commit.");
    describe_counter!(PROCESS_CPU_SECONDS_TOTAL, "CPU time of the process.");
    describe_gauge!(PROCESS_MEMORY_BYTES, "Resident memory of the process.");
    describe_gauge!(PROCESS_FILE_DESCRIPTORS, "Open file descriptors of the process.");
    describe_gauge!(BUILD_INFO, "Constant 1 with the version.");
}

fn op_word(op: Op) -> Option<&'static str> {
    match op {
        Op::Insert => Some("insert"),
        Op::Update => Some("update"),
        Op::Delete => Some("delete"),
        Op::Truncate => Some("truncate"),
        Op::Read => Some("read"),
        Op::Message => Some("message"),
        Op::Schema => Some("schema"),
        Op::Ddl => Some("ddl"),
        Op::SnapshotStart | Op::SnapshotEnd => None,
    }
}

/// Changes of one table, by kind.
pub(crate) struct TableMeter {
    ops: Vec<(Op, Counter)>,
}

impl TableMeter {
    /// Changes of one kind were read.
    pub(crate) fn read(&self, op: Op, changes: u64) {
        if let Some((_, counter)) = self.ops.iter().find(|(known, _)| *known == op) {
            counter.increment(changes);
        }
    }
}

/// Metrics of one source.
#[derive(Clone)]
pub(crate) struct SourceMeter {
    source: Arc<str>,
    ops: Arc<[(Op, Counter)]>,
    bytes: Counter,
    snapshot_rows: Counter,
}

impl SourceMeter {
    /// Registers them, so that all are there from the first scrape.
    pub(crate) fn new(source: Arc<str>) -> SourceMeter {
        let label = source.to_string();
        let ops = [Op::Insert, Op::Update, Op::Delete, Op::Truncate, Op::Read, Op::Message, Op::Schema, Op::Ddl];
        let ops = ops.into_iter().filter_map(|op| {
            Some((op, counter!(SOURCE_CHANGES_TOTAL, "source" => label.clone(), "op" => op_word(op)?)))
        });
        SourceMeter {
            ops: ops.collect(),
            bytes: counter!(SOURCE_BYTES_TOTAL, "source" => label.clone()),
            snapshot_rows: counter!(SNAPSHOT_ROWS_TOTAL, "source" => label),
            source,
        }
    }

    /// Changes of one kind were read.
    pub(crate) fn read(&self, op: Op, changes: u64) {
        if changes == 0 {
            return;
        }
        if let Some((_, counter)) = self.ops.iter().find(|(known, _)| *known == op) {
            counter.increment(changes);
        }
        if op == Op::Read {
            self.snapshot_rows.increment(changes);
        }
    }

    /// Registers the metrics of one of its tables.
    pub(crate) fn table(&self, table: &str) -> TableMeter {
        let ops = [Op::Insert, Op::Update, Op::Delete, Op::Truncate, Op::Read].into_iter().filter_map(|op| {
            let labels =
                [("source", self.source.to_string()), ("table", table.to_owned()), ("op", op_word(op)?.to_owned())];
            Some((op, counter!(TABLE_CHANGES_TOTAL, &labels)))
        });
        TableMeter { ops: ops.collect() }
    }

    /// A batch of this size was read.
    pub(crate) fn read_bytes(&self, bytes: u64) {
        self.bytes.increment(bytes);
    }

    /// It was tried again.
    pub(crate) fn retried(&self, reason: &'static str) {
        counter!(RETRIES_TOTAL, "source" => self.source.to_string(), "sink" => "", "reason" => reason).increment(1);
    }

    /// Batches that wait for one of its sinks.
    pub(crate) fn sink_queue(&self, sink: &str, batches: usize) {
        let labels = [("source", self.source.to_string()), ("sink", sink.to_owned())];
        gauge!(SINK_QUEUE_BATCHES, &labels).set(batches as f64);
    }

    /// The log on the server.
    pub(crate) fn log(&self, state: &LogState) {
        let set = |name: &'static str, value: Option<f64>| {
            if let Some(value) = value {
                gauge!(name, "source" => self.source.to_string()).set(value);
            }
        };
        set(SOURCE_LAG_BYTES, state.lag_bytes.map(|v| v as f64));
        set(SOURCE_LOG_RETAINED_BYTES, state.retained_bytes.map(|v| v as f64));
        set(SOURCE_LOG_ALLOWANCE_BYTES, state.allowance_bytes.map(|v| v as f64));
    }

    /// Rows that the snapshot will read.
    pub(crate) fn snapshot_expected(&self, rows: u64) {
        gauge!(SNAPSHOT_ROWS_EXPECTED, "source" => self.source.to_string()).set(rows as f64);
    }
}

/// Metrics of one sink of one source.
#[derive(Clone)]
pub(crate) struct SinkMeter {
    source: Arc<str>,
    sink: Arc<str>,
    changes: Counter,
    bytes: Counter,
    commits: Counter,
    write: Histogram,
    commit: Histogram,
}

impl SinkMeter {
    /// Registers them.
    pub(crate) fn new(source: Arc<str>, sink: Arc<str>) -> SinkMeter {
        let labels = [("source", source.to_string()), ("sink", sink.to_string())];
        SinkMeter {
            changes: counter!(SINK_CHANGES_TOTAL, &labels),
            bytes: counter!(SINK_BYTES_TOTAL, &labels),
            commits: counter!(SINK_COMMITS_TOTAL, &labels),
            write: histogram!(SINK_WRITE_SECONDS, &labels),
            commit: histogram!(SINK_COMMIT_SECONDS, &labels),
            source,
            sink,
        }
    }

    /// A batch was written.
    pub(crate) fn wrote(&self, time: Duration) {
        self.write.record(time.as_secs_f64());
    }

    /// A commit succeeded.
    pub(crate) fn committed(&self, time: Duration, changes: u64, bytes: u64) {
        self.commit.record(time.as_secs_f64());
        self.changes.increment(changes);
        self.bytes.increment(bytes);
        self.commits.increment(1);
    }

    /// The sink was tried again.
    pub(crate) fn retried(&self, reason: &'static str) {
        counter!(RETRIES_TOTAL, "source" => self.source.to_string(), "sink" => self.sink.to_string(), "reason" => reason).increment(1);
    }
}

/// Shows what the board says, right before somebody looks: lag grows and a halt stays while no task moves.
pub(crate) fn show(board: &Board) {
    for (name, source) in board.sources() {
        let view = source.snapshot();
        for state in State::ALL {
            let is_in = f64::from(u8::from(view.state == state));
            gauge!(SOURCE_STATE, "source" => name.to_owned(), "state" => state.word()).set(is_in);
        }
        gauge!(SOURCE_LAG_SECONDS, "source" => name.to_owned()).set(view.lag_seconds);
        for (sink, view) in &view.sinks {
            let labels = [("source", name.to_owned()), ("sink", sink.clone())];
            gauge!(SINK_LAG_SECONDS, &labels).set(view.lag_seconds);
            gauge!(SINK_TABLES_HALTED, &labels).set(view.halted_tables.len() as f64);
            for state in State::ALL {
                let labels = [("source", name.to_owned()), ("sink", sink.clone()), ("state", state.word().to_owned())];
                gauge!(SINK_STATE, &labels).set(f64::from(u8::from(view.state == state)));
            }
        }
    }
}

/// Reads the process's own numbers from /proc; what cannot be read stays as it was.
pub(crate) fn measure_process() {
    let usage = rustix::param::page_size() as f64;
    if let Ok(statm) = std::fs::read_to_string("/proc/self/statm")
        && let Some(pages) = statm.split(' ').nth(1).and_then(|p| p.parse::<f64>().ok())
    {
        gauge!(PROCESS_MEMORY_BYTES).set(pages * usage);
    }
    if let Ok(stat) = std::fs::read_to_string("/proc/self/stat")
        && let Some((_, rest)) = stat.rsplit_once(')')
    {
        // Fields 14 and 15 of proc(5), counted from the one after the name: user and system ticks.
        let mut ticks = rest.split_ascii_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
        let total = ticks.next().unwrap_or(0) + ticks.next().unwrap_or(0);
        counter!(PROCESS_CPU_SECONDS_TOTAL).absolute(total / rustix::param::clock_ticks_per_second().max(1));
    }
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        gauge!(PROCESS_FILE_DESCRIPTORS).set(entries.count() as f64);
    }
}
