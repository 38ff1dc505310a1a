//! A session with a database of whichever kind, and how it is reached: for loads that write to all of them.

use crate::mysql::{self as my, DATABASE, Mysql};
use crate::oracle::{Column, Origin};
use crate::postgres as pg;
use crate::readers::Table;
use anyhow::Result;
use std::sync::{Arc, Mutex, PoisonError};
use tokio_postgres::error::SqlState;

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

    /// Whether a server said no to the statement itself: the line held, and no other session stood in the way.
    pub(crate) fn is_refusal(error: &anyhow::Error) -> bool {
        if let Some(error) = error.downcast_ref::<my::ServerError>() {
            // Duplicate key, lock wait timeout, deadlock, and a branch that was undone for one of the last two.
            return ![1062, 1205, 1213, 1613, 1614].contains(&error.number);
        }
        let code = error.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::code);
        let in_the_way = [
            SqlState::UNIQUE_VIOLATION,
            SqlState::LOCK_NOT_AVAILABLE,
            SqlState::T_R_DEADLOCK_DETECTED,
            SqlState::T_R_SERIALIZATION_FAILURE,
        ];
        code.is_some_and(|code| !in_the_way.contains(code))
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
