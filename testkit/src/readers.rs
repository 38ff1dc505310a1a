//! Reads Delta tables with the readers that people use: delta-rs (DataFusion), Polars and DuckDB in Python, Delta Kernel and
//! Spark on the JVM, each in a process of its own. Knows nothing of how the table came to be.

use crate::spark::SPARK;
use crate::standing::{self, Standing};
use crate::{fetch, process};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Characters of a value that are shown when tables differ.
const SHOWN: usize = 60;
/// A reader of Delta tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// The `deltalake` package's `QueryBuilder`.
    Deltalake,
    /// `polars.scan_delta`.
    Polars,
    /// DuckDB's `delta_scan`. Reads local tables only.
    Duckdb,
    /// Delta Kernel for Java. Reads local tables only.
    Kernel,
    /// Apache Spark. Reads local tables only.
    Spark,
}

impl Reader {
    /// All of them.
    pub const ALL: [Reader; 5] = [Reader::Deltalake, Reader::Polars, Reader::Duckdb, Reader::Kernel, Reader::Spark];

    /// Its name, and on the script's command line.
    pub fn name(self) -> &'static str {
        match self {
            Reader::Deltalake => "deltalake",
            Reader::Polars => "polars",
            Reader::Duckdb => "duckdb",
            Reader::Kernel => "kernel",
            Reader::Spark => "spark",
        }
    }
}

static DELTALAKE: Standing = Standing::new("deltalake", python);
static POLARS: Standing = Standing::new("polars", python);
static DUCKDB: Standing = Standing::new("duckdb", python);
static KERNEL: Standing = Standing::new("kernel", kernel);

fn python(_: &Path) -> Result<Command> {
    let mut command = process::guarded(&fetch::python::interpreter()?);
    command.args(["-X", "utf8", "-c", include_str!("../readers/read_delta.py")]);
    Ok(command)
}

fn kernel(folder: &Path) -> Result<Command> {
    let class_path = format!("{}/*", fetch::delta_kernel::jars()?.display());
    standing::java(folder, include_str!("../readers/ReadDelta.java"), &class_path, &["-Xmx512m"])
}

/// A table as a reader saw it. Values are canonical text (see `canonical`), null, or lists of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Column names in the table's order.
    pub columns: Vec<String>,
    /// Rows, sorted.
    pub rows: Vec<Vec<Value>>,
}

impl Table {
    /// From its parts; the rows are put in a fixed order.
    pub fn new(columns: Vec<String>, mut rows: Vec<Vec<Value>>) -> Table {
        rows.sort_by_cached_key(|row| Value::from(row.clone()).to_string());
        Table { columns, rows }
    }

    /// The rows with fewer columns, by name, in the order asked for.
    pub fn select(&self, columns: &[String]) -> Result<Table> {
        let places: BTreeMap<&str, usize> = self.columns.iter().enumerate().map(|(i, c)| (c.as_str(), i)).collect();
        let mut order = Vec::new();
        for column in columns {
            order.push(*places.get(column.as_str()).with_context(|| format!("no column `{column}`"))?);
        }
        let pick = |row: &Vec<Value>| order.iter().filter_map(|i| row.get(*i).cloned()).collect();
        Ok(Table::new(columns.to_vec(), self.rows.iter().map(pick).collect()))
    }

    /// Of a history, the rows as they are now.
    pub fn current(&self) -> Result<Table> {
        let at = self.columns.iter().position(|column| column == "_is_current").context("it is no history")?;
        let rows = self.rows.iter().filter(|row| row.get(at).is_some_and(|value| value == "true")).cloned().collect();
        Ok(Table::new(self.columns.clone(), rows))
    }

