//! `check`: what is missing or odd in the cluster, with the command that mends it. Changes nothing that lasts:
//! its transactional id is one of its own, and no record is written.

use crate::client::admin::{Admin, Cluster, Effect};
use crate::client::raw::Producer;
use crate::client::{RECORD_BYTES_MAX, producer_config};
use crate::config::{SaslMechanism, Settings};
use crate::topics::{NAME_LENGTH_MAX, message_topic, transaction_topic};
use crate::write::create_command;
use crate::{error, position};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tidewire_core::{Error, ErrorKind, Finding, Result, TableName, TableSchema};

/// How long the check waits for the transaction coordinator.
const INIT_TIMEOUT: Duration = Duration::from_secs(15);
/// The source's name that the check registers its transactional id with: no source can have it.
const CHECK_SOURCE: &str = ".check";

/// Everything that can be known before the start. `tables` pairs a source's name with a table.
pub(crate) fn check(settings: &Settings, tables: &[(Arc<str>, Arc<TableSchema>)]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    if settings.tls.is_none() && settings.sasl.as_ref().is_some_and(|sasl| sasl.mechanism == SaslMechanism::Plain) {
        findings.push(Finding::warning(
            "password_in_clear",
            "`sasl.mechanism = \"PLAIN\"` without `tls` sends the password in clear text",
            "add the table `tls`, or use SCRAM-SHA-512",
        ));
    }
    let topics = topic_names(settings, tables, &mut findings);
    // Logs in and registers a transactional id of its own, so that a running instance is not fenced.
    if let Err(error) = probe_transactions(settings) {
        let known = matches!(error.kind(), ErrorKind::Operator | ErrorKind::Configuration);
        findings.push(if known { finding_of(error) } else { unreachable_finding(settings, &error) });
        return Ok(findings);
    }
    let admin = Admin::new(settings)?;
    let cluster = admin.cluster()?;
    if cluster.topics.contains_key(position::TOPIC) {
        findings.extend(position::oddities(settings, &admin, &cluster)?);
    } else if settings.creation.allowed {
        creatable(&admin, position::TOPIC, &position::creation(settings), &mut findings);
    } else {
        findings.push(position::missing(settings));
    }
    check_topics(settings, &admin, &cluster, &topics, &mut findings);
    check_limits(settings, &admin, &cluster, &topics, &mut findings)?;
    Ok(findings)
}

fn probe_transactions(settings: &Settings) -> Result<()> {
    let producer = Producer::new(&producer_config(settings, CHECK_SOURCE, 0)?, &Arc::default())
        .map_err(|e| error::of_failure("make a kafka producer", e))?;
    producer.init_transactions(INIT_TIMEOUT).map_err(|e| error::of_failure("register a transactional id", e))
}

fn finding_of(error: Error) -> Finding {
    Finding::error(error.code(), error.chain(), error.remedy().unwrap_or("correct the sink's settings"))
}

fn unreachable_finding(settings: &Settings, error: &Error) -> Finding {
    Finding::error(
        "brokers_unreachable",
        format!("no broker of `{}` can be used: {}", settings.brokers, error.chain()),
        "check `brokers`, the brokers' `advertised.listeners`, and whether they speak TLS or SASL on that port",
    )
}

// Topics by name, each with its table. Two tables with one topic, and names that brokers refuse, become findings.
fn topic_names(
    settings: &Settings,
    tables: &[(Arc<str>, Arc<TableSchema>)],
    findings: &mut Vec<Finding>,
) -> BTreeMap<String, Option<TableName>> {
    let mut topics: BTreeMap<String, Option<TableName>> = BTreeMap::new();
    topics.insert(position::TOPIC.to_owned(), None);
    for (source, _) in tables {
        if settings.format.transactions {
            topics.insert(transaction_topic(source), None);
        }
        topics.insert(message_topic(source), None);
    }
    let reserved = topics.clone();
    for (source, table) in tables {
        let name = settings.template.name(source, &table.name);
        if name.len() > NAME_LENGTH_MAX || matches!(name.as_str(), "." | "..") {
            findings.push(Finding::error(
                "topic_name_refused",
                format!("table `{}` would get topic `{name}`, a name that brokers refuse", table.name),
                "change `topic` of the sink, or leave the table out of the source",
            ));
            continue;
        }
        if let Some(other) = topics.insert(name.clone(), Some(table.name.clone())) {
            let other =
                other.map_or_else(|| "records of the sink itself".to_owned(), |other| format!("table `{other}`"));
            findings.push(Finding::error(
                "topic_collision",
                format!("table `{}` of source `{source}` and {other} would share topic `{name}`", table.name),
                "change `topic` of the sink, or leave one of the tables out of its source",
            ));
        }
    }
    topics.retain(|name, _| !reserved.contains_key(name));
    topics
}

fn check_topics(
    settings: &Settings,
    admin: &Admin,
    cluster: &Cluster,
    topics: &BTreeMap<String, Option<TableName>>,
    findings: &mut Vec<Finding>,
) {
    for name in topics.keys().filter(|name| !cluster.topics.contains_key(*name)) {
        if settings.creation.allowed {
            creatable(admin, name, &settings.creation, findings);
        } else {
            findings.push(Finding::error(
                "topic_missing",
                format!("topic `{name}` is missing and `create_topics` is off"),
                create_command(settings, name),
            ));
        }
    }
}

// The broker itself says whether it would create the topic.
fn creatable(admin: &Admin, name: &str, creation: &crate::config::Creation, findings: &mut Vec<Finding>) {
    if let Err(error) = admin.create(name, creation, Effect::Validate) {
        findings.push(finding_of(error));
    }
}

