//! What a reader of the harness's table sees.

use super::{Harness, Rows, Version, text};
use crate::encode::read::ColumnReader;
use crate::log::{ForeignWrites, LiveFile, Table};
use crate::model::kernel;
use crate::model::reading::{each_row, each_row_of_file, with_partition};
use crate::parts::feed::{CHANGE_COLUMN, with_change_column};
use crate::typemap::{TableColumn, parse_schema_string};
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, RecordBatch};
use arrow_schema::DataType;
use std::collections::{BTreeMap, BTreeSet};

impl Harness {
    pub(in crate::write::tests) fn table(&self) -> Option<Table> {
        let store = self.store().table(&format!("shop/public/{}", self.schema.name.table));
        Table::open_among(store, ForeignWrites::Adopt).unwrap()
    }

    pub(in crate::write::tests) fn table_version(&self) -> Option<i64> {
        self.table().map(|table| table.version())
    }

    /// Calls back for each row that a reader of the table sees, with the asked columns' arrays.
    fn read(&self, names: &[&str], each: impl FnMut(&[Option<arrow_array::ArrayRef>], usize)) {
        if let Some(mut table) = self.table() {
            each_row(&mut table, names, each);
        }
    }

    /// The file that the row of a key lies in, and its number there.
    pub(in crate::write::tests) fn place_of(&self, id: i64) -> (LiveFile, u32) {
        let mut table = self.table().unwrap();
        let columns = parse_schema_string(table.schema_string()).unwrap();
        let key = columns.into_iter().find(|column| &*column.name == "id").unwrap();
        for file in table.files().cloned().collect::<Vec<_>>() {
            let deleted = table.deleted_rows(&file.path).unwrap().clone();
            let (mut number, mut found) = (0, None);
            each_row_of_file(&table, &file, &[&key], |arrays, at| {
                let is_it = arrays[0].as_ref().unwrap().as_primitive::<Int64Type>().value(at) == id;
                found = found.or(Some(number).filter(|number| is_it && !deleted.contains(*number)));
                number += 1;
            });
            if let Some(number) = found {
                return (file, number);
            }
        }
        panic!("no row {id}");
    }

    pub(in crate::write::tests) fn physical_rows(&self) -> usize {
        let mut count = 0;
        self.read(&["id"], |_, _| count += 1);
        count
    }

    pub(in crate::write::tests) fn rows(&self) -> Rows {
        let mut rows = Rows::new();
        self.read(&["id", "v", "big"], |arrays, at| {
            let id = arrays[0].as_ref().unwrap().as_primitive::<Int64Type>().value(at);
            let text = |column: usize| arrays[column].as_ref().unwrap().as_string::<i32>().value(at).to_owned();
            assert_eq!(rows.insert(id, (text(1), text(2))), None, "key {id} twice");
        });
        rows
    }

    pub(in crate::write::tests) fn data_files_on_disk(&self) -> usize {
        let names = std::fs::read_dir(self.table_directory()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().ends_with(".parquet")).count()
    }

    /// The names of the table's data files and deletion vectors in storage, and of those that it shows.
    pub(in crate::write::tests) fn stored_and_shown(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let table = self.table().unwrap();
        let stored = table.store().list("", "").unwrap().into_iter().map(|object| object.name);
        let stored = stored.filter(|name| !name.starts_with(".tidewire-"));
        let vectors = table.files().filter_map(|file| file.deletion_vector.as_ref()?.file_name());
        (stored.collect(), table.files().map(|file| file.path.clone()).chain(vectors).collect())
    }

    /// A property of the table.
    pub(in crate::write::tests) fn property(&self, name: &str) -> Option<String> {
        self.table()?.configuration().get(name).cloned()
    }

    /// What the newest version's files of changes say: key, what happened, `v`; sorted.
    pub(in crate::write::tests) fn changes(&self) -> Vec<(i64, String, String)> {
        let mut changes = Vec::new();
        self.read_changes(&["id", CHANGE_COLUMN, "v"], |arrays, at| {
            let id = arrays[0].as_ref().unwrap().as_primitive::<Int64Type>().value(at);
            let text = |column: usize| arrays[column].as_ref().unwrap().as_string::<i32>().value(at).to_owned();
            changes.push((id, text(1), text(2)));
        });
        changes.sort();
        changes
    }

