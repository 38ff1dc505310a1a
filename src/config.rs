//! The configuration: a file and the environment above it, layered by figment, every fault reported in one run with its
//! place. What a connector's own section means is the connector's to say; the registry asks it.

mod environment;
mod faults;
mod hide;
mod layer;
mod secret;

pub(crate) use faults::Faults;
pub(crate) use secret::FileSecrets;

use environment::Environment;
use faults::describe;
use figment::Figment;
use figment::value::{Dict, Value};
use layer::Layer;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::quantity::Span;

/// Where the configuration lies when neither `--config` nor `$TIDEWIRE_CONFIG` says otherwise.
pub(crate) const DEFAULT_PATH: &str = "/etc/tidewire/tidewire.toml";

/// The whole configuration, checked as far as the daemon knows it.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where the state directory is.
    pub state_dir: PathBuf,
    /// Time that a stop may take.
    pub shutdown_timeout: Duration,
    /// Address of the status page and the metrics; port 0 takes a free one.
    pub admin_listen: SocketAddr,
    /// Whether metrics carry the `table` label.
    pub metrics_per_table: bool,
    /// Sources by name.
    pub sources: BTreeMap<String, SourceSection>,
    /// Sinks by name.
    pub sinks: BTreeMap<String, SinkSection>,
}

/// How existing rows are read first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Snapshot {
    /// Every row, once, before the log.
    #[default]
    Initial,
    /// Not at all.
    Never,
}

/// `[sources.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SourceSection {
    /// Globs on `schema.table`; `!` takes away, later ones win; none means all.
    #[serde(default)]
    pub tables: Vec<String>,
    /// How existing rows are read first.
    #[serde(default)]
    pub snapshot: Snapshot,
    /// `[sources.NAME.postgres]`.
    pub postgres: Option<Dict>,
    /// `[sources.NAME.mysql]`: reserved, refused with a clear message.
    pub mysql: Option<Dict>,
}

/// `[sinks.NAME]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SinkSection {
    /// Sources that this sink takes; all when absent.
    pub sources: Option<Vec<String>>,
    /// `[sinks.NAME.kafka]`.
    pub kafka: Option<Dict>,
    /// `[sinks.NAME.delta]`.
    pub delta: Option<Dict>,
    /// `[sinks.NAME.null]`: counts and drops, to measure a source.
    pub null: Option<Dict>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Root {
    state_dir: Option<PathBuf>,
    #[serde(default = "default_shutdown_timeout")]
    shutdown_timeout: Span,
    #[serde(default)]
    admin: AdminSection,
    #[serde(default)]
    sources: BTreeMap<String, Value>,
    #[serde(default)]
    sinks: BTreeMap<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct AdminSection {
    #[serde(deserialize_with = "address")]
    listen: SocketAddr,
    table_labels: bool,
}

impl Default for AdminSection {
    fn default() -> AdminSection {
        AdminSection { listen: SocketAddr::from(([127, 0, 0, 1], 9_187)), table_labels: true }
    }
}

/// An address to listen on; the standard library's own message does not say what one looks like.
fn address<'de, D: Deserializer<'de>>(from: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(from)?;
    text.parse().map_err(|_| {
        D::Error::custom(format!("`{text}` is no address: write an IP address and a port, such as \"127.0.0.1:9187\""))
    })
}

fn default_shutdown_timeout() -> Span {
    Span(Duration::from_secs(20))
}

/// Reads and checks the file and the `TIDEWIRE_` variables. `Faults` holds every fault found.
pub(crate) fn load(path: &Path) -> Result<(Config, Faults), Faults> {
    load_with(path, std::env::vars_os())
}

/// The same, with variables that need not be the process's own.
pub(crate) fn load_with(
    path: &Path,
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<(Config, Faults), Faults> {
    let text = std::fs::read_to_string(path).map_err(|error| Faults::unreadable(path, &error))?;
    let mut faults = Faults::parse(path, text)?;
    let (environment, amiss) = Environment::of(variables);
    let layers = environment.layers().map(|dict| Layer { name: "environment", dict });
    let layers = layers.fold(Figment::from(Layer { name: "file", dict: faults.table() }), Figment::merge);
    faults.override_by(environment, amiss);
    let tree = match layers.extract::<Value>() {
        Ok(tree) => tree,
        Err(error) => {
            faults.push("", describe(&error.kind, true));
            return Err(faults);
        }
    };
    let Some(root) = faults.extract::<Root>("", tree) else {
        return Err(faults);
    };
    let mut config = Config {
        state_dir: root.state_dir.or_else(state_directory).unwrap_or_else(|| PathBuf::from("tidewire-state")),
        shutdown_timeout: root.shutdown_timeout.0,
        admin_listen: root.admin.listen,
        metrics_per_table: root.admin.table_labels,
        sources: BTreeMap::new(),
        sinks: BTreeMap::new(),
    };
    let known: Vec<String> = root.sources.keys().cloned().collect();
    for (name, value) in root.sources {
        check_name(&mut faults, "sources", &name);
        if let Some(section) = faults.extract(&format!("sources.{name}"), value) {
            config.sources.insert(name, section);
        }
    }
    for (name, value) in root.sinks {
        check_name(&mut faults, "sinks", &name);
        if let Some(section) = faults.extract(&format!("sinks.{name}"), value) {
            config.sinks.insert(name, section);
        }
    }
    check_wiring(&mut faults, &config, &known);
    Ok((config, faults))
}

/// The directory that systemd made for the service.
fn state_directory() -> Option<PathBuf> {
    std::env::var_os("STATE_DIRECTORY").filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn check_name(faults: &mut Faults, section: &str, name: &str) {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    if name.is_empty() || name.len() > 48 || !name.chars().all(fits) {
        faults.push(
            &format!("{section}.{name}"),
            "the name is part of topics, paths and positions: use 1 to 48 of `a-z`, `0-9`, `_`, `-`",
        );
    }
}

fn check_wiring(faults: &mut Faults, config: &Config, known: &[String]) {
    if config.sources.is_empty() && faults.is_empty() {
        faults.push("sources", "no source is configured: add a `[sources.NAME.postgres]` table");
    }
    if config.sinks.is_empty() && faults.is_empty() {
        faults.push("sinks", "no sink is configured: add a `[sinks.NAME.kafka]` or `[sinks.NAME.delta]` table");
    }
    for (sink, section) in &config.sinks {
        for source in section.sources.iter().flatten() {
            if !known.contains(source) {
                let known = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
                faults.push(
                    &format!("sinks.{sink}.sources"),
                    format!("`{source}` is not a configured source; there is {known}"),
                );
            }
        }
    }
}

impl SinkSection {
    /// Whether a source flows into it.
    fn takes(&self, source: &str) -> bool {
        self.sources.as_ref().is_none_or(|list| list.iter().any(|name| name == source))
    }
}

impl Config {
    /// The names of the sinks that a source flows into.
    pub(crate) fn sinks_of<'a>(&'a self, source: &'a str) -> impl Iterator<Item = &'a str> {
        self.sinks.iter().filter(move |(_, sink)| sink.takes(source)).map(|(name, _)| name.as_str())
    }

    /// The names of the sources that flow into a sink.
    pub(crate) fn sources_of(&self, sink: &SinkSection) -> Vec<Arc<str>> {
        self.sources.keys().filter(|name| sink.takes(name)).map(|name| Arc::from(name.as_str())).collect()
    }
}

#[cfg(test)]
mod tests;
