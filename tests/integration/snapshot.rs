//! The first reading and the hand-over to the log, killed at any point of it: the end equals the source, and no
//! slot is left over; tables that come later. PG-12, PG-15, PG-16, PG-18, PG-32.

use crate::rig::{self, POSTGRES, Rig, Sinks};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::{Duration, Instant};
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::{Dice, Workload};
use tidewire_testkit::{PostgresOptions, oracle, wait};

/// Rows that make the snapshot long enough to be hit.
fn bulk(rig: &Rig) -> Result<()> {
    let client = rig.client()?;
    client.execute(
        "INSERT INTO work_items (id, name, quantity, price, note, is_open, made_at)
         SELECT 1000000 + i, 'item ' || i, i, i / 7.0, repeat(md5(i::text), 4), i % 2 = 0, now() FROM generate_series(1, 60000) i;
         INSERT INTO work_pairs SELECT 1000000 + i, 'bulk', i FROM generate_series(1, 60000) i",
    )?;
    Ok(())
}

fn slots(rig: &Rig) -> Result<String> {
    rig.client()?.value("SELECT coalesce(string_agg(slot_name, ','), '') FROM pg_replication_slots")
}

#[test]
fn the_hand_over_has_no_gap_and_no_overlap() -> Result<()> {
    let mut rig = Rig::new(Sinks::Both)?;
    bulk(&rig)?;
    // A truncate beside a snapshot makes it begin anew, which has its own message.
    let load = Workload { transactions: 1_500, largest: 50, truncates: false, ..Workload::default() };
    let running = Workload { pause: Duration::from_millis(1), ..load }.start(&rig.postgres.url("postgres"))?;
    rig.daemon.run()?;
    rig.daemon.wait_for("the stream", |status| status["sources"]["shop"]["state"] == "streaming")?;
    running.join()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_events(None)?;
    ensure!(slots(&rig)? == "tidewire_shop");
    Ok(())
}

#[test]
fn a_snapshot_killed_anywhere_ends_equal_to_its_source() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    rig.daemon.allow_log("slot_active");
    bulk(&rig)?;
    let url = rig.postgres.url("postgres");
    let mut dice = Dice::new(5);
    for round in 0..12 {
        let running = Workload { seed: round, transactions: 60, largest: 40, ..Workload::default() }.start(&url)?;
        rig.daemon.run()?;
        let moment = Instant::now() + Duration::from_millis(30 + dice.below(900));
        wait::until(
            "the moment of the kill",
            Duration::from_secs(10),
            || Ok((Instant::now() >= moment).then_some(())),
        )?;
        rig.daemon.kill9()?;
        running.join()?;
    }
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    wait::until("temporary slots to be gone", Duration::from_secs(30), || {
        Ok((slots(&rig)? == "tidewire_shop").then_some(()))
    })
}

/// The ops of a topic's records, each with how often it came.
fn ops(rig: &Rig, table: &str) -> Result<Vec<(String, usize)>> {
    let mut counts = std::collections::BTreeMap::new();
    for record in rig.records(table)? {
        let Some(value) = record.value.as_deref() else { continue };
        let value: Value = serde_json::from_slice(value)?;
        *counts.entry(value["op"].as_str().context("an op")?.to_owned()).or_insert(0) += 1;
    }
    Ok(counts.into_iter().collect())
}

