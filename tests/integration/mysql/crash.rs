//! Killed at random moments and at every named place, under load: nothing is lost, nothing is there twice. MY-07, MY-08,
//! MY-16, MY-40, MY-59, MY-5A, SK-05, SK-08.

use super::rig::{NEWEST, Rig};
use crate::crash::{EVENTS_PLACES, LAKE_PLACES, Subject, end_at_each, fail_at_each, live_and_die};
use crate::rig::Sinks;
use anyhow::{Result, ensure};
use std::time::Duration;
use tidewire_testkit::oracle::Witness;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::{Dice, Running, Workload};
use tidewire_testkit::{Daemon, MysqlVersion};

/// Kills with the newest MySQL, for each sink.
const KILLS: u64 = 50;
/// Kills with each other version, with both sinks.
const FEW_KILLS: u64 = 10;

/// Places that are passed when definitions are kept: at a start, and once a second.
const DEFINITION_PLACES: [&str; 4] = [
    "definitions_before_commit:1",
    "definitions_after_commit:1",
    "definitions_before_commit:2",
    "definitions_after_commit:2",
];

fn load(seed: u64, transactions: u64) -> Workload {
    Workload { seed, transactions, largest: 300, pause: Duration::from_millis(4), ..Workload::default() }
}

/// What the daemon may say when the server has not yet noticed that the last one is dead.
fn allow(rig: &mut Rig) {
    rig.daemon.allow_log("source retried");
}

fn kill_many_times(sinks: Sinks, version: MysqlVersion, kills: u64, seed: u64) -> Result<()> {
    let mut rig = Rig::new(sinks, version)?;
    allow(&mut rig);
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.daemon.kill9()?;
    let witness = Witness::of_log(&rig.server)?;
    let running = load(seed, 80 * kills).start(&rig.server)?;
    let mut dice = Dice::new(seed);
    for _ in 0..kills {
        live_and_die(&mut rig.daemon, &mut dice)?;
    }
    let report = running.stop()?;
    ensure!(report.committed > 4 * kills, "the load was real: {report:?}");
    rig.daemon.run()?;
    rig.catch_up()?;
    if sinks != Sinks::Events {
        rig.check_lake(&[Reader::Deltalake, Reader::Duckdb])?;
    }
    if sinks != Sinks::Lake {
        rig.check_events(Some(&witness))?;
    }
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn the_lake_survives_fifty_kills() -> Result<()> {
    kill_many_times(Sinks::Lake, NEWEST, KILLS, 211)
}

#[test]
fn the_events_survive_fifty_kills() -> Result<()> {
    kill_many_times(Sinks::Events, NEWEST, KILLS, 212)
}

#[test]
fn ten_kills_with_mysql_8_0() -> Result<()> {
    kill_many_times(Sinks::Both, MysqlVersion::MySql8031, FEW_KILLS, 213)
}

#[test]
fn ten_kills_with_mariadb_10_5() -> Result<()> {
    kill_many_times(Sinks::Both, MysqlVersion::MariaDb105, FEW_KILLS, 214)
}

#[test]
fn ten_kills_with_mariadb_10_11() -> Result<()> {
    kill_many_times(Sinks::Both, MysqlVersion::MariaDb1011, FEW_KILLS, 215)
}

#[test]
fn ten_kills_with_mariadb_11_4() -> Result<()> {
    kill_many_times(Sinks::Both, MysqlVersion::MariaDb114, FEW_KILLS, 216)
}

#[test]
fn ten_kills_with_mariadb_11_8() -> Result<()> {
    kill_many_times(Sinks::Both, MysqlVersion::MariaDb118, FEW_KILLS, 217)
}

impl Subject for Rig {
    fn daemon(&mut self) -> &mut Daemon {
        &mut self.daemon
    }

    fn begin_load(&self, seed: u64) -> Result<Running> {
        load(seed, 10_000).start(&self.server)
    }

    fn must_catch_up(&mut self) -> Result<()> {
        self.catch_up()
    }
}

fn end_at_every_place(sinks: Sinks, places: &[&str], seed: u64) -> Result<()> {
    let mut rig = Rig::new(sinks, NEWEST)?;
    allow(&mut rig);
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    let witness = Witness::of_log(&rig.server)?;
    end_at_each(&mut rig, places, seed)?;
    if sinks != Sinks::Events {
        rig.check_lake(&[Reader::Deltalake])?;
    }
    if sinks != Sinks::Lake {
        rig.check_events(Some(&witness))?;
    }
    Ok(())
}

#[test]
fn the_lake_survives_an_end_at_every_place() -> Result<()> {
    end_at_every_place(Sinks::Lake, &LAKE_PLACES, 220)
}

#[test]
fn the_events_survive_an_end_at_every_place() -> Result<()> {
    end_at_every_place(Sinks::Events, &EVENTS_PLACES, 240)
}

/// What the source keeps of its tables' definitions is written before anything that needs it is handed out (MY-40).
#[test]
fn my_40_the_history_of_definitions_may_end_or_fail_half_written() -> Result<()> {
    end_at_every_place(Sinks::Both, &DEFINITION_PLACES, 280)?;
    let mut rig = Rig::new(Sinks::Both, NEWEST)?;
    allow(&mut rig);
    rig.daemon.run()?;
    rig.catch_up()?;
    let witness = Witness::of_log(&rig.server)?;
    fail_at_each(&mut rig, &DEFINITION_PLACES, 290)?;
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_events(Some(&witness))?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// A snapshot that is killed again and again begins anew, and holds no lock on the server (MY-16).
#[test]
fn a_killed_snapshot_is_read_again() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake, NEWEST)?;
    allow(&mut rig);
    Workload { transactions: 400, largest: 3_000, seed: 250, ..Workload::default() }.run(&rig.server)?;
    let running = load(251, 4_000).start(&rig.server)?;
    let mut dice = Dice::new(252);
    for _ in 0..8 {
        live_and_die(&mut rig.daemon, &mut dice)?;
    }
    running.stop()?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn servers_may_be_killed_too() -> Result<()> {
    let mut rig = Rig::new(Sinks::Both, NEWEST)?;
    // What is expected of a daemon whose servers die under it is that it says so.
    for line in ["source retried", "sink retried", "commit", "transaction"] {
        rig.daemon.allow_log(line);
    }
    rig.daemon.run()?;
    rig.catch_up()?;
    let witness = Witness::of_log(&rig.server)?;
    for round in 0..3 {
        load(260 + round, 150).run(&rig.server)?;
        rig.server.kill()?;
        rig.server.restart()?;
        load(270 + round, 150).run(&rig.server)?;
        if let Some(kafka) = rig.kafka.as_mut() {
            kafka.kill()?;
            kafka.restart()?;
        }
    }
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_events(Some(&witness))
}