    /// Fails with the first rows that differ. Columns are compared by name, not by place.
    pub fn must_equal(&self, other: &Table, what: &str) -> Result<()> {
        let (mut ours, mut theirs) = (self.columns.clone(), other.columns.clone());
        ours.sort();
        theirs.sort();
        if ours != theirs {
            bail!("{what}: columns {ours:?} differ from {theirs:?}");
        }
        let other = other.select(&self.columns)?;
        let (left, right) = (count(&self.rows), count(&other.rows));
        if left == right {
            return Ok(());
        }
        // Of a wide row only what differs can be read: the first column and those whose values are others.
        let differs = |column: &&String| {
            let column = std::slice::from_ref(*column);
            let bags = (self.select(column), other.select(column));
            !matches!(bags, (Ok(a), Ok(b)) if a.rows == b.rows)
        };
        let first = self.columns.iter().take(1).filter(|column| !differs(column));
        let mut shown: Vec<String> = first.chain(self.columns.iter().filter(differs)).cloned().collect();
        if shown.len() < 2 {
            shown.clone_from(&self.columns);
        }
        let (left, right) = (count(&self.select(&shown)?.rows), count(&other.select(&shown)?.rows));
        let only = |a: &BTreeMap<String, usize>, b: &BTreeMap<String, usize>| -> (usize, String) {
            let rows = a.iter().filter(|(row, times)| b.get(*row) != Some(times));
            let rows: Vec<String> = rows.map(|(row, times)| format!("{times} x {}", shorten(row))).collect();
            (rows.len(), rows.iter().take(5).cloned().collect::<Vec<_>>().join("\n  "))
        };
        let ((here, ours), (there, theirs)) = (only(&left, &right), only(&right, &left));
        bail!(
            "{what}: {} rows against {}; of columns {shown:?} only here ({here}):\n  {ours}\nonly there ({there}):\n  {theirs}",
            self.rows.len(),
            other.rows.len(),
        )
    }
}

/// Enough of a row to know it by.
fn shorten(row: &str) -> String {
    let Ok(values) = serde_json::from_str::<Vec<Value>>(row) else { return row.to_owned() };
    let short = |value: Value| match value {
        Value::String(text) if text.chars().count() > SHOWN => {
            Value::from(format!("{}... ({} bytes)", text.chars().take(SHOWN).collect::<String>(), text.len()))
        }
        other => other,
    };
    Value::from(values.into_iter().map(short).collect::<Vec<_>>()).to_string()
}

fn count(rows: &[Vec<Value>]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for row in rows {
        *counts.entry(Value::from(row.clone()).to_string()).or_default() += 1;
    }
    counts
}

/// Where a table is: a path or a URL, and what a store of objects must be told.
#[derive(Clone, Debug)]
pub struct Location {
    /// A path, or a URL such as `s3://bucket/table`.
    pub address: String,
    /// Settings of the store; empty on local disk.
    pub options: Vec<(String, String)>,
}

impl<P: AsRef<Path> + ?Sized> From<&P> for Location {
    fn from(path: &P) -> Location {
        Location { address: path.as_ref().display().to_string(), options: Vec::new() }
    }
}

/// Reads a table whole, at its newest version.
pub fn read(reader: Reader, at: impl Into<Location>) -> Result<Table> {
    read_version(reader, at, None)
}

/// Reads a table whole, at a version.
pub fn read_version(reader: Reader, at: impl Into<Location>, version: Option<u64>) -> Result<Table> {
    let at = at.into();
    let in_java = |program: &Standing| {
        let at_version = version.map(|version| format!("@{version}")).unwrap_or_default();
        parse(reader.name(), &at, program.ask(&format!("read{at_version} {}", at.address)))
    };
    let in_python = |program| ask(program, reader.name(), &at, json!(version));
    match reader {
        Reader::Deltalake => in_python(&DELTALAKE),
        Reader::Polars => in_python(&POLARS),
        Reader::Duckdb => in_python(&DUCKDB),
        Reader::Kernel => in_java(&KERNEL),
        Reader::Spark => in_java(&SPARK),
    }
}

/// Reads a table's change data feed, from its first version on, with delta-rs or Spark.
pub fn read_changes(reader: Reader, at: impl Into<Location>) -> Result<Table> {
    let at = at.into();
    match reader {
        Reader::Spark => parse("spark", &at, SPARK.ask(&format!("changes {}", at.address))),
        Reader::Deltalake => ask(&DELTALAKE, "changes", &at, Value::Null),
        other => bail!("{} is asked for no feed here", other.name()),
    }
}

/// How many rows some sixty of a table's versions have, and the sum of a column in each, with delta-rs: columns `version`,
/// `rows` and `sum`.
pub fn read_sums(at: impl Into<Location>, column: &str) -> Result<Table> {
    ask(&DELTALAKE, "sums", &at.into(), json!(column))
}

