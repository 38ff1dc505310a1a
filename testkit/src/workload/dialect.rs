//! Whose statements a workload's database takes.

use super::{Dice, Keys, mysql, postgres};
use crate::session::{Session, Target};
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

/// A writer's session.
pub(super) fn connect(target: &Target) -> Result<Session> {
    let session = target.connect()?;
    if let Session::Mysql(client) = &session {
        client.execute(mysql::SETTINGS)?;
    }
    Ok(session)
}

/// The text of one operation on rows.
pub(super) fn operation(session: &Session, dice: &mut Dice, keys: Keys) -> String {
    match session {
        Session::Postgres(_) => postgres::operation(dice, keys),
        Session::Mysql(_) => mysql::operation(dice, keys),
    }
}

/// Whether MySQL ended a transaction that stood in a circle of waiting ones.
pub(super) fn is_deadlock(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.to_string().starts_with("error 1213:"))
}
