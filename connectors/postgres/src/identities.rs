//! Partitions whose replica identity has less than that of the table under whose name they are published. The server asks
//! the table's identity how much of an old row it says to send, and the partition's how much was logged: what lies between
//! comes as null. `ALTER TABLE ... REPLICA IDENTITY` of a partitioned table reaches none of its partitions.

use crate::catalog::{get, quoted, quoted_table};
use crate::error;
use tidewire_core::{Error, Result, TableName};
use tokio_postgres::Client;

/// The code of the finding and of the error.
pub(crate) const CODE: &str = "partition_identity";

/// How many partitions are named.
const LEAVES_SHOWN: usize = 20;

/// A published table with partitions of which some log too little.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Narrow {
    /// The table.
    pub(crate) table: TableName,
    /// What gives these partitions its identity.
    pub(crate) statements: Vec<String>,
}

impl Narrow {
    /// What is wrong.
    pub(crate) fn message(&self) -> String {
        format!(
            "{} of table `{}` have another replica identity than the table: of their old rows the log lacks columns, and the \
             server sends null for them",
            match self.statements.len() {
                1 => "1 partition".to_owned(),
                count => format!("{count} partitions"),
            },
            self.table
        )
    }

    /// The statements that mend it.
    pub(crate) fn remedy(&self) -> String {
        let shown = self.statements.iter().take(LEAVES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(" ");
        match self.statements.len().saturating_sub(LEAVES_SHOWN) {
            0 => shown,
            more => format!("{shown} -- and {more} more, which `tidewire check` names then"),
        }
    }

    /// The error that stops a source.
    pub(crate) fn into_error(self) -> Error {
        Error::operator(CODE, self.message()).with_remedy(self.remedy()).with_table(self.table)
    }
}

/// Those of the tables with these oids. A partition without any identity is none: the server takes no update or delete of it.
pub(crate) async fn narrow(client: &Client, tables: &[u32]) -> Result<Vec<Narrow>> {
    const QUERY: &str = "
        WITH part AS (
            SELECT c.oid AS root, t.relid::oid AS relid
              FROM pg_catalog.pg_class c CROSS JOIN LATERAL pg_catalog.pg_partition_tree(c.oid) t
             WHERE c.oid = ANY ($1) AND c.relkind = 'p' AND (t.isleaf OR t.relid = c.oid)
        ), identity AS (
            SELECT p.root, p.relid, c.relkind, c.relreplident, i.indexrelid, c.relname, n.nspname,
                   ARRAY(SELECT a.attname::text
                           FROM unnest(i.indkey) WITH ORDINALITY AS k(number, place)
                           JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
                          WHERE k.place <= i.indnkeyatts) AS columns
              FROM part p
              JOIN pg_catalog.pg_class c ON c.oid = p.relid
              JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              LEFT JOIN pg_catalog.pg_index i ON i.indrelid = p.relid AND i.indisvalid AND i.indimmediate
               AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'i' THEN i.indisreplident ELSE false END
        )
        SELECT r.nspname::text, r.relname::text, l.nspname::text, l.relname::text, r.relreplident::text,
               (SELECT x.relname::text FROM pg_catalog.pg_partition_tree(r.indexrelid) t
                  JOIN pg_catalog.pg_index o ON o.indexrelid = t.relid AND o.indrelid = l.relid
                  JOIN pg_catalog.pg_class x ON x.oid = t.relid)
          FROM identity r JOIN identity l ON l.root = r.root AND l.relid <> r.relid
         WHERE r.relid = r.root AND l.relkind = 'r' AND l.relreplident <> 'f' AND l.columns <> '{}'
           AND (r.relreplident = 'f' OR NOT r.columns <@ l.columns)
         ORDER BY r.root, l.nspname, l.relname";
    let act = "compare the replica identities of partitions";
    let rows = client.query(QUERY, &[&tables]).await.map_err(|cause| error::control(act, cause))?;
    let mut found: Vec<Narrow> = Vec::new();
    for row in &rows {
        let name = |at| Ok::<_, Error>(TableName::new(get::<String>(row, at, act)?, get::<String>(row, at + 1, act)?));
        let (table, leaf) = (name(0)?, name(2)?);
        let identity = match (get::<String>(row, 4, act)?.as_str(), get::<Option<String>>(row, 5, act)?) {
            ("f", _) => "FULL".to_owned(),
            ("i", Some(index)) => format!("USING INDEX {}", quoted(&index)),
            _ => "DEFAULT".to_owned(),
        };
        let statement = format!("ALTER TABLE {} REPLICA IDENTITY {identity};", quoted_table(&leaf));
        match found.last_mut().filter(|last| last.table == table) {
            Some(last) => last.statements.push(statement),
            None => found.push(Narrow { table, statements: vec![statement] }),
        }
    }
    Ok(found)
}
