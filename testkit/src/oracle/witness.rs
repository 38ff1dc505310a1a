//! An independent account of what was committed: a slot of its own with PostgreSQL's `test_decoding`, so that each
//! change can be counted without any of our decoding.

use super::fold::Change;
use crate::postgres::Client;
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;

/// How many changes of each kind (c, u, d, t) each transaction made to a table.
pub type Counts = BTreeMap<(u64, char), usize>;

/// A slot that sees every change since it was made.
#[derive(Debug)]
pub struct Witness {
    client: Client,
    slot: String,
}

impl Witness {
    /// Makes the slot. Only changes after this are counted.
    pub fn start(client: Client, slot: &str) -> Result<Witness> {
        client.execute(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')"))?;
        Ok(Witness { client, slot: slot.to_owned() })
    }

    /// Takes another session: its server was restarted.
    pub fn reconnect(&mut self, client: Client) {
        self.client = client;
    }

    /// What was committed so far, by `schema.table` as PostgreSQL quotes it.
    pub fn counts(&self) -> Result<BTreeMap<String, Counts>> {
        let rows = self.client.rows(&format!(
            "SELECT xid, data FROM pg_logical_slot_peek_changes('{}', NULL, NULL, 'skip-empty-xacts', 'on')",
            self.slot
        ))?;
        let mut tables: BTreeMap<String, Counts> = BTreeMap::new();
        for row in rows {
            let [Some(xid), Some(line)] = row.as_slice() else { bail!("test_decoding answered {row:?}") };
            let Some((names, kind)) = parse(line)? else { continue };
            let xid: u64 = xid.parse().context("a transaction's id")?;
            for name in names.split(", ") {
                *tables.entry(name.to_owned()).or_default().entry((xid, kind)).or_default() += 1;
            }
        }
        Ok(tables)
    }

    /// Fails when a topic's streamed changes are not exactly those that were committed to `table`
    /// (`schema.table`). `truncates` says whether the topic carries them.
    pub fn must_equal(&self, table: &str, changes: &[Change], truncates: bool) -> Result<()> {
        let mut expected = self.counts()?.remove(table).unwrap_or_default();
        expected.retain(|(_, kind), _| truncates || *kind != 't');
        let found = count(changes)?;
        for (change, times) in &expected {
            let here = found.get(change).copied().unwrap_or(0);
            ensure!(here == *times, "{table}: {change:?} was committed {times} times and came {here} times");
        }
        match found.keys().find(|change| !expected.contains_key(change)) {
            Some(change) => bail!("{table}: {change:?} came and was never committed"),
            None => Ok(()),
        }
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        // The server may be down by now, and its slots with it.
        let _ = self.client.execute(&format!("SELECT pg_drop_replication_slot('{}')", self.slot));
    }
}

/// Counts a topic's changes as the source made them: a delete and a create with different keys at one place of the
/// log are one update.
fn count(changes: &[Change]) -> Result<Counts> {
    let mut places: BTreeMap<(u64, u64), Vec<&Change>> = BTreeMap::new();
    for change in changes.iter().filter(|change| change.op != "r") {
        let (Some(transaction), Some(lsn)) = (change.transaction, change.lsn) else {
            bail!("a streamed change without its transaction or place: {change:?}");
        };
        places.entry((transaction, lsn)).or_default().push(change);
    }
    let mut counts = Counts::new();
    for ((transaction, _), group) in places {
        let of = |op: &str| group.iter().filter(|change| change.op == op).count();
        let moved = of("d").min(of("c"));
        let kinds = [('c', of("c") - moved), ('u', of("u") + moved), ('d', of("d") - moved), ('t', of("t"))];
        for (kind, times) in kinds.into_iter().filter(|(_, times)| *times > 0) {
            *counts.entry((transaction, kind)).or_default() += times;
        }
    }
    Ok(counts)
}

/// `table public.t: INSERT: ...`, and `table public.a, public.b: TRUNCATE: ...`.
fn parse(line: &str) -> Result<Option<(&str, char)>> {
    let Some(rest) = line.strip_prefix("table ") else { return Ok(None) };
    for (word, kind) in [("INSERT", 'c'), ("UPDATE", 'u'), ("DELETE", 'd'), ("TRUNCATE", 't')] {
        if let Some((names, _)) = rest.split_once(&format!(": {word}:")) {
            return Ok(Some((names, kind)));
        }
    }
    bail!("test_decoding wrote a kind of change that the oracle does not know")
}
