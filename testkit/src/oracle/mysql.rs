//! What MySQL's and MariaDB's own SELECT says.

use super::{Column, Origin};
use crate::canonical::Form;
use crate::mysql::Client;
use crate::readers::Table;
use anyhow::{Context, Result, bail};
use serde_json::Value;

impl Origin for Client {
    fn columns(&self, schema: &str, table: &str) -> Result<Vec<Column>> {
        Ok(declared(self, schema, table)?.into_iter().map(|declared| declared.column).collect())
    }

    fn table(&self, schema: &str, table: &str) -> Result<Table> {
        let declared = declared(self, schema, table)?;
        let expressions: Vec<&str> = declared.iter().map(|column| column.expression.as_str()).collect();
        self.execute("SET time_zone = '+00:00'")?;
        let sql = format!("SELECT {} FROM {}.{}", expressions.join(", "), quote(schema), quote(table));
        let mut rows = Vec::new();
        for row in self.rows(&sql)? {
            let value = |(column, text): (&Declared, Option<String>)| match text {
                None => Ok(Value::Null),
                Some(text) => column.canonical(text),
            };
            rows.push(declared.iter().zip(row).map(value).collect::<Result<_>>()?);
        }
        Ok(Table::new(declared.into_iter().map(|declared| declared.column.name).collect(), rows))
    }
}

/// A column and how it is asked for.
struct Declared {
    column: Column,
    expression: String,
}

impl Declared {
    /// Of what the expression gave.
    fn canonical(&self, text: String) -> Result<Value> {
        if self.column.is_array {
            return floats(&text);
        }
        let number = || format!("`{}` holds `{text}`, which is no float", self.column.name);
        Ok(match self.column.form {
            // The expression widened it; the nearest of 4 bytes is the number that was widened.
            Form::Single => format!("bits:{:08x}", (text.parse::<f64>().with_context(number)? as f32).to_bits()).into(),
            Form::Double => format!("bits:{:016x}", text.parse::<f64>().with_context(number)?.to_bits()).into(),
            form => form.of_text(Value::String(text)),
        })
    }
}

fn declared(client: &Client, schema: &str, table: &str) -> Result<Vec<Declared>> {
    let logged =
        if is_computed_unlogged(&client.value("SELECT VERSION()")?) { "AND is_generated = 'NEVER'" } else { "" };
    let sql = format!(
        "SELECT column_name, LOWER(data_type), LOWER(column_type), numeric_precision FROM information_schema.columns
         WHERE table_schema = {} AND table_name = {} {logged} ORDER BY ordinal_position",
        literal(schema),
        literal(table)
    );
    let mut columns = Vec::new();
    for row in client.rows(&sql)? {
        match row.as_slice() {
            [Some(name), Some(kind), Some(full), digits] => {
                columns.push(declare(name, kind, full, digits.as_deref().unwrap_or_default()));
            }
            other => bail!("the catalog answered {other:?}"),
        }
    }
    if columns.is_empty() {
        bail!("there is no table {schema}.{table}");
    }
    Ok(columns)
}

/// From 11.4 on MariaDB leaves out what it computes of the rows that an update or a deletion logs.
fn is_computed_unlogged(version: &str) -> bool {
    let numbers: Vec<u32> = version.split(['.', '-']).take(2).filter_map(|part| part.parse().ok()).collect();
    version.contains("MariaDB") && numbers.as_slice() >= [11, 4].as_slice()
}

fn declare(name: &str, kind: &str, full: &str, digits: &str) -> Declared {
    let value = quote(name);
    let (form, expression) = match kind {
        "float" => (Form::Single, format!("{value} * 1e0")),
        "double" => (Form::Double, format!("{value} * 1e0")),
        // Without the zeros in front that it may be declared with; a year of 0 is 0.
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" | "year"
            if kind == "year" || full.contains("zerofill") =>
        {
            (Form::Text, format!("{value} + 0"))
        }
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "decimal" => (Form::Text, value),
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" => {
            (Form::Bytes, format!("CONCAT('hex:', LOWER(HEX({value})))"))
        }
        "bit" => (Form::Bits, format!("LPAD(BIN({value} + 0), {digits}, '0')")),
        "date" => (Form::Date, format!("DATE_FORMAT({value}, '%Y-%m-%d')")),
        "datetime" => (Form::Timestamp, format!("DATE_FORMAT({value}, '%Y-%m-%dT%H:%i:%s.%f')")),
        "timestamp" => (Form::Instant, format!("DATE_FORMAT({value}, '%Y-%m-%dT%H:%i:%s.%fZ')")),
        "time" => (Form::Time, format!("CAST({value} AS CHAR)")),
        "vector" => (Form::Single, format!("LOWER(HEX({value}))")),
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring" | "multipolygon"
        | "geometrycollection" | "geomcollection" => (Form::Geometry, format!("CONCAT('hex:', LOWER(HEX({value})))")),
        "char" | "varchar" | "tinytext" | "text" | "mediumtext" | "longtext" | "enum" | "set" => {
            (Form::Text, format!("CONVERT({value} USING utf8mb4)"))
        }
        _ => (Form::Text, format!("CAST({value} AS CHAR)")),
    };
    Declared { column: Column { name: name.to_owned(), form, is_array: kind == "vector" }, expression }
}

/// A vector's numbers, 4 bytes each, the least significant first.
fn floats(hex: &str) -> Result<Value> {
    let byte = |pair: &[u8]| std::str::from_utf8(pair).ok().and_then(|text| u8::from_str_radix(text, 16).ok());
    let bytes: Vec<u8> = hex
        .as_bytes()
        .chunks_exact(2)
        .map(byte)
        .collect::<Option<_>>()
        .context("a vector that is no hexadecimal number")?;
    let float = |four: &[u8]| {
        let bits = four.iter().rev().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte));
        Value::String(format!("bits:{bits:08x}"))
    };
    Ok(Value::Array(bytes.chunks_exact(4).map(float).collect()))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
