//! Tables that are taken away, put in another's place, or lose a part of their log, under a writer.

use super::*;

#[test]
fn a_table_taken_away_or_replaced_stops_the_writer_sk_3a() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    table.commit(Commit { adds: vec![file("a.parquet", 9)], ..commit(1) }).unwrap();
    let path = table.store().local_path().unwrap();
    std::fs::rename(&path, directory.path().join("away")).unwrap();
    let code = |mut table: Table| table.commit(commit(2)).unwrap_err().code();
    assert_eq!(code(table), "delta_table_gone");
    assert!(!path.exists(), "nothing was created in its place");

    std::fs::rename(directory.path().join("away"), &path).unwrap();
    let table = reopen(&directory);
    std::fs::remove_dir_all(&path).unwrap();
    create(&directory).commit(commit(1)).unwrap();
    assert_eq!(code(table), "delta_table_replaced");

    let table = reopen(&directory);
    table.store().delete(&load::entry_name(1)).unwrap();
    assert_eq!(code(table), "delta_table_rolled_back");
}

/// In a bucket nothing stands in the way of an entry behind those that are gone.
#[test]
fn a_table_that_loses_its_beginning_stops_the_writer_sk_3a() {
    for checkpointed in [false, true] {
        let store = Store::in_memory().table("shop/public/orders");
        let mut table = Table::create(store.clone(), new_table(), commit(0)).unwrap();
        table.commit(Commit { adds: vec![file("a.parquet", 9)], ..commit(1) }).unwrap();
        if checkpointed {
            table.checkpoint().unwrap();
        }
        table.commit(Commit { adds: vec![file("b.parquet", 9)], ..commit(2) }).unwrap();
        let newest = load::entry_name(2);
        let kept = |object: &crate::store::Object| format!("_delta_log/{}", object.name) == newest;
        for object in store.list("_delta_log", "").unwrap().iter().filter(|object| !kept(object)) {
            store.delete(&format!("_delta_log/{}", object.name)).unwrap();
        }
        let begin = load::entry_name(3);
        assert_eq!(table.commit(commit(3)).unwrap_err().code(), "delta_table_gone", "checkpoint: {checkpointed}");
        assert_eq!(store.get(&begin).unwrap(), None, "nothing was put behind what is gone");
        // A start does not come to terms with it.
        assert_eq!(Table::open(store).unwrap_err().code(), "delta_table_gone", "checkpoint: {checkpointed}");
    }
}

#[test]
fn a_commit_into_a_table_that_goes_meanwhile_counts_for_nothing_sk_3a() {
    let store = Store::in_memory().table("shop/public/orders");
    let mut table = Table::create(store.clone(), new_table(), commit(0)).unwrap();
    table.commit(commit(1)).unwrap();
    // As if it went between the look before the commit and the entry.
    let entry = Entry::build(&store, &table.state, &BTreeMap::new(), &commit(2), Vec::new(), now_millis()).unwrap();
    for version in [0, 1] {
        store.delete(&load::entry_name(version)).unwrap();
    }
    assert_eq!(table.publish(entry, APP).unwrap_err().code(), "delta_table_gone");
}

#[test]
fn others_may_clean_the_log_behind_a_checkpoint_of_theirs() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    table.commit(Commit { adds: vec![file("a.parquet", 9)], ..commit(1) }).unwrap();
    reopen(&directory).checkpoint().unwrap();
    table.store().delete(&load::entry_name(0)).unwrap();
    assert_eq!(table.commit(commit(2)).unwrap(), 2);
    table.store().delete(&load::entry_name(1)).unwrap();
    assert_eq!(table.commit(commit(3)).unwrap(), 3);
    assert_eq!(content(&mut reopen(&directory)), content(&mut table));
}
