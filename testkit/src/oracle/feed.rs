//! A mirror's change data feed, folded: what comes is added, what goes is taken away, and the source's table must remain.

use super::{Origin, settled};
use crate::readers::{self, Location, Reader, Table};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;

/// The columns that the feed adds to a row.
const TYPE: &str = "_change_type";
const VERSION: &str = "_commit_version";
const TIME: &str = "_commit_timestamp";

/// Whether the feed of a mirror as a reader sees it, version by version, ends in the source's table, every column of every row. Gives how
/// many changes of each kind it had.
pub fn check_feed(
    client: &impl Origin,
    schema: &str,
    table: &str,
    at: impl Into<Location>,
    with: Reader,
) -> Result<BTreeMap<String, usize>> {
    let (columns, source) = (client.columns(schema, table)?, client.table(schema, table)?);
    let feed = readers::read_changes(with, at)?;
    let place = |name: &str| {
        feed.columns.iter().position(|column| column == name).with_context(|| format!("a feed without `{name}`"))
    };
    let (kind, version, time) = (place(TYPE)?, place(VERSION)?, place(TIME)?);
    let text = |row: &[Value], at: usize| row.get(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut changes = Vec::new();
    for row in &feed.rows {
        let number = text(row, version).parse::<u64>().context("a version is a number")?;
        let is_own = |at: &usize| ![kind, version, time].contains(at);
        let values = row.iter().enumerate().filter(|(at, _)| is_own(at)).map(|(_, value)| value.clone());
        changes.push((number, text(row, kind), values.collect::<Vec<_>>()));
    }
    // Within a version what goes was there before, and what comes is there after.
    let comes = |kind: &str| matches!(kind, "insert" | "update_postimage");
    changes.sort_by_key(|(version, kind, _)| (*version, comes(kind)));
    let (mut held, mut kinds) = (BTreeMap::<String, (usize, Vec<Value>)>::new(), BTreeMap::new());
    for (version, kind, row) in changes {
        let count = &mut held.entry(Value::from(row.clone()).to_string()).or_insert((0, row)).0;
        match &*kind {
            "insert" | "update_postimage" => *count += 1,
            "delete" | "update_preimage" if *count > 0 => *count -= 1,
            other => bail!("version {version} of {schema}.{table}: `{other}` of a row that was not there"),
        }
        *kinds.entry(kind).or_default() += 1;
    }
    let names = feed.columns.iter().filter(|name| ![TYPE, VERSION, TIME].contains(&name.as_str()));
    let rows = held.into_values().flat_map(|(count, row)| std::iter::repeat_n(row, count));
    let folded = settled(Table::new(names.cloned().collect(), rows.collect()), &columns);
    source.must_equal(&folded, &format!("{schema}.{table} in the source, and its feed folded"))?;
    Ok(kinds)
}
