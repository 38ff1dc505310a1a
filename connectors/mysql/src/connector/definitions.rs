//! The definitions in force where the log begins (MY-40, MY-51, ADR 9).

use super::open::Look;
use crate::catalog;
use crate::config::Settings;
use crate::ddl::Schemas;
use crate::history::{History, InForce};
use crate::model::TableDef;
use crate::plan;
use crate::position::StoredPosition;
use crate::scan::Scan;
use crate::server_log;
use crate::snapshot;
use std::collections::HashSet;
use std::sync::Arc;
use tidewire_core::{Error, ErrorKind, Result, SourceDescriptor, TableName};

/// What is known of the tables at a place.
pub(super) struct Known {
    /// Definitions.
    pub(super) schemas: Schemas,
    /// Tables whose definition is only assumed to be in force.
    pub(super) unproven: HashSet<TableName>,
    /// Tables that had gone.
    pub(super) dropped: HashSet<TableName>,
}

impl Known {
    /// A table's definition, or that it has gone.
    pub(super) fn set(&mut self, name: &TableName, definition: Option<&TableDef>) {
        self.unproven.remove(name);
        match definition {
            Some(definition) => {
                self.schemas.insert(definition.clone());
                self.dropped.remove(name);
            }
            None => {
                self.schemas.remove(name);
                self.dropped.insert(name.clone());
            }
        }
    }
}

/// What is known where the sinks' place is. `held` are the tables that are shipped from there on, and `begun` tells which
/// of them some sink holds.
pub(super) async fn known(
    settings: &Arc<Settings>,
    look: &mut Look,
    first: &StoredPosition,
    held: &[TableName],
    begun: impl Fn(&TableName) -> bool,
    descriptor: &Arc<SourceDescriptor>,
    history: &History,
) -> Result<Known> {
    let (facts, host) = (look.facts.clone(), look.host.clone());
    let scan = Scan { settings, host: &host, facts: &facts, descriptor };
    let position = first.place.boundary(&first.prepared)?;
    let mut known = match kept(look, first, &scan, history).await? {
        Some(known) => known,
        None => {
            tracing::info!("the schema history is missing: definitions are found again");
            let schemas = catalog::schemas(&mut look.control).await?;
            history.restart(&position, &schemas)?;
            Known { schemas, unproven: HashSet::new(), dropped: HashSet::new() }
        }
    };
    let missing = |name: &&TableName| known.schemas.get(name).is_none() && !known.dropped.contains(*name);
    let missing: Vec<TableName> = held.iter().filter(missing).cloned().collect();
    if !missing.is_empty() {
        found_again(look, first, &scan, history, &mut known, &missing, begun).await?;
    }
    Ok(known)
}

/// What the history has, brought up to the place. `None` when there is none that leads there.
async fn kept(look: &mut Look, first: &StoredPosition, scan: &Scan<'_>, history: &History) -> Result<Option<Known>> {
    let Some(covered) = history.covered()? else { return Ok(None) };
    let covered = StoredPosition::parse(&covered)?;
    let at = |place: &StoredPosition| history.at(place.place.boundary(&[])?.mark);
    let schemas = catalog::schemas(&mut look.control).await?;
    // The same place may have the name of the next file by now.
    if covered.mark == first.mark || plan::contains(&covered.place, &first.place) {
        return at(first).map(|kept| Some(with(schemas, kept)));
    }
    if !plan::contains(&first.place, &covered.place) {
        // Kept of another life.
        return Ok(None);
    }
    let Known { schemas, mut dropped, .. } = with(schemas, at(&covered)?);
    match scan.follow(&covered, &first.place, schemas, history).await {
        Ok(schemas) => {
            dropped.extend(at(first)?.dropped);
            dropped.retain(|name| schemas.get(name).is_none());
            Ok(Some(Known { schemas, unproven: HashSet::new(), dropped }))
        }
        Err(error) if error.kind() == ErrorKind::Retry => Err(error),
        Err(error) => {
            tracing::warn!(code = error.code(), "the schema history cannot be brought up to date: {}", error.chain());
            Ok(None)
        }
    }
}

fn with(mut schemas: Schemas, kept: InForce) -> Known {
    kept.tables.into_iter().for_each(|(_, table)| schemas.insert(table));
    Known { schemas, unproven: HashSet::new(), dropped: kept.dropped.into_iter().collect() }
}

/// Today's definitions of tables of which none is kept, if they can be shown to be those of the place, or if the log
/// tells its own.
async fn found_again(
    look: &mut Look,
    first: &StoredPosition,
    scan: &Scan<'_>,
    history: &History,
    known: &mut Known,
    missing: &[TableName],
    begun: impl Fn(&TableName) -> bool,
) -> Result<()> {
    let mut today = catalog::schemas(&mut look.control).await?;
    let mut definitions: Vec<TableDef> = Vec::new();
    for name in missing {
        definitions.extend(catalog::define(&mut look.control, &mut today, name).await?);
    }
    if server_log::has_full_metadata(&mut look.control).await? {
        for table in definitions {
            known.unproven.insert(table.name.clone());
            known.schemas.insert(table);
        }
        return Ok(());
    }
    let file = snapshot::log_end(&mut look.control).await?;
    let end = snapshot::place_now(&mut look.control, look.kind, &file).await?;
    let touched = scan.touched(first, &end, today).await?;
    let is_touched = |table: &TableName| touched.contains(&table.to_string());
    if let Some(table) = missing.iter().find(|table| begun(table) && is_touched(table)) {
        let message = format!(
            "the definition of table `{table}` is not kept, and it was altered after the place from which the sinks need \
             the log"
        );
        return Err(Error::operator("schema_history_missing", message)
            .with_remedy(
                "put state.sqlite of the state directory back; or give the sinks new names (and a Delta sink a new \
                 location), which reads the tables anew. With binlog_row_metadata = FULL no history is needed",
            )
            .with_table(table.clone()));
    }
    tracing::info!("no table that is held was altered since: today's definitions hold");
    // Of the others the log tells where it makes them, and what it does not tell halts there.
    definitions.retain(|table| !is_touched(&table.name));
    let since = first.place.boundary(&[])?.mark;
    let record: Vec<_> = definitions.iter().map(|table| (table.name.clone(), Some(Arc::new(table.clone())))).collect();
    history.record(since, &record)?;
    definitions.into_iter().for_each(|table| known.schemas.insert(table));
    Ok(())
}
