//! Getting in: encryption and logins of both sides, what `check` finds with which exit code, and what `setup` and
//! `remove` do about it. PG-05, PG-08, PG-10, PG-17, PG-19, PG-21, PG-27, PG-29, PG-96, PG-97, PG-98, SEC-13, SEC-80.

mod bare;
mod encodings;
mod interceptor;
mod ways;

use crate::rig::{self, BINARY, POSTGRES};
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Output;
use tidewire_testkit::kafka::{Isolation, PASSWORD, USER};
use tidewire_testkit::oracle;
use tidewire_testkit::{Daemon, Kafka, KafkaOptions, Postgres, PostgresOptions, certificate};

const OK: i32 = 0;
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const AMISS: i32 = 3;
const CONFIGURATION: i32 = 78;

/// A server with the table `notes` and the login `cdc`, which may do nothing but replicate and read.
fn server(options: &PostgresOptions) -> Result<Postgres> {
    let postgres = Postgres::start(options)?;
    let client = postgres.client()?;
    client.execute("CREATE TABLE notes (id int PRIMARY KEY, v text); INSERT INTO notes VALUES (1, 'one')")?;
    postgres.create_limited_role("cdc", "postgres", &["public"])?;
    Ok(postgres)
}

fn with_publication(options: &PostgresOptions) -> Result<Postgres> {
    let postgres = server(options)?;
    postgres.client()?.execute("CREATE PUBLICATION tidewire_shop FOR TABLE notes")?;
    Ok(postgres)
}

/// A configuration whose only sink drops everything.
fn to_nowhere(url: &str) -> String {
    rig::config(url, None, None, "[sinks.measure.null]\n")
}

/// What `tidewire check` says of a configuration must hold `code` and end with the exit code; an empty `code` is none.
fn must_say(config: &str, exit: i32, code: &str) -> Result<()> {
    let found = Daemon::new(BINARY, config)?.check()?;
    must_be(&found, exit, &if code.is_empty() { String::new() } else { format!("[{code}]") })
}

fn must_be(found: &Output, exit: i32, words: &str) -> Result<()> {
    let said = format!("{}{}", String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&found.stderr));
    ensure!(found.status.code() == Some(exit), "ended with {} instead of {exit}: {said}", found.status);
    ensure!(said.contains(words), "does not say `{words}`: {said}");
    ensure!(!said.contains(PASSWORD), "shows a password: {said}");
    Ok(())
}

#[test]
fn a_server_is_trusted_only_when_its_certificate_is() -> Result<()> {
    let postgres = with_publication(&PostgresOptions::version(POSTGRES).tls())?;
    let authority = &postgres.certificates().context("the server has certificates")?.authority;
    let strange = tempfile::tempdir()?;
    let other = certificate::generate(strange.path())?.authority;
    let url = |rest: &str| to_nowhere(&format!("{}?{rest}", postgres.url("cdc")));
    let root = |path: &Path| format!("sslrootcert={}", path.display());
    // The login is SCRAM; over TLS the server offers it bound to the channel, and refuses a client that could and does not.
    must_say(&url(&format!("sslmode=verify-full&{}", root(authority))), OK, "")?;
    must_say(&url(&format!("sslmode=verify-ca&{}", root(authority))), OK, "")?;
    must_say(&url("sslmode=require"), OK, "")?;
    must_say(&url("sslmode=disable"), OK, "")?;
    must_say(&url(&format!("sslmode=verify-full&{}", root(&other))), AMISS, "tls_refused")?;
    must_say(&url(&format!("sslmode=verify-ca&{}", root(&other))), AMISS, "tls_refused")?;
    must_say(&url(&format!("sslmode=verify-full&{}", root(Path::new("/nowhere.pem")))), AMISS, "tls_certificate")?;
    let plain = with_publication(&PostgresOptions::version(POSTGRES))?;
    let to_plain = to_nowhere(&format!("{}?sslmode=verify-full&{}", plain.url("cdc"), root(authority)));
    must_say(&to_plain, AMISS, "tls_not_offered")?;

    // It streams so, too.
    let url = format!("{}?sslmode=verify-full&{}", postgres.url("cdc"), root(authority));
    let lake = tempfile::tempdir()?;
    let mut daemon = Daemon::start(BINARY, &rig::config(&url, None, Some(lake.path()), ""))?;
    let client = postgres.client()?;
    client.execute("INSERT INTO notes VALUES (2, 'over TLS')")?;
    let target = rig::lsn(&client.value("SELECT pg_current_wal_lsn()")?)?;
    daemon.wait_for("the lake to hold the row", |status| rig::holds(status, target))?;
    let encrypted = "SELECT bool_and(s.ssl) FROM pg_stat_replication r JOIN pg_stat_ssl s USING (pid)";
    ensure!(client.value(encrypted)? == "t", "the stream is encrypted");
    ensure!(daemon.terminate()? == OK);
    Ok(())
}

