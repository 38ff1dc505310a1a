//! What a reader of a table sees, read from storage alone with the crate's own reader.

use crate::encode::partition::array_of;
use crate::encode::read::ColumnReader;
use crate::log::{LiveFile, Partition, Table};
use crate::typemap::{ColumnType, TableColumn, parse_schema_string};
use arrow_array::ArrayRef;

/// Calls back for each row that is not deleted, with the asked columns' arrays and the row's place in them.
pub(crate) fn each_row(table: &mut Table, names: &[&str], mut each: impl FnMut(&[Option<ArrayRef>], usize)) {
    let columns = columns(table, names);
    let columns: Vec<&TableColumn> = columns.iter().collect();
    let files: Vec<LiveFile> = table.files().cloned().collect();
    for file in files {
        let deleted = table.deleted_rows(&file.path).unwrap().clone();
        let mut number = 0;
        each_row_of_file(table, &file, &columns, |arrays, at| {
            if !deleted.contains(number) {
                each(arrays, at);
            }
            number += 1;
        });
    }
}

/// The table's columns of these names; one that it does not have is in no file.
fn columns(table: &Table, names: &[&str]) -> Vec<TableColumn> {
    let all = parse_schema_string(table.schema_string()).unwrap();
    let none = |name: &str| TableColumn::own(name, ColumnType::String);
    let column = |name: &&str| all.iter().find(|column| &*column.name == *name).cloned();
    names.iter().map(|name| column(name).unwrap_or_else(|| none(name))).collect()
}

/// The same for each row of a file, deleted ones included. The file must have one of the columns.
pub(crate) fn each_row_of_file(
    table: &Table,
    file: &LiveFile,
    columns: &[&TableColumn],
    mut each: impl FnMut(&[Option<ArrayRef>], usize),
) {
    let mut reader = ColumnReader::open(table.store(), &file.path, file.size, columns, None).unwrap();
    assert_eq!(reader.rows, file.num_records, "{}", file.path);
    // Only a table that says so has files of narrower types.
    let has_grown = columns.iter().any(|column| !column.type_changes.is_empty());
    assert!(has_grown || reader.is_as_declared(), "{}", file.path);
    while let Some(mut arrays) = reader.next_arrays().unwrap() {
        let rows = with_partition(columns, &file.partition, &mut arrays);
        (0..rows).for_each(|at| each(&arrays, at));
    }
}

/// Adds the columns of a file's partition, and returns the number of rows.
pub(crate) fn with_partition(
    columns: &[&TableColumn],
    partition: &Partition,
    arrays: &mut [Option<ArrayRef>],
) -> usize {
    let rows = arrays.iter().flatten().next().unwrap().len();
    for (column, array) in
        columns.iter().zip(arrays).filter(|(column, _)| partition.contains_key(&**column.file_name()))
    {
        assert!(array.is_none(), "partition column {} lies in a data file", column.name);
        *array = Some(array_of(column, partition, rows).unwrap());
    }
    rows
}
