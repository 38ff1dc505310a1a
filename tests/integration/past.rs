//! Histories and changelogs beside a mirror, in all the readers that people use: every version of every row is there, from when to when
//! a journal says that the database kept by itself, by triggers. SK-3F.

use crate::mysql::rig as mysql;
use crate::rig::{Rig, Sinks};
use anyhow::{Context, Result, ensure};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;
use tidewire_testkit::readers::{self, Reader, Table};
use tidewire_testkit::wait;
use tidewire_testkit::workload::{TABLES, Workload};

/// Checkpoints and rewritten files come after many commits.
const PATIENCE: Duration = Duration::from_secs(240);
/// Rewrites files at the least occasion.
const OFTEN: &str = "deleted_rows_percent = 2\n";
/// `_valid_from` of what a snapshot read.
const BEFORE_THE_LOG: &str = "1970-01-01T00:00:00.000000Z";

const POSTGRES: &str = "
    CREATE TABLE kept (id int PRIMARY KEY, v text NOT NULL, at timestamptz NOT NULL DEFAULT '2024-01-02 03:04:05.000006+00');
    INSERT INTO kept SELECT n, 'first' FROM generate_series(1, 20) n;
    CREATE SCHEMA noted;
    CREATE TABLE noted.journal (n bigserial PRIMARY KEY, op text, id int, v text, time text);
    CREATE FUNCTION noted.note() RETURNS trigger LANGUAGE plpgsql AS $$
      DECLARE now text := to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"');
      BEGIN
        IF TG_OP = 'TRUNCATE' THEN
          INSERT INTO noted.journal (op, time) VALUES ('t', now);
        ELSIF TG_OP = 'INSERT' THEN
          INSERT INTO noted.journal (op, id, v, time) VALUES ('c', NEW.id, NEW.v, now);
        ELSIF TG_OP = 'DELETE' THEN
          INSERT INTO noted.journal (op, id, time) VALUES ('d', OLD.id, now);
        ELSIF NEW.id = OLD.id THEN
          INSERT INTO noted.journal (op, id, v, time) VALUES ('u', NEW.id, NEW.v, now);
        ELSE
          INSERT INTO noted.journal (op, id, time) VALUES ('d', OLD.id, now);
          INSERT INTO noted.journal (op, id, v, time) VALUES ('c', NEW.id, NEW.v, now);
        END IF;
        RETURN NULL;
      END $$;
    CREATE TRIGGER rows AFTER INSERT OR UPDATE OR DELETE ON kept FOR EACH ROW EXECUTE FUNCTION noted.note();
    CREATE TRIGGER whole AFTER TRUNCATE ON kept FOR EACH STATEMENT EXECUTE FUNCTION noted.note()";

