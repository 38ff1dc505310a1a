//! Rows of every version arrive in Delta tables and in topics: existing rows first, then the log.

use super::rig::Rig;
use crate::rig::Sinks;
use anyhow::Result;
use tidewire_testkit::MysqlVersion;
use tidewire_testkit::oracle::Witness;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::Workload;

fn check(version: MysqlVersion) -> Result<()> {
    let mut rig = Rig::new(Sinks::Both, version)?;
    Workload { transactions: 100, seed: 1, ..Workload::default() }.run(&rig.server)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    let witness = Witness::of_log(&rig.server)?;
    Workload { transactions: 200, seed: 2, ..Workload::default() }.run(&rig.server)?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake, Reader::Duckdb])?;
    rig.check_events(Some(&witness))?;
    assert_eq!(rig.daemon.terminate()?, 0);
    Ok(())
}

#[test]
fn from_mysql_8_0() -> Result<()> {
    check(MysqlVersion::MySql8031)
}

#[test]
fn from_mysql_9_7() -> Result<()> {
    check(MysqlVersion::MySql97)
}

#[test]
fn from_mariadb_10_5() -> Result<()> {
    check(MysqlVersion::MariaDb105)
}

#[test]
fn from_mariadb_10_11() -> Result<()> {
    check(MysqlVersion::MariaDb1011)
}

#[test]
fn from_mariadb_11_4() -> Result<()> {
    check(MysqlVersion::MariaDb114)
}

#[test]
fn from_mariadb_11_8() -> Result<()> {
    check(MysqlVersion::MariaDb118)
}
