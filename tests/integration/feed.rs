//! What a mirror's commits say that they changed is what the source changed: delta-rs and Spark read the change data feed, and
//! folding it gives the source's table.

use crate::rig::{POSTGRES, Rig, Sinks};
use anyhow::{Context, Result};
use tidewire_testkit::PostgresOptions;
use tidewire_testkit::oracle::check_feed;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::{TABLES, Workload};

#[test]
fn a_feed_folds_to_its_source() -> Result<()> {
    let more = "change_data_feed = true\nkeyless = \"rows\"\n";
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), more)?;
    let (url, client) = (rig.postgres.url("postgres"), rig.client()?);
    client.execute("CREATE TABLE plain (id int PRIMARY KEY, v text)")?;
    // Of one table the log carries old rows whole, of the others they are read from the table.
    client.execute("CREATE TABLE whole (id int PRIMARY KEY, v text, n numeric(9,2))")?;
    client.execute("ALTER TABLE whole REPLICA IDENTITY FULL")?;
    // And one has no key: nearly all of its rows have equals.
    client.execute("CREATE TABLE bag (id int, v text)")?;
    client.execute("ALTER TABLE bag REPLICA IDENTITY FULL")?;
    Workload { transactions: 60, seed: 1, ..Workload::default() }.run(&url)?;
    client.execute("INSERT INTO whole SELECT i, 'v' || i, i FROM generate_series(1, 500) i")?;
    client.execute("INSERT INTO plain SELECT i, 'v' || i FROM generate_series(1, 500) i")?;
    client.execute("INSERT INTO bag SELECT i % 50, 'v' || i % 50 FROM generate_series(1, 500) i")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    Workload { transactions: 120, seed: 2, ..Workload::default() }.run(&url)?;
    for change in [
        "UPDATE {} SET v = 'w' || id WHERE id % 3 = 0",
        "DELETE FROM {} WHERE id % 5 = 0",
        "UPDATE {} SET id = id + 1000 WHERE id % 7 = 0",
        "ALTER TABLE {} ADD COLUMN later int",
        "UPDATE {} SET v = 'x', later = 6 WHERE id % 4 = 0",
        "TRUNCATE {}",
        "INSERT INTO {} (id, v) SELECT i, 'z' || i FROM generate_series(1, 50) i",
        "UPDATE {} SET v = 'y' WHERE id < 30",
    ] {
        for table in ["plain", "whole", "bag"] {
            client.execute(&change.replacen("{}", table, 1))?;
        }
        rig.catch_up()?;
    }
    for table in TABLES.into_iter().chain(["whole", "plain", "bag"]) {
        check_feed(&client, "public", table, rig.table(table).as_path(), Reader::Deltalake)?;
    }
    rig.check_lake(&Reader::ALL)?;
    assert_eq!(rig.daemon.terminate()?, 0);
    Ok(())
}

#[test]
fn a_feed_goes_with_partitions_mapped_columns_and_files_written_anew() -> Result<()> {
    use Reader::{Deltalake, Spark};
    let shapes: [(&str, &[Reader], &[&str]); 4] = [
        ("[sinks.lake.delta.partition_by]\n\"public.t\" = [\"region\", \"flag\"]\n", &[Deltalake, Spark], &[]),
        // delta-rs refuses the feed of a mapped table.
        ("column_mapping = true\n", &[Spark], &["ALTER TABLE t ADD COLUMN later int"]),
        ("added_defaults = \"fill\"\n", &[Deltalake, Spark], &["ALTER TABLE t ADD COLUMN later int DEFAULT 5"]),
        // Spark refuses versions of two types in one question.
        ("widening = \"rewrite\"\n", &[Deltalake], &["ALTER TABLE t ALTER COLUMN n TYPE bigint"]),
    ];
    for (more, readers, changes) in shapes {
        let more = format!("change_data_feed = true\n{more}");
        let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), &more)?;
        let client = rig.client()?;
        client.execute("CREATE TABLE t (id int PRIMARY KEY, region text, flag bool, n int, v text)")?;
        let rows = "SELECT i, (ARRAY['a', 'b_c', 'd-e', NULL])[i % 4 + 1], i % 2 = 0, i, 'v' || i";
        client.execute(&format!("INSERT INTO t {rows} FROM generate_series(1, 200) i"))?;
        rig.daemon.run()?;
        rig.catch_up()?;
        for change in
            ["UPDATE t SET v = 'w' WHERE id % 3 = 0", "DELETE FROM t WHERE id % 11 = 0"].iter().chain(changes).chain(&[
                "UPDATE t SET region = 'moved', n = n + 1 WHERE id % 7 = 0",
                "UPDATE t SET id = id + 1000 WHERE id % 13 = 0",
                "TRUNCATE t",
                "INSERT INTO t (id, region, flag, n) SELECT i, 'a', i % 2 = 0, i FROM generate_series(1, 50) i",
                "UPDATE t SET flag = NOT flag WHERE id < 30",
            ])
        {
            client.execute(change)?;
            rig.catch_up()?;
        }
        for reader in readers {
            check_feed(&client, "public", "t", rig.table("t").as_path(), *reader)
                .with_context(|| format!("by {} with {more}", reader.name()))?;
        }
        assert_eq!(rig.daemon.terminate()?, 0);
    }
    Ok(())
}
