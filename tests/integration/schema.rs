//! Columns come, go, change their names and grow while the stream runs; the sinks follow at the exact place.
//! PG-48, PG-49, SK-3B, delta-upserts 3.9.

use crate::rig::{POSTGRES, Rig, Sinks, data_files};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidewire_testkit::PostgresOptions;
use tidewire_testkit::kafka::Isolation;
use tidewire_testkit::oracle;
use tidewire_testkit::readers::{self, Reader};

#[test]
fn a_mirror_follows_its_table_through_schema_changes() -> Result<()> {
    let mut rig = Rig::new(Sinks::Both)?;
    let client = rig.client()?;
    client.execute("CREATE TABLE shape (id int PRIMARY KEY, a text); INSERT INTO shape VALUES (1, 'before')")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    client.execute("INSERT INTO shape VALUES (2, 'old shape')")?;
    client.execute("ALTER TABLE shape ADD COLUMN b int")?;
    client.execute("INSERT INTO shape VALUES (3, 'new shape', 30); UPDATE shape SET b = 10 WHERE id = 1")?;
    rig.catch_up()?;
    oracle::check_mirror(&client, "public", "shape", &rig.table("shape"), &Reader::ALL)?;

    // All in one transaction, rows between the changes (PG-48).
    client.execute(
        "BEGIN; INSERT INTO shape VALUES (4, 'x', 1); ALTER TABLE shape ADD COLUMN c numeric(10,2) DEFAULT 7;
         INSERT INTO shape VALUES (5, 'y', 2, 3.5); ALTER TABLE shape DROP COLUMN b; INSERT INTO shape VALUES (6, 'z', 4.5); COMMIT",
    )?;
    client.execute("UPDATE shape SET a = a || '!', c = coalesce(c, 0)")?;
    rig.catch_up()?;
    let source = oracle::source_table(&client, "public", "shape")?;
    let mirror = readers::read(Reader::Duckdb, &rig.table("shape"))?;
    source.must_equal(&mirror.select(&source.columns)?, "the columns that the source still has")?;
    ensure!(mirror.columns.contains(&"b".to_owned()), "a dropped column stays in the table");

    let kafka = rig.kafka.as_ref().context("a broker")?;
    let records = kafka.consume("shop.public.shape", Isolation::ReadCommitted)?;
    let after = |id: u64| -> Result<Vec<String>> {
        let rows = records.iter().filter_map(|r| serde_json::from_slice::<Value>(r.value.as_deref()?).ok());
        let row = rows
            .filter(|v| v["op"] == "c")
            .find(|v| v["after"]["id"] == id)
            .with_context(|| format!("row {id} was inserted"))?;
        Ok(row["after"].as_object().into_iter().flat_map(|o| o.keys().cloned()).collect())
    };
    for (id, columns) in
        [(2, vec!["id", "a"]), (4, vec!["id", "a", "b"]), (5, vec!["id", "a", "b", "c"]), (6, vec!["id", "a", "c"])]
    {
        let mut expect: Vec<String> = columns.into_iter().map(str::to_owned).collect();
        expect.sort();
        let mut found = after(id)?;
        found.sort();
        ensure!(found == expect, "row {id} has the columns of its time: {found:?}");
    }
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_mapped_mirror_keeps_names_and_follows_them() -> Result<()> {
    // Polars does not know column mapping.
    const READERS: [Reader; 3] = [Reader::Deltalake, Reader::Duckdb, Reader::Kernel];
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), "column_mapping = true\n")?;
    let client = rig.client()?;
    client.execute(
        "CREATE TABLE shape (id int PRIMARY KEY, \"a name, with (all) = {of;it}\" text, tags text[], gone int);
         INSERT INTO shape VALUES (1, 'before', '{a,b}', 1), (2, 'x', NULL, 2)",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_lake(&READERS)?;
    oracle::check_mirror(&client, "public", "shape", &rig.table("shape"), &READERS)?;
    let folder = rig.table("shape");
    let files = || data_files(&folder);
    let before = files()?;
    for (change, row) in [
        ("RENAME COLUMN \"a name, with (all) = {of;it}\" TO \"a\tb\"", "(3, 'y', '{c}', 3)"),
        ("DROP COLUMN gone", "(4, 'z', '{}')"),
        ("RENAME COLUMN id TO \"the key\"", "(5, 'k', NULL)"),
        ("ADD COLUMN gone int", "(6, 'n', NULL, 60)"),
    ] {
        client.execute(&format!("ALTER TABLE shape {change}; INSERT INTO shape VALUES {row}"))?;
        rig.catch_up()?;
        oracle::check_mirror(&client, "public", "shape", &rig.table("shape"), &READERS)?;
    }
    // One file for each row, and none was rewritten.
    ensure!(files()? == before + 4, "{before} files have become {}", files()?);
    // While the daemon is stopped, and what the log leaves out as unchanged.
    ensure!(rig.daemon.terminate()? == 0);
    client
        .execute("ALTER TABLE shape RENAME COLUMN tags TO labels; UPDATE shape SET gone = 7 WHERE \"the key\" < 4")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    oracle::check_mirror(&client, "public", "shape", &rig.table("shape"), &READERS)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// A mirror whose columns grow, by either way, as these readers see it.
fn follows_wider_types(widening: &str, with: &[Reader]) -> Result<()> {
    let more = format!("widening = \"{widening}\"\n");
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), &more)?;
    let client = rig.client()?;
    client.execute(
        "CREATE TABLE shape (id int PRIMARY KEY, small smallint, real float4, price numeric(10,2), day date, list int[], t text);
         INSERT INTO shape SELECT i, i, i / 3.0, i / 7.0, '2024-02-29', ARRAY[i, NULL], 'row' FROM generate_series(1, 50) i",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    client.execute("DELETE FROM shape WHERE id % 5 = 0; UPDATE shape SET small = -small WHERE id % 7 = 0")?;
    rig.catch_up()?;
    oracle::check_mirror(&client, "public", "shape", &rig.table("shape"), with)?;
    for (change, row) in [
        ("ALTER small TYPE int", "(101, 100000, 1.1, 3.33, '0001-01-01', '{1}', 'x')"),
        (
            "ALTER small TYPE bigint, ALTER price TYPE numeric(20,2)",
            "(102, 5000000000, 1.1, 123456789012.33, NULL, NULL, 'x')",
        ),
        (
            "ALTER real TYPE float8, ALTER list TYPE bigint[]",
            "(103, 1, 1.1, 3.33, '9999-12-31', '{5000000000,NULL}', 'x')",
        ),
        ("ALTER id TYPE bigint", "(5000000000, 2, 2.2, 4.44, '2024-02-29', '{}', 'x')"),
    ] {
        client.execute(&format!("ALTER TABLE shape {change}; INSERT INTO shape VALUES {row}"))?;
        // Rows from before are found again, and what the log does not carry as well.
        client.execute("UPDATE shape SET t = t || '!' WHERE id IN (1, 8, 101); DELETE FROM shape WHERE id = 9")?;
        rig.catch_up()?;
        oracle::check_mirror(&client, "public", "shape", &rig.table("shape"), with)?;
    }
    // While the daemon is stopped, and with more digits of a fraction and a date that becomes a time.
    ensure!(rig.daemon.terminate()? == 0);
    client.execute(
        "ALTER TABLE shape ALTER price TYPE numeric(24,4), ALTER day TYPE timestamp; UPDATE shape SET price = 1.2345 WHERE id < 4",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    oracle::check_mirror(&client, "public", "shape", &rig.table("shape"), with)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn wider_types_are_told_in_the_log() -> Result<()> {
    follows_wider_types("types", &[Reader::Duckdb, Reader::Kernel])
}

#[test]
fn files_are_written_anew_for_wider_types() -> Result<()> {
    follows_wider_types("rewrite", &Reader::ALL)
}

#[test]
fn a_table_that_no_longer_fits_halts_and_says_what_to_do() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let client = rig.client()?;
    client.execute("CREATE TABLE shape (id int PRIMARY KEY, a int)")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    client.execute("ALTER TABLE shape ALTER COLUMN a TYPE text; INSERT INTO shape VALUES (1, 'no number')")?;
    rig.daemon.allow_log("table halted");
    rig.catch_up()?;
    let log = rig.daemon.log()?;
    let line = log.lines().find(|line| line.contains("table halted")).context("a line says why")?;
    ensure!(line.contains("public.shape") && line.contains("remedy"), "{line}");
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}
