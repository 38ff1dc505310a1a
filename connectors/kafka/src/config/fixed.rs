//! The pass-through to librdkafka: which of its settings this sink owns, and why. Knows no connection.

use super::{Faults, Scalar};
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use std::collections::BTreeMap;
use std::time::Duration;

/// Settings that are refused, by exact name or by a prefix that ends in `.`, with the reason.
const FIXED: &[(&str, &str)] = &[
    ("enable.idempotence", "exactly once needs it on"),
    ("acks", "exactly once needs `all`"),
    ("request.required.acks", "exactly once needs `all`"),
    ("transactional.id", "it follows from the names of sink and source, so that an earlier instance is fenced"),
    ("transaction.timeout.ms", "set `transaction_timeout`"),
    ("max.in.flight", "exactly once fixes it at 5 or less"),
    ("max.in.flight.requests.per.connection", "exactly once fixes it at 5 or less"),
    ("retries", "a record is sent again until `delivery.timeout.ms`"),
    ("message.send.max.retries", "a record is sent again until `delivery.timeout.ms`"),
    ("enable.gapless.guarantee", "transactions give more"),
    ("isolation.level", "progress is read from committed transactions only"),
    ("enable.auto.commit", "no offsets are committed"),
    ("enable.partition.eof", "the end of the progress topic is found by it"),
    ("auto.offset.reset", "the progress topic is read at offsets of our own"),
    ("group.id", "no consumer group is joined"),
    ("delivery.report.only.error", "every record is counted when it is acknowledged"),
    ("dr_cb", "every record is counted when it is acknowledged"),
    ("dr_msg_cb", "every record is counted when it is acknowledged"),
    ("partitioner", "keys are placed as the Java client does, so that other producers' records meet them"),
    ("allow.auto.create.topics", "set `create_topics`"),
    ("log.queue", "the sink reads the log itself"),
    ("bootstrap.servers", "set `brokers`"),
    ("metadata.broker.list", "set `brokers`"),
    ("security.protocol", "it follows from the tables `sasl` and `tls`"),
    ("sasl.mechanism", "set `sasl.mechanism` in the table `sasl`"),
    ("sasl.mechanisms", "set `sasl.mechanism` in the table `sasl`"),
    ("sasl.username", "set `sasl.username` in the table `sasl`"),
    ("sasl.password", "set `sasl.password` in the table `sasl`, where it is kept secret"),
    ("ssl.ca.location", "set `tls.ca`"),
    ("ssl.certificate.location", "set `tls.certificate`"),
    ("ssl.key.location", "set `tls.key`"),
    ("ssl.key.password", "set `tls.key_password`, where it is kept secret"),
    ("ssl.keystore.password", "use PEM files with `tls.key_password`, where it is kept secret"),
    ("ssl.key.pem", "set `tls.key`"),
    ("test.", "it is for librdkafka's own tests"),
];

/// Settings whose value must not exceed the transaction's time limit, else the client refuses to start.
const WITHIN_TRANSACTION: &[&str] = &["delivery.timeout.ms", "message.timeout.ms"];

/// Refuses what is ours and what librdkafka does not know.
pub(super) fn check(
    given: &BTreeMap<String, Scalar>,
    transaction_timeout: Duration,
    faults: &mut Faults,
) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for (key, value) in given {
        let name = format!("librdkafka.{key}");
        if let Some(reason) = reason(key) {
            faults.add(&name, format!("`{key}` cannot be set here: {reason}"));
            continue;
        }
        if WITHIN_TRANSACTION.contains(&key.as_str())
            && value.to_string().parse::<u128>().is_ok_and(|ms| ms == 0 || ms > transaction_timeout.as_millis())
        {
            faults.add(&name, format!("`{value}` is not within 1 and `transaction_timeout` in milliseconds"));
        }
        // One setting at a time, so that each wrong one is named.
        let mut probe = ClientConfig::new();
        probe.set(key, value.to_string());
        if let Err(KafkaError::ClientConfig(_, description, ..)) = probe.create_native_config() {
            faults.add(&name, description);
        }
        kept.insert(key.clone(), value.to_string());
    }
    kept
}

fn reason(key: &str) -> Option<&'static str> {
    let is = |fixed: &str| key == fixed || (fixed.ends_with('.') && key.starts_with(fixed));
    FIXED.iter().find(|(fixed, _)| is(fixed)).map(|(_, reason)| *reason)
}
