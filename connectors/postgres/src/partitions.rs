//! Partitions that are attached to a captured table with rows in them. Under `publish_via_partition_root` their later
//! changes come as the table's, but the rows that they had are in no log, so the source halts (PG-25). What is made as a
//! partition is empty at first, and is not looked at.
//!
//! Told apart by the transaction that attached it, the `xmin` of its row in `pg_inherits`: rows that are older, or by an
//! earlier command of the same transaction, were there before. Not seen is a transaction that took its number, waited
//! while others filled the table, and then attached it, when no older row is left; nor rows of its own savepoints.

use crate::catalog::quoted_table;
use crate::control::Control;
use crate::error::control;
use crate::records::Records;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tidewire_core::definitions::DefinitionStore;
use tidewire_core::{Error, Result, TableName};
use tokio_postgres::Row;

/// Under this name the state keeps what was attached when; no table has it.
const RECORD: &str = "partitions";

/// A command that attached a partition: its transaction, as it was numbered then, and its number within.
type Attached = (u32, i64);

/// What is known to be whole in the sinks, by oid; shared by a connector and its readers, and kept in the state.
#[derive(Clone, Default)]
pub(crate) struct Known {
    partitions: Arc<Mutex<Option<BTreeMap<u32, Attached>>>>,
    records: Records,
}

