//! A reader of a table's change data feed, who knows of the table only what the feed has told, version by version.

use super::datum::{Datum, Row};
use super::kernel;
use super::reading::with_partition;
use crate::deletion_vector::{self, DvDescriptor};
use crate::encode::read::ColumnReader;
use crate::log::{ForeignWrites, Table};
use crate::parts::feed::{AFTER, BEFORE, CHANGE_COLUMN, DELETED, INSERTED};
use crate::store::TableStore;
use crate::typemap::{ColumnType, TableColumn, parse_schema_string};
use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_schema::Field;
use roaring::RoaringBitmap;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Rows, each with how often it is there.
type Bag = BTreeMap<Row, i64>;

/// What has been read so far.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    version: i64,
    columns: Vec<TableColumn>,
    key: Vec<Arc<str>>,
    rows: Bag,
}

impl Default for Follower {
    fn default() -> Follower {
        Follower { version: -1, columns: Vec::new(), key: Vec::new(), rows: Bag::new() }
    }
}

/// What one version did.
#[derive(Default)]
struct Changes {
    more: Vec<Row>,
    less: Vec<Row>,
    /// What happened to each key.
    words: BTreeMap<Vec<Option<Datum>>, Vec<String>>,
}

impl Follower {
    /// Reads on to a version, at which a reader of the table sees these rows.
    pub(super) fn follow(&mut self, store: &TableStore, version: i64, seen: impl Iterator<Item = Row>) {
        let mut bag = Bag::new();
        seen.for_each(|row| *bag.entry(row).or_default() += 1);
        while self.version < version {
            let next = self.version + 1;
            match store.get(&format!("_delta_log/{next:020}.json")).unwrap() {
                Some(entry) => self.read(store, &entry),
                // Cleaned away before anybody could follow: it begins here, with the columns of here.
                None => {
                    let table = Table::open_among(store.clone(), ForeignWrites::Adopt).unwrap().unwrap();
                    assert_eq!(table.version(), version);
                    self.rows.clone_from(&bag);
                    self.declare(table.schema_string(), &table.configuration()["tidewire.key"]);
                    self.version = version;
                    return;
                }
            }
            self.version = next;
        }
        assert_eq!(self.rows, bag, "what the feed told until version {version} of {}", store.place(""));
    }

    fn declare(&mut self, schema: &str, key: &str) {
        self.columns = parse_schema_string(schema).unwrap();
        let key: Vec<String> = serde_json::from_str(key).unwrap();
        let column = |name: &String| self.columns.iter().find(|column| column.file_name().as_ref() == name).unwrap();
        self.key = key.iter().map(|name| Arc::clone(&column(name).name)).collect();
    }

    /// The rows so far under the names of today. Where columns have names of their own in files, those are the same columns, and
    /// one that has gone is in no row any more.
    fn follow_names(&mut self, before: &[TableColumn]) {
        if self.columns.iter().all(|column| column.mapped.is_none()) {
            return;
        }
        let today = |name: &Arc<str>| {
            let held = before.iter().find(|column| column.name == *name)?.file_name();
            self.columns.iter().find(|column| column.file_name() == held).map(|column| Arc::clone(&column.name))
        };
        let mut rows = Bag::new();
        for (row, count) in &self.rows {
            let row = row.iter().filter_map(|(name, value)| Some((today(name)?, value.clone()))).collect();
            *rows.entry(row).or_default() += count;
        }
        self.rows = rows;
    }

    fn read(&mut self, store: &TableStore, entry: &[u8]) {
        let actions = actions(entry);
        let before = self.columns.clone();
        if let Some(metadata) = actions.iter().find_map(|action| action.get("metaData")) {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            self.declare(&text(&metadata["schemaString"]), &text(&metadata["configuration"]["tidewire.key"]));
        }
        self.follow_names(&before);
        let is_mapped = self.columns.iter().any(|column| column.mapped.is_some());
        let all = |kind: &str| actions.iter().filter_map(|action| action.get(kind)).cloned().collect::<Vec<_>>();
        let mut changes = Changes::default();
        let files = all("cdc");
        for file in &files {
            self.read_changes(store, file, &mut changes);
        }
        let mut of_files: BTreeMap<String, (Vec<Row>, Vec<Row>)> = BTreeMap::new();
        for (file, is_add) in all("add").iter().map(|add| (add, true)).chain(all("remove").iter().map(|f| (f, false))) {
            if !files.is_empty() || file["dataChange"] == false {
                continue;
            }
            let columns = if is_add || is_mapped { &self.columns } else { &before };
            let rows = read_rows(store, file, columns, None).into_iter().map(|(row, _)| row).collect();
            let (added, removed) = of_files.entry(file["path"].to_string()).or_default();
            *(if is_add { added } else { removed }) = rows;
        }
        // Of a file that gets another vector only the rows in which the two differ change.
        for (mut added, removed) in of_files.into_values() {
            for row in removed {
                match added.iter().position(|held| *held == row) {
                    Some(at) => drop(added.swap_remove(at)),
                    None => changes.less.push(row),
                }
            }
            changes.more.extend(added);
        }
        self.compare_with_kernel(store, &changes, !files.is_empty());
        for words in changes.words.values_mut() {
            words.sort();
            if self.key.is_empty() {
                // Equal rows are all the same: of each that was there and is there both are told.
                let count = |word: &str| words.iter().filter(|told| *told == word).count();
                assert_eq!(count(BEFORE), count(AFTER), "{words:?} of one row");
                continue;
            }
            // The last is of a table that was emptied.
            let net: [&[&str]; 4] = [&[INSERTED], &[DELETED], &[AFTER, BEFORE], &[DELETED, INSERTED]];
            assert!(net.contains(&&*words.iter().map(String::as_str).collect::<Vec<_>>()), "{words:?} of one key");
        }
        changes.more.into_iter().for_each(|row| *self.rows.entry(row).or_default() += 1);
        for row in changes.less {
            let count = self.rows.get_mut(&row).unwrap_or_else(|| panic!("{row:?} goes, and was never there"));
            *count -= 1;
            if *count == 0 {
                self.rows.remove(&row);
            }
        }
        assert!(self.rows.values().all(|count| *count > 0));
    }

