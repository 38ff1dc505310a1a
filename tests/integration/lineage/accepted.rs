//! A publication that was narrowed, or a table that was made anew, halts each start until the operator accepts it: what was
//! left out in between is in no log, whatever the publication shows later. PG-11, PG-49.

use super::halted;
use crate::rig::{self, POSTGRES, Rig, Sinks};
use anyhow::{Context, Result, ensure};
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::{self, Reader};
use tidewire_testkit::{PostgresOptions, oracle};

/// A lake that holds a row of `t`, and a daemon that is stopped. No key is kept, so that a table takes another's place.
fn rig(major: u16, publication: &str) -> Result<(Rig, Client)> {
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(major), "mode = \"changelog\"\n")?;
    rig.daemon.allow_log("the operator accepts");
    let client = rig.client()?;
    client.execute(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, v text, w text); INSERT INTO t VALUES (1, 'first', 'w');
         CREATE PUBLICATION tidewire_shop {publication}"
    ))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok((rig, client))
}

/// Starts the daemon, and waits until it has looked at everything.
fn reads_the_log(rig: &mut Rig) -> Result<()> {
    rig.daemon.run()?;
    rig.daemon.wait_for("the log to be read", |status| status["sources"]["shop"]["state"] == "streaming")?;
    Ok(())
}

/// Each start is refused, and by the same code.
fn halts_at_each_start(rig: &mut Rig, code: &str) -> Result<()> {
    for start in 0..2 {
        rig.daemon.run()?;
        let found = halted(&mut rig.daemon)?;
        ensure!(found == code, "start {start}: {found}");
        ensure!(rig.daemon.log()?.contains("--accept-slot-position shop"), "the remedy names the command");
    }
    Ok(())
}

