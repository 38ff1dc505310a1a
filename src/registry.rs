//! The one file that names the concrete connectors: from a section of the configuration to a checked
//! source or sink.

use crate::config::{Config, Faults, SinkSection, Snapshot, SourceSection};
use crate::null::NullConnector;
use crate::state::{SourceDefinitions, StateDirectory};
use figment::value::{Dict, Value};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use tidewire_core::definitions::DefinitionStore;
use tidewire_core::secret::SecretResolver;
use tidewire_core::{ConfigFault, SinkConnector, SnapshotMode, SourceConnector, SourceOptions};

/// Every configured source and sink, checked and not connected.
pub(crate) struct Connectors {
    /// Sources by name.
    pub sources: BTreeMap<String, Arc<dyn SourceConnector>>,
    /// Sinks by name.
    pub sinks: BTreeMap<String, Arc<dyn SinkConnector>>,
}

/// `[sinks.NAME.null]` has no settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NullSection {}

/// Builds them all, adding every fault. `state` is where the null sink keeps its progress, and where sources keep the
/// definitions of their tables.
pub(crate) fn build(
    config: &Config,
    faults: &mut Faults,
    secrets: &Arc<dyn SecretResolver>,
    state: Option<&Arc<StateDirectory>>,
) -> Connectors {
    let mut connectors = Connectors { sources: BTreeMap::new(), sinks: BTreeMap::new() };
    for (name, section) in &config.sources {
        if let Some(source) = source(name, section, faults, secrets, state) {
            connectors.sources.insert(name.clone(), Arc::from(source));
        }
    }
    for (name, section) in &config.sinks {
        let sources = config.sources_of(section);
        if let Some(sink) = sink(name, sources, section, faults, secrets, state) {
            connectors.sinks.insert(name.clone(), sink);
        }
    }
    connectors
}

/// Gives the connectors' metrics their help texts; after the recorder is there.
pub(crate) fn describe_metrics() {
    tidewire_postgres::describe_metrics();
    tidewire_mysql::describe_metrics();
    tidewire_delta::describe_metrics();
}

fn source(
    name: &str,
    section: &SourceSection,
    faults: &mut Faults,
    secrets: &Arc<dyn SecretResolver>,
    state: Option<&Arc<StateDirectory>>,
) -> Option<Box<dyn SourceConnector>> {
    let key = format!("sources.{name}");
    let options = SourceOptions {
        name: Arc::from(name),
        tables: section.tables.clone(),
        snapshot: match section.snapshot {
            Snapshot::Initial => SnapshotMode::Initial,
            Snapshot::Never => SnapshotMode::Never,
        },
        secrets: Arc::clone(secrets),
    };
    let definitions = || {
        let state = Arc::clone(state?);
        Some(Arc::new(SourceDefinitions::new(state, Arc::from(name))) as Arc<dyn DefinitionStore>)
    };
    match (&section.postgres, &section.mysql) {
        (Some(dict), None) => {
            let prefix = format!("{key}.postgres");
            let raw = faults.extract::<tidewire_postgres::Config>(&prefix, Value::from(dict.clone()))?;
            told(tidewire_postgres::connector(options, raw, definitions()), &key, &prefix, faults)
        }
        (None, Some(dict)) => {
            let prefix = format!("{key}.mysql");
            let raw = faults.extract::<tidewire_mysql::Config>(&prefix, Value::from(dict.clone()))?;
            told(tidewire_mysql::connector(options, raw, definitions()), &key, &prefix, faults)
        }
        (None, None) => {
            faults.push(
                &key,
                "a source needs a table that says what it is: `[sources.NAME.postgres]` or `[sources.NAME.mysql]`",
            );
            None
        }
        (Some(_), Some(_)) => {
            faults.push(&key, "a source is one thing: keep either the `postgres` or the `mysql` table");
            None
        }
    }
}

/// The source, or its faults at their places. The globs stand beside the connector's table.
fn told(
    built: Result<Box<dyn SourceConnector>, Vec<ConfigFault>>,
    key: &str,
    prefix: &str,
    faults: &mut Faults,
) -> Option<Box<dyn SourceConnector>> {
    let tell = |fault: ConfigFault| {
        let above = if fault.key == "tables" { key } else { prefix };
        faults.push(&below(above, fault.key), fault.message);
    };
    built.map_err(|list| list.into_iter().for_each(tell)).ok()
}

