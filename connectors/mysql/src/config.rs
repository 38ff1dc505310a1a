//! The `[sources.NAME.mysql]` table: as it is written, and as checked settings whose fields cannot be wrong.
//! Pure: reads no file, resolves no secret, connects nowhere.

mod url;

pub(crate) use tidewire_tls::Host;
pub(crate) use url::Compression;

use crate::typemap::ZeroDates;
use aws_lc_rs::digest::{SHA256, digest};
use serde::Deserialize;
use std::fmt;
use std::path::PathBuf;
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
    /// `mysql://user@host[:port][,host2...]?key=value`. Keys: `ssl-mode` (the mysql client's words; `sslmode` takes
    /// PostgreSQL's), `ssl-ca`, `ssl-cert`, `ssl-key`, `connect_timeout` (seconds), `compression` (`none`, `zlib`,
    /// `zstd`), `socket` (a local socket's path). Without `ssl-mode`, another machine must prove itself
    /// (`VERIFY_IDENTITY`), this machine need not (`PREFERRED`).
    pub url: String,
    /// The login's password; wins over one in the URL. Read again at every connection.
    #[serde(default)]
    pub password: Option<SecretRef>,
    /// Our number among the server's replicas, 1 to 4294967295; derived from the source's name when absent.
    #[serde(default)]
    pub server_id: Option<u32>,
    /// While nothing is logged: how often the server shows that it lives, 1 s to 5 min. A server that is silent for
    /// three times as long is given up.
    #[serde(default)]
    pub heartbeat_interval: Option<Span>,
    /// How many tables a snapshot reads at a time, 1 to 64.
    #[serde(default)]
    pub snapshot_parallelism: Option<u16>,
    /// How long a snapshot waits for a lock, 1 s to 1 h.
    #[serde(default)]
    pub lock_timeout: Option<Span>,
    /// What becomes of dates that no calendar has, such as `0000-00-00`.
    #[serde(default)]
    pub zero_dates: ZeroDatePolicy,
    /// How the place in the log is kept.
    #[serde(default)]
    pub position: PositionMode,
    /// Whether the server's key may be asked for over a connection that is not encrypted, to send the password with.
    #[serde(default)]
    pub get_server_public_key: bool,
    /// The server's key in a PEM file, instead of asking for it.
    #[serde(default)]
    pub server_public_key: Option<PathBuf>,
}

impl Config {
    const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(10);
    const SNAPSHOT_PARALLELISM: u16 = 4;
    const LOCK_TIMEOUT: Duration = Duration::from_secs(30);
}

/// What becomes of a date that no calendar has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ZeroDatePolicy {
    /// The source halts and names the value.
    #[default]
    Halt,
    /// Null; the epoch where the column forbids null.
    Null,
    /// 1970-01-01.
    Epoch,
    /// The columns become text.
    String,
}

/// How the place in the log is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PositionMode {
    /// By GTID where the server has them, else by file.
    #[default]
    Auto,
    /// By GTID; a server without them is refused.
    Gtid,
    /// By file and offset.
    File,
}

/// How the server's key is come by where the password cannot be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ServerKey {
    /// Not at all: such a login is refused.
    Never,
    /// Asked for, over whatever connection there is.
    Ask,
    /// In this PEM file.
    File(PathBuf),
}

