//! The tables of a server as it describes them now. A definition is what `SHOW CREATE TABLE` prints, read by the parser
//! that reads the log's DDL: so a table looks the same from both sides.

use crate::connection::{Connection, Row};
use crate::ddl::{self, Context, Defaults, Schemas, Statement};
use crate::error::protocol;
use crate::model::{Charset, Flavour, Origin, TableDef};
use crate::shape;
use tidewire_core::tables::TableFilter;
use tidewire_core::{Error, Result, TableName};

/// Databases that are the server's own.
const OWN: &str = "('mysql', 'information_schema', 'performance_schema', 'sys')";

/// A table as the catalog lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListedTable {
    /// Name.
    pub(crate) name: TableName,
    /// Rows, by the server's estimate.
    pub(crate) rows_estimated: u64,
    /// Bytes of its rows, by the server's estimate.
    pub(crate) bytes_estimated: u64,
}

/// The tables that are captured, and the helpers of online schema changes on them, whose definitions are needed as well.
#[derive(Clone, Debug, Default)]
pub(crate) struct Listed {
    /// Captured.
    pub(crate) captured: Vec<ListedTable>,
    /// Helpers.
    pub(crate) helpers: Vec<TableName>,
}

/// Lists them.
pub(crate) async fn list(session: &mut Connection, filter: &TableFilter) -> Result<Listed> {
    let sql = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COALESCE(TABLE_ROWS, 0), COALESCE(DATA_LENGTH, 0)
           FROM information_schema.TABLES
          WHERE TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED') AND TABLE_SCHEMA NOT IN {OWN}
          ORDER BY 1, 2"
    );
    let rows = session.query("list the tables", &sql).await?;
    let mut listed = Listed::default();
    let mut others = Vec::new();
    for row in &rows {
        let name = TableName::new(text(row, 0)?, text(row, 1)?);
        if filter.captures_name(&name) && shape::online_change_of(&name.table).is_none() {
            let (rows_estimated, bytes_estimated) = (number(row, 2), number(row, 3));
            listed.captured.push(ListedTable { name, rows_estimated, bytes_estimated });
        } else {
            others.push((name, number(row, 2), number(row, 3)));
        }
    }
    for (name, rows_estimated, bytes_estimated) in others {
        let Some(base) = shape::online_change_of(&name.table) else { continue };
        let base = TableName::new(&*name.schema, base);
        if listed.captured.iter().any(|table| table.name == base) {
            listed.helpers.push(name);
        } else if filter.captures_name(&name) {
            // Named like a helper, of no table.
            listed.captured.push(ListedTable { name, rows_estimated, bytes_estimated });
        }
    }
    Ok(listed)
}

/// Empty definitions with the server's defaults and its databases.
pub(crate) async fn schemas(session: &mut Connection) -> Result<Schemas> {
    let act = "read the server's defaults";
    let rows = session
        .query(
            act,
            "SELECT @@global.character_set_server, @@global.collation_server, @@global.explicit_defaults_for_timestamp",
        )
        .await?;
    let row = rows.first().ok_or_else(|| protocol("the server's defaults cannot be read"))?;
    let charset = Charset { name: text(row, 0)?.into(), collation: text(row, 1)?.into() };
    let explicit_timestamps = matches!(text(row, 2)?.as_str(), "1" | "ON");
    let mut schemas = Schemas::new(Defaults { charset, explicit_timestamps });
    let sql = format!(
        "SELECT SCHEMA_NAME, DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA
          WHERE SCHEMA_NAME NOT IN {OWN}"
    );
    for row in &session.query(act, &sql).await? {
        let charset = Charset { name: text(row, 1)?.into(), collation: text(row, 2)?.into() };
        schemas.set_database(text(row, 0)?, charset);
    }
    Ok(schemas)
}

/// Reads a table's definition into `schemas`. `None` when the table has just gone.
pub(crate) async fn define(
    session: &mut Connection,
    schemas: &mut Schemas,
    name: &TableName,
) -> Result<Option<TableDef>> {
    let sql = format!("SHOW CREATE TABLE {}", quoted_name(name));
    let rows = match session.query("read a table's definition", &sql).await {
        Ok(rows) => rows,
        Err(error) if error.code() == "table_missing" => return Ok(None),
        Err(error) => return Err(error.with_table(name.clone())),
    };
    let row = rows.first().ok_or_else(|| protocol(format!("the definition of table `{name}` cannot be read")))?;
    let statement = text(row, 1)?;
    let version = session.version();
    let context = Context {
        flavour: version.flavour,
        server_version: version.number,
        sql_mode: 0,
        database: Some(&name.schema),
        fold_names: false,
        origin: Origin::catalog(),
        now: None,
    };
    let unreadable = |cause: Box<dyn std::error::Error + Send + Sync>| {
        Error::operator("definition_unreadable", format!("the definition of table `{name}` is not understood"))
            .with_remedy(format!("take the table out with \"!{name}\" in `tables`, and report its SHOW CREATE TABLE"))
            .with_table(name.clone())
            .with_cause(cause)
    };
    let statement = ddl::parse(&statement, &context).map_err(|cause| unreadable(cause.into()))?;
    if !matches!(statement, Statement::CreateTable(_)) {
        return Err(unreadable("it is no CREATE TABLE".into()));
    }
    schemas.apply(&statement, &context).map_err(|cause| unreadable(cause.into()))?;
    Ok(schemas.get(name).map(|table| TableDef::clone(&table)))
}

/// `lower_case_table_names`: whether names are folded to lower case. With 2 they are compared so and kept as written.
pub(crate) async fn folds_names(session: &mut Connection) -> Result<bool> {
    let rows = session.query("read lower_case_table_names", "SELECT @@global.lower_case_table_names").await?;
    let row = rows.first().ok_or_else(|| protocol("lower_case_table_names cannot be read"))?;
    Ok(text(row, 0)? == "1")
}

/// The one way to put a name into a statement (MY-78).
pub(crate) fn quote_identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The same of a table.
pub(crate) fn quoted_name(name: &TableName) -> String {
    format!("{}.{}", quote_identifier(&name.schema), quote_identifier(&name.table))
}

/// A value of a row in text.
pub(crate) fn text(row: &Row, index: usize) -> Result<String> {
    let bytes = row.get(index).and_then(Option::as_deref).ok_or_else(|| protocol("an answer lacks a value"))?;
    String::from_utf8(bytes.to_vec()).map_err(|_| protocol("an answer is not UTF-8"))
}

fn number(row: &Row, index: usize) -> u64 {
    text(row, index).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// What a flavour's server calls its identity.
pub(crate) fn identity_query(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::MySql => "SELECT @@global.server_uuid",
        Flavour::MariaDb => "SELECT CONCAT('server-', @@global.server_id)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn my_78_names_are_quoted() {
        for (name, quoted) in [("a", "`a`"), ("a`b", "`a``b`"), ("ta.ble; --", "`ta.ble; --`")] {
            assert_eq!(quote_identifier(name), quoted);
        }
    }
}
