//! Databases that do not keep UTF-8: names and values arrive as UTF-8 all the same, and bytes that are no text in any
//! encoding halt the source. PG-92, PG-93.

use super::OK;
use crate::rig::{self, BINARY, POSTGRES};
use anyhow::{Context, Result, ensure};
use std::fmt::Write;
use tidewire_testkit::readers::Reader;
use tidewire_testkit::{Daemon, Postgres, PostgresOptions, oracle};

/// Database, encoding, a column's name and words in it.
const DATABASES: [(&str, &str, &str, [&str; 2]); 4] = [
    ("latin", "LATIN1", "größe", ["Grüße, ÿ¡", "\u{a0}½"]),
    ("windows", "WIN1252", "größe", ["“œuvre” – 5 €", "Ž\t\\"]),
    ("japan", "EUC_JP", "名前", ["日本語 カナ ｶﾅ", "表示\\能力"]),
    ("ascii", "SQL_ASCII", "plain", ["only ascii", "and UTF-8: größe"]),
];

fn create(postgres: &Postgres, database: &str, encoding: &str, column: &str) -> Result<()> {
    let administrator = postgres.client()?;
    administrator.execute(&format!("CREATE DATABASE {database} ENCODING '{encoding}' TEMPLATE template0"))?;
    let client = postgres.client_of(database)?;
    client.execute(&format!("CREATE TABLE words (id int PRIMARY KEY, \"{column}\" text, many text[])")).map(drop)
}

fn source(postgres: &Postgres, database: &str) -> String {
    format!(
        "[sources.{database}]\ntables = [\"public.*\"]\n[sources.{database}.postgres]\nurl = \"{}\"\nheartbeat_interval = \"1s\"\n",
        postgres.url_of("postgres", database)
    )
}

#[test]
fn databases_in_other_encodings_arrive_as_utf_8() -> Result<()> {
    let postgres = Postgres::start(&PostgresOptions::version(POSTGRES))?;
    let lake = tempfile::tempdir()?;
    let mut config =
        format!("[sinks.lake.delta]\nlocation = \"file://{}\"\ncommit_interval = \"200ms\"\n", lake.path().display());
    for (database, encoding, column, _) in DATABASES {
        create(&postgres, database, encoding, column)?;
        write!(config, "{}", source(&postgres, database))?;
    }
    let insert = |first: usize| -> Result<()> {
        for (database, _, _, words) in DATABASES {
            let client = postgres.client_of(database)?;
            for (id, words) in words.iter().enumerate() {
                client.execute(&format!("INSERT INTO words VALUES ({}, '{words}', ARRAY['{words}'])", first + id))?;
            }
        }
        Ok(())
    };
    insert(0)?;
    let mut daemon = Daemon::new(BINARY, &config)?;
    daemon.run()?;
    for first in [10, 20] {
        let target = rig::lsn(&postgres.client()?.value("SELECT pg_current_wal_lsn()")?)?;
        daemon.wait_for("every sink to hold what is committed", |status| rig::holds(status, target))?;
        insert(first)?;
    }
    let target = rig::lsn(&postgres.client()?.value("SELECT pg_current_wal_lsn()")?)?;
    daemon.wait_for("every sink to hold what is committed", |status| rig::holds(status, target))?;
    for (database, ..) in DATABASES {
        let path = lake.path().join(database).join("public/words");
        oracle::check_mirror(&postgres.client_of(database)?, "public", "words", &path, &[Reader::Deltalake])
            .context(database)?;
    }
    ensure!(daemon.terminate()? == OK);
    Ok(())
}

#[test]
fn bytes_that_are_no_text_halt_the_source() -> Result<()> {
    let postgres = Postgres::start(&PostgresOptions::version(POSTGRES))?;
    for (database, before) in [("in_the_snapshot", true), ("in_the_log", false)] {
        create(&postgres, database, "SQL_ASCII", "v")?;
        let client = postgres.client_of(database)?;
        let broken = "INSERT INTO words (id, v) VALUES (7, E'secret\\xff')";
        if before {
            client.execute(broken)?;
        }
        let lake = tempfile::tempdir()?;
        let config = source(&postgres, database)
            + &format!(
                "[sinks.lake.delta]\nlocation = \"file://{}\"\ncommit_interval = \"200ms\"\n",
                lake.path().display()
            );
        let mut daemon = Daemon::new(BINARY, &config)?;
        let checked = String::from_utf8_lossy(&daemon.check()?.stdout).into_owned();
        ensure!(checked.contains("encoding_unchecked"), "`check` warns of the encoding: {checked}");
        daemon.allow_log("halted");
        daemon.allow_log("no source can run");
        daemon.run()?;
        if !before {
            let target = rig::lsn(&client.value("SELECT pg_current_wal_lsn()")?)?;
            daemon.wait_for("the lake to hold the table", |status| rig::holds(status, target))?;
            client.execute(broken)?;
        }
        ensure!(daemon.wait_exit()?.code() == Some(1), "nothing is left that can run");
        let log = daemon.log()?;
        let line = log.lines().find(|line| line.contains("source halted")).context("no line says why")?;
        for word in ["invalid_utf8", "public.words", "column `v`", "remedy"] {
            ensure!(line.contains(word), "the line does not say `{word}`: {line}");
        }
        ensure!(!log.contains("secret"), "the log shows a value");
    }
    Ok(())
}
