//! The questions that end a round: does every sink hold what was committed, all of it, once, in order? Answered by the
//! source's own SELECT and log, and by readers that are not ours.

use super::load::{Journal, KEYED, LOOSE, MONEY, Outcome};
use super::site::Site;
use super::source::Session;
use super::topic::Topic;
use crate::kafka::Isolation;
use crate::oracle::{self, Committed, Counts, Origin};
use crate::readers::{self, Reader};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// How much was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Checked {
    /// Changes that the source committed while it was watched.
    pub(super) changes: u64,
    /// Transactions of them.
    pub(super) transactions: u64,
    /// Records read from topics.
    pub(super) records: u64,
    /// Rows of tables that were compared, by every column.
    pub(super) rows: u64,
    /// Versions of a table whose sum was right.
    pub(super) versions: u64,
}

/// Checks everything. `first` reads every table, `second` the smaller ones too.
pub(super) fn all(
    site: &Site,
    committed: &Committed,
    journals: &[Journal],
    first: Reader,
    second: Reader,
) -> Result<Checked> {
    let session = site.server.session()?;
    let counts = committed.tables.values().flat_map(Counts::values);
    let mut checked = Checked {
        changes: counts.map(|times| *times as u64).sum(),
        transactions: committed.order.len() as u64,
        ..Checked::default()
    };
    check_journals(site, &session, journals)?;
    if site.lake.is_some() {
        check_lake(site, &session, committed, [first, second], &mut checked)?;
    }
    if site.kafka.is_some() {
        check_events(site, &session, committed, &mut checked)?;
    }
    Ok(checked)
}

/// The database holds what its sessions know to be committed, and nothing that they took back.
fn check_journals(site: &Site, session: &Session, journals: &[Journal]) -> Result<()> {
    let rows = session.rows(&format!("SELECT session, number FROM {}.ledger", site.kind.schema()))?;
    let held: HashSet<(u64, u64)> = rows
        .iter()
        .map(|row| match row.as_slice() {
            [Some(session), Some(number)] => Ok((session.parse()?, number.parse()?)),
            _ => anyhow::bail!("the ledger holds {row:?}"),
        })
        .collect::<Result<_>>()?;
    for journal in journals {
        for (number, outcome) in &journal.entries {
            let is_held = held.contains(&(journal.session, *number));
            let place = || format!("session {}, transaction {number}", journal.session);
            ensure!(is_held || *outcome != Outcome::Committed, "{}: the database lost what it committed", place());
            ensure!(!is_held || *outcome != Outcome::RolledBack, "{}: the database holds what was undone", place());
        }
    }
    Ok(())
}

fn check_lake(
    site: &Site,
    session: &Session,
    committed: &Committed,
    readers: [Reader; 2],
    checked: &mut Checked,
) -> Result<()> {
    let schema = site.kind.schema();
    for table in KEYED {
        let folder = site.table(table).context("a table has a folder")?;
        // A table of many rows takes its readers a while.
        let with = if table == "bulk" { &readers[..1] } else { &readers[..] };
        checked.rows += oracle::check_columns(session, schema, table, &folder, with)? as u64;
    }
    check_loose(site, committed)?;
    let sums = readers::read_sums(&site.table("accounts").context("a table has a folder")?, "balance")?;
    for row in &sums.rows {
        let [version, rows, sum] = row.as_slice() else { anyhow::bail!("sums: {row:?}") };
        let is_right = rows == "0" || sum.as_str() == Some(&MONEY.to_string());
        ensure!(
            is_right,
            "accounts: version {version} has {rows} rows with {sum} in all, not {MONEY}: a torn transaction"
        );
        checked.versions += 1;
    }
    Ok(())
}

/// A table without a key is written change by change: each once.
fn check_loose(site: &Site, committed: &Committed) -> Result<()> {
    let folder = site.table(LOOSE).context("a table has a folder")?;
    let name = format!("{}.{LOOSE}", site.kind.schema());
    let expected = committed.tables.get(&name).cloned().unwrap_or_default();
    let table = readers::read(Reader::Deltalake, &folder)?.select(&["_op".to_owned(), "_transaction".to_owned()])?;
    let mut came = Counts::new();
    for row in &table.rows {
        if let [Value::String(op), Value::String(transaction)] = row.as_slice()
            && op != "r"
        {
            let kind = op.chars().next().unwrap_or('?');
            *came.entry((transaction.clone(), kind)).or_default() += 1;
        }
    }
    let differs = expected.iter().find(|(change, times)| came.get(*change) != Some(times));
    ensure!(differs.is_none(), "{LOOSE} in the lake: {differs:?} were committed and did not come so often");
    let more = came.iter().find(|(change, _)| !expected.contains_key(*change));
    ensure!(more.is_none(), "{LOOSE} in the lake: {more:?} came and were not committed");
    Ok(())
}

fn check_events(site: &Site, session: &Session, committed: &Committed, checked: &mut Checked) -> Result<()> {
    let schema = site.kind.schema();
    let ranks: HashMap<&str, usize> = committed.order.iter().map(String::as_str).zip(0..).collect();
    for table in KEYED.into_iter().chain([LOOSE]) {
        let columns = session.columns(schema, table)?;
        let mut topic = Topic::new(table, &columns, &ranks);
        let name = site.topic(table);
        site.kafka()?
            .visit(&name, Isolation::ReadCommitted, &mut |record| topic.add(&record))
            .with_context(|| format!("topic {name}"))?;
        topic.must_be_whole(&format!("{schema}.{table}"), committed).context("topic")?;
        checked.records += topic.records;
        if table != LOOSE {
            let what = format!("{schema}.{table} in the source, and its topic folded by key");
            session.table(schema, table)?.must_equal(&topic.table(), &what)?;
        }
    }
    Ok(())
}
