//! A standby that is read itself, from PostgreSQL 16 on. PG-74, PG-82.

use super::{check_says, halted};
use crate::rig::{self, BINARY};
use anyhow::{Result, ensure};
use tidewire_testkit::{Daemon, Postgres, PostgresOptions, oracle, wait};

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn pg_82_a_standby_is_read_and_a_slot_in_conflict_is_told() -> Result<()> {
    for major in [16, 18] {
        let mut primary = Postgres::start(&PostgresOptions::version(major).set("autovacuum", "off"))?;
        primary
            .client()?
            .execute("CREATE TABLE notes (id int PRIMARY KEY); CREATE PUBLICATION tidewire_shop FOR TABLE notes")?;
        let standby = primary.standby()?;
        let (client, follower) = (primary.client()?, standby.client()?);
        let lake = tempfile::tempdir()?;
        let config = rig::config(&standby.url("postgres"), None, Some(lake.path()), "");
        let beating = "heartbeat_interval = \"1s\"\nheartbeat_message = true\n";
        let mut daemon = Daemon::new(BINARY, &config.replace("heartbeat_interval = \"1s\"\n", beating))?;
        let warned = String::from_utf8_lossy(&daemon.check()?.stdout).into_owned();
        ensure!(warned.contains("[standby_feedback_off]"), "check warns of it: {warned}");

        daemon.run()?;
        // A slot of a standby is ready once the primary has said which transactions run.
        wait::until("the slot", PATIENCE, || {
            client.execute("SELECT pg_log_standby_snapshot()")?;
            let slots =
                follower.value("SELECT count(*) FROM pg_replication_slots WHERE confirmed_flush_lsn IS NOT NULL")?;
            Ok((slots == "1").then_some(()))
        })?;
        client.execute(
            "INSERT INTO notes VALUES (1); SELECT pg_logical_emit_message(false, 'noise', repeat('x', 2000000))",
        )?;
        // A heartbeat message is due, and none can be written.
        wait::until("the question for a heartbeat", PATIENCE, || {
            let asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%NOT pg_catalog.pg_is_in_recovery()%' \
                         AND pid <> pg_backend_pid() AND state = 'idle'";
            Ok((follower.value(asked)? != "0").then_some(()))
        })?;
        client.execute("INSERT INTO notes VALUES (2)")?;
        let target = rig::lsn(&client.value("SELECT pg_current_wal_lsn()")?)?;
        daemon.wait_for("the lake to hold the rows", |status| rig::holds(status, target))?;
        oracle::check_mirror(&client, "public", "notes", &lake.path().join("shop/public/notes"), &[])?;
        ensure!(daemon.terminate()? == 0);

        // The primary removes rows of the catalog that the slot needs; nobody told it.
        client.execute("CREATE TABLE gone (id int); DROP TABLE gone")?;
        wait::until("the slot to be in conflict", PATIENCE, || {
            client.execute("VACUUM pg_catalog.pg_class")?;
            client.execute("CREATE TABLE gone (id int); DROP TABLE gone")?;
            Ok((follower.value("SELECT bool_or(conflicting) FROM pg_replication_slots")? == "t").then_some(()))
        })?;
        let said = String::from_utf8_lossy(&daemon.check()?.stdout).into_owned();
        ensure!(said.contains("hot_standby_feedback = on"), "{said}");
        check_says(&daemon, "slot_lost")?;
        daemon.run()?;
        ensure!(halted(&mut daemon)? == "slot_lost");
        let log = daemon.log()?;
        ensure!(log.contains("hot_standby_feedback = on") && !log.contains("max_slot_wal_keep_size so"), "{log}");
    }
    Ok(())
}
