//! What the catalog says that matters before a start. Only the login's own rights are needed to read it.

use crate::catalog::{PublishedTable, get, published_tables};
use crate::error;
use crate::identities::{Narrow, narrow};
use tidewire_core::{Result, TableName};
use tokio_postgres::Client;

/// Names that the configuration gives.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'a> {
    /// Replication slot.
    pub(crate) slot: &'a str,
    /// Publication.
    pub(crate) publication: &'a str,
}

/// Everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// The server and the login.
    pub(crate) server: ServerFacts,
    /// The slot, if it exists.
    pub(crate) slot: Option<SlotFacts>,
    /// The publication, if it exists.
    pub(crate) publication: Option<PublicationFacts>,
    /// Its tables.
    pub(crate) published: Vec<PublishedTable>,
    /// Every relation outside the system's schemas.
    pub(crate) relations: Vec<RelationFacts>,
    /// Tables with partitions that log less than the table's replica identity asks for.
    pub(crate) narrow: Vec<Narrow>,
}

/// The server and the login.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServerFacts {
    /// `server_version_num`.
    pub(crate) version_num: i32,
    /// `wal_level`.
    pub(crate) wal_level: String,
    /// `max_replication_slots`.
    pub(crate) slots_max: i64,
    /// Slots there are.
    pub(crate) slots: i64,
    /// `max_wal_senders`.
    pub(crate) senders_max: i64,
    /// Walsenders at work.
    pub(crate) senders: i64,
    /// Whether it is a standby.
    pub(crate) in_recovery: bool,
    /// `max_slot_wal_keep_size` in MiB, -1 for no limit.
    pub(crate) slot_wal_keep_mib: i64,
    /// `idle_replication_slot_timeout` in seconds, 0 when off or before 18.
    pub(crate) idle_slot_timeout_s: i64,
    /// Login.
    pub(crate) user: String,
    /// Whether it may replicate.
    pub(crate) may_replicate: bool,
    /// Whether row security does not bind it.
    pub(crate) bypasses_row_security: bool,
    /// Whether it may create a publication in this database.
    pub(crate) may_create: bool,
    /// Database.
    pub(crate) database: String,
    /// Its encoding.
    pub(crate) encoding: String,
    /// `hot_standby_feedback`.
    pub(crate) standby_feedback: bool,
}

/// A row of `pg_replication_slots`.
#[derive(Clone, Debug, Default)]
pub(crate) struct SlotFacts {
    pub(crate) plugin: Option<String>,
    pub(crate) logical: bool,
    pub(crate) database: Option<String>,
    pub(crate) temporary: bool,
    pub(crate) active: bool,
    pub(crate) two_phase: bool,
    /// Whether the server has given up on it, by any of the signs that the majors have for it.
    pub(crate) lost: bool,
    /// The server's word for why; from 17.
    pub(crate) reason: Option<String>,
    /// Whether what a standby replayed was at odds with it; from 16.
    pub(crate) conflicting: bool,
}

/// A row of `pg_publication`.
#[derive(Clone, Debug, Default)]
pub(crate) struct PublicationFacts {
    /// A publication made anew has a new one (PG-10).
    pub(crate) oid: u32,
    pub(crate) inserts: bool,
    pub(crate) updates: bool,
    pub(crate) deletes: bool,
    pub(crate) truncates: bool,
    /// Whether partitions are published as their root.
    pub(crate) via_root: bool,
}

/// A relation that the configuration may mean.
#[derive(Clone, Debug)]
pub(crate) struct RelationFacts {
    pub(crate) oid: u32,
    pub(crate) name: TableName,
    /// `relkind`.
    pub(crate) kind: char,
    /// `relpersistence`.
    pub(crate) persistence: char,
    /// `relreplident`.
    pub(crate) identity: char,
    /// Topmost table, of a partition.
    pub(crate) root: Option<u32>,
    /// Whether row security is on, and binds the login even as the owner.
    pub(crate) row_security: bool,
    pub(crate) readable: bool,
    pub(crate) schema_usable: bool,
    /// Whether the login owns it.
    pub(crate) owned: bool,
    /// Whether it has a primary key that is checked at once.
    pub(crate) primary_key: bool,
    /// Whether it has the index that `REPLICA IDENTITY USING INDEX` names.
    pub(crate) identity_index: bool,
    /// Whether a column outside the primary key may be TOASTed.
    pub(crate) toastable: bool,
    /// Generated columns.
    pub(crate) generated: Vec<String>,
    /// Columns whose names differ only in case.
    pub(crate) folding: Vec<String>,
    /// Column list of the publication (15 and later), when it leaves columns out.
    pub(crate) column_list: bool,
    /// Row filter of the publication (15 and later).
    pub(crate) row_filter: Option<String>,
}