/// MySQL has no trigger for a truncate, and these know no change of a key.
const MYSQL: [&str; 7] = [
    "CREATE TABLE kept (id int PRIMARY KEY, v text NOT NULL)",
    "INSERT INTO kept VALUES (1, 'first'), (2, 'first'), (3, 'first'), (4, 'first'), (5, 'first')",
    "CREATE DATABASE noted",
    "CREATE TABLE noted.journal (n bigint AUTO_INCREMENT PRIMARY KEY, op text, id int, v text, time text)",
    "CREATE TRIGGER made AFTER INSERT ON kept FOR EACH ROW INSERT INTO noted.journal (op, id, v, time)
       VALUES ('c', NEW.id, NEW.v, DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ'))",
    "CREATE TRIGGER changed AFTER UPDATE ON kept FOR EACH ROW INSERT INTO noted.journal (op, id, v, time)
       VALUES ('u', NEW.id, NEW.v, DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ'))",
    "CREATE TRIGGER gone AFTER DELETE ON kept FOR EACH ROW INSERT INTO noted.journal (op, id, time)
       VALUES ('d', OLD.id, DATE_FORMAT(UTC_TIMESTAMP(6), '%Y-%m-%dT%H:%i:%s.%fZ'))",
];

/// Sinks beside the mirror, in folders of the lake.
fn sinks(lake: &Path) -> String {
    let sink = |name: &str, mode: &str| {
        let folder = lake.join(name);
        format!(
            "[sinks.{name}.delta]\nlocation = \"file://{}\"\nmode = \"{mode}\"\ncommit_interval = \"200ms\"\n{OFTEN}",
            folder.display()
        )
    };
    sink("past", "history") + &sink("changes", "changelog")
}

/// Fails when the readers do not see the same rows; gives them as the first one saw them.
fn agreed(table: &Path) -> Result<Table> {
    let first = readers::read(Reader::Deltalake, table)?;
    for reader in Reader::ALL {
        readers::read(reader, table)?
            .must_equal(&first, &format!("{} as {} reads it", table.display(), reader.name()))?;
    }
    Ok(first)
}

/// A version of a row, or how long the journal says that it was the row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Version {
    v: String,
    from: String,
    to: Option<String>,
}

/// What the journal says of each key, from the rows of before it on. Times are those of statements.
fn told(journal: &[Vec<Option<String>>], first: impl Iterator<Item = i64>) -> Result<BTreeMap<i64, Vec<Version>>> {
    let begin = Version { v: "first".to_owned(), from: BEFORE_THE_LOG.to_owned(), to: None };
    let mut keys: BTreeMap<i64, Vec<Version>> = first.map(|id| (id, vec![begin.clone()])).collect();
    for entry in journal {
        let [Some(op), id, v, Some(time)] = entry.as_slice() else { anyhow::bail!("the journal holds {entry:?}") };
        let end = |versions: &mut Vec<Version>| {
            if let Some(open) = versions.last_mut().filter(|version| version.to.is_none()) {
                open.to = Some(time.clone());
            }
        };
        let Some(id) = id else {
            keys.values_mut().for_each(end);
            continue;
        };
        let versions = keys.entry(id.parse()?).or_default();
        end(versions);
        if op != "d" {
            let v = v.clone().context("a row without a value")?;
            versions.push(Version { v, from: time.clone(), to: None });
        }
    }
    Ok(keys)
}

/// Compares a history with what the journal tells. A commit comes after its statements, and a database may know its time by the second.
fn check_history(history: &Table, told: &BTreeMap<i64, Vec<Version>>) -> Result<()> {
    let names = ["id", "v", "_valid_from", "_valid_to", "_is_current", "_from_position", "_to_position"];
    let table = history.select(&names.map(str::to_owned))?;
    let mut found: BTreeMap<i64, Vec<Vec<Option<String>>>> = BTreeMap::new();
    for row in &table.rows {
        let texts: Vec<Option<String>> = row.iter().map(|value| value.as_str().map(str::to_owned)).collect();
        let id = texts[0].as_deref().context("a key")?.parse()?;
        found.entry(id).or_default().push(texts);
    }
    let keys: BTreeSet<&i64> = told.keys().chain(found.keys()).collect();
    for id in keys {
        let mut versions = found.get(id).cloned().unwrap_or_default();
        versions.sort_by(|a, b| a[5].cmp(&b[5]));
        let told = told.get(id).with_context(|| format!("row {id} was never there"))?;
        let values: Vec<Option<&str>> = versions.iter().map(|version| version[1].as_deref()).collect();
        ensure!(
            values == told.iter().map(|version| Some(version.v.as_str())).collect::<Vec<_>>(),
            "row {id}: {versions:?}, not {told:?}"
        );
        let second = |time: &str| time.get(..19).unwrap_or_default().to_owned();
        for (at, (version, told)) in versions.iter().zip(told).enumerate() {
            let (from, to) = (version[2].as_deref().context("a beginning")?, version[3].as_deref());
            ensure!(second(from) >= second(&told.from), "row {id} from {from}, not {told:?}");
            ensure!(to.is_some() == told.to.is_some(), "row {id} to {to:?}, not {told:?}");
            ensure!(
                version[4].as_deref() == Some(if to.is_none() { "true" } else { "false" }),
                "row {id}: {version:?}"
            );
            ensure!(
                to.is_none_or(|to| to >= from && told.to.as_deref().is_some_and(|told| second(to) >= second(told)))
            );
            // What an update ends and what it begins is one moment.
            if let Some(next) = versions.get(at + 1) {
                ensure!(version[6] <= next[5] && version[3] <= next[2], "row {id}: {version:?}, then {next:?}");
            }
        }
    }
    Ok(())
}

/// The current versions are the mirror.
fn check_current(history: &Table, mirror: &Table) -> Result<()> {
    history.current()?.select(&mirror.columns)?.must_equal(mirror, "the current versions and the mirror")
}

/// Whether a log has a checkpoint and a commit that rewrote files.
fn is_churned(table: &Path) -> Result<bool> {
    let mut seen = (false, false);
    for entry in std::fs::read_dir(table.join("_delta_log")).context("look at the log")? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        seen.0 |= name.ends_with(".checkpoint.parquet");
        // A checkpoint's cleaning may take an entry away.
        seen.1 |=
            name.ends_with(".json") && std::fs::read_to_string(&path).is_ok_and(|text| text.contains("\"OPTIMIZE\""));
    }
    Ok(seen == (true, true))
}