// Size limits, compaction without keys, and settings under which acknowledged records can be lost (SK-03, SK-0E).
fn check_limits(
    settings: &Settings,
    admin: &Admin,
    cluster: &Cluster,
    topics: &BTreeMap<String, Option<TableName>>,
    findings: &mut Vec<Finding>,
) -> Result<()> {
    let existing: Vec<&str> =
        topics.keys().map(String::as_str).filter(|name| cluster.topics.contains_key(*name)).collect();
    let all = admin.topic_settings(&existing)?;
    for (topic, topic_settings) in existing.iter().zip(all) {
        let Some(of) = topic_settings else {
            continue;
        };
        if let Some(limit) = of.get("max.message.bytes").and_then(|limit| limit.parse::<u32>().ok())
            && limit < batch_bytes(settings)
        {
            findings.push(Finding::error(
                "topic_limit_below_batch",
                format!(
                    "topic `{topic}` takes {limit} bytes at once (`max.message.bytes`), the client sends up to {}",
                    batch_bytes(settings)
                ),
                format!(
                    "raise `max.message.bytes` of the topic, or set librdkafka's \"batch.size\" to {limit} or less"
                ),
            ));
        }
        if of.get("unclean.leader.election.enable").is_some_and(|value| value == "true") {
            findings.push(Finding::warning(
                "unclean_leader_election",
                format!("topic `{topic}` may lose acknowledged records: `unclean.leader.election.enable` is on"),
                "set `unclean.leader.election.enable=false` on the topic",
            ));
        }
        if let Some(wanted) = of.get("min.insync.replicas").and_then(|value| value.parse::<usize>().ok())
            && wanted > cluster.brokers.len()
        {
            findings.push(Finding::error(
                "too_few_brokers",
                format!("topic `{topic}` wants {wanted} replicas in sync, {} brokers are up", cluster.brokers.len()),
                "start the missing brokers, or lower `min.insync.replicas` of the topic",
            ));
        }
    }
    broker_limit(settings, admin, cluster, findings)
}

fn broker_limit(settings: &Settings, admin: &Admin, cluster: &Cluster, findings: &mut Vec<Finding>) -> Result<()> {
    let Some(broker) = cluster.brokers.first() else {
        return Ok(());
    };
    let of = admin.broker_settings(*broker)?;
    let limit = of.and_then(|of| of.get("message.max.bytes")?.parse::<u32>().ok());
    if let Some(limit) = limit
        && limit < batch_bytes(settings)
    {
        findings.push(Finding::error(
            "broker_limit_below_batch",
            format!(
                "the brokers take {limit} bytes at once (`message.max.bytes`), the client sends up to {}",
                batch_bytes(settings)
            ),
            format!("raise `message.max.bytes` of the brokers, or set librdkafka's \"batch.size\" to {limit} or less"),
        ));
    }
    Ok(())
}

fn batch_bytes(settings: &Settings) -> u32 {
    let given = settings.librdkafka.get("batch.size").and_then(|size| size.parse().ok());
    given.unwrap_or(crate::client::BATCH_BYTES).min(RECORD_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, SinkOptions};
    use tidewire_core::schema::{KeyKind, OldRow};
    use tidewire_core::secret::{Secret, SecretRef, SecretResolver};
    use tidewire_core::{SchemaVersion, Severity};

    struct NoSecrets;

    impl SecretResolver for NoSecrets {
        fn resolve(&self, _: &SecretRef) -> Result<Secret> {
            Ok(Secret::new(""))
        }
    }

    fn codes(json: &str, tables: &[(&str, &str, &str)]) -> Vec<&'static str> {
        let config: Config = serde_json::from_str(json).expect("a configuration");
        let options = SinkOptions { name: "events".into(), sources: Vec::new(), secrets: Arc::new(NoSecrets) };
        let settings = Settings::try_from_config(options, config).expect("settings");
        let schema = |schema: &str, table: &str| TableSchema {
            name: TableName::new(schema, table),
            version: SchemaVersion(1),
            native_id: 1,
            columns: Vec::new(),
            key: Vec::new(),
            key_kind: KeyKind::None,
            old_row: OldRow::Full,
        };
        let tables: Vec<_> =
            tables.iter().map(|(source, of, table)| (Arc::from(*source), Arc::new(schema(of, table)))).collect();
        let mut findings = Vec::new();
        topic_names(&settings, &tables, &mut findings);
        assert!(findings.iter().all(|finding| finding.severity == Severity::Error && finding.remedy.is_some()));
        findings.into_iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn shared_and_illegal_names_are_found_before_the_start() {
        let default = r#"{"brokers": ["k:1"]}"#;
        let table_only = r#"{"brokers": ["k:1"], "topic": "{table}"}"#;
        for (json, tables, expect) in [
            (default, &[("shop", "a", "x"), ("crm", "a", "x")][..], &[][..]),
            (default, &[("shop", "a", "x y"), ("shop", "a", "x_y")], &["topic_collision"]),
            (table_only, &[("shop", "a", "x"), ("crm", "b", "x")], &["topic_collision"]),
            (table_only, &[("shop", "a", "tidewire-progress")], &["topic_collision"]),
            (table_only, &[("shop", "a", "shop.message")], &["topic_collision"]),
            (
                table_only,
                &[("shop", "a", ".."), ("shop", "a", &"t".repeat(250))],
                &["topic_name_refused", "topic_name_refused"],
            ),
        ] {
            assert_eq!(codes(json, tables), expect, "{json} {tables:?}");
        }
    }
}
