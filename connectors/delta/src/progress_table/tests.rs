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
    table.note_made("public.streamed");
    for major in 1..=60 {
        table.store(&progress(major)).unwrap();
        table.maintain().unwrap();
    }
    let (again, found) = ProgressTable::open(&store, "lake", "shop").unwrap();
    assert_eq!(found, progress(60));
    // What was read and what was made must be there.
    let is_known = ["public.orders", "public.streamed", "public.other"].map(|name| again.made().has(name, &found));
    assert_eq!(is_known, [true, true, false]);
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
