//! Checkpoints by age, and clean-up of tables that rest or that have much to clean.

use super::*;
use std::fs::File;

const MINUTE: Duration = Duration::from_mins(1);
const HOUR: Duration = Duration::from_hours(1);

fn checkpoints(table: &Table) -> Vec<i64> {
    let listing = table.store().list("_delta_log", "").unwrap();
    listing.iter().filter_map(|object| checkpoint::version_of(&object.name)).collect()
}

fn adding(version: i64) -> Commit {
    Commit { adds: vec![file(&format!("{version}.parquet"), 10)], ..commit(version) }
}

/// A table that forgets at once what is removed, and its entries after an hour.
fn forgetful(directory: &TempDir) -> Table {
    keeping(directory, "0 hours")
}

fn keeping(directory: &TempDir, files: &str) -> Table {
    let keep = |what: &str, time: &str| (format!("delta.{what}RetentionDuration"), format!("interval {time}"));
    let configuration = [keep("deletedFile", files), keep("log", "1 hour")].into();
    Table::create(store(directory), NewTable { configuration, ..new_table() }, commit(0)).unwrap()
}

/// Adds files that are there, and removes them again.
fn churn(table: &mut Table, count: usize) {
    let paths: Vec<String> = (0..count).map(|n| format!("{n}.parquet")).collect();
    let directory = table.store().local_path().unwrap();
    paths.iter().for_each(|path| drop(File::create(directory.join(path)).unwrap()));
    let adds = paths.iter().map(|path| file(path, 10)).collect();
    table.commit(Commit { adds, ..commit(1) }).unwrap();
    table.commit(Commit { removes: paths, ..commit(2) }).unwrap();
    let removed = table.state.tombstones.last().unwrap().deletion_timestamp;
    while now_millis() <= removed {
        std::hint::spin_loop();
    }
}

/// As if something in the log had been written so long ago.
fn written_ago(table: &Table, name: &str, age: Duration) {
    let path = table.store().local_path().unwrap().join("_delta_log").join(name);
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(std::time::SystemTime::now() - age).unwrap();
}

fn stored_files(table: &Table) -> usize {
    table.store().list("", "").unwrap().len()
}

#[test]
fn a_change_waits_ten_minutes_for_a_checkpoint() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    table.commit(adding(1)).unwrap();
    table.upkeep.age(9 * MINUTE);
    table.maintain().unwrap();
    assert_eq!(checkpoints(&table), [0; 0]);
    table.upkeep.age(2 * MINUTE);
    table.maintain().unwrap();
    assert_eq!(checkpoints(&table), [1]);
    // Nothing has changed since, and a claim is no change.
    table.claim(APP).unwrap();
    table.upkeep.age(HOUR);
    table.maintain().unwrap();
    assert_eq!(checkpoints(&table), [1]);
    // The text of a domain is one: the progress has no other.
    let domains = vec![("tidewire.progress".to_owned(), "{}".to_owned())];
    table.commit(Commit { domains, ..commit(2) }).unwrap();
    table.upkeep.age(10 * MINUTE);
    table.maintain().unwrap();
    assert_eq!(checkpoints(&table), [1, 3]);
}

#[test]
fn a_table_that_never_rests_waits_twice_as_long() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    for (version, minutes, expect) in [(1, 19, &[][..]), (2, 2, &[]), (3, 0, &[3])] {
        table.commit(adding(version)).unwrap();
        table.upkeep.age(minutes * MINUTE);
        assert_eq!(checkpoints(&table), expect, "version {version}");
    }
}

#[test]
fn a_table_that_rests_is_cleaned_too_sk_3d() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = forgetful(&directory);
    churn(&mut table, 2);
    table.checkpoint().unwrap();
    churn(&mut table, 1);
    table.upkeep.age(Duration::from_secs(29));
    table.upkeep.checkpointed();
    table.maintain().unwrap();
    assert_eq!(stored_files(&table), 1, "not more often than every half minute");
    table.upkeep.age(Duration::from_secs(1));
    table.maintain().unwrap();
    assert_eq!((stored_files(&table), checkpoints(&table).len()), (0, 1), "cleaned without a checkpoint");
    assert_eq!(table.state.tombstones.len(), 0);
    assert_eq!(content(&mut reopen(&directory)), content(&mut table));
}

