//! Tables without a key: a mirror finds their rows by all their values, and of equal ones holds as many as the source; all readers
//! agree. Unless it is told to, they are changelogs. PG-29b, MY-23.

use crate::mysql::rig as mysql;
use crate::rig::{POSTGRES, Rig, Sinks, config};
use anyhow::{Result, ensure};
use tidewire_testkit::oracle::{check_current, check_mirror, source_table};
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::{Reader, read};
use tidewire_testkit::{MysqlOptions, MysqlVersion, PostgresOptions};

/// Changes of single rows among equals, and of many. `{}` is the table.
const CHANGES: [&str; 8] = [
    "INSERT INTO {} SELECT * FROM {} WHERE a = 1",
    "UPDATE {} SET v = 'w' WHERE a = 1",
    "UPDATE {} SET v = v",
    "UPDATE {} SET f = -f, n = NULL WHERE a = 3",
    "DELETE FROM {} WHERE a = 2",
    "INSERT INTO {} (a, v) VALUES (2, NULL), (2, NULL), (NULL, ''), (NULL, ''), (2, '')",
    "ALTER TABLE {} ADD COLUMN later int",
    "UPDATE {} SET later = 1 WHERE a = 3",
];

/// Five rows, each many times.
fn fill(table: &str) -> String {
    let rows = |a: u32| format!("({a}, 'v', 1.5, 0.{a}, '2024-01-0{a} 00:00:00.5')");
    let rows = (0..200).map(|at| rows(at % 5 + 1)).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO {table} (a, v, n, f, t) VALUES {rows}")
}

const ROWS: &str = "keyless = \"rows\"\n";

fn postgres(more: &str) -> Result<(Rig, Client)> {
    let rig = Rig::with(Sinks::Lake, &PostgresOptions::version(POSTGRES), &format!("{ROWS}{more}"))?;
    let client = rig.client()?;
    // Numbers that print otherwise are others.
    client.execute("CREATE TABLE bag (a int, v text, n numeric, f float8, t timestamp, l int[], j jsonb, big text)")?;
    client.execute("ALTER TABLE bag REPLICA IDENTITY FULL")?;
    client.execute("ALTER TABLE bag ALTER COLUMN big SET STORAGE EXTERNAL")?;
    client.execute(&fill("bag"))?;
    client.execute("UPDATE bag SET l = ARRAY[a, NULL], j = '{\"k\": 1}', n = 1.50 WHERE a = 4")?;
    client.execute("UPDATE bag SET big = repeat('x', 9000), f = 'NaN' WHERE a = 5")?;
    Ok((rig, client))
}

/// Deletes one of the rows that equal the first.
fn delete_one(client: &Client) -> Result<()> {
    client.execute("DELETE FROM bag WHERE ctid = (SELECT ctid FROM bag WHERE a = 1 ORDER BY ctid LIMIT 1)")?;
    client.execute("UPDATE bag SET v = 'one' WHERE ctid = (SELECT ctid FROM bag WHERE a = 5 ORDER BY ctid LIMIT 1)")?;
    Ok(())
}

