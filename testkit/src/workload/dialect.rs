//! Where a workload goes: which database, how it is reached, whose statements it takes.

use super::{Dice, Keys, mysql, postgres};
use crate::mysql::{DATABASE, Mysql};
use crate::{mysql as my, postgres as pg};
use anyhow::Result;

/// A session that can make the workload's tables.
pub trait Database {
    /// Makes them.
    fn create_tables(&self) -> Result<()>;
}

impl Database for pg::Client {
    fn create_tables(&self) -> Result<()> {
        self.execute(postgres::CREATE).map(drop)
    }
}

impl Database for my::Client {
    fn create_tables(&self) -> Result<()> {
        self.execute(mysql::CREATE).map(drop)
    }
}

/// What a workload writes to.
#[derive(Clone, Debug)]
pub enum Target {
    /// PostgreSQL, by its URL.
    Postgres(String),
    /// MySQL or MariaDB, by its port on this machine.
    Mysql(u16),
}

impl From<&str> for Target {
    fn from(url: &str) -> Target {
        Target::Postgres(url.to_owned())
    }
}

impl From<&String> for Target {
    fn from(url: &String) -> Target {
        Target::Postgres(url.clone())
    }
}

impl From<&Mysql> for Target {
    fn from(server: &Mysql) -> Target {
        Target::Mysql(server.port())
    }
}

impl Target {
    pub(super) fn connect(&self) -> Result<Session> {
        match self {
            Target::Postgres(url) => Ok(Session::Postgres(pg::Client::connect(url)?)),
            Target::Mysql(port) => {
                let client = my::Client::connect(*port, "root", DATABASE)?;
                client.execute(mysql::SETTINGS)?;
                Ok(Session::Mysql(client))
            }
        }
    }
}

/// A writer's session.
#[derive(Debug)]
pub(super) enum Session {
    Postgres(pg::Client),
    Mysql(my::Client),
}

impl Session {
    pub(super) fn execute(&self, sql: &str) -> Result<u64> {
        match self {
            Session::Postgres(client) => client.execute(sql),
            Session::Mysql(client) => client.execute(sql),
        }
    }

    /// The text of one operation on rows.
    pub(super) fn operation(&self, dice: &mut Dice, keys: Keys) -> String {
        match self {
            Session::Postgres(_) => postgres::operation(dice, keys),
            Session::Mysql(_) => mysql::operation(dice, keys),
        }
    }
}

/// Whether MySQL ended a transaction that stood in a circle of waiting ones.
pub(super) fn is_deadlock(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.to_string().starts_with("error 1213:"))
}
