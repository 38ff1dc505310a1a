//! SK-32: files of commits that never landed are removed at the next opening, and no others, whatever became of the
//! intent list and of answers.

use super::lake::{delete, lake, vector_of};
use super::*;

struct Lake {
    directory: TempDir,
    bucket: Option<Store>,
}

impl Lake {
    fn new() -> Lake {
        Lake { directory: tempfile::tempdir().unwrap(), bucket: None }
    }

    /// The table's store as a process finds it that starts now.
    fn store(&self) -> TableStore {
        lake(&self.directory, self.bucket.as_ref())
    }

    fn claimed(&self) -> Table {
        let mut table = Table::open(self.store()).unwrap().unwrap();
        table.claim(APP).unwrap();
        table
    }

    fn names(&self) -> Vec<String> {
        self.store().list("", "").unwrap().into_iter().map(|object| object.name).collect()
    }
}

/// A data file that is whole and that no commit names.
fn write(store: &TableStore, name: &str) -> NewFile {
    store.intents().unwrap().record(name);
    store.put_new(name, Bytes::from_static(b"rows")).unwrap();
    file(name, 9)
}

#[test]
fn files_of_a_killed_process_go_and_all_others_stay_sk_32() {
    for is_bucket in [false, true] {
        let lake = Lake { bucket: is_bucket.then(Store::in_memory), ..Lake::new() };
        let mut table = Table::create(lake.store(), new_table(), commit(0)).unwrap();
        let adds = vec![write(table.store(), "part-a.parquet"), write(table.store(), "part-gone.parquet")];
        table.commit(Commit { adds, ..commit(1) }).unwrap();
        table.commit(Commit { deletes: delete("part-a.parquet", 1), ..commit(2) }).unwrap();
        let older = vector_of(&table, "part-a.parquet");
        let removes = vec!["part-gone.parquet".to_owned()];
        table.commit(Commit { removes, deletes: delete("part-a.parquet", 2), ..commit(3) }).unwrap();
        let newer = vector_of(&table, "part-a.parquet");
        let mut expect =
            vec!["part-a.parquet".to_owned(), "part-gone.parquet".to_owned(), older, newer, "strange".to_owned()];
        expect.sort();
        // The process ends between its files and their commit. What is not on the list is not ours to remove.
        table.store().put_new("strange", Bytes::from_static(b"?")).unwrap();
        write(table.store(), "part-b.parquet");
        deletion_vector::store_all(table.store(), &[RoaringBitmap::from_iter([1])]).unwrap();
        assert_eq!(lake.names().len(), expect.len() + 2);
        // Vectors go by their age.
        let listed = lake.names();
        let vector = listed.into_iter().find(|name| name.starts_with("deletion_vector_") && !expect.contains(name));
        expect.extend(vector);
        expect.sort();
        drop(table);
        let mut again = lake.claimed();
        assert_eq!(lake.names(), expect, "bucket: {is_bucket}");
        assert_eq!(lake.store().intents().unwrap().earlier(), [""; 0]);
        // What this process is about to commit is no orphan.
        let adds = vec![write(again.store(), "part-c.parquet")];
        again.claim(APP).unwrap();
        again.commit(Commit { adds, ..commit(4) }).unwrap();
        assert_eq!(content(&mut lake.claimed()), content(&mut again));
    }
}

#[test]
fn a_commit_that_was_not_struck_off_keeps_its_files_sk_32() {
    let lake = Lake::new();
    let mut table = Table::create(lake.store(), new_table(), commit(0)).unwrap();
    let adds = vec![write(table.store(), "part-a.parquet"), write(table.store(), "part-gone.parquet")];
    table.commit(Commit { adds, ..commit(1) }).unwrap();
    let removes = vec!["part-gone.parquet".to_owned()];
    table.commit(Commit { removes, deletes: delete("part-a.parquet", 1), ..commit(2) }).unwrap();
    let all = lake.names();
    // The process ended before it could strike anything off; entries or a checkpoint tell all the same.
    for checkpoint in [false, true] {
        if checkpoint {
            table = lake.claimed();
            table.checkpoint().unwrap();
            (0..2).for_each(|version| table.store().delete(&load::entry_name(version)).unwrap());
        }
        let store = lake.store();
        all.iter().for_each(|name| store.intents().unwrap().record(name));
        lake.claimed();
        assert_eq!(lake.names(), all, "checkpoint: {checkpoint}");
        assert_eq!(lake.store().intents().unwrap().earlier(), [""; 0]);
    }
}

#[test]
fn an_entry_whose_answer_was_lost_keeps_its_files_sk_31() {
    let lake = Lake::new();
    let mut table = Table::create(lake.store(), new_table(), commit(0)).unwrap();
    let adds = vec![write(table.store(), "part-a.parquet")];
    let entry = Entry::build(&table.store, &table.state, &BTreeMap::new(), &Commit { adds, ..commit(1) }, vec![], 1);
    // The next owner looks before the entry arrives, and claims after.
    let mut next = Table::open(lake.store()).unwrap().unwrap();
    table.publish(entry.unwrap(), APP).unwrap();
    lake.store().intents().unwrap().record("part-a.parquet");
    // In one process a late entry is an error that opens the table anew.
    assert_eq!(next.claim(APP).unwrap_err().code(), "delta_commit_late");
    assert_eq!(lake.names(), ["part-a.parquet"]);
    assert_eq!(lake.claimed().files().count(), 1);
    assert_eq!(lake.names(), ["part-a.parquet"]);
}

#[test]
fn without_a_table_nothing_is_removed_before_there_is_one() {
    let lake = Lake::new();
    write(&lake.store(), "part-a.parquet");
    let store = lake.store();
    assert!(Table::open(store.clone()).unwrap().is_none());
    // An entry of the process before might still arrive and name it.
    assert_eq!(lake.names(), ["part-a.parquet"]);
    let adds = vec![write(&store, "part-b.parquet")];
    Table::create(store, new_table(), Commit { adds, ..commit(0) }).unwrap();
    assert_eq!(lake.names(), ["part-b.parquet"]);
}

#[test]
fn a_list_that_names_anything_else_removes_nothing() {
    let lake = Lake::new();
    let table = Table::create(lake.store(), new_table(), commit(0)).unwrap();
    table.store().put_new("strange", Bytes::from_static(b"?")).unwrap();
    for name in ["strange", "_delta_log/00000000000000000000.json", "part-/../strange", "../orders/strange"] {
        table.store().intents().unwrap().record(name);
    }
    drop(table);
    lake.claimed();
    assert_eq!(lake.names(), ["strange"]);
}

/// A large file may be written for longer than an hour, and somebody may look at the table meanwhile.
#[test]
fn only_a_writer_removes_what_a_writer_left_behind() {
    let lake = Lake::new();
    let table = Table::create(lake.store(), new_table(), commit(0)).unwrap();
    let root = table.store().local_path().unwrap();
    let (old, young) = (root.join(".tidewire-1.tmp"), root.join(".tidewire-2.tmp"));
    for path in [&old, &young] {
        std::fs::write(path, b"rows").unwrap();
    }
    let two_hours_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    std::fs::File::options().write(true).open(&old).unwrap().set_modified(two_hours_ago).unwrap();
    let url = Url::from_directory_path(lake.directory.path().join("lake")).unwrap();
    let looked_at = Store::open(&url, &BTreeMap::new()).unwrap().table("shop/orders");
    assert!(Table::open(looked_at).unwrap().is_some() && old.exists());
    lake.claimed();
    assert!(!old.exists() && young.exists());
}
