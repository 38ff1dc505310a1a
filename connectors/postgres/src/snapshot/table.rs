//! What must be known of a table to read it, and the statement that does.

use crate::catalog::{Described, PublishedTable};
use crate::control::Control;
use crate::copy::CopyFormat;
use crate::error::control;
use std::collections::HashMap;
use std::sync::Arc;
use tidewire_core::Result;

/// A table to read.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotTable {
    /// From the list of the publication.
    pub(crate) published: PublishedTable,
    /// As it was when the source was opened.
    pub(crate) described: Arc<Described>,
    /// As it was before the snapshot was taken.
    pub(crate) shape: Shape,
}

/// What makes a table's rows what they are, beside its columns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Whether its rows lie in partitions.
    partitioned: bool,
    /// The files of the table and of its partitions: new ones after a rewrite or a TRUNCATE.
    files: String,
    /// The publication's row filter.
    filter: Option<String>,
}

/// The shapes of tables of a publication, by oid.
pub(crate) async fn shapes(session: &Control, publication: &str, oids: &[u32]) -> Result<HashMap<u32, Shape>> {
    const QUERY: &str = "
        SELECT c.oid, c.relkind = 'p',
               coalesce((SELECT string_agg(m.relid::oid::text || ':' || coalesce(pg_catalog.pg_relation_filenode(m.relid), 0)::text,
                                           ',' ORDER BY m.relid::oid)
                           FROM (SELECT c.oid::regclass UNION SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) t) m(relid)), ''),
               pg_catalog.to_jsonb(p) ->> 'rowfilter'
          FROM pg_catalog.pg_publication_tables p
          JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
          JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
         WHERE p.pubname = $1 AND c.oid = ANY ($2)";
    let failed = |cause| control("look at the tables before the snapshot", cause);
    let rows = session.client().query(QUERY, &[&publication, &oids]).await.map_err(failed)?;
    let mut shapes = HashMap::with_capacity(rows.len());
    for row in &rows {
        let shape = Shape {
            partitioned: row.try_get(1).map_err(failed)?,
            files: row.try_get(2).map_err(failed)?,
            filter: row.try_get(3).map_err(failed)?,
        };
        shapes.insert(row.try_get(0).map_err(failed)?, shape);
    }
    Ok(shapes)
}

impl SnapshotTable {
    /// Keeps the table from being rewritten or emptied until the session's transaction ends.
    pub(super) fn lock_statement(&self) -> String {
        format!("LOCK TABLE {}{} IN ACCESS SHARE MODE", self.only(), self.quoted_name())
    }

    /// Reads the table's rows: the columns in the order of the schema. Inheritance children are tables of their own in
    /// a publication; partitions read through their root are not.
    pub(super) fn copy_statement(&self, format: CopyFormat) -> String {
        let columns: Vec<String> =
            self.described.schema.columns.iter().map(|column| quote_identifier(&column.name)).collect();
        let filter = self.shape.filter.as_ref().map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
        let (columns, only, name) = (columns.join(", "), self.only(), self.quoted_name());
        format!("COPY (SELECT {columns} FROM {only}{name}{filter}) TO STDOUT{}", format.options())
    }

    fn only(&self) -> &'static str {
        if self.shape.partitioned { "" } else { "ONLY " }
    }

    fn quoted_name(&self) -> String {
        let name = &self.published.name;
        format!("{}.{}", quote_identifier(&name.schema), quote_identifier(&name.table))
    }
}

/// The one way to put a name into a statement (PG-94).
pub(crate) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pg_94_names_are_quoted() {
        for (name, quoted) in [("a", "\"a\""), ("a\"b", "\"a\"\"b\""), ("ta.ble; --", "\"ta.ble; --\"")] {
            assert_eq!(quote_identifier(name), quoted);
        }
    }
}