#[test]
fn a_table_that_comes_into_the_publication_arrives_whole_and_once() -> Result<()> {
    let mut rig = Rig::new(Sinks::Both)?;
    rig.daemon.allow_log("table_joined");
    rig.daemon.run()?;
    rig.catch_up()?;
    let client = rig.client()?;
    client.execute(
        "CREATE TABLE late (id int PRIMARY KEY, big text, v text);
         ALTER TABLE late ALTER COLUMN big SET STORAGE EXTERNAL;
         INSERT INTO late SELECT i, repeat('x', 9000), 'before' FROM generate_series(1, 50) i",
    )?;
    // Keys that move, with long values that the log does not carry again: only the reading has them. All in the
    // transaction in which the table is seen first, beside a table that is known.
    client.execute(
        "ALTER PUBLICATION tidewire_shop ADD TABLE late;
         INSERT INTO work_items (id, name) VALUES (987654, 'known');
         UPDATE late SET id = id + 1000 WHERE id <= 10; UPDATE late SET v = 'changed' WHERE id BETWEEN 11 AND 20;
         DELETE FROM late WHERE id BETWEEN 21 AND 30; INSERT INTO late VALUES (60, 'y', 'new');
         INSERT INTO work_items (id, name) VALUES (987655, 'known')",
    )?;
    rig.catch_up()?;
    let check = |rig: &Rig| -> Result<()> {
        oracle::check_mirror(&client, "public", "late", &rig.table("late"), &[Reader::Deltalake])?;
        oracle::check_topic(&client, "public", "late", &rig.records("late")?).map(drop)
    };
    check(&rig)?;
    ensure!(ops(&rig, "late")? == [("r".to_owned(), 41)], "{:?}", ops(&rig, "late")?);
    client.execute(
        "UPDATE late SET v = 'again' WHERE id = 1001; DELETE FROM late WHERE id = 60;
         INSERT INTO late VALUES (61, NULL, 'newer')",
    )?;
    rig.catch_up()?;
    check(&rig)?;
    let expected = [("c", 1), ("d", 1), ("r", 41), ("u", 1)].map(|(op, count)| (op.to_owned(), count));
    ensure!(ops(&rig, "late")? == expected, "{:?}", ops(&rig, "late")?);
    // Nothing is read again afterwards, and nothing was lost beside it.
    rig.daemon.kill9()?;
    rig.daemon.allow_log("slot_active");
    client.execute("INSERT INTO late VALUES (62, NULL, 'newest')")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    check(&rig)?;
    ensure!(ops(&rig, "late")?.contains(&("r".to_owned(), 41)));
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_events(None)?;
    ensure!(slots(&rig)? == "tidewire_shop");
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_new_slot_waits_for_older_transactions_and_says_so() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    rig.daemon.allow_log("slot_active");
    let old = rig.client()?;
    old.execute("BEGIN; INSERT INTO work_items (id, name) VALUES (1, 'open for long')")?;
    rig.daemon.run()?;
    wait::until("the waiting to be said", Duration::from_secs(60), || {
        Ok(rig.daemon.log()?.contains("waits for transactions that are older").then_some(()))
    })?;
    // Killed while it waits: the server keeps the half-made slot until its maker may end.
    rig.daemon.kill9()?;
    rig.daemon.run()?;
    rig.daemon.wait_for("the source to wait for the slot", |status| {
        status["sources"]["shop"]["reason"]["code"] == "slot_active"
    })?;
    old.execute("COMMIT")?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(slots(&rig)? == "tidewire_shop");
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_new_table_does_not_hold_up_the_others_for_an_open_transaction() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let config = rig::config(&rig.postgres.url("postgres"), None, Some(rig.lake.path()), "");
    // Bounds the waiting for locks on tables, not that for a slot.
    rig.daemon.write_config(&config.replace("[sinks.lake", "lock_timeout = \"2s\"\n[sinks.lake"))?;
    for code in ["table_joined", "table_unread", "slot_active"] {
        rig.daemon.allow_log(code);
    }
    rig.daemon.run()?;
    rig.catch_up()?;
    let (client, old) = (rig.client()?, rig.client()?);
    old.execute("BEGIN; INSERT INTO work_items (id, name) VALUES (1, 'open for long')")?;
    client.execute("CREATE TABLE late (id int PRIMARY KEY, v text); INSERT INTO late VALUES (1, 'before')")?;
    client.execute("ALTER PUBLICATION tidewire_shop ADD TABLE late; INSERT INTO late VALUES (2, 'after')")?;
    client.execute("INSERT INTO work_items (id, name) VALUES (2, 'beside')")?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.log()?.contains("table_unread"), "the log says that rows are missing");
    // A session that is lost does not make it wait again.
    rig.daemon.allow_log("source retried");
    client.execute(
        "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = 'tidewire_shop'",
    )?;
    let since = Instant::now();
    client.execute("INSERT INTO work_items (id, name) VALUES (3, 'beside')")?;
    rig.catch_up()?;
    ensure!(since.elapsed() < Duration::from_secs(12), "the others waited for {:?}", since.elapsed());
    ensure!(rig.daemon.log()?.matches("table_unread").count() == 1, "it is said once");
    old.execute("COMMIT; INSERT INTO late VALUES (3, 'later'); DELETE FROM late WHERE id = 2")?;
    rig.daemon.kill9()?;
    client.execute("UPDATE late SET v = 'changed' WHERE id = 3")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    oracle::check_mirror(&client, "public", "late", &rig.table("late"), &[Reader::Deltalake])?;
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_new_table_whose_name_is_captured_no_more_does_not_stop_the_others() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let config = rig::config(&rig.postgres.url("postgres"), None, Some(rig.lake.path()), "");
    rig.daemon.write_config(&config.replace("[\"public.*\"]", "[\"public.*\", \"!public.*_old\"]"))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    let client = rig.client()?;
    // Seen in the log as `fresh`, and never again in the catalog.
    client.execute(
        "CREATE TABLE fresh (id int PRIMARY KEY, v text); ALTER PUBLICATION tidewire_shop ADD TABLE fresh;
         INSERT INTO fresh VALUES (1, 'new'); ALTER TABLE fresh RENAME TO fresh_old",
    )?;
    client.execute("INSERT INTO work_items (id, name) VALUES (2, 'beside')")?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    let log = rig.daemon.log()?;
    ensure!(!log.contains("table_joined") && log.contains("a table that was not read is shipped"), "{log}");
    oracle::check_mirror(&client, "public", "fresh_old", &rig.table("fresh"), &[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_new_table_that_cannot_be_read_halts_nobody() -> Result<()> {
    // Their only slot is the source's own.
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES).set("max_replication_slots", "1"), "")?;
    for code in ["table_joined", "table_unread"] {
        rig.daemon.allow_log(code);
    }
    rig.daemon.run()?;
    rig.catch_up()?;
    let client = rig.client()?;
    client.execute("CREATE TABLE late (id int PRIMARY KEY, v text); INSERT INTO late VALUES (1, 'before')")?;
    client.execute("ALTER PUBLICATION tidewire_shop ADD TABLE late; INSERT INTO late VALUES (2, 'after')")?;
    client.execute("INSERT INTO work_items (id, name) VALUES (2, 'beside')")?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.log()?.contains("max_replication_slots"), "the remedy is named");
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_new_table_without_a_grant_halts_nobody() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    for code in ["table_joined", "table_unread"] {
        rig.daemon.allow_log(code);
    }
    let client = rig.client()?;
    client.execute(
        "CREATE ROLE reader LOGIN REPLICATION PASSWORD 'reader'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader;
         CREATE PUBLICATION tidewire_shop FOR ALL TABLES",
    )?;
    let url = rig.postgres.url("reader");
    rig.daemon.write_config(&rig::config(&url, None, Some(rig.lake.path()), ""))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    client.execute(
        "CREATE TABLE late (id int PRIMARY KEY, v text); INSERT INTO late VALUES (1, 'first');
         INSERT INTO work_items (id, name) VALUES (2, 'beside')",
    )?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    let log = rig.daemon.log()?;
    ensure!(log.contains("table_unread") && log.contains("GRANT SELECT"), "it is said: {log}");
    oracle::check_mirror(&client, "public", "late", &rig.table("late"), &[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    // With the grant its rows are read at the next start.
    client.execute("GRANT SELECT ON late TO reader; INSERT INTO late VALUES (2, 'second')")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    oracle::check_mirror(&client, "public", "late", &rig.table("late"), &[Reader::Deltalake])?;
    ensure!(rig.daemon.log()?.matches("table_unread").count() <= 1, "it is said once");
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// Nobody has counted the rows of a table that was just filled: `reltuples` is -1, or 0 before 14.
#[test]
fn rows_are_expected_of_tables_that_nobody_has_counted() -> Result<()> {
    for major in [13, 18] {
        let options = PostgresOptions::version(major).set("autovacuum", "off");
        let mut rig = Rig::with(Sinks::Lake, &options, "")?;
        let client = rig.client()?;
        client.execute("CREATE TABLE plain (id int PRIMARY KEY, v text); CREATE TABLE none (id int PRIMARY KEY)")?;
        client.execute("INSERT INTO plain SELECT i, repeat('x', 30) FROM generate_series(1, 40000) i")?;
        client.execute("CREATE TABLE parts (id int PRIMARY KEY, v text) PARTITION BY RANGE (id)")?;
        client.execute("CREATE TABLE low PARTITION OF parts FOR VALUES FROM (1) TO (20001)")?;
        client.execute("CREATE TABLE high PARTITION OF parts FOR VALUES FROM (20001) TO (40001)")?;
        client.execute("INSERT INTO parts SELECT i, repeat('x', 30) FROM generate_series(1, 40000) i; ANALYZE low")?;
        rig.daemon.run()?;
        rig.daemon.wait_for("the stream", |status| status["sources"]["shop"]["state"] == "streaming")?;
        let metric = |name| rig.daemon.metric(name, &["source=\"shop\""]);
        let expected = metric("tidewire_snapshot_rows_expected")?.context("a metric of what is expected")?;
        ensure!((60_000.0..120_000.0).contains(&expected), "PostgreSQL {major} expects {expected} of 80000 rows");
        ensure!(rig.daemon.terminate()? == 0);
    }
    Ok(())
}