/// Lets `cdc` in by another method.
fn let_in_by(postgres: &Postgres, method: &str) -> Result<()> {
    let_in(postgres, &format!("host all all 127.0.0.1/32 {method}\n"))
}

/// Lets others than the administrator in by these rules alone.
fn let_in(postgres: &Postgres, rules: &str) -> Result<()> {
    let rules = format!("local all all trust\nhost all postgres 127.0.0.1/32 trust\n{rules}");
    std::fs::write(postgres.data().join("pg_hba.conf"), rules)?;
    postgres.client()?.execute("SELECT pg_reload_conf()")?;
    // New sessions follow the new rules once the server has read them.
    tidewire_testkit::wait::until("the server to read its rules", tidewire_testkit::wait::PATIENCE, || {
        let loaded = postgres.client()?.value("SELECT pg_conf_load_time() > pg_postmaster_start_time()")?;
        Ok((loaded == "t").then_some(()))
    })
}

#[test]
fn passwords_are_proved_as_the_server_asks() -> Result<()> {
    let postgres = with_publication(&PostgresOptions::version(POSTGRES).tls())?;
    let url = |mode: &str| to_nowhere(&format!("{}?sslmode={mode}", postgres.url("cdc")));
    let wrong = postgres.url("cdc").replace("cdc:cdc@", "cdc:guess@");
    must_say(&to_nowhere(&wrong), AMISS, "authentication_refused")?;
    let_in_by(&postgres, "password")?;
    must_say(&url("disable"), AMISS, "cleartext_password")?;
    must_say(&url("require"), OK, "")?;
    postgres.client()?.execute("SET password_encryption = 'md5'; ALTER ROLE cdc PASSWORD 'cdc'")?;
    let_in_by(&postgres, "md5")?;
    must_say(&url("disable"), OK, "")?;
    must_say(&to_nowhere(&wrong), AMISS, "authentication_refused")
}

#[test]
fn a_broker_is_reached_by_sasl_over_tls() -> Result<()> {
    let postgres = with_publication(&PostgresOptions::version(POSTGRES))?;
    let kafka = Kafka::start(&KafkaOptions { sasl_ssl: true, ..KafkaOptions::default() })?;
    let authority = &kafka.certificates().context("the broker has certificates")?.authority;
    let brokers = kafka.secure_brokers().context("a SASL_SSL listener")?;
    let strange = tempfile::tempdir()?;
    let other = certificate::generate(strange.path())?.authority;
    let config = |mechanism: &str, password: &str, authority: &Path| {
        rig::config(
            &postgres.url("cdc"),
            None,
            None,
            &format!(
                "[sinks.events.kafka]\nbrokers = [\"{brokers}\"]\n[sinks.events.kafka.tls]\nca = \"{}\"\n\
                 [sinks.events.kafka.sasl]\nmechanism = \"{mechanism}\"\nusername = \"{USER}\"\npassword = \"{password}\"\n",
                authority.display()
            ),
        )
    };
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        must_say(&config(mechanism, PASSWORD, authority), OK, "").context(mechanism)?;
    }
    must_say(&config("SCRAM-SHA-512", "guess", authority), AMISS, "authentication_failed")?;
    must_say(&config("SCRAM-SHA-512", PASSWORD, &other), AMISS, "tls_failed")?;

    let mut daemon = Daemon::start(BINARY, &config("SCRAM-SHA-512", PASSWORD, authority))?;
    let client = postgres.client()?;
    let target = rig::lsn(&client.value("SELECT pg_current_wal_lsn()")?)?;
    daemon.wait_for("the topic to hold the row", |status| rig::holds(status, target))?;
    let records = kafka.consume("shop.public.notes", Isolation::ReadCommitted)?;
    oracle::check_topic(&client, "public", "notes", &records)?;
    ensure!(daemon.terminate()? == OK);
    Ok(())
}

