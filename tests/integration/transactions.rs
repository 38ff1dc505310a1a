//! Transactions of PostgreSQL that are more than rows and a commit: savepoints that take back more than stays, messages of
//! applications in the midst of them, a publication that changes beside them. PG-42, PG-43, PG-45, PG-65, PG-66.

use crate::rig::{POSTGRES, Rig, Sinks};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidewire_testkit::oracle::{self, Witness};
use tidewire_testkit::readers::Reader;
use tidewire_testkit::{PostgresOptions, wait};

/// How many rows of a table came as inserts.
fn inserts(rig: &Rig, table: &str) -> Result<usize> {
    let mut count = 0;
    for record in rig.records(table)? {
        let Some(value) = record.value.as_deref() else { continue };
        let value: Value = serde_json::from_slice(value)?;
        count += usize::from(value["op"].as_str().context("an op")? == "c");
    }
    Ok(count)
}

/// Of a transaction that the server cannot hold in memory most is taken back, with a table's change of shape (PG-42, PG-43).
fn taken_back(major: u16) -> Result<()> {
    let options = PostgresOptions::version(major).set("logical_decoding_work_mem", "64kB");
    let mut rig = Rig::with(Sinks::Both, &options, "")?;
    let client = rig.client()?;
    client.execute("CREATE TABLE kept (id int PRIMARY KEY, v text)")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    client.execute(
        "BEGIN; INSERT INTO kept SELECT i, repeat('k', 200) FROM generate_series(1, 500) i;
         SAVEPOINT a; INSERT INTO kept SELECT i, repeat('g', 200) FROM generate_series(1001, 6000) i;
         SAVEPOINT b; DELETE FROM kept WHERE id <= 500; INSERT INTO kept SELECT i, 'gone' FROM generate_series(7001, 7500) i;
         RELEASE b; ALTER TABLE kept ADD COLUMN w int; INSERT INTO kept VALUES (8000, 'gone', 1); ROLLBACK TO a;
         INSERT INTO kept SELECT i, 'late' FROM generate_series(501, 505) i; COMMIT",
    )?;
    rig.catch_up()?;
    let check = |rig: &Rig, rows: usize| -> Result<()> {
        ensure!(inserts(rig, "kept")? == rows, "{} inserts of {rows} came", inserts(rig, "kept")?);
        oracle::check_topic(&client, "public", "kept", &rig.records("kept")?)?;
        oracle::check_mirror(&client, "public", "kept", &rig.table("kept"), &[Reader::Deltalake])
    };
    check(&rig, 505)?;
    if major >= 14 {
        wait::until("the server to say that it spilled", wait::PATIENCE, || {
            let spilled = client.value("SELECT sum(spill_txns) > 0 FROM pg_stat_replication_slots")?;
            Ok((spilled == "t").then_some(()))
        })?;
    }
    // The shape that was taken back is nowhere.
    client.execute("INSERT INTO kept VALUES (506, 'two columns'); UPDATE kept SET v = 'changed' WHERE id = 1")?;
    rig.catch_up()?;
    check(&rig, 506)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn pg_42_43_what_a_savepoint_took_back_takes_nothing_with_it() -> Result<()> {
    [13, POSTGRES].into_iter().try_for_each(taken_back)
}

/// The daemon passes a message in the midst of an open transaction, is killed, and comes back after the commit.
#[test]
fn pg_65_66_rows_around_a_message_survive_a_kill() -> Result<()> {
    let mut rig = Rig::new(Sinks::Both)?;
    rig.daemon.allow_log("slot_active");
    rig.daemon.run()?;
    rig.catch_up()?;
    let witness = Witness::start(rig.client()?, "witness")?;
    let (writer, beside) = (rig.client()?, rig.client()?);
    let insert = |id: u64| writer.execute(&format!("INSERT INTO work_items (id, name) VALUES ({id}, 'x')"));
    for (round, transactional) in [(0, false), (1, true)] {
        let emit = format!("SELECT pg_logical_emit_message({transactional}, 'app', 'told')");
        writer.execute("BEGIN")?;
        writer.execute(&emit)?;
        insert(round * 10)?;
        writer.execute(&emit)?;
        // The place moves on by what commits beside it.
        beside.execute(&format!("INSERT INTO work_items (id, name) VALUES ({}, 'beside')", 100 + round))?;
        rig.catch_up()?;
        rig.daemon.kill9()?;
        insert(round * 10 + 1)?;
        writer.execute("COMMIT")?;
        rig.daemon.run()?;
        rig.catch_up()?;
        ensure!(inserts(&rig, "work_items")? as u64 == 3 * (round + 1));
    }
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_events(Some(&witness))?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// Servers before the minors that `check` asks for leave rows after the change of the publication out of the log; so does every
/// PostgreSQL 13, where the transaction changed the new table before. Its reading has them.
#[test]
fn pg_45_a_publication_that_changes_beside_an_open_transaction_loses_no_row() -> Result<()> {
    for major in [13, POSTGRES, 18] {
        let mut rig = Rig::with(Sinks::Both, &PostgresOptions::version(major), "")?;
        rig.daemon.allow_log("table_joined");
        rig.daemon.run()?;
        rig.catch_up()?;
        let witness = Witness::start(rig.client()?, "witness")?;
        let (writer, beside) = (rig.client()?, rig.client()?);
        beside.execute("CREATE TABLE late (id int PRIMARY KEY, v text)")?;
        writer.execute("BEGIN; INSERT INTO work_items (id, name) VALUES (1, 'before')")?;
        writer.execute("INSERT INTO late VALUES (1, 'before')")?;
        beside.execute("ALTER PUBLICATION tidewire_shop ADD TABLE late")?;
        writer.execute("INSERT INTO work_items (id, name) VALUES (2, 'after')")?;
        writer.execute("INSERT INTO late VALUES (2, 'after'); COMMIT")?;
        rig.catch_up()?;
        ensure!(inserts(&rig, "work_items")? == 2, "PostgreSQL {major}");
        beside.execute("INSERT INTO late VALUES (3, 'later')")?;
        rig.catch_up()?;
        rig.check_events(Some(&witness))?;
        rig.check_lake(&[Reader::Deltalake])?;
        oracle::check_mirror(&rig.client()?, "public", "late", &rig.table("late"), &[Reader::Deltalake])?;
        ensure!(rig.daemon.terminate()? == 0);
    }
    Ok(())
}
