use super::*;
use tidewire_core::secret::Secret;

struct NoSecrets;

impl SecretResolver for NoSecrets {
    fn resolve(&self, _: &SecretRef) -> tidewire_core::Result<Secret> {
        Ok(Secret::new("hunter2"))
    }
}

fn parse(json: &str) -> Result<Settings, Vec<String>> {
    let config: Config = serde_json::from_str(json).map_err(|error| vec![error.to_string()])?;
    let options = SinkOptions { name: "events".into(), sources: Vec::new(), secrets: Arc::new(NoSecrets) };
    Settings::try_from_config(options, config).map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

#[test]
fn defaults() {
    let settings = parse(r#"{"brokers": ["kafka1:9092", "kafka2:9092"]}"#).expect("settings");
    assert_eq!(settings.brokers, "kafka1:9092,kafka2:9092");
    assert_eq!(settings.template.to_string(), TopicTemplate::DEFAULT);
    assert_eq!(settings.transaction_timeout, Duration::from_secs(60));
    assert!(settings.creation.allowed && settings.schema_changes);
    assert_eq!((settings.creation.partitions, settings.creation.replication), (1, -1));
}

#[test]
fn every_fault_is_named_at_once() {
    let faults = parse(
        r#"{"brokers": ["kafka1"], "topic": "{database}", "partitions": 0, "replication": 0,
            "transaction_timeout": "1s", "commit_changes": 0, "commit_bytes": "1B", "tls": {"key": "k.pem"},
            "format": {"type": "avro"}, "librdkafka": {"acks": 1, "no.such.thing": 1, "linger.ms": "soon",
            "delivery.timeout.ms": 120000, "compression.type": "lz4"}}"#,
    )
    .map(|_| ())
    .expect_err("faults");
    for key in [
        "kafka.brokers:",
        "kafka.topic:",
        "kafka.partitions:",
        "kafka.replication:",
        "kafka.transaction_timeout:",
        "kafka.commit_interval:",
        "kafka.commit_changes:",
        "kafka.commit_bytes:",
        "kafka.tls:",
        "kafka.format.type:",
        "kafka.librdkafka.acks:",
        "kafka.librdkafka.no.such.thing:",
        "kafka.librdkafka.linger.ms:",
        "kafka.librdkafka.delivery.timeout.ms:",
    ] {
        assert_eq!(faults.iter().filter(|fault| fault.starts_with(key)).count(), 1, "{key} in {faults:#?}");
    }
    assert_eq!(faults.len(), 14, "{faults:#?}");
}

#[test]
fn what_exactly_once_fixes_is_refused_with_a_reason() {
    for key in ["enable.idempotence", "transactional.id", "isolation.level", "sasl.password", "test.mock.num.brokers"] {
        let faults = parse(&format!(r#"{{"brokers": ["k:9092"], "librdkafka": {{"{key}": "x"}}}}"#)).map(|_| ());
        let faults = faults.expect_err(key);
        assert!(faults.iter().any(|fault| fault.contains("cannot be set here")), "{faults:?}");
    }
}

#[test]
fn unknown_keys_are_refused() {
    for json in [
        r#"{"brokers": ["k:1"], "topics": "x"}"#,
        r#"{"brokers": ["k:1"], "sasl": {"mechanism": "GSSAPI", "username": "a", "password": "b"}}"#,
        r#"{"brokers": ["k:1"], "tls": {"verify": false}}"#,
        r"{}",
    ] {
        assert!(parse(json).is_err(), "{json}");
    }
}
