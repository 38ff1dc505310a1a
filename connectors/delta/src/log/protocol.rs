//! What a table declares, and which declarations this writer can honour. A feature outside these lists stops the
//! writer: committing without knowing it could corrupt the table for others (SK-35).

use crate::error::Result;
use crate::log::Features;
use crate::log::action::{MetaData, Protocol};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use tidewire_core::Error;

const DELETION_VECTORS: &str = "deletionVectors";
const TIMESTAMP_NTZ: &str = "timestampNtz";
const DOMAIN_METADATA: &str = "domainMetadata";
const APPEND_ONLY: &str = "appendOnly";
const TYPE_WIDENING: &str = "typeWidening";
const COLUMN_MAPPING: &str = "columnMapping";
const CHANGE_FEED: &str = "changeDataFeed";
/// That a column is never null. Spark takes it for a property of the schema and refuses a table, even to readers, that does
/// not declare it.
const INVARIANTS: &str = "invariants";
const KNOWN: [&str; 8] = [
    DELETION_VECTORS,
    TIMESTAMP_NTZ,
    DOMAIN_METADATA,
    APPEND_ONLY,
    COLUMN_MAPPING,
    TYPE_WIDENING,
    CHANGE_FEED,
    INVARIANTS,
];
/// The property that says how columns are mapped to those of files.
pub(super) const MAPPING_MODE: &str = "delta.columnMapping.mode";
/// The property that says how long files stay that are no part of the table any more.
pub(crate) const FILE_RETENTION_PROPERTY: &str = "delta.deletedFileRetentionDuration";
/// The same of entries of the log.
pub(crate) const LOG_RETENTION_PROPERTY: &str = "delta.logRetentionDuration";
/// The property that turns the change data feed on.
pub(crate) const CHANGE_FEED_PROPERTY: &str = "delta.enableChangeDataFeed";

type Properties = BTreeMap<String, String>;

/// The protocol of a new table. Few reader features: each one locks out readers.
pub(super) fn new_protocol(features: Features, schema_string: &str, properties: &Properties) -> Protocol {
    let mut readers = BTreeSet::new();
    let mut writers = BTreeSet::from([DOMAIN_METADATA]);
    match features {
        Features::DeletionVectors => {
            readers.insert(DELETION_VECTORS);
        }
        Features::AppendOnly => {
            writers.insert(APPEND_ONLY);
        }
        Features::Plain => {}
    }
    let (of_readers, of_writers) = of_schema(schema_string);
    readers.extend(of_readers);
    writers.extend(of_writers);
    if feeds_changes(properties) {
        writers.insert(CHANGE_FEED);
    }
    if properties.contains_key(MAPPING_MODE) {
        readers.insert(COLUMN_MAPPING);
    }
    writers.extend(readers.iter());
    from_features(readers.into_iter().map(str::to_owned).collect(), writers.into_iter().map(str::to_owned).collect())
}

/// The protocol that a change of schema or properties needs; `None` when the present one will do.
pub(super) fn extend(present: &Protocol, schema_string: &str, properties: &Properties) -> Option<Protocol> {
    let set = |list: Option<&Vec<String>>| list.into_iter().flatten().cloned().collect::<BTreeSet<String>>();
    let (mut readers, mut writers) = (set(present.reader_features.as_ref()), set(present.writer_features.as_ref()));
    let before = writers.len();
    let (of_readers, of_writers) = of_schema(schema_string);
    for feature in &of_readers {
        readers.insert((*feature).to_owned());
    }
    for feature in of_readers.iter().chain(&of_writers) {
        writers.insert((*feature).to_owned());
    }
    if feeds_changes(properties) {
        writers.insert(CHANGE_FEED.to_owned());
    }
    (writers.len() > before).then(|| from_features(readers, writers))
}

fn feeds_changes(properties: &Properties) -> bool {
    properties.get(CHANGE_FEED_PROPERTY).is_some_and(|value| value == "true")
}

/// Whether the table has, or has had, a change data feed.
pub(super) fn has_change_feed(protocol: &Protocol) -> bool {
    has(protocol.writer_features.as_deref(), CHANGE_FEED)
}

fn from_features(readers: BTreeSet<String>, writers: BTreeSet<String>) -> Protocol {
    // Reader version 3 means "see the list"; with nothing to list every reader can read.
    let (min_reader_version, reader_features) = match readers.is_empty() {
        true => (1, None),
        false => (3, Some(readers.into_iter().collect())),
    };
    let writer_features = Some(writers.into_iter().collect());
    Protocol { min_reader_version, min_writer_version: 7, reader_features, writer_features }
}

