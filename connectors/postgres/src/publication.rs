//! What a publication shows, and what it came to show less of (PG-10, PG-11). A publication that loses a table, an operation,
//! rows or columns makes the server leave changes out without a word; a table that is made anew has rows that no log has.
//! Looked at while the log is read, and at each start against what is kept of the last one (`publication/kept.rs`).

mod kept;

use crate::config::Settings;
use crate::control::Control;
use crate::error::{ServerError, control};
pub(crate) use kept::{Kept, Watched};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::fmt;
use tidewire_core::{Error, Result, TableName};

/// A publication at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Publication {
    name: String,
    header: Header,
    #[serde(with = "listed")]
    tables: BTreeMap<TableName, Shown>,
}

/// What every version has, and `pubgencols` from 18 on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Shown {
    /// Its oid: another one under the same name is another table.
    #[serde(default)]
    oid: u32,
    #[serde(default, rename = "attnames")]
    columns: Option<Vec<String>>,
    #[serde(default, rename = "rowfilter")]
    row_filter: Option<String>,
}

/// JSON has no maps by pairs.
mod listed {
    use super::Shown;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::collections::BTreeMap;
    use tidewire_core::TableName;

    pub(super) fn serialize<S: Serializer>(tables: &BTreeMap<TableName, Shown>, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(tables.iter().map(|(name, shown)| (&*name.schema, &*name.table, shown)))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<TableName, Shown>, D::Error> {
        let tables = Vec::<(String, String, Shown)>::deserialize(from)?;
        Ok(tables.into_iter().map(|(schema, table, shown)| (TableName::new(schema, table), shown)).collect())
    }
}

impl Publication {
    /// Reads it as it is now, as far as the captured tables go.
    pub(crate) async fn read(session: &Control, settings: &Settings) -> Result<Publication> {
        let (act, name) = ("read the publication", settings.publication.as_str());
        let failed = |cause| control(act, cause);
        let unread = |cause| Error::bug("catalog_answer", act).with_cause(cause);
        let sql = "SELECT pg_catalog.row_to_json(p)::text FROM \
                   (SELECT * FROM pg_catalog.pg_publication WHERE pubname = $1) p";
        let row = session.client().query_opt(sql, &[&name]).await.map_err(failed)?;
        let Some(row) = row else {
            return Err(Change::of_all("it is gone").into_error(name, &settings.name));
        };
        let header = serde_json::from_str(row.try_get(0).map_err(failed)?).map_err(unread)?;
        let sql = "SELECT t.schemaname::text, t.tablename::text, \
                          (pg_catalog.to_jsonb(t) || pg_catalog.jsonb_build_object('oid', c.oid::int8))::text \
                     FROM pg_catalog.pg_publication_tables t \
                     JOIN pg_catalog.pg_namespace n ON n.nspname = t.schemaname \
                     JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = t.tablename \
                    WHERE t.pubname = $1";
        let mut tables = BTreeMap::new();
        for row in session.client().query(sql, &[&name]).await.map_err(failed)? {
            let (schema, table): (String, String) = (row.try_get(0).map_err(failed)?, row.try_get(1).map_err(failed)?);
            let table = TableName::new(schema, table);
            if settings.tables.captures_name(&table) {
                tables.insert(table, serde_json::from_str(row.try_get(2).map_err(failed)?).map_err(unread)?);
            }
        }
        Ok(Publication { name: name.to_owned(), header, tables })
    }

    /// Whether it lists a table.
    pub(crate) fn lists(&self, table: &TableName) -> bool {
        self.tables.contains_key(table)
    }

    /// Whether old rows come.
    pub(crate) fn sends_old_rows(&self) -> bool {
        self.header.pubupdate || self.header.pubdelete
    }

    /// Refuses what shows less than this did. What no longer exists is no loss.
    pub(crate) async fn must_be_whole_in(&self, now: &Publication, session: &Control, source: &str) -> Result<()> {
        match self.narrowed(now, |_, _| true).confirmed(session).await? {
            Some(change) => Err(change.into_error(&now.name, source)),
            None => Ok(()),
        }
    }

