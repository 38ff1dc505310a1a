//! A short round of torture with each source; `cargo xtask torture` is the long one. VER-01 to VER-29, as docs/proof.md
//! tells.

use crate::rig::BINARY;
use anyhow::{Result, bail, ensure};
use std::time::Duration;
use tidewire_testkit::torture::{self, Kind, Options, Round, Sinks, Which};

/// The round must pass; what it found says which seed it was.
fn round(kind: Kind, seed: u64, failover: bool, bucket: bool) -> Result<Round> {
    let sinks = Sinks { events: true, lake: true };
    let length = Duration::from_secs(12);
    let faults = Which::All;
    let (binary, three_brokers, bulk) = (BINARY.into(), false, 2_000);
    let options = Options { binary, seed, kind, sinks, faults, failover, three_brokers, bucket, length, bulk };
    let round = torture::round(&options)?;
    match &round.fault {
        Some(fault) => bail!("seed {seed}, {}: {fault}\n{:?}", round.pair(), round.faults),
        None => Ok(round),
    }
}

fn survives(kind: Kind, seed: u64) -> Result<()> {
    round(kind, seed, false, false).map(drop)
}

/// The replica of these seeds takes over with the second fault.
fn goes_on_with_a_replica(kind: Kind, seed: u64) -> Result<()> {
    let round = round(kind, seed, true, false)?;
    ensure!(round.faults.contains_key("database failed over"), "seed {seed}: {:?}", round.faults);
    Ok(())
}

#[test]
fn postgresql_survives_a_short_round() -> Result<()> {
    survives(Kind::Postgres, 101)
}

#[test]
fn mysql_survives_a_short_round() -> Result<()> {
    survives(Kind::Mysql, 102)
}

#[test]
fn mariadb_survives_a_short_round() -> Result<()> {
    survives(Kind::MariaDb, 103)
}

/// The store of this seed is in trouble, and silent, beside all else.
#[test]
fn tables_in_a_bucket_survive_a_short_round() -> Result<()> {
    let round = round(Kind::Postgres, 111, false, true)?;
    ensure!(round.faults.contains_key("store in trouble"), "seed 111: {:?}", round.faults);
    Ok(())
}

#[test]
fn a_standby_of_postgresql_takes_over_amid_it_all() -> Result<()> {
    goes_on_with_a_replica(Kind::Postgres, 109)
}

#[test]
fn a_replica_of_mysql_takes_over_amid_it_all() -> Result<()> {
    goes_on_with_a_replica(Kind::Mysql, 155)
}

#[test]
fn a_replica_of_mariadb_takes_over_amid_it_all() -> Result<()> {
    goes_on_with_a_replica(Kind::MariaDb, 123)
}
