//! What `check` says about a location and the tables that would go there. Changes nothing but a probe object that
//! it removes.

use crate::config::Settings;
use crate::error::Result;
use crate::layout::table_path;
use crate::log::{Table, gone};
use crate::mirror::{IndexHome, Mirror};
use crate::progress_table::{Made, ProgressTable};
use crate::store::{Store, TableStore};
use crate::write::{Identity, Place, fit, foreign_table, own_place, refuse_older};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::{Error, ErrorKind, Finding, Op, Progress, Severity, TableSchema, TableState};

type Tables<'a> = &'a [(Arc<str>, Arc<TableSchema>)];

/// Tables that would lie at one path.
pub(crate) fn paths(settings: &Settings, tables: Tables<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut paths: BTreeMap<String, (&str, &TableSchema)> = BTreeMap::new();
    for (source, schema) in tables {
        let path = table_path(&settings.table, source, &schema.name);
        if let Some((other_source, other)) = paths.insert(path.clone(), (source, schema)) {
            findings.push(Finding::error(
                "table_path_collision",
                format!(
                    "`{}` of `{other_source}` and `{}` of `{source}` would both be `{path}`",
                    other.name, schema.name
                ),
                "use {source}, {schema} and {table} in `table`, in segments of their own",
            ));
        }
    }
    findings
}

/// Whether the location can be written, and refuses to overwrite.
pub(crate) fn location(store: &Store) -> Result<Option<Finding>> {
    let directory = store.table("_tidewire");
    let name = format!("probe-{}", uuid::Uuid::new_v4());
    let probe = directory.put_new(&name, bytes::Bytes::from_static(b"probe")).and_then(|_| directory.delete(&name));
    match probe.and_then(|()| directory.probe_create_only()) {
        Ok(()) => Ok(None),
        Err(error) if error.kind() == ErrorKind::Retry => Err(error),
        Err(error) => Ok(Some(finding(error))),
    }
}

/// Tables that cannot go to this sink, or not go on there: without a key, with columns that collide or no longer fit, at the path
/// of a table that this sink did not write, or gone.
pub(crate) fn tables(
    settings: &Arc<Settings>,
    sink: &Arc<str>,
    store: &Store,
    tables: Tables<'_>,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut progress: BTreeMap<&str, (Progress, Made)> = BTreeMap::new();
    for (source, schema) in tables {
        let identity = Identity { sink: Arc::clone(sink), source: Arc::clone(source) };
        let (held, made) = match progress.get(&**source) {
            Some(held) => held,
            // A sink's own start says what is wrong with its progress.
            None => progress
                .entry(source)
                .or_insert(ProgressTable::look(store, sink, source).ok().flatten().unwrap_or_default()),
        };
        let is_unfinished =
            held.tables.get(&schema.name.to_string()).is_some_and(|table| table.state == TableState::Reading);
        let first = if is_unfinished { Op::SnapshotStart } else { Op::Insert };
        let place = store.table(&table_path(&settings.table, source, &schema.name));
        let name = schema.name.to_string();
        let must_be_there = first == Op::Insert && made.has(&name, held);
        findings.extend(misread(settings, schema));
        match table(settings, &identity, &place, schema, first, (must_be_there, made.version(&name))) {
            Ok(found) => findings.extend(found),
            Err(error) if error.kind() == ErrorKind::Retry => return Err(error),
            Err(error) => findings.push(finding(error)),
        }
    }
    Ok(findings)
}

/// Does with a table what its opening would do, as far as that changes nothing.
fn table(
    settings: &Arc<Settings>,
    identity: &Identity,
    store: &TableStore,
    schema: &TableSchema,
    first: Op,
    (must_be_there, known): (bool, Option<i64>),
) -> Result<Option<Finding>> {
    let name = schema.name.to_string();
    let held = Table::open_among(store.clone(), settings.foreign_writes)?;
    if held.is_none() && must_be_there {
        return Err(gone(store));
    }
    let place = held.as_ref().and_then(|held| own_place(held, identity, &name, settings));
    if held.is_some() && place.is_none() {
        return Err(foreign_table(store, &name));
    }
    if let Some(held) = &held {
        refuse_older(held, known)?;
    }
    let of_table = settings.of_table(schema)?;
    let found = held.as_ref().zip(place.as_ref().map(Place::mode));
    let fitted = fit(&of_table, schema, store, found, first)?;
    if of_table.mode.keeps_keys() {
        Mirror::new(schema, &fitted.layout, &IndexHome::default())?;
    }
    Ok(settings.find_keyless(schema))
}

/// A table of which a common reader shows something else than it holds, without an error.
fn misread(settings: &Settings, schema: &TableSchema) -> Option<Finding> {
    let is_mapped = settings.column_mapping && !settings.partition_by.of(&schema.name).is_empty();
    is_mapped.then(|| {
        Finding::warning(
            "partition_column_misread",
            format!("DuckDB 1.5 shows null in the columns that `{}` is partitioned by, without an error", schema.name),
            "read it by delta-rs, Delta Kernel or Spark, or have it without `column_mapping` or without `partition_by`",
        )
    })
}

fn finding(error: Error) -> Finding {
    Finding {
        severity: Severity::Error,
        code: error.code(),
        message: error.chain(),
        remedy: error.remedy().map(str::to_owned),
    }
}
