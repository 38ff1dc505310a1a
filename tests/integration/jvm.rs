//! A mirror of many commits, deletion vectors and checkpoints, read by the library that engines on the JVM build on.

use crate::rig::{Rig, Sinks};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::time::Duration;
use tidewire_testkit::readers::{self, Reader};
use tidewire_testkit::wait;
use tidewire_testkit::workload::{TABLES, Workload};

/// A checkpoint comes after fifty commits.
const PATIENCE: Duration = Duration::from_secs(180);

/// Whether a table has a checkpoint, and entries after it that carry deletion vectors.
fn is_churned(table: &Path) -> Result<bool> {
    let log = std::fs::read_dir(table.join("_delta_log")).context("look at the log")?;
    let mut names =
        log.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<Result<Vec<_>>>()?;
    names.sort();
    let Some(checkpoint) = names.iter().rev().find(|name| name.ends_with(".checkpoint.parquet")) else {
        return Ok(false);
    };
    let version = checkpoint.split('.').next().unwrap_or_default();
    let later = names.iter().filter(|name| name.ends_with(".json") && name.split('.').next() > Some(version));
    for name in later {
        let entry = std::fs::read_to_string(table.join("_delta_log").join(name)).context("read an entry")?;
        if entry.lines().any(|line| line.starts_with("{\"add\"") && line.contains("\"deletionVector\"")) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn a_churned_mirror_is_read_on_the_jvm() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let url = rig.postgres.url("postgres");
    rig.daemon.run()?;
    rig.catch_up()?;
    let table = rig.table(TABLES[0]);
    let load = Workload {
        seed: 95,
        transactions: 100_000,
        largest: 100,
        truncates: false,
        pause: Duration::from_millis(50),
        ..Workload::default()
    };
    let running = load.start(&url)?;
    wait::until("deletion vectors after a checkpoint", PATIENCE, || Ok(is_churned(&table)?.then_some(())))?;
    running.stop()?;
    rig.catch_up()?;
    rig.check_lake(&[Reader::Kernel])?;
    // An older version, with fewer of them, is as it was.
    let older = 12;
    let then = readers::read_version(Reader::Kernel, &table, Some(older))?;
    then.must_equal(&readers::read_version(Reader::Deltalake, &table, Some(older))?, "an older version")?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}
