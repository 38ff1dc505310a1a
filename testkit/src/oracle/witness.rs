//! An independent account of what was committed, change by change, without any of our decoding: a slot of its own with
//! PostgreSQL's `test_decoding`, or the log as `mysqlbinlog` prints it.

mod binlog;

use super::fold::{Change, Place};
use crate::mysql::Mysql;
use crate::postgres::Client;
use anyhow::{Context, Result, bail, ensure};
use binlog::Binlog;
use std::collections::{BTreeMap, BTreeSet};

/// How many differences an error names.
const SHOWN: usize = 8;

/// How many changes of each kind (c, u, d, t) each transaction made to a table. Without global ids all of MySQL's
/// transactions have the name that is empty.
pub type Counts = BTreeMap<(String, char), usize>;

/// What was committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// By `schema.table` as PostgreSQL quotes it, or without any quotes.
    pub tables: BTreeMap<String, Counts>,
    /// The transactions in the order of their commits. Without global ids all have the name that is empty.
    pub order: Vec<String>,
}

/// Sees every change since it was made.
#[derive(Debug)]
pub struct Witness {
    account: Account,
}

#[derive(Debug)]
enum Account {
    Slot { client: Client, slot: String },
    Binlog(Binlog),
}

impl Witness {
    /// Makes a slot in PostgreSQL. Only changes after this are counted.
    pub fn start(client: Client, slot: &str) -> Result<Witness> {
        client.execute(&format!("SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding')"))?;
        Ok(Witness { account: Account::Slot { client, slot: slot.to_owned() } })
    }

    /// The same, with a slot that standbys copy and that a promoted one goes on with. PostgreSQL 17 and newer.
    pub fn start_with_failover(client: Client, slot: &str) -> Result<Witness> {
        client.execute(&format!(
            "SELECT pg_create_logical_replication_slot('{slot}', 'test_decoding', failover => true)"
        ))?;
        Ok(Witness { account: Account::Slot { client, slot: slot.to_owned() } })
    }

    /// Marks the place in the log of MySQL or MariaDB. Only changes after this are counted.
    pub fn of_log(server: &Mysql) -> Result<Witness> {
        Ok(Witness { account: Account::Binlog(Binlog::start(server)?) })
    }

    /// Takes another session: its server was restarted.
    pub fn reconnect(&mut self, other: Client) {
        if let Account::Slot { client, .. } = &mut self.account {
            *client = other;
        }
    }

    /// How many changes of each kind were committed so far, by table.
    pub fn counts(&self) -> Result<BTreeMap<String, Counts>> {
        Ok(self.committed()?.tables)
    }

    /// What was committed so far.
    pub fn committed(&self) -> Result<Committed> {
        match &self.account {
            Account::Slot { client, slot } => of_slot(client, slot),
            Account::Binlog(log) => log.committed(),
        }
    }

    /// Fails when a topic's streamed changes are not exactly those that were committed to `table`
    /// (`schema.table`). `truncates` says whether the topic carries them.
    pub fn must_equal(&self, table: &str, changes: &[Change], truncates: bool) -> Result<()> {
        let mut expected = self.counts()?.remove(table).unwrap_or_default();
        expected.retain(|(_, kind), _| truncates || *kind != 't');
        let found = count(changes)?;
        must_be_none(table, &differences(&expected, &found))
    }
}

/// A change that was not committed as often as it came: transaction and kind, and the two numbers.
pub(crate) type Difference<'a> = (&'a (String, char), usize, usize);

/// Where two accounts of a table differ, in their order.
pub(crate) fn differences<'a>(committed: &'a Counts, came: &'a Counts) -> Vec<Difference<'a>> {
    let changes: BTreeSet<_> = committed.keys().chain(came.keys()).collect();
    let times = |counts: &Counts, change| counts.get(change).copied().unwrap_or(0);
    let pairs = changes.into_iter().map(|change| (change, times(committed, change), times(came, change)));
    pairs.filter(|(_, committed, came)| committed != came).collect()
}

