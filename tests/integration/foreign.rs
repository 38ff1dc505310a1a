//! Other writers on a mirror while the daemon runs: Spark halts it or is adopted, as the configuration says, and delta-rs does not
//! write at all. SK-35.

use crate::rig::{self, Rig, Sinks};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::{self, Reader, Table};
use tidewire_testkit::{fetch, oracle, spark};

/// Timestamps and decimals are what writers put down in different ways.
const TABLE: &str = "
    CREATE TABLE kept (id int PRIMARY KEY, v text, price numeric(12,2), at timestamptz, long text);
    ALTER TABLE kept ALTER long SET STORAGE EXTERNAL;
    INSERT INTO kept SELECT n, 'v' || n, n / 3.0, '0999-12-31 23:59:59.999999+00'::timestamptz + n * interval '7 days 1 microsecond',
      repeat(md5(n::text), 100) FROM generate_series(1, 60) n";

/// Without rewritings of ours, which would come in between: Spark does not notice on a local disk, or gives up.
const ADOPT: &str = "foreign_writes = \"adopt\"\ncompaction = false\n";

fn kept(rig: &Rig) -> String {
    format!("delta.`{}`", rig.table("kept").display())
}

fn delta_rs(script: &str, table: &Path) -> Result<String> {
    let mut python = Command::new(fetch::python::interpreter()?);
    let output = python.args(["-c", script]).arg(table).output().context("run delta-rs")?;
    ensure!(!output.status.success(), "delta-rs wrote to a table of ours");
    Ok(String::from_utf8_lossy(&output.stderr).into_owned())
}

/// What is compared. Spark writes timestamps in a form that delta-rs misreads outside of 1677 to 2262.
fn columns(reader: Reader) -> Vec<String> {
    let names = ["id", "v", "price", "long", "at"].map(str::to_owned);
    names.into_iter().take(if reader == Reader::Spark { 5 } else { 4 }).collect()
}

/// The source's rows of some keys.
fn of_source(client: &Client, reader: Reader, keep: impl Fn(&str) -> bool) -> Result<Table> {
    let table = oracle::source_table(client, "public", "kept")?.select(&columns(reader))?;
    let rows = table.rows.iter().filter(|row| row[0].as_str().is_some_and(&keep)).cloned().collect();
    Ok(Table::new(table.columns, rows))
}

fn of_mirror(rig: &Rig, reader: Reader, keep: impl Fn(&str) -> bool) -> Result<Table> {
    let table = readers::read(reader, &rig.table("kept"))?;
    let table = table.select(&columns(reader))?;
    let rows = table.rows.iter().filter(|row| row[0].as_str().is_some_and(&keep)).cloned().collect();
    Ok(Table::new(table.columns, rows))
}

