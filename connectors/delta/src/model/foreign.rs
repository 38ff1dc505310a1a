//! Another writer, who appends entries to a table's log as delta-rs and Spark do, and what the sink is to make of each.

use super::chance::Chance;
use super::datum::{Datum, Row};
use super::reading::each_row_of_file;
use super::shape;
use super::source::{Change, Event, Old, Source, key_of};
use super::truth::is_changed_after;
use super::world::row;
use crate::ambient;
use crate::deletion_vector;
use crate::encode::file::PartWriter;
use crate::encode::partition::array_of;
use crate::encode::read::ColumnReader;
use crate::layout::Mode;
use crate::log::{ForeignWrites, LiveFile, NewFile, Partition, Table};
use crate::store::{Created, TableStore};
use crate::typemap::{TableColumn, parse_schema_string};
use crate::write::stored_place;
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
    new_null_array,
};
use arrow_schema::DataType as ArrowType;
use arrow_select::filter::filter;
use roaring::RoaringBitmap;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use tidewire_core::{Mark, TableName};

/// What others do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// The note that a vacuum leaves.
    Note,
    /// A file is added whose rows are there already.
    Append,
    /// Two files become one of the same rows.
    Optimize,
    /// A row is deleted: by a vector, or with its file.
    Delete,
    /// A row of a key that the source does not have is added.
    Insert,
    /// A row is deleted and added again, as it was.
    Update,
    /// The same with other values.
    Change,
}

/// What is to come of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Expect {
    /// The table is halted with this code, at its next commit or opening.
    Halt(&'static str),
}

/// What was done to a table that told this place.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) at: Mark,
    /// What it means for the table's rows.
    pub(super) event: Option<Event>,
}

/// Keys from here on are not the source's.
const KEYS_OF_OTHERS: usize = 10_000;

/// What others may do.
pub(super) fn acts(is_adopted: bool, mode: Mode) -> &'static [Act] {
    match (is_adopted, mode) {
        (false, _) => &[Act::Note, Act::Append, Act::Optimize, Act::Delete, Act::Update],
        (true, Mode::Changelog) => &[Act::Note, Act::Optimize],
        (true, _) => {
            use Act::{Change, Delete, Insert, Note, Optimize, Update};
            &[Note, Optimize, Optimize, Delete, Insert, Update, Update, Change]
        }
    }
}

/// A table as others find it.
struct Lake<'a> {
    table: Table,
    columns: Vec<TableColumn>,
    files: Vec<LiveFile>,
    source: &'a Source,
    name: &'a TableName,
}

/// Does it, if the table has what it takes.
pub(super) fn act(
    chance: &mut Chance,
    source: &Source,
    name: &TableName,
    store: &TableStore,
    act: Act,
) -> Option<Done> {
    let table = Table::open_among(store.clone(), ForeignWrites::Adopt).unwrap()?;
    let at = stored_place(store, ForeignWrites::Adopt).unwrap()?.position().mark;
    let columns = parse_schema_string(table.schema_string()).unwrap();
    let files = table.files().cloned().collect();
    let mut lake = Lake { table, columns, files, source, name };
    let (operation, mut actions, change) = lake.act(chance, at, act)?;
    actions.insert(0, json!({"commitInfo": {"timestamp": ambient::now_millis(), "operation": operation}}));
    let lines = actions.iter().map(|action| format!("{action}\n")).collect::<String>();
    let entry = format!("_delta_log/{:020}.json", lake.table.version() + 1);
    if store.put_new(&entry, lines.into()).unwrap() != Created::Yes {
        return None;
    }
    let event = change.map(|change| Event { schema: Arc::clone(&source.table(name).schema), change });
    Some(Done { at, event })
}