#[test]
fn check_names_what_is_missing() -> Result<()> {
    let postgres = server(&PostgresOptions::version(POSTGRES))?;
    let client = postgres.client()?;
    let lake = tempfile::tempdir()?;
    let config = rig::config(&postgres.url("cdc"), None, Some(lake.path()), "");
    must_say(&config, AMISS, "publication_missing")?;
    client.execute("CREATE PUBLICATION tidewire_shop FOR ALL TABLES")?;
    must_say(&config, OK, "")?;
    client.execute("ALTER ROLE cdc NOREPLICATION")?;
    must_say(&config, AMISS, "role_lacks_replication")?;
    client.execute("ALTER ROLE cdc REPLICATION; REVOKE SELECT ON notes FROM cdc")?;
    must_say(&config, AMISS, "table_not_readable")?;
    client.execute("GRANT SELECT ON notes TO cdc; CREATE TABLE keyless (v text)")?;
    must_say(&config, OK, "table_without_key")?;
    let strict = rig::config(&postgres.url("cdc"), None, Some(lake.path()), "keyless = \"refuse\"\n");
    must_say(&strict, AMISS, "table_without_key")?;
    let by_rows = rig::config(&postgres.url("cdc"), None, Some(lake.path()), "keyless = \"rows\"\n");
    must_say(&by_rows, OK, "row_not_whole")?;
    client.execute("DROP TABLE keyless")?;
    must_say(&config, OK, "")?;
    let nobody = to_nowhere(&postgres.url_of("cdc", "nowhere"));
    must_say(&nobody, AMISS, "database_missing")?;
    ensure!(client.value("SELECT count(*) FROM pg_replication_slots")? == "0", "check changes nothing");

    let replica = with_publication(&PostgresOptions::version(POSTGRES).set("wal_level", "replica"))?;
    must_say(&to_nowhere(&replica.url("cdc")), AMISS, "wal_level_not_logical")
}

#[test]
fn check_knows_what_a_slot_and_a_table_must_be() -> Result<()> {
    let options = PostgresOptions::version(POSTGRES).set("max_replication_slots", "1").set("max_wal_senders", "0");
    let postgres = with_publication(&options)?;
    let client = postgres.client()?;
    let config = to_nowhere(&postgres.url("cdc"));
    must_say(&config, AMISS, "senders_exhausted")?;
    client.execute("SELECT pg_create_physical_replication_slot('other')")?;
    must_say(&config, AMISS, "slots_exhausted")?;

    let postgres = with_publication(&PostgresOptions::version(POSTGRES))?;
    let client = postgres.client()?;
    let config = to_nowhere(&postgres.url("cdc"));
    must_say(&config, OK, "wal_retention_unlimited")?;
    client.execute("CREATE DATABASE another")?;
    let logical = "SELECT pg_create_logical_replication_slot('tidewire_shop', 'pgoutput'";
    for (database, create) in [
        ("postgres", "SELECT pg_create_physical_replication_slot('tidewire_shop')".to_owned()),
        ("postgres", format!("{logical}, twophase => true)")),
        ("another", format!("{logical})")),
    ] {
        postgres.client_of(database)?.execute(&create)?;
        must_say(&config, AMISS, "slot_unusable").context(create)?;
        client.execute("SELECT pg_drop_replication_slot('tidewire_shop')")?;
    }
    must_say(&config, OK, "")?;

    client.execute("ALTER TABLE notes ENABLE ROW LEVEL SECURITY")?;
    must_say(&config, AMISS, "row_level_security")?;
    client.execute("ALTER ROLE cdc BYPASSRLS")?;
    must_say(&config, OK, "")?;
    client.execute("ALTER PUBLICATION tidewire_shop SET (publish = 'insert, update, delete')")?;
    must_say(&config, OK, "publication_lacks_operation")?;
    client.execute("ALTER PUBLICATION tidewire_shop SET TABLE notes (id) WHERE (id > 5)")?;
    must_say(&config, OK, "column_list")?;
    must_say(&config, OK, "row_filter")?;
    client.execute("CREATE UNLOGGED TABLE cheap (id int PRIMARY KEY)")?;
    must_say(&config, OK, "unsupported_relation_kind")?;
    client.execute("REVOKE USAGE ON SCHEMA public FROM PUBLIC, cdc")?;
    must_say(&config, AMISS, "schema_not_usable")?;
    client.execute("GRANT USAGE ON SCHEMA public TO cdc; ALTER PUBLICATION tidewire_shop DROP TABLE notes")?;
    must_say(&config, AMISS, "no_table_captured")
}

