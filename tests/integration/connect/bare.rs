//! Servers that nobody has prepared: what `setup` prints there makes them ready, and `check` knows what a start would find.
//! PG-17, PG-29.

use super::{AMISS, FAILED, OK, must_be};
use crate::rig::{self, BINARY};
use anyhow::{Context, Result, ensure};
use tidewire_testkit::postgres::Client;
use tidewire_testkit::{Daemon, Postgres, PostgresOptions};

/// The oldest major, which has no right to read everything, and the newest.
const MAJORS: [u16; 2] = [13, 18];

/// What `setup` says, and the statements in it, each as it is to be run.
fn printed(daemon: &Daemon) -> Result<(String, Vec<String>)> {
    let said = daemon.command(&["setup"])?;
    must_be(&said, OK, "-- source shop:")?;
    let said = String::from_utf8(said.stdout)?;
    let mut statements = vec![String::new()];
    for line in said.lines() {
        match (line.starts_with("-- "), statements.last_mut()) {
            (false, Some(statement)) => *statement += &format!("{line}\n"),
            _ => statements.push(String::new()),
        }
    }
    statements.retain(|statement| !statement.is_empty());
    Ok((said, statements))
}

/// What an administrator does with them, who knows the password.
fn run_all(client: &Client, statements: &[String]) -> Result<()> {
    for statement in statements {
        client.execute(&statement.replace("'...'", "'cdc'")).with_context(|| statement.clone())?;
    }
    Ok(())
}

#[test]
fn setup_prints_all_that_a_login_needs_that_does_not_exist() -> Result<()> {
    for (major, patterns) in MAJORS.into_iter().zip([r#"["public.*", "!public.audit_*"]"#, "[]"]) {
        let postgres = Postgres::start(&PostgresOptions::version(major))?;
        let client = postgres.client()?;
        client.execute("CREATE TABLE notes (id int PRIMARY KEY); CREATE TABLE \"Audit\" (id int PRIMARY KEY)")?;
        client.execute("CREATE TABLE audit_log (id int PRIMARY KEY); CREATE TABLE keyless (v text)")?;
        client.execute("CREATE TABLE parts (id int PRIMARY KEY) PARTITION BY RANGE (id)")?;
        client.execute(
            "CREATE TABLE part PARTITION OF parts DEFAULT; CREATE UNLOGGED TABLE cheap (id int PRIMARY KEY)",
        )?;
        let config = rig::config(&postgres.url("cdc"), None, None, "[sinks.measure.null]\n");
        let daemon = Daemon::new(BINARY, &config.replace(r#"["public.*"]"#, patterns))?;
        must_be(&daemon.check()?, AMISS, "authentication_refused")?;
        let (said, statements) = printed(&daemon)?;
        ensure!(said.contains("CREATE ROLE \"cdc\" LOGIN REPLICATION PASSWORD '...'"), "{said}");
        ensure!(!said.contains("PASSWORD 'cdc'"), "the password is told: {said}");
        must_be(&daemon.command(&["setup", "--apply"])?, FAILED, "-- not done: the login is not let in")?;
        run_all(&client, &statements)?;

        must_be(&daemon.check()?, OK, "source shop: ok")?;
        let published =
            client.value("SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_publication_tables")?;
        let expected = if major == 13 { "Audit notes parts" } else { "Audit audit_log notes parts" };
        ensure!(published == expected, "PostgreSQL {major} publishes {published}");
        // What is left is for a person to weigh, and --apply says so.
        let (_, statements) = printed(&daemon)?;
        ensure!(statements == ["ALTER TABLE \"public\".\"keyless\" REPLICA IDENTITY FULL;\n"], "{statements:?}");
        let applied = daemon.command(&["setup", "--apply"])?;
        must_be(&applied, OK, "-- left to a person: it needs the table's owner")?;
        must_be(&applied, OK, "1 of 1 statements are left to a person")?;
        run_all(&client, &statements)?;
        let (_, statements) = printed(&daemon)?;
        ensure!(
            statements == ["ALTER PUBLICATION \"tidewire_shop\" ADD TABLE \"public\".\"keyless\";\n"],
            "{statements:?}"
        );
        run_all(&client, &statements)?;
        must_be(&daemon.command(&["setup"])?, OK, "nothing is missing")?;
        must_be(&daemon.check()?, OK, "source shop: ok")?;
    }
    Ok(())
}

#[test]
fn setup_lets_a_login_into_the_database() -> Result<()> {
    let postgres = Postgres::start(&PostgresOptions::version(rig::POSTGRES))?;
    let client = postgres.client()?;
    client.execute("CREATE TABLE notes (id int PRIMARY KEY); CREATE ROLE cdc LOGIN PASSWORD 'cdc'")?;
    client.execute("REVOKE CONNECT ON DATABASE postgres FROM PUBLIC")?;
    let config = rig::config(&postgres.url("cdc"), None, None, "[sinks.measure.null]\n");
    let daemon = Daemon::new(BINARY, &config)?;
    must_be(&daemon.check()?, AMISS, "permission_denied")?;
    let (said, statements) = printed(&daemon)?;
    ensure!(!said.contains("CREATE ROLE"), "the login exists: {said}");
    run_all(&client, &statements)?;
    must_be(&daemon.check()?, OK, "source shop: ok")
}

/// What a sink would refuse is told before the publication is there, which the first start makes.
#[test]
fn check_knows_the_tables_of_the_publication_that_comes() -> Result<()> {
    for major in MAJORS {
        let postgres = Postgres::start(&PostgresOptions::version(major))?;
        let client = postgres.client()?;
        client.execute("CREATE TABLE notes (id int PRIMARY KEY, \"a b\" int, a_b int)")?;
        // Neither would be in it.
        client.execute("CREATE TABLE keyless (\"a b\" int, a_b int); CREATE VIEW seen AS SELECT id FROM notes")?;
        let lake = tempfile::tempdir()?;
        let config = rig::config(&postgres.url("postgres"), None, Some(lake.path()), "");
        let mut daemon = Daemon::new(BINARY, &config)?;
        must_be(&daemon.check()?, AMISS, "[column_name_collision]")?;
        client.execute("ALTER TABLE notes DROP a_b, ADD c int GENERATED ALWAYS AS (id + 1) STORED")?;
        let checked = daemon.check()?;
        must_be(&checked, OK, "[publication_missing]")?;
        ensure!(client.value("SELECT count(*) FROM pg_publication")? == "0", "check changes nothing");
        daemon.run()?;
        daemon.wait_for("the stream", |status| status["sources"]["shop"]["state"] == "streaming")?;
        ensure!(daemon.terminate()? == OK);
    }
    Ok(())
}
