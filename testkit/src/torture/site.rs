//! What is tortured: a database, a broker, a folder of tables, a daemon between them, and proxies on its lines. Knows
//! how to start it, heal it, and ask whether all has arrived.

use super::source::{Kind, Server, Setup};
use crate::folder::RunFolder;
use crate::{Daemon, Kafka, KafkaOptions, Proxy, Shim};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where changes go to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sinks {
    /// Kafka topics.
    pub events: bool,
    /// Delta tables.
    pub lake: bool,
}

/// How long all changes may take to arrive once nothing fails any more.
const CATCH_UP: Duration = Duration::from_secs(180);

#[derive(Debug)]
pub(super) struct Site {
    // Dropped in this order: the daemon first.
    pub(super) daemon: Daemon,
    /// To the source.
    pub(super) line: Proxy,
    pub(super) kafka: Option<Kafka>,
    pub(super) server: Server,
    pub(super) lake: Option<RunFolder>,
    /// Over the daemon's disk and clock.
    pub(super) shim: Shim,
    pub(super) kind: Kind,
    binary: PathBuf,
    config: String,
}

/// What differs between two sites of a kind.
#[derive(Clone, Debug)]
pub(super) struct Build {
    pub(super) kind: Kind,
    pub(super) sinks: Sinks,
    pub(super) setup: Setup,
    /// Of the lake, in milliseconds.
    pub(super) commit_interval: u64,
    /// Whether the lake tells when all of its tables are at one place.
    pub(super) barriers: bool,
}

impl Site {
    /// Starts servers; the daemon is not started yet.
    pub(super) fn new(binary: &Path, build: &Build) -> Result<Site> {
        let server = Server::start(&build.setup)?;
        let line = Proxy::start(server.port())?;
        let broker = KafkaOptions { proxied: true, ..KafkaOptions::default() };
        let kafka = build.sinks.events.then(|| Kafka::start(&broker)).transpose()?;
        let lake = build.sinks.lake.then(|| RunFolder::new("lake")).transpose()?;
        let mut config =
            format!("[sources.shop]\ntables = [\"{}.*\"]\n{}", build.kind.schema(), server.config(line.port()));
        if let Some(proxy) = kafka.as_ref().and_then(Kafka::proxy) {
            config.push_str(&format!(
                "[sinks.events.kafka]\nbrokers = [\"127.0.0.1:{}\"]\ntransaction_timeout = \"10s\"\n",
                proxy.port()
            ));
        }
        if let Some(lake) = &lake {
            config.push_str(&format!(
                "[sinks.lake.delta]\nlocation = \"file://{}\"\ncommit_interval = \"{}ms\"\nbarriers = {}\n",
                lake.path().display(),
                build.commit_interval,
                build.barriers
            ));
        }
        let mut daemon = Daemon::new(binary, &config)?;
        daemon.set_patience(CATCH_UP);
        let shim = Shim::new(daemon.folder())?;
        for (key, value) in shim.environment() {
            daemon.set_env(&key, &value);
        }
        Ok(Site { daemon, line, kafka, server, lake, shim, kind: build.kind, binary: binary.to_owned(), config })
    }

    /// One more of the same configuration, with a state directory of its own; not started yet.
    pub(super) fn another_daemon(&self) -> Result<Daemon> {
        Daemon::new(&self.binary, &self.config)
    }

    /// Folder of the lake.
    pub(super) fn lake(&self) -> Result<&Path> {
        self.lake.as_ref().map(RunFolder::path).context("this site has no lake")
    }

    /// Waits until every sink holds all that is committed now.
    pub(super) fn catch_up(&mut self) -> Result<()> {
        let place = self.server.place()?;
        self.daemon.wait_for("every sink to hold what is committed", |status| place.is_held(status)).map(drop)
    }

    /// Folder of a table.
    pub(super) fn table(&self, table: &str) -> Option<PathBuf> {
        Some(self.lake.as_ref()?.path().join("shop").join(self.kind.schema()).join(table))
    }

    /// Name of a topic.
    pub(super) fn topic(&self, table: &str) -> String {
        format!("shop.{}.{table}", self.kind.schema())
    }

    pub(super) fn kafka(&self) -> Result<&Kafka> {
        self.kafka.as_ref().context("this site has no broker")
    }

    /// Leaves everything for a person to look at.
    pub(super) fn keep(&mut self) {
        self.daemon.keep();
        if let Some(lake) = &mut self.lake {
            lake.keep();
        }
    }
}
