//! What Debezium wrote for the statements of `golden/mysql_*.sql`, and what the daemon writes for the same statements on a
//! real server in the profile `debezium-3`. What is not the same on purpose stands in `SNAPSHOT` and `STREAM`.

use super::rig::{NEWEST, Target, USER};
use crate::golden::compare;
use crate::rig::BINARY;
use anyhow::{Context, Result, ensure};
use tidewire_testkit::mysql::Client;
use tidewire_testkit::{Daemon, Kafka, KafkaOptions, Mysql, MysqlOptions};

/// The recorded runs: records, the name of the source, and settings beside the profile.
const RUNS: [(&str, &str, &str); 3] = [
    (
        include_str!("../../../connectors/kafka/tests/golden/mysql_schemas_false.jsonl"),
        "g-mysql-schemas-false",
        "schemas = false",
    ),
    (include_str!("../../../connectors/kafka/tests/golden/mysql_schemas_true.jsonl"), "g-mysql-schemas-true", ""),
    (
        include_str!("../../../connectors/kafka/tests/golden/mysql_string_micro.jsonl"),
        "g-mysql-string-micro",
        "schemas = false\ndecimal = \"string\"\ntemporal = \"microseconds\"",
    ),
];

/// What differs in rows of a snapshot: which table was read first and last, in Debezium by name and here by size.
const SNAPSHOT: [(&str, &str); 2] = [
    (r#""snapshot":"first""#, r#""snapshot":"first_in_data_collection""#),
    (r#""snapshot":"last""#, r#""snapshot":"last_in_data_collection""#),
];

/// What differs in the log: the number of the row in its event where there is no row (Debezium's TRUNCATE bears that of the
/// row before), and a time inside JSON, which has the server's digits here.
const STREAM: [(&str, &str); 2] = [
    (r#""row":1,"thread":null"#, r#""row":0,"thread":null"#),
    (r"2024-02-29 12:34:56.789\", r"2024-02-29 12:34:56.789000\"),
];

#[test]
fn a_real_server_s_rows_are_what_debezium_wrote() -> Result<()> {
    let server = Mysql::start(&MysqlOptions::version(NEWEST).set("default-time-zone", "+00:00"))?;
    let kafka = Kafka::start(&KafkaOptions::default())?;
    let client = server.client_of("")?;
    run(&client, include_str!("../golden/mysql_setup.sql"))?;
    server.create_limited_user(USER, &["golden"])?;
    let mut daemon = Daemon::new(BINARY, &config(server.port(), &kafka))?;
    daemon.run()?;
    catch_up(&mut daemon, &server)?;
    run(&client, include_str!("../golden/mysql_changes.sql"))?;
    catch_up(&mut daemon, &server)?;
    ensure!(daemon.terminate()? == 0);
    for (golden, source, _) in RUNS {
        compare(golden, source, &kafka, &SNAPSHOT, &STREAM).context(source)?;
    }
    Ok(())
}

/// As the recorded runs: dates that are none became null, or the epoch where null may not be.
fn config(port: u16, kafka: &Kafka) -> String {
    let mut text = String::new();
    for (number, (_, source, format)) in RUNS.iter().enumerate() {
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