impl RelationFacts {
    /// Whether updates and deletes can be told apart by the log.
    pub(crate) fn identified(&self) -> bool {
        match self.identity {
            'f' => true,
            'i' => self.identity_index,
            'd' => self.primary_key,
            _ => false,
        }
    }
}

const SERVER: &str = "
    SELECT pg_catalog.current_setting('server_version_num')::int4,
           pg_catalog.current_setting('wal_level'),
           pg_catalog.current_setting('max_replication_slots')::int8,
           (SELECT count(*) FROM pg_catalog.pg_replication_slots),
           pg_catalog.current_setting('max_wal_senders')::int8,
           (SELECT count(*) FROM pg_catalog.pg_stat_replication),
           pg_catalog.pg_is_in_recovery(),
           (SELECT s.setting::int8 FROM pg_catalog.pg_settings s WHERE s.name = 'max_slot_wal_keep_size'),
           coalesce((SELECT s.setting::int8 FROM pg_catalog.pg_settings s WHERE s.name = 'idle_replication_slot_timeout'), 0),
           r.rolname::text,
           r.rolreplication OR r.rolsuper OR EXISTS (
             SELECT FROM pg_catalog.pg_roles m
              WHERE m.rolname = 'rds_replication' AND pg_catalog.pg_has_role(r.oid, m.oid, 'MEMBER')),
           r.rolbypassrls OR r.rolsuper,
           pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE'),
           pg_catalog.current_database()::text,
           pg_catalog.current_setting('server_encoding'),
           pg_catalog.current_setting('hot_standby_feedback')::bool
      FROM pg_catalog.pg_roles r
     WHERE r.rolname = current_user";

const SLOT: &str = "
    SELECT s.plugin::text, s.slot_type = 'logical', s.database::text, s.temporary, s.active,
           coalesce((to_jsonb(s) ->> 'two_phase')::bool, false),
           s.wal_status = 'lost' OR s.restart_lsn IS NULL AND s.confirmed_flush_lsn IS NOT NULL
             OR to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL
             OR coalesce((to_jsonb(s) ->> 'conflicting')::bool, false),
           to_jsonb(s) ->> 'invalidation_reason', coalesce((to_jsonb(s) ->> 'conflicting')::bool, false)
      FROM pg_catalog.pg_replication_slots s
     WHERE s.slot_name = $1";

const PUBLICATION: &str = "
    SELECT p.oid, p.pubinsert, p.pubupdate, p.pubdelete, p.pubtruncate, p.pubviaroot
      FROM pg_catalog.pg_publication p
     WHERE p.pubname = $1";

/// `relname` folds by `lower` as Delta does; `attstorage` other than `p` may be TOASTed.
const RELATIONS: &str = "
    SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text, c.relpersistence::text, c.relreplident::text,
           CASE WHEN c.relispartition THEN pg_catalog.pg_partition_root(c.oid)::oid END,
           c.relrowsecurity AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')),
           pg_catalog.has_table_privilege(c.oid, 'SELECT'),
           pg_catalog.has_schema_privilege(n.oid, 'USAGE'),
           pg_catalog.pg_has_role(c.relowner, 'USAGE'),
           EXISTS (SELECT FROM pg_catalog.pg_index i
                    WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate AND i.indisvalid),
           EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid AND i.indisreplident AND i.indisvalid),
           EXISTS (SELECT FROM pg_catalog.pg_attribute a
                    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attlen = -1 AND a.attstorage <> 'p'
                      AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i
                                       WHERE i.indrelid = c.oid AND i.indisprimary AND a.attnum = ANY (i.indkey))),
           ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated::text <> ''
                  ORDER BY a.attnum),
           ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
                    AND EXISTS (SELECT FROM pg_catalog.pg_attribute b
                                 WHERE b.attrelid = c.oid AND b.attnum > 0 AND NOT b.attisdropped AND b.attnum <> a.attnum
                                   AND lower(b.attname::text) = lower(a.attname::text))
                  ORDER BY a.attnum)
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm')
       AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
     ORDER BY n.nspname, c.relname";

/// Column lists and row filters, from 15 on.
const NARROWED: &str = "
    SELECT r.prrelid, r.prattrs IS NOT NULL, pg_catalog.pg_get_expr(r.prqual, r.prrelid)
      FROM pg_catalog.pg_publication_rel r
     WHERE r.prpubid = $1 AND (r.prattrs IS NOT NULL OR r.prqual IS NOT NULL)";

/// Reads everything.
pub(crate) async fn read(client: &Client, names: Names<'_>) -> Result<Facts> {
    let server = server(client).await?;
    let slot = slot(client, names.slot).await?;
    let publication = publication(client, names.publication).await?;
    let published = match publication {
        Some(_) => published_tables(client, names.publication).await?,
        None => Vec::new(),
    };
    let mut relations = relations(client).await?;
    if let Some(publication) = publication.as_ref().filter(|_| server.version_num >= 150_000) {
        narrowed(client, publication.oid, &mut relations).await?;
    }
    let narrow = narrow(client, &roots(publication.as_ref(), &published, &relations)).await?;
    Ok(Facts { server, slot, publication, published, relations, narrow })
}

