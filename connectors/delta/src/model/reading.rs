//! What a reader of a table sees, read from storage alone with the crate's own reader.

use crate::encode::partition::array_of;
use crate::encode::read::ColumnReader;
use crate::log::{LiveFile, Table};
use crate::typemap::parse_schema_string;
use arrow_array::ArrayRef;

/// Calls back for each row that is not deleted, with the asked columns' arrays and the row's place in them.
pub(crate) fn each_row(table: &mut Table, names: &[&str], mut each: impl FnMut(&[Option<ArrayRef>], usize)) {
    let files: Vec<LiveFile> = table.files().cloned().collect();
    for file in files {
        let deleted = table.deleted_rows(&file.path).unwrap().clone();
        let mut number = 0;
        each_row_of_file(table, &file, names, |arrays, at| {
            if !deleted.contains(number) {
                each(arrays, at);
            }
            number += 1;
        });
    }
}

/// The same for each row of a file, deleted ones included. The file must have one of the columns.
pub(super) fn each_row_of_file(
    table: &Table,
    file: &LiveFile,
    names: &[&str],
    mut each: impl FnMut(&[Option<ArrayRef>], usize),
) {
    let mut reader = ColumnReader::open(table.store(), &file.path, file.size, names, None).unwrap();
    assert_eq!(reader.rows, file.num_records, "{}", file.path);
    let columns = parse_schema_string(table.schema_string()).unwrap();
    while let Some(mut arrays) = reader.next_arrays().unwrap() {
        let rows = arrays.iter().flatten().next().unwrap().len();
        for (name, array) in names.iter().zip(&mut arrays).filter(|(name, _)| file.partition.contains_key(**name)) {
            assert!(array.is_none(), "partition column {name} lies in a data file");
            let column = columns.iter().find(|column| *column.name == **name).unwrap();
            *array = Some(array_of(column, &file.partition, rows).unwrap());
        }
        (0..rows).for_each(|at| each(&arrays, at));
    }
}
