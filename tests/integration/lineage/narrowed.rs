//! Publications that come to show less: the server leaves it out without a word, and what is left out of a row looks like what
//! the table no longer has. PG-11.

use super::halted;
use crate::rig::{POSTGRES, Rig, Sinks};
use anyhow::{Context, Result, ensure};
use tidewire_testkit::PostgresOptions;
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::{self, Reader};

/// A lake that holds two rows of a table with three columns, and a daemon that runs.
fn rig(major: u16, publication: &str) -> Result<(Rig, Client)> {
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(major), "")?;
    let client = rig.client()?;
    client.execute(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, v text, w text, twice int GENERATED ALWAYS AS (id * 2) STORED);
         INSERT INTO t VALUES (1, 'v', 'w'), (2, 'v', 'w'); CREATE PUBLICATION tidewire_shop FOR TABLE {publication}"
    ))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    Ok((rig, client))
}

/// The mirror's rows as they are written.
fn rows(rig: &Rig) -> Result<Vec<String>> {
    let mut rows: Vec<String> =
        readers::read(Reader::Deltalake, &rig.table("t"))?.rows.iter().map(|row| format!("{row:?}")).collect();
    rows.sort();
    Ok(rows)
}

#[test]
fn pg_11_a_column_that_leaves_the_publication_is_not_taken_for_a_dropped_one() -> Result<()> {
    let stored = " WITH (publish_generated_columns = stored)";
    for (major, publication, change) in [
        (15, "t".to_owned(), "SET TABLE t (id, v)"),
        (POSTGRES, "t (id, v, w)".to_owned(), "SET TABLE t (id, v)"),
        (18, format!("t{stored}"), "SET (publish_generated_columns = none)"),
    ] {
        // The log may have told of the table before, or not.
        for is_known in [false, true] {
            let (mut rig, client) = rig(major, &publication)?;
            if is_known {
                client.execute("INSERT INTO t VALUES (3, 'v', 'w')")?;
                rig.catch_up()?;
            }
            let before = rows(&rig)?;
            client.execute(&format!("ALTER PUBLICATION tidewire_shop {change}"))?;
            client.execute("UPDATE t SET v = 'changed'")?;
            let code = halted(&mut rig.daemon).with_context(|| format!("PostgreSQL {major}, {change}"))?;
            ensure!(code == "publication_changed", "{code}");
            ensure!(rows(&rig)? == before, "PostgreSQL {major}: rows were written without the column");
        }
    }
    Ok(())
}

/// Columns that come to a list, or are dropped, stop nothing.
#[test]
fn pg_11_a_column_that_is_dropped_or_comes_to_the_list_stops_nothing() -> Result<()> {
    for major in [15, POSTGRES, 18] {
        let (mut rig, client) = rig(major, "t (id, v)")?;
        client.execute("INSERT INTO t VALUES (3, 'v', 'w')")?;
        rig.catch_up()?;
        client.execute("ALTER PUBLICATION tidewire_shop SET TABLE t (id, v, w)")?;
        client.execute("UPDATE t SET v = 'changed'")?;
        client.execute("ALTER PUBLICATION tidewire_shop SET TABLE t")?;
        client.execute("ALTER TABLE t DROP COLUMN twice, DROP COLUMN v; INSERT INTO t VALUES (4, 'w')")?;
        client.execute("ALTER TABLE t ADD COLUMN y int; UPDATE t SET y = id")?;
        rig.catch_up()?;
        ensure!(rig.daemon.terminate()? == 0, "PostgreSQL {major}");
        client.execute("ALTER TABLE t ADD COLUMN x int; UPDATE t SET x = id; ALTER TABLE t DROP COLUMN x")?;
        client.execute("UPDATE t SET w = 'last'")?;
        rig.daemon.run()?;
        rig.catch_up()?;
        let mirror = readers::read(Reader::Deltalake, &rig.table("t"))?;
        ensure!(mirror.rows.len() == 4, "PostgreSQL {major}: {} rows", mirror.rows.len());
        ensure!(rig.daemon.terminate()? == 0, "PostgreSQL {major}");
    }
    Ok(())
}
