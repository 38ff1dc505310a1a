//! Partitions that are published by the name of their table: they are no tables of their own, and log what their own replica
//! identity says. PG-24, PG-34, PG-49.

use super::{check_says, halted};
use crate::rig::{POSTGRES, Rig, Sinks};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::{PostgresOptions, oracle};

const TABLES: &str = "
    CREATE TABLE ev (id int PRIMARY KEY, note text, big text) PARTITION BY RANGE (id);
    CREATE TABLE ev_cur PARTITION OF ev FOR VALUES FROM (0) TO (100);
    CREATE TABLE ev_old PARTITION OF ev FOR VALUES FROM (100) TO (200);
    CREATE PUBLICATION tidewire_shop FOR TABLE ev, work_items WITH (publish_via_partition_root = true);
    INSERT INTO ev SELECT i, 'note', (SELECT string_agg(md5(i::text || j), '') FROM generate_series(1, 300) j)
      FROM generate_series(1, 9) i";

fn rig(major: u16) -> Result<(Rig, Client)> {
    let rig = Rig::with(Sinks::Both, &PostgresOptions::version(major), "")?;
    let client = rig.client()?;
    client.execute(TABLES)?;
    Ok((rig, client))
}

fn must_equal(rig: &mut Rig, client: &Client) -> Result<()> {
    rig.catch_up()?;
    oracle::check_mirror(client, "public", "ev", &rig.table("ev"), &[Reader::Deltalake]).map(drop)
}

/// Runs the statements that the line names which says why the source halted.
fn mend(rig: &Rig, client: &Client) -> Result<()> {
    let log = rig.daemon.log()?;
    let line = log.lines().rfind(|line| line.contains("source halted")).context("a line")?;
    let line: Value = serde_json::from_str(line)?;
    client.execute(line["remedy"].as_str().context("a remedy")?).map(drop)
}

#[test]
fn pg_34_a_partition_that_logs_less_than_its_table_says_halts_the_source() -> Result<()> {
    for major in [13, 15, POSTGRES, 18] {
        let (mut rig, client) = rig(major)?;
        client.execute("ALTER TABLE ev REPLICA IDENTITY FULL")?;
        check_says(&rig.daemon, "partition_identity")?;
        rig.daemon.run()?;
        ensure!(halted(&mut rig.daemon)? == "partition_identity", "PostgreSQL {major}");
        mend(&rig, &client)?;
        rig.daemon.run()?;
        must_equal(&mut rig, &client)?;
        client.execute("UPDATE ev SET id = 20 WHERE id = 1; DELETE FROM ev WHERE id = 2")?;
        must_equal(&mut rig, &client)?;
        // A new partition has the default.
        client.execute("CREATE TABLE ev_new PARTITION OF ev FOR VALUES FROM (200) TO (300)")?;
        client.execute("INSERT INTO ev SELECT id + 200, note, big FROM ev WHERE id < 9")?;
        client.execute("UPDATE ev SET id = 220 WHERE id = 203")?;
        client.execute("UPDATE ev SET id = 221, note = NULL WHERE id = 204; DELETE FROM ev WHERE id = 205")?;
        ensure!(halted(&mut rig.daemon)? == "partition_identity", "PostgreSQL {major}");
        mend(&rig, &client)?;
        // What was logged until then has no old values, and the mirror keeps its own.
        rig.daemon.run()?;
        must_equal(&mut rig, &client).with_context(|| format!("PostgreSQL {major}"))?;
        ensure!(rig.daemon.terminate()? == 0);
        for record in rig.records("ev")? {
            let Some(value) = &record.value else { continue };
            let value: Value = serde_json::from_slice(value)?;
            let before = value.get("payload").unwrap_or(&value)["before"].clone();
            ensure!(before["big"] != Value::Null || before.is_null() || before.get("big").is_none(), "{before}");
        }
    }
    Ok(())
}

#[test]
fn pg_24_partitions_are_made_anew_and_moved_without_a_word() -> Result<()> {
    for major in [13, POSTGRES, 18] {
        let (mut rig, client) = rig(major)?;
        client.execute("CREATE SCHEMA archive")?;
        rig.daemon.run()?;
        must_equal(&mut rig, &client)?;
        client.execute("INSERT INTO ev VALUES (30, 'one', 'x'), (130, 'two', 'x')")?;
        must_equal(&mut rig, &client)?;
        client.execute("DELETE FROM ev WHERE id < 100; DROP TABLE ev_cur")?;
        client.execute("CREATE TABLE ev_cur PARTITION OF ev FOR VALUES FROM (0) TO (100)")?;
        client.execute("INSERT INTO ev VALUES (31, 'three', 'x')")?;
        client.execute("ALTER TABLE ev_old SET SCHEMA archive; INSERT INTO ev VALUES (131, 'four', 'x')")?;
        must_equal(&mut rig, &client)?;
        let log = rig.daemon.log()?;
        ensure!(!log.contains("without the rows it had before"), "PostgreSQL {major}: no such thing happened");
        ensure!(rig.daemon.terminate()? == 0);
    }
    Ok(())
}