fn sink(
    name: &str,
    sources: Vec<Arc<str>>,
    section: &SinkSection,
    faults: &mut Faults,
    secrets: &Arc<dyn SecretResolver>,
    state: Option<&Arc<StateDirectory>>,
) -> Option<Arc<dyn SinkConnector>> {
    let key = format!("sinks.{name}");
    let kinds = [("kafka", &section.kafka), ("delta", &section.delta), ("null", &section.null)];
    let mut given = kinds.iter().filter_map(|(kind, dict)| Some((*kind, dict.as_ref()?)));
    match (given.next(), given.next()) {
        (Some((kind, dict)), None) => sink_of_kind(name, sources, kind, dict, faults, secrets, state),
        (None, _) => {
            faults
                .push(&key, "a sink needs a table that says what it is: `[sinks.NAME.kafka]` or `[sinks.NAME.delta]`");
            None
        }
        (Some((first, _)), Some((second, _))) => {
            faults.push(&key, format!("a sink is one thing: keep either the `{first}` or the `{second}` table"));
            None
        }
    }
}

fn sink_of_kind(
    name: &str,
    sources: Vec<Arc<str>>,
    kind: &str,
    dict: &Dict,
    faults: &mut Faults,
    secrets: &Arc<dyn SecretResolver>,
    state: Option<&Arc<StateDirectory>>,
) -> Option<Arc<dyn SinkConnector>> {
    let prefix = format!("sinks.{name}.{kind}");
    let value = Value::from(dict.clone());
    match kind {
        "kafka" => {
            let options = tidewire_kafka::SinkOptions { name: Arc::from(name), sources, secrets: Arc::clone(secrets) };
            let raw = faults.extract::<tidewire_kafka::Config>(&prefix, value)?;
            let built = tidewire_kafka::connector(options, raw);
            built
                .map_err(|list| {
                    // Its keys begin with `kafka` themselves.
                    let sink = format!("sinks.{name}");
                    list.into_iter().for_each(|fault| faults.push(&below(&sink, &fault.key), fault.message))
                })
                .ok()
                .map(Arc::from)
        }
        "delta" => {
            let state_dir = state.map(|state| state.path().to_path_buf());
            let options =
                tidewire_delta::SinkOptions { name: Arc::from(name), state_dir, secrets: Arc::clone(secrets) };
            let raw = faults.extract::<tidewire_delta::Config>(&prefix, value)?;
            let built = tidewire_delta::connector(options, raw);
            built
                .map_err(|list| {
                    list.into_iter().for_each(|fault| faults.push(&below(&prefix, &fault.key), fault.message))
                })
                .ok()
                .map(Arc::from)
        }
        _ => {
            faults.extract::<NullSection>(&prefix, value)?;
            Some(Arc::new(NullConnector::new(Arc::from(name), state.cloned())))
        }
    }
}

fn below(prefix: &str, key: &str) -> String {
    if key.is_empty() { prefix.to_owned() } else { format!("{prefix}.{key}") }
}