impl Lake<'_> {
    /// The name of the operation, what the log says of it, and what it means for the rows.
    fn act(&mut self, chance: &mut Chance, at: Mark, act: Act) -> Option<(&'static str, Vec<Value>, Option<Change>)> {
        let any = self.files.get(chance.below(self.files.len().max(1))).cloned();
        match (act, any) {
            (Act::Note, _) => Some(("VACUUM END", Vec::new(), None)),
            (Act::Append, Some(any)) => {
                let store = self.table.store();
                let path = format!("part-{}.parquet", ambient::uuid());
                let content = store.get(&any.path).unwrap().unwrap();
                assert_eq!(store.put_new(&path, content).unwrap(), Created::Yes);
                Some(("WRITE", vec![added(&NewFile { path, ..as_new(&any) }, true)], None))
            }
            (Act::Optimize, Some(any)) => {
                let is_other = |file: &&LiveFile| file.path != any.path && file.partition == any.partition;
                let other = self.files.iter().find(is_other)?.clone();
                let whole = rewrite(&mut self.table, &[&any, &other], None);
                let removes = [&any, &other].map(|file| removed(file, false));
                let actions = removes.into_iter().chain(whole.map(|file| added(&file, false)));
                Some(("OPTIMIZE", actions.collect(), None))
            }
            (Act::Delete, Some(any)) => {
                let (number, row) = self.pick_row_at_rest(chance, at, &any)?;
                let actions = delete(chance, &mut self.table, &any, number);
                Some(("DELETE", actions, Some(Change::Delete { before: row, old: Old::Key })))
            }
            (Act::Insert, any) => self.insert(chance, any),
            (Act::Update, Some(any)) => {
                let (number, _) = self.pick_row(chance, &any)?;
                let copy = rewrite(&mut self.table, &[&any], Some(number))?;
                let mut actions = delete(chance, &mut self.table, &any, number);
                actions.push(added(&copy, true));
                Some(("UPDATE", actions, None))
            }
            (Act::Change, Some(any)) => {
                let (number, before) = self.pick_row_at_rest(chance, at, &any)?;
                let row = Some(self.changed(chance, &before)).filter(|row| self.may_hold(row))?;
                let mut actions = delete(chance, &mut self.table, &any, number);
                actions.push(added(&self.file_of(&row, Arc::clone(&any.partition)), true));
                let unknown = BTreeSet::new();
                Some(("UPDATE", actions, Some(Change::Update { before, old: Old::Key, row, unknown })))
            }
            _ => None,
        }
    }

    fn insert(
        &mut self,
        chance: &mut Chance,
        any: Option<LiveFile>,
    ) -> Option<(&'static str, Vec<Value>, Option<Change>)> {
        let schema = Arc::clone(&self.source.table(self.name).schema);
        let key = KEYS_OF_OTHERS + chance.below(10_000);
        let drawn = shape::draw_row(chance, &schema, key);
        let by = self.table.partition_columns();
        let is_by = |at: &usize| by.contains(&schema.columns[*at].name.to_string());
        if !self.is_named_as_the_source() || schema.key.iter().any(is_by) {
            return None;
        }
        let column = |name: &Arc<str>| self.columns.iter().find(|column| column.name == *name);
        let mut row: Row = drawn.into_iter().filter(|(name, _)| column(name).is_some()).collect();
        // It goes to a partition that there is.
        let mut partition = Partition::default();
        if !by.is_empty() {
            partition = any?.partition;
            for name in by {
                let column = column(&name.as_str().into()).unwrap();
                let array = array_of(column, &partition, 1).unwrap();
                row.remove(&column.name);
                row.extend(Datum::read(&array, 0).map(|value| (Arc::clone(&column.name), value)));
            }
        }
        let inserted = self.source.foreign.get(self.name).into_iter().flatten().map(|(_, event)| event);
        let is_key = |event: &Event| match &event.change {
            Change::Insert(other) => key_of(&event.schema, other) == key_of(&schema, &row),
            _ => false,
        };
        if inserted.into_iter().any(is_key) || !self.may_hold(&row) {
            return None;
        }
        Some(("WRITE", vec![added(&self.file_of(&row, partition), true)], Some(Change::Insert(row))))
    }

    /// The row with other values, but for those of its key and its partition.
    fn changed(&self, chance: &mut Chance, row: &Row) -> Row {
        let schema = &self.source.table(self.name).schema;
        let mut drawn = shape::draw_row(chance, schema, 0);
        let by = self.table.partition_columns();
        let is_key = |name: &Arc<str>| schema.key_columns().any(|(_, column)| column.name == *name);
        let mut row = row.clone();
        for column in &self.columns {
            let is_other = schema.columns.iter().any(|other| other.name == column.name);
            if is_other && !is_key(&column.name) && !by.contains(&column.name.to_string()) {
                match drawn.remove(&column.name) {
                    Some(value) => row.insert(Arc::clone(&column.name), value),
                    None => row.remove(&column.name),
                };
            }
        }
        row
    }

    /// Whether the table's schema allows the row: no writer puts null into a column that never has it, as one that the source has
    /// dropped since.
    fn may_hold(&self, row: &Row) -> bool {
        self.columns.iter().all(|column| column.nullable || row.contains_key(&column.name))
    }

    /// A file of one row.
    fn file_of(&self, row: &Row, partition: Partition) -> NewFile {
        let mut out = writer(&self.table, &self.columns, partition);
        let arrays = self.columns.iter().map(|column| array(&column.column_type.arrow(), row.get(&column.name)));
        out.write(arrays.collect()).unwrap();
        out.finish().unwrap()
    }

    /// As `pick_row`, a row that the log does not change behind this place.
    fn pick_row_at_rest(&mut self, chance: &mut Chance, at: Mark, file: &LiveFile) -> Option<(u32, Row)> {
        let (number, row) = self.pick_row(chance, file)?;
        let key = key_of(&self.source.table(self.name).schema, &row);
        let is_fit = self.is_named_as_the_source() && !is_changed_after(self.source, self.name, at, &key);
        is_fit.then_some((number, row))
    }

    /// Whether the source's columns are all in the table by now.
    fn is_named_as_the_source(&self) -> bool {
        let has = |name: &Arc<str>| self.columns.iter().any(|column| column.name == *name);
        !self.source.is_mapped || self.source.table(self.name).schema.columns.iter().all(|column| has(&column.name))
    }

    /// A row of the file that is not deleted: its number and its values.
    fn pick_row(&mut self, chance: &mut Chance, file: &LiveFile) -> Option<(u32, Row)> {
        let deleted = self.table.deleted_rows(&file.path).unwrap().clone();
        let live: Vec<u32> = (0..file.num_records as u32).filter(|row| !deleted.contains(*row)).collect();
        let wanted = *live.get(chance.below(live.len().max(1)))?;
        let names: Vec<&str> = self.columns.iter().map(|column| &*column.name).collect();
        let (mut number, mut found) = (0, None);
        each_row_of_file(&self.table, file, &self.columns.iter().collect::<Vec<_>>(), |arrays, at| {
            if number == wanted {
                found = Some(row(&names, arrays, at, Mode::Mirror).values);
            }
            number += 1;
        });
        found.map(|row| (wanted, row))
    }
}

