//! The `[sinks.NAME.kafka]` table: as it is written, and as checked settings whose fields cannot be wrong.
//! Pure: reads no file, resolves no secret, connects nowhere.

mod fixed;

use crate::format::{FormatConfig, FormatSettings};
use crate::topics::TopicTemplate;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::quantity::{Size, Span};
use tidewire_core::secret::{SecretRef, SecretResolver};

/// The table as written. Every key but `brokers` has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Brokers to ask first, as `host:port`.
    pub brokers: Vec<String>,
    /// Template of topic names.
    #[serde(default)]
    pub topic: Option<String>,
    /// What records look like.
    #[serde(default)]
    pub format: FormatConfig,
    /// How to log in.
    #[serde(default)]
    pub sasl: Option<SaslConfig>,
    /// Encryption; the table may be empty, which trusts the system's authorities.
    #[serde(default)]
    pub tls: Option<TlsConfig>,
    /// Whether missing topics are created.
    #[serde(default)]
    pub create_topics: Option<bool>,
    /// Partitions of created topics, 1 to 10,000.
    #[serde(default)]
    pub partitions: Option<i32>,
    /// Replicas of created topics, or -1 for the brokers' default.
    #[serde(default)]
    pub replication: Option<i32>,
    /// Settings of created topics, by Kafka's names.
    #[serde(default)]
    pub topic_config: BTreeMap<String, Scalar>,
    /// Whether statements that change tables are written to the topic named as the source, for sources that have them.
    #[serde(default)]
    pub schema_changes: Option<bool>,
    /// What becomes of a table whose topic is not what it was when it was last written.
    #[serde(default)]
    pub changed_topics: Option<ChangedTopics>,
    /// How long the brokers keep a transaction open without word from us: 5 s to 15 min.
    #[serde(default)]
    pub transaction_timeout: Option<Span>,
    /// Longest time between two commits while changes come, 10 ms to half of `transaction_timeout`.
    #[serde(default)]
    pub commit_interval: Option<Span>,
    /// Most changes in a commit.
    #[serde(default)]
    pub commit_changes: Option<usize>,
    /// Most bytes of changes in a commit.
    #[serde(default)]
    pub commit_bytes: Option<Size>,
    /// Settings for librdkafka by its own names, except those that exactly-once fixes.
    #[serde(default)]
    pub librdkafka: BTreeMap<String, Scalar>,
}

/// What becomes of a table whose topic was deleted, made again, or given partitions while the sink was stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangedTopics {
    /// It halts.
    #[default]
    Halt,
    /// It goes on with the topic as it is.
    Accept,
}

/// `[sinks.NAME.kafka.sasl]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SaslConfig {
    /// How the password is proved.
    pub mechanism: SaslMechanism,
    /// Login.
    pub username: String,
    /// Its password. Read again at every connection.
    pub password: SecretRef,
}

/// SASL mechanisms with a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum SaslMechanism {
    /// Sends the password itself: only sensible with TLS.
    #[serde(rename = "PLAIN")]
    Plain,
    /// Salted challenge and response, SHA-256.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// Salted challenge and response, SHA-512.
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// `[sinks.NAME.kafka.tls]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file of the authorities to trust; the system's when absent.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// PEM file of our own certificate.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// PEM file of its key.
    #[serde(default)]
    pub key: Option<PathBuf>,
    /// Password of the key.
    #[serde(default)]
    pub key_password: Option<SecretRef>,
}

/// A value as TOML has it; librdkafka and brokers take text.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A fraction.
    Float(f64),
    /// Text.
    Text(String),
}

impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Scalar::Bool(value) => value.fmt(f),
            Scalar::Integer(value) => value.fmt(f),
            Scalar::Float(value) => value.fmt(f),
            Scalar::Text(value) => value.fmt(f),
        }
    }
}

/// What the daemon knows about a sink beside the connector's own table.
#[derive(Clone)]
pub struct SinkOptions {
    /// The sink's name.
    pub name: Arc<str>,
    /// The names of the sources that flow into it.
    pub sources: Vec<Arc<str>>,
    /// Reads secrets.
    pub secrets: Arc<dyn SecretResolver>,
}

/// Something in the configuration that cannot be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// The key, relative to the sink's table (`kafka.brokers`).
    pub key: String,
    /// What is wrong and what is allowed. Never holds a secret.
    pub message: String,
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl std::error::Error for ConfigFault {}

/// The checked form.
#[derive(Clone)]
pub(crate) struct Settings {
    /// The sink's name.
    pub(crate) sink: Arc<str>,
    /// Its sources, in order.
    pub(crate) sources: Vec<Arc<str>>,
    /// Reads secrets.
    pub(crate) secrets: Arc<dyn SecretResolver>,
    /// Brokers, comma-separated. Never empty.
    pub(crate) brokers: String,
    /// Topic names.
    pub(crate) template: TopicTemplate,
    /// What records look like.
    pub(crate) format: FormatSettings,
    /// How to log in.
    pub(crate) sasl: Option<SaslConfig>,
    /// Encryption.
    pub(crate) tls: Option<TlsConfig>,
    /// What becomes of missing topics.
    pub(crate) creation: Creation,
    /// See [`Config::schema_changes`].
    pub(crate) schema_changes: bool,
    /// See [`Config::changed_topics`].
    pub(crate) changed_topics: ChangedTopics,
    /// See [`Config::transaction_timeout`].
    pub(crate) transaction_timeout: Duration,
    /// See [`Config::commit_interval`].
    pub(crate) commit_interval: Duration,
    /// See [`Config::commit_changes`].
    pub(crate) commit_changes: usize,
    /// See [`Config::commit_bytes`].
    pub(crate) commit_bytes: usize,
    /// Settings for librdkafka.
    pub(crate) librdkafka: BTreeMap<String, String>,
}

