//! What the server's catalog says about tables and types. Owns the queries; what they add up to is put
//! together without a server in `catalog/shape.rs`. Creates and changes nothing.
//!
//! The catalog speaks of the present, a Relation message of its own time: names, types and modifiers come
//! from the message, and the catalog adds only what the message lacks and still matches it.

mod estimate;
mod identifier;
mod older;
mod shape;

use crate::error;
use crate::typemap::resolve::{BareType, TypeCatalog, TypeFacts, TypeKind};
use crate::wire::pgoutput::{RelationBody, RelationColumn};
pub(crate) use estimate::uncounted;
pub(crate) use identifier::{literal, quoted, quoted_table};
pub(crate) use shape::{Described, TypeNames};
use shape::{Held, TableFacts, TableFactsColumn};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tidewire_core::{Error, Result, TableName};
use tokio_postgres::Client;

/// A table of the publication.
#[derive(Clone, Debug)]
pub(crate) struct PublishedTable {
    /// Its oid.
    pub(crate) oid: u32,
    /// Its name.
    pub(crate) name: TableName,
    /// Rows, by the server's estimate; 0 when it has none (see [`uncounted`]).
    pub(crate) rows_estimated: u64,
    /// Pages of 8 KiB, by the server's estimate.
    pub(crate) pages_estimated: u64,
}

/// The tables that a publication holds, by oid; with `publish_via_partition_root` a partitioned table stands
/// for its partitions (PG-24).
pub(crate) async fn published_tables(client: &Client, publication: &str) -> Result<Vec<PublishedTable>> {
    const QUERY: &str = "
        SELECT c.oid, n.nspname::text, c.relname::text, e.rows, e.pages
          FROM pg_catalog.pg_publication_tables p
          JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
          JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
          CROSS JOIN LATERAL (
            SELECT coalesce(sum(greatest(l.reltuples, 0)), 0)::float8 AS rows,
                   coalesce(sum(greatest(l.relpages, 0)), 0)::int8 AS pages
              FROM pg_catalog.pg_class l
             WHERE l.oid = c.oid
                OR c.relkind = 'p' AND l.oid IN (SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) t WHERE t.isleaf)
          ) e
         WHERE p.pubname = $1
         ORDER BY c.oid";
    let act = "list the tables of the publication";
    let rows = client.query(QUERY, &[&publication]).await.map_err(|cause| error::control(act, cause))?;
    rows.iter()
        .map(|row| {
            let rows: f64 = get(row, 3, act)?;
            let pages: i64 = get(row, 4, act)?;
            Ok(PublishedTable {
                oid: get(row, 0, act)?,
                name: TableName::new(get::<String>(row, 1, act)?, get::<String>(row, 2, act)?),
                rows_estimated: rows as u64,
                pages_estimated: u64::try_from(pages).unwrap_or(0),
            })
        })
        .collect()
}

/// The name under which the publication lists a table now; `None` when it does not.
pub(crate) async fn published_name(client: &Client, publication: &str, oid: u32) -> Result<Option<TableName>> {
    const QUERY: &str = "
        SELECT n.nspname::text, c.relname::text
          FROM pg_catalog.pg_publication_tables p
          JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
          JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
         WHERE p.pubname = $1 AND c.oid = $2";
    let act = "look for a table in the publication";
    let row = client.query_opt(QUERY, &[&publication, &oid]).await.map_err(|cause| error::control(act, cause))?;
    row.map(|row| Ok(TableName::new(get::<String>(&row, 0, act)?, get::<String>(&row, 1, act)?))).transpose()
}

/// Describes the table of a Relation message: the message's columns, with readers, nullability, defaults and
/// the key. A table that has gone since is described by the message alone.
/// `since` is when the message was met: whoever drops the future and asks again waits no longer for it. `known` is the table as
/// it was described before.
pub(crate) async fn describe(
    client: &Client,
    relation: &RelationBody,
    since: Instant,
    known: Option<&Described>,
) -> Result<Described> {
    loop {
        let facts = table_facts(client, relation.oid).await?;
        // The server sends a transaction before its other sessions see it, a moment earlier on a busy machine. A catalog that
        // is ahead of the log looks the same, and stays as it is.
        let patience = facts.as_ref().map_or(Duration::ZERO, |facts| facts.patience_for(relation));
        if since.elapsed() >= patience {
            return describe_with(client, relation, facts.as_ref(), known).await;
        }
        tokio::time::sleep(CATALOG_PAUSE).await;
    }
}

