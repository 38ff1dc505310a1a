//! A partitioned mirror is its source's table for every reader, with null among the values.

use crate::rig::{POSTGRES, Rig, Sinks};
use anyhow::{Result, ensure};
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

/// A first reading comes in the order of the table, which is none of the partitions: of 150 each has an open file, of a thousand
/// rows wait in memory and on disk.
#[test]
fn a_first_reading_of_many_partitions_makes_few_files() -> Result<()> {
    let more = "compaction = false\n[sinks.lake.delta.partition_by]\n\"public.visits\" = [\"shop\"]\n\"public.orders\" = [\"shop\"]\n";
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), more)?;
    let client = rig.client()?;
    for (table, shops, rows) in [("visits", 150, 100_000), ("orders", 1_000, 400_000)] {
        client.execute(&format!("CREATE TABLE {table} (id int PRIMARY KEY, shop int, v text)"))?;
        let rows = format!(
            "SELECT i, (i::bigint * 7919 % {shops})::int, repeat(md5(i::text), 6) FROM generate_series(1, {rows}) i"
        );
        client.execute(&format!("INSERT INTO {table} {rows}"))?;
    }
    rig.daemon.run()?;
    rig.catch_up()?;
    for (table, shops) in [("visits", 150), ("orders", 1_000)] {
        let folder = |shop: i32| rig.table(table).as_path().join(format!("shop={shop}"));
        let count = |shop| Ok(std::fs::read_dir(folder(shop))?.count());
        let files = (0..shops).map(count).collect::<Result<Vec<usize>>>()?;
        ensure!(files.iter().all(|files| *files == 1), "one file for each shop of {table}: {files:?}");
        check_mirror(&client, "public", table, rig.table(table).as_path(), &[Reader::Deltalake, Reader::Duckdb])?;
    }
    assert_eq!(rig.daemon.terminate()?, 0);
    Ok(())
}

/// Names of places, and texts that mean something in paths, addresses and shells.
const CITIES: [&str; 36] = [
    "plain",
    "New York",
    " leading",
    "trailing ",
    " ",
    ".",
    "..",
    "../up",
    "/etc",
    "a/b",
    "a//b/",
    "a\\b",
    "a=b",
    "a:b",
    "a%20b",
    "%",
    "%2F",
    "%%zz",
    "a+b",
    "#?&",
    "*",
    "~",
    "\"quoted\"",
    "it's",
    "[x]",
    "{y}",
    "<z>|^`",
    "tab\tand\nline\r",
    "\u{1}\u{7f}",
    "null",
    "\u{e9}",
    "e\u{301}",
    "\u{65e5}\u{672c} \u{6771}\u{4eac}",
    "\u{1f980}",
    "Krak\u{f3}w, (PL); $1",
    "_delta_log",
];

/// A table of them, as SQL.
pub(crate) fn cities() -> String {
    let longest = ["x".repeat(190), "\u{e9}".repeat(31)];
    let texts = CITIES.into_iter().chain(longest.iter().map(String::as_str));
    let rows = texts.zip(1..).map(|(text, id)| format!("({id}, '{}')", text.replace('\'', "''"))).collect::<Vec<_>>();
    format!(
        "CREATE TABLE cities (id int PRIMARY KEY, city text, v text);
         INSERT INTO cities SELECT id, city, 'v' || id FROM (VALUES {}) AS names (id, city);
         INSERT INTO cities VALUES (1001, NULL, 'null')",
        rows.join(", ")
    )
}

/// Rows go to other partitions, and to where they were.
pub(crate) const MOVES: [&str; 4] = [
    "INSERT INTO cities SELECT id + 100, city, v FROM cities WHERE id < 1000",
    "UPDATE cities SET city = (SELECT city FROM cities c WHERE c.id = cities.id + 1) WHERE id < 30",
    "UPDATE cities SET v = 'w' WHERE id % 3 = 0",
    "DELETE FROM cities WHERE id % 4 = 0",
];

#[test]
fn partitions_of_any_text_are_read_by_all() -> Result<()> {
    let more = "[sinks.lake.delta.partition_by]\n\"public.cities\" = [\"city\"]\n";
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), more)?;
    let client = rig.client()?;
    client.execute(&cities())?;
    rig.daemon.run()?;
    rig.catch_up()?;
    check_mirror(&client, "public", "cities", rig.table("cities").as_path(), &Reader::ALL)?;
    for change in MOVES {
        client.execute(change)?;
        rig.catch_up()?;
    }
    rig.daemon.kill9()?;
    rig.daemon.run()?;
    client.execute("UPDATE cities SET city = city || ' ' || id WHERE id BETWEEN 101 AND 120")?;
    rig.catch_up()?;
    check_mirror(&client, "public", "cities", rig.table("cities").as_path(), &Reader::ALL)?;
    assert_eq!(rig.daemon.terminate()?, 0);
    Ok(())
}