/// The properties that the features need, and retention times that suit many small commits. Given ones win.
pub(super) fn new_configuration(features: Features, given: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let feature = match features {
        Features::DeletionVectors => Some(("delta.enableDeletionVectors", "true")),
        Features::AppendOnly => Some(("delta.appendOnly", "true")),
        Features::Plain => None,
    };
    let defaults = [(FILE_RETENTION_PROPERTY, "interval 24 hours"), (LOG_RETENTION_PROPERTY, "interval 168 hours")];
    let mut configuration: BTreeMap<String, String> =
        defaults.into_iter().chain(feature).map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    configuration.extend(given);
    configuration
}

/// Whether rows may be deleted in place.
pub(super) fn allows_deletion_vectors(protocol: &Protocol) -> bool {
    has(protocol.writer_features.as_deref(), DELETION_VECTORS)
}

/// Whether files may only be added.
pub(super) fn is_append_only(metadata: &MetaData) -> bool {
    metadata.configuration.get("delta.appendOnly").is_some_and(|value| value == "true")
}

/// Refuses a table that this writer cannot commit to.
pub(super) fn check(protocol: &Protocol, metadata: &MetaData, place: &str) -> Result<()> {
    let refuse = |what: String| {
        Err(Error::operator("unsupported_delta_table", format!("`{place}` {what}"))
            .with_remedy("move the table away and let the sink create its own, or drop the feature from the table"))
    };
    if protocol.min_writer_version != 7 || !matches!(protocol.min_reader_version, 1 | 3) {
        let (reader, writer) = (protocol.min_reader_version, protocol.min_writer_version);
        return refuse(format!("has protocol reader {reader}, writer {writer} instead of table features"));
    }
    let features = protocol.reader_features.iter().chain(&protocol.writer_features).flatten();
    if let Some(unknown) = features.clone().find(|feature| !KNOWN.contains(&feature.as_str())) {
        return refuse(format!("declares the feature `{unknown}`"));
    }
    if !has(protocol.writer_features.as_deref(), DOMAIN_METADATA) {
        return refuse(format!("does not declare `{DOMAIN_METADATA}`"));
    }
    if metadata.configuration.contains_key("delta.setTransactionRetentionDuration") {
        // An idle table's progress would expire, and everything would be replayed.
        return refuse("sets `delta.setTransactionRetentionDuration`".to_owned());
    }
    Ok(())
}

fn has(list: Option<&[String]>, feature: &str) -> bool {
    list.into_iter().flatten().any(|found| found == feature)
}

/// Whether a column has had a narrower type. Tidewire's columns are not nested in others.
/// What a schema needs of readers and writers, and of writers alone.
fn of_schema(schema_string: &str) -> (Vec<&'static str>, Vec<&'static str>) {
    let Ok(schema) = serde_json::from_str::<Value>(schema_string) else { return (Vec::new(), Vec::new()) };
    let fields = schema.get("fields").and_then(Value::as_array);
    let any = |test: fn(&Value) -> bool| fields.into_iter().flatten().any(test);
    let has_grown = any(|field| field.pointer("/metadata/delta.typeChanges").is_some());
    let is_required = any(|field| field.get("nullable") == Some(&Value::Bool(false)));
    let readers = [(has_timestamp_ntz(&schema), TIMESTAMP_NTZ), (has_grown, TYPE_WIDENING)];
    let readers = readers.into_iter().filter(|(needs, _)| *needs).map(|(_, feature)| feature).collect();
    (readers, is_required.then_some(INVARIANTS).into_iter().collect())
}