/// Fails with the first of a table's differences.
pub(crate) fn must_be_none(table: &str, differences: &[Difference<'_>]) -> Result<()> {
    let tell = |(change, committed, came): &Difference<'_>| {
        format!("{change:?} was committed {committed} times and came {came} times")
    };
    let shown: Vec<String> = differences.iter().take(SHOWN).map(tell).collect();
    ensure!(differences.is_empty(), "{table}: {} differences: {}", differences.len(), shown.join("; "));
    Ok(())
}

impl Drop for Witness {
    fn drop(&mut self) {
        if let Account::Slot { client, slot } = &self.account {
            // The server may be down by now, and its slots with it.
            let _ = client.execute(&format!("SELECT pg_drop_replication_slot('{slot}')"));
        }
    }
}

/// Counted where they are: a load makes millions of changes.
fn of_slot(client: &Client, slot: &str) -> Result<Committed> {
    let rows = client.rows(&format!(
        "SELECT xid, kind, names, count(*), max(number)
         FROM (SELECT xid, number, left(line, 6) AS what,
                 CASE WHEN line LIKE 'table %' THEN
                   CASE WHEN split_part(line, ': ', 2) IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
                     THEN split_part(line, ': ', 2) ELSE substring(line FROM '^table .*?: (INSERT|UPDATE|DELETE|TRUNCATE):') END END AS kind,
                 CASE WHEN line LIKE 'table %' THEN
                   CASE WHEN split_part(line, ': ', 2) IN ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
                     THEN substr(split_part(line, ': ', 1), 7)
                     ELSE substring(line FROM '^table (.*?): (?:INSERT|UPDATE|DELETE|TRUNCATE):') END END AS names
               FROM (SELECT xid, left(data, 400) AS line, row_number() OVER () AS number
                     FROM pg_logical_slot_peek_changes('{slot}', NULL, NULL, 'skip-empty-xacts', 'on')) AS lines) AS parts
         WHERE what IN ('COMMIT', 'table ') GROUP BY xid, what, kind, names ORDER BY 5"
    ))?;
    let mut committed = Committed::default();
    for row in rows {
        match row.as_slice() {
            [Some(xid), None, None, _, _] => committed.order.push(xid.clone()),
            [Some(xid), Some(kind), Some(names), Some(count), _] => {
                let letter = KINDS.iter().find(|(word, _)| word == kind).context("a kind of change")?.1;
                for name in names.split(", ") {
                    let counts = committed.tables.entry(name.to_owned()).or_default();
                    *counts.entry((xid.clone(), letter)).or_default() += count.parse::<usize>().context("a count")?;
                }
            }
            _ => bail!("test_decoding wrote a kind of change that the oracle does not know: {row:?}"),
        }
    }
    Ok(committed)
}

/// The words of PostgreSQL's `test_decoding`, and ours.
const KINDS: [(&str, char); 4] = [("INSERT", 'c'), ("UPDATE", 'u'), ("DELETE", 'd'), ("TRUNCATE", 't')];

/// Counts a topic's changes as the source made them: a delete and a create with different keys at one place of the
/// log are one update.
fn count(changes: &[Change]) -> Result<Counts> {
    let mut places: BTreeMap<(String, &Place), Vec<&Change>> = BTreeMap::new();
    for change in changes.iter().filter(|change| change.op != "r") {
        let place =
            change.place.as_ref().with_context(|| format!("a streamed change without its place: {change:?}"))?;
        let transaction = change.transaction.clone().unwrap_or_default();
        places.entry((transaction, place)).or_default().push(change);
    }
    let mut counts = Counts::new();
    for ((transaction, _), group) in places {
        let of = |op: &str| group.iter().filter(|change| change.op == op).count();
        let moved = of("d").min(of("c"));
        let kinds = [('c', of("c") - moved), ('u', of("u") + moved), ('d', of("d") - moved), ('t', of("t"))];
        for (kind, times) in kinds.into_iter().filter(|(_, times)| *times > 0) {
            *counts.entry((transaction.clone(), kind)).or_default() += times;
        }
    }
    Ok(counts)
}
