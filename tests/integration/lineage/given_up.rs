//! Slots that the server gave up, servers that a standby took over from, and publications that lost a table while
//! nobody looked. PG-02, PG-02b, PG-07, PG-11, PG-14, PG-25, PG-80.

use super::{filled, halted, load};
use crate::rig::{self, POSTGRES, Rig, Sinks};
use anyhow::{Result, anyhow, ensure};
use rustix::process::Signal;
use std::time::Duration;
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::{self, Reader};
use tidewire_testkit::{PostgresOptions, oracle, wait};

const PATIENCE: Duration = Duration::from_secs(60);

/// A server that keeps little of its log.
fn forgetful(major: u16) -> PostgresOptions {
    let options = PostgresOptions::version(major).set("max_slot_wal_keep_size", "16MB");
    options.set("min_wal_size", "32MB").set("max_wal_size", "32MB")
}

const STATUS: &str = "SELECT wal_status FROM pg_replication_slots WHERE slot_name = 'tidewire_shop'";

/// Writes more log that means nothing than the server keeps for a slot.
fn make_noise(client: &Client) -> Result<()> {
    client
        .execute("SELECT pg_logical_emit_message(false, 'noise', repeat('x', 1000000)) FROM generate_series(1, 20)")?;
    client.execute("SELECT pg_switch_wal()")?;
    Ok(())
}

/// Writes log until the server has given up the slot.
fn outrun(client: &Client) -> Result<()> {
    wait::until("the server to give up the slot", PATIENCE, || {
        make_noise(client)?;
        client.execute("CHECKPOINT")?;
        Ok((client.value(STATUS)? == "lost").then_some(()))
    })
}

/// `check` and `run` name it by the same code.
fn must_be_lost(rig: &mut Rig) -> Result<()> {
    let checked = rig.daemon.check()?;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    ensure!(checked.status.code() == Some(3) && said.contains("[slot_lost]"), "check says: {said}");
    ensure!(said.contains("pg_drop_replication_slot"), "check names the statement: {said}");
    Ok(())
}

#[test]
fn a_slot_that_fell_behind_is_told_as_lost() -> Result<()> {
    // Each of these words the error in its own way; the catalog decides.
    for major in [13, 16, 17, 18] {
        let mut rig = filled(Sinks::Lake, &forgetful(major))?;
        outrun(&rig.client()?)?;
        must_be_lost(&mut rig)?;
        rig.daemon.run()?;
        let code = halted(&mut rig.daemon)?;
        ensure!(code == "slot_lost", "PostgreSQL {major}: {code}");
        ensure!(rig.client()?.value("SELECT count(*) FROM pg_replication_slots")? == "1", "nothing was touched");
    }
    Ok(())
}

#[test]
fn a_slot_lost_under_a_running_daemon_halts_it() -> Result<()> {
    let mut rig = Rig::with(Sinks::Lake, &forgetful(POSTGRES), "")?;
    load(1).run(&rig.postgres.url("postgres"))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    // It takes nothing for a while, and the server ends its walsender to be rid of the slot. A walsender that has a word
    // to say to a client that does not listen waits for it, and the checkpoint for the walsender: so nobody here may wait
    // for the checkpoint before the daemon goes on.
    let client = rig.client()?;
    rig.daemon.signal(Signal::STOP);
    make_noise(&client)?;
    let asking = rig.client()?;
    let checkpoint = std::thread::spawn(move || asking.execute("CHECKPOINT"));
    wait::until("the server to end the walsender", PATIENCE, || {
        let log = std::fs::read_to_string(rig.postgres.log_path())?;
        Ok(log.contains("to release replication slot \"tidewire_shop\"").then_some(()))
    })?;
    rig.daemon.allow_log("source retried");
    rig.daemon.signal(Signal::CONT);
    checkpoint.join().map_err(|_| anyhow!("the thread of the checkpoint panicked"))??;
    ensure!(halted(&mut rig.daemon)? == "slot_lost");
    must_be_lost(&mut rig)
}