#[test]
fn spark_may_write_where_it_is_adopted_sk_35() -> Result<()> {
    let mut rig = Rig::with(Sinks::Lake, &tidewire_testkit::PostgresOptions::version(rig::POSTGRES), ADOPT)?;
    let client = rig.client()?;
    client.execute(TABLE)?;
    // The source goes on changing what Spark deletes.
    rig.daemon.allow_log("rows_unseen");
    rig.daemon.run()?;
    rig.catch_up()?;
    let kept = kept(&rig);
    // The source has no commit on its way while Spark writes: on a local disk it would not notice one.
    client.execute("UPDATE kept SET v = 'before' WHERE id < 5; DELETE FROM kept WHERE id = 60")?;
    rig.catch_up()?;
    spark::run(&format!("OPTIMIZE {kept}"))?;
    // The log leaves `long` out: it is taken from the row as Spark wrote it.
    client.execute(
        "UPDATE kept SET v = 'after' WHERE id BETWEEN 3 AND 20; UPDATE kept SET id = id + 100 WHERE id = 21",
    )?;
    rig.catch_up()?;
    oracle::check_mirror(&client, "public", "kept", &rig.table("kept"), &[Reader::Spark])?;
    spark::run(&format!("UPDATE {kept} SET v = 'spark' WHERE id IN (1, 30, 31)"))?;
    spark::run(&format!("DELETE FROM {kept} WHERE id IN (2, 32)"))?;
    spark::run(&format!("INSERT INTO {kept} VALUES (9000, 'of spark', 1.50, timestamp'1066-10-14 09:00:00', 'x')"))?;
    client.execute("UPDATE kept SET v = 'later' WHERE id IN (30, 40); DELETE FROM kept WHERE id = 31; INSERT INTO kept VALUES (61, 'new', 0, now(), 'y')")?;
    rig.catch_up()?;
    let differs = |id: &str| ["1", "2", "32", "9000"].contains(&id);
    for kill in [false, true] {
        if kill {
            spark::run(&format!("OPTIMIZE {kept}"))?;
            rig.daemon.kill9()?;
            rig.daemon.run()?;
            client.execute("UPDATE kept SET v = 'last' WHERE id BETWEEN 41 AND 50")?;
            rig.catch_up()?;
        }
        for reader in [Reader::Deltalake, Reader::Spark] {
            let same = of_source(&client, reader, |id| !differs(id))?;
            same.must_equal(&of_mirror(&rig, reader, |id| !differs(id))?, "rows that the source changed last")?;
            let others = of_mirror(&rig, reader, differs)?;
            let seen: Vec<_> = others
                .rows
                .iter()
                .map(|row| (row[0].as_str(), row[1].as_str(), row.get(4).and_then(|at| at.as_str())))
                .collect();
            ensure!(seen.len() == 2 && seen[0].1 == Some("spark"), "{seen:?}");
            let at = Some("1066-10-14T09:00:00.000000Z").filter(|_| reader == Reader::Spark);
            ensure!(seen[1] == (Some("9000"), Some("of spark"), at), "{seen:?}");
        }
    }
    ensure!(rig.daemon.log()?.contains("a change by another writer is adopted"));
    // A row is the source's again when that changes it, also one that Spark added or deleted.
    client.execute(
        "UPDATE kept SET v = 'own', long = 'own' WHERE id IN (1, 2, 32); INSERT INTO kept VALUES (9000, 'own', 1, now(), 'z')",
    )?;
    rig.catch_up()?;
    oracle::check_mirror(&client, "public", "kept", &rig.table("kept"), &[Reader::Spark])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// Spark splits a checkpoint, and the log before it is cleaned away: the table is loaded from the parts.
#[test]
fn a_checkpoint_in_parts_of_spark_s_is_loaded_sk_34() -> Result<()> {
    let mut rig =
        Rig::with(Sinks::Lake, &tidewire_testkit::PostgresOptions::version(rig::POSTGRES), "compaction = false\n")?;
    let client = rig.client()?;
    client.execute(TABLE)?;
    rig.daemon.run()?;
    for id in 1..5 {
        client.execute(&format!("UPDATE kept SET v = 'new' WHERE id = {id}; INSERT INTO kept VALUES (100 + {id})"))?;
        rig.catch_up()?;
    }
    ensure!(rig.daemon.terminate()? == 0);
    spark::checkpoint(&rig.table("kept"), 3)?;
    let log = rig.table("kept").join("_delta_log");
    let names = std::fs::read_dir(&log)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names = names.collect::<Result<Vec<String>>>()?;
    names.sort_unstable();
    let is_part = |name: &String| name.contains(".checkpoint.0000000");
    ensure!(names.iter().filter(|name| is_part(name)).count() > 2, "Spark has not split its checkpoint: {names:?}");
    let newest = names.iter().rfind(|name| name.ends_with(".json")).context("an entry")?;
    for name in names.iter().filter(|name| name.starts_with('0') && *name != newest && !is_part(name)) {
        std::fs::remove_file(log.join(name))?;
    }
    rig.daemon.run()?;
    client.execute("UPDATE kept SET v = 'newer' WHERE id IN (2, 50, 103); DELETE FROM kept WHERE id IN (3, 51)")?;
    rig.catch_up()?;
    oracle::check_mirror(&client, "public", "kept", &rig.table("kept"), &[Reader::Deltalake, Reader::Spark])?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// The feed of a table in which others write: their versions tell what they did, and ours go on from there, whatever the source's
/// log says that a row was.
#[test]
fn a_feed_folds_to_its_source_among_writes_of_spark_s_sk_35() -> Result<()> {
    let more = format!("{ADOPT}change_data_feed = true\n");
    let mut rig = Rig::with(Sinks::Lake, &tidewire_testkit::PostgresOptions::version(rig::POSTGRES), &more)?;
    let client = rig.client()?;
    client.execute(TABLE)?;
    client.execute("ALTER TABLE kept REPLICA IDENTITY FULL")?;
    // What waits for its commit is made anew once Spark has changed rows.
    rig.daemon.allow_log("other writers came before a commit");
    // The source goes on changing what Spark deletes.
    rig.daemon.allow_log("rows_unseen");
    rig.daemon.run()?;
    rig.catch_up()?;
    let kept = kept(&rig);
    let follow = |rig: &mut Rig, changes: &str| {
        client.execute(changes)?;
        rig.catch_up()?;
        oracle::check_mirror(&client, "public", "kept", &rig.table("kept"), &[Reader::Spark])?;
        oracle::check_feed(&client, "public", "kept", rig.table("kept").as_path(), Reader::Spark)
    };
    follow(&mut rig, "UPDATE kept SET v = 'before' WHERE id < 5; DELETE FROM kept WHERE id = 60")?;
    spark::run(&format!("OPTIMIZE {kept}"))?;
    follow(
        &mut rig,
        "UPDATE kept SET v = 'after' WHERE id BETWEEN 3 AND 20; UPDATE kept SET id = id + 100 WHERE id = 21",
    )?;
    spark::run(&format!("UPDATE {kept} SET v = 'spark' WHERE id IN (1, 30, 31)"))?;
    spark::run(&format!("DELETE FROM {kept} WHERE id IN (2, 32)"))?;
    spark::run(&format!("INSERT INTO {kept} VALUES (9000, 'of spark', 1.50, timestamp'1066-10-14 09:00:00', 'x')"))?;
    let kinds = follow(
        &mut rig,
        "UPDATE kept SET v = 'own' WHERE id IN (1, 2, 30, 32); DELETE FROM kept WHERE id = 31; INSERT INTO kept VALUES (9000, 'own', 1, now(), 'z')",
    )?;
    // Of Spark's and of the source's: three rows changed and two deleted, and three changed, two that came again and one that went.
    ensure!(kinds["update_preimage"] == 4 + 18 + 3 + 3 && kinds["delete"] == 2 + 2 + 1, "{kinds:?}");
    rig.daemon.kill9()?;
    spark::run(&format!("OPTIMIZE {kept}"))?;
    rig.daemon.run()?;
    follow(&mut rig, "UPDATE kept SET v = 'last' WHERE id BETWEEN 25 AND 50")?;
    ensure!(rig.daemon.log()?.contains("a change by another writer is adopted"));
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_write_of_spark_s_halts_its_table_and_delta_rs_does_not_write_sk_35() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let (client, url) = (rig.client()?, rig.postgres.url("postgres"));
    client.execute(TABLE)?;
    rig.daemon.allow_log("table halted");
    rig.daemon.run()?;
    rig.catch_up()?;
    let append = "import sys,pyarrow as pa;from deltalake import write_deltalake as w;w(sys.argv[1],pa.table({'id':pa.array([7000],pa.int32())}),mode='append',schema_mode='merge')";
    let delete = "import sys;from deltalake import DeltaTable as T;T(sys.argv[1]).delete()";
    let vacuum = "import sys;from deltalake import DeltaTable as T;T(sys.argv[1]).vacuum(0,dry_run=False,enforce_retention_duration=False,full=True)";
    // Of the second change's vectors those of the first are left over, for a vacuum to find.
    for value in ["one", "two"] {
        client.execute(&format!("UPDATE kept SET v = '{value}' WHERE id < 9"))?;
        rig.catch_up()?;
    }
    for script in [append, delete, vacuum] {
        let refusal = delta_rs(script, &rig.table("kept"))?;
        ensure!(refusal.to_lowercase().contains("domainmetadata"), "{refusal}");
    }
    oracle::check_mirror(&client, "public", "kept", &rig.table("kept"), &[Reader::Deltalake])?;
    spark::run(&format!("DELETE FROM {} WHERE id = 50", kept(&rig)))?;
    client.execute("UPDATE kept SET v = 'two' WHERE id < 5; INSERT INTO work_log (line) VALUES ('on')")?;
    rig.catch_up()?;
    let log = rig.daemon.log()?;
    let line = log
        .lines()
        .find(|line| line.contains("table halted") && line.contains("public.kept"))
        .context("it is halted")?;
    for part in ["foreign_write", "operation `DELETE`", "Apache-Spark", "adopt"] {
        ensure!(line.contains(part), "{line} does not say {part}");
    }
    rig.check_lake(&[Reader::Deltalake])?;
    // The operator does what the line says.
    ensure!(rig.daemon.terminate()? == 0);
    rig.daemon.write_config(&rig::config(&url, None, Some(rig.lake.path()), ADOPT))?;
    rig.daemon.run()?;
    client.execute("UPDATE kept SET v = 'three' WHERE id < 3")?;
    rig.catch_up()?;
    let is_other = |id: &str| id != "50";
    of_source(&client, Reader::Deltalake, is_other)?
        .must_equal(&of_mirror(&rig, Reader::Deltalake, |_| true)?, "all rows but the one that Spark deleted")?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}
