//! The process ends at every place where storage is in between (SK-32, SK-33, SK-34, SK-64): a fresh load is then the state
//! after some commit, and going on from there ends where a run without a crash ends, without a file that nobody names.

use super::*;
use std::path::Path;
use std::process::Command;
use tidewire_core::failpoint::{self, Act};

const PLACE: &str = "TIDEWIRE_TEST_CRASH_PLACE";
const DIRECTORY: &str = "TIDEWIRE_TEST_CRASH_DIRECTORY";
const COMMITS: i64 = 8;

fn store_at(directory: &Path) -> TableStore {
    let store = Store::open(&Url::from_directory_path(directory).unwrap(), &BTreeMap::new()).unwrap();
    store.with_intents(directory.join("state")).table("t")
}

/// Commit number `n`: a new file, and rows deleted from the two before it.
fn step(n: i64) -> Commit {
    let deletes = (1..n).rev().take(2).map(|older| {
        let rows = RoaringBitmap::from_iter([n as u32, n as u32 + 1]);
        (format!("{older}.parquet"), rows)
    });
    Commit { adds: vec![file(&format!("{n}.parquet"), 100)], deletes: deletes.collect(), ..commit(n) }
}

/// Goes on from wherever the table is.
fn run_to_the_end(directory: &Path) -> Table {
    let mut table = match Table::open(store_at(directory)).unwrap() {
        Some(mut table) => {
            table.claim(APP).unwrap();
            table
        }
        None => Table::create(store_at(directory), new_table(), commit(0)).unwrap(),
    };
    for n in table.txn(APP).unwrap() + 1..=COMMITS {
        table.commit(step(n)).unwrap();
        if n % 3 == 0 {
            table.checkpoint().unwrap();
        }
    }
    table
}

/// The process that is to end; without its environment it has nothing to do.
#[test]
fn the_process_that_ends() {
    let (Ok(place), Ok(directory)) = (std::env::var(PLACE), std::env::var(DIRECTORY)) else { return };
    let (name, pass) = place.split_once(':').unwrap();
    failpoint::arm(name, pass.parse().unwrap(), Act::End);
    run_to_the_end(Path::new(&directory));
}

#[test]
fn a_crash_anywhere_leaves_a_committed_state() {
    let whole = tempfile::tempdir().unwrap();
    let mut expect = vec![];
    let mut model = Table::create(store_at(whole.path()), new_table(), commit(0)).unwrap();
    expect.push(content(&mut model));
    for n in 1..=COMMITS {
        model.commit(step(n)).unwrap();
        expect.push(content(&mut model));
    }
    let mut crashes = 0;
    for name in [
        "delta_files_written",
        "delta_committed",
        "delta_store_written",
        "delta_store_synced",
        "delta_store_linked",
        "delta_checkpoint_written",
    ] {
        for pass in [1, 2, 3, 5, 8, 13] {
            let directory = tempfile::tempdir().unwrap();
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "log::tests::crash::the_process_that_ends"])
                .env(PLACE, format!("{name}:{pass}"))
                .env(DIRECTORY, directory.path())
                .output()
                .unwrap();
            crashes += i32::from(!child.status.success());
            if let Some(mut table) = Table::open(store_at(directory.path())).unwrap() {
                let reached = usize::try_from(table.txn(APP).unwrap()).unwrap();
                assert_eq!(content(&mut table), expect[reached], "{name} {pass}");
            }
            let mut table = run_to_the_end(directory.path());
            assert_eq!(content(&mut table), *expect.last().unwrap(), "{name} {pass}");
            let vectors = table.state.files.values().filter_map(|file| file.deletion_vector.as_ref());
            let removed = table.state.tombstones.iter().filter_map(|tombstone| tombstone.deletion_vector.as_ref());
            let named: BTreeSet<String> = vectors.chain(removed).filter_map(|vector| vector.file_name()).collect();
            let listed = table.store().list("", "deletion_vector_").unwrap().into_iter().map(|object| object.name);
            assert_eq!(listed.collect::<BTreeSet<_>>(), named, "{name} {pass}");
        }
    }
    assert!(crashes >= 24, "{crashes} crashes: the places are passed");
}