/// Between two looks at the catalog.
const CATALOG_PAUSE: Duration = Duration::from_millis(20);

/// Describes a table as the publication shows it now, for a snapshot: the very shape that the stream's
/// Relation message will give for it, so that both agree on the columns (PG-36, PG-38). Without a publication, as one of
/// ours would show it.
pub(crate) async fn describe_table(client: &Client, publication: Option<&str>, oid: u32) -> Result<Described> {
    let act = "read a table's description";
    let gone = || {
        Error::operator(
            "table_missing",
            format!("the table with oid `{oid}` is no longer in publication `{}`", publication.unwrap_or_default()),
        )
        .with_remedy("run `tidewire check`")
    };
    let facts = table_facts(client, oid).await?.ok_or_else(gone)?;
    let version: i32 = {
        let row = client
            .query_one("SELECT current_setting('server_version_num')::int4", &[])
            .await
            .map_err(|cause| error::control(act, cause))?;
        get(&row, 0, act)?
    };
    // Column lists came with 15, publication of generated columns with 18.
    let listed: Option<Vec<String>> = if version < 150_000 || publication.is_none() {
        None
    } else {
        const QUERY: &str = "
            SELECT p.attnames::text[]
              FROM pg_catalog.pg_publication_tables p
              JOIN pg_catalog.pg_namespace n ON n.nspname = p.schemaname
              JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = p.tablename
             WHERE p.pubname = $1 AND c.oid = $2";
        let rows = client.query(QUERY, &[&publication, &oid]).await.map_err(|cause| error::control(act, cause))?;
        get(rows.first().ok_or_else(gone)?, 0, act)?
    };
    let published = |column: &TableFactsColumn| {
        let listed_or_all = listed.as_ref().map_or(!column.generated, |names| names.contains(&column.name));
        listed_or_all && (version >= 180_000 || !column.generated)
    };
    let columns = facts.columns.iter().filter(|column| published(column)).map(|column| RelationColumn {
        identity: facts.identifies(&column.name),
        name: column.name.clone(),
        type_oid: column.type_oid,
        type_modifier: column.type_modifier,
    });
    let relation = RelationBody {
        oid,
        namespace: facts.namespace.clone(),
        name: facts.name.clone(),
        replica_identity: facts.replica_identity,
        columns: columns.collect(),
    };
    describe_with(client, &relation, Some(&facts), None).await
}

async fn describe_with(
    client: &Client,
    relation: &RelationBody,
    facts: Option<&TableFacts>,
    known: Option<&Described>,
) -> Result<Described> {
    let oids: Vec<u32> = relation.columns.iter().map(|column| column.type_oid).collect();
    let types = type_catalog(client, &oids).await?;
    let names = type_names(client, &types, &shape::bare_types(relation, &types)).await?;
    shape::describe(relation, facts, known, &types, &names)
}

/// The types with these oids, and all types below and inside them.
async fn type_catalog(client: &Client, oids: &[u32]) -> Result<TypeCatalog> {
    // `typelem` alone does not make an array: `name` and `point` have one, and `int2vector` prints otherwise.
    const QUERY: &str = "
        WITH RECURSIVE wanted(oid) AS (
            SELECT unnest($1::oid[])
            UNION
            SELECT CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END
              FROM wanted w JOIN pg_catalog.pg_type t ON t.oid = w.oid
             WHERE t.typtype = 'd' OR t.typoutput = 'pg_catalog.array_out'::regproc
        )
        SELECT t.oid, t.typname::text, t.typtype::text, t.typbasetype, t.typtypmod, t.typelem, t.typdelim::text,
               t.typoutput = 'pg_catalog.array_out'::regproc,
               t.typnamespace = 'pg_catalog'::regnamespace,
               (SELECT array_agg(e.enumlabel::text ORDER BY e.enumsortorder)
                  FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid)
          FROM wanted w JOIN pg_catalog.pg_type t ON t.oid = w.oid";
    let act = "read the types of a table's columns";
    let rows = client.query(QUERY, &[&oids]).await.map_err(|cause| error::control(act, cause))?;
    let mut types = HashMap::with_capacity(rows.len());
    for row in &rows {
        let kind = TypeKind::from_letter(&get::<String>(row, 2, act)?);
        let is_array: bool = get(row, 7, act)?;
        let labels: Option<Vec<String>> = get(row, 9, act)?;
        let facts = TypeFacts {
            name: get(row, 1, act)?,
            built_in: get(row, 8, act)?,
            kind,
            element: if is_array && kind != TypeKind::Domain { Some(get(row, 5, act)?) } else { None },
            delimiter: get::<String>(row, 6, act)?.bytes().next().unwrap_or(b','),
            base: if kind == TypeKind::Domain { Some((get(row, 3, act)?, get(row, 4, act)?)) } else { None },
            labels: labels.unwrap_or_default().into_iter().map(Arc::from).collect(),
        };
        types.insert(get(row, 0, act)?, facts);
    }
    Ok(TypeCatalog::new(types))
}

