//! What the login may and must. Pure.

use super::facts::{Facts, TableFacts};
use super::tables::is_table;
use crate::catalog::{quote_identifier, quoted_name};
use crate::config::Settings;
use crate::model::Flavour;
use crate::shape::is_transactional;
use std::collections::BTreeSet;
use tidewire_core::{Finding, SnapshotMode, TableName};

/// A right that the login lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    /// Stable code of the finding.
    pub(crate) code: &'static str,
    /// What the login may not do.
    pub(crate) lack: String,
    /// The right and what it holds for, as `GRANT` has them: `SELECT ON \`a\`.\`b\``.
    pub(crate) grant: String,
}

/// All of them.
pub(crate) fn missing_rights(facts: &Facts, settings: &Settings) -> Vec<Right> {
    let flavour = facts.server.version.flavour;
    let mut missing = Vec::new();
    if !facts.grants.has_global(&["REPLICATION SLAVE", "REPLICATION REPLICA"]) {
        missing.push(Right {
            code: "login_lacks_replication_slave",
            lack: "read the server's log".to_owned(),
            grant: "REPLICATION SLAVE ON *.*".to_owned(),
        });
    }
    let (names, grant): (&[&str], _) = match flavour {
        Flavour::MySql => (&["REPLICATION CLIENT", "SUPER"], "REPLICATION CLIENT ON *.*"),
        Flavour::MariaDb => (&["BINLOG MONITOR", "REPLICATION CLIENT", "SUPER"], "BINLOG MONITOR ON *.*"),
    };
    if !facts.grants.has_global(names) {
        missing.push(Right {
            code: "login_lacks_replication_client",
            lack: "ask for the state of the server's log".to_owned(),
            grant: grant.to_owned(),
        });
    }
    let tables: Vec<&TableFacts> = facts.tables.iter().filter(|table| is_table(table)).collect();
    for table in &tables {
        let TableName { schema, table: name } = &table.name;
        if !facts.grants.on_table("SELECT", schema, name) {
            missing.push(Right {
                code: "table_not_readable",
                lack: format!("read table `{}`", table.name),
                grant: format!("SELECT ON {}", quoted_name(&table.name)),
            });
        }
    }
    missing.extend(lock_rights(facts, settings, &tables));
    missing
}

/// A snapshot of MySQL holds the captured tables' commits, or the whole server, for a moment; MariaDB does without. Both
/// keep tables of engines without transactions locked while these are read.
fn lock_rights(facts: &Facts, settings: &Settings, tables: &[&TableFacts]) -> Vec<Right> {
    if settings.snapshot == SnapshotMode::Never {
        return Vec::new();
    }
    let needs_none = facts.server.version.flavour == Flavour::MariaDb
        || facts.grants.has_global(&["RELOAD", "FLUSH_TABLES", "SUPER"]);
    let locked = tables.iter().filter(|table| !needs_none || !is_transactional(table.engine.as_deref()));
    let databases: BTreeSet<&str> = locked.map(|table| &*table.name.schema).collect();
    let lacking = databases.into_iter().filter(|database| !facts.grants.on_database("LOCK TABLES", database));
    lacking
        .map(|database| Right {
            code: "login_lacks_lock_tables",
            lack: format!("lock the tables of database `{database}` for the moment in which a snapshot begins"),
            grant: format!("LOCK TABLES ON {}.*", quote_identifier(database)),
        })
        .collect()
}

/// Findings about the login.
pub(super) fn findings(facts: &Facts, settings: &Settings) -> Vec<Finding> {
    let account = &facts.account;
    let finding = |right: Right| {
        let message = format!("login {account} may not {}", right.lack);
        Finding::error(right.code, message, format!("GRANT {} TO {account};", right.grant))
    };
    missing_rights(facts, settings).into_iter().map(finding).collect()
}
