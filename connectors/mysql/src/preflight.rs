//! What must hold before a source starts, and what an operator should know. Reads the server's variables, grants and
//! catalog and decides by what they say, never by a message's text; changes nothing. Each finding has its own code and
//! the statement that mends it.

mod facts;
mod grants;
mod rights;
mod server;
mod tables;

pub(crate) use facts::{Facts, read};
pub(crate) use grants::Account;
pub(crate) use rights::{Right, missing_rights};
pub(crate) use server::set_variable;

use crate::config::{Host, Settings};
use crate::connection::Connection;
use crate::control::Control;
use crate::model::Flavour;
use facts::ReplicaFacts;
use tidewire_core::{Finding, Result};

/// The outcome of a check.
#[derive(Debug)]
pub(crate) struct Preflight {
    /// What is missing or odd, errors first.
    pub(crate) findings: Vec<Finding>,
}

/// Checks the server, the login and every captured table.
pub(crate) async fn run(settings: &Settings, host: &Host) -> Result<Preflight> {
    let mut control = Control::open(settings, host).await?;
    let facts = read(&mut control, settings).await;
    control.close().await;
    Ok(Preflight { findings: findings(&facts?, settings) })
}

fn findings(facts: &Facts, settings: &Settings) -> Vec<Finding> {
    let mut findings = server::findings(facts, settings);
    findings.extend(rights::findings(facts, settings));
    findings.extend(tables::findings(facts, settings));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// Whether no other replica has our number (MY-57). What the server still lists of an earlier instance of this source goes
/// when we ask for the log: the newer instance wins, as it does at the sinks. Where the login may not ask, nothing is
/// known and nothing said.
pub(crate) async fn server_id_free(settings: &Settings, session: &mut Connection) -> Result<()> {
    let sql = facts::replicas_query(session.version());
    let rows = match session.query_named("list the server's replicas", sql).await {
        Ok((names, rows)) => facts::replicas(&names, &rows),
        Err(error) if error.code() == "permission_denied" => return Ok(()),
        Err(error) => return Err(error),
    };
    let other = rows.iter().find(|replica| replica.server_id == settings.server_id && !is_ours(replica, settings));
    other.map_or(Ok(()), |other| Err(server::id_taken(other, settings).into_error()))
}

/// Whether a replica calls itself as we do.
fn is_ours(replica: &ReplicaFacts, settings: &Settings) -> bool {
    replica.host == settings.client_name()
}

/// How a flavour is called in texts.
fn name_of(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "MySQL",
        Flavour::MariaDb => "MariaDB",
    }
}

#[cfg(test)]
mod tests;