    /// What `now` lacks of the tables that count.
    fn narrowed(&self, now: &Publication, counts: impl Fn(&TableName, u32) -> bool) -> Narrowed {
        let (was, is) = (&self.header, &now.header);
        // Under another name it is judged by what it shows.
        if (self.name == now.name && was.oid != is.oid) || was.pubviaroot != is.pubviaroot {
            return Narrowed::Yes(Change::of_all("it was created anew, or shows partitions under other names"));
        }
        let operations = [
            ("insert", was.pubinsert, is.pubinsert),
            ("update", was.pubupdate, is.pubupdate),
            ("delete", was.pubdelete, is.pubdelete),
            ("truncate", was.pubtruncate, is.pubtruncate),
        ];
        if let Some((operation, ..)) = operations.iter().find(|(_, was, is)| *was && !is) {
            return Narrowed::Yes(Change::of_all(format!("it no longer publishes `{operation}`")));
        }
        let none = Some("n");
        if was.pubgencols.is_some() && was.pubgencols.as_deref() != none && is.pubgencols.as_deref() == none {
            return Narrowed::Yes(Change::of_all("it no longer publishes generated columns"));
        }
        let mut missing = Vec::new();
        for (table, was) in self.tables.iter().filter(|(table, was)| counts(table, was.oid)) {
            let (table, is) = match now.tables.get_key_value(table) {
                Some((_, is)) if is.oid != was.oid => return Narrowed::Yes(Change::recreated(table)),
                Some(listed) => listed,
                None => {
                    missing.push(Missing { table: table.clone(), column: None });
                    // It may have another name.
                    let Some(listed) = now.tables.iter().find(|(_, is)| is.oid == was.oid) else { continue };
                    listed
                }
            };
            let taken = |column: &String| Missing { table: table.clone(), column: Some(column.clone()) };
            if is.row_filter != was.row_filter {
                return Narrowed::Yes(Change::of(table, format!("table `{table}` has another row filter")));
            }
            // Without a list of columns this is all that the table has: one that was dropped goes from it as well.
            let (Some(was), Some(is)) = (&was.columns, &is.columns) else { continue };
            let is: HashSet<&String> = is.iter().collect();
            missing.extend(was.iter().filter(|column| !is.contains(column)).map(taken));
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
    Yes(Change),
    /// If one of these still exists.
    IfExisting(Vec<Missing>),
}

impl Narrowed {
    /// What is missing for sure.
    async fn confirmed(self, session: &Control) -> Result<Option<Change>> {
        match self {
            Narrowed::No => Ok(None),
            Narrowed::Yes(change) => Ok(Some(change)),
            Narrowed::IfExisting(missing) => {
                for missing in missing {
                    if missing.exists(session).await? {
                        return Ok(Some(Change::of(&missing.table, format!("{missing} was taken out"))));
                    }
                }
                Ok(None)
            }
        }
    }
}

/// A table, or a column of one, that is no longer shown.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Missing {
    table: TableName,
    column: Option<String>,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(column) = &self.column {
            write!(f, "column `{column}` of ")?;
        }
        write!(f, "table `{}`", self.table)
    }
}

impl Missing {
    /// Whether it is there under its name.
    async fn exists(&self, session: &Control) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = relnamespace \
                   WHERE nspname = $1 AND relname = $2 AND ($3::text IS NULL OR EXISTS (SELECT FROM pg_catalog.pg_attribute a \
                   WHERE a.attrelid = c.oid AND a.attname = $3 AND a.attnum > 0 AND NOT a.attisdropped)))";
        let failed = |cause| control("look for what left the publication", cause);
        let (schema, table) = (&*self.table.schema, &*self.table.table);
        let row = session.client().query_one(sql, &[&schema, &table, &self.column]).await;
        row.map_err(failed)?.try_get(0).map_err(failed)
    }
}

/// How a change of the publication halts a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Code {
    /// It shows less.
    PublicationChanged,
    /// A table is another one.
    TableRecreated,
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Code::PublicationChanged => "publication_changed",
            Code::TableRecreated => "table_recreated",
        }
    }

    /// That of an error, if it is one of these.
    fn of(error: &Error) -> Option<Code> {
        [Code::PublicationChanged, Code::TableRecreated].into_iter().find(|code| code.text() == error.code())
    }

    fn remedy(self, source: &str) -> String {
        let anew = "give the sinks new names (and a Delta sink a new location), which reads the tables anew";
        match self {
            Code::PublicationChanged => format!(
                "changes may be missing from then on: restore the publication and {anew}; or, to go on without them, start once \
                 with `tidewire run --accept-slot-position {source}`"
            ),
            Code::TableRecreated => format!(
                "{anew}; or, to go on with the new table's changes on top of the old one's rows, which no Delta mirror takes, \
                 start once with `tidewire run --accept-slot-position {source}`"
            ),
        }
    }
}