fn has_timestamp_ntz(schema: &Value) -> bool {
    fn walk(value: &Value) -> bool {
        match value {
            Value::Object(members) => members.iter().any(|(key, value)| match key.as_str() {
                // A column may bear the type's name, and metadata may hold anything.
                "type" | "elementType" | "keyType" | "valueType" => value == "timestamp_ntz" || walk(value),
                "fields" => walk(value),
                _ => false,
            }),
            Value::Array(items) => items.iter().any(walk),
            _ => false,
        }
    }
    walk(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(data_type: &str) -> String {
        format!(
            r#"{{"type":"struct","fields":[{{"name":"timestamp_ntz","type":{data_type},"nullable":true,"metadata":{{}}}}]}}"#
        )
    }

    #[test]
    fn readers_need_only_what_is_used() {
        let features = |features, data_type| {
            let protocol = new_protocol(features, &schema(data_type), &Properties::new());
            (protocol.min_reader_version, protocol.reader_features.unwrap_or_default().join(","))
        };
        let mapped = BTreeMap::from([(MAPPING_MODE.to_owned(), "name".to_owned())]);
        let protocol = new_protocol(Features::AppendOnly, &schema(r#""string""#), &mapped);
        assert_eq!(protocol.min_reader_version, 3);
        assert_eq!(protocol.reader_features.as_deref(), Some(&[COLUMN_MAPPING.to_owned()][..]));
        assert!(has(protocol.writer_features.as_deref(), COLUMN_MAPPING));
        assert_eq!(features(Features::AppendOnly, r#""string""#), (1, String::new()));
        assert_eq!(features(Features::Plain, r#""string""#), (1, String::new()));
        assert_eq!(features(Features::DeletionVectors, r#""string""#), (3, DELETION_VECTORS.to_owned()));
        let nested = r#"{"type":"array","elementType":"timestamp_ntz","containsNull":true}"#;
        assert_eq!(features(Features::AppendOnly, nested), (3, TIMESTAMP_NTZ.to_owned()));
        assert_eq!(features(Features::DeletionVectors, nested).1, "deletionVectors,timestampNtz");
    }

    #[test]
    fn a_column_that_is_never_null_is_declared_to_writers() {
        let (none, required) =
            (Properties::new(), schema(r#""long""#).replace("\"nullable\":true", "\"nullable\":false"));
        let protocol = new_protocol(Features::AppendOnly, &required, &none);
        assert_eq!(protocol.writer_features.as_deref().unwrap().join(","), "appendOnly,domainMetadata,invariants");
        assert_eq!((protocol.min_reader_version, protocol.reader_features), (1, None));
        let before = new_protocol(Features::DeletionVectors, &schema(r#""long""#), &none);
        let after = extend(&before, &required, &none).unwrap();
        assert!(has(after.writer_features.as_deref(), INVARIANTS) && before.reader_features == after.reader_features);
        assert_eq!(extend(&after, &required, &none), None);
    }

    #[test]
    fn a_schema_change_extends_the_protocol_once() {
        let none = Properties::new();
        let before = new_protocol(Features::AppendOnly, &schema(r#""long""#), &none);
        assert_eq!(extend(&before, &schema(r#""long""#), &none), None);
        let after = extend(&before, &schema(r#""timestamp_ntz""#), &none).unwrap();
        assert_eq!(
            (after.min_reader_version, after.reader_features.as_deref()),
            (3, Some(&[TIMESTAMP_NTZ.to_owned()][..]))
        );
        assert_eq!(extend(&after, &schema(r#""timestamp_ntz""#), &none), None);
        let widened =
            schema(r#""timestamp_ntz""#).replace(r#""metadata":{}"#, r#""metadata":{"delta.typeChanges":[]}"#);
        let both = extend(&before, &widened, &none).unwrap();
        assert_eq!(both.reader_features, Some([TIMESTAMP_NTZ, TYPE_WIDENING].map(str::to_owned).to_vec()));
        assert_eq!(extend(&both, &widened, &none), None);
        // A feed is a matter of writers only.
        let feed = Properties::from([(CHANGE_FEED_PROPERTY.to_owned(), "true".to_owned())]);
        let fed = extend(&before, &schema(r#""long""#), &feed).unwrap();
        assert_eq!((fed.min_reader_version, has_change_feed(&fed)), (1, true));
        assert_eq!(extend(&fed, &schema(r#""long""#), &feed), None);
        assert_eq!(fed, new_protocol(Features::AppendOnly, &schema(r#""long""#), &feed));
    }

    #[test]
    fn unknown_features_stop_the_writer_sk_35() {
        let good = new_protocol(Features::DeletionVectors, "{}", &Properties::new());
        let metadata = MetaData {
            id: "1".to_owned(),
            name: None,
            description: None,
            format: Default::default(),
            schema_string: "{}".to_owned(),
            partition_columns: Vec::new(),
            configuration: BTreeMap::new(),
            created_time: None,
        };
        check(&good, &metadata, "t").unwrap();
        let mut foreign = good.clone();
        foreign.writer_features.get_or_insert_default().push("rowTracking".to_owned());
        let old = Protocol { min_writer_version: 2, ..good.clone() };
        for protocol in [&foreign, &old] {
            assert_eq!(check(protocol, &metadata, "t").unwrap_err().code(), "unsupported_delta_table");
        }
    }
}
