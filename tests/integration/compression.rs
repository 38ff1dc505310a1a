//! Every reader reads data files of each codec, and a table that has files of all of them.

use crate::rig::{POSTGRES, Rig, Sinks, config};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::path::Path;
use tidewire_testkit::PostgresOptions;
use tidewire_testkit::oracle::{check_feed, check_mirror};
use tidewire_testkit::readers::Reader;

/// And what small commits on a disk are without a word of it.
const CODECS: [&str; 4] = ["zstd", "snappy", "lz4", "none"];

/// The codecs that the names of files tell, below a folder.
fn codecs(folder: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))? {
        let name = entry?.file_name().into_string().ok().context("a name is text")?;
        let name = name.strip_suffix(".parquet");
        found.extend(name.map(|name| name.rsplit_once('.').map_or("none", |(_, codec)| codec).to_owned()));
    }
    Ok(found)
}

#[test]
fn files_of_every_codec_are_read_by_all() -> Result<()> {
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), "")?;
    let client = rig.client()?;
    let url = rig.postgres.url("postgres");
    let with = |codec: &str| {
        let said = if codec == "none" { String::new() } else { format!("compression = \"{codec}\"\n") };
        let more = format!("compaction = false\nchange_data_feed = true\n{said}");
        config(&url, None, Some(rig.lake.path()), &more)
    };
    let configs = CODECS.map(with);
    for table in CODECS.into_iter().chain(["mixed"]) {
        client.execute(&format!(
            "CREATE TABLE {table} (id int PRIMARY KEY, v text, n numeric(9,2), at timestamptz, list int[])"
        ))?;
    }
    for (number, (codec, config)) in (0..).zip(CODECS.iter().zip(&configs)) {
        // One table that has rows from this codec's time only, and one from all times.
        for table in [codec, "mixed"] {
            client.execute(&format!(
                "INSERT INTO {table} SELECT i, repeat('v', i % 50) || i, i / 4.0, TIMESTAMPTZ '2024-02-29 12:00+00' + i * INTERVAL '1 minute', ARRAY[i, NULL]
                 FROM generate_series({number} * 3000 + 1, {number} * 3000 + 3000) i"
            ))?;
        }
        rig.daemon.write_config(config)?;
        rig.daemon.run()?;
        rig.catch_up()?;
        for change in ["UPDATE {} SET v = 'w' WHERE id % 7 = 0", "DELETE FROM {} WHERE id % 11 = 0"] {
            for table in [codec, "mixed"] {
                client.execute(&change.replacen("{}", table, 1))?;
            }
            rig.catch_up()?;
        }
        ensure!(rig.daemon.terminate()? == 0);
        let own = BTreeSet::from([(*codec).to_owned()]);
        ensure!(codecs(&rig.table(codec))? == own, "{codec}");
        // Files of changes are never merged into others.
        let own = BTreeSet::from([if *codec == "none" { "snappy" } else { codec }.to_owned()]);
        ensure!(codecs(&rig.table(codec).join("_change_data"))? == own, "{codec}");
    }
    ensure!(codecs(&rig.table("mixed"))? == CODECS.map(str::to_owned).into());
    for table in CODECS.into_iter().chain(["mixed"]) {
        check_mirror(&client, "public", table, rig.table(table).as_path(), &Reader::ALL)?;
        for reader in [Reader::Deltalake, Reader::Spark] {
            check_feed(&client, "public", table, rig.table(table).as_path(), reader)?;
        }
    }
    Ok(())
}
