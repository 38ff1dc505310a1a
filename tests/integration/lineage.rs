//! A position means something only on the server that it came from: deleted state, a second daemon, slots that
//! went away or were made anew, databases that went back in time, other clusters. PG-01, PG-04, PG-06, PG-06b,
//! PG-61, SK-50, SK-60, SK-61.

mod accepted;
mod given_up;
mod idle;
mod leaves;
mod narrowed;
mod partitions;
mod synced;

use crate::rig::{self, BINARY, POSTGRES, Rig, Sinks};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::process::Command;
use tidewire_testkit::oracle::Witness;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::Workload;
use tidewire_testkit::{Daemon, Postgres, PostgresOptions};

fn load(seed: u64) -> Workload {
    Workload { seed, transactions: 60, largest: 50, ..Workload::default() }
}

/// Waits until the source has halted, and gives the reason's code.
pub(crate) fn halted(daemon: &mut Daemon) -> Result<String> {
    daemon.allow_log("halted");
    daemon.allow_log("no source can run");
    let status = daemon.wait_exit()?;
    ensure!(status.code() == Some(1), "with nothing left that can run the exit code is 1, not {status}");
    let log = daemon.log()?;
    let line = log.lines().rfind(|line| line.contains("source halted")).context("no line says why")?;
    let line: Value = serde_json::from_str(line)?;
    ensure!(line["remedy"].as_str().is_some_and(|remedy| !remedy.is_empty()), "a remedy is named: {line}");
    Ok(line["code"].as_str().unwrap_or_default().to_owned())
}

/// `check` tells beforehand what would halt a start, by the same code.
pub(crate) fn check_says(daemon: &Daemon, code: &str) -> Result<()> {
    let checked = daemon.check()?;
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    let line = said.lines().position(|line| line.contains(&format!(": error [{code}]: ")));
    let line = line.with_context(|| format!("no line tells of {code}: {said}"))?;
    ensure!(checked.status.code() == Some(3), "ended with {}: {said}", checked.status);
    ensure!(said.lines().nth(line + 1).is_some_and(|remedy| remedy.starts_with("    ")), "no remedy: {said}");
    Ok(())
}

/// A rig whose sinks hold something, with the daemon stopped.
fn filled(sinks: Sinks, options: &PostgresOptions) -> Result<Rig> {
    let mut rig = Rig::with(sinks, options, "")?;
    load(1).run(&rig.postgres.url("postgres"))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(rig)
}

#[test]
fn a_deleted_state_directory_costs_nothing_but_time() -> Result<()> {
    let mut rig = filled(Sinks::Both, &PostgresOptions::version(POSTGRES))?;
    let witness = Witness::start(rig.client()?, "witness")?;
    for seed in 2..5 {
        load(seed).run(&rig.postgres.url("postgres"))?;
        std::fs::remove_dir_all(rig.daemon.state_folder())?;
        rig.daemon.run()?;
        rig.catch_up()?;
        rig.daemon.kill9()?;
    }
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_events(Some(&witness))
}

#[test]
fn a_slot_that_is_gone_is_never_made_anew_in_silence() -> Result<()> {
    let mut rig = filled(Sinks::Lake, &PostgresOptions::version(POSTGRES))?;
    let client = rig.client()?;
    client.execute("SELECT pg_drop_replication_slot('tidewire_shop')")?;
    load(2).run(&rig.postgres.url("postgres"))?;
    rig.daemon.run()?;
    ensure!(halted(&mut rig.daemon)? == "slot_missing");
    check_says(&rig.daemon, "slot_missing")?;
    ensure!(client.value("SELECT count(*) FROM pg_replication_slots")? == "0", "nothing was created");

    // Made anew by hand, it begins after what was lost.
    client.execute("SELECT pg_create_logical_replication_slot('tidewire_shop', 'pgoutput')")?;
    rig.daemon.run()?;
    ensure!(halted(&mut rig.daemon)? == "slot_recreated");
    check_says(&rig.daemon, "slot_recreated")
}

