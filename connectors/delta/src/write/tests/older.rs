//! Tables that were put back from an older copy, with the sink's progress and without it (SK-35).

use super::harness::{Harness, Logical, Shape, row};
use crate::config::Budget;
use std::fs;
use std::path::{Path, PathBuf};
use tidewire_core::Sink;
use tidewire_core::sink::PurgeRequest;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() { copy(&from, &to) } else { _ = fs::copy(&from, &to).unwrap() }
    }
}

fn put_back(copied: &Path, folder: &Path) {
    fs::remove_dir_all(folder).unwrap();
    copy(copied, folder);
}

/// The location of all tables.
fn location(h: &Harness) -> PathBuf {
    h.table_directory().ancestors().nth(3).unwrap().to_owned()
}

#[test]
fn an_older_copy_of_a_table_halts_it_at_every_start_sk_35() {
    let copies = tempfile::tempdir().unwrap();
    let (old, new) = (copies.path().join("old"), copies.path().join("new"));
    let mut h = Harness::new(Shape::Int);
    h.send(&[Logical::insert(1, "a", "A")]);
    h.commit();
    copy(&h.table_directory(), &old);
    // One version more is enough.
    h.send(&[Logical::insert(2, "b", "B")]);
    h.commit();
    copy(&h.table_directory(), &new);
    // From here on the table rests; the log goes on, and the copy's place is none from which it comes again.
    h.turn_to("u");
    h.send(&[Logical::insert(1, "z", "Z")]);
    h.commit();
    h.turn_to("t");
    h.crash();
    put_back(&old, &h.table_directory());
    let version = h.table_version();
    let purge = PurgeRequest { table: Some("public.t".to_owned()), key: None, now: false };
    for start in 0..3 {
        h.crash();
        let error = h.try_send(&[Logical::update(1, "c", None)]).unwrap_err();
        assert_eq!(error.code(), "delta_table_rolled_back", "start {start}: {}", error.chain());
        assert_eq!(error.table().map(ToString::to_string).as_deref(), Some("public.t"));
        assert_eq!(h.purge(&purge).unwrap_err().code(), "delta_table_rolled_back");
        assert_eq!(h.table_version(), version, "it gets no newer by looking at it");
    }
    // The remedy.
    put_back(&new, &h.table_directory());
    h.crash();
    h.replay();
    h.commit();
    assert_eq!(h.rows(), [row(1, "c", "A"), row(2, "b", "B")].into());
}

/// The state directory stays, and with it an index that knows of rows which the older copy has not.
#[test]
fn an_index_that_is_newer_than_its_table_is_built_anew_sk_35() {
    for steps in ["a change", "a purge", "two starts"] {
        let copies = tempfile::tempdir().unwrap();
        let old = copies.path().join("old");
        let mut h = Harness::new(Shape::Int);
        // Indexes are written to disk at once, and no file is rewritten.
        let (target_bytes, never) = (1 << 20, 1 << 30);
        h.compact_by(Budget {
            target_bytes,
            deleted_percent: 100,
            deleted_age: None,
            bytes_per_second: None,
            vector_files: never,
            vector_bytes: never as u64,
        });
        h.floor_at_end();
        h.snapshot_start();
        h.snapshot_end();
        h.send(&(0..40).map(|id| Logical::insert(id, "a", "A")).collect::<Vec<_>>());
        h.commit();
        let location = location(&h);
        h.crash();
        copy(&location, &old);
        // Half of the rows, so that the first file stays.
        let changed: Vec<Logical> = (0..20).map(|id| Logical::update(id, "b", None)).collect();
        for _ in 0..8 {
            h.send(&changed);
            h.commit();
        }
        // Of each key the newest fact is left.
        while h.sink().tables.values().any(|table| table.index_sizes().0 > 4) {
            std::thread::yield_now();
            h.sink().maintain().unwrap();
        }
        h.crash();
        put_back(&old, &location);
        match steps {
            "a purge" => {
                for _ in 0..12 {
                    let request = PurgeRequest { table: Some("public.t".to_owned()), key: None, now: false };
                    h.purge(&request).unwrap();
                }
            }
            "two starts" => {
                for _ in 0..12 {
                    h.crash();
                    h.replay_first(1);
                }
            }
            _ => h.crash(),
        }
        h.replay();
        h.commit();
        let expect = (0..40).map(|id| row(id, if id < 20 { "b" } else { "a" }, "A"));
        assert_eq!(h.rows(), expect.collect(), "{steps}");
    }
}
