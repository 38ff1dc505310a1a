//! The databases that are tortured, under one face: started, killed, stopped, asked. Knows nothing of what is written to
//! them.

use crate::mysql::DATABASE;
use crate::oracle::Witness;
pub(super) use crate::session::{Address, Session, Target};
use crate::workload::Dice;
use crate::{Mysql, MysqlOptions, MysqlVersion, Postgres, PostgresOptions, position, wait};
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::Value;

/// Which database.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// PostgreSQL.
    #[default]
    Postgres,
    /// MySQL.
    Mysql,
    /// MariaDB.
    MariaDb,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Postgres, Kind::Mysql, Kind::MariaDb];

    /// In small letters.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Postgres => "postgres",
            Kind::Mysql => "mysql",
            Kind::MariaDb => "mariadb",
        }
    }

    /// By its name.
    pub fn of(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Schema, or database, of the tables.
    pub(super) fn schema(self) -> &'static str {
        if self == Kind::Postgres { "public" } else { DATABASE }
    }
}

/// The daemon's account in MySQL and MariaDB; its password is its name.
const USER: &str = "cdc";

/// Which server of a kind, and how it logs.
#[derive(Clone, Debug)]
pub(super) enum Setup {
    /// A major version.
    Postgres(u16),
    Mysql(MysqlOptions),
}

const MARIADB: [MysqlVersion; 4] =
    [MysqlVersion::MariaDb118, MysqlVersion::MariaDb114, MysqlVersion::MariaDb1011, MysqlVersion::MariaDb105];

impl Setup {
    /// Of the seed's choice; the newest versions in every second round. A topic has no place for most of what a minimal
    /// image leaves out.
    pub(super) fn of(kind: Kind, has_topics: bool, dice: &mut Dice) -> Setup {
        let is_newest = dice.one_in(2);
        let version = match kind {
            Kind::Postgres => return Setup::Postgres(if is_newest { 17 } else { 13 + dice.below(6) as u16 }),
            Kind::Mysql if is_newest || dice.one_in(2) => MysqlVersion::MySql97,
            Kind::Mysql => MysqlVersion::MySql8031,
            Kind::MariaDb if is_newest => MysqlVersion::MariaDb118,
            Kind::MariaDb => MARIADB.get(dice.below(4) as usize).copied().unwrap_or(MysqlVersion::MariaDb118),
        };
        let mut options = MysqlOptions::version(version).row_image(match dice.below(4) {
            0 if !has_topics => "MINIMAL",
            0 | 1 => "NOBLOB",
            _ => "FULL",
        });
        if dice.one_in(3) {
            options = options.compressed();
        }
        if dice.one_in(3) {
            options = options.row_metadata("MINIMAL");
        }
        if kind == Kind::Mysql && dice.one_in(4) {
            options = options.without_gtid();
        }
        Setup::Mysql(options)
    }

    /// Whether rows in the log can only be read by the definitions that the daemon keeps.
    pub(super) fn needs_definitions(&self) -> bool {
        matches!(self, Setup::Mysql(options) if options.row_metadata != "FULL")
    }

    /// For the report.
    pub(super) fn name(&self) -> String {
        let options = match self {
            Setup::Postgres(major) => return format!("PostgreSQL {major}"),
            Setup::Mysql(options) => options,
        };
        let version = options.version.map_or_else(|| "?".to_owned(), |version| version.name().to_owned());
        let mut name = format!("{version} {}", options.row_image.to_lowercase());
        for (is_so, word) in [
            (options.row_metadata != "FULL", "minimal metadata"),
            (options.compression, "compressed"),
            (!options.gtid, "file and offset"),
        ] {
            if is_so {
                name.push_str(&format!(", {word}"));
            }
        }
        name
    }
}

/// A server.
#[derive(Debug)]
pub(super) enum Server {
    Postgres(Box<Postgres>),
    Mysql(Box<Mysql>, bool),
}