/// What has expired lies there for half of the retention at most, but is not looked for all the time.
#[test]
fn a_short_retention_is_kept_to_sk_3d() {
    for (files, seconds) in
        [("24 hours", 3_600), ("2 hours", 3_600), ("10 minutes", 300), ("1 minutes", 30), ("0 hours", 30)]
    {
        let directory = tempfile::tempdir().unwrap();
        let mut table = keeping(&directory, files);
        table.upkeep.cleaned();
        assert!(!table.upkeep.is_clean_due(&table.state), "{files}");
        table.upkeep.age(Duration::from_secs(seconds - 1));
        assert!(!table.upkeep.is_clean_due(&table.state), "{files}");
        table.upkeep.age(Duration::from_secs(1));
        assert!(table.upkeep.is_clean_due(&table.state), "{files}");
    }
}

#[test]
fn a_table_is_left_with_few_entries_to_read() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    table.commit(adding(1)).unwrap();
    table.vacuum(false).unwrap();
    assert_eq!(checkpoints(&table), [0; 0], "one small entry is no burden");
    let adds = (0..1_000).map(|n| file(&format!("many-{n}.parquet"), 10)).collect();
    table.commit(Commit { adds, ..commit(2) }).unwrap();
    table.vacuum(false).unwrap();
    assert_eq!(checkpoints(&table), [2]);
    table.vacuum(false).unwrap();
    assert_eq!((checkpoints(&table), table.entry_bytes), (vec![2], 0));
}

#[test]
fn entries_expire_while_a_table_rests() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = forgetful(&directory);
    for version in 1..=3 {
        table.commit(adding(version)).unwrap();
    }
    table.checkpoint().unwrap();
    for object in table.store().list("_delta_log", "").unwrap() {
        written_ago(&table, &object.name, 2 * HOUR);
    }
    let entries = |table: &Table| {
        let listing = table.store().list("_delta_log", "").unwrap();
        listing.into_iter().filter_map(|object| load::entry_version(&object.name)).collect::<Vec<i64>>()
    };
    table.upkeep.age(23 * HOUR);
    table.maintain().unwrap();
    assert_eq!(entries(&table), [0, 1, 2, 3], "without a removal that has expired, once a day");
    table.upkeep.age(HOUR);
    table.maintain().unwrap();
    assert_eq!(entries(&table), [3], "the entry at the checkpoint stays");
    // Our place needs no entry: the checkpoint keeps it.
    assert_eq!(reopen(&directory).txn(APP), Some(3));
}

/// Every version since the first that has not expired can be read, and nothing before goes that it needs.
#[test]
fn what_an_entry_needs_stays_with_it_sk_34() {
    for (what, checkpoints, cleaned, stay) in [
        ("no checkpoint", &[][..], 6, &[0, 1, 2, 3, 4, 5, 6][..]),
        ("one of a version that stays", &[5], 6, &[0, 1, 2, 3, 4, 5, 6]),
        ("one of the first that stays", &[4], 6, &[4, 5, 6]),
        ("one before it", &[2], 6, &[2, 3, 4, 5, 6]),
        ("several", &[1, 3, 5], 6, &[3, 4, 5, 6]),
        ("one that is newer than what we know", &[2], 1, &[0, 1, 2, 3, 4, 5, 6]),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let mut table = create(&directory);
        for version in 0..=6 {
            if version > 0 {
                table.commit(adding(version)).unwrap();
            }
            if checkpoints.contains(&version) {
                table.checkpoint().unwrap();
            }
        }
        for object in table.store().list("_delta_log", "").unwrap() {
            let version = object.name.get(..20).and_then(|digits| digits.parse::<i64>().ok()).unwrap_or(0);
            written_ago(&table, &object.name, if version < 4 { 9 * 24 * HOUR } else { HOUR });
        }
        let week = now_millis() - 7 * 24 * 3_600_000;
        let (removed, is_all) = expired_entries(&table, cleaned, week);
        let listing = table.store().list("_delta_log", "").unwrap();
        let left: Vec<i64> = listing.iter().filter_map(|object| load::entry_version(&object.name)).collect();
        assert_eq!((left.as_slice(), is_all), (stay, true), "{what}");
        let old = checkpoints.iter().filter(|version| **version < stay[0]).count();
        assert_eq!(removed, 7 - stay.len() + old, "{what}");
        assert_eq!(content(&mut reopen(&directory)), content(&mut table), "{what}");
    }
}