/// What becomes of missing topics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Creation {
    /// Whether they are created.
    pub(crate) allowed: bool,
    /// Partitions.
    pub(crate) partitions: i32,
    /// Replicas, -1 for the brokers' default.
    pub(crate) replication: i32,
    /// Further settings.
    pub(crate) config: BTreeMap<String, String>,
}

impl Config {
    const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(60);
    const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
    const COMMIT_CHANGES: usize = 50_000;
    const COMMIT_BYTES: u64 = 16 << 20;
}

impl Settings {
    /// Checks everything; the error lists every fault.
    pub(crate) fn try_from_config(options: SinkOptions, config: Config) -> Result<Settings, Vec<ConfigFault>> {
        let mut faults = Faults::default();
        check_brokers(&config.brokers, &mut faults);
        let template = TopicTemplate::parse(config.topic.as_deref().unwrap_or(TopicTemplate::DEFAULT));
        let template = template.map_err(|message| faults.add("topic", message)).ok();
        let format = FormatSettings::try_from_config(&config.format).map_err(|list| {
            for (key, message) in list {
                faults.add(&format!("format.{key}"), message);
            }
        });
        if let Some(tls) = &config.tls
            && tls.certificate.is_some() != tls.key.is_some()
        {
            faults.add("tls", "`certificate` and `key` come together or not at all");
        }
        let creation = check_creation(&config, &mut faults);
        let transaction_timeout = config.transaction_timeout.map_or(Config::TRANSACTION_TIMEOUT, |span| span.0);
        faults.range("transaction_timeout", transaction_timeout, Duration::from_secs(5), Duration::from_secs(900));
        let commit_interval = config.commit_interval.map_or(Config::COMMIT_INTERVAL, |span| span.0);
        faults.range("commit_interval", commit_interval, Duration::from_millis(10), transaction_timeout / 2);
        let commit_changes = config.commit_changes.unwrap_or(Config::COMMIT_CHANGES);
        if !(1..=10_000_000).contains(&commit_changes) {
            faults.add("commit_changes", format!("`{commit_changes}` lies outside of 1 to 10,000,000"));
        }
        let commit_bytes = config.commit_bytes.map_or(Config::COMMIT_BYTES, |size| size.0);
        if !(64 << 10..=1 << 30).contains(&commit_bytes) {
            faults.add("commit_bytes", format!("`{commit_bytes}` lies outside of 64KiB to 1GiB"));
        }
        let librdkafka = fixed::check(&config.librdkafka, transaction_timeout, &mut faults);
        match (template, format) {
            (Some(template), Ok(format)) if faults.0.is_empty() => Ok(Settings {
                sink: options.name,
                sources: BTreeSet::from_iter(options.sources).into_iter().collect(),
                secrets: options.secrets,
                brokers: config.brokers.join(","),
                template,
                format,
                sasl: config.sasl,
                tls: config.tls,
                creation,
                schema_changes: config.schema_changes.unwrap_or(true),
                changed_topics: config.changed_topics.unwrap_or_default(),
                transaction_timeout,
                commit_interval,
                commit_changes,
                commit_bytes: usize::try_from(commit_bytes).unwrap_or(usize::MAX),
                librdkafka,
            }),
            _ => Err(faults.0),
        }
    }
}

/// Collects faults, so that one run shows all of them.
#[derive(Default)]
pub(crate) struct Faults(Vec<ConfigFault>);

impl Faults {
    pub(crate) fn add(&mut self, key: &str, message: impl Into<String>) {
        self.0.push(ConfigFault { key: format!("kafka.{key}"), message: message.into() });
    }

    fn range(&mut self, key: &str, value: Duration, min: Duration, max: Duration) {
        if value < min || value > max {
            self.add(key, format!("`{value:?}` lies outside of {min:?} to {max:?}"));
        }
    }
}

fn check_brokers(brokers: &[String], faults: &mut Faults) {
    if brokers.is_empty() {
        faults.add("brokers", "name at least one broker, as \"host:port\"");
    }
    for broker in brokers {
        let port = broker.rsplit_once(':').filter(|(host, _)| !host.is_empty()).map(|(_, port)| port.parse::<u16>());
        if !matches!(port, Some(Ok(1..))) || broker.contains([',', ' ', '/', '@']) {
            // Whoever writes a login here may have written its password.
            let shown = match broker.rsplit_once('@') {
                Some((login, host)) => format!("{}:***@{host}", login.split(':').next().unwrap_or_default()),
                None => broker.clone(),
            };
            faults.add("brokers", format!("`{shown}` is no broker: write \"host:port\""));
        }
    }
}

fn check_creation(config: &Config, faults: &mut Faults) -> Creation {
    let partitions = config.partitions.unwrap_or(1);
    if !(1..=10_000).contains(&partitions) {
        faults.add("partitions", format!("`{partitions}` lies outside of 1 to 10,000"));
    }
    let replication = config.replication.unwrap_or(-1);
    if replication != -1 && !(1..=100).contains(&replication) {
        faults.add("replication", format!("`{replication}` is neither -1 (the brokers' default) nor 1 to 100"));
    }
    Creation {
        allowed: config.create_topics.unwrap_or(true),
        partitions,
        replication,
        config: config.topic_config.iter().map(|(key, value)| (key.clone(), value.to_string())).collect(),
    }
}

#[cfg(test)]
mod tests;