/// Why a source halts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    code: Code,
    what: String,
    /// The table, where it is one.
    table: Option<TableName>,
}

impl Change {
    /// Of the whole publication.
    fn of_all(what: impl Into<String>) -> Change {
        Change { code: Code::PublicationChanged, what: what.into(), table: None }
    }

    fn of(table: &TableName, what: String) -> Change {
        Change { code: Code::PublicationChanged, what, table: Some(table.clone()) }
    }

    fn recreated(table: &TableName) -> Change {
        let what = format!("table `{table}` was dropped and created anew: its rows so far are not in the log");
        Change { code: Code::TableRecreated, what, table: Some(table.clone()) }
    }

    fn into_error(self, publication: &str, source: &str) -> Error {
        let message = match self.code {
            Code::PublicationChanged => format!("publication `{publication}` shows less than it did: {}", self.what),
            Code::TableRecreated => self.what,
        };
        refusal(self.code, message, self.table, source)
    }
}

/// The error for a publication that is not what it was.
fn refusal(code: Code, message: String, table: Option<TableName>, source: &str) -> Error {
    let error = Error::operator(code.text(), message).with_remedy(code.remedy(source));
    match table {
        Some(table) => error.with_table(table),
        None => error,
    }
}

/// The error for a name that stands for another table.
pub(crate) fn recreated(table: &TableName, source: &str) -> Error {
    Change::recreated(table).into_error("", source)
}

/// A notice in the log's connection. PostgreSQL 18 only warns, with the code of a missing object or of none, when it
/// skips a publication that it cannot find; no other warning comes while the log is sent.
pub(crate) fn check_notice(notice: &ServerError) -> Result<()> {
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

    pub(super) fn publication(oid: u32, tables: &[(&str, &str)]) -> Publication {
        let header = Header {
            oid: serde_json::json!(oid),
            pubinsert: true,
            pubupdate: true,
            pubdelete: true,
            pubtruncate: true,
            pubviaroot: false,
            pubgencols: None,
        };
        let tables =
            tables.iter().map(|(name, shown)| (TableName::new("public", *name), serde_json::from_str(shown).unwrap()));
        Publication { name: "p".to_owned(), header, tables: tables.collect() }
    }

    #[test]
    fn pg_11_what_is_shown_is_read_back_as_it_was_kept() {
        let was = publication(1, &[("t", r#"{"oid":7,"attnames":["a"],"rowfilter":"(a > 1)"}"#), ("v", "{}")]);
        let text = serde_json::to_string(&was).unwrap();
        assert_eq!(serde_json::from_str::<Publication>(&text).unwrap(), was, "{text}");
    }

    fn narrowed(was: &Publication, now: &Publication) -> Narrowed {
        was.narrowed(now, |_, _| true)
    }

    #[test]
    fn pg_10_pg_11_only_losses_count() {
        let was = publication(1, &[("t", "{}"), ("u", r#"{"attnames":["a"],"rowfilter":null}"#)]);
        assert_eq!(narrowed(&was, &was), Narrowed::No);
        let wider = publication(1, &[("t", "{}"), ("u", r#"{"attnames":["a","b"],"rowfilter":null}"#), ("v", "{}")]);
        assert_eq!(narrowed(&was, &wider), Narrowed::No);
        let narrower = publication(1, &[("t", "{}")]);
        assert!(was.lists(&TableName::new("public", "u")) && !narrower.lists(&TableName::new("public", "u")));
        assert!(matches!(narrowed(&was, &narrower), Narrowed::IfExisting(missing) if missing.len() == 1));
        let filtered = publication(1, &[("t", "{}"), ("u", r#"{"rowfilter":"(a > 1)"}"#)]);
        assert!(matches!(narrowed(&was, &filtered), Narrowed::Yes(_)));
        let recreated = publication(1, &[("t", r#"{"oid":7}"#), ("u", r#"{"attnames":["a"]}"#)]);
        assert!(matches!(narrowed(&was, &recreated), Narrowed::Yes(change) if change.code == Code::TableRecreated));
        let anew = publication(2, &[("t", "{}"), ("u", r#"{"rowfilter":null}"#)]);
        assert!(matches!(narrowed(&was, &anew), Narrowed::Yes(_)));
        let fewer = narrowed(&wider, &was);
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
            assert!(matches!(narrowed(&all, &less), Narrowed::Yes(_)), "{at}");
            // Partitions under other names are another matter in both directions; more of the rest loses nothing.
            assert_eq!(narrowed(&less, &all) == Narrowed::No, at != 4, "{at}");
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
