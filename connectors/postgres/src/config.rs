//! The `[sources.NAME.postgres]` table: as it is written, and as checked settings whose fields cannot be wrong.
//! Pure: reads no file, resolves no secret, connects nowhere.

mod url;

pub(crate) use tidewire_tls::Host;
pub(crate) use url::Target;

use serde::Deserialize;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::quantity::Span;
use tidewire_core::secret::{SecretRef, SecretResolver};
use tidewire_core::{ConfigFault, SnapshotMode, SourceOptions, TableFilter};
use tidewire_tls::TlsSettings;

/// The table as written. Every key but `url` has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `postgres://user@host[:port][,host2...]/database?key=value`. Keys: `sslmode`, `sslrootcert`, `sslcert`,
    /// `sslkey`, `target_session_attrs`, `connect_timeout` (seconds), `application_name`, `host` (a socket folder).
    /// Without `sslmode`, another machine must prove itself (`verify-full`), this machine need not (`prefer`).
    pub url: String,
    /// The login's password; wins over one in the URL. Read again at every connection.
    #[serde(default)]
    pub password: Option<SecretRef>,
    /// Replication slot; `tidewire_<name>` when absent.
    #[serde(default)]
    pub slot: Option<String>,
    /// Publication; `tidewire_<name>` when absent.
    #[serde(default)]
    pub publication: Option<String>,
    /// While nothing of ours changes: how often the place reached is recorded, 1 s to 1 h.
    #[serde(default)]
    pub heartbeat_interval: Option<Span>,
    /// Whether a small message may be written to the log when idle, so that a server whose other databases are busy
    /// can let go of its log. Needs PostgreSQL 14; a standby writes none.
    #[serde(default)]
    pub heartbeat_message: bool,
    /// How often the server is told where we stand, at the least: 1 s to 1 min.
    #[serde(default)]
    pub status_interval: Option<Span>,
    /// How many tables a snapshot reads at a time, 1 to 64.
    #[serde(default)]
    pub snapshot_parallelism: Option<u16>,
    /// How long a snapshot waits for a table's lock, 1 s to 1 h.
    #[serde(default)]
    pub lock_timeout: Option<Span>,
}

impl Config {
    const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
    const STATUS_INTERVAL: Duration = Duration::from_secs(10);
    const SNAPSHOT_PARALLELISM: u16 = 4;
    const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
}

/// The checked form.
pub(crate) struct Settings {
    /// The source's name.
    pub(crate) name: Arc<str>,
    /// Servers, tried in this order. Never empty.
    pub(crate) hosts: Vec<Host>,
    /// Login.
    pub(crate) user: String,
    /// Database.
    pub(crate) database: String,
    /// Where the login's password comes from.
    pub(crate) password: Option<SecretRef>,
    /// How every session calls itself.
    pub(crate) application_name: String,
    /// Encryption.
    pub(crate) tls: TlsSettings,
    /// Which of the servers will do.
    pub(crate) target: Target,
    /// Limit of a connection attempt to one server, TLS and login included.
    pub(crate) connect_timeout: Duration,
    /// Replication slot.
    pub(crate) slot: String,
    /// Publication.
    pub(crate) publication: String,
    /// How often an idle place is recorded.
    pub(crate) heartbeat_interval: Duration,
    /// Whether to write a message when idle.
    pub(crate) heartbeat_message: bool,
    /// How often the server hears from us.
    pub(crate) status_interval: Duration,
    /// Tables read at a time.
    pub(crate) snapshot_parallelism: usize,
    /// How long to wait for a lock.
    pub(crate) lock_timeout: Duration,
    /// What is captured.
    pub(crate) tables: TableFilter,
    /// The same as it was written.
    pub(crate) patterns: Vec<String>,
    /// How existing rows are read.
    pub(crate) snapshot: SnapshotMode,
    /// Reads secrets.
    pub(crate) secrets: Arc<dyn SecretResolver>,
}

impl Settings {
    /// Checks everything and reports every fault at once.
    pub(crate) fn check(options: SourceOptions, config: Config) -> Result<Settings, Vec<ConfigFault>> {
        let mut faults = Faults::default();
        let tables = TableFilter::parse(&options.tables).unwrap_or_else(|errors| {
            for error in errors {
                faults.add("tables", error.to_string());
            }
            TableFilter::all()
        });
        let url = url::parse(&config.url, &mut faults);
        let default = format!("tidewire_{}", options.name.replace('-', "_"));
        let slot = config.slot.unwrap_or_else(|| default.clone());
        if slot.is_empty()
            || slot.len() > 63
            || !slot.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        {
            faults.add("slot", format!("`{slot}` is no slot name: 1 to 63 of a-z, 0-9 and _"));
        }
        let publication = config.publication.unwrap_or(default);
        if publication.is_empty() || publication.len() > 63 || publication.contains('\0') {
            faults.add("publication", format!("`{publication}` is no name: 1 to 63 bytes"));
        }
        let second = Duration::from_secs(1);
        let minute = second * 60;
        let hour = minute * 60;
        let mut span = |key, given: Option<Span>, default, max| {
            let value = given.map_or(default, |span: Span| span.0);
            if value < second || value > max {
                faults.add(key, format!("must lie between 1s and {}s", max.as_secs()));
            }
            value
        };
        let heartbeat_interval =
            span("heartbeat_interval", config.heartbeat_interval, Config::HEARTBEAT_INTERVAL, hour);
        let status_interval = span("status_interval", config.status_interval, Config::STATUS_INTERVAL, minute);
        let lock_timeout = span("lock_timeout", config.lock_timeout, Config::LOCK_TIMEOUT, hour);
        let parallelism = config.snapshot_parallelism.unwrap_or(Config::SNAPSHOT_PARALLELISM);
        if !(1..=64).contains(&parallelism) {
            faults.add("snapshot_parallelism", "must lie between 1 and 64".to_owned());
        }
        let (Some(url), true) = (url, faults.list.is_empty()) else { return Err(faults.list) };
        Ok(Settings {
            application_name: url.application_name.unwrap_or_else(|| application_name(&options.name)),
            name: options.name,
            hosts: url.hosts,
            user: url.user,
            database: url.database,
            password: config.password.or(url.password),
            tls: url.tls,
            target: url.target,
            connect_timeout: url.connect_timeout,
            slot,
            publication,
            heartbeat_interval,
            heartbeat_message: config.heartbeat_message,
            status_interval,
            snapshot_parallelism: usize::from(parallelism),
            lock_timeout,
            tables,
            patterns: options.tables,
            snapshot: options.snapshot,
            secrets: options.secrets,
        })
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("name", &self.name).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// `tidewire/<source>`, cut to the server's 63 bytes.
fn application_name(source: &str) -> String {
    let mut name = format!("tidewire/{source}");
    while name.len() > 63 {
        name.pop();
    }
    name
}

/// Faults found so far.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    list: Vec<ConfigFault>,
}

impl Faults {
    fn add(&mut self, key: &'static str, message: String) {
        self.list.push(ConfigFault { key, message });
    }
}

#[cfg(test)]
pub(crate) mod tests;
