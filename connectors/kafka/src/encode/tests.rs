//! Replays the statements behind recorded Debezium output and compares the bytes; then what our own
//! profile does where Debezium loses a value.

mod fixture;
mod mysql;
mod own;
mod script;

use super::mask::mask;
use super::{Encoder, Record};
use crate::format::{DecimalMode, FormatSettings, TemporalMode};
use crate::topics::TopicTemplate;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;
use tidewire_core::{Batch, Result, SourceDescriptor};

/// A record that has left the encoder's buffers.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Recorded {
    topic: String,
    #[serde(default)]
    number: usize,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, String)>,
}

fn encode(settings: FormatSettings, source: &str, batches: &[Batch]) -> Result<Vec<Recorded>> {
    encode_of(settings, fixture::descriptor(source), batches)
}

fn encode_of(settings: FormatSettings, source: Arc<SourceDescriptor>, batches: &[Batch]) -> Result<Vec<Recorded>> {
    encode_with(settings, source, batches, true)
}

fn encode_with(
    settings: FormatSettings,
    source: Arc<SourceDescriptor>,
    batches: &[Batch],
    schema_changes: bool,
) -> Result<Vec<Recorded>> {
    let template = TopicTemplate::parse(TopicTemplate::DEFAULT).expect("a template");
    let mut encoder = Encoder::new(settings, source, template).with_schema_changes(schema_changes);
    let mut records: Vec<(u32, Recorded)> = Vec::new();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let mut take = |record: Record<'_>| {
        let headers = record.headers.iter().map(|(name, value)| ((*name).to_owned(), text(value))).collect();
        let (key, value) = (record.key.map(text), record.value.map(text));
        records.push((record.topic.0, Recorded { topic: String::new(), number: 0, key, value, headers }));
        Ok(())
    };
    for batch in batches {
        for change in &batch.changes {
            encoder.encode(batch, change, &mut take)?;
        }
        encoder.end_batch(batch, &mut take)?;
    }
    let mut counts: HashMap<u32, usize> = HashMap::new();
    let named = records.into_iter().map(|(topic, mut record)| {
        let count = counts.entry(topic).or_default();
        record.number = *count;
        *count += 1;
        record.topic = encoder.topic_name(super::TopicId(topic)).to_owned();
        record
    });
    Ok(named.collect())
}

fn check_equal(ours: &str, expect: &str, record: &str) {
    let equal = ours.bytes().zip(expect.bytes()).take_while(|(a, b)| a == b).count();
    let from = |text: &str| text.chars().skip(equal.saturating_sub(60)).take(160).collect::<String>();
    assert!(ours == expect, "{record} differs:\n  ours ...{}\n  want ...{}", from(ours), from(expect));
}

/// Replays the script for PostgreSQL.
fn check_golden(golden: &str, source: &str, settings: FormatSettings) {
    let descriptor = fixture::descriptor(source);
    let batches = [script::snapshot(&descriptor), script::stream(&descriptor)];
    let ours = encode(settings, source, &batches).expect("records");
    check_records(golden, source, settings, &ours, &[]);
}

/// Compares each recorded record with ours of the same number. The first of `toasted` was not recorded.
/// `differences` are texts of Debezium's that are other texts of ours on purpose.
fn check_records(
    golden: &str,
    source: &str,
    settings: FormatSettings,
    ours: &[Recorded],
    differences: &[(&str, &str)],
) {
    let mut compared = 0;
    for line in golden.lines() {
        let expect: Recorded = serde_json::from_str(line).expect("a record");
        let skipped = usize::from(expect.topic.ends_with(".toasted"));
        let found = ours.iter().find(|ours| ours.topic == expect.topic && ours.number + skipped == expect.number);
        let found = found.unwrap_or_else(|| panic!("no record {} of {}", expect.number, expect.topic));
        let masked = |text: &Option<String>| text.as_ref().map_or("none".to_owned(), |text| mask(text, source));
        let record = format!("record {} of {}", expect.number, expect.topic);
        check_equal(&masked(&found.key), &masked(&expect.key), &record);
        let wanted = differences.iter().fold(masked(&expect.value), |text, (from, to)| text.replace(from, to));
        check_equal(&masked(&found.value), &wanted, &record);
        assert_eq!(found.headers, expect.headers, "{record}");
        compared += 1;
    }
    assert!(compared > 15);
    if !settings.schemas && settings.decimal == DecimalMode::Precise {
        assert_eq!(ours.len(), compared, "records that Debezium does not write");
    }
}

const GOLDEN: FormatSettings = FormatSettings { truncates: true, transactions: true, ..FormatSettings::DEBEZIUM_3 };

#[test]
fn debezium_s_records_without_schemas() {
    let settings = FormatSettings { schemas: false, ..GOLDEN };
    check_golden(include_str!("../../tests/golden/pg_schemas_false.jsonl"), "g-pg-schemas-false", settings);
}

#[test]
fn debezium_s_records_with_schemas() {
    check_golden(include_str!("../../tests/golden/pg_schemas_true.jsonl"), "g-pg-schemas-true", GOLDEN);
}

#[test]
fn debezium_s_records_with_decimals_as_strings_and_times_in_microseconds() {
    let (decimal, temporal) = (DecimalMode::String, TemporalMode::Microseconds);
    let settings = FormatSettings { schemas: false, decimal, temporal, ..GOLDEN };
    check_golden(include_str!("../../tests/golden/pg_string_micro.jsonl"), "g-pg-string-micro", settings);
}