impl Known {
    /// Kept in `store`, if there is one.
    pub(crate) fn new(store: Option<Arc<dyn DefinitionStore>>) -> Known {
        Known { partitions: Arc::default(), records: Records::new(store) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<BTreeMap<u32, Attached>>> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None` where nobody has looked before.
    fn load(&self) -> Result<Option<BTreeMap<u32, Attached>>> {
        if let Some(known) = &*self.lock() {
            return Ok(Some(known.clone()));
        }
        let kept = self.records.load(RECORD)?.into_iter().find(|(rest, _)| rest.is_empty());
        Ok(kept.map(|(_, known)| known))
    }

    fn keep(&self, known: BTreeMap<u32, Attached>) -> Result<()> {
        self.records.keep(std::iter::once((RECORD.to_owned(), &known)))?;
        *self.lock() = Some(known);
        Ok(())
    }
}

/// The captured tables whose partitions are looked at, while one connection lasts.
pub(crate) struct Partitions {
    /// Oids of captured tables, partitioned or not.
    tables: Vec<u32>,
    slot: String,
    known: Known,
}

impl Partitions {
    /// Those of `tables`. The ones of `read` are about to be read, each with the partitions that it has now: this is asked
    /// once it is written down which these are, and who reads them sees whether they are still the same.
    pub(crate) async fn begin(
        session: &Control,
        slot: &str,
        tables: Vec<u32>,
        read: &BTreeSet<u32>,
        known: Known,
    ) -> Result<Partitions> {
        let partitions = Partitions { tables, slot: slot.to_owned(), known };
        partitions.look_but(session, read).await?;
        Ok(partitions)
    }

    /// Refuses a partition that came with rows.
    pub(crate) async fn look(&self, session: &Control) -> Result<()> {
        self.look_but(session, &BTreeSet::new()).await
    }

    async fn look_but(&self, session: &Control, read: &BTreeSet<u32>) -> Result<()> {
        if self.tables.is_empty() {
            return Ok(());
        }
        let before = self.known.load()?;
        let mut known = before.clone().unwrap_or_default();
        for link in self.list(session).await? {
            if known.get(&link.oid) == Some(&link.attached) {
                continue;
            }
            // Where nothing is remembered, what the slot has come past is taken for known.
            let is_new = (before.is_some() || link.is_recent) && !read.contains(&link.root);
            if is_new && !link.is_in_place && link.holds_older(session).await? {
                return Err(link.refused());
            }
            known.insert(link.oid, link.attached);
        }
        if before.as_ref() != Some(&known) {
            self.known.keep(known)?;
        }
        Ok(())
    }

    async fn list(&self, session: &Control) -> Result<Vec<Link>> {
        // The last command that put a partition, or what it lies in, below its table. Who attaches a table changes the
        // description of each of its columns: one that is as old as the table was made for a partition.
        const QUERY: &str = "
            WITH RECURSIVE link(relid, root, attached, command) AS (
                SELECT i.inhrelid, i.inhparent, i.xmin, i.cmin::text::int8
                  FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class r ON r.oid = i.inhparent AND r.relkind = 'p'
                 WHERE i.inhparent = ANY ($1) AND pg_catalog.to_jsonb(i) ->> 'inhdetachpending' IS DISTINCT FROM 'true'
                UNION ALL
                SELECT i.inhrelid, l.root, CASE WHEN y.is_younger THEN i.xmin ELSE l.attached END,
                       CASE WHEN y.is_younger THEN i.cmin::text::int8 ELSE l.command END
                  FROM link l JOIN pg_catalog.pg_inherits i ON i.inhparent = l.relid
                 CROSS JOIN LATERAL (SELECT (pg_catalog.age(i.xmin), -i.cmin::text::int8)
                                          < (pg_catalog.age(l.attached), -l.command)) y(is_younger)
                 WHERE pg_catalog.to_jsonb(i) ->> 'inhdetachpending' IS DISTINCT FROM 'true')
            SELECT l.relid, l.root, l.attached::text, l.command,
                   n.nspname::text, c.relname::text, rn.nspname::text, r.relname::text,
                   o.xmin = l.attached AND o.cmin::text::int8 = l.command
                     AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
                                  WHERE a.attrelid = l.relid AND a.attnum > 0 AND a.xmin = o.xmin
                                    AND a.xmin = t.xmin AND a.cmin::text = t.cmin::text),
                   coalesce(pg_catalog.age(l.attached) BETWEEN 0 AND
                            (SELECT pg_catalog.age(s.catalog_xmin) FROM pg_catalog.pg_replication_slots s
                              WHERE s.slot_name = $2), false),
                   pg_catalog.has_table_privilege(l.relid, 'SELECT'),
                   pg_catalog.pg_get_partition_constraintdef(l.relid)
              FROM link l
              JOIN pg_catalog.pg_inherits o ON o.inhrelid = l.relid
              JOIN pg_catalog.pg_class c ON c.oid = l.relid AND c.relkind = 'r'
              JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              JOIN pg_catalog.pg_type t ON t.oid = c.reltype
              JOIN pg_catalog.pg_class r ON r.oid = l.root
              JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace";
        let failed = |cause| control("list the partitions", cause);
        let rows = session.client().query(QUERY, &[&self.tables, &self.slot]).await.map_err(failed)?;
        rows.iter().map(|row| Link::of(row).map_err(failed)).collect()
    }
}

/// A partition that holds rows, below a captured table.
struct Link {
    oid: u32,
    root: u32,
    attached: Attached,
    name: TableName,
    root_name: TableName,
    /// Made as a partition: nothing came between its making and its being one.
    is_in_place: bool,
    /// The slot may still have to send what was logged before.
    is_recent: bool,
    is_readable: bool,
    /// Which rows may lie in it, as a condition.
    bound: Option<String>,
}

impl Link {
    fn of(row: &Row) -> Result<Link, tokio_postgres::Error> {
        let name = |schema, table| -> Result<TableName, tokio_postgres::Error> {
            Ok(TableName::new(row.try_get::<_, String>(schema)?, row.try_get::<_, String>(table)?))
        };
        Ok(Link {
            oid: row.try_get(0)?,
            root: row.try_get(1)?,
            // A transaction's number is always one.
            attached: (row.try_get::<_, String>(2)?.parse().unwrap_or_default(), row.try_get(3)?),
            name: name(4, 5)?,
            root_name: name(6, 7)?,
            is_in_place: row.try_get(8)?,
            is_recent: row.try_get(9)?,
            is_readable: row.try_get(10)?,
            bound: row.try_get(11)?,
        })
    }

    /// Whether rows are there that came before it was attached.
    async fn holds_older(&self, session: &Control) -> Result<bool> {
        // Who may read the table may read its partitions through it; the bound leaves the others out.
        let (from, bound) = match &self.bound {
            Some(bound) if !self.is_readable => (&self.root_name, bound.as_str()),
            _ => (&self.name, "true"),
        };
        let only = if self.is_readable { "ONLY " } else { "" };
        // What is older than half of all numbers looks younger than now.
        let sql = format!(
            "SELECT EXISTS (SELECT FROM {only}{} r WHERE ({bound}) AND r.tableoid = $1 AND (
                 pg_catalog.age(r.xmin) > pg_catalog.age($2::text::xid) OR pg_catalog.age(r.xmin) < 0
                 OR r.xmin = $2::text::xid AND r.cmin::text::int8 < $3))",
            quoted_table(from)
        );
        let act = format!("look for older rows of partition `{}`", self.name);
        let failed = |cause| control(&act, cause);
        let transaction = self.attached.0.to_string();
        let row = session.client().query_one(&sql, &[&self.oid, &transaction, &self.attached.1]).await;
        row.map_err(failed)?.try_get(0).map_err(failed)
    }

    fn refused(&self) -> Error {
        let (partition, root) = (quoted_table(&self.name), quoted_table(&self.root_name));
        let message = format!(
            "partition `{}` was attached to table `{}` with rows that it had before; these are not in the log",
            self.name, self.root_name
        );
        let remedy = format!(
            "put them into the log: `WITH rows AS (DELETE FROM ONLY {partition} RETURNING *) INSERT INTO {root} SELECT * FROM \
             rows`; or read the table anew, by new names of the sinks (and a new location of a Delta sink)"
        );
        Error::operator("partition_attached", message).with_remedy(remedy).with_table(self.root_name.clone())
    }
}
