//! What a store that fails makes of a reading, how often it is asked, and how much is read at a time.

use super::*;
use crate::compression::Compression;
use crate::encode::file::PartWriter;
use crate::store::Store;
use crate::store::faulty::{Call, Fault, Faults, Fetched, Plan};
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
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
    for (rows, requests) in [(None, 2), (Some(&[1, 5, 150_000][..]), 3)] {
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
        assert_eq!(failed, requests, "one after the other, each failed once");
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

/// Numbers in which nothing repeats.
fn noise(rows: std::ops::Range<u64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(
        rows.map(|row| row.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29) as i64),
    ))
}

/// A page is 64 KiB; neither its header nor its bytes are asked for on their own.
#[test]
fn an_object_is_read_in_few_requests_and_no_byte_twice() {
    let names: Vec<String> = (0..4).map(|number| format!("c{number}")).collect();
    let columns: Vec<TableColumn> = names.iter().map(|name| TableColumn::own(name, ColumnType::Long)).collect();
    let all: Vec<&TableColumn> = columns.iter().collect();
    let faults = Faults::default();
    let store = Store::in_memory().with_faults(&faults).table("t");
    let mut writer = PartWriter::create(&store, &columns, &[0, 1, 2, 3]).unwrap();
    // Three groups of rows of 4 MB.
    for group in 0..3 {
        let first = group * 125_000;
        writer
            .write((0..4).map(|column| noise(column << 32 | first..column << 32 | (first + 125_000))).collect())
            .unwrap();
        writer.end_row_group().unwrap();
    }
    let file = writer.finish().unwrap();
    assert!((11_500_000..13_500_000).contains(&file.size), "{}", file.size);
    let tail = 64 << 10;
    for (what, asked, requests, bytes) in [
        // 12 MB in pieces of 4 MiB.
        ("all columns", all.clone(), 4..=6, file.size - tail..=file.size),
        // Each group's chunk lies far from the next.
        ("the first column", vec![all[0]], 4..=4, file.size / 4..=file.size / 4 + tail),
        ("two neighbours", vec![all[1], all[2]], 4..=5, file.size / 2..=file.size / 2 + tail),
        ("no column", vec![], 1..=1, tail..=tail),
    ] {
        faults.take_fetched();
        let mut reader = ColumnReader::open_whole(&store, &file.path, file.size, 375_000, &asked).unwrap();
        let mut rows = 0;
        while let Some(arrays) = reader.next_arrays().unwrap() {
            for (column, array) in asked.iter().zip(&arrays) {
                let number = all.iter().position(|other| other.name == column.name).unwrap() as u64;
                let array = array.as_ref().unwrap();
                let expect = noise(number << 32 | rows..number << 32 | (rows + array.len() as u64));
                assert_eq!(array.as_primitive::<Int64Type>(), expect.as_primitive::<Int64Type>(), "{what}");
            }
            rows += arrays.iter().flatten().map(|array| array.len() as u64).next().unwrap_or(375_000);
        }
        assert!(asked.is_empty() || rows == 375_000, "{what}: {rows}");
        let fetched = faults.take_fetched();
        assert!(requests.contains(&fetched.requests) && bytes.contains(&fetched.bytes), "{what}: {fetched:?}");
    }
    // A small file is its tail.
    let mut writer = PartWriter::create(&store, &columns, &[]).unwrap();
    writer.write(vec![noise(0..1_000); 4]).unwrap();
    let file = writer.finish().unwrap();
    for rows in [None, Some(&[1, 5, 900][..])] {
        faults.take_fetched();
        let mut reader = ColumnReader::open(&store, &file.path, file.size, &all, rows).unwrap();
        while reader.next_arrays().unwrap().is_some() {}
        assert_eq!(faults.take_fetched(), Fetched { requests: 1, bytes: file.size });
    }
}

/// Whether a file's writer counted the bytes of its texts, has a dictionary of them, or neither.
#[test]
fn a_batch_is_as_small_as_its_rows_are_large() {
    let columns = [TableColumn::own("id", ColumnType::Long), TableColumn::own("body", ColumnType::String)];
    let asked: Vec<&TableColumn> = columns.iter().collect();
    let store = Store::in_memory().with_compression(Compression::Zstd).table("t");
    for (what, length, differ, is_counted, expect) in [
        ("counted", 300 << 10, true, true, 16),
        ("a dictionary, counted", 100 << 10, false, true, 64),
        ("not counted", 300 << 10, true, false, 16),
        ("a dictionary, not counted", 100 << 10, false, false, 640),
    ] {
        let rows = 700;
        let body = |row: i64| format!("{}{}", if differ { row } else { row % 2 }, "x".repeat(length));
        let properties = WriterProperties::builder()
            .set_compression(Compression::Zstd.codec())
            .set_dictionary_page_size_limit(256 << 10)
            .set_statistics_enabled(if is_counted { EnabledStatistics::Chunk } else { EnabledStatistics::None });
        let schema = crate::encode::file::file_schema(&columns);
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, Arc::clone(&schema), Some(properties.build())).unwrap();
        for first in (0..rows).step_by(70) {
            let ids = Arc::new(Int64Array::from_iter_values(first..first + 70)) as ArrayRef;
            let bodies = Arc::new(StringArray::from_iter_values((first..first + 70).map(body)));
            writer.write(&RecordBatch::try_new(Arc::clone(&schema), vec![ids, bodies]).unwrap()).unwrap();
        }
        writer.close().unwrap();
        store.put_file(what, &bytes).unwrap();
        let open =
            |columns: &[&TableColumn]| ColumnReader::open(&store, what, bytes.len() as u64, columns, None).unwrap();
        let (mut reader, mut next) = (open(&asked), 0);
        while let Some(arrays) = reader.next_arrays().unwrap() {
            let (ids, bodies) = (arrays[0].as_ref().unwrap(), arrays[1].as_ref().unwrap());
            assert!(ids.len() <= expect, "{what}: {} rows", ids.len());
            for (id, text) in ids.as_primitive::<Int64Type>().iter().zip(bodies.as_string::<i32>()) {
                assert_eq!((id, text), (Some(next), Some(body(next).as_str())));
                next += 1;
            }
        }
        assert_eq!(next, rows, "{what}");
        // What is not asked for does not count.
        let ids = open(&asked[..1]).next_arrays().unwrap().unwrap();
        assert_eq!(ids[0].as_ref().unwrap().len(), rows as usize, "{what}");
    }
}