impl Server {
    /// Starts one.
    pub(super) fn start(setup: &Setup) -> Result<Server> {
        let options = match setup {
            Setup::Postgres(major) => {
                let options = PostgresOptions::version(*major)
                    .set("max_prepared_transactions", "16")
                    .set("deadlock_timeout", "100ms")
                    .set("wal_sender_timeout", "5s")
                    .set("logical_decoding_work_mem", "1MB")
                    .set("max_wal_size", "4GB");
                return Ok(Server::Postgres(Box::new(Postgres::start(&options)?)));
            }
            Setup::Mysql(options) => options,
        };
        let server = Mysql::start(&settled(options))?;
        server.create_limited_user(USER, &[DATABASE])?;
        Ok(Server::Mysql(Box::new(server), options.gtid))
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        match self {
            Server::Postgres(server) => server.kill(),
            Server::Mysql(server, _) => server.kill(),
        }
    }

    /// Ends it in order when it runs, and starts it again.
    pub(super) fn restart(&mut self) -> Result<()> {
        match self {
            Server::Postgres(server) => server.restart(),
            Server::Mysql(server, _) => server.restart(),
        }
    }

    pub(super) fn signal(&self, signal: Signal) {
        match self {
            Server::Postgres(server) => server.signal(signal),
            Server::Mysql(server, _) => server.signal(signal),
        }
    }

    /// Ends the sessions of the daemon.
    pub(super) fn end_sessions(&self) -> Result<()> {
        match (self, self.session()?) {
            (_, Session::Postgres(client)) => client
                .execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tidewire%'",
                )
                .map(drop),
            (_, Session::Mysql(client)) => {
                let ask = format!("SELECT id FROM information_schema.processlist WHERE user = '{USER}'");
                // The server cannot always print what the sessions of the load are about, at which it fails.
                let asked = wait::until("the list of sessions", wait::PATIENCE, || Ok(client.rows(&ask).ok()));
                for row in asked? {
                    if let [Some(id)] = row.as_slice() {
                        // It may have ended by itself.
                        let _ = client.execute(&format!("KILL {id}"));
                    }
                }
                Ok(())
            }
        }
    }

    pub(super) fn port(&self) -> u16 {
        match self {
            Server::Postgres(server) => server.port(),
            Server::Mysql(server, _) => server.port(),
        }
    }

    pub(super) fn session(&self) -> Result<Session> {
        self.target().connect()
    }

    pub(super) fn target(&self) -> Target {
        match self {
            Server::Postgres(server) => Target::Postgres(server.url("postgres")),
            Server::Mysql(server, _) => Target::Mysql(server.port()),
        }
    }

    pub(super) fn witness(&self) -> Result<Witness> {
        match self {
            Server::Postgres(server) => Witness::start(server.client()?, "witness"),
            Server::Mysql(server, _) => Witness::of_log(server),
        }
    }

    /// Lines of the source's table in the daemon's configuration, by way of a port.
    pub(super) fn config(&self, port: u16) -> String {
        match self {
            Server::Postgres(server) => {
                let url = server.url("postgres").replace(&format!(":{}/", server.port()), &format!(":{port}/"));
                format!(
                    "[sources.shop.postgres]\nurl = \"{url}\"\nheartbeat_interval = \"1s\"\nstatus_interval = \"1s\"\n"
                )
            }
            Server::Mysql(..) => format!(
                "[sources.shop.mysql]\nurl = \"mysql://{USER}@127.0.0.1:{port}\"\npassword = \"{USER}\"\n\
                 heartbeat_interval = \"1s\"\n"
            ),
        }
    }

    /// Where its log is now.
    pub(super) fn place(&self) -> Result<Place> {
        match self.session()? {
            Session::Postgres(client) => {
                Ok(Place(position::lsn(&client.value("SELECT pg_current_wal_lsn()")?)?.into()))
            }
            Session::Mysql(client) => {
                let Server::Mysql(server, has_ids) = self else { bail!("a session of another server") };
                let is_mariadb = server.version().is_mariadb();
                if !has_ids && !is_mariadb {
                    let (file, offset) = server.log_place()?;
                    return Place::in_file(&file, offset);
                }
                let ask = if is_mariadb { "SELECT @@gtid_binlog_pos" } else { "SELECT @@gtid_executed" };
                let set = client.value(ask)?.replace('\n', "");
                let count =
                    if is_mariadb { position::transactions_of_mariadb } else { position::transactions_of_mysql };
                Ok(Place(count(&set)?.into()))
            }
        }
    }

    /// What PostgreSQL takes for acknowledged; nothing for the others, which are told nothing.
    pub(super) fn acknowledged(session: &Session) -> Result<Option<Place>> {
        let Session::Postgres(client) = session else { return Ok(None) };
        let slots =
            client.rows("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'tidewire_shop'")?;
        match slots.first().map(Vec::as_slice) {
            Some([Some(text)]) => Ok(Some(Place(position::lsn(text)?.into()))),
            _ => Ok(None),
        }
    }
}

