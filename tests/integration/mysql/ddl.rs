//! Tables change while the stream runs and while the daemon is down; rows before, between and after keep the shape of their
//! time. MY-40 to MY-49, MY-52, MY-53, MY-36, MY-79.

use super::rig::Rig;
use crate::rig::{Sinks, data_files};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidewire_testkit::mysql::DATABASE;
use tidewire_testkit::oracle;
use tidewire_testkit::readers::{self, Reader};
use tidewire_testkit::{MysqlOptions, MysqlVersion};

/// The source's table and the columns of its mirror that the source still has.
fn check_kept_columns(rig: &Rig, table: &str) -> Result<()> {
    let source = oracle::source_table(&rig.client()?, DATABASE, table)?;
    let mirror = readers::read(Reader::Duckdb, &rig.table(table))?;
    source.must_equal(&mirror.select(&source.columns)?, "the columns that the source still has")
}

/// The columns of the row with this key as it was inserted, in order of name.
fn columns_of(rig: &Rig, table: &str, id: u64) -> Result<String> {
    let rows = rig.records(table)?;
    let mut rows = rows.iter().filter_map(|r| serde_json::from_slice::<Value>(r.value.as_deref()?).ok());
    let row = rows.find(|v| (v["op"] == "c" || v["op"] == "r") && v["after"]["id"] == id);
    let row = row.with_context(|| format!("row {id} was inserted"))?;
    let mut names: Vec<String> = row["after"].as_object().into_iter().flat_map(|o| o.keys().cloned()).collect();
    names.sort();
    Ok(names.join(","))
}

