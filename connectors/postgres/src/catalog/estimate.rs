//! How many rows tables have that the server has never counted: by their size, as its planner does.

use super::get;
use crate::error;
use std::collections::HashMap;
use tidewire_core::Result;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// Rows and pages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Estimate {
    pub(crate) rows: u64,
    pub(crate) pages: u64,
}

/// The size of a file is only told while nobody holds its table for himself; an estimate is not worth a longer wait.
const PATIENCE: &str = "BEGIN READ ONLY; SET LOCAL lock_timeout = '1s'";

/// What the catalog knows nothing of, of the tables with these oids and of their partitions. From 14 on `reltuples` is -1
/// where nobody has counted; before, as in a table that was empty then, both numbers are 0. See
/// `table_block_relation_estimate_size` and `get_typavgwidth`: a row has 28 bytes beside its columns, one without a fixed
/// length is taken for 32.
const QUERY: &str = "
    SELECT w.oid, coalesce(sum(round(s.pages * (s.block - 24) / (28 + a.width))), 0)::float8,
           coalesce(sum(greatest(s.pages - l.relpages, 0)), 0)::int8
      FROM unnest($1::oid[]) w(oid)
      JOIN pg_catalog.pg_class c ON c.oid = w.oid
     CROSS JOIN LATERAL (
        SELECT c.oid WHERE c.relkind <> 'p'
        UNION ALL
        SELECT t.relid FROM pg_catalog.pg_partition_tree(c.oid) t WHERE c.relkind = 'p' AND t.isleaf
     ) m(oid)
      JOIN pg_catalog.pg_class l ON l.oid = m.oid AND l.relkind = 'r' AND (l.reltuples < 0 OR l.relpages = 0)
     CROSS JOIN LATERAL (
        SELECT b.block, coalesce(pg_catalog.pg_relation_size(l.oid), 0)::float8 / b.block
          FROM (SELECT pg_catalog.current_setting('block_size')::float8) b(block)
     ) s(block, pages)
     CROSS JOIN LATERAL (
        SELECT coalesce(sum(CASE WHEN a.attlen > 0 THEN a.attlen ELSE 32 END), 0)::float8
          FROM pg_catalog.pg_attribute a WHERE a.attrelid = l.oid AND a.attnum > 0 AND NOT a.attisdropped
     ) a(width)
     GROUP BY w.oid";

/// What is to be added to the catalog's own estimates, by oid.
pub(crate) async fn uncounted(client: &Client, oids: &[u32]) -> Result<HashMap<u32, Estimate>> {
    let act = "estimate the rows of tables";
    let failed = |cause| error::control(act, cause);
    client.batch_execute(PATIENCE).await.map_err(failed)?;
    let answer = client.query(QUERY, &[&oids]).await;
    client.batch_execute("ROLLBACK").await.map_err(failed)?;
    let rows = match answer {
        Err(cause) if cause.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => return Ok(HashMap::new()),
        answer => answer.map_err(failed)?,
    };
    let estimate = |row| {
        let (rows, pages): (f64, i64) = (get(row, 1, act)?, get(row, 2, act)?);
        Ok((get(row, 0, act)?, Estimate { rows: rows as u64, pages: pages.unsigned_abs() }))
    };
    rows.iter().map(estimate).collect()
}