/// With what all of these servers are told.
pub(super) fn settled(options: &MysqlOptions) -> MysqlOptions {
    options
        .clone()
        .set("innodb-lock-wait-timeout", "5")
        .set("max-binlog-size", "16M")
        // A power cut is not among the faults of the server; without it commits are as quick as PostgreSQL's here.
        .set("sync-binlog", "0")
        .set("innodb-flush-log-at-trx-commit", "2")
}

/// A place in a source's log, as one number: an LSN, how many transactions lie before it, or a file and an offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u128);

impl Place {
    /// Of a position as the daemon writes it.
    pub(super) fn of(text: &str) -> Result<Place> {
        // What follows a semicolon is inside of a transaction, or prepared.
        let (kind, rest) = text.split(';').next().unwrap_or_default().split_once(':').context("a kind")?;
        let number = match kind {
            "pg" => position::position_lsn(rest)?,
            "mysql-gtid" => position::transactions_of_mysql(rest)?,
            "mariadb-gtid" => position::transactions_of_mariadb(rest)?,
            "mysql-file" => {
                let (file, offset) = rest.rsplit_once(':').context("a place without its offset")?;
                return Place::in_file(file.rsplit('/').next().unwrap_or_default(), offset.parse()?);
            }
            _ => bail!("`{text}` is of a kind that is not known here"),
        };
        Ok(Place(number.into()))
    }

    fn in_file(file: &str, offset: u64) -> Result<Place> {
        let number: u128 = file.rsplit('.').next().unwrap_or_default().parse().context("the number of a file")?;
        Ok(Place(number << 64 | u128::from(offset)))
    }

    /// Whether every sink of the daemon's status holds everything up to here.
    pub(super) fn is_held(self, status: &Value) -> bool {
        let sinks = status.pointer("/sources/shop/sinks").and_then(Value::as_object);
        let holds = |sink: &Value| {
            sink.get("position")
                .and_then(Value::as_str)
                .and_then(|text| Place::of(text).ok())
                .is_some_and(|place| place >= self)
        };
        sinks.is_some_and(|sinks| !sinks.is_empty() && sinks.values().all(holds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_come_in_their_order() {
        let cases = [
            ("pg:7123/1/0/1000/0", "pg:7123/1/0/1001/0"),
            ("pg:7123/1/0/FFFFFFFF/0", "pg:7123/1/1/0/0"),
            ("mysql-gtid:aa-bb:1-5", "mysql-gtid:aa-bb:1-5:7;prepared"),
            ("mysql-gtid:aa-bb:1-5,cc-dd:1-2", "mysql-gtid:aa-bb:1-6,cc-dd:1-2"),
            ("mariadb-gtid:0-1-9", "mariadb-gtid:0-1-9,1-1-1"),
            ("mysql-file:7/binlog.000009:900", "mysql-file:7/binlog.000010:4"),
        ];
        for (before, after) in cases {
            assert!(Place::of(before).unwrap() < Place::of(after).unwrap(), "{before} {after}");
        }
        assert!(Place::of("pg:1").is_err() && Place::of("else:1").is_err());
    }
}
