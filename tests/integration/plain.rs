//! A mirror without deletion vectors asks nothing of its readers.

use crate::rig::{POSTGRES, Rig, Sinks};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::path::Path;
use tidewire_testkit::PostgresOptions;
use tidewire_testkit::oracle::{check_feed, check_mirror};
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
        assert!(!has_vectors(&rig.table(table))?, "{table}");
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

/// A mirror without deletion vectors, set up by `more`, through these changes of its columns, as these readers see it.
fn follows(more: &str, changes: &[&str], readers: &[Reader]) -> Result<()> {
    let more = format!("deletion_vectors = false\n{more}");
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), &more)?;
    let client = rig.client()?;
    client.execute(
        "CREATE TABLE shape (id int PRIMARY KEY, gone int, v text, n smallint, price numeric(7,2));
         INSERT INTO shape SELECT i, i, 'v' || i, i, i * 0.25 FROM generate_series(1, 300) i",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    for (round, change) in (1..).zip(changes) {
        client.execute(&format!(
            "DELETE FROM shape WHERE id % 11 = {round}; INSERT INTO shape (id) VALUES ({round}0000)"
        ))?;
        rig.catch_up()?;
        // Rows before and after in one transaction, and what the log does not carry of rows from before.
        client.execute(&format!(
            "BEGIN; UPDATE shape SET n = n + 1 WHERE id < 20; ALTER TABLE shape {change}; UPDATE shape SET n = 7 WHERE id % 13 = {round};
             INSERT INTO shape (id, n) VALUES ({round}000, 1); DELETE FROM shape WHERE id = 30 + {round}; COMMIT"
        ))?;
        rig.catch_up()?;
        check_mirror(&client, "public", "shape", rig.table("shape").as_path(), readers)?;
    }
    // While the daemon is stopped, and killed after that.
    ensure!(rig.daemon.terminate()? == 0);
    client.execute("ALTER TABLE shape ADD late int DEFAULT 6; UPDATE shape SET n = 8 WHERE id % 5 = 0")?;
    if !more.contains("fill") {
        // Other rows than those would go on without the value.
        client.execute("UPDATE shape SET n = n")?;
    }
    rig.daemon.run()?;
    rig.daemon.kill9()?;
    rig.daemon.run()?;
    rig.catch_up()?;
    check_mirror(&client, "public", "shape", rig.table("shape").as_path(), readers)?;
    if more.contains("change_data_feed") {
        check_feed(&client, "public", "shape", rig.table("shape").as_path(), Reader::Deltalake)?;
    }
    ensure!(rig.daemon.terminate()? == 0);
    ensure!(!has_vectors(&rig.table("shape"))?);
    Ok(())
}

/// Whether an entry of the table's log names a deletion vector.
fn has_vectors(table: &Path) -> Result<bool> {
    for entry in std::fs::read_dir(table.join("_delta_log"))? {
        let path = entry?.path();
        let is_entry = path.extension().is_some_and(|extension| extension == "json");
        if is_entry && std::fs::read_to_string(&path)?.contains("deletionVector") {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn its_files_are_written_anew_for_values_and_types() -> Result<()> {
    let changes = [
        "ADD c int NOT NULL DEFAULT 5, ADD d text DEFAULT 'd'",
        "ALTER id TYPE bigint, ALTER price TYPE numeric(9,4)",
        "ADD e numeric(10,2) DEFAULT 7",
        "ALTER n TYPE int",
    ];
    follows("added_defaults = \"fill\"\nwidening = \"rewrite\"\nchange_data_feed = true\n", &changes, &Reader::ALL)
}

#[test]
fn its_types_grow_in_the_log() -> Result<()> {
    // delta-rs and Polars refuse the feature.
    let changes = ["ALTER n TYPE int", "ALTER id TYPE bigint, ALTER n TYPE bigint"];
    follows("widening = \"types\"\n", &changes, &[Reader::Duckdb, Reader::Kernel, Reader::Spark])
}

#[test]
fn its_columns_are_renamed_and_dropped() -> Result<()> {
    // Polars refuses the feature.
    let changes = ["RENAME v TO \"a name, with = and (all)\"", "DROP gone", "RENAME price TO \"PRICE\""];
    let readers = [Reader::Deltalake, Reader::Duckdb, Reader::Kernel, Reader::Spark];
    follows("column_mapping = true\n", &changes, &readers)
}