fn check(options: &MysqlOptions) -> Result<()> {
    let mut rig = Rig::with(Sinks::Both, options, "")?;
    for code in ["binlog_row_metadata_not_full", "table_joined", "table_dropped"] {
        rig.daemon.allow_log(code);
    }
    let client = rig.client()?;
    client.execute("CREATE TABLE shape (id int PRIMARY KEY, a varchar(20)); INSERT INTO shape VALUES (1, 'before')")?;
    rig.daemon.run()?;
    rig.catch_up()?;
    client.execute("INSERT INTO shape VALUES (2, 'old')")?;
    client.execute("ALTER TABLE shape ADD COLUMN b int AFTER id")?;
    client.execute("INSERT INTO shape VALUES (3, 30, 'new'); UPDATE shape SET b = 10 WHERE id = 1")?;
    rig.catch_up()?;
    rig.check_mirrors(&["shape"], &[Reader::Deltalake, Reader::Duckdb])?;

    // While the daemon is down: rows before, between and after.
    ensure!(rig.daemon.terminate()? == 0);
    client.execute(
        "INSERT INTO shape VALUES (4, 1, 'x'); ALTER TABLE shape ADD COLUMN c decimal(10,2) DEFAULT 7 FIRST;
         INSERT INTO shape VALUES (3.5, 5, 2, 'y'); ALTER TABLE shape DROP COLUMN b; INSERT INTO shape VALUES (4.5, 6, 'z');
         ALTER TABLE shape CHANGE a d varchar(20), ADD UNIQUE KEY (d); INSERT INTO shape VALUES (5.5, 7, 'w')",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    for (id, columns) in [(2, "a,id"), (3, "a,b,id"), (4, "a,b,id"), (5, "a,b,c,id"), (6, "a,c,id"), (7, "c,d,id")] {
        ensure!(columns_of(&rig, "shape", id)? == columns, "row {id}: {}", columns_of(&rig, "shape", id)?);
    }
    let mirror = readers::read(Reader::Duckdb, &rig.table("shape"))?;
    for column in ["a", "b", "c", "d"] {
        ensure!(mirror.columns.contains(&column.to_owned()), "`{column}` is in the mirror");
    }

    // MY-79: the server gives old rows the default without a word in the log, so the mirror does not have it.
    for row in mirror.select(&["id".to_owned(), "c".to_owned()])?.rows {
        let old = row.first().and_then(|id| id.as_str()?.parse::<u64>().ok()).context("an id")? <= 4;
        ensure!(row.get(1).is_some_and(Value::is_null) == old, "only rows from before have no `c`: {row:?}");
    }

    // Tables come, change their names and go.
    client.execute(
        "CREATE TABLE fresh LIKE shape; INSERT INTO fresh VALUES (1, 1, 'a');
         CREATE TABLE other (id int PRIMARY KEY, v int); INSERT INTO other VALUES (1, 10);
         RENAME TABLE fresh TO renamed; INSERT INTO renamed VALUES (2, 2, 'b');
         DROP TABLE other; CREATE TABLE other (id int PRIMARY KEY, w varchar(9), v int); INSERT INTO other VALUES (1, 'again', 11)",
    )?;
    rig.catch_up()?;
    rig.check_mirrors(&["renamed", "other"], &[Reader::Deltalake])?;
    rig.check_topics(&["renamed", "other"], None)?;

    // MY-48: one goes and comes again with other columns while nobody looks.
    ensure!(rig.daemon.terminate()? == 0);
    client.execute(
        "INSERT INTO other VALUES (2, 'last', 12); DROP TABLE other;
         CREATE TABLE other (z date, v int, w varchar(9), id int PRIMARY KEY); INSERT INTO other VALUES ('2024-02-29', 13, 'first', 3)",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(columns_of(&rig, "other", 2)? == "id,v,w" && columns_of(&rig, "other", 3)? == "id,v,w,z");
    check_kept_columns(&rig, "other")?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn rows_keep_the_shape_of_their_time() -> Result<()> {
    check(&MysqlOptions::version(MysqlVersion::MySql97))
}

#[test]
fn rows_keep_the_shape_of_their_time_without_names_in_the_log() -> Result<()> {
    check(&MysqlOptions::version(MysqlVersion::MySql8031).row_metadata("MINIMAL"))
}

#[test]
fn rows_keep_the_shape_of_their_time_in_mariadb() -> Result<()> {
    check(&MysqlOptions::version(MysqlVersion::MariaDb118))
}

#[test]
fn rows_keep_the_shape_of_their_time_in_mariadb_without_metadata() -> Result<()> {
    check(&MysqlOptions::version(MysqlVersion::MariaDb105).row_metadata("NO_LOG"))
}

/// Columns that get other names keep their values, also in rows from before; no file is written anew for it.
fn check_mapped(options: &MysqlOptions) -> Result<()> {
    // Polars does not know column mapping.
    const READERS: [Reader; 3] = [Reader::Deltalake, Reader::Duckdb, Reader::Kernel];
    let mut rig = Rig::with(Sinks::Lake, options, "")?;
    rig.daemon.allow_log("binlog_row_metadata_not_full");
    let config = rig.config(Sinks::Lake, rig.server.port(), "");
    rig.daemon.write_config(&format!("{config}column_mapping = true\n"))?;
    let client = rig.client()?;
    client.execute(
        "CREATE TABLE shape (id int PRIMARY KEY, `a name, (all) {of;it}` varchar(20), v int, gone int);
         INSERT INTO shape VALUES (1, 'before', 10, 1), (2, 'x', 20, 2)",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    let folder = rig.table("shape");
    let files = || data_files(&folder);
    let before = files()?;
    for (change, row) in [
        ("CHANGE `a name, (all) {of;it}` `a=b` varchar(20)", "(3, 'y', 30, 3)"),
        ("DROP COLUMN gone", "(4, 'z', 40)"),
        ("CHANGE id `the key` int FIRST", "(5, 'k', 50)"),
        ("ADD COLUMN gone int, CHANGE `a=b` label varchar(20) AFTER v", "(6, 60, 'n', 60)"),
    ] {
        client.execute(&format!("ALTER TABLE shape {change}; INSERT INTO shape VALUES {row}"))?;
        rig.catch_up()?;
        rig.check_mirrors(&["shape"], &READERS)?;
    }
    // One file for each row, and none was rewritten.
    ensure!(files()? == before + 4, "{before} files have become {}", files()?);
    // While the daemon is stopped: one name goes from a column to another.
    ensure!(rig.daemon.terminate()? == 0);
    client.execute(
        "ALTER TABLE shape CHANGE v w int; UPDATE shape SET w = w + 1 WHERE `the key` < 3; ALTER TABLE shape CHANGE gone v int;
         UPDATE shape SET label = concat(label, '!') WHERE `the key` IN (2, 6)",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    rig.check_mirrors(&["shape"], &READERS)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_mapped_mirror_follows_the_names_of_columns() -> Result<()> {
    check_mapped(&MysqlOptions::version(MysqlVersion::MySql97))
}

#[test]
fn a_mapped_mirror_follows_the_names_of_columns_in_mariadb_without_metadata() -> Result<()> {
    check_mapped(&MysqlOptions::version(MysqlVersion::MariaDb105).row_metadata("NO_LOG"))
}

/// A copy that replaces the table at the end by a swap of names, as gh-ost and pt-online-schema-change do (MY-45, MY-46).
#[test]
fn a_table_swapped_for_its_changed_copy_goes_on() -> Result<()> {
    let mut rig = Rig::new(Sinks::Both, MysqlVersion::MySql97)?;
    let client = rig.client()?;
    client.execute(
        "CREATE TABLE shape (id int PRIMARY KEY, a varchar(20)); INSERT INTO shape VALUES (1, 'x'), (2, 'y')",
    )?;
    rig.daemon.run()?;
    rig.catch_up()?;
    client.execute(
        "CREATE TABLE _shape_new LIKE shape; ALTER TABLE _shape_new ADD COLUMN b int;
         INSERT INTO _shape_new (id, a) SELECT id, a FROM shape; UPDATE shape SET a = 'x2' WHERE id = 1;
         REPLACE INTO _shape_new (id, a) SELECT id, a FROM shape WHERE id = 1;
         RENAME TABLE shape TO _shape_old, _shape_new TO shape; INSERT INTO shape VALUES (3, 'z', 6);
         UPDATE shape SET b = 7 WHERE id = 2; DROP TABLE _shape_old",
    )?;
    rig.daemon.allow_log("table_joined");
    rig.catch_up()?;
    check_kept_columns(&rig, "shape")?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// A change in the form of a statement has no rows, and is never passed over (MY-36).
#[test]
fn a_change_logged_as_a_statement_halts() -> Result<()> {
    for version in [MysqlVersion::MySql97, MysqlVersion::MariaDb118] {
        let mut rig = Rig::new(Sinks::Lake, version)?;
        rig.daemon.run()?;
        rig.catch_up()?;
        rig.daemon.allow_log("halted");
        rig.daemon.allow_log("no source can run");
        rig.client()?.execute("SET SESSION binlog_format = STATEMENT; INSERT INTO work_pairs VALUES (1, 'x', 1)")?;
        let status = rig.daemon.wait_exit()?;
        ensure!(status.code() == Some(1), "{status}");
        let log = rig.daemon.log()?;
        let line = log.lines().rfind(|line| line.contains("source halted")).context("no line says why")?;
        ensure!(line.contains("\"code\":\"statement_dml\"") && line.contains("remedy"), "{line}");
    }
    Ok(())
}
