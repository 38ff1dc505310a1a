//! Getting in: encryption and logins of every version, compression, the socket, what `check`, `setup` and `remove` say.
//! MY-55, MY-56, MY-57.

use super::rig::{SOURCE, Target, USER};
use crate::rig::BINARY;
use anyhow::{Context, Result, ensure};
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tidewire_testkit::mysql::DATABASE;
use tidewire_testkit::{Daemon, Mysql, MysqlOptions, MysqlVersion, certificate, wait};

const OK: i32 = 0;
const AMISS: i32 = 3;

/// A server with a table, certificates of ours, and the limited user.
fn server(version: MysqlVersion) -> Result<Mysql> {
    let server = Mysql::start(&MysqlOptions::version(version).tls())?;
    server.client()?.execute("CREATE TABLE notes (id int AUTO_INCREMENT PRIMARY KEY, v varchar(20))")?;
    server.create_limited_user(USER, &[DATABASE])?;
    Ok(server)
}

/// A configuration whose only sink drops everything. `way` follows the address, `more` are further lines of the source.
fn to_nowhere(user: &str, password: &str, port: u16, way: &str, more: &str) -> String {
    format!(
        "[sources.{SOURCE}]\ntables = [\"{DATABASE}.*\"]\n[sources.{SOURCE}.mysql]\nurl = \"mysql://{user}@127.0.0.1:{port}/{way}\"\n\
         password = \"{password}\"\nheartbeat_interval = \"1s\"\n{more}[sinks.measure.null]\n"
    )
}

/// What was said must hold `words`, and nothing secret, and end with the exit code.
fn must_be(found: &Output, exit: i32, words: &str) -> Result<()> {
    let said = format!("{}{}", String::from_utf8_lossy(&found.stdout), String::from_utf8_lossy(&found.stderr));
    ensure!(found.status.code() == Some(exit), "ended with {} instead of {exit}: {said}", found.status);
    ensure!(said.contains(words), "does not say `{words}`: {said}");
    ensure!(!said.contains("a secret"), "shows a password: {said}");
    Ok(())
}

fn must_say(config: &str, exit: i32, words: &str) -> Result<()> {
    must_be(&Daemon::new(BINARY, config)?.check()?, exit, words)
}

/// Streams a row.
fn must_stream(server: &Mysql, config: &str) -> Result<()> {
    let mut daemon = Daemon::new(BINARY, config)?;
    // The server may not have noticed yet that the last reader has gone.
    daemon.allow_log("replica_id_taken");
    daemon.run()?;
    daemon.wait_for("the source to stream", |status| status["sources"][SOURCE]["state"] == "streaming")?;
    server.client()?.execute("INSERT INTO notes (v) VALUES ('streamed')")?;
    let target = Target::of(server)?;
    daemon.wait_for("the row to have come", |status| target.is_held(status))?;
    ensure!(daemon.terminate()? == OK);
    Ok(())
}

fn ways(version: MysqlVersion) -> Result<()> {
    let server = server(version)?;
    let port = server.port();
    let authority = server.certificates().context("the server has certificates")?.authority.display().to_string();
    let strange = tempfile::tempdir()?;
    let strange = certificate::generate(strange.path())?.authority.display().to_string();
    let socket = format!("?socket={}", server.socket().display());
    let verified = format!("?ssl-mode=VERIFY_IDENTITY&ssl-ca={authority}");
    let mut ways =
        vec![verified.clone(), "?ssl-mode=REQUIRED".to_owned(), socket, format!("{verified}&compression=zlib")];
    if !version.is_mariadb() {
        ways.push(format!("{verified}&compression=zstd"));
    }
    for way in &ways {
        let config = to_nowhere(USER, USER, port, way, "");
        must_say(&config, OK, "").with_context(|| way.clone())?;
        must_stream(&server, &config).with_context(|| way.clone())?;
    }
    let refused = to_nowhere(USER, USER, port, &format!("?ssl-mode=VERIFY_CA&ssl-ca={strange}"), "");
    must_say(&refused, AMISS, "tls_")?;
    must_say(&to_nowhere(USER, "a secret", port, &verified, ""), AMISS, "authentication_refused")?;
    must_say(&to_nowhere("nobody", "a secret", port, &verified, ""), AMISS, "authentication_refused")
}

