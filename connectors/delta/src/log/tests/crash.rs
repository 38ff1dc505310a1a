//! The process ends at every place where storage is in between (SK-32, SK-33, SK-34, SK-64): a fresh load is then the state
//! after some commit, and going on from there ends where a run without a crash ends, without a file that nobody names. The
//! same where the step at that place fails, and the table is opened anew.

use super::*;
use std::path::Path;
use std::process::Command;
use tidewire_core::failpoint::{self, Act};

const PLACE: &str = "TIDEWIRE_TEST_CRASH_PLACE";
const DIRECTORY: &str = "TIDEWIRE_TEST_CRASH_DIRECTORY";
/// Printed by a process whose step failed as it was to.
const FAILED: &str = "the step failed";
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
fn run_to_the_end(directory: &Path) -> Result<Table> {
    let mut table = match Table::open(store_at(directory))? {
        Some(mut table) => {
            table.claim(APP)?;
            table
        }
        None => Table::create(store_at(directory), new_table(), commit(0))?,
    };
    for n in table.txn(APP).unwrap() + 1..=COMMITS {
        table.commit(step(n))?;
        if n % 3 == 0 {
            table.checkpoint()?;
        }
    }
    Ok(table)
}

/// The process that is to end, or to go on after an error; without its environment it has nothing to do.
#[test]
fn the_process_that_ends() {
    let (Ok(place), Ok(directory)) = (std::env::var(PLACE), std::env::var(DIRECTORY)) else { return };
    let (name, pass) = place.split_once(':').unwrap();
    let (pass, act) = pass.strip_suffix(":error").map_or((pass, Act::End), |pass| (pass, Act::Fail));
    failpoint::arm(name, pass.parse().unwrap(), act);
    let run = || run_to_the_end(Path::new(&directory));
    if let Err(error) = run() {
        println!("{FAILED}: {}", error.chain());
        // It fails once.
        run().unwrap();
    }
}

/// What such a process printed, and whether it went on to its end.
fn run_to_a_place(place: &str, directory: &Path) -> (String, bool) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "log::tests::crash::the_process_that_ends", "--nocapture"])
        .env(PLACE, place)
        .env(DIRECTORY, directory)
        .output()
        .unwrap();
    (String::from_utf8(child.stdout).unwrap(), child.status.success())
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
            let (_, is_whole) = run_to_a_place(&format!("{name}:{pass}"), directory.path());
            crashes += i32::from(!is_whole);
            if let Some(mut table) = Table::open(store_at(directory.path())).unwrap() {
                let reached = usize::try_from(table.txn(APP).unwrap()).unwrap();
                assert_eq!(content(&mut table), expect[reached], "{name} {pass}");
            }
            let mut table = run_to_the_end(directory.path()).unwrap();
            must_be_whole(&mut table, expect.last().unwrap(), &format!("{name} {pass}"));
        }
    }
    assert!(crashes >= 24, "{crashes} crashes: the places are passed");
}

/// The table holds everything, and nothing lies beside it that it does not name.
fn must_be_whole(table: &mut Table, expect: &BTreeMap<String, (u64, Vec<u32>)>, what: &str) {
    assert_eq!(content(table), *expect, "{what}");
    let named = |table: &Table| {
        let vectors = table.state.files.values().filter_map(|file| file.deletion_vector.as_ref());
        let removed = table.state.tombstones.iter().filter_map(|tombstone| tombstone.deletion_vector.as_ref());
        vectors.chain(removed).filter_map(|vector| vector.file_name()).collect::<BTreeSet<String>>()
    };
    let listed = |table: &Table| {
        let files = table.store().list("", "deletion_vector_").unwrap();
        files.into_iter().map(|object| object.name).collect::<BTreeSet<String>>()
    };
    assert!(listed(table).is_superset(&named(table)), "{what}");
    // What was replaced, and what no commit names, goes by its age.
    table.vacuum(true).unwrap();
    assert_eq!(listed(table), named(table), "{what}");
}

#[test]
fn a_step_that_fails_anywhere_leaves_a_committed_state() {
    let whole = tempfile::tempdir().unwrap();
    let expect = content(&mut run_to_the_end(whole.path()).unwrap());
    for name in [
        "delta_files_written",
        "delta_committed",
        "delta_store_written",
        "delta_store_synced",
        "delta_checkpoint_written",
    ] {
        let mut failures = 0;
        for pass in [1, 2, 5, 9] {
            let directory = tempfile::tempdir().unwrap();
            let place = format!("{name}:{pass}:error");
            let (printed, is_whole) = run_to_a_place(&place, directory.path());
            assert!(is_whole, "{place}: {printed}");
            failures += i32::from(printed.contains(FAILED));
            let mut table = Table::open(store_at(directory.path())).unwrap().unwrap();
            must_be_whole(&mut table, &expect, &place);
        }
        assert!(failures > 0, "{name} is passed and fails");
    }
}
