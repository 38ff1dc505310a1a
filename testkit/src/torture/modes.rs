//! Tables of the lake that are no plain mirrors: partitioned ones, and those of a second sink of the same source, which keeps a
//! history of each row, or every change. The seed says what a round has of them.

use super::lake::Lake;
use super::load::{KEYED, LOOSE};
use super::site::Site;
use super::source::{Kind, Session};
use super::topic;
use crate::oracle::{self, Committed, Counts, Origin};
use crate::readers::{self, Location, Reader, Table};
use crate::workload::Dice;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;

/// Of dice that have nothing to do with the round's.
const DICE: u64 = 0x6d6f_6465;
/// Name and folder of the second sink.
const SECOND: &str = "second";
/// Since when rows are valid that were read.
const READ: &str = "1970-01-01T00:00:00.000000Z";

/// Columns of a changelog that tell a change.
pub(super) const CHANGE: &[&str] = &["_op", "_transaction"];
/// Tables whose histories are followed row by row, with their keys: readers print all versions of all rows.
const FOLLOWED: [(&str, &[&str]); 6] = [
    ("ledger", &["session", "number"]),
    ("accounts", &["id"]),
    ("swaps", &["id"]),
    ("words", &["word"]),
    ("pairs", &["a", "b"]),
    ("moments", &["at", "n"]),
];

/// What a second sink of tables keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Every version of every row.
    History,
    /// Every change.
    Changelog,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::History => "history",
            Mode::Changelog => "changelog",
        }
    }
}

/// What a lake has beside plain mirrors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Modes {
    /// Whether some of its tables are partitioned, by a column that updates change.
    pub(super) partitions: bool,
    /// What the second sink keeps.
    pub(super) second: Option<Mode>,
    /// Whether columns of the plain mirrors have names of their own in data files.
    pub(super) mapped: bool,
}

impl Modes {
    /// Of a round.
    pub(super) fn of_round(seed: u64, has_lake: bool) -> Modes {
        let mut dice = Dice::new(seed ^ DICE);
        let second = match dice.below(4) {
            0 => Some(Mode::History),
            1 => Some(Mode::Changelog),
            _ => None,
        };
        let (partitions, mapped) = (dice.one_in(2), dice.one_in(3));
        if has_lake { Modes { partitions, second, mapped } } else { Modes::default() }
    }

    /// Those of these readers that read its plain mirrors: Polars knows no mapped columns, DuckDB shows null in those that a table
    /// is partitioned by.
    pub(super) fn read_by(self, readers: &[Reader]) -> Vec<Reader> {
        let reads = |reader: &&Reader| match reader {
            Reader::Polars => !self.mapped,
            Reader::Duckdb => !(self.mapped && self.partitions),
            Reader::Deltalake | Reader::Kernel | Reader::Spark => true,
        };
        readers.iter().filter(reads).copied().collect()
    }

    /// For the report.
    pub(super) fn name(self) -> String {
        let partitions = if self.partitions { ", partitions" } else { "" };
        let second = self.second.map(|mode| format!(", {}", mode.name())).unwrap_or_default();
        let mapped = if self.mapped { ", mapped columns" } else { "" };
        format!("{partitions}{mapped}{second}")
    }

    /// Begins the second sink in the configuration, of which it is the last part.
    pub(super) fn head(self) -> String {
        format!("[sinks.{SECOND}.delta]\n")
    }

    /// Lines of the configuration, to follow those of the lake's sink; a second one has `retention` among its own.
    pub(super) fn config(self, kind: Kind, lake: &Lake, retention: &str) -> String {
        let mut text = String::new();
        if self.partitions {
            let of = |table: &str| format!("\"{}.{table}\" = [\"session\"]\n", kind.schema());
            text.push_str(&format!("[sinks.lake.delta.partition_by]\n{}{}", of("ledger"), of("accounts")));
        }
        if let Some(mode) = self.second {
            text.push_str(&format!(
                "{}location = \"{}/{SECOND}\"\ncommit_interval = \"500ms\"\nmode = \"{}\"\n{retention}{}",
                self.head(),
                lake.url(),
                mode.name(),
                lake.storage(SECOND),
            ));
        }
        text
    }

