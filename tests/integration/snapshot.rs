//! The first reading and the hand-over to the log, killed at any point of it: the end equals the source, and no
//! slot is left over. PG-15, PG-18.

use crate::rig::{Rig, Sinks};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};
use tidewire_testkit::readers::Reader;
use tidewire_testkit::wait;
use tidewire_testkit::workload::{Dice, Workload};

/// Rows that make the snapshot long enough to be hit.
fn bulk(rig: &Rig) -> Result<()> {
    let client = rig.client()?;
    client.execute(
        "INSERT INTO work_items (id, name, quantity, price, note, is_open, made_at)
         SELECT 1000000 + i, 'item ' || i, i, i / 7.0, repeat(md5(i::text), 4), i % 2 = 0, now() FROM generate_series(1, 60000) i;
         INSERT INTO work_pairs SELECT 1000000 + i, 'bulk', i FROM generate_series(1, 60000) i",
    )?;
    Ok(())
}

fn slots(rig: &Rig) -> Result<String> {
    rig.client()?.value("SELECT coalesce(string_agg(slot_name, ','), '') FROM pg_replication_slots")
}

#[test]
fn the_hand_over_has_no_gap_and_no_overlap() -> Result<()> {
    let mut rig = Rig::new(Sinks::Both)?;
    bulk(&rig)?;
    // A truncate beside a snapshot makes it begin anew, which has its own message.
    let load = Workload { transactions: 1_500, largest: 50, truncates: false, ..Workload::default() };
    let running = Workload { pause: Duration::from_millis(1), ..load }.start(&rig.postgres.url("postgres"))?;
    rig.daemon.run()?;
    rig.daemon.wait_for("the stream", |status| status["sources"]["shop"]["state"] == "streaming")?;
    running.join()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    rig.check_events(None)?;
    ensure!(slots(&rig)? == "tidewire_shop");
    Ok(())
}

#[test]
fn a_snapshot_killed_anywhere_ends_equal_to_its_source() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    rig.daemon.allow_log("slot_active");
    bulk(&rig)?;
    let url = rig.postgres.url("postgres");
    let mut dice = Dice::new(5);
    for round in 0..12 {
        let running = Workload { seed: round, transactions: 60, largest: 40, ..Workload::default() }.start(&url)?;
        rig.daemon.run()?;
        let moment = Instant::now() + Duration::from_millis(30 + dice.below(900));
        wait::until(
            "the moment of the kill",
            Duration::from_secs(10),
            || Ok((Instant::now() >= moment).then_some(())),
        )?;
        rig.daemon.kill9()?;
        running.join()?;
    }
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Deltalake])?;
    wait::until("temporary slots to be gone", Duration::from_secs(30), || {
        Ok((slots(&rig)? == "tidewire_shop").then_some(()))
    })
}
