//! Says whether what arrived is what the source holds, with none of our code in between: the source's own SELECT, the
//! records folded by key, the tables as their real readers see them, and the log as `test_decoding` prints it.

mod fold;
mod witness;

pub use fold::{Change, Fold};
pub use witness::{Counts, Witness};

use crate::canonical::Form;
use crate::postgres::Client;
use crate::readers::{self, Location, Reader, Table};
use anyhow::{Context, Result, bail};
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

/// The columns of a table in their order, without generated ones, which the log does not carry. Domains count as
/// their base types.
pub fn columns(client: &Client, schema: &str, table: &str) -> Result<Vec<Column>> {
    let sql = format!(
        "SELECT a.attname, coalesce(e.typname, b.typname), e.oid IS NOT NULL
         FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN pg_type t ON t.oid = a.atttypid
         JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
         LEFT JOIN pg_type e ON e.oid = b.typelem AND b.typcategory = 'A'
         WHERE n.nspname = {} AND c.relname = {} AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
         ORDER BY a.attnum",
        literal(schema),
        literal(table)
    );
    let mut columns = Vec::new();
    for row in client.rows(&sql)? {
        match row.as_slice() {
            [Some(name), Some(typname), Some(is_array)] => {
                let (name, form) = (name.clone(), Form::of_postgres(typname));
                columns.push(Column { name, form, is_array: is_array == "t" });
            }
            other => bail!("the catalog answered {other:?}"),
        }
    }
    if columns.is_empty() {
        bail!("there is no table {schema}.{table}");
    }
    Ok(columns)
}

/// The table as the source's own SELECT sees it now, in canonical values.
pub fn source_table(client: &Client, schema: &str, table: &str) -> Result<Table> {
    let columns = columns(client, schema, table)?;
    let expressions: Vec<String> = columns
        .iter()
        .map(|column| {
            let name = quote(&column.name);
            if column.is_array {
                let element = column.form.sql("u.e");
                format!(
                    "CASE WHEN {name} IS NOT NULL THEN
                     (SELECT coalesce(json_agg({element} ORDER BY u.o), '[]') FROM unnest({name}) WITH ORDINALITY u(e, o))
                     END"
                )
            } else {
                column.form.sql(&name)
            }
        })
        .collect();
    let sql = format!("SELECT {} FROM {}.{}", expressions.join(", "), quote(schema), quote(table));
    let mut rows = Vec::new();
    for row in client.rows(&sql)? {
        let mut values = Vec::with_capacity(row.len());
        for (column, text) in columns.iter().zip(row) {
            values.push(match text {
                None => Value::Null,
                Some(text) if column.is_array => serde_json::from_str(&text).context("read an array")?,
                Some(text) => Value::String(text),
            });
        }
        rows.push(values);
    }
    Ok(Table::new(columns.into_iter().map(|column| column.name).collect(), rows))
}

/// Whether each of the readers sees the mirror there equal to the source's table, every column of every row.
pub fn check_mirror(
    client: &Client,
    schema: &str,
    table: &str,
    at: impl Into<Location>,
    with: &[Reader],
) -> Result<()> {
    let source = source_table(client, schema, table)?;
    let at = at.into();
    for reader in with {
        let what = format!("{schema}.{table} in the source, and the mirror as {} reads it", reader.name());
        source.must_equal(&readers::read(*reader, at.clone())?, &what)?;
    }
    Ok(())
}

/// Whether a topic's records, folded by key, equal the source's table in every column of every row; that no change
/// came twice; that each key stays in one partition and in order. Gives the fold for further questions.
pub fn check_topic(client: &Client, schema: &str, table: &str, records: &[crate::kafka::Record]) -> Result<Fold> {
    let fold = Fold::of(records, &columns(client, schema, table)?)?;
    let source = source_table(client, schema, table)?;
    source.must_equal(&fold.table(), &format!("{schema}.{table} in the source, and its topic folded by key"))?;
    Ok(fold)
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