#[cfg(test)]
mod canary;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, FileSecrets};

    pub(super) fn faults_of(text: &str) -> String {
        faults_with(text, &[])
    }

    pub(super) fn faults_with(text: &str, variables: &[(&str, &str)]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tidewire.toml");
        std::fs::write(&path, text).unwrap();
        let variables = variables.iter().map(|(name, text)| (name.into(), text.into()));
        let (config, mut faults) = match config::load_with(&path, variables) {
            Ok(loaded) => loaded,
            Err(faults) => return faults.to_string(),
        };
        let secrets: Arc<dyn SecretResolver> = Arc::new(FileSecrets::from_environment());
        build(&config, &mut faults, &secrets, None);
        faults.to_string()
    }

    fn example() -> String {
        // Tests run in the folder of their package.
        std::fs::read_to_string("config.example.toml").unwrap()
    }

    #[test]
    fn the_example_is_accepted_as_it_is() {
        assert_eq!(faults_of(&example()), "");
    }

    #[test]
    fn the_example_is_accepted_with_every_commented_setting_too() {
        let is_setting = |line: &str| {
            line.strip_prefix('#')
                .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '[' || c == '"'))
        };
        let text: String = example()
            .lines()
            .map(|line| format!("{}\n", if is_setting(line) { line.trim_start_matches('#') } else { line }))
            .collect();
        assert!(text.lines().filter(|line| !line.starts_with('#')).count() > 50, "settings were uncommented");
        assert_eq!(faults_of(&text), "");
    }

    #[test]
    fn connectors_add_their_faults_with_places() {
        let text = "[sources.a]\n[sources.a.postgres]\nurl = \"mysql://x\"\nslto = \"y\"\n[sources.b.mysql]\nurl = \"mysq://x\"\n[sinks.c]\n[sinks.d.kafka]\nbrokers = []\n[sinks.e.delta]\nlocation = \"ftp://x\"\n[sinks.e.null]\n";
        let shown = faults_of(text);
        for expect in [
            ":4:1: sources.a.postgres.slto: unknown key",
            ":6:1: sources.b.mysql.url: must begin with",
            ":7:8: sinks.c: a sink needs",
            ":9:1: sinks.d.kafka.brokers",
            ":10:8: sinks.e: a sink is one thing",
        ] {
            let found =
                shown.contains(expect) || shown.lines().any(|line| expect.split(": ").all(|part| line.contains(part)));
            assert!(found, "{expect}\nin\n{shown}");
        }
    }

    #[test]
    fn every_key_can_be_given_by_a_variable() {
        let text = "[sources.shop.postgres]\nurl = \"postgres://a@h/b\"\n[sinks.events.kafka]\nbrokers = []\n";
        let variables = [
            ("TIDEWIRE_SOURCES__SHOP__POSTGRES__PASSWORD__FILE", "0123"),
            ("TIDEWIRE_SOURCES__SHOP__POSTGRES__SNAPSHOT_PARALLELISM", "2"),
            ("TIDEWIRE_SINKS__EVENTS__KAFKA__BROKERS", "[k1:9092, k2:9092]"),
            ("TIDEWIRE_SINKS__EVENTS__KAFKA__FORMAT", "{ type = json, decimal = string, tombstones = false }"),
            ("TIDEWIRE_SINKS__EVENTS__KAFKA__FORMAT__SCHEMAS", "true"),
            ("TIDEWIRE_SINKS__EVENTS__KAFKA__TOPIC", "{source}.{schema}.{table}"),
            ("TIDEWIRE_SINKS__EVENTS__KAFKA__LIBRDKAFKA__LINGER.MS", "5"),
            ("TIDEWIRE_SINKS__EVENTS__KAFKA__SASL", "{ mechanism = PLAIN, username = 0123, password = 0123 }"),
            ("TIDEWIRE_SINKS__LAKE__DELTA__LOCATION", "s3://lake/a"),
            ("TIDEWIRE_SINKS__LAKE__DELTA__STORAGE__AWS_SECRET_ACCESS_KEY", "[0123"),
            ("TIDEWIRE_SINKS__LAKE__DELTA__COMMIT_ROWS", "1000"),
        ];
        assert_eq!(faults_with(text, &variables), "");
    }

    #[test]
    fn a_setting_that_the_store_does_not_know_is_a_fault_at_its_place() {
        let text = "[sources.shop.postgres]\nurl = \"postgres://a@h/b\"\n[sinks.lake.delta]\nlocation = \"s3://lake\"\n\
             [sinks.lake.delta.storage]\naws_region = \"r\"\naws_acces_key_id = \"hunter2\"\n";
        let shown = faults_of(text);
        let expect =
            ":7:1: sinks.lake.delta.storage.aws_acces_key_id: the store of this location knows no such setting";
        assert!(shown.contains(expect) && shown.contains("`aws_access_key_id`"), "{shown}");
        assert!(!shown.contains("hunter2") && shown.lines().count() == 1, "{shown}");
    }

    #[test]
    fn one_run_tells_the_faults_of_every_level() {
        let text = "shutdown_timeout = 5\n[admin]\nlisten = \"nowhere\"\n[sources.shop]\ntables = \"public.*\"\n\
             [sources.shop.postgres]\nurl = \"postgres://a@h/b\"\nslot = \"Bad Slot\"\nkeepalive_intervall = \"1s\"\n\
             [sources.crm.oracle]\nurl = \"x\"\n[sinks.lake]\nsources = [\"nosuch\"]\n[sinks.lake.delta]\nlocation = \"ftp://x\"\n\
             commit_interval = \"5x\"\n[sinks.events.kafka]\nbrokers = []\ntopic = \"{foo}\"\ntombstones = 1\n\
             [sinks.events.kafka.format]\ntombstoness = true\nschemas = 1\n";
        let shown = faults_of(text);
        for key in [
            "shutdown_timeout",
            "admin.listen",
            "sources.shop.tables",
            "sources.shop.postgres.slot",
            "sources.shop.postgres.keepalive_intervall",
            "sources.crm.oracle",
            "sinks.lake.sources",
            "sinks.lake.delta.location",
            "sinks.lake.delta.commit_interval",
            "sinks.events.kafka.brokers",
            "sinks.events.kafka.topic",
            "sinks.events.kafka.tombstones:",
            "sinks.events.kafka.format.tombstoness",
            "sinks.events.kafka.format.schemas",
        ] {
            let told = shown.lines().filter(|line| line.contains(&format!(": {key}"))).count();
            assert_eq!(told, 1, "{key} in\n{shown}");
        }
        assert_eq!(shown.lines().count(), 15, "and that `crm` is nothing:\n{shown}");
    }
}
