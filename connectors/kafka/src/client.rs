//! Connections: the librdkafka settings of each kind of client. Knows the settings of the sink; knows no table
//! and no record.

pub(crate) mod admin;
pub(crate) mod failure;
mod offsets;
pub(crate) mod raw;
pub(crate) mod turns;

use crate::config::{SaslMechanism, Settings};
use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use std::time::Duration;
use tidewire_core::Result;

/// Memory for records that no broker has acknowledged yet, in KiB.
const QUEUE_KIB: u32 = 32 << 10;
/// Largest record that the client takes, in bytes; brokers and topics set their own limits. Must fit the queue.
pub(crate) const RECORD_BYTES_MAX: u32 = 16 << 20;
/// Largest batch of records, in bytes: below the broker's default limit of 1,048,588.
pub(crate) const BATCH_BYTES: u32 = 1_000_000;

/// How long a request for metadata or to create something may take.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);

/// The names under which the producers of a sink and a source are fenced, by number. The dot cannot stand in either
/// name, so two pairs never share an id. The first is the only one that earlier versions had.
pub(crate) fn transactional_id(settings: &Settings, source: &str, number: usize) -> String {
    match number {
        0 => format!("tidewire-{}.{source}", settings.sink),
        _ => format!("tidewire-{}.{source}.{}", settings.sink, number + 1),
    }
}

/// A transactional producer.
pub(crate) fn producer_config(settings: &Settings, source: &str, number: usize) -> Result<ClientConfig> {
    let timeout_ms = settings.transaction_timeout.as_millis().to_string();
    let mut config = ClientConfig::new();
    config
        .set("linger.ms", "5")
        .set("compression.type", "lz4")
        .set("batch.size", BATCH_BYTES.to_string())
        .set("batch.num.messages", "100000")
        .set("message.max.bytes", RECORD_BYTES_MAX.to_string())
        .set("queue.buffering.max.messages", "0")
        .set("queue.buffering.max.kbytes", QUEUE_KIB.to_string())
        .set("retry.backoff.ms", "50")
        .set("delivery.timeout.ms", &timeout_ms);
    connect(&mut config, settings)?;
    config
        .set("transactional.id", transactional_id(settings, source, number))
        .set("transaction.timeout.ms", &timeout_ms)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        // A topic that vanishes is a fault, not one to be made again with the brokers' defaults.
        .set("allow.auto.create.topics", "false")
        .set("partitioner", "murmur2_random");
    Ok(config)
}

/// A client for metadata and administration.
pub(crate) fn admin_config(settings: &Settings) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    connect(&mut config, settings)?;
    // Nobody reads this client's log queue.
    config.set_log_level(RDKafkaLogLevel::Emerg);
    Ok(config)
}

/// A reader of single partitions that joins no group.
pub(crate) fn reader_config(settings: &Settings, isolation: Isolation) -> Result<ClientConfig> {
    let mut config = ClientConfig::new();
    config.set("fetch.wait.max.ms", "10");
    connect(&mut config, settings)?;
    config
        // Assigning a partition needs the name of a group, though none is joined and no offset is stored.
        .set("group.id", format!("tidewire-{}", settings.sink))
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "error")
        .set("isolation.level", isolation.name());
    Ok(config)
}

/// Which records a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Those of committed transactions, up to the first open one.
    Committed,
    /// All.
    Uncommitted,
}

impl Isolation {
    fn name(self) -> &'static str {
        match self {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        }
    }
}

// What every client has in common; secrets are read anew, so that a rotated one is found.
fn connect(config: &mut ClientConfig, settings: &Settings) -> Result<()> {
    config
        .set("client.id", format!("tidewire-{}", settings.sink))
        .set("socket.keepalive.enable", "true")
        .set("reconnect.backoff.ms", "50")
        .set("reconnect.backoff.max.ms", "2000");
    for (key, value) in &settings.librdkafka {
        config.set(key, value);
    }
    config.set("bootstrap.servers", &settings.brokers);
    config.set(
        "security.protocol",
        match (&settings.sasl, &settings.tls) {
            (None, None) => "plaintext",
            (None, Some(_)) => "ssl",
            (Some(_), None) => "sasl_plaintext",
            (Some(_), Some(_)) => "sasl_ssl",
        },
    );
    if let Some(sasl) = &settings.sasl {
        config
            .set("sasl.mechanism", mechanism(sasl.mechanism))
            .set("sasl.username", &sasl.username)
            .set("sasl.password", settings.secrets.resolve(&sasl.password)?.reveal());
    }
    if let Some(tls) = &settings.tls {
        // OpenSSL is linked in and knows no default place: let librdkafka look at the usual ones.
        let ca = tls.ca.as_ref().map_or("probe".into(), |path| path.to_string_lossy());
        config.set("ssl.ca.location", ca);
        if let (Some(certificate), Some(key)) = (&tls.certificate, &tls.key) {
            config
                .set("ssl.certificate.location", certificate.to_string_lossy())
                .set("ssl.key.location", key.to_string_lossy());
        }
        if let Some(password) = &tls.key_password {
            config.set("ssl.key.password", settings.secrets.resolve(password)?.reveal());
        }
    }
    Ok(())
}

fn mechanism(mechanism: SaslMechanism) -> &'static str {
    match mechanism {
        SaslMechanism::Plain => "PLAIN",
        SaslMechanism::ScramSha256 => "SCRAM-SHA-256",
        SaslMechanism::ScramSha512 => "SCRAM-SHA-512",
    }
}
