//! The servers that tests may ask for.

use crate::fetch::mysql::Distribution;
use crate::fetch::{mariadb, mysql};
use anyhow::{Context, Result};

/// A server of one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MysqlVersion {
    /// MySQL 8.0.31.
    MySql8031,
    /// MySQL 9.7.
    MySql97,
    /// MariaDB 10.5.
    MariaDb105,
    /// MariaDB 10.11.
    MariaDb1011,
    /// MariaDB 11.4.
    MariaDb114,
    /// MariaDB 11.8.
    MariaDb118,
}

impl MysqlVersion {
    /// All of them.
    pub const ALL: [MysqlVersion; 6] = [
        MysqlVersion::MySql8031,
        MysqlVersion::MySql97,
        MysqlVersion::MariaDb105,
        MysqlVersion::MariaDb1011,
        MysqlVersion::MariaDb114,
        MysqlVersion::MariaDb118,
    ];

    /// `TIDEWIRE_TEST_MYSQL` (a name such as `mariadb-10.11`), else MySQL 9.7.
    pub fn from_environment() -> Result<MysqlVersion> {
        match std::env::var("TIDEWIRE_TEST_MYSQL").as_deref() {
            Err(_) | Ok("") => Ok(MysqlVersion::MySql97),
            Ok(name) => {
                let found = MysqlVersion::ALL.into_iter().find(|version| version.name() == name);
                let names = MysqlVersion::ALL.map(MysqlVersion::name).join(", ");
                found.with_context(|| format!("TIDEWIRE_TEST_MYSQL: `{name}` is none of {names}"))
            }
        }
    }

    /// A short name.
    pub fn name(self) -> &'static str {
        match self {
            MysqlVersion::MySql8031 => "mysql-8.0",
            MysqlVersion::MySql97 => "mysql-9.7",
            MysqlVersion::MariaDb105 => "mariadb-10.5",
            MysqlVersion::MariaDb1011 => "mariadb-10.11",
            MysqlVersion::MariaDb114 => "mariadb-11.4",
            MysqlVersion::MariaDb118 => "mariadb-11.8",
        }
    }

    /// Whether it is MariaDB.
    pub fn is_mariadb(self) -> bool {
        !matches!(self, MysqlVersion::MySql8031 | MysqlVersion::MySql97)
    }

    pub(super) fn program(self) -> &'static str {
        if self.is_mariadb() { "mariadbd" } else { "mysqld" }
    }

    /// Its programs, fetched when they are not in the cache.
    pub fn distribution(self) -> Result<Distribution> {
        match self {
            MysqlVersion::MySql8031 => mysql::mysql_80(),
            MysqlVersion::MySql97 => mysql::mysql_97(),
            MysqlVersion::MariaDb105 => mariadb::mariadb_105(),
            MysqlVersion::MariaDb1011 => mariadb::mariadb_1011(),
            MysqlVersion::MariaDb114 => mariadb::mariadb_114(),
            MysqlVersion::MariaDb118 => mariadb::mariadb_118(),
        }
    }
}
