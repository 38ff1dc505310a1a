//! What Debezium wrote for the statements of `golden/mysql_*.sql` and `golden/mariadb_*.sql`, and what the daemon writes for
//! the same statements on a real server in the profile `debezium-3`. What is not the same on purpose stands in `SNAPSHOT`,
//! `MYSQL_STREAM` and `MARIADB_STREAM`.

use super::rig::{Target, USER};
use crate::golden::compare;
use crate::rig::BINARY;
use anyhow::{Context, Result, ensure};
use tidewire_testkit::mysql::Client;
use tidewire_testkit::{Daemon, Kafka, KafkaOptions, Mysql, MysqlOptions, MysqlVersion};

/// A recorded run: its records, the name of the source, and settings beside the profile.
type Run = (&'static str, &'static str, &'static str);

const STRINGS: &str = "schemas = false\ndecimal = \"string\"\ntemporal = \"microseconds\"";

const MYSQL: [Run; 3] = [
    (
        include_str!("../../../connectors/kafka/tests/golden/mysql_schemas_false.jsonl"),
        "g-mysql-schemas-false",
        "schemas = false",
    ),
    (include_str!("../../../connectors/kafka/tests/golden/mysql_schemas_true.jsonl"), "g-mysql-schemas-true", ""),
    (include_str!("../../../connectors/kafka/tests/golden/mysql_string_micro.jsonl"), "g-mysql-string-micro", STRINGS),
];

const MARIADB: [Run; 3] = [
    (
        include_str!("../../../connectors/kafka/tests/golden/mariadb_schemas_false.jsonl"),
        "g-mariadb-schemas-false",
        "schemas = false",
    ),
    (include_str!("../../../connectors/kafka/tests/golden/mariadb_schemas_true.jsonl"), "g-mariadb-schemas-true", ""),
    (
        include_str!("../../../connectors/kafka/tests/golden/mariadb_string_micro.jsonl"),
        "g-mariadb-string-micro",
        STRINGS,
    ),
];

/// What differs in rows of a snapshot: which table was read first and last, in Debezium by name and here by size.
const SNAPSHOT: [(&str, &str); 2] = [
    (r#""snapshot":"first""#, r#""snapshot":"first_in_data_collection""#),
    (r#""snapshot":"last""#, r#""snapshot":"last_in_data_collection""#),
];

/// What differs in the log of MySQL: the number of the row in its event where there is no row (Debezium's TRUNCATE bears that
/// of the row before), and a time inside JSON, which has the server's digits here.
const MYSQL_STREAM: [(&str, &str); 2] = [
    (r#""row":1,"thread":null"#, r#""row":0,"thread":null"#),
    (r"2024-02-29 12:34:56.789\", r"2024-02-29 12:34:56.789000\"),
];

/// What differs in the log of MariaDB: the session, which Debezium does not read there; a TRUNCATE, which it has in a
/// transaction that begins and never ends, with the number of the row before; and a timestamp that is none, of which it makes
/// the epoch in the log and null in a snapshot.
const MARIADB_STREAM: [(&str, &str); 5] = [
    (r#""thread":0"#, r#""thread":null"#),
    (
        r#""transaction":{"id":"0","total_order":1,"data_collection_order":1},"op":"t""#,
        r#""transaction":null,"op":"t""#,
    ),
    (
        r#""row":1,"thread":null,"query":null},"transaction":null,"op":"t""#,
        r#""row":0,"thread":null,"query":null},"transaction":null,"op":"t""#,
    ),
    (r#""ts":"1970-01-01T00:00:00Z""#, r#""ts":null"#),
    (r#""ts":0,"#, r#""ts":null,"#),
];

#[test]
fn mysql_s_rows_are_what_debezium_wrote() -> Result<()> {
    compared(
        MysqlVersion::MySql97,
        include_str!("../golden/mysql_setup.sql"),
        include_str!("../golden/mysql_changes.sql"),
        &MYSQL,
        &MYSQL_STREAM,
    )
}

#[test]
fn mariadb_s_rows_are_what_debezium_wrote() -> Result<()> {
    compared(
        MysqlVersion::MariaDb118,
        include_str!("../golden/mariadb_setup.sql"),
        include_str!("../golden/mariadb_changes.sql"),
        &MARIADB,
        &MARIADB_STREAM,
    )
}

fn compared(version: MysqlVersion, setup: &str, changes: &str, runs: &[Run], stream: &[(&str, &str)]) -> Result<()> {
    let server = Mysql::start(&MysqlOptions::version(version).set("default-time-zone", "+00:00"))?;
    let kafka = Kafka::start(&KafkaOptions::default())?;
    let client = server.client_of("")?;
    run(&client, setup)?;
    server.create_limited_user(USER, &["golden"])?;
    let mut daemon = Daemon::new(BINARY, &config(server.port(), &kafka, runs))?;
    daemon.run()?;
    catch_up(&mut daemon, &server)?;
    run(&client, changes)?;
    catch_up(&mut daemon, &server)?;
    ensure!(daemon.terminate()? == 0);
    for (golden, source, _) in runs {
        compare(golden, source, &kafka, &SNAPSHOT, stream).context(*source)?;
    }
    Ok(())
}

/// As the recorded runs: dates that are none became null, or the epoch where null may not be.
fn config(port: u16, kafka: &Kafka, runs: &[Run]) -> String {
    let mut text = String::new();
    for (number, (_, source, format)) in runs.iter().enumerate() {
        text.push_str(&format!(
            "[sources.{source}]\ntables = [\"golden.*\"]\n[sources.{source}.mysql]\nurl = \"mysql://{USER}@127.0.0.1:{port}\"\n\
             password = \"{USER}\"\nserver_id = {}\nheartbeat_interval = \"1s\"\nsnapshot_parallelism = 1\nzero_dates = \"null\"\n\
             [sinks.to-{source}]\nsources = [\"{source}\"]\n[sinks.to-{source}.kafka]\nbrokers = [\"{}\"]\n\
             [sinks.to-{source}.kafka.format]\nprofile = \"debezium-3\"\ntruncates = true\ntransactions = true\n{format}\n",
            7001 + number,
            kafka.brokers()
        ));
    }
    text
}

fn catch_up(daemon: &mut Daemon, server: &Mysql) -> Result<()> {
    let target = Target::of(server)?;
    daemon.wait_for("every sink to hold what is committed", |status| target.is_held(status))?;
    Ok(())
}

/// Runs a script in one session, line by line.
fn run(client: &Client, script: &str) -> Result<()> {
    let mut statement = String::new();
    for line in script.lines().filter(|line| !line.starts_with("--")) {
        statement.push_str(line);
        statement.push('\n');
        if line.trim_end().ends_with(';') {
            client.execute(&std::mem::take(&mut statement))?;
        }
    }
    ensure!(statement.trim().is_empty(), "a statement without an end: {statement}");
    Ok(())
}
