//! What a mirror's commits say that they changed is what the source changed: delta-rs reads the change data feed, and folding
//! it gives the source's table.

use crate::rig::{POSTGRES, Rig, Sinks};
use anyhow::Result;
use tidewire_testkit::PostgresOptions;
use tidewire_testkit::oracle::check_feed;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::workload::{TABLES, Workload};

#[test]
fn a_feed_folds_to_its_source() -> Result<()> {
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), "change_data_feed = true\n")?;
    let (url, client) = (rig.postgres.url("postgres"), rig.client()?);
    client.execute("CREATE TABLE plain (id int PRIMARY KEY, v text)")?;
    // Of one table the log carries old rows whole, of the others they are read from the table.
    client.execute("CREATE TABLE whole (id int PRIMARY KEY, v text, n numeric(9,2))")?;
    client.execute("ALTER TABLE whole REPLICA IDENTITY FULL")?;
    Workload { transactions: 60, seed: 1, ..Workload::default() }.run(&url)?;
    client.execute("INSERT INTO whole SELECT i, 'v' || i, i FROM generate_series(1, 500) i")?;
    client.execute("INSERT INTO plain SELECT i, 'v' || i FROM generate_series(1, 500) i")?;
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
        for table in ["plain", "whole"] {
            client.execute(&change.replacen("{}", table, 1))?;
        }
        rig.catch_up()?;
    }
    for table in TABLES.into_iter().chain(["whole", "plain"]) {
        check_feed(&client, "public", table, rig.table(table).as_path())?;
    }
    rig.check_lake(&Reader::ALL)?;
    assert_eq!(rig.daemon.terminate()?, 0);
    Ok(())
}
