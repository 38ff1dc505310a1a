//! A partitioned mirror is its source's table for every reader, with null among the values.

use crate::rig::{POSTGRES, Rig, Sinks};
use anyhow::Result;
use tidewire_testkit::PostgresOptions;
use tidewire_testkit::oracle::check_mirror;
use tidewire_testkit::readers::Reader;

#[test]
fn partitions_are_read_by_all() -> Result<()> {
    let more =
        "[sinks.lake.delta.partition_by]\n\"public.parts\" = [\"region\", \"day\", \"flag\", \"price\", \"number\"]\n";
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), more)?;
    let client = rig.client()?;
    client.execute(
        "CREATE TABLE parts (id int, region text, day date, flag bool, price numeric(9,2), number int, v text, PRIMARY KEY (id, number))",
    )?;
    let rows = "SELECT i, (ARRAY['a', 'b_c', 'd-e', 'F.1', NULL])[i % 5 + 1], DATE '2024-02-27' + i % 3, i % 2 = 0, i % 2 - 0.5, i % 2, 'v' || i";
    client.execute(&format!("INSERT INTO parts {rows} FROM generate_series(1, 100) i"))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    for change in [
        "INSERT INTO parts SELECT i + 1000, 'late', NULL, NULL, NULL, 7, NULL FROM generate_series(1, 50) i",
        "UPDATE parts SET v = 'w' WHERE id % 3 = 0",
        "UPDATE parts SET region = 'moved', day = '0999-12-31' WHERE id % 7 = 0",
        "DELETE FROM parts WHERE id % 11 = 0",
        "UPDATE parts SET number = number + 1 WHERE id % 13 = 0",
    ] {
        client.execute(change)?;
        rig.catch_up()?;
    }
    check_mirror(&client, "public", "parts", rig.table("parts").as_path(), &Reader::ALL)?;
    assert_eq!(rig.daemon.terminate()?, 0);
    Ok(())
}
