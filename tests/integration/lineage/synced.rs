//! A slot with failover, copied to a standby that takes over: the stream goes on where the standby has all that the sinks
//! hold, and halts where it lags. PG-80, PG-81.

use super::{halted, load};
use crate::rig::{self, POSTGRES, Rig, Sinks};
use anyhow::{Result, ensure};
use std::time::Duration;
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::{Postgres, PostgresOptions, wait};

const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon that reads a slot with failover of whichever server is the primary, and a standby that copies it.
fn with_standby(major: u16, sinks: Sinks) -> Result<(Rig, Postgres)> {
    let mut rig = Rig::with(sinks, &PostgresOptions::version(major), "")?;
    let client = rig.client()?;
    client.execute("CREATE PUBLICATION tidewire_shop FOR ALL TABLES")?;
    client.execute("SELECT pg_create_logical_replication_slot('tidewire_shop', 'pgoutput', failover => true)")?;
    load(1).run(&rig.postgres.url("postgres"))?;
    drop(client);
    let standby = rig.postgres.standby_with_slots()?;
    let url = format!(
        "postgres://postgres@127.0.0.1:{},127.0.0.1:{}/postgres?target_session_attrs=primary",
        standby.port(),
        rig.postgres.port()
    );
    rig.daemon.write_config(&rig::config(&url, rig.kafka.as_ref(), Some(rig.lake.path()), ""))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    Ok((rig, standby))
}

fn level(rig: &Rig, follower: &Client) -> Result<()> {
    let end = rig.client()?.value("SELECT pg_current_wal_flush_lsn()")?;
    wait::until("the standby to hold the log", PATIENCE, || {
        let held = follower.value(&format!("SELECT coalesce(pg_last_wal_replay_lsn() >= '{end}', false)"))?;
        Ok((held == "t").then_some(()))
    })
}

/// Copies the slot. A copy is kept once the slot needs nothing from before the standby began to follow: that moves only with
/// a list of the transactions that run, which a server writes now and then.
fn copy_slot(rig: &mut Rig, follower: &Client, seed: u64) -> Result<()> {
    wait::until("the slot to be copied", PATIENCE, || {
        load(seed).run(&rig.postgres.url("postgres"))?;
        rig.catch_up()?;
        rig.client()?.execute("SELECT pg_log_standby_snapshot()")?;
        rig.catch_up()?;
        level(rig, follower)?;
        follower.execute("SELECT pg_sync_replication_slots()")?;
        let kept =
            "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'tidewire_shop' AND synced AND NOT temporary";
        Ok((follower.value(kept)? == "1").then_some(()))
    })
}

/// The primary dies and the standby takes over.
fn take_over(rig: &mut Rig, standby: Postgres, follower: &Client) -> Result<()> {
    rig.postgres.kill()?;
    ensure!(follower.value("SELECT pg_promote()")? == "t");
    drop(std::mem::replace(&mut rig.postgres, standby));
    Ok(())
}

#[test]
fn pg_81_a_standby_with_the_slot_is_a_successor() -> Result<()> {
    let (mut rig, standby) = with_standby(POSTGRES, Sinks::Both)?;
    let follower = standby.client()?;
    copy_slot(&mut rig, &follower, 2)?;
    // From here on the log is sent to nobody who is not the standby before the standby has it.
    let client = rig.client()?;
    client.execute("ALTER SYSTEM SET synchronized_standby_slots = 'standby'")?;
    client.execute("SELECT pg_reload_conf()")?;
    load(3).run(&rig.postgres.url("postgres"))?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    // What the daemon has not read yet comes from the standby.
    load(4).run(&rig.postgres.url("postgres"))?;
    level(&rig, &follower)?;
    take_over(&mut rig, standby, &follower)?;
    load(5).run(&rig.postgres.url("postgres"))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_events(None)?;
    // And once more from a place of the new history.
    rig.daemon.kill9()?;
    rig.daemon.allow_log("slot_active");
    load(6).run(&rig.postgres.url("postgres"))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_events(None)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// The sinks hold what the standby never got; its own log goes on from before that place, and beyond.
#[test]
fn pg_80_81_a_standby_that_lags_is_refused() -> Result<()> {
    let (mut rig, standby) = with_standby(18, Sinks::Lake)?;
    let follower = standby.client()?;
    copy_slot(&mut rig, &follower, 2)?;
    follower.execute("ALTER SYSTEM SET primary_conninfo = ''")?;
    follower.execute("SELECT pg_reload_conf()")?;
    wait::until("the standby to follow no more", PATIENCE, || {
        Ok((follower.value("SELECT count(*) FROM pg_stat_wal_receiver")? == "0").then_some(()))
    })?;
    load(3).run(&rig.postgres.url("postgres"))?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    let held = rig::lsn(&rig.client()?.value("SELECT pg_current_wal_lsn()")?)?;
    take_over(&mut rig, standby, &follower)?;
    wait::until("the new primary to write more than was lost", PATIENCE, || {
        load(7).run(&rig.postgres.url("postgres"))?;
        Ok((rig::lsn(&rig.client()?.value("SELECT pg_current_wal_lsn()")?)? > held).then_some(()))
    })?;
    rig.daemon.run()?;
    let code = halted(&mut rig.daemon)?;
    ensure!(code == "timeline_changed", "{code}");
    Ok(())
}
