//! Ways to a server: its socket, a certificate instead of a password, several hosts of which one has the wanted role,
//! and a stranger between who terminates TLS. PG-96, PG-97.

use super::interceptor::{Interceptor, Mischief};
use super::{AMISS, OK, let_in, must_say, server, to_nowhere, with_publication};
use crate::rig::{self, BINARY, POSTGRES};
use anyhow::{Context, Result, ensure};
use tidewire_testkit::{Daemon, Postgres, PostgresOptions, Proxy, certificate, process};

/// Streams a row to a lake, and asks how the stream has come in.
fn must_stream(postgres: &Postgres, url: &str, asked: &str) -> Result<()> {
    let lake = tempfile::tempdir()?;
    let mut daemon = Daemon::start(BINARY, &rig::config(url, None, Some(lake.path()), ""))?;
    let client = postgres.client()?;
    client.execute("INSERT INTO notes SELECT coalesce(max(id), 0) + 1, 'streamed' FROM notes")?;
    let target = rig::lsn(&client.value("SELECT pg_current_wal_lsn()")?)?;
    daemon.wait_for("the lake to hold the row", |status| rig::holds(status, target))?;
    let answer = client.value(asked)?;
    ensure!(answer == "t", "`{asked}` says {answer}");
    ensure!(daemon.terminate()? == OK);
    Ok(())
}

#[test]
fn a_socket_leads_in() -> Result<()> {
    let postgres = with_publication(&PostgresOptions::version(POSTGRES))?;
    let url = format!("postgres://cdc@/postgres?host={}&port={}", postgres.socket_folder().display(), postgres.port());
    must_say(&to_nowhere(&url), OK, "")?;
    must_stream(&postgres, &url, "SELECT bool_and(client_port = -1) FROM pg_stat_replication")
}

#[test]
fn a_certificate_stands_for_a_password() -> Result<()> {
    let postgres = with_publication(&PostgresOptions::version(POSTGRES).tls())?;
    let files = postgres.certificates().context("the server has certificates")?.clone();
    let_in(&postgres, "hostssl all cdc 127.0.0.1/32 cert\n")?;
    let url = |certificate: &std::path::Path, key: &std::path::Path| {
        format!(
            "postgres://cdc@127.0.0.1:{}/postgres?sslmode=verify-full&sslrootcert={}&sslcert={}&sslkey={}",
            postgres.port(),
            files.authority.display(),
            certificate.display(),
            key.display()
        )
    };
    let ours = url(&files.client_certificate, &files.client_key);
    must_say(&to_nowhere(&ours), OK, "")?;
    // One that names another login, one whose key is another's, and none.
    must_say(&to_nowhere(&url(&files.certificate, &files.key)), AMISS, "authentication_refused")?;
    must_say(&to_nowhere(&url(&files.client_certificate, &files.key)), AMISS, "tls_certificate")?;
    let without = format!("postgres://cdc:cdc@127.0.0.1:{}/postgres?sslmode=require", postgres.port());
    must_say(&to_nowhere(&without), AMISS, "authentication_refused")?;
    must_stream(
        &postgres,
        &ours,
        "SELECT bool_and(s.client_dn = '/CN=cdc') FROM pg_stat_replication r JOIN pg_stat_ssl s USING (pid)",
    )
}

#[test]
fn the_host_with_the_wanted_role_is_found() -> Result<()> {
    let mut primary = with_publication(&PostgresOptions::version(POSTGRES))?;
    let standby = primary.standby()?;
    let url = |ports: &[u16], target: &str| {
        let hosts: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
        format!("postgres://cdc:cdc@{}/postgres?target_session_attrs={target}", hosts.join(","))
    };
    let (first, second) = (standby.port(), primary.port());
    let nobody = process::free_port()?;
    for target in ["primary", "read-write"] {
        must_say(&to_nowhere(&url(&[nobody, first, second], target)), OK, "").context(target)?;
        must_say(&to_nowhere(&url(&[first], target)), AMISS, "no_suitable_server").context(target)?;
    }
    for target in ["standby", "read-only"] {
        must_say(&to_nowhere(&url(&[second], target)), AMISS, "no_suitable_server").context(target)?;
    }
    must_say(&to_nowhere(&url(&[second], "prefer-standby")), OK, "")?;
    let both = url(&[first, second], "primary");
    must_stream(&primary, &both, "SELECT bool_or(application_name = 'tidewire/shop') FROM pg_stat_replication")
}

#[test]
fn a_stranger_who_terminates_tls_learns_nothing() -> Result<()> {
    let postgres = server(&PostgresOptions::version(POSTGRES).tls())?;
    postgres.client()?.execute("CREATE PUBLICATION tidewire_shop FOR TABLE notes")?;
    // `sslmode=require` takes any certificate: only the password's own proof, bound to the channel, tells them apart.
    let url = |port: u16| to_nowhere(&format!("postgres://cdc:cdc@127.0.0.1:{port}/postgres?sslmode=require"));
    let honest = Proxy::start(postgres.port())?;
    must_say(&url(honest.port()), OK, "")?;
    let strange = tempfile::tempdir()?;
    let files = certificate::generate(strange.path())?;
    let between = Interceptor::start(postgres.port(), &files, Mischief::None)?;
    must_say(&url(between.port()), AMISS, "authentication_refused")?;
    // Striking the bound mechanism out of the server's offer is found out as well.
    let between = Interceptor::start(postgres.port(), &files, Mischief::StrikeBinding)?;
    must_say(&url(between.port()), AMISS, "authentication_refused")
}
