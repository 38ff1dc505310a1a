//! Rows of a real PostgreSQL arrive in Delta tables and in topics: existing rows first, then the log.

use crate::rig::{Rig, Sinks};
use anyhow::Result;
use tidewire_testkit::oracle::Witness;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::Workload;

#[test]
fn a_mirror_equals_its_source() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let url = rig.postgres.url("postgres");
    Workload { transactions: 100, seed: 1, ..Workload::default() }.run(&url)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    Workload { transactions: 200, seed: 2, ..Workload::default() }.run(&url)?;
    rig.catch_up()?;
    rig.check_lake(&Reader::ALL)?;
    assert_eq!(rig.daemon.terminate()?, 0);
    Ok(())
}

#[test]
fn topics_hold_every_change_once() -> Result<()> {
    let mut rig = Rig::new(Sinks::Events)?;
    let url = rig.postgres.url("postgres");
    Workload { transactions: 100, seed: 3, ..Workload::default() }.run(&url)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    let witness = Witness::start(rig.client()?, "witness")?;
    Workload { transactions: 200, seed: 4, ..Workload::default() }.run(&url)?;
    rig.catch_up()?;
    rig.check_events(Some(&witness))?;
    assert_eq!(rig.daemon.terminate()?, 0);
    Ok(())
}