#[test]
fn to_mysql_8_0() -> Result<()> {
    ways(MysqlVersion::MySql8031)
}

#[test]
fn to_mysql_9_7() -> Result<()> {
    ways(MysqlVersion::MySql97)
}

#[test]
fn to_mariadb_10_5() -> Result<()> {
    ways(MysqlVersion::MariaDb105)
}

#[test]
fn to_mariadb_11_8() -> Result<()> {
    ways(MysqlVersion::MariaDb118)
}

/// Without TLS a password goes only under the server's key, and only when that is allowed; what the server has checked
/// before it knows again by a proof.
#[test]
fn a_password_is_never_sent_in_the_clear() -> Result<()> {
    let server = server(MysqlVersion::MySql97)?;
    let plain = "?ssl-mode=DISABLED";
    let config = |more: &str| to_nowhere(USER, USER, server.port(), plain, more);
    must_say(&config(""), AMISS, "server_public_key")?;
    must_stream(&server, &config("get_server_public_key = true\n"))?;
    must_say(&config(""), OK, "")
}

#[test]
fn older_methods_of_login() -> Result<()> {
    let server = server(MysqlVersion::MySql8031)?;
    let client = server.client_of("")?;
    for (user, plugin) in [("old", "mysql_native_password"), ("older", "sha256_password")] {
        client.execute(&format!(
            "CREATE USER {user} IDENTIFIED WITH {plugin} BY '{user}';
             GRANT REPLICATION SLAVE, REPLICATION CLIENT, RELOAD, BACKUP_ADMIN, XA_RECOVER_ADMIN ON *.* TO {user};
             GRANT SELECT, LOCK TABLES ON {DATABASE}.* TO {user}"
        ))?;
        must_stream(&server, &to_nowhere(user, user, server.port(), "?ssl-mode=REQUIRED", "")).context(plugin)?;
    }
    Ok(())
}

/// What MariaDB has instead of passwords that are sent: proofs by a key made of the password.
#[test]
fn methods_of_login_of_mariadb() -> Result<()> {
    let server = server(MysqlVersion::MariaDb118)?;
    let client = server.client_of("")?;
    for (user, plugin) in [("ed", "ed25519"), ("par", "parsec")] {
        client.execute(&format!(
            "INSTALL SONAME 'auth_{plugin}';
             CREATE USER {user} IDENTIFIED VIA {plugin} USING PASSWORD('{user}');
             GRANT REPLICATION SLAVE, REPLICATION CLIENT, RELOAD ON *.* TO {user};
             GRANT SELECT, LOCK TABLES ON {DATABASE}.* TO {user}"
        ))?;
        for way in ["?ssl-mode=REQUIRED", "?ssl-mode=DISABLED"] {
            must_stream(&server, &to_nowhere(user, user, server.port(), way, "")).context(plugin)?;
        }
        let config = to_nowhere(user, "a secret", server.port(), "?ssl-mode=REQUIRED", "");
        must_say(&config, AMISS, "authentication_refused").context(plugin)?;
    }
    Ok(())
}

