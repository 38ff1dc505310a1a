//! The demo's source: a throw-away PostgreSQL, MySQL or MariaDB that holds the shop.

use super::shop::{self, Dialect};
use anyhow::{Result, bail};
use std::path::Path;
use tidewire_testkit::kafka::Record;
use tidewire_testkit::oracle::{self, Fold};
use tidewire_testkit::readers::Reader;
use tidewire_testkit::{Mysql, MysqlOptions, MysqlVersion, Postgres, PostgresOptions, Version, fetch, mysql, postgres};

/// A running server with the shop, and the administrator's session in it.
pub(crate) enum Source {
    Postgres(Box<Postgres>, postgres::Client),
    Mysql(Box<Mysql>, mysql::Client),
}

/// The account that the daemon logs in with; its password is its name.
const USER: &str = "cdc";
/// The shop's database in MySQL and MariaDB.
const DATABASE: &str = "shop";

impl Source {
    /// A PostgreSQL: the installed one, or the pinned one.
    pub(crate) fn postgres() -> Result<Source> {
        let version = if fetch::postgres::installed().is_some() { Version::Installed } else { Version::Major(17) };
        let server = Postgres::start(&PostgresOptions { version: Some(version), ..PostgresOptions::default() })?;
        let client = server.client()?;
        client.execute(shop::POSTGRES)?;
        server.create_limited_role(USER, "postgres", &["public"])?;
        Ok(Source::Postgres(Box::new(server), client))
    }

    /// A MySQL or MariaDB.
    pub(crate) fn mysql(version: MysqlVersion) -> Result<Source> {
        let server = Mysql::start(&MysqlOptions::version(version))?;
        server.client_of("")?.execute(&format!("CREATE DATABASE {DATABASE}"))?;
        let client = server.client_of(DATABASE)?;
        client.execute(shop::MYSQL)?;
        server.create_limited_user(USER, &[DATABASE])?;
        Ok(Source::Mysql(Box::new(server), client))
    }

    /// What it is, for people.
    pub(crate) fn title(&self) -> Result<String> {
        let (name, port) = match self {
            Source::Postgres(server, _) => {
                (format!("PostgreSQL {}", self.value("SHOW server_version")?), server.port())
            }
            Source::Mysql(server, _) => {
                (format!("{} {}", self.product(), self.value("SELECT version()")?), server.port())
            }
        };
        Ok(format!("{name} on port {port}, as {USER}"))
    }

    /// Its name.
    pub(crate) fn product(&self) -> &'static str {
        match self {
            Source::Postgres(..) => "PostgreSQL",
            Source::Mysql(server, _) if server.version().is_mariadb() => "MariaDB",
            Source::Mysql(..) => "MySQL",
        }
    }

    /// The schema, or database, of the shop's tables.
    pub(crate) fn schema(&self) -> &'static str {
        match self {
            Source::Postgres(..) => "public",
            Source::Mysql(..) => DATABASE,
        }
    }

    /// Its tables in a configuration.
    pub(crate) fn configuration(&self) -> String {
        let tables = format!("[sources.shop]\ntables = [\"{}.*\"]\n\n", self.schema());
        tables
            + &match self {
                Source::Postgres(server, _) => format!("[sources.shop.postgres]\nurl = \"{}\"\n", server.url(USER)),
                Source::Mysql(server, _) => format!("[sources.shop.mysql]\nurl = \"{}\"\n", server.url(USER)),
            }
    }

    /// The one value of a query.
    pub(crate) fn value(&self, sql: &str) -> Result<String> {
        match self {
            Source::Postgres(_, client) => client.value(sql),
            Source::Mysql(_, client) => client.value(sql),
        }
    }

    /// A session of its own that writes.
    pub(crate) fn writer(&self) -> Result<Writer> {
        match self {
            Source::Postgres(server, _) => Ok(Writer::Postgres(server.client()?)),
            Source::Mysql(server, _) => Ok(Writer::Mysql(server.client_of(DATABASE)?)),
        }
    }

    /// Compares the mirror of a table with it, as DuckDB reads it.
    pub(crate) fn check_mirror(&self, table: &str, at: &Path) -> Result<()> {
        match self {
            Source::Postgres(_, client) => oracle::check_mirror(client, self.schema(), table, at, &[Reader::Duckdb]),
            Source::Mysql(_, client) => oracle::check_mirror(client, self.schema(), table, at, &[Reader::Duckdb]),
        }
    }

    /// Compares a table's topic, folded, with it.
    pub(crate) fn check_topic(&self, table: &str, records: &[Record]) -> Result<Fold> {
        if records.is_empty() {
            bail!("the topic of {table} is empty");
        }
        match self {
            Source::Postgres(_, client) => oracle::check_topic(client, self.schema(), table, records),
            Source::Mysql(_, client) => oracle::check_topic(client, self.schema(), table, records),
        }
    }
}

/// A session that writes to the shop.
pub(crate) enum Writer {
    Postgres(postgres::Client),
    Mysql(mysql::Client),
}

impl Writer {
    /// Whose statements it takes.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Writer::Postgres(_) => Dialect::Postgres,
            Writer::Mysql(_) => Dialect::Mysql,
        }
    }

    /// Runs statements.
    pub(crate) fn execute(&self, sql: &str) -> Result<()> {
        match self {
            Writer::Postgres(client) => client.execute(sql).map(drop),
            Writer::Mysql(client) => client.execute(sql).map(drop),
        }
    }
}
