//! Reads a source and counts what comes, acknowledging it at once: shows that a server is set up, and what the source
//! alone can carry.
//!
//! `pg_null URL NAME [CHANGES [never]]`: ends after so many changes, else when told to; `never` leaves existing rows
//! out. A publication `tidewire_NAME` and a slot of the same name are used, and made when missing.

use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewire_core::secret::{Secret, SecretRef, SecretResolver};
use tidewire_core::source::Resume;
use tidewire_core::{Error, Phase, Result, SnapshotMode, SourceOptions};
use tidewire_postgres::Config;

struct InlineOnly;

impl SecretResolver for InlineOnly {
    fn resolve(&self, secret: &SecretRef) -> Result<Secret> {
        match secret {
            SecretRef::Inline(secret) => Ok(secret.clone()),
            _ => Err(Error::configuration("secret", "only a password in the url")),
        }
    }
}

#[tokio::main]
async fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(name)) = (arguments.next(), arguments.next()) else {
        return Err("usage: pg_null URL NAME [CHANGES [never]]".into());
    };
    let most: u64 = arguments.next().map_or(Ok(u64::MAX), |text| text.parse())?;
    let snapshot = match arguments.next().as_deref() {
        Some("never") => SnapshotMode::Never,
        _ => SnapshotMode::Initial,
    };
    let options = SourceOptions { name: Arc::from(name), tables: Vec::new(), snapshot, secrets: Arc::new(InlineOnly) };
    let config: Config = serde_json::from_value(serde_json::json!({ "url": url, "heartbeat_interval": "1s" }))?;
    let connector = tidewire_postgres::connector(options, config, None).map_err(|faults| format!("{faults:?}"))?;
    for finding in connector.check().await.map_err(|error| error.chain())? {
        eprintln!("{finding:?}");
    }
    let mut source = connector.open(Resume::default()).await.map_err(|error| format!("{error:?}"))?;
    eprintln!("tables: {}", source.tables.len());
    let (mut changes, mut batches, mut bytes) = (0u64, 0u64, 0usize);
    let mut first: Option<Instant> = None;
    let mut said = Instant::now();
    while changes < most {
        let batch = match source.reader.next_batch().await {
            Ok(batch) => batch,
            Err(error) => return Err(format!("{error:?}").into()),
        };
        if batch.changes.is_empty() {
            eprintln!("idle at {:?}", batch.position.as_ref().map(ToString::to_string));
        } else if batch.phase == Phase::Stream {
            first.get_or_insert_with(Instant::now);
        }
        changes += batch.changes.len() as u64;
        bytes += batch.size_bytes();
        batches += 1;
        if let Some(position) = &batch.position {
            source.acknowledger.acknowledge(position);
        }
        if said.elapsed() > Duration::from_secs(1) {
            said = Instant::now();
            eprintln!("{changes} changes in {batches} batches, {bytes} bytes, {:?}", batch.phase);
        }
    }
    let seconds = first.map_or(0.0, |first| first.elapsed().as_secs_f64());
    println!("{changes} changes in {batches} batches, {bytes} bytes, {seconds:.2} s in the log");
    println!("{:?}", source.monitor.log_state().await);
    Ok(())
}