/// What a sink holds is asked of each kind of sink, and a source that is as it should be is told of nothing, whether it runs or not.
#[test]
fn check_tells_what_would_halt_a_start() -> Result<()> {
    for sinks in [Sinks::Lake, Sinks::Events] {
        let mut rig = Rig::new(sinks)?;
        let sound = |rig: &Rig, when: &str| {
            let checked = rig.daemon.check()?;
            let said = String::from_utf8_lossy(&checked.stdout).into_owned();
            ensure!(checked.status.success(), "{when}: {said}");
            Ok(())
        };
        sound(&rig, "before the first start")?;
        rig.daemon.run()?;
        load(1).run(&rig.postgres.url("postgres"))?;
        sound(&rig, "while it runs")?;
        rig.catch_up()?;
        ensure!(rig.daemon.terminate()? == 0);
        sound(&rig, "between two starts")?;
        rig.client()?.execute("SELECT pg_drop_replication_slot('tidewire_shop')")?;
        check_says(&rig.daemon, "slot_missing")?;
    }
    Ok(())
}

#[test]
fn a_slot_that_someone_advanced_is_refused() -> Result<()> {
    let mut rig = filled(Sinks::Lake, &PostgresOptions::version(POSTGRES))?;
    load(2).run(&rig.postgres.url("postgres"))?;
    rig.client()?.execute("SELECT pg_replication_slot_advance('tidewire_shop', pg_current_wal_lsn())")?;
    rig.daemon.run()?;
    let code = halted(&mut rig.daemon)?;
    ensure!(code == "slot_ahead_of_sink" || code == "slot_recreated", "{code}");
    check_says(&rig.daemon, &code)
}

#[test]
fn another_cluster_behind_the_same_address_is_refused() -> Result<()> {
    let mut rig = filled(Sinks::Lake, &PostgresOptions { own_identity: true, ..PostgresOptions::version(POSTGRES) })?;
    let other = Postgres::start(&PostgresOptions { own_identity: true, ..PostgresOptions::version(POSTGRES) })?;
    let client = other.client()?;
    Workload::create_tables(&client)?;
    client.execute("CREATE PUBLICATION tidewire_shop FOR ALL TABLES")?;
    client.execute("SELECT pg_create_logical_replication_slot('tidewire_shop', 'pgoutput')")?;
    rig.daemon.write_config(&rig::config(&other.url("postgres"), None, Some(rig.lake.path()), ""))?;
    rig.daemon.run()?;
    ensure!(halted(&mut rig.daemon)? == "system_identifier_mismatch");
    check_says(&rig.daemon, "system_identifier_mismatch")
}

#[test]
fn a_database_that_went_back_in_time_is_refused() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let url = rig.postgres.url("postgres");
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    rig.postgres.stop()?;
    let backup = rig.lake.path().join("backup");
    copy(&rig.postgres.data(), &backup)?;
    rig.postgres.restart()?;
    load(2).run(&url)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    rig.postgres.stop()?;
    std::fs::remove_dir_all(rig.postgres.data())?;
    copy(&backup, &rig.postgres.data())?;
    rig.postgres.restart()?;
    rig.daemon.run()?;
    ensure!(halted(&mut rig.daemon)? == "server_behind");
    check_says(&rig.daemon, "server_behind")
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    ensure!(status.success(), "cp -a {} {}", from.display(), to.display());
    Ok(())
}

#[test]
fn a_second_daemon_is_told_who_holds_the_state() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    let second = rig.daemon.command(&["run"])?;
    ensure!(second.status.code() == Some(1));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    let pid = rig.daemon.pid().context("the first daemon runs")?.to_string();
    ensure!(said.contains("state_locked") && said.contains(&pid), "{said}");
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_second_daemon_with_a_state_of_its_own_waits_for_the_slot() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let url = rig.postgres.url("postgres");
    rig.daemon.run()?;
    rig.catch_up()?;
    let mut second = Daemon::new(BINARY, &rig::config(&url, None, Some(rig.lake.path()), ""))?;
    second.allow_log("slot_active");
    second.run()?;
    second.wait_for("the second to be kept out", |status| {
        status["sources"]["shop"]["state"] == "retrying" && status["sources"]["shop"]["reason"]["code"] == "slot_active"
    })?;
    load(3).run(&url)?;
    rig.catch_up()?;
    // The first one goes; the second takes over where it stood.
    rig.daemon.kill9()?;
    load(4).run(&url)?;
    std::mem::swap(&mut rig.daemon, &mut second);
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}
