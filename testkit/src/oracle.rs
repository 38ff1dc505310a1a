//! Says whether what arrived is what the source holds, with none of our code in between: the source's own SELECT, the
//! records folded by key, the tables as their real readers see them, and the log as the database's own tools print it.

mod feed;
mod fold;
mod mysql;
mod postgres;
mod witness;

pub use feed::check_feed;
pub use fold::{Change, Fold, Place};
pub use witness::{Committed, Counts, Witness};
pub(crate) use witness::{differences, must_be_none};

use crate::canonical::Form;
use crate::readers::{self, Location, Reader, Table};
use anyhow::Result;
use serde_json::Value;

/// A column of the source, and how it is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Form of the value, or of an array's elements.
    pub form: Form,
    /// Whether it is an array.
    pub is_array: bool,
}

/// A session with a source that can be asked what its tables hold, with none of our code in between.
pub trait Origin {
    /// The columns of a table in their order, without those that the log does not carry.
    fn columns(&self, schema: &str, table: &str) -> Result<Vec<Column>>;

    /// The table as the source's own SELECT sees it now, in canonical values.
    fn table(&self, schema: &str, table: &str) -> Result<Table>;
}

/// The columns of a table in their order, without those that the log does not carry.
pub fn columns(client: &impl Origin, schema: &str, table: &str) -> Result<Vec<Column>> {
    client.columns(schema, table)
}

/// The table as the source's own SELECT sees it now, in canonical values.
pub fn source_table(client: &impl Origin, schema: &str, table: &str) -> Result<Table> {
    client.table(schema, table)
}

/// Whether each of the readers sees the mirror there equal to the source's table, every column of every row.
pub fn check_mirror(
    client: &impl Origin,
    schema: &str,
    table: &str,
    at: impl Into<Location>,
    with: &[Reader],
) -> Result<()> {
    check_seen(client, schema, table, at, with, |seen, _| Ok(seen)).map(drop)
}

/// The same of the columns that the source has now: a mirror keeps those that were dropped. Gives the number of rows.
pub fn check_columns(
    client: &impl Origin,
    schema: &str,
    table: &str,
    at: impl Into<Location>,
    with: &[Reader],
) -> Result<usize> {
    check_seen(client, schema, table, at, with, |seen, source| seen.select(&source.columns))
}

/// The same of the versions of a history that are current. Gives the number of rows.
pub fn check_current(
    client: &impl Origin,
    schema: &str,
    table: &str,
    at: impl Into<Location>,
    with: &[Reader],
) -> Result<usize> {
    check_seen(client, schema, table, at, with, |seen, source| seen.current()?.select(&source.columns))
}

fn check_seen(
    client: &impl Origin,
    schema: &str,
    table: &str,
    at: impl Into<Location>,
    with: &[Reader],
    view: impl Fn(Table, &Table) -> Result<Table>,
) -> Result<usize> {
    let (columns, source) = (client.columns(schema, table)?, client.table(schema, table)?);
    let at = at.into();
    for reader in with {
        let what = format!("{schema}.{table} in the source, and the mirror as {} reads it", reader.name());
        let seen = view(readers::read(*reader, at.clone())?, &source)?;
        source.must_equal(&settled(seen, &columns), &what)?;
    }
    Ok(source.rows.len())
}

/// Whether a topic's records, folded by key, equal the source's table in every column of every row; that no change
/// came twice; that each key stays in one partition and in order. Gives the fold for further questions.
pub fn check_topic(client: &impl Origin, schema: &str, table: &str, records: &[crate::kafka::Record]) -> Result<Fold> {
    let fold = Fold::of(records, &client.columns(schema, table)?)?;
    let source = client.table(schema, table)?;
    source.must_equal(&fold.table(), &format!("{schema}.{table} in the source, and its topic folded by key"))?;
    Ok(fold)
}

/// A reader's table with each column's values in their one form.
pub(crate) fn settled(table: Table, columns: &[Column]) -> Table {
    let forms: Vec<Option<Form>> =
        table.columns.iter().map(|name| columns.iter().find(|c| c.name == *name).map(|c| c.form)).collect();
    let one = |(value, form): (Value, &Option<Form>)| form.map_or(value.clone(), |form| form.of_text(value));
    let rows = table.rows.into_iter().map(|row| row.into_iter().zip(&forms).map(one).collect()).collect();
    Table::new(table.columns, rows)
}

#[cfg(test)]
mod tests;