/// How many rows have the same texts in these columns, with delta-rs: the columns, and `rows`. For tables that are too large to
/// be read whole, as a changelog of hours.
pub fn read_counts(at: impl Into<Location>, columns: &[&str]) -> Result<Table> {
    ask(&DELTALAKE, "counts", &at.into(), json!(columns))
}

/// Asks a program in Python; `more` is a version, a column, or some columns.
fn ask(program: &Standing, what: &str, at: &Location, more: Value) -> Result<Table> {
    let options: serde_json::Map<String, Value> = at.options.iter().map(|(k, v)| (k.clone(), json!(v))).collect();
    parse(what, at, program.ask(&json!([what, at.address, options, more]).to_string()))
}

/// A table from the lines that a reader answered.
fn parse(name: &str, at: &Location, answer: Result<Vec<String>>) -> Result<Table> {
    let answer = answer.with_context(|| format!("{name} cannot read {}", at.address))?;
    let (header, rows) = answer.split_first().with_context(|| format!("{name} wrote nothing"))?;
    let columns = serde_json::from_str(header).with_context(|| format!("read what {name} wrote"))?;
    let rows = rows.iter().map(|line| serde_json::from_str(line)).collect::<Result<_, _>>();
    Ok(Table::new(columns, rows.with_context(|| format!("read what {name} wrote"))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn table(columns: &[&str], rows: &[&[Value]]) -> Table {
        Table::new(columns.iter().map(|c| (*c).to_owned()).collect(), rows.iter().map(|r| r.to_vec()).collect())
    }

    #[test]
    fn tables_are_compared_by_column_name_and_as_bags_of_rows() {
        let a = table(&["id", "v"], &[&[json!("1"), json!("x")], &[json!("2"), Value::Null]]);
        let b = table(&["v", "id"], &[&[Value::Null, json!("2")], &[json!("x"), json!("1")]]);
        a.must_equal(&b, "same").unwrap();
        let twice =
            table(&["id", "v"], &[&[json!("1"), json!("x")], &[json!("1"), json!("x")], &[json!("2"), Value::Null]]);
        assert!(a.must_equal(&twice, "twice").is_err());
        let text = table(&["id", "v"], &[&[json!("1"), json!("x")], &[json!("2"), json!("null")]]);
        assert!(text.must_equal(&a, "null is not its name").unwrap_err().to_string().contains("only here (1)"));
        assert!(table(&["id"], &[]).must_equal(&a, "columns").is_err());
    }

    /// One table, written by delta-rs itself, read alike by all of them.
    #[test]
    fn the_readers_agree_on_every_type() {
        let folder = tempfile::tempdir().unwrap();
        let write = "
import datetime, decimal, sys, pyarrow as pa
from deltalake import write_deltalake
zone = datetime.timezone.utc
when = datetime.datetime(2024, 1, 2, 3, 4, 5, 6)
write_deltalake(sys.argv[1], pa.table({
  'id': pa.array([1, 2], pa.int64()), 'text': ['\\u00e9\\n', None], 'single': pa.array([1.1, None], pa.float32()),
  'double': [1e300, float('nan')], 'money': pa.array([decimal.Decimal('1.20'), None], pa.decimal128(12, 2)),
  'zoned': pa.array([when.replace(tzinfo=zone), None], pa.timestamp('us', tz='UTC')),
  'plain': pa.array([when, None], pa.timestamp('us')), 'day': [when.date(), None],
  'bytes': [b'\\x00\\xff', None], 'flag': [True, False], 'list': pa.array([[1, None], None], pa.list_(pa.int32()))}))";
        let mut python = std::process::Command::new(fetch::python::interpreter().unwrap());
        process::output(python.args(["-c", write]).arg(folder.path())).unwrap();
        let first = read(Reader::Deltalake, folder.path()).unwrap();
        assert_eq!(first.rows.len(), 2);
        let wide = json!([
            "1",
            "\u{e9}\n",
            "bits:3f8ccccd",
            "bits:7e37e43c8800759c",
            "1.20",
            "2024-01-02T03:04:05.000006Z",
            "2024-01-02T03:04:05.000006",
            "2024-01-02",
            "hex:00ff",
            "true",
            ["1", null]
        ]);
        assert_eq!(Value::from(first.rows[0].clone()), wide);
        for reader in Reader::ALL {
            read(reader, folder.path()).unwrap().must_equal(&first, reader.name()).unwrap();
        }
    }
}
