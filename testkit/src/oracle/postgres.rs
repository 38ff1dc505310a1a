//! What PostgreSQL's own SELECT says.

use super::{Column, Origin};
use crate::canonical::Form;
use crate::postgres::Client;
use crate::readers::Table;
use anyhow::{Context, Result, bail};
use serde_json::Value;

impl Origin for Client {
    fn columns(&self, schema: &str, table: &str) -> Result<Vec<Column>> {
        columns(self, schema, table)
    }

    fn table(&self, schema: &str, table: &str) -> Result<Table> {
        source_table(self, schema, table)
    }
}

/// Without generated columns. Domains count as their base types.
fn columns(client: &Client, schema: &str, table: &str) -> Result<Vec<Column>> {
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

fn source_table(client: &Client, schema: &str, table: &str) -> Result<Table> {
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

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