#[test]
fn five_readers_see_the_same_of_every_kind_of_table() -> Result<()> {
    let mut rig = Rig::new(Sinks::Lake)?;
    let (client, url) = (rig.client()?, rig.postgres.url("postgres"));
    client.execute(POSTGRES)?;
    let lake = rig.lake.path().to_owned();
    rig.daemon.write_config(&(crate::rig::config(&url, None, Some(&lake), OFTEN) + &sinks(&lake)))?;
    rig.daemon.allow_log("sink_left_behind");
    rig.daemon.run()?;
    rig.catch_up()?;
    let load = Workload {
        seed: 31,
        transactions: 100_000,
        largest: 60,
        truncates: true,
        pause: Duration::from_millis(40),
        ..Workload::default()
    };
    let running = load.start(&url)?;
    let mut step = 0;
    wait::until("a checkpoint and rewritten files", PATIENCE, || {
        step += 1;
        let (a, b) = (step * 7 % 40, step * 11 % 40);
        client.execute(&format!(
            "INSERT INTO kept VALUES ({a}, 'made {step}') ON CONFLICT (id) DO UPDATE SET v = 'set {step}'"
        ))?;
        client.execute(&format!("UPDATE kept SET v = 'some {step}' WHERE id BETWEEN {b} AND {b} + 3"))?;
        let change = match step % 5 {
            0 => format!("DELETE FROM kept WHERE id = {b}"),
            1 => format!(
                "UPDATE kept SET id = id + 1000 WHERE id = {a} AND NOT EXISTS (SELECT FROM kept WHERE id = {a} + 1000)"
            ),
            2 => {
                format!("BEGIN; DELETE FROM kept WHERE id = {a}; INSERT INTO kept VALUES ({a}, 'again {step}'); COMMIT")
            }
            _ if step % 40 == 3 => "TRUNCATE kept".to_owned(),
            _ => return Ok(None),
        };
        client.execute(&change)?;
        Ok((is_churned(&rig.table("work_items"))? && is_churned(&lake.join("past/shop/public/kept"))?).then_some(()))
    })?;
    running.stop()?;
    rig.catch_up()?;
    rig.check_lake(&Reader::ALL)?;
    for table in TABLES.into_iter().chain(["kept"]) {
        let mirror = readers::read(Reader::Deltalake, &rig.table(table))?;
        let history = agreed(&lake.join("past/shop/public").join(table))?;
        check_current(&history, &mirror)?;
        if table == "kept" {
            let journal = client.rows("SELECT op, id::text, v, time FROM noted.journal ORDER BY n")?;
            check_history(&history, &told(&journal, 1..=20)?)?;
        }
    }
    for table in ["work_pairs", "kept"] {
        let changes = agreed(&lake.join("changes/shop/public").join(table))?;
        ensure!(changes.rows.len() > 50, "{} changes of {table}", changes.rows.len());
    }
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}

#[test]
fn a_history_of_mysql_has_every_version() -> Result<()> {
    let mut rig = mysql::Rig::new(Sinks::Lake, mysql::NEWEST)?;
    let client = rig.client()?;
    for statement in MYSQL {
        client.execute(statement)?;
    }
    let lake = rig.lake.path().to_owned();
    rig.daemon.write_config(&(rig.config(Sinks::Lake, rig.server.port(), "") + &sinks(&lake)))?;
    rig.daemon.run()?;
    rig.catch_up()?;
    for step in 1..=60 {
        let (a, b) = (step * 7 % 12, step * 11 % 12);
        client.execute(&format!(
            "INSERT INTO kept VALUES ({a}, 'made {step}') ON DUPLICATE KEY UPDATE v = 'set {step}'"
        ))?;
        client.execute(&format!("UPDATE kept SET v = 'some {step}' WHERE id BETWEEN {b} AND {b} + 2"))?;
        if step % 3 == 0 {
            client.execute(&format!("DELETE FROM kept WHERE id = {a}"))?;
        }
        if step % 20 == 0 {
            rig.daemon.kill9()?;
            rig.daemon.run()?;
        }
    }
    rig.catch_up()?;
    rig.check_mirrors(&["kept"], &[Reader::Deltalake])?;
    let folder = Path::new(mysql::SOURCE).join(tidewire_testkit::mysql::DATABASE).join("kept");
    let history = agreed(&lake.join("past").join(folder))?;
    check_current(&history, &readers::read(Reader::Deltalake, &rig.table("kept"))?)?;
    let journal = client.rows("SELECT op, id, v, time FROM noted.journal ORDER BY n")?;
    check_history(&history, &told(&journal, 1..=5)?)?;
    ensure!(rig.daemon.terminate()? == 0);
    Ok(())
}
