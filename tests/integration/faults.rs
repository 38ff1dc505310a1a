//! Lines that are cut, stall, or dribble: the daemon comes back by itself and nothing is lost or doubled.
//! PG-70, PG-71, PG-75, PG-76, SK-15, VER-20.

use crate::rig::{self, BINARY, POSTGRES, Rig, Sinks};
use anyhow::{Result, ensure};
use std::time::Duration;
use tidewire_testkit::oracle::Witness;
use tidewire_testkit::proxy::Direction;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::Workload;
use tidewire_testkit::{Daemon, PostgresOptions, Proxy};

fn load(seed: u64) -> Workload {
    Workload { seed, transactions: 80, largest: 200, ..Workload::default() }
}

/// A rig whose daemon reaches PostgreSQL through a proxy.
fn behind_proxy(sinks: Sinks) -> Result<(Rig, Proxy)> {
    let options = PostgresOptions::version(POSTGRES).set("wal_sender_timeout", "3s");
    let mut rig = Rig::with(sinks, &options, "")?;
    let proxy = Proxy::start(rig.postgres.port())?;
    let url =
        rig.postgres.url("postgres").replace(&format!(":{}/", rig.postgres.port()), &format!(":{}/", proxy.port()));
    ensure!(url.contains(&proxy.port().to_string()), "the address goes through the proxy: {url}");
    let lake = (sinks != Sinks::Events).then(|| rig.lake.path());
    rig.daemon = Daemon::new(BINARY, &rig::config(&url, rig.kafka.as_ref(), lake, ""))?;
    for line in ["source retried", "slot_active", "sink_left_behind"] {
        rig.daemon.allow_log(line);
    }
    Ok((rig, proxy))
}

#[test]
fn a_cut_line_is_dialled_again() -> Result<()> {
    let (mut rig, proxy) = behind_proxy(Sinks::Both)?;
    let url = rig.postgres.url("postgres");
    rig.daemon.run()?;
    rig.catch_up()?;
    let witness = Witness::start(rig.client()?, "witness")?;
    for round in 0..4u64 {
        let running = load(100 + round).start(&url)?;
        match round {
            0 => proxy.cut(),
            1 => proxy.close(),
            2 => proxy.cut_after(Direction::ToClient, 20_000),
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
fn a_line_gone_silent_is_noticed() -> Result<()> {
    let (mut rig, proxy) = behind_proxy(Sinks::Lake)?;
    let url = rig.postgres.url("postgres");
    rig.daemon.run()?;
    rig.catch_up()?;
    proxy.stall();
    load(1).run(&url)?;
    rig.daemon.set_patience(Duration::from_secs(60));
    rig.daemon.wait_for("the silence to be noticed", |status| status["sources"]["shop"]["state"] == "retrying")?;
    proxy.resume();
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])
}

/// A sink that is away holds back the acknowledgement and nothing else (PG-62, R3).
#[test]
fn a_broker_that_is_away_stalls_neither_the_lake_nor_the_slot() -> Result<()> {
    let mut rig = Rig::new(Sinks::Both)?;
    let url = rig.postgres.url("postgres");
    for line in ["sink retried", "left behind"] {
        rig.daemon.allow_log(line);
    }
    rig.daemon.run()?;
    rig.catch_up()?;
    let witness = Witness::start(rig.client()?, "witness")?;
    let mut kafka = rig.kafka.take();
    kafka.as_mut().map(|kafka| kafka.kill()).transpose()?;
    load(7).run(&url)?;
    let target = rig::lsn(&rig.client()?.value("SELECT pg_current_wal_lsn()")?)?;
    rig.daemon.set_patience(Duration::from_secs(120));
    rig.daemon.wait_for("the lake to hold what is committed", |status| {
        let position = status["sources"]["shop"]["sinks"]["lake"]["position"].as_str();
        position.and_then(|text| rig::position_lsn(text).ok()).is_some_and(|lsn| lsn >= target)
    })?;
    let confirmed = rig
        .client()?
        .value("SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'tidewire_shop'")?;
    ensure!(rig::lsn(&confirmed)? < target, "acknowledged {confirmed}, which the events do not hold");
    kafka.as_mut().map(|kafka| kafka.restart()).transpose()?;
    rig.kafka = kafka;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_events(Some(&witness))
}
