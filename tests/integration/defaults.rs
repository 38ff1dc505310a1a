//! `ADD COLUMN ... DEFAULT` gives rows a value of which the log does not tell: a mirror that is to have it gets it from the
//! catalog, and halts where the catalog does not prove it. PG-48, delta-upserts 3.9.

use crate::rig::{self, POSTGRES, Rig, Sinks};
use anyhow::{Context, Result, ensure};
use tidewire_testkit::PostgresOptions;
use tidewire_testkit::oracle;
use tidewire_testkit::readers::{self, Reader};

const FILL: &str = "added_defaults = \"fill\"\n";

#[test]
fn a_mirror_has_the_defaults_of_new_columns_in_older_rows() -> Result<()> {
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), FILL)?;
    let client = rig.client()?;
    client.execute(
        "CREATE TABLE shape (id int PRIMARY KEY, a text); INSERT INTO shape SELECT i, 'row' FROM generate_series(1, 50) i;
         CREATE TABLE parted (id int PRIMARY KEY, a text) PARTITION BY RANGE (id);
         CREATE TABLE parted_low PARTITION OF parted FOR VALUES FROM (0) TO (100);
         CREATE TABLE parted_high PARTITION OF parted FOR VALUES FROM (100) TO (1000);
         INSERT INTO parted VALUES (1, 'x'), (200, 'y')",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    client.execute("DELETE FROM shape WHERE id % 5 = 0; UPDATE shape SET a = 'changed' WHERE id % 7 = 0")?;
    rig.catch_up()?;
    for (row, change) in (101..).zip([
        "ADD b int NOT NULL DEFAULT 5",
        "ADD c numeric(10,2) DEFAULT 7, ADD d text DEFAULT E'a,\"b\\\\c{}\\n', ADD e text DEFAULT ''",
        // The moment of the statement, for all rows the same.
        "ADD f timestamptz DEFAULT now(), ADD g int[] DEFAULT '{1,NULL}', ADD h bytea DEFAULT '\\x00ff'",
        "ADD i int",
        // As Django adds columns.
        "ADD j boolean NOT NULL DEFAULT true; ALTER TABLE shape ALTER j DROP DEFAULT, ALTER j SET DEFAULT false",
    ]) {
        // Rows before and after in one transaction, and what the log does not carry of rows from before.
        client.execute(&format!(
            "BEGIN; UPDATE shape SET a = a || '.' WHERE id < 4; ALTER TABLE shape {change}; INSERT INTO shape (id, a) VALUES ({row}, 'new');
             UPDATE shape SET a = a || '!' WHERE id IN (1, 8, 101); DELETE FROM shape WHERE id = {row} - 60; COMMIT"
        ))?;
        rig.catch_up()?;
        oracle::check_mirror(&client, "public", "shape", &rig.table("shape"), &Reader::ALL)?;
    }
    client.execute("ALTER TABLE parted ADD b int DEFAULT 5; INSERT INTO parted VALUES (2, 'z', 6), (201, 'z', 7)")?;
    rig.catch_up()?;
    for table in ["parted", "parted_low", "parted_high"].iter().filter(|table| rig.table(table).is_dir()) {
        oracle::check_mirror(&client, "public", table, &rig.table(table), &Reader::ALL)?;
    }
    // While the daemon is stopped, and killed after that.
    ensure!(rig.daemon.terminate()? == 0);
    client.execute(
        "ALTER TABLE shape ADD k uuid DEFAULT '00000000-0000-0000-0000-00000000000a'; UPDATE shape SET a = 'k' WHERE id = 2",
    )?;
    rig.daemon.run()?;
    rig.daemon.kill9()?;
    rig.daemon.run()?;
    rig.catch_up()?;
    oracle::check_mirror(&client, "public", "shape", &rig.table("shape"), &Reader::ALL)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_default_that_the_catalog_does_not_prove_halts_its_table() -> Result<()> {
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), FILL)?;
    let client = rig.client()?;
    let create =
        |table: &str| format!("CREATE TABLE {table} (id int PRIMARY KEY); INSERT INTO {table} VALUES (1), (2);");
    let changes = [
        ("random", "ALTER TABLE random ADD c float8 DEFAULT random()"),
        (
            "no_default",
            "ALTER TABLE no_default ADD c float8 DEFAULT random(); ALTER TABLE no_default ALTER c DROP DEFAULT",
        ),
        ("rewritten", "ALTER TABLE rewritten ADD c int DEFAULT 5; VACUUM FULL rewritten"),
        ("numbered", "ALTER TABLE numbered ADD c serial"),
        (
            "renamed",
            "ALTER TABLE renamed ADD b int DEFAULT 5; INSERT INTO renamed VALUES (3, 6); ALTER TABLE renamed RENAME b TO c",
        ),
    ];
    for (table, _) in changes {
        client.execute(&create(table))?;
    }
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.daemon.allow_log("table halted");
    for (table, change) in changes {
        // `VACUUM` runs in no transaction.
        for statement in change.split("; ") {
            client.execute(statement)?;
        }
        client.execute(&format!("INSERT INTO {table} (id) VALUES (4)"))?;
    }
    rig.catch_up()?;
    let log = rig.daemon.log()?;
    for (table, _) in changes {
        let name = format!("public.{table}");
        let line = log.lines().find(|line| line.contains("table halted") && line.contains(&name));
        let line = line.with_context(|| format!("a line says why {table} is halted"))?;
        ensure!(line.contains("added_default_unknown") && line.contains("added_defaults"), "{line}");
    }
    // The operator has null shown, and the tables go on from where they stopped.
    ensure!(rig.daemon.terminate()? == 0);
    rig.daemon.write_config(&rig::config(&rig.postgres.url("postgres"), None, Some(rig.lake.path()), ""))?;
    rig.daemon.run()?;
    for (table, _) in changes {
        client.execute(&format!("INSERT INTO {table} (id) VALUES (5)"))?;
    }
    rig.catch_up()?;
    for (table, _) in changes {
        let mirror = readers::read(Reader::Duckdb, &rig.table(table))?;
        let source = oracle::source_table(&client, "public", table)?;
        ensure!(mirror.rows.len() == source.rows.len(), "{table}: {mirror:?}");
    }
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}