/// A bucket that lists as it likes: the first names tell nothing about what else there is.
#[test]
fn a_log_with_holes_is_looked_at_whole() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    for version in 1..=9 {
        table.commit(adding(version)).unwrap();
        if version == 9 {
            table.checkpoint().unwrap();
        }
    }
    let log = table.store().local_path().unwrap().join("_delta_log");
    for version in 0..=9 {
        let name = format!("{version:020}.json");
        if (1..5).contains(&version) {
            std::fs::remove_file(log.join(name)).unwrap();
            continue;
        }
        // All but one have expired.
        let days = if version == 7 { 1 } else { 9 };
        written_ago(&table, &name, 24 * days * HOUR);
    }
    let week = now_millis() - 7 * 24 * 3_600_000;
    assert_eq!(expired_entries(&table, 9, week), (0, true), "no checkpoint leads to version 7");
    assert_eq!(expired_entries(&table, 9, now_millis() + 1), (5, true));
    assert_eq!(content(&mut reopen(&directory)), content(&mut table));
}

#[test]
fn of_old_checkpoints_one_an_hour_stays() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = create(&directory);
    for version in 1..=8 {
        table.commit(adding(version)).unwrap();
        table.checkpoint().unwrap();
    }
    let log = table.store().local_path().unwrap().join("_delta_log");
    let write_times = |minutes: [u64; 8]| {
        for (version, minutes) in (1..).zip(minutes) {
            let Ok(file) = File::options().write(true).open(log.join(format!("{version:020}.checkpoint.parquet")))
            else {
                continue;
            };
            file.set_modified(std::time::SystemTime::now() - Duration::from_secs(60 * minutes)).unwrap();
        }
    };
    let mut from = 0;
    for (what, minutes, expect, next) in [
        ("none is old", [50, 40, 30, 20, 15, 10, 5, 0], &[1, 2, 3, 4, 5, 6, 7, 8][..], 0),
        ("the first and one an hour", [300, 290, 245, 239, 200, 70, 50, 10], &[1, 4, 6, 7, 8], 6),
        ("from where it was in order", [390, 380, 370, 360, 320, 160, 140, 100], &[1, 4, 6, 8], 8),
        ("the newest stays, however old", [990, 980, 970, 960, 950, 945, 942, 941], &[1, 8], 8),
    ] {
        write_times(minutes);
        if minutes[0] > 900 {
            from = 0;
        }
        // One after the other, and in order only once all are gone.
        while !clean::beside_entries(table.store(), &mut from, now_millis(), &mut 1).unwrap() {}
        assert_eq!((checkpoints(&table), from), (expect.to_vec(), next), "{what}");
        assert_eq!(content(&mut reopen(&directory)), content(&mut table), "{what}");
    }
    // Entries lead to the newest version from the one before, should the newest be damaged.
    std::fs::write(log.join(format!("{:020}.checkpoint.parquet", 8)), "torn").unwrap();
    assert_eq!(content(&mut reopen(&directory)), content(&mut table));
}

#[test]
fn clean_up_catches_up_in_steps_sk_3d() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = forgetful(&directory);
    churn(&mut table, 900);
    // A step beside the checkpoint, and another as often as somebody asks, until all is clean.
    table.commit(commit(3)).unwrap();
    table.checkpoint().unwrap();
    let mut left = vec![(stored_files(&table), table.state.tombstones.len())];
    while table.is_maintenance_due() {
        assert!(!table.upkeep.is_clean());
        table.maintain().unwrap();
        left.push((stored_files(&table), table.state.tombstones.len()));
    }
    assert_eq!(left, [(644, 644), (388, 388), (132, 132), (0, 0)]);
    assert!(table.upkeep.is_clean(), "and then it rests for an hour");
    assert_eq!(checkpoints(&table), [3]);
    assert_eq!(content(&mut reopen(&directory)), content(&mut table));
}

#[test]
fn a_table_that_never_rests_is_cleaned_beside_its_commits_sk_3d() {
    let directory = tempfile::tempdir().unwrap();
    let mut table = forgetful(&directory);
    churn(&mut table, 600);
    table.checkpoint().unwrap();
    let mut left = vec![];
    for version in 3..56 {
        table.commit(commit(version)).unwrap();
        left.push(table.state.tombstones.len());
    }
    // Whoever had a moment would have written a checkpoint after fifty.
    assert_eq!((left[48], left[49], left[50], left[51]), (344, 88, 0, 0));
    assert_eq!((stored_files(&table), checkpoints(&table).len()), (0, 1));
    assert!(table.upkeep.is_clean());
}