#[test]
fn faults_of_the_configuration_are_told_with_their_place() -> Result<()> {
    for (config, place) in [
        ("[sources.shop]\n[sources.shop.postgres\n", "tidewire.toml:"),
        ("[sources.shop.postgres]\nurl = \"mysql://a@b/c\"\n[sinks.measure.null]\n", "sources.shop.postgres.url"),
        ("[sources.shop.postgres]\nurl = \"postgres://a@b/c\"\nslto = \"x\"\n[sinks.measure.null]\n", "slto"),
        (
            "[sources.shop.postgres]\nurl = \"postgres://a@b/c\"\n[sinks.events.kafka]\nbrokers = []\n",
            "sinks.events.kafka.brokers",
        ),
        (
            "[sources.shop.postgres]\nurl = \"postgres://a@b/c\"\n[sinks.lake.delta]\nlocation = \"ftp://x\"\n",
            "sinks.lake.delta.location",
        ),
    ] {
        let daemon = Daemon::new(BINARY, config)?;
        for command in ["check", "run", "setup"] {
            must_be(&daemon.command(&[command])?, CONFIGURATION, place)
                .with_context(|| format!("{command}: {config}"))?;
        }
    }
    Ok(())
}

#[test]
fn setup_mends_and_remove_gives_back() -> Result<()> {
    let postgres = Postgres::start(&PostgresOptions::version(POSTGRES))?;
    let client = postgres.client()?;
    client.execute("CREATE TABLE notes (id int PRIMARY KEY, v text); INSERT INTO notes VALUES (1, 'one')")?;
    // An owner who may replicate and create a publication.
    client.execute("CREATE ROLE cdc LOGIN REPLICATION PASSWORD 'cdc'; GRANT CREATE ON DATABASE postgres TO cdc")?;
    client.execute("ALTER TABLE notes OWNER TO cdc; GRANT USAGE ON SCHEMA public TO cdc")?;
    let lake = tempfile::tempdir()?;
    let mut daemon = Daemon::new(BINARY, &rig::config(&postgres.url("cdc"), None, Some(lake.path()), ""))?;
    let publications = || client.value("SELECT count(*) FROM pg_publication");
    let slots = || client.value("SELECT count(*) FROM pg_replication_slots");
    must_be(&daemon.command(&["setup"])?, OK, "CREATE PUBLICATION")?;
    ensure!(publications()? == "0", "setup only prints");
    must_be(&daemon.command(&["setup", "--apply"])?, OK, "-- done")?;
    ensure!(publications()? == "1", "--apply runs it");
    must_be(&daemon.command(&["setup"])?, OK, "nothing is missing")?;
    must_be(&daemon.check()?, OK, "source shop: ok")?;

    daemon.run()?;
    let target = rig::lsn(&client.value("SELECT pg_current_wal_lsn()")?)?;
    daemon.wait_for("the lake to hold the row", |status| rig::holds(status, target))?;
    must_be(&daemon.command(&["remove", "shop", "--yes"])?, FAILED, "state_locked")?;
    ensure!(daemon.terminate()? == OK);
    must_be(&daemon.command(&["remove", "shop"])?, USAGE, "--yes")?;
    ensure!(slots()? == "1", "without --yes nothing is removed");
    // What belongs to others stays, however like its name is: `_` stands for any character in a pattern (PG-08, SEC-13).
    let others = ["tidewire_shop_2", "tidewire_shop0", "tidewirexshop", "tidewire_sho"];
    for name in others {
        client.execute(&format!("SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')"))?;
        client.execute(&format!("CREATE PUBLICATION {name} FOR TABLE notes"))?;
        client.execute(&format!("COMMENT ON PUBLICATION {name} IS 'made by another'"))?;
    }
    must_be(&daemon.command(&["remove", "shop", "--yes"])?, OK, "dropped replication slot `tidewire_shop`")?;
    let left = format!("{0} {0}", others.len());
    ensure!(format!("{} {}", slots()?, publications()?) == left, "what is not ours stays");
    for name in others {
        // Each of them is there to be dropped.
        client.execute(&format!("SELECT pg_drop_replication_slot('{name}')"))?;
        client.execute(&format!("DROP PUBLICATION {name}"))?;
    }
    ensure!(slots()? == "0" && publications()? == "0", "nothing else is left on the server");

    // The sink holds a position that no slot vouches for: a new start must not pass over what came meanwhile.
    client.execute("INSERT INTO notes VALUES (2, 'unseen')")?;
    daemon.allow_log("halted");
    daemon.allow_log("no source can run");
    daemon.run()?;
    ensure!(daemon.wait_exit()?.code() == Some(FAILED));
    ensure!(daemon.log()?.contains("slot_missing"), "the start is refused: {}", daemon.log()?);
    ensure!(slots()? == "0", "no slot is made in silence");
    Ok(())
}