    /// What the newest version changed, as the Delta kernel reads it: key, what happened, `v`; sorted.
    pub(in crate::write::tests) fn changes_by_kernel(&self) -> Vec<(i64, String, String)> {
        let rows = self.changed_by_kernel(&["id", CHANGE_COLUMN, "v"]);
        let mut changes: Vec<_> = rows
            .into_iter()
            .map(|row| {
                let mut texts = row.into_iter().map(Option::unwrap_or_default);
                let mut next = || texts.next().unwrap();
                (next().parse().unwrap(), next(), next())
            })
            .collect();
        changes.sort();
        changes
    }

    /// The same of any columns, as texts.
    pub(in crate::write::tests) fn changed_by_kernel(&self, names: &[&str]) -> Vec<Vec<Option<String>>> {
        let table = self.table().unwrap();
        texts_of(&kernel::changes(table.store(), table.version()), names)
    }

    /// What the table holds, as the Delta kernel reads it: any columns, as texts; sorted.
    pub(in crate::write::tests) fn rows_by_kernel(&self, names: &[&str]) -> Vec<Vec<Option<String>>> {
        let table = self.table().unwrap();
        let (version, rows) = kernel::rows(table.store());
        assert_eq!(version, table.version());
        texts_of(&rows, names)
    }

    /// The paths of the newest version's files of changes, each with what the log says of its partition.
    pub(in crate::write::tests) fn change_files(&self) -> Vec<(String, BTreeMap<String, Option<String>>)> {
        let of = |file: &serde_json::Value| {
            let partition = serde_json::from_value(file["partitionValues"].clone()).unwrap();
            (file["path"].as_str().unwrap().to_owned(), partition)
        };
        self.newest_changes().iter().map(of).collect()
    }

    /// The actions that name them.
    fn newest_changes(&self) -> Vec<serde_json::Value> {
        let table = self.table().unwrap();
        let entry = table.store().get(&format!("_delta_log/{:020}.json", table.version())).unwrap().unwrap();
        let lines = entry.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        let actions = lines.map(|line| serde_json::from_slice::<serde_json::Value>(line).unwrap());
        actions.filter_map(|action| action.get("cdc").cloned()).collect()
    }

    /// A text column of these files.
    pub(in crate::write::tests) fn changed_texts(&self, name: &str) -> Vec<Option<String>> {
        let mut texts = Vec::new();
        self.read_changes(&[name], |arrays, at| {
            let array = arrays[0].as_ref().unwrap().as_string::<i32>();
            texts.push(array.is_valid(at).then(|| array.value(at).to_owned()));
        });
        texts
    }

    fn read_changes(&self, names: &[&str], mut each: impl FnMut(&[Option<arrow_array::ArrayRef>], usize)) {
        let table = self.table().unwrap();
        let all = with_change_column(&parse_schema_string(table.schema_string()).unwrap());
        let columns: Vec<&TableColumn> =
            names.iter().map(|name| all.iter().find(|column| &*column.name == *name).unwrap()).collect();
        for file in self.newest_changes() {
            let (path, size) = (file["path"].as_str().unwrap(), file["size"].as_u64().unwrap());
            let mut reader = ColumnReader::open(table.store(), path, size, &columns, None).unwrap();
            let partition: BTreeMap<_, _> = serde_json::from_value(file["partitionValues"].clone()).unwrap();
            while let Some(mut arrays) = reader.next_arrays().unwrap() {
                with_partition(&columns, &partition.clone().into(), &mut arrays);
                (0..arrays.iter().flatten().next().unwrap().len()).for_each(|at| each(&arrays, at));
            }
        }
    }

    /// All versions of a history, in order.
    pub(in crate::write::tests) fn versions(&self) -> Vec<Version> {
        let names = ["id", "v", "big", "_from_position", "_to_position", "_valid_from", "_valid_to", "_is_current"];
        let mut versions = Vec::new();
        self.read(&names, |arrays, at| {
            let array = |column: usize| arrays[column].as_ref().unwrap();
            let text = |column: usize| {
                let array = array(column).as_string::<i32>();
                array.is_valid(at).then(|| array.value(at).to_owned())
            };
            let time = |column: usize| {
                let array = array(column).as_primitive::<TimestampMicrosecondType>();
                array.is_valid(at).then(|| array.value(at))
            };
            let to = text(4).map(|position| (time(6).unwrap(), position));
            assert_eq!(array(7).as_boolean().value(at), to.is_none());
            assert_eq!(time(6).is_some(), to.is_some());
            versions.push(Version {
                id: array(0).as_primitive::<Int64Type>().value(at),
                from: (time(5).unwrap(), text(3).unwrap()),
                to,
                v: text(1).unwrap(),
                big: text(2).unwrap(),
            });
        });
        versions.sort();
        versions
    }

