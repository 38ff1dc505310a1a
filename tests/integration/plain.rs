//! A mirror without deletion vectors asks nothing of its readers.

use crate::rig::{POSTGRES, Rig, Sinks};
use anyhow::{Context, Result};
use serde_json::Value;
use tidewire_testkit::PostgresOptions;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::{TABLES, Workload};

#[test]
fn a_mirror_without_deletion_vectors_is_read_by_all() -> Result<()> {
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), "deletion_vectors = false\n")?;
    let url = rig.postgres.url("postgres");
    Workload { transactions: 100, seed: 1, ..Workload::default() }.run(&url)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    Workload { transactions: 200, seed: 2, ..Workload::default() }.run(&url)?;
    rig.catch_up()?;
    rig.check_lake(&Reader::ALL)?;
    assert_eq!(rig.daemon.terminate()?, 0);
    for table in TABLES {
        let log = rig.table(table).join("_delta_log");
        for entry in std::fs::read_dir(&log)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                let text = std::fs::read_to_string(&path)?;
                assert!(!text.contains("deletionVector"), "{}", path.display());
            }
        }
        let first = std::fs::read_to_string(log.join(format!("{:020}.json", 0)))?;
        let mut protocols = first.lines().filter_map(|line| {
            let action: Value = serde_json::from_str(line).ok()?;
            action.get("protocol").cloned()
        });
        let protocol = protocols.next().context("a table has a protocol")?;
        let features = protocol["readerFeatures"].as_array().cloned().unwrap_or_default();
        assert!(features.iter().all(|feature| feature == "timestampNtz"), "{protocol}");
        assert_eq!(protocol["minReaderVersion"] == 1, features.is_empty(), "{protocol}");
    }
    Ok(())
}
