//! What is tortured: a database, a broker, a folder of tables, a daemon between them, and proxies on its lines. Knows
//! how to start it, heal it, and ask whether all has arrived.

use super::brokers::Brokers;
use super::lake::Lake;
use super::modes::Modes;
use super::replica::Replica;
use super::source::{Address, Kind, Server, Setup};
use crate::oracle::Witness;
use crate::readers::Location;
use crate::{Daemon, Proxy, Shim};
use anyhow::{Context, Result, ensure};
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

/// How long no sink may move, once nothing fails any more, before all changes have arrived.
const STALL: Duration = Duration::from_secs(120);
/// How long all changes may take to arrive: sinks are left with what the faults let pile up.
const CATCH_UP: Duration = Duration::from_secs(900);

#[derive(Debug)]
pub(super) struct Site {
    // Dropped in this order: the daemon first.
    pub(super) daemon: Daemon,
    /// To the source.
    pub(super) line: Proxy,
    pub(super) kafka: Option<Brokers>,
    pub(super) server: Server,
    /// Where the database's own sessions find it.
    pub(super) address: Address,
    /// Follows the server until it takes over.
    pub(super) replica: Option<Replica>,
    /// The account of a log that is not the first server's: the replica has taken over.
    successor: Option<Witness>,
    /// Places in the log are those of two servers.
    pub(super) has_two_logs: bool,
    pub(super) lake: Option<Lake>,
    /// Over the daemon's disk and clock.
    pub(super) shim: Shim,
    pub(super) kind: Kind,
    pub(super) modes: Modes,
    /// Whether all can be had again without the state directory.
    pub(super) may_lose_state: bool,
    binary: PathBuf,
    config: String,
    /// Of the tables, within the lake, with a slash at its end; nothing but where a sink has moved.
    location: &'static str,
}

/// What differs between two sites of a kind.
#[derive(Clone, Debug)]
pub(super) struct Build {
    pub(super) kind: Kind,
    pub(super) sinks: Sinks,
    pub(super) setup: Setup,
    /// Whether a second server follows, which takes over once.
    pub(super) replica: bool,
    /// Whether there are three brokers, of which any may go.
    pub(super) three_brokers: bool,
    /// Whether the tables are in a bucket.
    pub(super) bucket: bool,
    /// Of the lake, in milliseconds.
    pub(super) commit_interval: u64,
    /// Lines of each Delta sink's configuration about how long replaced files stay.
    pub(super) retention: &'static str,
    /// Whether the lake tells when all of its tables are at one place.
    pub(super) barriers: bool,
    /// What it has beside plain mirrors.
    pub(super) modes: Modes,
    /// Whether all can be had again without the state directory.
    pub(super) may_lose_state: bool,
}

impl Build {
    /// For the report.
    pub(super) fn name(&self) -> String {
        let replica = if self.replica { ", replica" } else { "" };
        let brokers = if self.three_brokers { ", three brokers" } else { "" };
        let bucket = if self.bucket { ", bucket" } else { "" };
        self.setup.name() + replica + brokers + bucket + &self.modes.name()
    }
}

impl Site {
    /// Starts servers; the daemon is not started yet.
    pub(super) fn new(binary: &Path, build: &Build) -> Result<Site> {
        let mut server = Server::start(&build.setup)?;
        let replica = build.replica.then(|| Replica::of(&mut server, &build.setup)).transpose()?;
        let line = Proxy::start(server.port())?;
        let kafka = build.sinks.events.then(|| Brokers::start(build.three_brokers)).transpose()?;
        let lake = build.sinks.lake.then(|| Lake::new(build.bucket)).transpose()?;
        let mut config =
            format!("[sources.shop]\ntables = [\"{}.*\"]\n{}", build.kind.schema(), server.config(line.port()));
        if let Some(kafka) = &kafka {
            let ways = kafka.proxies();
            let ways: Vec<String> = ways.iter().map(|proxy| format!("\"127.0.0.1:{}\"", proxy.port())).collect();
            let ways = ways.join(", ");
            config.push_str(&format!("[sinks.events.kafka]\nbrokers = [{ways}]\ntransaction_timeout = \"10s\"\n"));
        }
        if let Some(lake) = &lake {
            config.push_str(&format!(
                "[sinks.lake.delta]\nlocation = \"{}\"\ncommit_interval = \"{}ms\"\nbarriers = {}\ncolumn_mapping = {}\n{}{}",
                lake.url(),
                build.commit_interval,
                build.barriers,
                build.modes.mapped,
                build.retention,
                lake.storage("lake"),
            ));
            config.push_str(&build.modes.config(build.kind, lake, build.retention));
        }
        let mut daemon = Daemon::new(binary, &config)?;
        daemon.set_patience(STALL);
        let shim = Shim::new(daemon.folder())?;
        for (key, value) in shim.environment() {
            daemon.set_env(&key, &value);
        }
        let (address, kind, binary) = (server.target().into(), build.kind, binary.to_owned());
        let (successor, has_two_logs) = (None, false);
        Ok(Site {
            daemon,
            line,
            kafka,
            server,
            address,
            replica,
            successor,
            has_two_logs,
            lake,
            shim,
            kind,
            modes: build.modes,
            may_lose_state: build.may_lose_state,
            binary,
            config,
            location: "",
        })
    }