#[test]
fn files_are_written_anew_within_their_partitions() -> Result<()> {
    let more = "widening = \"rewrite\"\nadded_defaults = \"fill\"\n[sinks.lake.delta.partition_by]\n\"public.parts\" = [\"region\", \"number\"]\n";
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), more)?;
    let client = rig.client()?;
    client.execute(
        "CREATE TABLE parts (id int, region text, number int, price numeric(7,2), v text, PRIMARY KEY (id, number));
         INSERT INTO parts SELECT i, (ARRAY['a', 'b_c', NULL])[i % 3 + 1], i % 4, i * 0.25, 'v' || i FROM generate_series(1, 200) i",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    for (round, change) in (1..).zip([
        "ALTER id TYPE bigint, ALTER price TYPE numeric(9,4)",
        // A column of the key and of the partitions.
        "ALTER number TYPE bigint",
        "ADD c int NOT NULL DEFAULT 5, ADD d text DEFAULT 'd'",
    ]) {
        client.execute(&format!(
            "DELETE FROM parts WHERE id % 11 = {round}; UPDATE parts SET v = 'w' WHERE id % 13 = 0"
        ))?;
        rig.catch_up()?;
        // Rows before and after in one transaction, also such as go to another partition.
        client.execute(&format!(
            "BEGIN; UPDATE parts SET v = v || '.' WHERE id < 20; ALTER TABLE parts {change};
             INSERT INTO parts (id, region, number, v) VALUES (1000 + {round}, 'late', 4, 'new');
             UPDATE parts SET region = 'moved' WHERE id % 7 = {round}; DELETE FROM parts WHERE id = 2 + {round}; COMMIT"
        ))?;
        rig.catch_up()?;
        check_mirror(&client, "public", "parts", rig.table("parts").as_path(), &Reader::ALL)?;
    }
    client.execute("INSERT INTO parts VALUES (5000000000, 'late', 3000000000, 1.2345, 'wide')")?;
    rig.catch_up()?;
    // While the daemon is stopped, and killed after that.
    ensure!(rig.daemon.terminate()? == 0);
    client
        .execute("ALTER TABLE parts ADD e bigint DEFAULT 6; UPDATE parts SET number = number + 1 WHERE id % 17 = 0")?;
    rig.daemon.run()?;
    rig.daemon.kill9()?;
    rig.daemon.run()?;
    rig.catch_up()?;
    check_mirror(&client, "public", "parts", rig.table("parts").as_path(), &Reader::ALL)?;
    assert_eq!(rig.daemon.terminate()?, 0);
    Ok(())
}

/// A partitioned mirror, set up by `more`, through these changes of its columns, as these readers see it.
fn follows(more: &str, changes: &[&str], readers: &[Reader]) -> Result<()> {
    let more = format!("{more}[sinks.lake.delta.partition_by]\n\"public.parts\" = [\"region\", \"number\"]\n");
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), &more)?;
    let client = rig.client()?;
    client.execute(
        "CREATE TABLE parts (id int PRIMARY KEY, gone int, region text, number int, v text, n smallint);
         INSERT INTO parts SELECT i, i, (ARRAY['a', 'b_c', NULL])[i % 3 + 1], i % 4, 'v' || i, i FROM generate_series(1, 100) i",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    for (round, change) in (1..).zip(changes) {
        client.execute(&format!(
            "BEGIN; UPDATE parts SET v = v || '.' WHERE id < 20; ALTER TABLE parts {change}; UPDATE parts SET v = 'w' WHERE id % 7 = {round};
             INSERT INTO parts (id, v) VALUES ({round}000, 'new');
             DELETE FROM parts WHERE id = 3 + {round}; COMMIT"
        ))?;
        rig.catch_up()?;
        check_mirror(&client, "public", "parts", rig.table("parts").as_path(), readers)?;
    }
    ensure!(rig.daemon.terminate()? == 0);
    client.execute("UPDATE parts SET v = 'late' WHERE id % 5 = 0")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    check_mirror(&client, "public", "parts", rig.table("parts").as_path(), readers)?;
    assert_eq!(rig.daemon.terminate()?, 0);
    Ok(())
}

#[test]
fn partitions_follow_the_names_of_their_columns() -> Result<()> {
    let changes = ["RENAME region TO \"a region, with = and (all)\"", "DROP gone", "RENAME number TO \"NUMBER\""];
    // DuckDB shows null in the partition columns of mapped tables (duckdb-delta 343), and Polars refuses them.
    follows("column_mapping = true\n", &changes, &[Reader::Deltalake, Reader::Kernel, Reader::Spark])
}

#[test]
fn partitions_follow_the_types_of_their_columns() -> Result<()> {
    let changes = ["ALTER n TYPE int", "ALTER number TYPE bigint, ALTER n TYPE bigint", "ALTER id TYPE bigint"];
    follows("widening = \"types\"\n", &changes, &[Reader::Duckdb, Reader::Kernel, Reader::Spark])
}
