//! One topic, record by record, against what was committed: nothing twice, nothing missing, nothing out of order, and in
//! the end the source's table. Holds the table and one number for each change.

use crate::canonical::Form;
use crate::kafka::Record;
use crate::oracle::{self, Column, Committed, Counts};
use crate::readers::Table;
use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{Hash, Hasher};

/// What Debezium writes in place of a value that the log does not carry, as text and as bytes.
const UNAVAILABLE: [&str; 2] = ["\"__debezium_unavailable_value\"", "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\""];
/// Headers of the two halves of a change of a key.
const HALVES: [&str; 2] = ["__debezium.oldkey", "__debezium.newkey"];

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    after: Option<BTreeMap<Cow<'a, str>, &'a RawValue>>,
    #[serde(borrow)]
    op: Cow<'a, str>,
    source: Source,
}

#[derive(Deserialize)]
struct Source {
    #[serde(rename = "txId")]
    transaction: Option<u64>,
    lsn: Option<u64>,
    gtid: Option<String>,
    file: Option<String>,
    pos: Option<u64>,
    row: Option<u64>,
}

/// A place in the log of one server.
type Place = (String, u64, u64);

/// A row as it is known, with the rank and the place of its last change.
#[derive(Debug, Default)]
struct Row {
    values: Vec<Value>,
    place: Option<(usize, Place)>,
}

/// What is different in some rounds.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Terms {
    /// The first rows were read under fire: those that are read again after a crash stand between changes of before and
    /// after.
    pub(super) is_early: bool,
    /// Places are those of two servers' logs.
    pub(super) has_two_logs: bool,
}

/// What is known of a topic so far.
#[derive(Debug)]
pub(super) struct Topic<'a> {
    columns: &'a [Column],
    /// Of a transaction, in the order of the commits, where that is known.
    ranks: Option<&'a HashMap<&'a str, usize>>,
    rows: HashMap<String, Row>,
    /// The row deleted last, with its key: a change of a key is a delete and a create of what is partly the same row.
    deleted: Option<(String, Row)>,
    seen: HashSet<u64>,
    counts: Counts,
    last_rank: HashMap<i32, usize>,
    /// A column that must grow by one from record to record of a key.
    counter: Option<usize>,
    /// A column whose sum each transaction leaves as it is, and what each has done to it so far.
    balance: Option<usize>,
    balances: HashMap<String, i128>,
    terms: Terms,
    /// The transaction whose changes come from both of them.
    of_both: Option<usize>,
    /// Records read.
    pub(super) records: u64,
}

