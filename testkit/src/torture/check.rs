//! The questions that end a round: does every sink hold what was committed, all of it, once, in order? Answered by the
//! source's own SELECT and log, and by readers that are not ours.

use super::load::{Journal, KEYED, LOOSE, MONEY, Outcome};
use super::modes;
use super::site::Site;
use super::source::Session;
use super::topic::{Terms, Topic};
use crate::kafka::Isolation;
use crate::oracle::{self, Committed, Counts, Origin};
use crate::readers::{self, Reader};
use anyhow::{Context, Result, bail, ensure};
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

/// What is asked, of what.
pub(super) struct Check<'a> {
    pub(super) site: &'a Site,
    /// By the database's own account.
    pub(super) committed: &'a Committed,
    /// The first rows were read while changes came: what was committed before a table was read need not come.
    pub(super) is_early: bool,
    /// All of them read each table.
    pub(super) readers: Vec<Reader>,
    /// The first of them alone reads the table of many rows, which takes them a while.
    pub(super) spares_bulk: bool,
}

impl Check<'_> {
    pub(super) fn all(&self, journals: &[Journal]) -> Result<Checked> {
        let session = self.site.server.session()?;
        let counts = self.committed.tables.values().flat_map(Counts::values);
        let mut checked = Checked {
            changes: counts.map(|times| *times as u64).sum(),
            transactions: self.committed.order.len() as u64,
            ..Checked::default()
        };
        check_journals(self.site, &session, journals)?;
        if self.site.lake.is_some() {
            self.lake(&session, &mut checked)?;
        }
        if self.site.kafka.is_some() {
            self.events(&session, &mut checked)?;
        }
        Ok(checked)
    }

    fn lake(&self, session: &Session, checked: &mut Checked) -> Result<()> {
        let (site, schema) = (self.site, self.site.kind.schema());
        for table in KEYED {
            let readers = if table == "bulk" && self.spares_bulk { 1 } else { self.readers.len() };
            let with = self.readers.get(..readers).unwrap_or_default();
            checked.rows += oracle::check_columns(session, schema, table, site.table(table)?, with)? as u64;
        }
        self.loose()?;
        checked.rows += site.modes.check(site, session, self.committed, self.is_early).context("the second lake")?;
        if self.is_early {
            // What is read again after a crash is of two places until the log has come past the second one.
            return Ok(());
        }
        let sums = readers::read_sums(site.table("accounts")?, "balance")?;
        for row in &sums.rows {
            let [version, rows, sum] = row.as_slice() else { bail!("sums: {row:?}") };
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
    fn loose(&self) -> Result<()> {
        let counted = readers::read_counts(self.site.table(LOOSE)?, modes::CHANGE)?;
        let name = format!("{}.{LOOSE}", self.site.kind.schema());
        modes::check_changelog(&counted, &name, self.committed, self.is_early).map(drop)
    }

    fn events(&self, session: &Session, checked: &mut Checked) -> Result<()> {
        let (site, schema) = (self.site, self.site.kind.schema());
        let terms = Terms { is_early: self.is_early, has_two_logs: site.has_two_logs };
        let ranks: HashMap<&str, usize> = self.committed.order.iter().map(String::as_str).zip(0..).collect();
        for table in KEYED.into_iter().chain([LOOSE]) {
            let columns = session.columns(schema, table)?;
            let mut topic = Topic::new(table, &columns, &ranks, terms);
            let name = site.topic(table);
            site.kafka()?
                .visit(&name, Isolation::ReadCommitted, &mut |record| topic.add(&record))
                .with_context(|| format!("topic {name}"))?;
            topic.must_be_whole(&format!("{schema}.{table}"), self.committed).context("topic")?;
            checked.records += topic.records;
            if table != LOOSE {
                let what = format!("{schema}.{table} in the source, and its topic folded by key");
                session.table(schema, table)?.must_equal(&topic.table(), &what)?;
            }
        }
        Ok(())
    }
}

/// The database holds what its sessions know to be committed, and nothing that they took back.
fn check_journals(site: &Site, session: &Session, journals: &[Journal]) -> Result<()> {
    let rows = session.rows(&format!("SELECT session, number FROM {}.ledger", site.kind.schema()))?;
    let held: HashSet<(u64, u64)> = rows
        .iter()
        .map(|row| match row.as_slice() {
            [Some(session), Some(number)] => Ok((session.parse()?, number.parse()?)),
            _ => bail!("the ledger holds {row:?}"),
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
