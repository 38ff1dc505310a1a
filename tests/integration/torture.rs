//! A short round of torture with each source; `cargo xtask torture` is the long one. VER-01 to VER-29, as docs/proof.md
//! tells.

use crate::rig::BINARY;
use anyhow::{Result, bail};
use std::time::Duration;
use tidewire_testkit::torture::{self, Kind, Options, Sinks, Which};

/// The round must pass; what it found says which seed it was.
fn survives(kind: Kind, seed: u64) -> Result<()> {
    let sinks = Sinks { events: true, lake: true };
    let length = Duration::from_secs(12);
    let faults = Which::All;
    let round = torture::round(&Options { binary: BINARY.into(), seed, kind, sinks, faults, length, bulk: 2_000 })?;
    match &round.fault {
        Some(fault) => bail!("seed {seed}, {}: {fault}\n{:?}", round.pair(), round.faults),
        None => Ok(()),
    }
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
