//! Names of the metrics of this sink and the handles to them. Knows no topic and no row; recorded per batch or
//! per transaction.

use metrics::{Counter, Histogram, Unit, counter, describe_counter, describe_histogram, histogram};
use std::sync::Once;

/// Records handed to the Kafka client, tombstones and progress records included.
pub const RECORDS: &str = "tidewire_kafka_records_total";
/// Bytes of keys and values of those records.
pub const RECORD_BYTES: &str = "tidewire_kafka_record_bytes_total";
/// Kafka transactions committed.
pub const TRANSACTIONS: &str = "tidewire_kafka_transactions_total";
/// Kafka transactions given up.
pub const ABORTS: &str = "tidewire_kafka_aborts_total";
/// Time from asking for a commit to its confirmation, the delivery of what was still queued included.
pub const COMMIT_DURATION: &str = "tidewire_kafka_commit_duration_seconds";

/// Handles of one sink and source.
pub(crate) struct SinkMetrics {
    pub(crate) records: Counter,
    pub(crate) record_bytes: Counter,
    pub(crate) transactions: Counter,
    pub(crate) aborts: Counter,
    pub(crate) commit_duration: Histogram,
}

impl SinkMetrics {
    pub(crate) fn new(sink: &str, source: &str) -> SinkMetrics {
        static DESCRIBED: Once = Once::new();
        DESCRIBED.call_once(|| {
            describe_counter!(RECORDS, Unit::Count, "Records handed to the Kafka client");
            describe_counter!(RECORD_BYTES, Unit::Bytes, "Bytes of keys and values handed to the Kafka client");
            describe_counter!(TRANSACTIONS, Unit::Count, "Kafka transactions committed");
            describe_counter!(ABORTS, Unit::Count, "Kafka transactions given up");
            describe_histogram!(COMMIT_DURATION, Unit::Seconds, "Time that a commit to Kafka takes");
        });
        let labels = [("sink", sink.to_owned()), ("source", source.to_owned())];
        SinkMetrics {
            records: counter!(RECORDS, &labels),
            record_bytes: counter!(RECORD_BYTES, &labels),
            transactions: counter!(TRANSACTIONS, &labels),
            aborts: counter!(ABORTS, &labels),
            commit_duration: histogram!(COMMIT_DURATION, &labels),
        }
    }
}