/// How the server prints types with their modifiers.
async fn type_names(client: &Client, types: &TypeCatalog, wanted: &[BareType]) -> Result<TypeNames> {
    const QUERY: &str = "
        SELECT pg_catalog.format_type(w.oid, w.modifier), pg_catalog.format_type(w.oid, NULL)
          FROM unnest($1::oid[], $2::int4[]) WITH ORDINALITY AS w(oid, modifier, place)
         ORDER BY w.place";
    let act = "read the names of a table's types";
    let oids: Vec<u32> = wanted.iter().map(|bare| bare.oid).collect();
    let modifiers: Vec<i32> = wanted.iter().map(|bare| bare.modifier).collect();
    let rows = client.query(QUERY, &[&oids, &modifiers]).await.map_err(|cause| error::control(act, cause))?;
    let mut names = TypeNames::default();
    for (bare, row) in wanted.iter().zip(&rows) {
        names.insert(types, *bare, &get::<String>(row, 0, act)?, &get::<String>(row, 1, act)?);
    }
    Ok(names)
}

/// A table, its keys, and whether a publication lists its columns. Only an index that is checked at once
/// tells rows apart within a transaction.
const TABLE: &str = "
    SELECT n.nspname::text, c.relname::text, c.relreplident::text, p.names, i.names,
           EXISTS (
             SELECT FROM pg_catalog.pg_publication_rel r
              WHERE pg_catalog.to_jsonb(r) ->> 'prattrs' IS NOT NULL
                AND (r.prrelid = c.oid OR r.prrelid IN (SELECT relid FROM pg_catalog.pg_partition_ancestors(c.oid)))
           )
      FROM pg_catalog.pg_class c
      JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN LATERAL (
        SELECT array_agg(a.attname::text ORDER BY k.place) AS names
          FROM pg_catalog.pg_index x
          CROSS JOIN LATERAL unnest(x.indkey) WITH ORDINALITY AS k(number, place)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.number
         WHERE x.indrelid = c.oid AND x.indisprimary AND x.indimmediate AND x.indisvalid AND k.place <= x.indnkeyatts
      ) p ON true
      LEFT JOIN LATERAL (
        SELECT array_agg(a.attname::text ORDER BY k.place) AS names
          FROM pg_catalog.pg_index x
          CROSS JOIN LATERAL unnest(x.indkey) WITH ORDINALITY AS k(number, place)
          JOIN pg_catalog.pg_attribute a ON a.attrelid = x.indrelid AND a.attnum = k.number
         WHERE x.indrelid = c.oid AND x.indisreplident AND x.indisvalid AND k.place <= x.indnkeyatts
      ) i ON true
     WHERE c.oid = $1";

