//! Checkpoints that other writers have split into parts: loaded from, left when one is missing, and removed in the end.

use super::*;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

fn part(version: i64, number: usize, of: usize) -> String {
    format!("_delta_log/{version:020}.checkpoint.{number:010}.{of:010}.parquet")
}

/// Puts parts in the place of the table's newest checkpoint, with their actions in the opposite order: files before the columns
/// by which they are partitioned.
fn split(table: &Table, version: i64, of: usize) {
    let whole = table.store().get(&checkpoint::name(version)).unwrap().unwrap();
    let reader = ParquetRecordBatchReaderBuilder::try_new(whole).unwrap().build().unwrap();
    let mut actions: Vec<_> = reader
        .map(Result::unwrap)
        .flat_map(|batch| (0..batch.num_rows()).map(move |row| batch.slice(row, 1)))
        .collect();
    actions.reverse();
    for number in 1..=of {
        let mut writer = ArrowWriter::try_new(Vec::new(), actions[0].schema(), None).unwrap();
        actions.iter().skip(number - 1).step_by(of).for_each(|action| writer.write(action).unwrap());
        table.store().put(&part(version, number, of), writer.into_inner().unwrap().into()).unwrap();
    }
    table.store().delete(&checkpoint::name(version)).unwrap();
}

/// A partitioned table, some of whose files are of no partition, with a vector and a removal, at version 3, of which there is a
/// checkpoint in so many parts.
fn partitioned(directory: &TempDir, parts: usize) -> Table {
    let schema_string =
        SCHEMA.replace(r#""fields":["#, r#""fields":[{"name":"p","type":"integer","nullable":true,"metadata":{}},"#);
    let new = NewTable { schema_string, partition_columns: vec!["p".to_owned()], ..new_table() };
    let mut table = Table::create(store(directory), new, commit(0)).unwrap();
    let of = |number: u32| {
        let value = (number > 2).then(|| number.to_string());
        NewFile { partition: Partition::new([("p".to_owned(), value)].into()), ..file(&format!("{number}.parquet"), 9) }
    };
    table.commit(Commit { adds: (0..9).map(of).collect(), ..commit(1) }).unwrap();
    let deletes = BTreeMap::from([("1.parquet".to_owned(), RoaringBitmap::from_iter([5]))]);
    table.commit(Commit { deletes, ..commit(2) }).unwrap();
    table.commit(Commit { removes: vec!["0.parquet".to_owned()], ..commit(3) }).unwrap();
    table.checkpoint().unwrap();
    split(&table, 3, parts);
    table
}

fn remove_entries(table: &Table, versions: std::ops::Range<i64>) {
    versions.for_each(|version| table.store().delete(&load::entry_name(version)).unwrap());
}

#[test]
fn a_table_is_loaded_from_a_split_checkpoint_sk_34() {
    for of in [1, 2, 5, 40] {
        let directory = tempfile::tempdir().unwrap();
        let mut table = partitioned(&directory, of);
        let expect = content(&mut table);
        remove_entries(&table, 0..3);
        let mut again = reopen(&directory);
        assert_eq!((again.version(), content(&mut again)), (3, expect.clone()), "{of} parts");
        assert_eq!(again.state.tombstones.len(), table.state.tombstones.len());
        for file in again.files() {
            assert_eq!(file.partition, table.file(&file.path).unwrap().partition, "{}", file.path);
        }
        again.commit(Commit { adds: vec![file("own.parquet", 1)], ..commit(4) }).unwrap();
        // Entries stand in for a part that is missing, if they are there.
        table.store().delete(&part(3, of, of)).unwrap();
        assert_eq!(Table::open(store(&directory)).unwrap_err().code(), "delta_table_gone", "{of} parts");
    }
}

#[test]
fn a_part_that_is_missing_or_torn_costs_time_only_sk_34() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = partitioned(&directory, 3);
    let expect = content(&mut table);
    let good = table.store().get(&part(3, 2, 3)).unwrap().unwrap();
    table.store().put(&part(3, 2, 3), good.slice(..good.len() / 2)).unwrap();
    assert_eq!(content(&mut reopen(&directory)), expect);
    table.store().delete(&part(3, 2, 3)).unwrap();
    assert_eq!(content(&mut reopen(&directory)), expect);
}

/// Others may clean the log behind a checkpoint of theirs while this writer is at work.
#[test]
fn a_writer_goes_on_behind_a_split_checkpoint_sk_3a() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = partitioned(&directory, 2);
    remove_entries(&table, 0..3);
    table.commit(Commit { adds: vec![file("own.parquet", 1)], ..commit(4) }).unwrap();
    assert_eq!(content(&mut reopen(&directory)), content(&mut table));
}

/// Parts go with the entries before a whole checkpoint; nothing goes because of them.
#[test]
fn parts_expire_behind_a_checkpoint_of_ours_sk_3d() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = partitioned(&directory, 2);
    let far = now_millis() + 1_000_000;
    assert_eq!(expired_entries(&table, 3, far), (0, true));
    table.commit(commit(4)).unwrap();
    table.checkpoint().unwrap();
    table.commit(commit(5)).unwrap();
    assert_eq!(expired_entries(&table, 5, far), (6, true), "four entries and two parts");
    let mut again = reopen(&directory);
    assert_eq!((again.version(), content(&mut again)), (5, content(&mut table)));
}