    /// Another reader sees the same changes.
    fn compare_with_kernel(&self, store: &TableStore, changes: &Changes, is_told: bool) {
        // The kernel decodes an address twice, so that it finds no folder whose name has an escape.
        if store.place("").contains('%') {
            return;
        }
        let (mut more, mut less, mut words) = (Vec::new(), Vec::new(), Vec::new());
        for batch in kernel::changes(store, self.version + 1) {
            let schema = batch.schema();
            let called = batch.column_by_name(CHANGE_COLUMN).unwrap().as_string::<i32>();
            let fields =
                || schema.fields().iter().zip(batch.columns()).filter(|(field, _)| !field.name().starts_with('_'));
            for at in 0..batch.num_rows() {
                let value = |(field, array): (&Arc<Field>, &ArrayRef)| {
                    Some((Arc::from(field.name().as_str()), Datum::read(array, at)?))
                };
                let row = fields().filter_map(value).collect::<Row>();
                let word = called.value(at);
                if matches!(word, INSERTED | AFTER) {
                    more.push(row)
                } else {
                    less.push(row)
                }
                words.push(word.to_owned());
            }
        }
        // Of rows that go with a file it shows the columns that the table has afterwards.
        let is_held = |name: &Arc<str>| self.columns.iter().any(|column| column.name == *name);
        let sorted = |rows: &[Row]| {
            let mut rows = rows.to_vec();
            rows.iter_mut().for_each(|row| row.retain(|name, _| is_held(name)));
            rows.sort();
            rows
        };
        let ours = (sorted(&changes.more), sorted(&changes.less));
        assert_eq!((sorted(&more), sorted(&less)), ours, "version {} by the kernel, and by ours", self.version + 1);
        if is_told {
            let mut ours = changes.words.values().flatten().cloned().collect::<Vec<_>>();
            ours.sort();
            words.sort();
            assert_eq!(words, ours);
        }
    }

    fn read_changes(&self, store: &TableStore, file: &Value, changes: &mut Changes) {
        assert_eq!(file["dataChange"], false);
        for (row, word) in read_rows(store, file, &self.columns, Some(CHANGE_COLUMN)) {
            let word = word.unwrap();
            let key = match self.key.is_empty() {
                true => row
                    .iter()
                    .flat_map(|(name, value)| [Datum::Text(name.to_string()), value.clone()].map(Some))
                    .collect(),
                false => self.key.iter().map(|name| row.get(name).cloned()).collect(),
            };
            match &*word {
                INSERTED | AFTER => changes.more.push(row),
                BEFORE | DELETED => changes.less.push(row),
                other => panic!("a change is called {other}"),
            }
            changes.words.entry(key).or_default().push(word);
        }
    }
}

fn actions(entry: &[u8]) -> Vec<Value> {
    entry
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect()
}

/// The rows of a file that its vector leaves, each with the text of a further column.
fn read_rows(
    store: &TableStore,
    file: &Value,
    columns: &[TableColumn],
    word: Option<&str>,
) -> Vec<(Row, Option<String>)> {
    let vector: Option<DvDescriptor> = file.get("deletionVector").map(|v| serde_json::from_value(v.clone()).unwrap());
    let dead = vector.map_or_else(RoaringBitmap::new, |vector| deletion_vector::load(store, &vector).unwrap());
    let (path, size) = (file["path"].as_str().unwrap(), file["size"].as_u64().unwrap());
    let word = word.map(|name| TableColumn::own(name, ColumnType::String));
    let asked = columns.iter().chain(&word).collect::<Vec<_>>();
    let mut reader = ColumnReader::open(store, path, size, &asked, None).unwrap();
    let (mut rows, mut number) = (Vec::new(), 0);
    let partition: BTreeMap<_, _> = serde_json::from_value(file["partitionValues"].clone()).unwrap();
    let partition = Arc::new(partition);
    while let Some(mut arrays) = reader.next_arrays().unwrap() {
        for at in 0..with_partition(&asked, &partition, &mut arrays) {
            let values = columns.iter().zip(&arrays);
            let values = values
                .filter_map(|(column, array)| Some((Arc::clone(&column.name), Datum::read(array.as_ref()?, at)?)));
            let called =
                word.as_ref().map(|_| arrays.last().unwrap().as_ref().unwrap().as_string::<i32>().value(at).to_owned());
            if !dead.contains(number) {
                rows.push((values.collect(), called));
            }
            number += 1;
        }
    }
    rows
}
