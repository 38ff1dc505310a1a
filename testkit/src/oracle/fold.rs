//! Debezium records of one table, folded by key into the table they describe, and checked on the way: nothing twice,
//! nothing out of order.

use super::Column;
use crate::canonical::Form;
use crate::kafka::Record;
use crate::readers::Table;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

/// Header of a create that is one half of a change of a key.
const OLD_KEY: &str = "__debezium.oldkey";
/// What Debezium writes in place of a value that the log does not carry.
const UNAVAILABLE: &str = "\"__debezium_unavailable_value\"";
/// The same in place of bytes.
const UNAVAILABLE_BYTES: &str = "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"";

type Image = BTreeMap<String, Box<RawValue>>;

#[derive(Deserialize)]
struct Envelope {
    after: Option<Image>,
    op: String,
    source: Source,
}

/// What PostgreSQL's and what MySQL's and MariaDB's records say of where they come from.
#[derive(Deserialize)]
struct Source {
    #[serde(rename = "txId")]
    transaction: Option<u64>,
    lsn: Option<u64>,
    server_id: Option<u64>,
    gtid: Option<String>,
    file: Option<String>,
    pos: Option<u64>,
    row: Option<u64>,
}

impl Source {
    fn place(&self) -> Option<Place> {
        Some(Place {
            server: self.server_id.unwrap_or(0),
            file: self.file.clone().unwrap_or_default(),
            offset: self.lsn.or(self.pos)?,
            row: self.row.unwrap_or(0),
        })
    }
}

/// A place in a source's log, in its order within one server's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// MySQL's and MariaDB's number of the server that wrote it; else 0.
    pub server: u64,
    /// File, where the log has several.
    pub file: String,
    /// Offset in the file or in the log.
    pub offset: u64,
    /// Row of what stands there.
    pub row: u64,
}

/// One change that came by a topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Source's transaction, where it has a name; none for rows that a snapshot read.
    pub transaction: Option<String>,
    /// Place in the source's log.
    pub place: Option<Place>,
    /// Kind: c, u, d, r or t.
    pub op: String,
    /// Record key as it is; none for truncates and tables without a key.
    pub key: Option<String>,
}

/// A topic folded by key.
#[derive(Debug)]
pub struct Fold {
    columns: Vec<String>,
    rows: BTreeMap<String, BTreeMap<String, Value>>,
    /// The row deleted last, with its key: a change of a key is a delete and a create of what is partly the same row.
    deleted: Option<(String, BTreeMap<String, Value>)>,
    changes: Vec<Change>,
}

impl Fold {
    /// Folds the records of one topic, in the order of their partitions.
    pub fn of(records: &[Record], columns: &[Column]) -> Result<Fold> {
        let names = columns.iter().map(|column| column.name.clone()).collect();
        let mut fold = Fold { columns: names, rows: BTreeMap::new(), deleted: None, changes: Vec::new() };
        let mut homes: BTreeMap<String, i32> = BTreeMap::new();
        for record in records {
            let place = || format!("partition {}, offset {}", record.partition, record.offset);
            if let Some(key) = text(record.key.as_deref())? {
                let home = *homes.entry(key.clone()).or_insert(record.partition);
                ensure!(home == record.partition, "{}: key {key} was in partition {home} before", place());
            }
            fold.add(record, columns).with_context(place)?;
        }
        fold.must_be_exactly_once()?;
        fold.must_be_in_order()?;
        Ok(fold)
    }