    pub(in crate::write::tests) fn texts_by_id(&self, name: &str) -> BTreeMap<i64, Option<String>> {
        let mut texts = BTreeMap::new();
        self.read(&["id", name], |arrays, at| {
            let id = arrays[0].as_ref().unwrap().as_primitive::<Int64Type>().value(at);
            let array = arrays[1].as_ref().map(|array| array.as_string::<i32>());
            let value = array.filter(|array| array.is_valid(at)).map(|array| array.value(at).to_owned());
            texts.insert(id, value);
        });
        texts
    }

    /// Of a mirror's rows and of a history's current ones.
    pub(in crate::write::tests) fn current_texts(&self, name: &str) -> BTreeMap<i64, Option<String>> {
        let mut texts = BTreeMap::new();
        let is_history = self.table().unwrap().schema_string().contains("_is_current");
        let names = ["id", name, "_is_current"];
        self.read(if is_history { &names } else { names.get(..2).unwrap() }, |arrays, at| {
            let is_current = arrays.get(2).is_none_or(|array| array.as_ref().unwrap().as_boolean().value(at));
            if is_current {
                let id = arrays[0].as_ref().unwrap().as_primitive::<Int64Type>().value(at);
                assert_eq!(texts.insert(id, text_at(arrays[1].as_ref(), at)), None, "key {id} twice");
            }
        });
        texts
    }

    /// Of each version: key, `v` and this column.
    pub(in crate::write::tests) fn version_texts(&self, name: &str) -> Vec<(i64, String, Option<String>)> {
        let mut texts = Vec::new();
        self.read(&["id", "v", name], |arrays, at| {
            let id = arrays[0].as_ref().unwrap().as_primitive::<Int64Type>().value(at);
            texts.push((id, text_at(arrays[1].as_ref(), at).unwrap(), text_at(arrays[2].as_ref(), at)));
        });
        texts
    }

    /// Of a column that is never null.
    pub(in crate::write::tests) fn longs_by_id(&self, name: &str) -> BTreeMap<i64, i64> {
        let mut longs = BTreeMap::new();
        self.read(&["id", name], |arrays, at| {
            let value = |column: usize| {
                let array = arrays[column].as_ref().unwrap().as_primitive::<Int64Type>();
                assert!(array.is_valid(at));
                array.value(at)
            };
            longs.insert(value(0), value(1));
        });
        longs
    }

    pub(in crate::write::tests) fn texts(&self, name: &str) -> Vec<Option<String>> {
        let mut texts = Vec::new();
        self.read(&["id", name], |arrays, at| {
            let array = arrays[1].as_ref().map(|array| array.as_string::<i32>());
            texts.push(array.filter(|array| array.is_valid(at)).map(|array| array.value(at).to_owned()));
        });
        texts
    }

    pub(in crate::write::tests) fn unchanged(&self) -> Vec<Vec<String>> {
        let mut lists = Vec::new();
        self.read(&["_unchanged"], |arrays, at| {
            let list = arrays[0].as_ref().unwrap().as_list::<i32>();
            let names = list.is_valid(at).then(|| list.value(at));
            let names = names.map(|names| names.as_string::<i32>().iter().flatten().map(text).collect());
            lists.push(names.unwrap_or_default());
        });
        lists
    }
}

/// These columns of all rows, sorted.
fn texts_of(batches: &[RecordBatch], names: &[&str]) -> Vec<Vec<Option<String>>> {
    let mut rows = Vec::new();
    for batch in batches {
        let value = |name: &&str, at: usize| {
            let array = batch.column_by_name(name).unwrap();
            array.is_valid(at).then(|| match array.data_type() {
                DataType::Int32 => array.as_primitive::<Int32Type>().value(at).to_string(),
                DataType::Int64 => array.as_primitive::<Int64Type>().value(at).to_string(),
                _ => array.as_string::<i32>().value(at).to_owned(),
            })
        };
        rows.extend((0..batch.num_rows()).map(|at| names.iter().map(|name| value(name, at)).collect::<Vec<_>>()));
    }
    rows.sort();
    rows
}

fn text_at(array: Option<&arrow_array::ArrayRef>, at: usize) -> Option<String> {
    let array = array?.as_string::<i32>();
    array.is_valid(at).then(|| array.value(at).to_owned())
}
