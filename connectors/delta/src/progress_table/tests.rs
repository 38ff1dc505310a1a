//! Progress outlives restarts, checkpoints and the state directory.

use super::*;
use tidewire_core::{Mark, Position, TableProgress, TableState};
use url::Url;

fn progress(major: u64) -> Progress {
    let position = Position::new(Mark { major, minor: 0 }, format!("7300000000000000001/1/0/{major:X}"));
    let table = TableProgress { state: TableState::Done, floor: position.clone() };
    Progress {
        position: Some(position),
        tables: BTreeMap::from([("public.orders".to_owned(), table)]),
        ..Progress::default()
    }
}

#[test]
fn progress_survives_restarts_and_checkpoints_sk_3g_sk_50() {
    let directory = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(directory.path()).unwrap();
    let store = Store::open(&url, &BTreeMap::new()).unwrap();
    let (mut table, found) = ProgressTable::open(&store, "lake", "shop").unwrap();
    assert!(found.is_empty());
    for major in 1..=60 {
        table.note_made("public.streamed", i64::try_from(major).unwrap() / 2);
        table.store(&progress(major)).unwrap();
        table.maintain().unwrap();
    }
    let (again, found) = ProgressTable::open(&store, "lake", "shop").unwrap();
    assert_eq!(found, progress(60));
    // What was read and what was made must be there.
    let is_known = ["public.orders", "public.streamed", "public.other"].map(|name| again.made().has(name, &found));
    assert_eq!(is_known, [true, true, false]);
    let versions = ["public.orders", "public.streamed", "public.other"].map(|name| again.made().version(name));
    assert_eq!(versions, [None, Some(30), None]);
    let looked = ProgressTable::look(&store, "lake", "shop").unwrap();
    assert_eq!(looked, Some((found, again.made().clone())));
    // Another source has its own, another sink none here.
    let (_, other) = ProgressTable::open(&store, "lake", "crm").unwrap();
    assert!(other.is_empty());
    let error = ProgressTable::open(&store, "pond", "shop").unwrap_err();
    assert_eq!(error.code(), "progress_of_another_sink");
    // The instance before is out.
    assert!(table.store(&progress(61)).is_err());
}

#[test]
fn lost_progress_is_never_taken_for_a_new_start() {
    let directory = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(directory.path()).unwrap();
    let store = Store::open(&url, &BTreeMap::new()).unwrap();
    let (table, _) = ProgressTable::open(&store, "lake", "shop").unwrap();
    let entry = r#"{"domainMetadata":{"domain":"tidewire.progress","configuration":"","removed":true}}"#;
    let mark = r#"{"domainMetadata":{"domain":"tidewire.writer","configuration":"{\"version\":1}","removed":false}}"#;
    table.table.store().put_new("_delta_log/00000000000000000001.json", format!("{entry}\n{mark}\n").into()).unwrap();
    assert_eq!(ProgressTable::open(&store, "lake", "shop").unwrap_err().code(), "progress_lost");
}

fn domain(name: &str, text: &str) -> String {
    let domain = serde_json::json!({"domain": name, "configuration": text, "removed": false});
    format!("{}\n", serde_json::json!({"domainMetadata": domain}))
}

/// Earlier builds had all in one text, and of the tables that were made the names.
#[test]
fn the_progress_of_an_earlier_build_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(directory.path()).unwrap();
    let store = Store::open(&url, &BTreeMap::new()).unwrap();
    let (table, _) = ProgressTable::open(&store, "lake", "shop").unwrap();
    let entry = domain(DOMAIN, &serde_json::to_string(&progress(7)).unwrap())
        + &domain(MADE, r#"["public.streamed"]"#)
        + &domain("tidewire.writer", r#"{"version":1}"#);
    table.table.store().put_new("_delta_log/00000000000000000001.json", entry.into()).unwrap();
    for _ in 0..2 {
        let (mut again, found) = ProgressTable::open(&store, "lake", "shop").unwrap();
        assert_eq!(found, progress(7));
        assert!(again.made().has("public.streamed", &Progress::default()));
        assert_eq!(again.made().version("public.streamed"), None);
        again.store(&found).unwrap();
    }
}

/// A lake of many tables stores its progress every few seconds.
#[test]
fn an_entry_has_what_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let url = Url::from_directory_path(directory.path()).unwrap();
    let store = Store::open(&url, &BTreeMap::new()).unwrap();
    let (mut table, mut held) = ProgressTable::open(&store, "lake", "shop").unwrap();
    let names: Vec<String> = (0..1_000).map(|n| format!("public.table_{n}")).collect();
    let of_one = progress(1).tables.into_values().next().unwrap();
    held.tables = names.iter().map(|name| (name.clone(), of_one.clone())).collect();
    names.iter().for_each(|name| table.note_made(name, 1));
    table.store(&held).unwrap();
    let mut sizes = Vec::new();
    for major in 2..5 {
        held.position = progress(major).position;
        names[..10].iter().for_each(|name| table.note_made(name, i64::try_from(major).unwrap()));
        table.store(&held).unwrap();
        let entry = format!("_delta_log/{:020}.json", table.table.version());
        sizes.push(table.table.store().head(&entry).unwrap().unwrap().size);
    }
    assert!(sizes.iter().all(|size| *size < 2_500), "{sizes:?}");
    let (again, found) = ProgressTable::open(&store, "lake", "shop").unwrap();
    assert_eq!((found, again.made()), (held, table.made()));
}
