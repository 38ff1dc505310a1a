//! `purge`: removes deleted rows from the files of a sink that is not running, all of them or those of one key, and proves
//! for a key that no file holds it. Knows what a table says of itself and no source's schema.

mod key;

use crate::compact::Lane;
use crate::config::Settings;
use crate::error::Result;
use crate::layout::{Mode, numbers_rows, table_path};
use crate::log::{LiveFile, Table};
use crate::progress_table::{Made, ProgressTable};
use crate::purge::{Purge, shape};
use crate::store::{Store, TableStore};
use crate::write::{Identity, Place, own_place, splits, take_over};
use key::SoughtKey;
use std::collections::BTreeSet;
use std::sync::Arc;
use tidewire_core::calendar::{Fraction, Timestamp, write_timestamp};
use tidewire_core::sink::PurgeRequest;
use tidewire_core::{Error, Progress, TableName};

/// Size that copies are brought to where compaction, which has a setting for it, is off.
const TARGET_BYTES: u64 = crate::config::Config::TARGET_FILE_SIZE_DEFAULT;
const DATA_SUFFIX: &str = ".parquet";

/// One run over the tables of a source.
pub(crate) struct Eraser<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) identity: &'a Identity,
    pub(crate) store: &'a Store,
    pub(crate) request: &'a PurgeRequest,
    pub(crate) tell: &'a mut dyn FnMut(String),
}

/// What became of the files of one table.
#[derive(Default)]
struct Done {
    files: usize,
    copies: usize,
    bytes: u64,
}

impl Eraser<'_> {
    /// Goes through the tables; says whether all is as it was asked for.
    pub(crate) fn run(mut self) -> Result<bool> {
        let held = ProgressTable::look(self.store, &self.identity.sink, &self.identity.source)?;
        let (progress, made) = held.unwrap_or_default();
        let names = match &self.request.table {
            Some(name) => vec![name.clone()],
            None => names(progress),
        };
        let mut is_clean = true;
        for name in names {
            match self.find(&name)? {
                Some((table, place, _)) if place.mode() == Mode::Changelog.name() => {
                    drop(table);
                    (self.tell)(format!("{name}: a changelog keeps every change, nothing is removed from it"));
                    is_clean &= self.request.key.is_none();
                }
                Some((table, _, split)) => is_clean &= self.purge(&name, &split, table, &made)?,
                None if self.request.table.is_some() => {
                    return Err(Error::operator(
                        "purge_table",
                        format!("the sink has no table `{name}` of this source"),
                    )
                    .with_remedy("name it as schema.table (database.table in MySQL)"));
                }
                None => {}
            }
        }
        Ok(is_clean)
    }

    fn find(&self, name: &str) -> Result<Option<(Table, Place, TableName)>> {
        for split in splits(name) {
            let store = self.store.table(&table_path(&self.settings.table, &self.identity.source, &split));
            if let Some(table) = Table::open_among(store, self.settings.foreign_writes)?
                && let Some(place) = own_place(&table, self.identity, name, self.settings)
            {
                return Ok(Some((table, place, split)));
            }
        }
        Ok(None)
    }

    fn purge(&mut self, name: &str, split: &TableName, table: Table, made: &Made) -> Result<bool> {
        self.purge_table(name, table, made.version(name)).map_err(|error| crate::error::of_table(error, split))
    }

    /// `known`: as of `take_over`.
    fn purge_table(&mut self, name: &str, mut table: Table, known: Option<i64>) -> Result<bool> {
        let (columns, key) = shape(&table)?;
        if self.request.key.is_some() {
            refuse_other_files(&table)?;
        }
        let sought = self.request.key.as_deref().map(|text| SoughtKey::parse(text, &columns, &key)).transpose()?;
        take_over(&mut table, self.identity, known)?;
        let chosen = match &sought {
            Some(sought) => Some(holding_deleted(&mut table, sought)?),
            None => None,
        };
        let is_wanted = |file: &LiveFile| chosen.as_ref().is_none_or(|chosen| chosen.contains(&file.path));
        let target_bytes = self.settings.compaction.map_or(TARGET_BYTES, |budget| budget.target_bytes);
        let mut purge = Purge::new(table, self.identity.app_id(), target_bytes, Arc::new(Lane::new(None)))?;
        let mut done = Done::default();
        while purge.start(is_wanted)? {
            let step = purge.finish()?;
            done.files += step.files;
            done.copies += step.copies;
            done.bytes += step.bytes;
            tracing::info!(table = name, files = done.files, bytes = done.bytes, "deleted rows are being removed");
        }
        let table = purge.table_mut();
        let before = count_files(table.store())?;
        table.vacuum(self.request.now)?;
        let removed = before.saturating_sub(count_files(table.store())?);
        (self.tell)(format!(
            "{name}: {} files with deleted rows rewritten ({} files, {} bytes), {removed} removed files deleted",
            done.files, done.copies, done.bytes
        ));
        match &sought {
            Some(sought) => self.prove(name, table, sought),
            None => self.tell_rest(name, table),
        }
    }

    /// Says how long removed files stay.
    fn tell_rest(&mut self, name: &str, table: &Table) -> Result<bool> {
        if let (false, Some(until)) = (self.request.now, table.last_expiry()) {
            (self.tell)(format!(
                "{name}: replaced files still hold deleted rows for readers of older versions, until {}",
                text_of(until)
            ));
        }
        Ok(true)
    }

    /// Looks for the key in every data file that lies there, whether the log names it or not.
    fn prove(&mut self, name: &str, table: &mut Table, sought: &SoughtKey) -> Result<bool> {
        let mut is_gone = true;
        for (path, size) in data_files(table.store())? {
            let rows = sought.rows_in(table.store(), &path, size)?;
            if rows.is_empty() {
                continue;
            }
            is_gone = false;
            let is_live = match table.file(&path) {
                Some(_) => !rows.is_subset(&Arc::clone(table.deleted_rows(&path)?)),
                None => false,
            };
            let how = match (is_live, table.expiry_of(&path)) {
                (true, _) => "as a row that is not deleted".to_owned(),
                (false, Some(until)) if table.file(&path).is_none() => {
                    format!("which readers of older versions may need until {}; --now removes it", text_of(until))
                }
                (false, _) if table.file(&path).is_some() => "among its deleted rows".to_owned(),
                _ => "which the log does not name: remove the file if nothing else needs it".to_owned(),
            };
            (self.tell)(format!("{name}: the key is in `{path}`, {how}"));
        }
        if is_gone {
            (self.tell)(format!("{name}: no file holds the key"));
        }
        Ok(is_gone)
    }
}