/// `check` names what is missing and the statement that mends it; `setup` prints it, and then nothing is missing.
#[test]
fn what_is_missing_is_named_and_mended() -> Result<()> {
    for version in [MysqlVersion::MySql97, MysqlVersion::MariaDb118] {
        let server = server(version)?;
        let client = server.client_of("")?;
        client.execute("CREATE USER 'bare'@'%' IDENTIFIED BY 'bare'")?;
        let config = to_nowhere("bare", "bare", server.port(), "?ssl-mode=REQUIRED", "");
        must_say(&config, AMISS, "GRANT")?;
        // What a login cannot see it cannot name.
        client.execute(&format!("GRANT SELECT ON {DATABASE}.* TO 'bare'@'%'"))?;
        let daemon = Daemon::new(BINARY, &config)?;
        let printed = daemon.command(&["setup", SOURCE])?;
        let statements = String::from_utf8_lossy(&printed.stdout).into_owned();
        let grants: Vec<&str> = statements.lines().filter(|line| line.starts_with("GRANT")).collect();
        ensure!(!grants.is_empty(), "{version:?}: setup prints no grants: {statements}");
        grants.iter().try_for_each(|grant| client.execute(grant).map(drop))?;
        must_be(&daemon.check()?, OK, "").with_context(|| format!("{version:?}, after {grants:?}"))?;
        must_stream(&server, &config)?;
        // Nothing is held on the server.
        must_be(&daemon.command(&["remove", SOURCE, "--yes"])?, OK, "")?;
    }
    Ok(())
}

/// A login of MariaDB that may lock nothing gets its snapshot while others write: sessions that begin one after another see
/// different states then, and one alone reads all tables.
#[test]
fn a_login_that_may_lock_nothing_reads_amid_writes() -> Result<()> {
    let server = server(MysqlVersion::MariaDb118)?;
    server.client()?.execute(
        "CREATE TABLE a (id int AUTO_INCREMENT PRIMARY KEY); CREATE TABLE b LIKE a; CREATE TABLE c LIKE a;
         CREATE USER 'bare'@'%' IDENTIFIED BY 'bare';
         GRANT REPLICATION SLAVE, BINLOG MONITOR ON *.* TO 'bare'@'%';
         GRANT SELECT ON work.* TO 'bare'@'%'",
    )?;
    let done = Arc::new(AtomicBool::new(false));
    let (writer, is_done) = (server.client()?, Arc::clone(&done));
    // Where the source does not stream it ends with the server.
    let writing = std::thread::spawn(move || -> Result<()> {
        while !is_done.load(Ordering::Relaxed) {
            writer.execute("INSERT INTO a () VALUES ()")?;
        }
        Ok(())
    });
    must_stream(&server, &to_nowhere("bare", "bare", server.port(), "?ssl-mode=REQUIRED", ""))?;
    done.store(true, Ordering::Relaxed);
    writing.join().expect("the writer does not panic")
}

/// Settings that lose changes are errors of `check`, with the statement that mends them.
#[test]
fn settings_that_lose_changes_are_found() -> Result<()> {
    for (setting, value, code) in [
        ("binlog-format", "STATEMENT", "binlog_format_not_row"),
        ("skip-log-bin", "", "log_bin_off"),
        ("binlog-ignore-db", DATABASE, "database_not_logged"),
    ] {
        let mut server = server(MysqlVersion::MySql97)?;
        server.restart_with(setting, value)?;
        let config = to_nowhere(USER, USER, server.port(), "?ssl-mode=REQUIRED", "");
        must_say(&config, AMISS, code).context(setting)?;
    }
    Ok(())
}

/// Of two daemons with one number the second waits and says so, and the first goes on (MY-57).
#[test]
fn a_taken_server_id_is_said() -> Result<()> {
    let server = server(MysqlVersion::MySql97)?;
    let config = to_nowhere(USER, USER, server.port(), "?ssl-mode=REQUIRED", "server_id = 4242\n");
    let mut first = Daemon::start(BINARY, &config)?;
    let mut second = Daemon::new(BINARY, &config)?;
    first.allow_log("replica_id_taken");
    second.allow_log("replica_id_taken");
    first.wait_for("the first to stream", |status| status["sources"][SOURCE]["state"] == "streaming")?;
    // The newer one wins, and the other is told why it was ended.
    second.run()?;
    let log = || Ok(first.log()?.contains("replica_id_taken").then_some(()));
    wait::until("the first to say so", wait::PATIENCE, log)?;
    first.kill9()?;
    server.client()?.execute("INSERT INTO notes (v) VALUES ('streamed')")?;
    let target = Target::of(&server)?;
    second.wait_for("the row to have come", |status| target.is_held(status))?;
    Ok(())
}
