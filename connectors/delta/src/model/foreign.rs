//! Another writer, who appends entries to a table's log as delta-rs and Spark do, and what the sink is to make of each.

use super::chance::Chance;
use crate::ambient;
use crate::deletion_vector;
use crate::encode::file::PartWriter;
use crate::encode::read::ColumnReader;
use crate::log::{LiveFile, NewFile, Table};
use crate::store::{Created, TableStore};
use crate::typemap::parse_schema_string;
use arrow_array::{BooleanArray, new_null_array};
use arrow_select::filter::filter;
use roaring::RoaringBitmap;
use serde_json::{Value, json};
use std::sync::Arc;

/// What others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The note that a vacuum leaves.
    Note,
    /// A file is added.
    Append,
    /// Two files become one of the same rows.
    Optimize,
    /// Rows are deleted: some of a file's by a vector, or a file.
    Delete,
}

/// What is to come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// Nothing.
    GoOn,
    /// The table is halted with this code, at its next commit or opening.
    Halt(&'static str),
}

pub(super) const ACTS: [Act; 4] = [Act::Note, Act::Append, Act::Optimize, Act::Delete];

/// How the sink takes another writer's act.
pub(super) fn expectation(act: Act) -> Expect {
    match act {
        Act::Note => Expect::GoOn,
        Act::Append | Act::Optimize | Act::Delete => Expect::Halt("foreign_write"),
    }
}

/// Does it, if the table has what it takes.
pub(super) fn act(chance: &mut Chance, store: &TableStore, act: Act) -> bool {
    let Some(mut table) = Table::open(store.clone()).unwrap() else { return false };
    let files: Vec<LiveFile> = table.files().cloned().collect();
    let (operation, mut actions) = match (act, &*files) {
        (Act::Note, _) => ("VACUUM END", Vec::new()),
        (Act::Append, [first, ..]) => {
            let name = format!("part-{}.parquet", ambient::uuid());
            let content = store.get(&first.path).unwrap().unwrap();
            assert_eq!(store.put_new(&name, content).unwrap(), Created::Yes);
            let add = NewFile {
                path: name,
                size: first.size,
                num_records: first.num_records,
                stats: None,
                partition: Arc::clone(&first.partition),
            };
            ("WRITE", vec![added(&add, true)])
        }
        (Act::Optimize, [first, second, ..]) => {
            let whole = rewrite(&mut table, &[first, second]);
            let removes = [first, second].map(|file| removed(file, false));
            ("OPTIMIZE", removes.into_iter().chain(whole.map(|file| added(&file, false))).collect())
        }
        (Act::Delete, [first, ..]) => ("DELETE", delete(chance, &mut table, first)),
        _ => return false,
    };
    actions.insert(0, json!({"commitInfo": {"timestamp": ambient::now_millis(), "operation": operation}}));
    let lines = actions.iter().map(|action| format!("{action}\n")).collect::<String>();
    let name = format!("_delta_log/{:020}.json", table.version() + 1);
    store.put_new(&name, lines.into()).unwrap() == Created::Yes
}

fn added(file: &NewFile, data_change: bool) -> Value {
    json!({"add": {
        "path": file.path, "partitionValues": &*file.partition, "size": file.size, "modificationTime": 1, "dataChange": data_change,
        "stats": json!({"numRecords": file.num_records}).to_string(),
    }})
}

fn removed(file: &LiveFile, data_change: bool) -> Value {
    let mut remove = json!({
        "path": file.path, "deletionTimestamp": ambient::now_millis(), "dataChange": data_change,
        "extendedFileMetadata": true, "partitionValues": &*file.partition, "size": file.size,
    });
    if let Some(vector) = &file.deletion_vector {
        remove["deletionVector"] = serde_json::to_value(vector).unwrap();
    }
    json!({ "remove": remove })
}

/// Some of the file's rows, or all.
fn delete(chance: &mut Chance, table: &mut Table, file: &LiveFile) -> Vec<Value> {
    let mut rows: RoaringBitmap = table.deleted_rows(&file.path).unwrap().as_ref().clone();
    rows.insert(chance.below(file.num_records as usize) as u32);
    let mut actions = vec![removed(file, true)];
    if rows.len() < file.num_records && chance.percent(70) {
        let vector = deletion_vector::store_all(table.store(), &mut [rows]).unwrap().remove(0);
        let file = NewFile {
            path: file.path.clone(),
            size: file.size,
            num_records: file.num_records,
            stats: None,
            partition: Arc::clone(&file.partition),
        };
        let mut add = added(&file, true);
        add["add"]["deletionVector"] = serde_json::to_value(vector).unwrap();
        actions.push(add);
    }
    actions
}

/// The rows of files that are not deleted, in a file of their own; `None` when there are none.
fn rewrite(table: &mut Table, files: &[&LiveFile]) -> Option<NewFile> {
    let columns = parse_schema_string(table.schema_string()).unwrap();
    let all: Vec<_> = columns.iter().collect();
    let mut out = PartWriter::create(table.store(), &columns, &[]).unwrap();
    for file in files {
        let deleted = table.deleted_rows(&file.path).unwrap().clone();
        let mut reader = ColumnReader::open(table.store(), &file.path, file.size, &all, None).unwrap();
        let mut row = 0;
        while let Some(arrays) = reader.next_arrays().unwrap() {
            let rows = arrays.iter().flatten().next().unwrap().len() as u32;
            let keep: BooleanArray = (row..row + rows).map(|row| Some(!deleted.contains(row))).collect();
            row += rows;
            let absent = |at: usize| new_null_array(&columns[at].column_type.arrow(), rows as usize);
            let arrays = arrays.into_iter().enumerate().map(|(at, array)| array.unwrap_or_else(|| absent(at)));
            out.write(arrays.map(|array| filter(&array, &keep).unwrap()).collect()).unwrap();
        }
    }
    (out.rows() > 0).then(|| out.finish().unwrap())
}
