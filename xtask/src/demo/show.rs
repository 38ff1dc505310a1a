//! What arrived, in a few lines, from the daemon's status and from the broker.

use anyhow::Result;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use tidewire_testkit::kafka::{Isolation, Record};
use tidewire_testkit::{Daemon, Kafka};

/// Where the demo's Delta tables are.
pub(crate) fn lake(daemon: &Daemon) -> PathBuf {
    daemon.folder().join("lake")
}

/// The committed records of a table's topic.
pub(crate) fn records(broker: &Kafka, schema: &str, table: &str) -> Result<Vec<Record>> {
    broker.consume(&format!("shop.{schema}.{table}"), Isolation::ReadCommitted)
}

/// Prints one glance.
pub(crate) fn glance(daemon: &mut Daemon, kafka: Option<&Kafka>, schema: &str, at: Duration) -> Result<()> {
    // A daemon that has ended is an error here, with the end of its log.
    let status = daemon.wait_for("the status page", |_| true)?;
    let Some(source) = status.pointer("/sources/shop") else { return Ok(()) };
    println!("\n{:>4} s  source {}, position {}", at.as_secs(), text(source, "state"), text(source, "position"));
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_u64).unwrap_or(0);
    println!("        {:<22}{:>8}{:>9}{:>9}{:>9}", "table", "read", "inserted", "updated", "deleted");
    for (name, table) in source.get("tables").and_then(Value::as_object).into_iter().flatten() {
        let [read, inserts, updates, deletes] =
            ["reads", "inserts", "updates", "deletes"].map(|key| number(table, key));
        println!("        {name:<22}{read:>8}{inserts:>9}{updates:>9}{deletes:>9}");
    }
    for (name, sink) in source.get("sinks").and_then(Value::as_object).into_iter().flatten() {
        let lag = sink.get("lag_seconds").and_then(Value::as_f64).unwrap_or(0.0);
        let (changes, commits) = (number(sink, "changes_committed"), number(sink, "commits"));
        println!(
            "        sink {name}: {}, {changes} changes in {commits} commits, {lag:.1} s behind",
            text(sink, "state")
        );
    }
    if let Some(last) = kafka.and_then(|broker| records(broker, schema, "orders").ok()?.pop()) {
        let value = last.value.map_or_else(|| "(tombstone)".to_owned(), |v| String::from_utf8_lossy(&v).into_owned());
        println!("        last record of shop.{schema}.orders: {}", value.chars().take(160).collect::<String>());
    }
    Ok(())
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or("-").to_owned()
}
