//! Lines that are cut, stall, or dribble: the daemon comes back by itself and nothing is lost or doubled. MY-58, MY-59.

use super::rig::{NEWEST, Rig, SOURCE};
use crate::rig::Sinks;
use anyhow::{Result, ensure};
use std::time::Duration;
use tidewire_testkit::oracle::Witness;
use tidewire_testkit::proxy::Direction;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::Workload;
use tidewire_testkit::{MysqlVersion, Proxy};

fn load(seed: u64) -> Workload {
    Workload { seed, transactions: 80, largest: 200, ..Workload::default() }
}

/// A rig whose daemon reaches the server through a proxy.
fn behind_proxy(sinks: Sinks, version: MysqlVersion) -> Result<(Rig, Proxy)> {
    let mut rig = Rig::new(sinks, version)?;
    let proxy = Proxy::start(rig.server.port())?;
    rig.daemon.write_config(&rig.config(sinks, proxy.port(), ""))?;
    rig.daemon.allow_log("source retried");
    Ok((rig, proxy))
}

fn cut(version: MysqlVersion) -> Result<()> {
    let (mut rig, proxy) = behind_proxy(Sinks::Both, version)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    let witness = Witness::of_log(&rig.server)?;
    for round in 0..5u64 {
        let running = load(300 + round).start(&rig.server)?;
        match round {
            0 => proxy.cut(),
            1 => proxy.close(),
            2 => proxy.cut_after(Direction::ToClient, 20_000),
            3 => proxy.cut_after(Direction::ToClient, 300),
            _ => proxy.split(1),
        }
        running.join()?;
        proxy.resume();
        rig.catch_up()?;
    }
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_events(Some(&witness))?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_cut_line_is_dialled_again() -> Result<()> {
    cut(NEWEST)
}

#[test]
fn a_cut_line_to_mariadb_is_dialled_again() -> Result<()> {
    cut(MysqlVersion::MariaDb118)
}

#[test]
fn a_line_gone_silent_is_noticed() -> Result<()> {
    let (mut rig, proxy) = behind_proxy(Sinks::Lake, NEWEST)?;
    rig.daemon.run()?;
    rig.catch_up()?;
    proxy.stall();
    load(310).run(&rig.server)?;
    rig.daemon.set_patience(Duration::from_secs(90));
    rig.daemon.wait_for("the silence to be noticed", |status| status["sources"][SOURCE]["state"] == "retrying")?;
    proxy.resume();
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])
}
