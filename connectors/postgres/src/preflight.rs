//! What must hold before a source starts, and what an operator should know. Reads the catalog and decides by
//! what it says, never by a message's text; changes nothing. Each finding has its own code and the statement
//! that mends it.

mod facts;
mod server;
mod tables;

pub(crate) use facts::{Facts, Names, PublicationFacts, RelationFacts, read};
pub(crate) use tables::{Lack, is_table};

use crate::catalog::PublishedTable;
use crate::config::Settings;
use tidewire_core::{Finding, Result, TableFilter, TableName};
use tokio_postgres::Client;

/// The outcome of a check.
#[derive(Debug)]
pub(crate) struct Preflight {
    /// What is missing or odd, errors first.
    pub(crate) findings: Vec<Finding>,
    /// Those of the findings that only keep tables' rows from being read.
    pub(crate) lacks: Vec<Lack>,
    /// The tables that are published and captured, by oid.
    pub(crate) tables: Vec<PublishedTable>,
    /// Tables that are captured and exist, and that the publication lacks.
    pub(crate) unpublished: Vec<TableName>,
    /// Tables that are captured and that the publication has under another name only: of their root, or of their
    /// partitions.
    pub(crate) elsewhere: Vec<TableName>,
    /// The tables that our own publication would have, by oid; of use while there is none.
    pub(crate) publishable: Vec<u32>,
    /// The publication, if it exists.
    pub(crate) publication: Option<PublicationFacts>,
}

/// Checks the server, the publication, the slot and every captured table.
pub(crate) async fn run(client: &Client, settings: &Settings, filter: &TableFilter) -> Result<Preflight> {
    let names = Names { slot: &settings.slot, publication: &settings.publication };
    let facts = read(client, names).await?;
    let mut findings = server::findings(&facts, names);
    findings.extend(tables::findings(&facts, filter, &settings.publication));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let unpublished = tables::unpublished(&facts, filter).map(|relation| relation.name.clone()).collect();
    let elsewhere = tables::elsewhere(&facts, filter).map(|relation| relation.name.clone()).collect();
    let lacks = tables::lacks(&facts, filter);
    let publishable = publishable(&facts, filter).map(|relation| relation.oid).collect();
    let Facts { publication, mut published, .. } = facts;
    published.retain(|table| filter.captures_name(&table.name));
    Ok(Preflight { findings, lacks, tables: published, unpublished, elsewhere, publishable, publication })
}

/// The tables that a publication of ours would have: captured ones with a replica identity. Without one the server would
/// refuse the updates of those who write to it (PG-29). Partitions are published as their root.
pub(crate) fn publishable<'a>(facts: &'a Facts, filter: &'a TableFilter) -> impl Iterator<Item = &'a RelationFacts> {
    let tables = facts.relations.iter().filter(|relation| is_table(relation) && relation.root.is_none());
    tables.filter(|relation| relation.identified() && filter.captures_name(&relation.name))
}

#[cfg(test)]
mod tests;