/// A file in the making, of rows of one partition.
fn writer(table: &Table, columns: &[TableColumn], partition: Partition) -> PartWriter {
    let by = table.partition_columns().iter();
    let by = by.map(|name| columns.iter().position(|column| *column.name == **name).unwrap()).collect::<Vec<_>>();
    PartWriter::create_for(table.store(), columns, &[], &by, partition).unwrap()
}

pub(crate) fn as_new(file: &LiveFile) -> NewFile {
    NewFile {
        path: file.path.clone(),
        size: file.size,
        num_records: file.num_records,
        stats: None,
        partition: Arc::clone(&file.partition),
    }
}

fn array(arrow: &ArrowType, value: Option<&Datum>) -> ArrayRef {
    match (value, arrow) {
        (None, arrow) => new_null_array(arrow, 1),
        (Some(Datum::Int(value)), ArrowType::Int32) => Arc::new(Int32Array::from(vec![i32::try_from(*value).unwrap()])),
        (Some(Datum::Int(value)), _) => Arc::new(Int64Array::from(vec![*value])),
        (Some(Datum::Text(text)), _) => Arc::new(StringArray::from(vec![text.as_str()])),
        (Some(Datum::Decimal(value)), ArrowType::Decimal128(precision, scale)) => {
            let array = Decimal128Array::from(vec![i128::from(*value) * 10i128.pow(*scale as u32 - 3)]);
            Arc::new(array.with_precision_and_scale(*precision, *scale).unwrap())
        }
        (Some(Datum::Bool(value)), _) => Arc::new(BooleanArray::from(vec![*value])),
        (Some(Datum::Bytes(bytes)), _) => Arc::new(BinaryArray::from(vec![bytes.as_slice()])),
        (Some(Datum::Double(eighths)), _) => Arc::new(Float64Array::from(vec![*eighths as f64 / 8.0])),
        (value, arrow) => panic!("{value:?} in a column of type {arrow}"),
    }
}

