//! Publications that show less than their tables: column lists, row filters, generated columns. What arrives is what the
//! publication shows, from the snapshot as from the log. PG-36, PG-38, PG-39.

use crate::rig::{self, BINARY};
use anyhow::{Context, Result, ensure};
use tidewire_testkit::readers::Reader;
use tidewire_testkit::{Daemon, Postgres, PostgresOptions, oracle};

const CREATE: &str = "
    CREATE TABLE listed (id int PRIMARY KEY, secret text, v text);
    CREATE TABLE filtered (id int PRIMARY KEY, v text);
    CREATE TABLE computed (id int PRIMARY KEY, v int, twice int GENERATED ALWAYS AS (v * 2) STORED, w text);
    CREATE VIEW listed_shown AS SELECT id, v FROM listed;
    CREATE VIEW filtered_shown AS SELECT id, v FROM filtered WHERE id > 10";

const BEFORE: &str = "
    INSERT INTO listed VALUES (1, 'secret', 'a'), (2, 'secret', NULL);
    INSERT INTO filtered VALUES (1, 'hidden'), (5, 'comes'), (11, 'shown'), (20, 'goes');
    INSERT INTO computed (id, v, w) VALUES (1, 10, 'a'), (2, NULL, 'b')";

/// A row that comes into a filter is an insert for whoever reads the log, and one that leaves it a delete.
const AFTER: &str = "
    INSERT INTO listed VALUES (3, 'secret', 'c'); UPDATE listed SET secret = 'other' WHERE id = 1;
    UPDATE listed SET v = 'changed' WHERE id = 2; DELETE FROM listed WHERE id = 1;
    ALTER TABLE listed ADD COLUMN more int; INSERT INTO listed VALUES (4, 'secret', 'd', 5);
    UPDATE filtered SET id = 15 WHERE id = 5; UPDATE filtered SET id = 2 WHERE id = 20;
    INSERT INTO filtered VALUES (3, 'hidden'), (12, 'shown'); UPDATE filtered SET v = 'changed'; DELETE FROM filtered WHERE id < 10;
    INSERT INTO computed (id, v, w) VALUES (3, 30, NULL); UPDATE computed SET v = 11 WHERE id = 1; DELETE FROM computed WHERE id = 2";

#[test]
fn what_a_publication_leaves_out_never_arrives() -> Result<()> {
    for major in [15, 18] {
        narrowed(major).with_context(|| format!("PostgreSQL {major}"))?;
    }
    Ok(())
}

fn narrowed(major: u16) -> Result<()> {
    let postgres = Postgres::start(&PostgresOptions::version(major))?;
    let client = postgres.client()?;
    client.execute(CREATE)?;
    let (columns, options) = match major {
        // Only a column that is stored can be published.
        18 => ("id, v, twice, w", " WITH (publish_generated_columns = stored)"),
        _ => ("id, v, w", ""),
    };
    if major == 18 {
        client.execute("ALTER TABLE computed ADD COLUMN thrice int GENERATED ALWAYS AS (v * 3) VIRTUAL")?;
    }
    client.execute(&format!("CREATE VIEW computed_shown AS SELECT {columns} FROM computed"))?;
    let tables = "listed (id, v), filtered WHERE (id > 10), computed";
    client.execute(&format!("CREATE PUBLICATION tidewire_shop FOR TABLE {tables}{options}"))?;
    client.execute(BEFORE)?;
    let lake = tempfile::tempdir()?;
    let mut daemon = Daemon::start(BINARY, &rig::config(&postgres.url("postgres"), None, Some(lake.path()), ""))?;
    for statements in [AFTER, ""] {
        let target = rig::lsn(&client.value("SELECT pg_current_wal_lsn()")?)?;
        daemon.wait_for("the lake to hold what is committed", |status| rig::holds(status, target))?;
        for table in ["listed", "filtered", "computed"] {
            let path = lake.path().join("shop/public").join(table);
            oracle::check_mirror(&client, "public", &format!("{table}_shown"), &path, &[Reader::Deltalake])?;
        }
        client.execute(statements)?;
    }
    ensure!(daemon.terminate()? == 0);
    Ok(())
}
