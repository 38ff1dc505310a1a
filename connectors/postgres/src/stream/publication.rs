//! Watches that the publication keeps what it had when the stream began (PG-10, PG-11). A publication that loses a
//! table, an operation, rows or columns makes the server leave changes out without a word.

use crate::control::Control;
use crate::error::{ServerError, control};
use serde::Deserialize;
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use tidewire_core::{Error, Result, TableFilter, TableName};

/// A publication at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Publication {
    header: Header,
    /// By `schema.table`.
    tables: BTreeMap<(String, String), Shown>,
}

/// What every version has, and `pubgencols` from 18 on.
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
    /// Which generated columns are shown where no column list says so: `n` for none.
    #[serde(default)]
    pubgencols: Option<String>,
}

/// What is shown of a table. Before 15 it is all of it, and not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Shown {
    #[serde(default, rename = "attnames")]
    columns: Option<Vec<String>>,
    #[serde(default, rename = "rowfilter")]
    row_filter: Option<String>,
}

impl Publication {
    /// Reads it as it is now, as far as the captured tables go.
    pub(crate) async fn read(session: &Control, name: &str, captured: &TableFilter) -> Result<Publication> {
        let act = "read the publication";
        let failed = |cause| control(act, cause);
        let unread = |cause| Error::bug("catalog_answer", act).with_cause(cause);
        let sql = "SELECT pg_catalog.row_to_json(p)::text FROM \
                   (SELECT * FROM pg_catalog.pg_publication WHERE pubname = $1) p";
        let row = session.client().query_opt(sql, &[&name]).await.map_err(failed)?;
        let Some(row) = row else { return Err(changed(name, "it is gone")) };
        let header = serde_json::from_str(row.try_get(0).map_err(failed)?).map_err(unread)?;
        let sql = "SELECT schemaname::text, tablename::text, pg_catalog.to_jsonb(t)::text \
                   FROM pg_catalog.pg_publication_tables t WHERE pubname = $1";
        let mut tables = BTreeMap::new();
        for row in session.client().query(sql, &[&name]).await.map_err(failed)? {
            let table: (String, String) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            if captured.captures(&table.0, &table.1) {
                tables.insert(table, serde_json::from_str(row.try_get(2).map_err(failed)?).map_err(unread)?);
            }
        }
        Ok(Publication { header, tables })
    }

    /// Whether it lists a table.
    pub(crate) fn lists(&self, table: &TableName) -> bool {
        self.tables.contains_key(&(table.schema.to_string(), table.table.to_string()))
    }

    /// Whether old rows come.
    pub(super) fn sends_old_rows(&self) -> bool {
        self.header.pubupdate || self.header.pubdelete
    }

    /// Refuses what shows less than this did. What no longer exists is no loss.
    pub(super) async fn must_be_whole_in(&self, now: &Publication, session: &Control, name: &str) -> Result<()> {
        match self.narrowed(now) {
            Narrowed::No => Ok(()),
            Narrowed::Yes(what) => Err(changed(name, &what)),
            Narrowed::IfExisting(missing) => {
                for missing in missing {
                    if missing.exists(session).await? {
                        return Err(changed(name, &format!("{missing} was taken out")));
                    }
                }
                Ok(())
            }
        }
    }