#[test]
fn equal_rows_of_postgresql_are_as_many_as_there() -> Result<()> {
    let (mut rig, client) = postgres("")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    check_mirror(&client, "public", "bag", &rig.table("bag"), &Reader::ALL)?;
    delete_one(&client)?;
    rig.catch_up()?;
    check_mirror(&client, "public", "bag", &rig.table("bag"), &Reader::ALL)?;
    for (at, change) in CHANGES.iter().enumerate() {
        client.execute(&change.replace("{}", "bag"))?;
        match at % 3 {
            0 => rig.daemon.kill9()?,
            1 => ensure!(rig.daemon.terminate()? == 0),
            _ => {}
        }
        if at % 3 < 2 {
            delete_one(&client)?;
            rig.daemon.run()?;
        }
        rig.catch_up()?;
        check_mirror(&client, "public", "bag", &rig.table("bag"), &[Reader::Duckdb])?;
    }
    check_mirror(&client, "public", "bag", &rig.table("bag"), &Reader::ALL)?;
    client.execute("TRUNCATE bag")?;
    client.execute(&fill("bag"))?;
    delete_one(&client)?;
    rig.catch_up()?;
    check_mirror(&client, "public", "bag", &rig.table("bag"), &Reader::ALL)?;
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn equal_rows_are_found_under_other_names_and_wider_types() -> Result<()> {
    // Polars does not know column mapping.
    const READERS: [Reader; 3] = [Reader::Deltalake, Reader::Duckdb, Reader::Kernel];
    let (mut rig, client) = postgres("column_mapping = true\nwidening = \"rewrite\"\n")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    check_mirror(&client, "public", "bag", &rig.table("bag"), &READERS)?;
    let changes = [
        ("RENAME v TO \"another (v)\"", "a", "another (v)"),
        ("ALTER a TYPE bigint", "a", "another (v)"),
        ("ADD later int", "a", "another (v)"),
        ("RENAME a TO number", "number", "another (v)"),
        ("ALTER l TYPE bigint[]", "number", "another (v)"),
        ("RENAME \"another (v)\" TO v", "number", "v"),
    ];
    for (at, (change, number, text)) in changes.into_iter().enumerate() {
        let is_stopped = at % 2 == 1;
        if is_stopped {
            ensure!(rig.daemon.terminate()? == 0);
        }
        client.execute(&format!("ALTER TABLE bag {change}"))?;
        let one = |of: u32| format!("ctid = (SELECT ctid FROM bag WHERE {number} = {of} ORDER BY ctid LIMIT 1)");
        client.execute(&format!("DELETE FROM bag WHERE {}", one(1)))?;
        client.execute(&format!("UPDATE bag SET \"{text}\" = 'one' WHERE {}", one(5)))?;
        client.execute(&format!("INSERT INTO bag SELECT * FROM bag WHERE {}", one(4)))?;
        if is_stopped {
            rig.daemon.run()?;
        }
        rig.catch_up()?;
        check_mirror(&client, "public", "bag", &rig.table("bag"), &READERS)?;
    }
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_history_holds_as_many_equal_rows_as_there_are() -> Result<()> {
    let (mut rig, client) = postgres("mode = \"history\"\n")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    check_current(&client, "public", "bag", &rig.table("bag"), &Reader::ALL)?;
    for (at, change) in CHANGES.iter().enumerate() {
        client.execute(&change.replace("{}", "bag"))?;
        if at % 3 == 0 {
            rig.daemon.kill9()?;
            delete_one(&client)?;
            rig.daemon.run()?;
        }
        rig.catch_up()?;
        check_current(&client, "public", "bag", &rig.table("bag"), &[Reader::Duckdb])?;
    }
    client.execute("TRUNCATE bag")?;
    client.execute(&fill("bag"))?;
    delete_one(&client)?;
    rig.catch_up()?;
    check_current(&client, "public", "bag", &rig.table("bag"), &Reader::ALL)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

fn check_mysql(version: MysqlVersion) -> Result<()> {
    let mut rig = mysql::Rig::with(Sinks::Lake, &MysqlOptions::version(version), "")?;
    let config = rig.config(Sinks::Lake, rig.server.port(), "");
    rig.daemon.write_config(&format!("{config}{ROWS}"))?;
    let client = rig.client()?;
    client.execute(
        "CREATE TABLE bag (a INT, v VARCHAR(20), n DECIMAL(9,2), f DOUBLE, t DATETIME(3), u BIGINT UNSIGNED, j JSON, b BLOB)",
    )?;
    client.execute(&fill("bag"))?;
    client.execute("UPDATE bag SET u = 18446744073709551615, j = '{\"k\": [1, 2.50]}', b = 0x00ff WHERE a = 4")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_mirrors(&["bag"], &Reader::ALL)?;
    for (at, change) in CHANGES.iter().enumerate() {
        client.execute(&change.replace("{}", "bag"))?;
        client.execute("DELETE FROM bag WHERE a = 1 LIMIT 1")?;
        client.execute("UPDATE bag SET v = 'one' WHERE a = 5 LIMIT 1")?;
        if at % 3 == 0 {
            rig.daemon.kill9()?;
            client.execute("DELETE FROM bag WHERE a = 4 LIMIT 2")?;
            rig.daemon.run()?;
        }
        rig.catch_up()?;
        rig.check_mirrors(&["bag"], &[Reader::Duckdb])?;
    }
    rig.check_mirrors(&["bag"], &Reader::ALL)?;
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn equal_rows_of_mysql_are_as_many_as_there() -> Result<()> {
    check_mysql(mysql::NEWEST)
}

#[test]
fn equal_rows_of_mariadb_are_as_many_as_there() -> Result<()> {
    check_mysql(MysqlVersion::MariaDb118)
}

#[test]
fn without_a_word_they_are_changelogs() -> Result<()> {
    let (mut rig, client) = postgres("")?;
    rig.daemon.write_config(&config(&rig.postgres.url("postgres"), None, Some(rig.lake.path()), ""))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    let rows = source_table(&client, "public", "bag")?.rows.len();
    delete_one(&client)?;
    rig.catch_up()?;
    let shown = read(Reader::Duckdb, &rig.table("bag"))?;
    let op = shown.select(&["_op".to_owned()])?;
    let ops = |word: &str| op.rows.iter().filter(|row| row.first().is_some_and(|op| op == word)).count();
    ensure!((ops("r"), ops("d"), ops("u"), op.rows.len()) == (rows, 1, 1, rows + 2), "{:?}", op.rows);
    ensure!(rig.daemon.log()?.contains("it is written as a changelog"));
    rig.check_lake(&[Reader::Deltalake])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}
