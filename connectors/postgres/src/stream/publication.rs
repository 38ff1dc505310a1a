//! Watches that the publication keeps what it had when the stream began (PG-10, PG-11). A publication that loses a
//! table, an operation, rows or columns makes the server leave changes out without a word.

use crate::control::Control;
use crate::error::{ServerError, control};
use serde::Deserialize;
use std::collections::BTreeMap;
use tidewire_core::{Error, Result, TableFilter, TableName};

/// A publication at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    header: Header,
    /// By `schema.table`: column list and row filter as text.
    tables: BTreeMap<(String, String), Option<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Header {
    oid: serde_json::Value,
    pubinsert: bool,
    pubupdate: bool,
    pubdelete: bool,
    #[serde(default)]
    pubtruncate: bool,
    #[serde(default)]
    pubviaroot: bool,
}

impl Publication {
    /// Reads it as it is now, as far as the captured tables go.
    pub(crate) async fn read(session: &Control, name: &str, captured: &TableFilter) -> Result<Publication> {
        let act = "read the publication";
        let failed = |cause| control(act, cause);
        let sql = "SELECT pg_catalog.row_to_json(p)::text FROM \
                   (SELECT * FROM pg_catalog.pg_publication WHERE pubname = $1) p";
        let row = session.client().query_opt(sql, &[&name]).await.map_err(failed)?;
        let Some(row) = row else { return Err(changed(name, "it is gone")) };
        let header = serde_json::from_str(row.try_get(0).map_err(failed)?)
            .map_err(|cause| Error::bug("catalog_answer", act).with_cause(cause))?;
        // What the columns beyond the first three say differs by version: they are compared as text.
        let sql = "SELECT schemaname::text, tablename::text, \
                   (pg_catalog.to_jsonb(t) - 'pubname' - 'schemaname' - 'tablename')::text \
                   FROM pg_catalog.pg_publication_tables t WHERE pubname = $1";
        let mut tables = BTreeMap::new();
        for row in session.client().query(sql, &[&name]).await.map_err(failed)? {
            let table: (String, String) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            if captured.captures(&table.0, &table.1) {
                tables.insert(table, row.try_get(2).map_err(failed)?);
            }
        }
        Ok(Publication { header, tables })
    }

    /// Whether it lists a table.
    pub(crate) fn lists(&self, table: &TableName) -> bool {
        self.tables.contains_key(&(table.schema.to_string(), table.table.to_string()))
    }

    /// What `now` lacks. A table that no longer exists is no loss; the caller tells which those are.
    pub(super) fn narrowed(&self, now: &Publication) -> Narrowed {
        if self.header != now.header {
            return Narrowed::Yes("it was created anew or publishes other operations".to_owned());
        }
        let mut missing = Vec::new();
        for (table, shape) in &self.tables {
            match now.tables.get(table) {
                None => missing.push(table.clone()),
                // A column list follows the table's columns when none was written down.
                Some(now) if row_filter(now) != row_filter(shape) => {
                    return Narrowed::Yes(format!("table `{}.{}` has another row filter", table.0, table.1));
                }
                Some(_) => {}
            }
        }
        if missing.is_empty() { Narrowed::No } else { Narrowed::IfExisting(missing) }
    }
}

/// What a comparison shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Narrowed {
    /// Nothing is missing.
    No,
    /// For sure, and why.
    Yes(String),
    /// If one of these tables still exists.
    IfExisting(Vec<(String, String)>),
}

fn row_filter(shape: &Option<String>) -> Option<serde_json::Value> {
    let shape: serde_json::Value = serde_json::from_str(shape.as_deref()?).ok()?;
    shape.get("rowfilter").cloned()
}

/// Whether a table exists under this name.
pub(super) async fn exists(session: &Control, table: &(String, String)) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace \
               WHERE nspname = $1 AND relname = $2)";
    let failed = |cause| control("look for a table", cause);
    session.client().query_one(sql, &[&table.0, &table.1]).await.map_err(failed)?.try_get(0).map_err(failed)
}

/// The error for a publication that is not what it was.
pub(super) fn changed(name: &str, what: &str) -> Error {
    Error::operator("publication_changed", format!("publication `{name}` was changed while its log is read: {what}"))
        .with_remedy(
            "changes may be missing from here on: restore the publication, remove what the sinks hold of the tables \
             concerned and read them again",
        )
}

/// A notice in the log's connection. PostgreSQL 18 only warns, with the code of a missing object or of none, when it
/// skips a publication that it cannot find; no other warning comes while the log is sent.
pub(super) fn check_notice(notice: &ServerError) -> Result<()> {
    if notice.severity != "WARNING" {
        return Ok(());
    }
    tracing::warn!(code = notice.code, message = notice.message, "the server warns in the log's connection");
    // ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, ERRCODE_UNDEFINED_OBJECT.
    if matches!(notice.code.as_str(), "55000" | "42704") {
        return Err(Error::operator("publication_missing", format!("the server skips changes: `{}`", notice.message))
            .with_remedy(
                "create the publication again and give the sinks new names (and a Delta sink a new location), which reads \
                 the tables anew; what was changed in between is not in the log that is sent",
            ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(oid: u32, tables: &[(&str, &str)]) -> Publication {
        let header = Header {
            oid: serde_json::json!(oid),
            pubinsert: true,
            pubupdate: true,
            pubdelete: true,
            pubtruncate: true,
            pubviaroot: false,
        };
        let tables =
            tables.iter().map(|(name, shape)| (("public".to_owned(), (*name).to_owned()), Some((*shape).to_owned())));
        Publication { header, tables: tables.collect() }
    }

    #[test]
    fn pg_10_pg_11_only_losses_count() {
        let was = publication(1, &[("t", "{}"), ("u", r#"{"attnames":["a"],"rowfilter":null}"#)]);
        assert_eq!(was.narrowed(&was), Narrowed::No);
        let wider = publication(1, &[("t", "{}"), ("u", r#"{"attnames":["a","b"],"rowfilter":null}"#), ("v", "{}")]);
        assert_eq!(was.narrowed(&wider), Narrowed::No);
        let narrower = publication(1, &[("t", "{}")]);
        assert!(was.lists(&TableName::new("public", "u")) && !narrower.lists(&TableName::new("public", "u")));
        assert!(matches!(was.narrowed(&narrower), Narrowed::IfExisting(missing) if missing.len() == 1));
        let filtered = publication(1, &[("t", "{}"), ("u", r#"{"rowfilter":"(a > 1)"}"#)]);
        assert!(matches!(was.narrowed(&filtered), Narrowed::Yes(_)));
        let anew = publication(2, &[("t", "{}"), ("u", r#"{"rowfilter":null}"#)]);
        assert!(matches!(was.narrowed(&anew), Narrowed::Yes(_)));
    }

    #[test]
    fn pg_10_a_skipped_publication_stops_the_source() {
        let notice = |severity: &str, code: &str| ServerError {
            severity: severity.to_owned(),
            code: code.to_owned(),
            ..ServerError::default()
        };
        assert!(check_notice(&notice("WARNING", "55000")).is_err());
        assert!(check_notice(&notice("NOTICE", "55000")).is_ok());
        assert!(check_notice(&notice("WARNING", "01000")).is_ok());
    }
}
