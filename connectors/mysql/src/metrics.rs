//! Names and handles of what this crate measures. Per source, never per row.

use metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use std::sync::Arc;

/// Bytes read from the log's connection.
pub(crate) const LOG_BYTES: &str = "tidewire_mysql_log_bytes_total";
/// Batches of the log handed out.
pub(crate) const LOG_BATCHES: &str = "tidewire_mysql_log_batches_total";
/// Rows read by the snapshot.
pub(crate) const SNAPSHOT_ROWS: &str = "tidewire_mysql_snapshot_rows_total";
/// Tables that the snapshot still has to finish.
pub(crate) const SNAPSHOT_TABLES_LEFT: &str = "tidewire_mysql_snapshot_tables_left";

/// Tells the recorder what the names mean; once per process.
pub fn describe() {
    describe_counter!(LOG_BYTES, Unit::Bytes, "Bytes of MySQL's or MariaDB's binary log that were decoded");
    describe_counter!(LOG_BATCHES, "Batches of MySQL's or MariaDB's binary log handed to the pipeline");
    describe_counter!(SNAPSHOT_ROWS, "Rows read by the snapshot of MySQL or MariaDB tables");
    describe_gauge!(SNAPSHOT_TABLES_LEFT, "Tables that the snapshot has not finished");
}

/// The handles of one source.
#[derive(Clone)]
pub(crate) struct SourceMetrics {
    pub(crate) log_bytes: Counter,
    pub(crate) log_batches: Counter,
    pub(crate) snapshot_rows: Counter,
    pub(crate) snapshot_tables_left: Gauge,
}

impl SourceMetrics {
    pub(crate) fn new(source: &Arc<str>) -> SourceMetrics {
        let labels = || vec![metrics::Label::new("source", source.to_string())];
        SourceMetrics {
            log_bytes: counter!(LOG_BYTES, labels()),
            log_batches: counter!(LOG_BATCHES, labels()),
            snapshot_rows: counter!(SNAPSHOT_ROWS, labels()),
            snapshot_tables_left: gauge!(SNAPSHOT_TABLES_LEFT, labels()),
        }
    }
}