    /// Whether the second sink holds what was committed: its current rows are the source's, its versions follow each other, its
    /// changes are there once.
    pub(super) fn check(self, site: &Site, session: &Session, committed: &Committed, is_early: bool) -> Result<u64> {
        let Some(mode) = self.second else { return Ok(0) };
        let at = |table: &str| -> Result<Location> {
            Ok(site.lake()?.at(&format!("{SECOND}/shop/{}/{table}", site.kind.schema())))
        };
        let mut rows = 0;
        match mode {
            Mode::History => {
                for (table, key) in FOLLOWED {
                    let all = readers::read(Reader::Deltalake, at(table)?)?;
                    rows += all.rows.len() as u64;
                    let name = format!("{}.{table}", site.kind.schema());
                    let counts = committed.tables.get(&name).filter(|_| !is_early);
                    let history = History { table: &name, all: &all, key, has_two_logs: site.has_two_logs };
                    history.check(session, site.kind.schema(), table, counts)?;
                }
            }
            Mode::Changelog => {
                for table in KEYED.into_iter().chain([LOOSE]).filter(|table| *table != "bulk") {
                    let counts = readers::read_counts(at(table)?, CHANGE)?;
                    rows += check_changelog(&counts, &format!("{}.{table}", site.kind.schema()), committed, is_early)?;
                }
            }
        }
        Ok(rows)
    }
}

/// Each change that was committed is there once; `counted` are rows by `_op` and `_transaction`. Gives the number of all rows.
pub(super) fn check_changelog(counted: &Table, name: &str, committed: &Committed, is_early: bool) -> Result<u64> {
    let counted = counted.select(&["_op".to_owned(), "_transaction".to_owned(), "rows".to_owned()])?;
    let has_names = committed.order.iter().any(|name| !name.is_empty());
    let (mut came, mut all) = (Counts::new(), 0);
    for row in &counted.rows {
        let [Value::String(op), transaction, Value::String(rows)] = row.as_slice() else {
            anyhow::bail!("the changelog of {name} has rows without an operation: {row:?}")
        };
        let rows: usize = rows.parse().context("a number of rows")?;
        all += rows as u64;
        if op != "r" {
            let kind = op.chars().next().unwrap_or('?');
            // Without global ids the account of the log tells no transaction from another.
            let transaction = transaction.as_str().filter(|_| has_names).unwrap_or_default().to_owned();
            *came.entry((transaction, kind)).or_default() += rows;
        }
    }
    topic::must_equal(name, committed, &came, is_early).with_context(|| format!("the changelog of {name}"))?;
    Ok(all)
}

struct History<'a> {
    table: &'a str,
    all: &'a Table,
    key: &'a [&'a str],
    /// Places of one server's log say nothing beside those of another's.
    has_two_logs: bool,
}