/// The tables that the sink holds by its progress.
fn names(progress: Progress) -> Vec<String> {
    let names: BTreeSet<String> = progress.tables.into_keys().chain(progress.behind.into_keys()).collect();
    names.into_iter().collect()
}

/// A key is looked for in the files of a plain table: those in its folder, by the columns' own names and types.
fn refuse_other_files(table: &Table) -> Result<()> {
    let has = |key: &str| table.configuration().get(key).is_some_and(|value| value != "false" && value != "none");
    let what = match () {
        () if numbers_rows(table.configuration()) => "has no key",
        () if !table.partition_columns().is_empty() => "has partitions",
        () if has("delta.enableChangeDataFeed") => "has a change data feed",
        () if has("delta.columnMapping.mode") => "maps its columns",
        () if has("delta.enableTypeWidening") => "has columns whose type has grown",
        () => return Ok(()),
    };
    let place = table.store().place("");
    Err(Error::operator("purge_key", format!("`{place}` {what}: its files cannot be searched for one key"))
        .with_remedy("leave `--key` away: all deleted rows are removed, with `--now` at once"))
}

/// The live files among whose deleted rows the key is.
fn holding_deleted(table: &mut Table, sought: &SoughtKey) -> Result<BTreeSet<String>> {
    let files: Vec<LiveFile> = table.files().filter(|file| file.deletion_vector.is_some()).cloned().collect();
    let mut holding = BTreeSet::new();
    for file in files {
        let rows = sought.rows_in(table.store(), &file.path, file.size)?;
        if !rows.is_disjoint(table.deleted_rows(&file.path)?) {
            holding.insert(file.path);
        }
    }
    Ok(holding)
}

/// The data files that lie in a table's directory, with their sizes.
fn data_files(store: &TableStore) -> Result<Vec<(String, u64)>> {
    let data = store.list("", "")?.into_iter().filter(|object| object.name.ends_with(DATA_SUFFIX));
    Ok(data.map(|object| (object.name, object.size)).collect())
}

/// The number of files of rows in a table's directory and those of its partitions, files of changes among them.
fn count_files(store: &TableStore) -> Result<usize> {
    let of_rows = |name: &str| name.ends_with(DATA_SUFFIX) && !name.starts_with("_delta_log/");
    Ok(store.list_below("")?.iter().filter(|object| of_rows(&object.name)).count())
}

/// Milliseconds since 1970 as UTC.
fn text_of(millis: i64) -> String {
    let mut text = Vec::new();
    let time = Timestamp::from_epoch_micros(millis.saturating_mul(1_000));
    write_timestamp(&mut text, time, b'T', Fraction::Fixed(0), b"Z");
    String::from_utf8_lossy(&text).into_owned()
}