/// Its columns, and with the first of them where it keeps its rows: what older rows have follows from both, of one moment. Where a
/// partitioned table stands for its partitions, each of them has its own word.
const COLUMNS: &str = "
    WITH leaf AS (
        SELECT l.oid, l.relfilenode
          FROM pg_catalog.pg_class l
         WHERE l.relkind = 'r'
           AND l.oid IN (SELECT $1::oid UNION SELECT t.relid FROM pg_catalog.pg_partition_tree($1::oid) t WHERE t.isleaf)
    ), place AS (
        SELECT array_agg(l.oid::text || ':' || l.relfilenode::text) AS places, coalesce(bool_and(l.relfilenode = l.oid), true) AS untouched
          FROM leaf l
    ), held AS (
        SELECT m.attname, count(*) AS tables, count(*) FILTER (WHERE m.atthasmissing) AS holding, count(v.value) AS known,
               count(DISTINCT v.value) AS values, min(v.value) AS value
          FROM leaf l
          JOIN pg_catalog.pg_attribute m ON m.attrelid = l.oid AND m.attnum > 0 AND NOT m.attisdropped
          CROSS JOIN LATERAL (
            SELECT CASE WHEN m.atthasmissing AND pg_catalog.cardinality(m.attmissingval::text::text[]) = 1
                        THEN (m.attmissingval::text::text[])[1] END AS value
          ) v
         GROUP BY m.attname
    )
    SELECT a.attname::text, a.atttypid, a.atttypmod, a.attnotnull, a.attgenerated::text <> '',
           CASE WHEN a.attgenerated::text = '' THEN pg_catalog.pg_get_expr(d.adbin, d.adrelid) END,
           a.attnum, coalesce(h.holding > 0, false),
           CASE WHEN h.tables = h.holding AND h.holding = h.known AND h.values = 1 THEN h.value END,
           CASE WHEN row_number() OVER (ORDER BY a.attnum) = 1 THEN p.places END, p.untouched
      FROM pg_catalog.pg_attribute a
      CROSS JOIN place p
      LEFT JOIN held h ON h.attname = a.attname
      LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
     WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
     ORDER BY a.attnum";

/// What the catalog holds about a table; `None` when it has gone.
async fn table_facts(client: &Client, oid: u32) -> Result<Option<TableFacts>> {
    let act = "read a table's description";
    let rows = client.query(TABLE, &[&oid]).await.map_err(|cause| error::control(act, cause))?;
    let Some(table) = rows.first() else { return Ok(None) };
    let rows = client.query(COLUMNS, &[&oid]).await.map_err(|cause| error::control(act, cause))?;
    let columns = rows.iter().map(|row| {
        Ok(TableFactsColumn {
            name: get(row, 0, act)?,
            type_oid: get(row, 1, act)?,
            type_modifier: get(row, 2, act)?,
            not_null: get(row, 3, act)?,
            generated: get(row, 4, act)?,
            default: get(row, 5, act)?,
            number: get::<i16>(row, 6, act)?.unsigned_abs().into(),
            held: match (get(row, 7, act)?, get(row, 8, act)?) {
                (false, _) => Held::Nothing,
                (true, Some(text)) => Held::Value(text),
                (true, None) => Held::Unclear,
            },
        })
    });
    let place = rows.first().map(|row| Ok((get::<Option<Vec<String>>>(row, 9, act)?, get(row, 10, act)?)));
    let (places, is_untouched) = place.transpose()?.unwrap_or_default();
    Ok(Some(TableFacts {
        namespace: get(table, 0, act)?,
        name: get(table, 1, act)?,
        replica_identity: get::<String>(table, 2, act)?.bytes().next().unwrap_or(b'd'),
        primary_key: get::<Option<Vec<String>>>(table, 3, act)?.unwrap_or_default(),
        identity_index: get::<Option<Vec<String>>>(table, 4, act)?.unwrap_or_default(),
        columns: columns.collect::<Result<_>>()?,
        places: places.unwrap_or_default(),
        is_untouched,
        is_listed: get(table, 5, act)?,
    }))
}

/// A column of an answer. Fails when the server's type is not the one that the query asks for.
pub(crate) fn get<'a, T: tokio_postgres::types::FromSql<'a>>(
    row: &'a tokio_postgres::Row,
    index: usize,
    act: &str,
) -> Result<T> {
    row.try_get(index).map_err(|cause| Error::bug("catalog_answer", act.to_owned()).with_cause(cause))
}

/// Describes a table without a server: every type is taken for the built-in one of its oid.
pub(crate) fn described_without_server(relation: &RelationBody) -> Described {
    shape::without_server(relation)
}
