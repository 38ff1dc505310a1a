//! Partitions that come to a captured table with rows in them: under `publish_via_partition_root` no log has these rows, so
//! the source halts until they are in it. Those that come empty stop nothing. PG-25.

use super::halted;
use crate::rig::{self, POSTGRES, Rig, Sinks};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tidewire_testkit::postgres::Client;
use tidewire_testkit::readers::{self, Reader};
use tidewire_testkit::{PostgresOptions, oracle, wait};

const TABLES: &str = "
    CREATE TABLE parts (id int, part int, note text, PRIMARY KEY (id, part)) PARTITION BY LIST (part);
    CREATE TABLE parts_0 PARTITION OF parts FOR VALUES IN (0);
    CREATE TABLE apart (LIKE parts INCLUDING ALL);
    CREATE TABLE before (LIKE parts INCLUDING ALL);
    INSERT INTO parts VALUES (1, 0, 'one');
    INSERT INTO before VALUES (1, 9, 'before');
    ALTER TABLE parts ATTACH PARTITION before FOR VALUES IN (9);
    CREATE PUBLICATION tidewire_shop FOR TABLE parts, work_items, work_pairs, work_log
      WITH (publish_via_partition_root = true)";

/// A server with a partitioned table.
fn rig(major: u16) -> Result<(Rig, Client)> {
    let mut rig = Rig::with(Sinks::Lake, &PostgresOptions::version(major), "")?;
    // Rows that a partition brought come into the mirror by being touched.
    rig.daemon.allow_log("rows_unseen");
    let client = rig.client()?;
    client.execute(TABLES)?;
    Ok((rig, client))
}

/// The mirror has the table's rows.
fn must_equal(rig: &mut Rig, client: &Client) -> Result<()> {
    rig.catch_up()?;
    oracle::check_mirror(client, "public", "parts", &rig.table("parts"), &[Reader::Deltalake]).map(drop)
}

