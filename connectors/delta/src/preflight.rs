//! What `check` says about a location and the tables that would go there. Changes nothing but a probe object that
//! it removes.

use crate::config::Settings;
use crate::error::Result;
use crate::layout::{Layout, feed_columns, table_path};
use crate::log::Table;
use crate::mirror::{IndexHome, Mirror};
use crate::store::Store;
use crate::write::{Identity, not_mapped, stored_place};
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::{Error, ErrorKind, Finding, Severity, TableSchema};

type Tables<'a> = &'a [(Arc<str>, Arc<TableSchema>)];

/// Tables that cannot go to this sink: without a key, with columns or paths that collide.
pub(crate) fn tables(settings: &Settings, tables: Tables<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut paths: BTreeMap<String, (&str, &TableSchema)> = BTreeMap::new();
    for (source, schema) in tables {
        let fault = Layout::create(schema, settings.rules()).and_then(|layout| {
            let layout = layout.partition(schema, &settings.partition_by)?;
            if settings.change_data_feed {
                feed_columns(schema, &layout.columns)?;
            }
            if settings.mode.keeps_keys() {
                Mirror::new(schema, &layout, &IndexHome::default()).map(|_| ())
            } else {
                Ok(())
            }
        });
        findings.extend(fault.err().map(finding));
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

/// Tables at our paths that this sink did not write.
pub(crate) fn foreign_tables(
    settings: &Settings,
    sink: &Arc<str>,
    store: &Store,
    tables: Tables<'_>,
) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for (source, schema) in tables {
        let table = store.table(&table_path(&settings.table, source, &schema.name));
        let identity = Identity { sink: Arc::clone(sink), source: Arc::clone(source) };
        let own = match stored_place(&table, settings.foreign_writes) {
            Ok(place) => place.is_some_and(|place| place.is_of(&identity, &schema.name.to_string())),
            Err(error) if error.kind() == ErrorKind::Retry => return Err(error),
            Err(error) => {
                findings.push(finding(error));
                continue;
            }
        };
        let held = match own && !settings.column_mapping {
            true => None,
            false => Table::open_among(table.clone(), settings.foreign_writes)?,
        };
        if let Some(held) = held.as_ref().filter(|_| own) {
            let layout = Layout::read(settings.mode, held.schema_string(), held.configuration());
            if layout.is_some_and(|layout| !layout.is_mapped()) {
                findings.push(finding(not_mapped(&table, schema)));
            }
        } else if held.is_some() {
            findings.push(Finding::error(
                "foreign_table",
                format!("`{}` holds a table that this sink did not write for `{}`", table.place(""), schema.name),
                "move that table away, or give this sink another `location` or `table`",
            ));
        }
    }
    Ok(findings)
}

fn finding(error: Error) -> Finding {
    Finding {
        severity: Severity::Error,
        code: error.code(),
        message: error.chain(),
        remedy: error.remedy().map(str::to_owned),
    }
}