pub(crate) fn added(file: &NewFile, data_change: bool) -> Value {
    json!({"add": {
        "path": file.path, "partitionValues": &*file.partition, "size": file.size, "modificationTime": 1, "dataChange": data_change,
        "stats": json!({"numRecords": file.num_records}).to_string(),
    }})
}

pub(crate) fn removed(file: &LiveFile, data_change: bool) -> Value {
    let mut remove = json!({
        "path": file.path, "deletionTimestamp": ambient::now_millis(), "dataChange": data_change,
        "extendedFileMetadata": true, "partitionValues": &*file.partition, "size": file.size,
    });
    if let Some(vector) = &file.deletion_vector {
        remove["deletionVector"] = serde_json::to_value(vector).unwrap();
    }
    json!({ "remove": remove })
}

/// One of the file's rows goes, by a vector or with the whole file if it was the last.
fn delete(chance: &mut Chance, table: &mut Table, file: &LiveFile, row: u32) -> Vec<Value> {
    let mut rows: RoaringBitmap = table.deleted_rows(&file.path).unwrap().as_ref().clone();
    rows.insert(row);
    let mut actions = vec![removed(file, true)];
    if rows.len() == file.num_records {
        return actions;
    }
    if !table.has_deletion_vectors() || chance.percent(30) {
        // As a writer does that has no deletion vectors.
        let rest = rewrite_without(table, &[file], &rows);
        actions.extend(rest.map(|rest| added(&rest, true)));
        return actions;
    }
    let vector = deletion_vector::store_all(table.store(), &[rows]).unwrap().remove(0);
    let mut add = added(&as_new(file), true);
    add["add"]["deletionVector"] = serde_json::to_value(vector).unwrap();
    actions.push(add);
    actions
}

/// The rows of files that are not deleted, or only this one, in a file of their own; `None` when there are none.
fn rewrite(table: &mut Table, files: &[&LiveFile], only: Option<u32>) -> Option<NewFile> {
    copy(table, files, |deleted, row| only.map_or(!deleted.contains(row), |only| row == only))
}

/// The rows of files without these.
fn rewrite_without(table: &mut Table, files: &[&LiveFile], rows: &RoaringBitmap) -> Option<NewFile> {
    copy(table, files, |_, row| !rows.contains(row))
}

/// Rows of files of one partition, in a file of their own; `None` when there are none.
pub(crate) fn copy(
    table: &mut Table,
    files: &[&LiveFile],
    keeps: impl Fn(&RoaringBitmap, u32) -> bool,
) -> Option<NewFile> {
    copy_with(table, files, keeps, None)
}

/// As `copy`, with this text in all rows of a column.
pub(crate) fn copy_with(
    table: &mut Table,
    files: &[&LiveFile],
    keeps: impl Fn(&RoaringBitmap, u32) -> bool,
    text: Option<(&str, &str)>,
) -> Option<NewFile> {
    let columns = parse_schema_string(table.schema_string()).unwrap();
    let all: Vec<_> = columns.iter().collect();
    let mut out = writer(table, &columns, Arc::clone(&files.first()?.partition));
    for file in files {
        let deleted = table.deleted_rows(&file.path).unwrap().clone();
        let mut reader = ColumnReader::open(table.store(), &file.path, file.size, &all, None).unwrap();
        let mut row = 0;
        while let Some(arrays) = reader.next_arrays().unwrap() {
            let rows = arrays.iter().flatten().next().unwrap().len() as u32;
            let keep: BooleanArray = (row..row + rows).map(|row| Some(keeps(&deleted, row))).collect();
            row += rows;
            let absent = |at: usize| new_null_array(&columns[at].column_type.arrow(), rows as usize);
            let arrays = arrays.into_iter().enumerate().map(|(at, array)| match text {
                Some((name, text)) if *columns[at].name == *name => {
                    Arc::new(StringArray::from(vec![text; rows as usize]))
                }
                _ => array.unwrap_or_else(|| absent(at)),
            });
            out.write(arrays.map(|array| filter(&array, &keep).unwrap()).collect()).unwrap();
        }
    }
    (out.rows() > 0).then(|| out.finish().unwrap())
}
