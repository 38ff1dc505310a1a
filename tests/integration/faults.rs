//! Lines that are cut, stall, or dribble: the daemon comes back by itself and nothing is lost or doubled.
//! PG-15, PG-62, PG-70, PG-71, PG-75, PG-76, SK-15, VER-20.

use crate::rig::{self, BINARY, POSTGRES, Rig, Sinks};
use anyhow::{Result, ensure};
use std::time::Duration;
use tidewire_testkit::oracle::Witness;
use tidewire_testkit::proxy::Direction;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::Workload;
use tidewire_testkit::{Daemon, PostgresOptions, Proxy, wait};

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

/// The server ends sessions that do not answer; the answers must not wait for a sink (PG-70). Nor do they tell of what the
/// sink does not hold (PG-62).
#[test]
fn pg_70_a_sink_that_stalls_does_not_cost_the_session() -> Result<()> {
    let options = PostgresOptions::version(POSTGRES).set("wal_sender_timeout", "2s");
    let mut rig = Rig::with(Sinks::Events, &options, "")?;
    for line in ["sink retried", "left behind"] {
        rig.daemon.allow_log(line);
    }
    rig.daemon.run()?;
    rig.catch_up()?;
    let client = rig.client()?;
    let witness = Witness::start(rig.client()?, "witness")?;
    let slot = |what: &str| {
        client.value(&format!("SELECT {what} FROM pg_replication_slots WHERE slot_name = 'tidewire_shop'"))
    };
    let session = slot("active_pid")?;
    let held = slot("confirmed_flush_lsn")?;
    let mut kafka = rig.kafka.take();
    kafka.as_mut().map(|kafka| kafka.kill()).transpose()?;
    let since = client.value("SELECT clock_timestamp()")?;
    load(9).run(&rig.postgres.url("postgres"))?;
    // Longer than four of the server's limits, by the answers that the server itself has seen.
    let answered =
        format!("coalesce(max(reply_time) > '{since}'::timestamptz + interval '9s', false) FROM pg_stat_replication");
    wait::until("answers long after the sink stalled", Duration::from_secs(60), || {
        ensure!(slot("coalesce(active_pid, 0)")? == session, "the server ended the session");
        let seen = client.value(&format!("SELECT {answered} WHERE pid = {session}"))?;
        Ok((seen == "t").then_some(()))
    })?;
    let confirmed = slot("confirmed_flush_lsn")?;
    ensure!(confirmed == held, "acknowledged {confirmed} and the sink has held {held} since the broker went");
    kafka.as_mut().map(|kafka| kafka.restart()).transpose()?;
    rig.kafka = kafka;
    rig.daemon.set_patience(Duration::from_secs(120));
    rig.catch_up()?;
    rig.check_events(Some(&witness))
}

/// What was read under a snapshot that is lost is never mixed with what another one shows (PG-15).
#[test]
fn pg_15_a_snapshot_whose_sessions_are_lost_begins_anew() -> Result<()> {
    let (mut rig, proxy) = behind_proxy(Sinks::Lake)?;
    let (client, url) = (rig.client()?, rig.postgres.url("postgres"));
    client.execute(
        "INSERT INTO work_pairs SELECT 1000000 + i, 'bulk', i FROM generate_series(1, 60000) i;
         INSERT INTO work_items (id, name, note) SELECT 1000000 + i, 'bulk', repeat(md5(i::text), 8) FROM generate_series(1, 60000) i",
    )?;
    // The first cut comes in the midst of rows, the others while sessions are made for the next attempt.
    for (round, bytes) in [(0, 4_000_000), (1, 20_000), (2, 6_000)] {
        let so_far = rig.daemon.log()?.matches("source retried").count();
        proxy.cut_after(Direction::ToClient, bytes);
        if round == 0 {
            rig.daemon.run()?;
        }
        wait::until("the cut to be noticed", Duration::from_secs(60), || {
            // A truncate beside a snapshot makes it begin anew, which has its own message.
            Workload { truncates: false, transactions: 10, ..load(200 + round) }.run(&url)?;
            Ok((rig.daemon.log()?.matches("source retried").count() > so_far).then_some(()))
        })?;
        client.execute(
            "UPDATE work_pairs SET value = value + 1 WHERE a % 10 = 0; DELETE FROM work_items WHERE id % 10 = 0",
        )?;
    }
    rig.catch_up()?;
    let begun = rig.daemon.log()?.matches("the snapshot begins").count();
    ensure!(begun > 1, "a snapshot was lost in the midst and another one taken: {begun}");
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    let slots = "SELECT coalesce(string_agg(slot_name, ','), '') FROM pg_replication_slots";
    wait::until("temporary slots to be gone", Duration::from_secs(30), || {
        Ok((client.value(slots)? == "tidewire_shop").then_some(()))
    })
}