/// Tables with partitions that are published by their names, or will be. Old rows come with updates and deletes.
fn roots(
    publication: Option<&PublicationFacts>,
    published: &[PublishedTable],
    relations: &[RelationFacts],
) -> Vec<u32> {
    match publication {
        Some(state) if !state.updates && !state.deletes => Vec::new(),
        Some(_) => published.iter().map(|table| table.oid).collect(),
        None => {
            let roots = relations.iter().filter(|relation| relation.kind == 'p' && relation.root.is_none());
            roots.map(|relation| relation.oid).collect()
        }
    }
}

async fn server(client: &Client) -> Result<ServerFacts> {
    let act = "read the server's settings";
    let row = client.query_one(SERVER, &[]).await.map_err(|cause| error::control(act, cause))?;
    Ok(ServerFacts {
        version_num: get(&row, 0, act)?,
        wal_level: get(&row, 1, act)?,
        slots_max: get(&row, 2, act)?,
        slots: get(&row, 3, act)?,
        senders_max: get(&row, 4, act)?,
        senders: get(&row, 5, act)?,
        in_recovery: get(&row, 6, act)?,
        slot_wal_keep_mib: get(&row, 7, act)?,
        idle_slot_timeout_s: get(&row, 8, act)?,
        user: get(&row, 9, act)?,
        may_replicate: get(&row, 10, act)?,
        bypasses_row_security: get(&row, 11, act)?,
        may_create: get(&row, 12, act)?,
        database: get(&row, 13, act)?,
        encoding: get(&row, 14, act)?,
        standby_feedback: get(&row, 15, act)?,
    })
}

async fn slot(client: &Client, name: &str) -> Result<Option<SlotFacts>> {
    let act = "read the replication slot";
    let rows = client.query(SLOT, &[&name]).await.map_err(|cause| error::control(act, cause))?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(SlotFacts {
        plugin: get(row, 0, act)?,
        logical: get(row, 1, act)?,
        database: get(row, 2, act)?,
        temporary: get(row, 3, act)?,
        active: get(row, 4, act)?,
        two_phase: get(row, 5, act)?,
        lost: get::<Option<bool>>(row, 6, act)?.unwrap_or(false),
        reason: get(row, 7, act)?,
        conflicting: get(row, 8, act)?,
    }))
}

async fn publication(client: &Client, name: &str) -> Result<Option<PublicationFacts>> {
    let act = "read the publication";
    let rows = client.query(PUBLICATION, &[&name]).await.map_err(|cause| error::control(act, cause))?;
    let Some(row) = rows.first() else { return Ok(None) };
    Ok(Some(PublicationFacts {
        oid: get(row, 0, act)?,
        inserts: get(row, 1, act)?,
        updates: get(row, 2, act)?,
        deletes: get(row, 3, act)?,
        truncates: get(row, 4, act)?,
        via_root: get(row, 5, act)?,
    }))
}

async fn relations(client: &Client) -> Result<Vec<RelationFacts>> {
    let act = "read the tables of the database";
    let rows = client.query(RELATIONS, &[]).await.map_err(|cause| error::control(act, cause))?;
    let letter = |text: String| text.chars().next().unwrap_or(' ');
    rows.iter()
        .map(|row| {
            Ok(RelationFacts {
                oid: get(row, 0, act)?,
                name: TableName::new(get::<String>(row, 1, act)?, get::<String>(row, 2, act)?),
                kind: letter(get(row, 3, act)?),
                persistence: letter(get(row, 4, act)?),
                identity: letter(get(row, 5, act)?),
                root: get(row, 6, act)?,
                row_security: get(row, 7, act)?,
                readable: get(row, 8, act)?,
                schema_usable: get(row, 9, act)?,
                owned: get(row, 10, act)?,
                primary_key: get(row, 11, act)?,
                identity_index: get(row, 12, act)?,
                toastable: get(row, 13, act)?,
                generated: get(row, 14, act)?,
                folding: get(row, 15, act)?,
                column_list: false,
                row_filter: None,
            })
        })
        .collect()
}

async fn narrowed(client: &Client, publication: u32, relations: &mut [RelationFacts]) -> Result<()> {
    let act = "read the publication's column lists and row filters";
    let rows = client.query(NARROWED, &[&publication]).await.map_err(|cause| error::control(act, cause))?;
    for row in &rows {
        let oid: u32 = get(row, 0, act)?;
        if let Some(relation) = relations.iter_mut().find(|relation| relation.oid == oid) {
            relation.column_list = get(row, 1, act)?;
            relation.row_filter = get(row, 2, act)?;
        }
    }
    Ok(())
}
