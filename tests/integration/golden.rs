//! What Debezium wrote for the statements under `golden/`, and what the daemon writes for the same statements on a real
//! server in the profile `debezium-3`: the same bytes, but for times, positions and transaction ids. What is not
//! the same on purpose stands in `SNAPSHOT`.

use crate::rig::{self, BINARY};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use tidewire_kafka::encode::mask::mask;
use tidewire_testkit::kafka::{Isolation, Record};
use tidewire_testkit::postgres::Client;
use tidewire_testkit::{Daemon, Kafka, KafkaOptions, Postgres, PostgresOptions};

/// The server that Debezium read.
const POSTGRES: u16 = 15;

/// The recorded runs: records, the name of the source, and settings beside the profile.
const RUNS: [(&str, &str, &str); 3] = [
    (
        include_str!("../../connectors/kafka/tests/golden/pg_schemas_false.jsonl"),
        "g-pg-schemas-false",
        "schemas = false",
    ),
    (include_str!("../../connectors/kafka/tests/golden/pg_schemas_true.jsonl"), "g-pg-schemas-true", ""),
    (
        include_str!("../../connectors/kafka/tests/golden/pg_string_micro.jsonl"),
        "g-pg-string-micro",
        "schemas = false\ndecimal = \"string\"\ntemporal = \"microseconds\"",
    ),
];

/// What differs in rows of a snapshot: Debezium shows generated columns, which the log does not carry and ours never
/// show; the id of a transaction, which read the row and did not write it; and which table was read first, in Debezium by
/// name and here by size.
const SNAPSHOT: [(&str, &str); 5] = [
    (r#","c_gen":3"#, ""),
    (r#",{"type":"int32","optional":true,"field":"c_gen"}"#, ""),
    (r#""txId":0"#, r#""txId":null"#),
    (r#""snapshot":"first""#, r#""snapshot":"first_in_data_collection""#),
    (r#""snapshot":"last""#, r#""snapshot":"last_in_data_collection""#),
];

/// A record as it was recorded: topic, number in it, key, value and headers.
#[derive(serde::Deserialize)]
struct Recorded {
    topic: String,
    number: usize,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, String)>,
}

#[test]
fn a_real_server_s_rows_are_what_debezium_wrote() -> Result<()> {
    let postgres = Postgres::start(&PostgresOptions::version(POSTGRES))?;
    let kafka = Kafka::start(&KafkaOptions::default())?;
    postgres.client()?.execute("CREATE DATABASE golden")?;
    let client = postgres.client_of("golden")?;
    run(&client, include_str!("golden/setup.sql"))?;
    let mut daemon = Daemon::new(BINARY, &config(&postgres.url_of("postgres", "golden"), &kafka))?;
    daemon.run()?;
    catch_up(&mut daemon, &client)?;
    run(&client, include_str!("golden/changes.sql"))?;
    catch_up(&mut daemon, &client)?;
    ensure!(daemon.terminate()? == 0);
    for (golden, source, _) in RUNS {
        compare(golden, source, &kafka, &SNAPSHOT, &[]).context(source)?;
    }
    Ok(())
}

fn config(url: &str, kafka: &Kafka) -> String {
    let mut text = String::new();
    for (_, source, format) in RUNS {
        let slot = source.replace('-', "_");
        text.push_str(&format!(
            "[sources.{source}]\ntables = [\"public.*\"]\n[sources.{source}.postgres]\nurl = \"{url}\"\nslot = \"{slot}\"\n\
             publication = \"golden_pub\"\nheartbeat_interval = \"1s\"\nsnapshot_parallelism = 1\n\
             [sinks.to-{source}]\nsources = [\"{source}\"]\n[sinks.to-{source}.kafka]\nbrokers = [\"{}\"]\n\
             [sinks.to-{source}.kafka.format]\nprofile = \"debezium-3\"\ntruncates = true\ntransactions = true\n{format}\n",
            kafka.brokers()
        ));
    }
    text
}

fn catch_up(daemon: &mut Daemon, client: &Client) -> Result<()> {
    let target = rig::lsn(&client.value("SELECT pg_current_wal_lsn()")?)?;
    daemon.wait_for("every sink to hold what is committed", |status| rig::holds(status, target))?;
    Ok(())
}

/// Runs each statement by itself, as `psql` does: a transaction each, unless it says otherwise.
fn run(client: &Client, script: &str) -> Result<()> {
    let mut statement = String::new();
    let mut quoted = false;
    for line in script.lines().filter(|line| !line.starts_with("--")) {
        for character in line.chars().chain(['\n']) {
            quoted ^= character == '\'';
            if character == ';' && !quoted {
                client.execute(&std::mem::take(&mut statement))?;
            } else {
                statement.push(character);
            }
        }
    }
    ensure!(statement.trim().is_empty(), "a statement without an end: {statement}");
    Ok(())
}

/// Compares topics with what was recorded; rows of a snapshot after `snapshot` has been replaced in both.
pub(crate) fn compare(
    golden: &str,
    source: &str,
    kafka: &Kafka,
    snapshot: &[(&str, &str)],
    stream: &[(&str, &str)],
) -> Result<()> {
    let mut topics: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    let (mut compared, mut faults) = (0, Vec::new());
    for line in golden.lines() {
        let expect: Recorded = serde_json::from_str(line)?;
        if !topics.contains_key(&expect.topic) {
            topics.insert(expect.topic.clone(), kafka.consume(&expect.topic, Isolation::ReadCommitted)?);
        }
        let record = format!("record {} of {}", expect.number, expect.topic);
        let Some(found) = topics.get(&expect.topic).and_then(|records| records.get(expect.number)) else {
            faults.push(format!("{record} is missing"));
            continue;
        };
        let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|b| String::from_utf8_lossy(b).into_owned());
        for (what, ours, want) in [("key", text(&found.key), &expect.key), ("value", text(&found.value), &expect.value)]
        {
            let masked = |text: Option<&str>| text.map_or("none".to_owned(), |text| mask(text, source));
            let (mut ours, mut want) = (masked(ours.as_deref()), masked(want.as_deref()));
            let differences = if want.contains(r#""op":"r""#) { snapshot } else { stream };
            for (from, to) in differences {
                ours = ours.replace(from, to);
                want = want.replace(from, to);
            }
            faults.extend(difference(&ours, &want).map(|difference| format!("{record}, {what}: {difference}")));
        }
        let headers: Vec<(String, String)> =
            found.headers.iter().map(|(name, value)| (name.clone(), text(value).unwrap_or_default())).collect();
        if headers != expect.headers {
            faults.push(format!("{record}: headers {headers:?} instead of {:?}", expect.headers));
        }
        compared += 1;
    }
    ensure!(faults.is_empty(), "{} of {compared} records differ:\n{}", faults.len(), faults.join("\n"));
    ensure!(compared > 15, "only {compared} records were compared");
    Ok(())
}

/// Where two texts part, with what stands around it.
fn difference(ours: &str, want: &str) -> Option<String> {
    let equal = ours.chars().zip(want.chars()).take_while(|(a, b)| a == b).count();
    let around = |text: &str| text.chars().skip(equal.saturating_sub(60)).take(160).collect::<String>();
    (ours != want).then(|| format!("\n  ours ...{}\n  want ...{}", around(ours), around(want)))
}
