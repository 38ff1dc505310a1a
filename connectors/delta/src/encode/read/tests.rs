//! What a store that fails makes of a reading.

use super::*;
use crate::encode::file::PartWriter;
use crate::store::Store;
use crate::store::faulty::{Call, Fault, Faults, Plan};
use arrow_array::{Int64Array, RecordBatch};
use parquet::arrow::ArrowWriter;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::ErrorKind;
use url::Url;

const ROWS: u64 = 200_000;

fn column() -> TableColumn {
    TableColumn::own("id", ColumnType::Long)
}

/// A data file of two groups of rows.
fn written(store: &TableStore) -> (String, u64) {
    let mut writer = PartWriter::create(store, &[column()], &[0]).unwrap();
    for from in [0, ROWS / 2] {
        let numbers = Int64Array::from_iter_values(from as i64..(from + ROWS / 2) as i64);
        writer.write(vec![Arc::new(numbers) as ArrayRef]).unwrap();
        writer.end_row_group().unwrap();
    }
    let file = writer.finish().unwrap();
    (file.path, file.size)
}

/// All rows, or these.
fn read(store: &TableStore, name: &str, size: u64, rows: Option<&[u32]>) -> Result<usize> {
    let column = column();
    let mut reader = match rows {
        None => ColumnReader::open_whole(store, name, size, ROWS, &[&column])?,
        Some(_) => ColumnReader::open(store, name, size, &[&column], rows)?,
    };
    let mut found = 0;
    while let Some(arrays) = reader.next_arrays()? {
        found += arrays.first().and_then(Option::as_ref).map_or(0, |array| array.len());
    }
    Ok(found)
}

/// Whichever request fails: what passes is tried again, and no table is taken for damaged (SK-37).
#[test]
fn a_request_that_fails_says_nothing_of_the_file_sk_37() {
    for rows in [None, Some(&[1, 5, 150_000][..])] {
        let faults = Faults::default();
        let store = Store::in_memory().with_faults(&faults).table("t");
        let (name, size) = written(&store);
        let mut failed = 0;
        loop {
            let (calls, fault) = (vec![Call::Read], Fault::Before);
            faults.plan(Plan { calls, after: failed, fault, is_final: false });
            match read(&store, &name, size, rows) {
                Ok(found) => break assert_eq!(found, rows.map_or(ROWS as usize, <[u32]>::len)),
                Err(error) => {
                    assert_eq!(
                        (error.kind(), error.code()),
                        (ErrorKind::Retry, "storage_request"),
                        "{}",
                        error.chain()
                    );
                }
            }
            failed += 1;
        }
        faults.clear();
        assert!(failed >= 3, "the last one was amid the rows: {failed}");
    }
}

/// A file that is shorter than the log says, was taken away, or holds something else is one that a person must look at.
#[test]
fn a_file_that_is_not_what_was_written_is_damaged() {
    let directory = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(directory.path()).unwrap();
    for store in [Store::in_memory(), Store::open(&url, &BTreeMap::new()).unwrap()] {
        let store = store.table("t");
        let (name, size) = written(&store);
        let codes: BTreeSet<&str> = [size - 1, size + 1, 3, size + 100_000]
            .into_iter()
            .map(|size| read(&store, &name, size, None).unwrap_err().code())
            .collect();
        assert_eq!(codes, BTreeSet::from(["delta_table_damaged"]));
        store.delete(&name).unwrap();
        assert_eq!(read(&store, &name, size, None).unwrap_err().code(), "delta_table_damaged");
    }
}

/// Other writers begin a column that holds nothing with a dictionary of no bytes.
#[test]
fn a_page_without_bytes_is_asked_of_no_store() {
    let place = tempfile::tempdir().unwrap();
    let local = Store::open(&Url::from_directory_path(place.path()).unwrap(), &BTreeMap::new()).unwrap();
    for store in [Store::in_memory(), local] {
        let store = store.table("t");
        let nulls = Arc::new(Int64Array::from(vec![None; 10])) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("id", nulls)]).unwrap();
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        store.put_file("other.parquet", &bytes).unwrap();
        for rows in [None, Some(&[1, 5][..])] {
            let column = column();
            let size = bytes.len() as u64;
            let mut reader = ColumnReader::open(&store, "other.parquet", size, &[&column], rows).unwrap();
            let arrays = reader.next_arrays().unwrap().unwrap();
            let array = arrays[0].as_ref().unwrap();
            assert_eq!((array.len(), array.null_count()), (rows.map_or(10, <[u32]>::len), array.len()));
        }
    }
}