/// The operator accepts it once, and later starts go on.
fn goes_on_when_accepted(rig: &mut Rig, client: &Client) -> Result<()> {
    rig.daemon.run_with(&["--accept-slot-position", "shop"])?;
    for id in [101, 102] {
        client.execute(&format!("INSERT INTO t (id, v) VALUES ({id}, 'later')"))?;
        rig.catch_up()?;
        ensure!(rig.daemon.terminate()? == 0);
        rig.daemon.run()?;
    }
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

/// What the lake holds of a column, in order.
fn values(rig: &Rig, column: &str) -> Result<Vec<String>> {
    let table = readers::read(Reader::Deltalake, &rig.table("t"))?.select(&[column.to_owned()])?;
    let mut values: Vec<String> = table.rows.iter().flatten().map(ToString::to_string).collect();
    values.sort();
    Ok(values)
}

#[test]
fn pg_11_a_publication_narrowed_while_nobody_looked_halts_each_start_until_it_is_accepted() -> Result<()> {
    for (major, publication, narrow) in [
        (13, "FOR ALL TABLES", "SET (publish = 'insert, update')"),
        (POSTGRES, "FOR TABLE t", "SET TABLE t WHERE (id > 100)"),
        (18, "FOR TABLE t (id, v, w)", "SET TABLE t (id, v)"),
    ] {
        let (mut rig, client) = rig(major, publication)?;
        client.execute(&format!("ALTER PUBLICATION tidewire_shop {narrow}"))?;
        let run = |rig: &mut Rig| -> Result<()> {
            halts_at_each_start(rig, "publication_changed")?;
            goes_on_when_accepted(rig, &client)?;
            ensure!(values(rig, "id")? == ["\"1\"", "\"101\"", "\"102\""], "{:?}", values(rig, "id")?);
            Ok(())
        };
        run(&mut rig).with_context(|| format!("PostgreSQL {major}, {narrow}"))?;
    }
    Ok(())
}

/// What it left out while it was narrower does not come back with it.
#[test]
fn pg_11_a_publication_that_is_whole_again_halts_each_start_until_it_is_accepted() -> Result<()> {
    let (mut rig, client) = rig(POSTGRES, "FOR TABLE t, work_items")?;
    reads_the_log(&mut rig)?;
    client.execute("ALTER PUBLICATION tidewire_shop SET (publish = 'insert')")?;
    client.execute("UPDATE t SET v = 'left out'")?;
    ensure!(halted(&mut rig.daemon)? == "publication_changed");
    client.execute("ALTER PUBLICATION tidewire_shop SET (publish = 'insert, update, delete, truncate')")?;
    halts_at_each_start(&mut rig, "publication_changed")?;
    goes_on_when_accepted(&mut rig, &client)
}

/// A sink that reads everything anew misses nothing, and what is captured no more concerns nobody.
#[test]
fn pg_11_new_sinks_and_tables_that_are_left_out_need_no_acceptance() -> Result<()> {
    let (mut rig, client) = rig(POSTGRES, "FOR TABLE t, work_items")?;
    client.execute("DROP TABLE t; CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (7)")?;
    client.execute("ALTER PUBLICATION tidewire_shop ADD TABLE t")?;
    halts_at_each_start(&mut rig, "table_recreated")?;
    let config = rig::config(&rig.postgres.url("postgres"), None, Some(rig.lake.path()), "mode = \"changelog\"\n");
    rig.daemon.write_config(&config.replace("[\"public.*\"]", "[\"public.*\", \"!public.t\"]"))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    let anew = rig::config(&rig.postgres.url("postgres"), None, Some(&rig.lake.path().join("anew")), "");
    rig.daemon.write_config(&anew.replace("[sinks.lake", "[sinks.anew"))?;
    for _ in 0..2 {
        rig.daemon.run()?;
        rig.catch_up()?;
        ensure!(rig.daemon.terminate()? == 0);
    }
    let table = rig.lake.path().join("anew/shop/public/t");
    oracle::check_mirror(&client, "public", "t", &table, &[Reader::Deltalake]).map(drop)
}

/// What comes to it is known as well: it must not leave again without a word.
#[test]
fn pg_11_a_column_that_came_halts_the_source_when_it_leaves_again() -> Result<()> {
    let (mut rig, client) = rig(POSTGRES, "FOR TABLE t (id, v)")?;
    client.execute("ALTER PUBLICATION tidewire_shop SET TABLE t")?;
    rig.daemon.run()?;
    client.execute("UPDATE t SET v = 'second'")?;
    rig.catch_up()?;
    ensure!(rig.daemon.terminate()? == 0);
    client.execute("ALTER PUBLICATION tidewire_shop SET TABLE t (id, v)")?;
    halts_at_each_start(&mut rig, "publication_changed")?;
    goes_on_when_accepted(&mut rig, &client)
}

#[test]
fn pg_49_a_table_made_anew_halts_each_start_until_it_is_accepted() -> Result<()> {
    const AGAIN: &str = "DROP TABLE t; CREATE TABLE t (v text, id int PRIMARY KEY); INSERT INTO t VALUES ('anew', 1)";
    for major in [13, POSTGRES, 18] {
        for is_running in [false, true] {
            let (mut rig, client) = rig(major, "FOR ALL TABLES")?;
            let run = |rig: &mut Rig| -> Result<()> {
                if is_running {
                    reads_the_log(rig)?;
                    // The old table's last rows come again after the halt, under the name that is the new one's.
                    client.execute(&format!("BEGIN; INSERT INTO t VALUES (2, 'last'); {AGAIN}; COMMIT"))?;
                    ensure!(halted(&mut rig.daemon)? == "table_recreated");
                } else {
                    client.execute("INSERT INTO t VALUES (2, 'last')")?;
                    client.execute(AGAIN)?;
                }
                halts_at_each_start(rig, "table_recreated")?;
                goes_on_when_accepted(rig, &client)?;
                let expected = ["anew", "first", "last", "later", "later"].map(|value| format!("\"{value}\""));
                ensure!(values(rig, "v")? == expected, "{:?}", values(rig, "v")?);
                Ok(())
            };
            run(&mut rig).with_context(|| format!("PostgreSQL {major}, running: {is_running}"))?;
        }
    }
    Ok(())
}