    fn add(&mut self, record: &Record, columns: &[Column]) -> Result<()> {
        let key = text(record.key.as_deref())?;
        let Some(value) = text(record.value.as_deref())? else {
            let key = key.context("a tombstone without a key")?;
            ensure!(!self.rows.contains_key(&key), "a tombstone for a key that lives: {key}");
            return Ok(());
        };
        let envelope = parse(&value)?;
        let row_key = key.clone().unwrap_or_else(|| format!("record {}-{}", record.partition, record.offset));
        match (envelope.op.as_str(), envelope.after) {
            ("c" | "r" | "u", Some(after)) => {
                let old = record.headers.iter().find(|(name, _)| name == OLD_KEY).map(|(_, key)| text(key.as_deref()));
                let moved = match (old.transpose()?.flatten(), self.deleted.take()) {
                    (Some(old), Some((key, row))) if old == key => Some(row),
                    _ => None,
                };
                let row = self.rows.entry(row_key).or_insert_with(|| moved.unwrap_or_default());
                let mut image = BTreeMap::new();
                for column in columns {
                    let raw = after.get(&column.name).with_context(|| format!("no column `{}`", column.name))?;
                    let is_unknown =
                        raw.get() == UNAVAILABLE || column.form == Form::Bytes && raw.get() == UNAVAILABLE_BYTES;
                    let value = if is_unknown {
                        // Unknown is not null: what was known before stays.
                        row.get(&column.name).cloned().with_context(|| format!("`{}` was never known", column.name))?
                    } else {
                        column.form.of_json(raw).with_context(|| format!("column `{}`", column.name))?
                    };
                    image.insert(column.name.clone(), value);
                }
                ensure!(after.len() == columns.len(), "{} columns instead of {}", after.len(), columns.len());
                *row = image;
            }
            ("d", None) => self.deleted = self.rows.remove(&row_key).map(|row| (row_key, row)),
            ("t", None) => self.rows.clear(),
            ("m", _) => return Ok(()),
            (op, after) => bail!("op `{op}` {} an after image", if after.is_some() { "with" } else { "without" }),
        }
        let source = envelope.source;
        let place = source.place();
        let transaction = source.gtid.or_else(|| source.transaction.map(|id| id.to_string()));
        self.changes.push(Change { transaction, place, op: envelope.op, key });
        Ok(())
    }

    /// Rows of one log place differ in their keys (a COPY writes many at one), and a change of a key is a delete and a
    /// create. Rows without a key cannot be told apart this way and are counted by the witness instead.
    fn must_be_exactly_once(&self) -> Result<()> {
        let mut seen = BTreeSet::new();
        for change in self.changes.iter().filter(|change| change.key.is_some()) {
            ensure!(seen.insert(change), "came twice: {change:?}");
        }
        Ok(())
    }

    /// Changes of one row hold its lock one after the other, so their places in a server's log ascend. Rows that a snapshot
    /// read carry no place of their own.
    fn must_be_in_order(&self) -> Result<()> {
        let mut last: BTreeMap<(&str, u64), &Place> = BTreeMap::new();
        for change in self.changes.iter().filter(|change| change.op != "r") {
            let (Some(key), Some(place)) = (&change.key, &change.place) else { continue };
            if let Some(before) = last.insert((key, place.server), place) {
                ensure!(before <= place, "key {key}: log place {place:?} came after {before:?}");
            }
        }
        Ok(())
    }

    /// The table that the records describe.
    pub fn table(&self) -> Table {
        let row = |row: &BTreeMap<String, Value>| {
            self.columns.iter().map(|column| row.get(column).cloned().unwrap_or(Value::Null)).collect()
        };
        Table::new(self.columns.clone(), self.rows.values().map(row).collect())
    }

    /// Every change in the order read, without tombstones.
    pub fn changes(&self) -> &[Change] {
        &self.changes
    }
}

fn text(bytes: Option<&[u8]>) -> Result<Option<String>> {
    bytes.map(|b| String::from_utf8(b.to_vec()).context("a record that is not UTF-8")).transpose()
}

/// With or without the schema block.
fn parse(value: &str) -> Result<Envelope> {
    #[derive(Deserialize)]
    struct Wrapped {
        payload: Envelope,
    }
    serde_json::from_str::<Wrapped>(value)
        .map(|wrapped| wrapped.payload)
        .or_else(|_| serde_json::from_str(value))
        .context("a value that is no Debezium envelope")
}
