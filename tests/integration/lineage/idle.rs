//! A source whose tables rest, beside a database that is busy: the server can let go of its log all the same, and what
//! it was told to forget was recorded before. PG-69, PG-6A, PG-74.

use crate::rig::{self, Rig, Sinks};
use anyhow::{Context, Result, ensure};
use std::time::Duration;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::{PostgresOptions, wait};

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_busy_neighbour_does_not_pile_up_log() -> Result<()> {
    // Messages in the log came with 14; without them the server's own word on how far it has come has to do.
    for (major, message) in [(13, false), (17, false), (17, true)] {
        neighbour(major, message).with_context(|| format!("PostgreSQL {major}, heartbeat message: {message}"))?;
    }
    Ok(())
}

fn neighbour(major: u16, message: bool) -> Result<()> {
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(major), "")?;
    let config = rig::config(&rig.postgres.url("postgres"), None, Some(rig.lake.path()), "");
    let beating = format!("[sources.shop.postgres]\nheartbeat_message = {message}");
    rig.daemon.write_config(&config.replace("[sources.shop.postgres]", &beating))?;
    let client = rig.client()?;
    client.execute("INSERT INTO work_items (id, name) VALUES (1, 'before')")?;
    rig.daemon.run()?;
    rig.catch_up()?;

    client.execute("CREATE DATABASE neighbour")?;
    let neighbour = rig.postgres.client_of("neighbour")?;
    neighbour.execute("CREATE TABLE noise AS SELECT i, repeat('x', 1000) FROM generate_series(1, 50000) i")?;
    client.execute("CREATE UNLOGGED TABLE not_ours (id int)")?;
    let end = client.value("SELECT pg_current_wal_lsn()")?;
    let slot = format!(
        "SELECT confirmed_flush_lsn >= '{end}' AND restart_lsn >= '{end}' FROM pg_replication_slots \
         WHERE slot_name = 'tidewire_shop'"
    );
    wait::until("the slot to let go of the neighbour's log", PATIENCE, || {
        // A checkpoint notes which transactions run; a slot's oldest need is known from such a note on.
        client.execute("CHECKPOINT")?;
        Ok((client.value(&slot)? == "t").then_some(()))
    })?;

    // The place was recorded before it was acknowledged: a restart finds nothing amiss, and nothing was lost.
    rig.daemon.kill9()?;
    rig.daemon.allow_log("slot_active");
    client.execute("INSERT INTO work_items (id, name) VALUES (2, 'after')")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}