/// A table that was emptied at the source, put back by another writer while it rests: nobody here has met that entry yet, and the
/// removals expire.
#[test]
fn what_another_writer_has_put_back_stays_sk_35() {
    type Clean = fn(&mut Table) -> Result<()>;
    let cases: [(&str, Clean, usize, usize); 5] = [
        ("a checkpoint", Table::checkpoint, 0, 1),
        ("a look at a table that rests", Table::maintain, 0, 1),
        ("a vacuum", |table| table.vacuum(false).map(|_| ()), 0, 1),
        ("a purge", |table| table.vacuum(true).map(|_| ()), 0, 1),
        ("a look at old entries", Table::clean_entries, 3, 1),
    ];
    for (what, clean, files, entries) in cases {
        for is_put_back in [true, false] {
            let directory = tempfile::tempdir().unwrap();
            let mut table = forgetful(&directory);
            churn(&mut table, 3);
            checkpoint::write(&table.store, table.version, &table.state).unwrap();
            if is_put_back {
                let adds = lines(&table, 1).into_iter().filter(|line| line.get("add").is_some());
                let restore = serde_json::json!({"commitInfo": {"operation": "RESTORE"}});
                let entry: String = [restore].into_iter().chain(adds).map(|line| format!("{line}\n")).collect();
                table.store().put_new(&load::entry_name(3), entry.into()).unwrap();
            }
            for version in 0..2 {
                written_ago(&table, &format!("{version:020}.json"), 2 * HOUR);
            }
            table.upkeep.age(24 * HOUR);
            let done = clean(&mut table);
            let log = table.store().list("_delta_log", "").unwrap();
            let left = log.iter().filter(|object| load::entry_version(&object.name).is_some()).count();
            let left = (stored_files(&table), left);
            let expect = if is_put_back { (3, 4) } else { (files, entries) };
            assert_eq!(left, expect, "{what}, put back: {is_put_back}");
            // What cannot be done is said where somebody asks for it.
            assert_eq!(done.is_err(), is_put_back && what == "a purge", "{what}");
            assert!(!table.upkeep.is_behind, "{what}: it waits for the next time");
        }
    }
}

#[test]
fn files_of_changes_go_after_their_retention() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = [(CHANGE_FEED_PROPERTY.to_owned(), "true".to_owned())].into();
    let url = Url::from_directory_path(directory.path()).unwrap();
    let store = Store::open(&url, &BTreeMap::new()).unwrap().with_intents(directory.path().join("state"));
    let new = NewTable { configuration, ..new_table() };
    let mut table = Table::create(store.table("shop/public/orders"), new, commit(0)).unwrap();
    let now = now_millis();
    let names = [
        new_change_file(table.store(), ""),
        new_change_file(table.store(), "a=1/"),
        // As Spark names them: the first number is that of a task.
        "_change_data/cdc-00000-0190d6a4-7c1e-7c3b-9d2f-0123456789ab.c000.snappy.parquet".to_owned(),
        "_change_data/a=1/strange.parquet".to_owned(),
        // One that is being written.
        "_change_data/a=1/.tidewire-1.tmp".to_owned(),
    ];
    for name in &names {
        table.store().put_new(name, Bytes::new()).unwrap();
    }
    let clean = |table: &Table, hours: i64| {
        while !clean::change_files(table.store(), &table.state, now + hours * 3_600_000, &mut 1).unwrap() {}
        table.store().list_below("_change_data").unwrap().len() - 1
    };
    assert_eq!([clean(&table, 23), clean(&table, 25)], [4, 0], "what others named is no older than ours");
    // One whose commit is still to come.
    let coming = new_change_file(table.store(), "a=2/");
    table.store.intents().unwrap().record(&coming);
    table.store.put_new(&coming, Bytes::new()).unwrap();
    assert_eq!(clean(&table, 25), 1);
    table.store.intents().unwrap().strike([&*coming]);
    assert_eq!(clean(&table, 25), 0);
    table.state.protocol.as_mut().unwrap().writer_features = None;
    table.store.put_new(&coming, Bytes::new()).unwrap();
    assert_eq!(clean(&table, 25), 1, "a folder of a table without a feed is not ours");
}
