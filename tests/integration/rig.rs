//! What most tests stand on: a PostgreSQL with the workload's tables, a broker where asked, a daemon, and the
//! question whether it has caught up.

use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidewire_testkit::kafka::{Isolation, Record};
use tidewire_testkit::oracle::{self, Witness};
pub(crate) use tidewire_testkit::position::{lsn, position_lsn};
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::{TABLES, Workload};
use tidewire_testkit::{Daemon, Kafka, KafkaOptions, Postgres, PostgresOptions};

/// Path of the daemon under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_tidewire");

/// The version that tests use which are not about versions.
pub(crate) const POSTGRES: u16 = 17;

/// Which sinks a rig has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sinks {
    Lake,
    Events,
    Both,
}

pub(crate) struct Rig {
    // Fields are dropped in this order: the daemon first.
    pub(crate) daemon: Daemon,
    pub(crate) kafka: Option<Kafka>,
    pub(crate) postgres: Postgres,
    pub(crate) lake: TempDir,
}

impl Rig {
    /// Servers with the workload's tables and a daemon that is not started yet.
    pub(crate) fn new(sinks: Sinks) -> Result<Rig> {
        Rig::with(sinks, &PostgresOptions::version(POSTGRES), "")
    }

    /// The same with a server of one's choice and more lines of configuration at its end.
    pub(crate) fn with(sinks: Sinks, options: &PostgresOptions, more: &str) -> Result<Rig> {
        Rig::build(sinks, options, &KafkaOptions::default(), more)
    }

    /// Topics only, in a broker of one's choice.
    pub(crate) fn with_broker(broker: &KafkaOptions) -> Result<Rig> {
        Rig::build(Sinks::Events, &PostgresOptions::version(POSTGRES), broker, "")
    }

    fn build(sinks: Sinks, options: &PostgresOptions, broker: &KafkaOptions, more: &str) -> Result<Rig> {
        let postgres = Postgres::start(options)?;
        Workload::create_tables(&postgres.client()?)?;
        let kafka = (sinks != Sinks::Lake).then(|| Kafka::start(broker)).transpose()?;
        let lake = tempfile::tempdir().context("make a folder for the tables")?;
        let url = postgres.url("postgres");
        let config = config(&url, kafka.as_ref(), (sinks != Sinks::Events).then(|| lake.path()), more);
        let mut daemon = Daemon::new(BINARY, &config)?;
        if sinks == Sinks::Both {
            // With two cores for everything a sink may keep the other waiting for two seconds; it says so.
            daemon.allow_log("sink_left_behind");
        }
        Ok(Rig { daemon, kafka, postgres, lake })
    }

    pub(crate) fn client(&self) -> Result<Client> {
        self.postgres.client()
    }

    /// Folder of a mirror.
    pub(crate) fn table(&self, table: &str) -> PathBuf {
        self.lake.path().join("shop/public").join(table)
    }

    /// Waits until every sink holds all that is committed now.
    pub(crate) fn catch_up(&mut self) -> Result<()> {
        let target = lsn(&self.client()?.value("SELECT pg_current_wal_lsn()")?)?;
        self.daemon.wait_for("every sink to hold what is committed", |status| holds(status, target))?;
        Ok(())
    }

    /// Compares every mirror with its source, by every column.
    pub(crate) fn check_lake(&self, with: &[Reader]) -> Result<()> {
        let client = self.client()?;
        for table in TABLES {
            oracle::check_mirror(&client, "public", table, &self.table(table), with)?;
        }
        Ok(())
    }

    /// A topic's committed records.
    pub(crate) fn records(&self, table: &str) -> Result<Vec<Record>> {
        let kafka = self.kafka.as_ref().context("this rig has no broker")?;
        kafka.consume(&format!("shop.public.{table}"), Isolation::ReadCommitted)
    }

    /// Compares every topic, folded, with its source, and, with a witness, each change with what was committed.
    pub(crate) fn check_events(&self, witness: Option<&Witness>) -> Result<()> {
        let client = self.client()?;
        for table in TABLES {
            let fold = oracle::check_topic(&client, "public", table, &self.records(table)?)?;
            if let Some(witness) = witness {
                witness.must_equal(&format!("public.{table}"), fold.changes(), true)?;
            }
        }
        Ok(())
    }
}

/// A configuration for one source `shop` and the sinks `events` and `lake`.
pub(crate) fn config(url: &str, kafka: Option<&Kafka>, lake: Option<&Path>, more: &str) -> String {
    let mut text = format!(
        "[sources.shop]\ntables = [\"public.*\"]\n[sources.shop.postgres]\nurl = \"{url}\"\nheartbeat_interval = \"1s\"\n"
    );
    if let Some(kafka) = kafka {
        text.push_str(&format!("[sinks.events.kafka]\nbrokers = [\"{}\"]\n", kafka.brokers()));
    }
    if let Some(lake) = lake {
        text.push_str(&format!(
            "[sinks.lake.delta]\nlocation = \"file://{}\"\ncommit_interval = \"200ms\"\n",
            lake.display()
        ));
    }
    text.push_str(more);
    text
}

/// Whether every sink of every source holds everything up to `target`.
pub(crate) fn holds(status: &Value, target: u64) -> bool {
    let sinks = status["sources"].as_object().into_iter().flat_map(|sources| sources.values());
    let mut sinks =
        sinks.flat_map(|source| source["sinks"].as_object().into_iter().flat_map(|sinks| sinks.values())).peekable();
    sinks.peek().is_some()
        && sinks.all(|sink| {
            sink["position"].as_str().and_then(|text| position_lsn(text).ok()).is_some_and(|lsn| lsn >= target)
        })
}

/// How many data files lie in a table's folder.
pub(crate) fn data_files(folder: &Path) -> Result<usize> {
    let names = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<Result<Vec<_>>>()?;
    Ok(names.iter().filter(|name| name.to_string_lossy().ends_with(".parquet")).count())
}