    /// What `now` lacks.
    fn narrowed(&self, now: &Publication) -> Narrowed {
        let (was, is) = (&self.header, &now.header);
        if was.oid != is.oid || was.pubviaroot != is.pubviaroot {
            return Narrowed::Yes("it was created anew, or shows partitions under other names".to_owned());
        }
        let operations = [
            ("insert", was.pubinsert, is.pubinsert),
            ("update", was.pubupdate, is.pubupdate),
            ("delete", was.pubdelete, is.pubdelete),
            ("truncate", was.pubtruncate, is.pubtruncate),
        ];
        if let Some((operation, ..)) = operations.iter().find(|(_, was, is)| *was && !is) {
            return Narrowed::Yes(format!("it no longer publishes `{operation}`"));
        }
        let none = Some("n");
        if was.pubgencols.is_some() && was.pubgencols.as_deref() != none && is.pubgencols.as_deref() == none {
            return Narrowed::Yes("it no longer publishes generated columns".to_owned());
        }
        let mut missing = Vec::new();
        for (table, shown) in &self.tables {
            let taken = |column: Option<&String>| Missing { table: table.clone(), column: column.cloned() };
            let Some(now) = now.tables.get(table) else {
                missing.push(taken(None));
                continue;
            };
            if now.row_filter != shown.row_filter {
                return Narrowed::Yes(format!("table `{}.{}` has another row filter", table.0, table.1));
            }
            // Without a list of columns this is all that the table has: one that was dropped goes from it as well.
            let (Some(was), Some(is)) = (&shown.columns, &now.columns) else { continue };
            let is: HashSet<&String> = is.iter().collect();
            missing.extend(was.iter().filter(|column| !is.contains(column)).map(|column| taken(Some(column))));
        }
        if missing.is_empty() { Narrowed::No } else { Narrowed::IfExisting(missing) }
    }
}

/// What a comparison shows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Narrowed {
    /// Nothing is missing.
    No,
    /// For sure, and why.
    Yes(String),
    /// If one of these still exists.
    IfExisting(Vec<Missing>),
}

/// A table, or a column of one, that is no longer shown.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Missing {
    table: (String, String),
    column: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(column) = &self.column {
            write!(f, "column `{column}` of ")?;
        }
        write!(f, "table `{}.{}`", self.table.0, self.table.1)
    }
}

impl Missing {
    /// Whether it is there under its name.
    async fn exists(&self, session: &Control) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace \
                   WHERE nspname = $1 AND relname = $2 AND ($3::text IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_attribute a \
                   WHERE a.attrelid = c.oid AND a.attname = $3 AND a.attnum > 0 AND NOT a.attisdropped)))";
        let failed = |cause| control("look for what left the publication", cause);
        let row = session.client().query_one(sql, &[&self.table.0, &self.table.1, &self.column]).await;
        row.map_err(failed)?.try_get(0).map_err(failed)
    }
}

/// The error for a publication that is not what it was.
fn changed(name: &str, what: &str) -> Error {
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
            pubgencols: None,
        };
        let tables = tables
            .iter()
            .map(|(name, shown)| (("public".to_owned(), (*name).to_owned()), serde_json::from_str(shown).unwrap()));
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
        let fewer = wider.narrowed(&was);
        let gone = |missing: &Missing| missing.to_string();
        assert!(
            matches!(&fewer, Narrowed::IfExisting(missing)
                if missing.iter().map(gone).eq(["column `b` of table `public.u`", "table `public.v`"])),
            "{fewer:?}"
        );
    }

    #[test]
    fn pg_11_operations_and_generated_columns_that_are_no_longer_published_are_losses() {
        let change = |change: fn(&mut Header)| {
            let mut publication = publication(1, &[("t", "{}")]);
            change(&mut publication.header);
            publication
        };
        let all = change(|header| header.pubgencols = Some("s".to_owned()));
        let lesser: [fn(&mut Header); 6] = [
            |header| header.pubinsert = false,
            |header| header.pubupdate = false,
            |header| header.pubdelete = false,
            |header| header.pubtruncate = false,
            |header| header.pubviaroot = true,
            |header| header.pubgencols = Some("n".to_owned()),
        ];
        for (at, less) in lesser.into_iter().enumerate() {
            let less = change(less);
            assert!(matches!(all.narrowed(&less), Narrowed::Yes(_)), "{at}");
            // Partitions under other names are another matter in both directions; more of the rest loses nothing.
            assert_eq!(less.narrowed(&all) == Narrowed::No, at != 4, "{at}");
        }
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
