//! What these tests stand on: a MySQL or MariaDB with the workload's tables, a broker where asked, a daemon that logs in as a
//! limited user, and the question whether it has caught up.

use crate::rig::{BINARY, Sinks};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tidewire_testkit::kafka::{Isolation, Record};
use tidewire_testkit::mysql::{Client, DATABASE};
use tidewire_testkit::oracle::{self, Witness};
use tidewire_testkit::position::{transactions_of_mariadb, transactions_of_mysql};
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::{TABLES, Workload};
use tidewire_testkit::{Daemon, Kafka, KafkaOptions, Mysql, MysqlOptions, MysqlVersion};

/// The version that tests use which are not about versions.
pub(crate) const NEWEST: MysqlVersion = MysqlVersion::MySql97;
/// Name of the source in every configuration.
pub(crate) const SOURCE: &str = "crm";
/// The daemon's account; its password is its name.
pub(crate) const USER: &str = "cdc";

pub(crate) struct Rig {
    // Fields are dropped in this order: the daemon first.
    pub(crate) daemon: Daemon,
    pub(crate) kafka: Option<Kafka>,
    pub(crate) server: Mysql,
    pub(crate) lake: TempDir,
}

impl Rig {
    /// A server of a version with the workload's tables and a daemon that is not started yet.
    pub(crate) fn new(sinks: Sinks, version: MysqlVersion) -> Result<Rig> {
        Rig::with(sinks, &MysqlOptions::version(version), "")
    }

    /// The same with a server of one's choice and more lines of the source's configuration.
    pub(crate) fn with(sinks: Sinks, options: &MysqlOptions, more: &str) -> Result<Rig> {
        let server = Mysql::start(options)?;
        server.create_limited_user(USER, &[DATABASE])?;
        Workload::create_tables(&server.client()?)?;
        let kafka = (sinks != Sinks::Lake).then(|| Kafka::start(&KafkaOptions::default())).transpose()?;
        let lake = tempfile::tempdir().context("make a folder for the tables")?;
        let mut rig = Rig { daemon: Daemon::new(BINARY, "")?, kafka, server, lake };
        rig.daemon.write_config(&rig.config(sinks, rig.server.port(), more))?;
        if sinks == Sinks::Both {
            // With two cores for everything a sink may keep the other waiting for two seconds; it says so.
            rig.daemon.allow_log("sink_left_behind");
        }
        Ok(rig)
    }

    /// A configuration that reads from a port of this machine.
    pub(crate) fn config(&self, sinks: Sinks, port: u16, more: &str) -> String {
        config(port, self.kafka.as_ref(), (sinks != Sinks::Events).then(|| self.lake.path()), more)
    }

    pub(crate) fn client(&self) -> Result<Client> {
        self.server.client()
    }

    /// Folder of a mirror.
    pub(crate) fn table(&self, table: &str) -> PathBuf {
        self.lake.path().join(SOURCE).join(DATABASE).join(table)
    }

    /// Waits until every sink holds all that is committed now.
    pub(crate) fn catch_up(&mut self) -> Result<()> {
        let target = Target::of(&self.server)?;
        self.daemon.wait_for("every sink to hold what is committed", |status| target.is_held(status))?;
        Ok(())
    }

    /// Compares mirrors with their tables, by every column.
    pub(crate) fn check_mirrors(&self, tables: &[&str], with: &[Reader]) -> Result<()> {
        let client = self.client()?;
        tables.iter().try_for_each(|table| oracle::check_mirror(&client, DATABASE, table, &self.table(table), with))
    }

    /// The same of the workload's tables.
    pub(crate) fn check_lake(&self, with: &[Reader]) -> Result<()> {
        self.check_mirrors(&TABLES, with)
    }

    /// A topic's committed records.
    pub(crate) fn records(&self, table: &str) -> Result<Vec<Record>> {
        let kafka = self.kafka.as_ref().context("this rig has no broker")?;
        kafka.consume(&format!("{SOURCE}.{DATABASE}.{table}"), Isolation::ReadCommitted)
    }

    /// Compares topics, folded, with their tables, and, with a witness, each change with what was committed.
    pub(crate) fn check_topics(&self, tables: &[&str], witness: Option<&Witness>) -> Result<()> {
        let client = self.client()?;
        for table in tables {
            let fold = oracle::check_topic(&client, DATABASE, table, &self.records(table)?)?;
            if let Some(witness) = witness {
                witness.must_equal(&format!("{DATABASE}.{table}"), fold.changes(), true)?;
            }
        }
        Ok(())
    }

    /// The same of the workload's tables.
    pub(crate) fn check_events(&self, witness: Option<&Witness>) -> Result<()> {
        self.check_topics(&TABLES, witness)
    }
}

/// A configuration for one source and the sinks `events` and `lake`. `more` are further lines of the source.
pub(crate) fn config(port: u16, kafka: Option<&Kafka>, lake: Option<&Path>, more: &str) -> String {
    let mut text = format!(
        "[sources.{SOURCE}]\ntables = [\"{DATABASE}.*\"]\n[sources.{SOURCE}.mysql]\nurl = \"mysql://{USER}@127.0.0.1:{port}\"\n\
         password = \"{USER}\"\nheartbeat_interval = \"1s\"\n{more}"
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
    text
}

/// A place in a server's log: how many transactions lie before it by their global ids, and where it is in the files.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    transactions: u64,
    file: String,
    offset: u64,
}

impl Target {
    /// Where the server is now.
    pub(crate) fn of(server: &Mysql) -> Result<Target> {
        let ask = if server.version().is_mariadb() { "SELECT @@gtid_binlog_pos" } else { "SELECT @@gtid_executed" };
        let set = server.client()?.value(ask)?;
        let transactions = if server.version().is_mariadb() {
            transactions_of_mariadb(&set)?
        } else {
            transactions_of_mysql(&set.replace('\n', ""))?
        };
        let (file, offset) = server.log_place()?;
        Ok(Target { transactions, file, offset })
    }

    /// Whether every sink of every source holds everything up to here.
    pub(crate) fn is_held(&self, status: &Value) -> bool {
        let sinks = status["sources"].as_object().into_iter().flat_map(|sources| sources.values());
        let mut sinks = sinks
            .flat_map(|source| source["sinks"].as_object().into_iter().flat_map(|sinks| sinks.values()))
            .peekable();
        sinks.peek().is_some() && sinks.all(|sink| sink["position"].as_str().is_some_and(|text| self.is_before(text)))
    }

    /// Whether a position's text lies here or later.
    pub(crate) fn is_before(&self, position: &str) -> bool {
        self.compare(position).unwrap_or(false)
    }

    // `mysql-gtid:SET`, `mariadb-gtid:DOMAINS`, `mysql-file:SERVER/FILE:OFFSET`; what follows a semicolon is inside of a
    // transaction, or prepared.
    fn compare(&self, position: &str) -> Result<bool> {
        let place = position.split(';').next().unwrap_or_default();
        let (kind, rest) = place.split_once(':').context("a position without its kind")?;
        match kind {
            "mysql-gtid" => Ok(transactions_of_mysql(rest)? >= self.transactions),
            "mariadb-gtid" => Ok(transactions_of_mariadb(rest)? >= self.transactions),
            "mysql-file" | "mariadb-file" => {
                let (file, offset) = rest.rsplit_once(':').context("a place without its offset")?;
                let file = file.rsplit('/').next().unwrap_or_default();
                Ok((file, offset.parse::<u64>()?) >= (self.file.as_str(), self.offset))
            }
            _ => bail!("`{position}` is no position of MySQL"),
        }
    }
}