impl<'a> Topic<'a> {
    pub(super) fn new(
        table: &str,
        columns: &'a [Column],
        ranks: &'a HashMap<&'a str, usize>,
        terms: Terms,
    ) -> Topic<'a> {
        Topic::with(table, columns, Some(ranks), terms)
    }

    fn with(table: &str, columns: &'a [Column], ranks: Option<&'a HashMap<&'a str, usize>>, terms: Terms) -> Topic<'a> {
        let of = |of: &str, name: &str| {
            columns.iter().position(|column| !terms.is_early && of == table && column.name == name)
        };
        Topic {
            columns,
            ranks,
            rows: HashMap::new(),
            deleted: None,
            seen: HashSet::new(),
            counts: Counts::new(),
            last_rank: HashMap::new(),
            counter: of("counters", "n"),
            balance: of("accounts", "balance"),
            balances: HashMap::new(),
            terms,
            of_both: None,
            records: 0,
        }
    }

    /// Records that begin with the reading of a table, beside no account of what was committed: each comes once, those of a key
    /// in their order.
    pub(super) fn read_anew(columns: &'a [Column]) -> Topic<'a> {
        Topic::with("", columns, None, Terms { is_early: true, has_two_logs: false })
    }

    /// The next record of its partition.
    pub(super) fn add(&mut self, record: &Record) -> Result<()> {
        self.records += 1;
        self.take(record).with_context(|| format!("partition {}, offset {}", record.partition, record.offset))
    }

    fn take(&mut self, record: &Record) -> Result<()> {
        let key = record.key.as_deref().map(std::str::from_utf8).transpose().context("a key that is no text")?;
        let Some(value) = &record.value else {
            let key = key.context("a tombstone without a key")?;
            ensure!(!self.rows.contains_key(key), "a tombstone for a key that lives: {key}");
            return Ok(());
        };
        let envelope: Envelope<'_> = serde_json::from_slice(value).context("a value that is no envelope")?;
        let op = envelope.op.chars().next().unwrap_or('?');
        let is_half = |half: &str| record.headers.iter().any(|(name, _)| name == half);
        let (comes, goes) = (is_half(HALVES[0]), is_half(HALVES[1]));
        let place =
            if op == 'r' { None } else { Some(self.account(&envelope.source, op, key, comes, goes, record)?) };
        let transaction = name(&envelope.source);
        let Some(key) = key else {
            if op == 't' {
                self.rows.clear();
            }
            return Ok(());
        };
        match (op, envelope.after) {
            ('c' | 'u' | 'r', Some(after)) => {
                let moved = self.deleted.take().filter(|_| comes).map(|(_, row)| row);
                let before = self.rows.remove(key).or(moved).unwrap_or_default();
                let values = self.image(&after, &before)?;
                if let (Some(last), Some(place)) = (&before.place, &place) {
                    self.in_order(last, place).with_context(|| format!("key {key}"))?;
                }
                if op != 'r' {
                    self.count_up(&before.values, &values).with_context(|| format!("key {key}"))?;
                    self.weigh(&transaction, &before.values, &values)?;
                }
                self.rows.insert(key.to_owned(), Row { values, place });
            }
            ('d', None) => {
                let gone = self.rows.remove(key);
                // Where a reading was broken off, a row may have gone before the next one came to it.
                ensure!(gone.is_some() || self.terms.is_early, "a delete of {key}, which is not there");
                self.deleted = gone.map(|gone| (key.to_owned(), gone));
            }
            (op, after) => bail!("op `{op}` {} an after image", if after.is_some() { "with" } else { "without" }),
        }
        Ok(())
    }

    /// Counts a change, which must not have come before, and not after one of a later transaction.
    fn account(
        &mut self,
        source: &Source,
        op: char,
        key: Option<&str>,
        comes: bool,
        goes: bool,
        record: &Record,
    ) -> Result<(usize, Place)> {
        let transaction = name(source);
        let offset = source.lsn.or(source.pos).context("a change without its place")?;
        let place = (source.file.clone().unwrap_or_default(), offset, source.row.unwrap_or(0));
        if key.is_some() {
            let mut hasher = DefaultHasher::new();
            (&transaction, &place, op, key).hash(&mut hasher);
            ensure!(self.seen.insert(hasher.finish()), "came twice: {op} of {key:?} by {transaction} at {place:?}");
        }
        let Some(ranks) = self.ranks else { return Ok((0, place)) };
        let rank = *ranks
            .get(transaction.as_str())
            .with_context(|| format!("a change of transaction {transaction}, which was not committed"))?;
        let last = self.last_rank.insert(record.partition, rank).unwrap_or(0);
        ensure!(last <= rank, "transaction {transaction}, the {rank}th, came after the {last}th");
        // A change of a key is one update.
        let kind = if comes { 'u' } else { op };
        if !goes {
            *self.counts.entry((transaction, kind)).or_default() += 1;
        }
        Ok((rank, place))
    }

    /// Whether the second of two changes of a key may follow the first. Transactions of two servers' logs are told apart by
    /// their ranks alone; just one can be read from both, when the first server went amid it.
    fn in_order(&mut self, last: &(usize, Place), next: &(usize, Place)) -> Result<()> {
        let is_before = if self.terms.has_two_logs { last.0 < next.0 || last <= next } else { last.1 <= next.1 };
        let may_be_of_both =
            self.terms.has_two_logs && last.0 == next.0 && self.of_both.is_none_or(|rank| rank == next.0);
        ensure!(is_before || may_be_of_both, "{next:?} came after {last:?}");
        if !is_before {
            self.of_both = Some(next.0);
        }
        Ok(())
    }

    /// The values of a row; what is not told is what it was.
    fn image(&self, after: &BTreeMap<Cow<'_, str>, &RawValue>, before: &Row) -> Result<Vec<Value>> {
        let mut values = Vec::with_capacity(self.columns.len());
        for (place, column) in self.columns.iter().enumerate() {
            // Of before the column was there.
            let Some(raw) = after.get(column.name.as_str()) else {
                values.push(Value::Null);
                continue;
            };
            let is_bytes = column.form == Form::Bytes;
            values.push(if UNAVAILABLE[0] == raw.get() || is_bytes && UNAVAILABLE[1] == raw.get() {
                before.values.get(place).cloned().with_context(|| format!("`{}` was never known", column.name))?
            } else {
                column.form.of_json(raw).with_context(|| format!("column `{}`", column.name))?
            });
        }
        Ok(values)
    }

    fn count_up(&self, before: &[Value], after: &[Value]) -> Result<()> {
        let Some(place) = self.counter else { return Ok(()) };
        let (last, next) = (before.get(place).map(number).transpose()?.unwrap_or(0), after.get(place).map(number));
        let next = next.transpose()?.unwrap_or(0);
        ensure!(next == last + 1, "{next} came after {last}");
        Ok(())
    }

    fn weigh(&mut self, transaction: &str, before: &[Value], after: &[Value]) -> Result<()> {
        let Some(place) = self.balance else { return Ok(()) };
        let of = |values: &[Value]| values.get(place).map(number).transpose();
        let change = of(after)?.unwrap_or(0) - of(before)?.unwrap_or(0);
        *self.balances.entry(transaction.to_owned()).or_default() += change;
        Ok(())
    }

    /// Whether all has come that was committed to `table`, and no more.
    pub(super) fn must_be_whole(&self, table: &str, committed: &Committed) -> Result<()> {
        must_equal(table, committed, &self.counts, self.terms.is_early)?;
        let torn = self.balances.iter().find(|(_, sum)| **sum != 0);
        ensure!(torn.is_none(), "{table}: a transaction came in part: {torn:?}");
        Ok(())
    }

    /// The table that the records describe.
    pub(super) fn table(self) -> Table {
        let names = self.columns.iter().map(|column| column.name.clone()).collect();
        Table::new(names, self.rows.into_values().map(|row| row.values).collect())
    }
}

/// Whether what came of a table is what was committed to it; in an early round from some transaction on. Where transactions
/// have no names (a log by file and offset) an early round can only tell that nothing came too often.
pub(super) fn must_equal(table: &str, committed: &Committed, came: &Counts, is_early: bool) -> Result<()> {
    let none = Counts::new();
    let expected = committed.tables.get(table).unwrap_or(&none);
    let first = committed.order.iter().position(|name| came.keys().any(|(transaction, _)| transaction == name));
    let is_before = |name: &String| {
        let rank = committed.order.iter().position(|other| other == name);
        is_early && first.is_none_or(|first| rank.is_some_and(|rank| rank < first))
    };
    let mut found = oracle::differences(expected, came);
    found.retain(|((name, _), times, came)| match is_early && name.is_empty() {
        true => came > times,
        false => *came > 0 || !is_before(name),
    });
    oracle::must_be_none(table, &found)
}

/// Of the transaction.
fn name(source: &Source) -> String {
    source.gtid.clone().or_else(|| source.transaction.map(|id| id.to_string())).unwrap_or_default()
}

fn number(value: &Value) -> Result<i128> {
    value.as_str().context("null in place of a number")?.parse().context("a number")
}

#[cfg(test)]
mod tests;
