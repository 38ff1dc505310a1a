//! A session with a database of whichever kind, and how it is reached: for loads that write to all of them.

use crate::mysql::{self as my, DATABASE, Mysql};
use crate::oracle::{Column, Origin};
use crate::postgres as pg;
use crate::readers::Table;
use anyhow::Result;
use std::sync::{Arc, Mutex, PoisonError};

/// What a load writes to.
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
    pub(crate) fn connect(&self) -> Result<Session> {
        match self {
            Target::Postgres(url) => Ok(Session::Postgres(pg::Client::connect(url)?)),
            Target::Mysql(port) => Ok(Session::Mysql(my::Client::connect(*port, "root", DATABASE)?)),
        }
    }
}

/// Where a database is to be found: at another place once another server has taken over.
#[derive(Clone, Debug)]
pub(crate) struct Address(Arc<Mutex<Target>>);

impl From<Target> for Address {
    fn from(target: Target) -> Address {
        Address(Arc::new(Mutex::new(target)))
    }
}

impl Address {
    /// A session with the server that is there now.
    pub(crate) fn connect(&self) -> Result<Session> {
        let target = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        target.connect()
    }

    /// For everybody who holds this address.
    pub(crate) fn move_to(&self, target: Target) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }
}

/// A session.
#[derive(Clone, Debug)]
pub(crate) enum Session {
    Postgres(pg::Client),
    Mysql(my::Client),
}

impl Session {
    pub(crate) fn execute(&self, sql: &str) -> Result<u64> {
        match self {
            Session::Postgres(client) => client.execute(sql),
            Session::Mysql(client) => client.execute(sql),
        }
    }

    pub(crate) fn rows(&self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        match self {
            Session::Postgres(client) => client.rows(sql),
            Session::Mysql(client) => client.rows(sql),
        }
    }
}

impl Origin for Session {
    fn columns(&self, schema: &str, table: &str) -> Result<Vec<Column>> {
        match self {
            Session::Postgres(client) => client.columns(schema, table),
            Session::Mysql(client) => client.columns(schema, table),
        }
    }

    fn table(&self, schema: &str, table: &str) -> Result<Table> {
        match self {
            Session::Postgres(client) => client.table(schema, table),
            Session::Mysql(client) => client.table(schema, table),
        }
    }
}