/// The daemon halts, and does so at each new start, until what it says has been done.
fn halts_until_mended(rig: &mut Rig, client: &Client) -> Result<()> {
    for _ in 0..2 {
        let code = halted(&mut rig.daemon)?;
        ensure!(code == "partition_attached", "{code}");
        rig.daemon.run()?;
    }
    ensure!(halted(&mut rig.daemon)? == "partition_attached");
    let log = rig.daemon.log()?;
    let line: Value =
        serde_json::from_str(log.lines().rfind(|line| line.contains("source halted")).context("a line")?)?;
    ensure!(line["table"] == "public.parts", "{line}");
    let remedy = line["remedy"].as_str().and_then(|text| text.split('`').nth(1)).context("a statement")?;
    client.execute(remedy)?;
    rig.daemon.run()?;
    must_equal(rig, client)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn pg_25_a_partition_that_comes_with_rows_halts_the_source() -> Result<()> {
    for major in [13, 15, POSTGRES, 18] {
        let (mut rig, client) = rig(major)?;
        rig.daemon.run()?;
        must_equal(&mut rig, &client)?;
        client.execute("INSERT INTO apart SELECT i, 1, repeat(md5(i::text), 200) FROM generate_series(1, 50) i")?;
        client.execute("ALTER TABLE parts ATTACH PARTITION apart FOR VALUES IN (1)")?;
        client.execute("INSERT INTO parts VALUES (60, 1, 'later'); DELETE FROM parts WHERE id = 50")?;
        halts_until_mended(&mut rig, &client).with_context(|| format!("PostgreSQL {major}"))?;
    }
    Ok(())
}

/// Its log may have been sent in part when it was attached, and the state may be gone as well.
#[test]
fn pg_25_a_partition_that_came_while_nobody_looked_halts_the_source() -> Result<()> {
    for keeps_state in [true, false] {
        let (mut rig, client) = rig(POSTGRES)?;
        rig.daemon.run()?;
        must_equal(&mut rig, &client)?;
        ensure!(rig.daemon.terminate()? == 0);
        if !keeps_state {
            std::fs::remove_dir_all(rig.daemon.state_folder())?;
        }
        // In one transaction, so that the rows are as old as the partition.
        client.execute(
            "BEGIN; CREATE TABLE fresh (LIKE parts INCLUDING ALL); INSERT INTO fresh VALUES (1, 2, 'one');
             ALTER TABLE parts ATTACH PARTITION fresh FOR VALUES IN (2); INSERT INTO parts VALUES (2, 2, 'two'); COMMIT",
        )?;
        rig.daemon.run()?;
        halts_until_mended(&mut rig, &client).with_context(|| format!("with its state: {keeps_state}"))?;
    }
    Ok(())
}

/// One that lies deeper, with a table that the account may only read through the one above.
#[test]
fn pg_25_a_whole_branch_is_looked_at() -> Result<()> {
    let (mut rig, client) = rig(POSTGRES)?;
    client.execute(
        "CREATE ROLE reader LOGIN REPLICATION PASSWORD 'reader'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader",
    )?;
    rig.daemon.write_config(&rig::config(&rig.postgres.url("reader"), None, Some(rig.lake.path()), ""))?;
    rig.daemon.run()?;
    must_equal(&mut rig, &client)?;
    client.execute(
        "CREATE TABLE branch (LIKE parts INCLUDING ALL) PARTITION BY RANGE (id);
         CREATE TABLE leaf PARTITION OF branch FOR VALUES FROM (0) TO (100);
         CREATE TABLE empty PARTITION OF branch FOR VALUES FROM (100) TO (200);
         INSERT INTO branch VALUES (1, 3, 'one');
         ALTER TABLE parts ATTACH PARTITION branch FOR VALUES IN (3)",
    )?;
    halts_until_mended(&mut rig, &client)
}

#[test]
fn pg_25_partitions_that_come_empty_stop_nothing() -> Result<()> {
    for major in [13, 14, POSTGRES, 18] {
        let (mut rig, client) = rig(major)?;
        rig.daemon.run()?;
        must_equal(&mut rig, &client)?;
        // As long as a transaction lasts, what the slot may have to send goes back to its beginning.
        let old = rig.client()?;
        old.execute("BEGIN; SELECT txid_current()")?;
        client.execute(
            "CREATE TABLE made PARTITION OF parts FOR VALUES IN (1); INSERT INTO parts VALUES (1, 1, 'made')",
        )?;
        client.execute("CREATE TABLE branch PARTITION OF parts FOR VALUES IN (2) PARTITION BY RANGE (id)")?;
        client.execute("CREATE TABLE leaf PARTITION OF branch DEFAULT; INSERT INTO parts VALUES (1, 2, 'leaf')")?;
        client.execute("ALTER TABLE parts ATTACH PARTITION apart FOR VALUES IN (3)")?;
        client.execute("INSERT INTO parts VALUES (1, 3, 'attached')")?;
        client.execute(
            "BEGIN; CREATE TABLE both_ways (LIKE parts INCLUDING ALL);
             ALTER TABLE parts ATTACH PARTITION both_ways FOR VALUES IN (4); INSERT INTO parts VALUES (1, 4, 'both'); COMMIT",
        )?;
        must_equal(&mut rig, &client)?;
        for keeps_state in [true, false] {
            ensure!(rig.daemon.terminate()? == 0, "PostgreSQL {major}");
            if !keeps_state {
                std::fs::remove_dir_all(rig.daemon.state_folder())?;
            }
            client.execute("INSERT INTO parts VALUES (2, 3, 'more') ON CONFLICT DO NOTHING")?;
            rig.daemon.run()?;
            must_equal(&mut rig, &client)?;
        }
        old.execute("ROLLBACK")?;
        ensure!(rig.daemon.terminate()? == 0, "PostgreSQL {major}");
    }
    Ok(())
}

/// Whoever makes a partition every hour does not pay for each of them.
#[test]
fn pg_25_a_partition_made_in_its_place_is_not_read() -> Result<()> {
    for major in [13, POSTGRES, 18] {
        let (mut rig, client) = rig(major)?;
        rig.daemon.run()?;
        must_equal(&mut rig, &client)?;
        client.execute(
            "CREATE TABLE made PARTITION OF parts FOR VALUES IN (1); INSERT INTO parts VALUES (1, 1, 'made')",
        )?;
        client.execute("ALTER TABLE parts ATTACH PARTITION apart FOR VALUES IN (3)")?;
        client.execute("INSERT INTO parts VALUES (1, 3, 'attached')")?;
        ensure!(rig.daemon.terminate()? == 0);
        rig.daemon.run()?;
        rig.catch_up()?;
        ensure!(rig.daemon.terminate()? == 0);
        // Making its index looks at the empty table as well: rows are what counts.
        let read = |table: &str| {
            client.value(&format!("SELECT sum(seq_tup_read) FROM pg_stat_user_tables WHERE relname = '{table}'"))
        };
        // The report of a reading may get lost on its way to the collector of a server before 15, so there is always one more.
        wait::until("the server to have counted", wait::PATIENCE, || {
            client.execute("SELECT count(*) FROM apart")?;
            Ok((read("apart")? != "0").then_some(()))
        })?;
        let made = read("made")?;
        ensure!(made == "0", "PostgreSQL {major}: {made} rows of it were read");
    }
    Ok(())
}

/// The server says nothing of a truncated partition that is published by its table's name: its rows stay in the sinks, and what
/// comes after that is right. A truncate of the table arrives.
#[test]
fn pg_22_a_truncate_of_a_partition_is_not_in_the_log() -> Result<()> {
    for major in [13, 15, POSTGRES, 18] {
        let (mut rig, client) = rig(major)?;
        rig.daemon.run()?;
        must_equal(&mut rig, &client)?;
        client.execute("INSERT INTO parts VALUES (2, 0, 'two'), (3, 0, 'three'); TRUNCATE parts_0")?;
        client.execute("INSERT INTO parts VALUES (2, 0, 'again'), (4, 0, 'later')")?;
        rig.catch_up()?;
        let mirror =
            readers::read(Reader::Deltalake, &rig.table("parts"))?.select(&["id".to_owned(), "note".to_owned()])?;
        let mut rows: Vec<String> =
            mirror.rows.iter().map(|row| format!("{} {}", row[0], row[1]).replace('"', "")).collect();
        rows.sort();
        ensure!(rows == ["1 before", "1 one", "2 again", "3 three", "4 later"], "PostgreSQL {major}: {rows:?}");
        client.execute("TRUNCATE parts; INSERT INTO parts VALUES (5, 0, 'last')")?;
        must_equal(&mut rig, &client).with_context(|| format!("PostgreSQL {major}"))?;
        ensure!(rig.daemon.terminate()? == 0, "PostgreSQL {major}");
    }
    Ok(())
}