/// Whatever the daemon is about when it goes, also between two sessions: the line names the slot, what the sinks need of it, and what
/// resolves it (PG-01).
#[test]
fn a_slot_dropped_under_a_running_daemon_halts_it() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let client = rig.client()?;
    for line in ["source retried", "the operator accepts"] {
        rig.daemon.allow_log(line);
    }
    for _ in 0..3 {
        rig.daemon.run()?;
        rig.catch_up()?;
        wait::until("the slot to be dropped", PATIENCE, || {
            client.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active_pid IS NOT NULL",
            )?;
            Ok(client.execute("SELECT pg_drop_replication_slot('tidewire_shop')").ok())
        })?;
        ensure!(halted(&mut rig.daemon)? == "slot_missing");
        // What the line says: nothing of the tables changed in between.
        client.execute("SELECT pg_catalog.pg_create_logical_replication_slot('tidewire_shop', 'pgoutput')")?;
        rig.daemon.run_with(&["--accept-slot-position", "shop"])?;
        rig.catch_up()?;
        ensure!(rig.daemon.terminate()? == 0);
    }
    Ok(())
}

#[test]
fn a_slot_that_was_idle_for_too_long_is_told_as_lost() -> Result<()> {
    let options = PostgresOptions::version(18).set("idle_replication_slot_timeout", "1s");
    let mut rig = Rig::with(Sinks::Lake, &options, "")?;
    load(1).run(&rig.postgres.url("postgres"))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    let client = rig.client()?;
    let state =
        "SELECT coalesce(invalidation_reason, 'none') FROM pg_replication_slots WHERE slot_name = 'tidewire_shop'";
    // A daemon that lives keeps its slot active, however little there is to read.
    client.execute("SELECT pg_sleep(2); CHECKPOINT")?;
    ensure!(client.value(state)? == "none", "a slot in use is kept");
    let warned = String::from_utf8_lossy(&rig.daemon.check()?.stdout).into_owned();
    ensure!(warned.contains("idle_replication_slot_timeout"), "check warns of it: {warned}");
    ensure!(rig.daemon.terminate()? == 0);
    wait::until("the server to give up the slot", PATIENCE, || {
        client.execute("CHECKPOINT")?;
        Ok((client.value(state)? == "idle_timeout").then_some(()))
    })?;
    must_be_lost(&mut rig)?;
    rig.daemon.run()?;
    ensure!(halted(&mut rig.daemon)? == "slot_lost");
    Ok(())
}

#[test]
fn a_promoted_standby_is_no_successor_without_the_slot() -> Result<()> {
    let mut rig = filled(Sinks::Lake, &PostgresOptions::version(POSTGRES))?;
    let standby = rig.postgres.standby()?;
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=primary",
        standby.port(),
        rig.postgres.port()
    );
    rig.daemon.write_config(&rig::config(&url, None, Some(rig.lake.path()), ""))?;
    load(2).run(&rig.postgres.url("postgres"))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    let end = rig.client()?.value("SELECT pg_current_wal_flush_lsn()")?;
    let client = standby.client()?;
    wait::until("the standby to hold the log", PATIENCE, || {
        let held = client.value(&format!("SELECT pg_last_wal_replay_lsn() >= '{end}'"))?;
        Ok((held == "t").then_some(()))
    })?;

    rig.postgres.kill()?;
    ensure!(client.value("SELECT pg_promote()")? == "t");
    rig.daemon.run()?;
    ensure!(halted(&mut rig.daemon)? == "slot_missing");
    client.execute("SELECT pg_create_logical_replication_slot('tidewire_shop', 'pgoutput')")?;
    rig.daemon.run()?;
    ensure!(halted(&mut rig.daemon)? == "timeline_changed");
    Ok(())
}