impl History<'_> {
    fn check(&self, session: &Session, schema: &str, table: &str, counts: Option<&Counts>) -> Result<()> {
        let (columns, source) = (session.columns(schema, table)?, session.table(schema, table)?);
        let place =
            |name: &str| self.all.columns.iter().position(|column| column == name).context("a column of a history");
        let is_current = place("_is_current")?;
        let is_true = |row: &&Vec<Value>| row.get(is_current).and_then(Value::as_str) == Some("true");
        let current = self.all.rows.iter().filter(is_true).cloned().collect();
        let current = Table::new(self.all.columns.clone(), current).select(&source.columns)?;
        let what = format!("{} in the source, and the current rows of its history", self.table);
        source.must_equal(&oracle::settled(current, &columns), &what)?;
        let ended = self.follow()?;
        let Some(counts) = counts else { return Ok(()) };
        let of = |kinds: &[char]| -> usize {
            counts.iter().filter(|((_, kind), _)| kinds.contains(kind)).map(|(_, times)| *times).sum()
        };
        let begun = self.begun()?;
        ensure!(begun == of(&['c', 'u']), "{}: {begun} versions were begun by {} changes", self.table, of(&['c', 'u']));
        ensure!(ended == of(&['d', 'u']), "{}: {ended} versions were ended by {} changes", self.table, of(&['d', 'u']));
        Ok(())
    }

    /// Versions that the log has begun, not a reading.
    fn begun(&self) -> Result<usize> {
        let from = self.all.select(&["_valid_from".to_owned()])?;
        Ok(from.rows.iter().filter(|row| row.first().and_then(Value::as_str) != Some(READ)).count())
    }

    /// Of a key, one version ends before or where the next one begins, and only the last one may be the row. Gives the number
    /// of those that ended.
    fn follow(&self) -> Result<usize> {
        let own = ["_from_position", "_to_position", "_valid_to", "_is_current"];
        let names: Vec<String> = own.iter().chain(self.key).map(|name| (*name).to_owned()).collect();
        let mut versions: BTreeMap<String, Vec<(String, Option<String>)>> = BTreeMap::new();
        let mut ended = 0;
        for row in self.all.select(&names)?.rows {
            let (own, key) = row.split_at_checked(own.len()).context("a row of a history")?;
            let key = Value::from(key.to_vec()).to_string();
            let [Value::String(from), to, valid_to, Value::String(is_current)] = own else {
                anyhow::bail!("{}: a version of {key} without its places: {own:?}", self.table)
            };
            let is_open = is_current == "true";
            ensure!(
                to.is_null() == is_open && valid_to.is_null() == is_open,
                "{}: a version of {key} is half ended: {own:?}",
                self.table
            );
            ended += usize::from(!is_open);
            versions.entry(key).or_default().push((from.clone(), to.as_str().map(str::to_owned)));
        }
        for (key, mut places) in versions {
            places.sort();
            for pair in places.windows(2) {
                let [(_, ended), (begun, _)] = pair else { continue };
                let follows = ended.as_ref().is_some_and(|ended| ended <= begun);
                ensure!(follows || self.has_two_logs, "{}: versions of {key} overlap: {pair:?}", self.table);
            }
        }
        Ok(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn history(versions: &[(&str, &str, Option<&str>)]) -> Table {
        let columns = ["id", "_valid_from", "_valid_to", "_is_current", "_from_position", "_to_position"];
        let row = |(id, from, to): &(&str, &str, Option<&str>)| {
            vec![json!(id), json!(from), json!(to), json!(to.is_none().to_string()), json!(from), json!(to)]
        };
        Table::new(columns.map(str::to_owned).to_vec(), versions.iter().map(row).collect())
    }

    #[test]
    fn versions_that_overlap_are_found() {
        for (versions, is_right) in [
            (&[("1", "a", Some("b")), ("1", "b", None), ("2", "a", None)][..], true),
            // Deleted, and there again.
            (&[("1", "a", Some("b")), ("1", "c", Some("d"))], true),
            // Twice in one change of a transaction.
            (&[("1", "a", Some("c")), ("1", "b", None)], false),
            (&[("1", "a", None), ("1", "b", None)], false),
            (&[("1", "a", None), ("1", "a", None)], false),
        ] {
            let all = history(versions);
            let found = History { table: "t", all: &all, key: &["id"], has_two_logs: false }.follow();
            assert_eq!(found.is_ok(), is_right, "{versions:?}: {found:?}");
        }
    }

    #[test]
    fn rounds_differ_in_what_they_keep() {
        let modes: Vec<Modes> = (0..40).map(|seed| Modes::of_round(seed, true)).collect();
        for second in [None, Some(Mode::History), Some(Mode::Changelog)] {
            assert!(modes.iter().any(|modes| modes.second == second), "{second:?}");
        }
        assert!(modes.iter().any(|modes| modes.partitions) && !modes.iter().all(|modes| modes.partitions));
        assert_eq!(Modes::of_round(1, false), Modes::default());
    }
}
