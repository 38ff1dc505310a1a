//! Freeing a table that nobody changes of its deleted rows, by its log alone: no source's schema and no key index is
//! needed, as the next change's index reads the keys of files that it has not seen. Knows nothing of when a table rests.

use crate::compact::{Compaction, Input, Lane, Rewritten, Shown, Work, fill};
use crate::error::{self, Result};
use crate::layout::{KEY_PROPERTY, numbers_rows};
use crate::log::{LiveFile, Table};
use crate::typemap::{TableColumn, parse_schema_string};
use std::sync::Arc;

/// A table whose files are being rewritten, some at a time.
pub(crate) struct Purge {
    table: Table,
    app_id: String,
    columns: Vec<TableColumn>,
    /// Positions in `columns` of the key, in key order.
    key: Vec<usize>,
    target_bytes: u64,
    lane: Arc<Lane>,
    running: Option<Compaction>,
}

impl Purge {
    /// For a table that has been taken over under the application's id; copies are brought to the target's size.
    pub(crate) fn new(table: Table, app_id: String, target_bytes: u64, lane: Arc<Lane>) -> Result<Purge> {
        let (columns, key) = shape(&table)?;
        Ok(Purge { table, app_id, columns, key, target_bytes, lane, running: None })
    }

    /// The table as it is now.
    pub(crate) fn table_mut(&mut self) -> &mut Table {
        &mut self.table
    }

    /// Whether `finish` would not wait.
    pub(crate) fn is_done(&self) -> bool {
        self.running.as_ref().is_none_or(Compaction::is_done)
    }

    /// Starts to rewrite files with deleted rows that are `wanted`: the smallest first, as many as fill a file. Says
    /// whether there were any.
    pub(crate) fn start(&mut self, wanted: impl Fn(&LiveFile) -> bool) -> Result<bool> {
        let mut files: Vec<&LiveFile> =
            self.table.files().filter(|file| file.deletion_vector.is_some() && wanted(file)).collect();
        files.sort_by_key(|file| file.size);
        let chosen: Vec<LiveFile> = fill(files, self.target_bytes, |file| file.size).into_iter().cloned().collect();
        let mut inputs = Vec::with_capacity(chosen.len());
        for file in chosen {
            let deleted = Arc::clone(self.table.deleted_rows(&file.path)?);
            inputs.push(Input {
                ordinal: None,
                path: file.path,
                size: file.size,
                rows: file.num_records,
                deleted,
                partition: file.partition,
            });
        }
        if inputs.is_empty() {
            return Ok(false);
        }
        let (store, columns, stats) = (self.table.store().clone(), self.columns.clone(), self.key.clone());
        let lane = Arc::clone(&self.lane);
        let work = Work { store, columns, stats, inputs, facts: None, target_bytes: u64::MAX, lane };
        self.running = Some(Compaction::start(work, None)?);
        Ok(true)
    }

    /// Waits for the copies and puts them in the place of the originals.
    pub(crate) fn finish(&mut self) -> Result<Rewritten> {
        let Some(running) = self.running.take() else { return Ok(Rewritten::default()) };
        let mut exchange = running.finish(&mut self.table)?;
        match exchange.show(&mut self.table, &self.app_id)? {
            Shown::Done(rewritten) => Ok(rewritten),
            // What others left is looked at by the next `start`.
            Shown::Nothing | Shown::Overtaken => Ok(Rewritten::default()),
        }
    }
}

/// A table's columns, also those that no reader sees, and the positions of its key's, by its own word.
pub(crate) fn shape(table: &Table) -> Result<(Vec<TableColumn>, Vec<usize>)> {
    let bad = |what: &str| error::damaged(&table.store().place("_delta_log"), what);
    let columns = parse_schema_string(table.schema_string());
    let mut columns = columns.ok_or_else(|| bad("its schema is not one of ours"))?;
    columns.extend(numbers_rows(table.configuration()).then(TableColumn::number));
    let key = table.configuration().get(KEY_PROPERTY).map(|text| serde_json::from_str::<Vec<String>>(text));
    let names = key.transpose().map_err(|cause| bad("its key is malformed").with_cause(cause))?.unwrap_or_default();
    let place = |name: &String| columns.iter().position(|column| **column.file_name() == **name);
    let key = names.iter().map(place).collect::<Option<Vec<usize>>>();
    let key = key.ok_or_else(|| bad("its key names a column that it does not have"))?;
    Ok((columns, key))
}