#[test]
fn a_table_taken_out_while_nobody_looked_halts_the_source() -> Result<()> {
    let mut rig = filled(Sinks::Lake, &PostgresOptions::version(POSTGRES))?;
    let client = rig.client()?;
    client.execute("ALTER PUBLICATION tidewire_shop DROP TABLE work_pairs")?;
    rig.daemon.run()?;
    ensure!(halted(&mut rig.daemon)? == "publication_changed");
    // Whoever means it says so.
    let more = rig::config(&rig.postgres.url("postgres"), None, Some(rig.lake.path()), "");
    let without = more.replace("[\"public.*\"]", "[\"public.*\", \"!public.work_pairs\"]");
    rig.daemon.write_config(&without)?;
    client.execute("INSERT INTO work_items (id, name) VALUES (987654, 'known')")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_table_that_became_a_partition_while_nobody_looked_halts_the_source() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let client = rig.client()?;
    client.execute(
        "CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
         CREATE TABLE parts_2 (id int PRIMARY KEY); INSERT INTO parts VALUES (1); INSERT INTO parts_2 VALUES (101);
         CREATE PUBLICATION tidewire_shop FOR ALL TABLES WITH (publish_via_partition_root = true)",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    client.execute("ALTER TABLE parts ATTACH PARTITION parts_2 FOR VALUES FROM (100) TO (200)")?;
    rig.daemon.run()?;
    ensure!(halted(&mut rig.daemon)? == "publication_changed");
    // Whoever means it says so, and a sink that reads anew has all rows under the one name.
    let config = rig::config(&rig.postgres.url("postgres"), None, Some(&rig.lake.path().join("anew")), "");
    rig.daemon.write_config(&config.replace("[sinks.lake", "[sinks.anew"))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    oracle::check_mirror(
        &client,
        "public",
        "parts",
        &rig.lake.path().join("anew/shop/public/parts"),
        &[Reader::Deltalake],
    )?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// A partition that leaves keeps the rows that it had, and has no later ones under a name that is not its own any more; a table
/// that becomes a partition halts the source, since the rows that it had are under another name (PG-25).
#[test]
fn pg_25_partitions_come_and_go_while_the_stream_runs() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let client = rig.client()?;
    client.execute(
        "CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
         CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (200);
         CREATE TABLE parts_3 (id int PRIMARY KEY); INSERT INTO parts VALUES (1), (101); INSERT INTO parts_3 VALUES (201);
         CREATE PUBLICATION tidewire_shop FOR TABLE parts, parts_3, work_items, work_pairs, work_log
           WITH (publish_via_partition_root = true)",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    client.execute("INSERT INTO parts VALUES (102)")?;
    client.execute("ALTER TABLE parts DETACH PARTITION parts_2")?;
    client.execute("INSERT INTO parts_2 VALUES (103)")?;
    client.execute("CREATE TABLE parts_4 PARTITION OF parts FOR VALUES FROM (300) TO (400)")?;
    client.execute("INSERT INTO parts VALUES (2), (301)")?;
    rig.catch_up()?;
    let mirror = readers::read(Reader::Deltalake, &rig.table("parts"))?;
    let mut ids: Vec<String> = mirror.rows.iter().flatten().map(ToString::to_string).collect();
    ids.sort();
    ensure!(ids == ["1", "101", "102", "2", "301"].map(|id| format!("\"{id}\"")), "{ids:?}");
    client.execute("ALTER TABLE parts ATTACH PARTITION parts_3 FOR VALUES FROM (200) TO (300)")?;
    ensure!(halted(&mut rig.daemon)? == "publication_changed");
    Ok(())
}

#[test]
fn a_table_taken_out_during_the_snapshot_halts_the_source() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let client = rig.client()?;
    // One table is soon read, another long under way.
    client.execute(
        "INSERT INTO work_pairs VALUES (1, 'one', 1);
         INSERT INTO work_items (id, name, note) SELECT i, 'item ' || i, repeat(md5(i::text), 8) FROM generate_series(1, 300000) i",
    )?;
    rig.daemon.run()?;
    let read = rig.table("work_pairs").join("_delta_log");
    wait::until("the small table to be whole", PATIENCE, || Ok(read.exists().then_some(())))?;
    client.execute("ALTER PUBLICATION tidewire_shop DROP TABLE work_pairs")?;
    ensure!(halted(&mut rig.daemon)? == "publication_changed");
    Ok(())
}