    /// One that sees every change from now on.
    pub(super) fn witness(&mut self) -> Result<Witness> {
        match &mut self.replica {
            Some(replica) => replica.witness(&self.server),
            None => self.server.witness(),
        }
    }

    /// Takes a witness to where the log is now: its server was restarted, or is another one.
    pub(super) fn bring(&mut self, witness: &mut Witness) -> Result<()> {
        if let Some(successor) = self.successor.take() {
            *witness = successor;
        }
        if let Server::Postgres(server) = &self.server {
            witness.reconnect(server.client()?);
        }
        Ok(())
    }

    /// The database is gone for good, and its replica has all that anybody was told.
    pub(super) fn lose_database(&mut self) -> Result<()> {
        self.replica.as_ref().context("this site has no replica")?.outlive(&mut self.server)
    }

    /// The replica takes over, and whoever looks for the database finds it.
    pub(super) fn turn_to_replica(&mut self) -> Result<()> {
        let replica = self.replica.take().context("this site has no replica")?;
        (self.server, self.successor) = replica.take_over()?;
        self.has_two_logs = self.successor.is_some();
        self.line.turn_to(self.server.port());
        self.address.move_to(self.server.target());
        Ok(())
    }

    /// One more of the same configuration, with a state directory of its own; not started yet.
    pub(super) fn another_daemon(&self) -> Result<Daemon> {
        Daemon::new(&self.binary, &self.config)
    }

    /// Changes the configuration, from the next start on: each text that is there for another one.
    pub(super) fn configure(&mut self, changes: &[(&str, &str)]) -> Result<()> {
        for (from, to) in changes {
            ensure!(self.config.contains(from), "the configuration has no `{from}`");
            self.config = self.config.replace(from, to);
        }
        self.daemon.write_config(&self.config)
    }

    /// Gives the sink of the topics a new name, as an operator may for its tables to be read anew.
    pub(super) fn rename_events(&mut self) -> Result<()> {
        self.configure(&[("[sinks.events.kafka]", "[sinks.events_anew.kafka]")])
    }

    /// Gives the lake's sink a new name and location.
    pub(super) fn move_lake(&mut self) -> Result<()> {
        self.location = "anew/";
        let url = self.lake()?.url();
        let (from, to) = (format!("\"{url}\""), format!("\"{url}/anew\""));
        self.configure(&[("[sinks.lake.delta", "[sinks.lake_anew.delta"), (&from, &to)])
    }

    /// Leaves a second sink of tables out of the configuration, from the next start on.
    pub(super) fn leave_second(&mut self) -> Result<()> {
        if let Some((before, _)) = self.config.split_once(&self.modes.head()) {
            self.config = before.to_owned();
        }
        self.daemon.write_config(&self.config)
    }

    pub(super) fn lake(&self) -> Result<&Lake> {
        self.lake.as_ref().context("this site has no lake")
    }

    /// Waits until every sink holds all that is committed now.
    pub(super) fn catch_up(&mut self) -> Result<()> {
        let place = self.server.place()?;
        let what = "every sink to hold what is committed";
        self.daemon.wait_while_moving(what, CATCH_UP, |status| place.is_held(status)).map(drop)
    }

    /// Path of a table within the lake.
    pub(super) fn path(&self, table: &str) -> String {
        format!("{}shop/{}/{table}", self.location, self.kind.schema())
    }

    /// Where readers find a table.
    pub(super) fn table(&self, table: &str) -> Result<Location> {
        Ok(self.lake()?.at(&self.path(table)))
    }

    /// Name of a topic.
    pub(super) fn topic(&self, table: &str) -> String {
        format!("shop.{}.{table}", self.kind.schema())
    }

    pub(super) fn kafka(&self) -> Result<&Brokers> {
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