/// The checked form.
pub(crate) struct Settings {
    /// The source's name.
    pub(crate) name: Arc<str>,
    /// Servers, tried in this order. Never empty.
    pub(crate) hosts: Vec<Host>,
    /// Login.
    pub(crate) user: String,
    /// Where the login's password comes from.
    pub(crate) password: Option<SecretRef>,
    /// Encryption.
    pub(crate) tls: TlsSettings,
    /// How the server's key is come by.
    pub(crate) server_key: ServerKey,
    /// How the protocol is compressed.
    pub(crate) compression: Compression,
    /// Limit of a connection attempt to one server, TLS and login included.
    pub(crate) connect_timeout: Duration,
    /// Our number among the server's replicas; never 0.
    pub(crate) server_id: u32,
    /// Our UUID among the server's replicas, as text of 36 characters; the same at every start.
    pub(crate) replica_uuid: String,
    /// How often a silent server shows that it lives.
    pub(crate) heartbeat_interval: Duration,
    /// Tables read at a time.
    pub(crate) snapshot_parallelism: usize,
    /// How long to wait for a lock.
    pub(crate) lock_timeout: Duration,
    /// What becomes of dates that no calendar has.
    pub(crate) zero_dates: ZeroDates,
    /// How the place in the log is kept.
    pub(crate) position: PositionMode,
    /// What is captured.
    pub(crate) tables: TableFilter,
    /// The same as it is written.
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
        if config.server_id == Some(0) {
            faults.add("server_id", "must lie between 1 and 4294967295".to_owned());
        }
        let server_key = match (config.get_server_public_key, config.server_public_key) {
            (true, Some(_)) => {
                let message = "is one way or the other: keep it, or `get_server_public_key`";
                faults.add("server_public_key", message.to_owned());
                ServerKey::Never
            }
            (true, None) => ServerKey::Ask,
            (false, Some(file)) => ServerKey::File(file),
            (false, None) => ServerKey::Never,
        };
        let minutes = |count: u64| Duration::from_secs(60 * count);
        let mut span = |key, given: Option<Span>, default, max: Duration| {
            let value = given.map_or(default, |span: Span| span.0);
            if value < Duration::from_secs(1) || value > max {
                faults.add(key, format!("must lie between 1s and {}s", max.as_secs()));
            }
            value
        };
        let heartbeat_interval =
            span("heartbeat_interval", config.heartbeat_interval, Config::HEARTBEAT_INTERVAL, minutes(5));
        let lock_timeout = span("lock_timeout", config.lock_timeout, Config::LOCK_TIMEOUT, minutes(60));
        let parallelism = config.snapshot_parallelism.unwrap_or(Config::SNAPSHOT_PARALLELISM);
        if !(1..=64).contains(&parallelism) {
            faults.add("snapshot_parallelism", "must lie between 1 and 64".to_owned());
        }
        let (Some(url), true) = (url, faults.list.is_empty()) else { return Err(faults.list) };
        let server_id = config.server_id.unwrap_or_else(|| derived_server_id(&options.name));
        Ok(Settings {
            server_id,
            replica_uuid: derived_uuid(&options.name, server_id),
            name: options.name,
            hosts: url.hosts,
            user: url.user,
            password: config.password.or(url.password),
            tls: url.tls,
            server_key,
            compression: url.compression,
            connect_timeout: url.connect_timeout,
            heartbeat_interval,
            snapshot_parallelism: usize::from(parallelism),
            lock_timeout,
            zero_dates: match config.zero_dates {
                ZeroDatePolicy::Halt => ZeroDates::Halt,
                ZeroDatePolicy::Null => ZeroDates::Null,
                ZeroDatePolicy::Epoch => ZeroDates::Epoch,
                ZeroDatePolicy::String => ZeroDates::Text,
            },
            position: config.position,
            tables,
            patterns: options.tables,
            snapshot: options.snapshot,
            secrets: options.secrets,
        })
    }

    /// How long the server's silence is borne while the log is read (MY-58).
    pub(crate) fn silence_limit(&self) -> Duration {
        self.heartbeat_interval * 3
    }

    /// How we call ourselves to the server: `tidewire/<source>`, cut to the 60 bytes of a replica's host name.
    pub(crate) fn client_name(&self) -> String {
        let mut name = format!("tidewire/{}", self.name);
        while name.len() > 60 {
            name.pop();
        }
        name
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("name", &self.name).field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// A number in the upper half, where people who number their servers by hand seldom are (MY-57).
fn derived_server_id(source: &str) -> u32 {
    let hash = digest(&SHA256, format!("tidewire server_id {source}").as_bytes());
    let number = hash.as_ref().iter().take(4).fold(0u32, |number, byte| (number << 8) | u32::from(*byte));
    // The highest number is left out: some tools take it for "not set".
    (number | 0x8000_0000).min(u32::MAX - 1)
}

/// A UUID of version 8 (RFC 9562, section 5.8).
fn derived_uuid(source: &str, server_id: u32) -> String {
    let hash = digest(&SHA256, format!("tidewire replica_uuid {source} {server_id}").as_bytes());
    let mut number = hash.as_ref().iter().take(16).fold(0u128, |number, byte| (number << 8) | u128::from(*byte));
    number = number & !(0xF << 76) | 0x8 << 76;
    number = number & !(0x3 << 62) | 0x2 << 62;
    let part = |shift: u32, digits: usize| {
        let mask = (1u128 << (4 * digits)) - 1;
        format!("{:0digits$x}", (number >> shift) & mask)
    };
    [part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12)].join("-")
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
mod tests;
