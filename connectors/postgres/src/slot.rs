//! The replication slot, and the decision where to start: what the sinks hold is compared with what the server still
//! has before a byte of the log is asked for, because the server silently goes on from its own place when asked for
//! one it no longer has (R4, PG-61). Pure but for the two queries.
//!
//! | sinks hold | slot | decision |
//! | --- | --- | --- |
//! | nothing | missing | create it, read the tables under its snapshot, stream from its consistent point |
//! | nothing | there | keep it; read the tables under a temporary slot's snapshot, stream from that one's point |
//! | something | missing | refuse: changes may be lost |
//! | something | there | refuse what cannot be proved; read the tables still missing; stream from the lowest place |

mod lost;
mod plan;

pub(crate) use lost::Loss;
pub(crate) use plan::{Plan, ServerState, SlotUse, Start, compared, plan};

use crate::control::Control;
use crate::error::control;
use serde::Deserialize;
use tidewire_core::{Error, Result};

/// A row of `pg_replication_slots`, as far as the server's version has the columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Slot {
    /// `pgoutput` is ours.
    #[serde(default)]
    pub(crate) plugin: Option<String>,
    /// `logical` or `physical`.
    #[serde(default)]
    pub(crate) slot_type: Option<String>,
    /// Database that it decodes.
    #[serde(default)]
    pub(crate) database: Option<String>,
    /// Ends with its session.
    #[serde(default)]
    pub(crate) temporary: bool,
    /// Who uses it.
    #[serde(default)]
    pub(crate) active_pid: Option<i32>,
    /// Oldest log that it needs.
    #[serde(default)]
    pub(crate) restart_lsn: Option<String>,
    /// Where it goes on.
    #[serde(default)]
    pub(crate) confirmed_flush_lsn: Option<String>,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    #[serde(default)]
    pub(crate) wal_status: Option<String>,
    /// Bytes until `lost` threatens.
    #[serde(default)]
    pub(crate) safe_wal_size: Option<i64>,
    /// Decodes prepared transactions at PREPARE; from 14.
    #[serde(default)]
    pub(crate) two_phase: bool,
    /// Is copied to standbys; from 17.
    #[serde(default)]
    pub(crate) failover: bool,
    /// Was copied from a primary; from 17.
    #[serde(default)]
    pub(crate) synced: bool,
    /// Whether what a standby replayed was at odds with it; from 16.
    #[serde(default)]
    pub(crate) conflicting: Option<bool>,
    /// Why it is lost; from 17.
    #[serde(default)]
    pub(crate) invalidation_reason: Option<String>,
}

impl Slot {
    /// Reads the slot of exactly this name (PG-08).
    pub(crate) async fn read(control_session: &Control, name: &str) -> Result<Option<Slot>> {
        let act = "read the replication slot";
        let sql = "SELECT pg_catalog.row_to_json(s)::text FROM pg_catalog.pg_replication_slots s \
                   WHERE slot_name OPERATOR(pg_catalog.=) $1";
        let row = control_session.client().query_opt(sql, &[&name]).await.map_err(|cause| control(act, cause))?;
        let Some(row) = row else { return Ok(None) };
        let text: &str = row.try_get(0).map_err(|cause| control(act, cause))?;
        let slot = serde_json::from_str(text);
        slot.map(Some).map_err(|cause| Error::bug("slot_unreadable", act).with_cause(cause))
    }
}

/// The error for a slot that someone else holds, with as much about the holder as the login may see (PG-03).
pub(crate) async fn held_by_another(control_session: &Control, name: &str, pid: i32) -> Error {
    let sql = "SELECT application_name, client_addr::text FROM pg_catalog.pg_stat_activity WHERE pid = $1";
    // Only words for a message: without them it is still true.
    let row = control_session.client().query_opt(sql, &[&pid]).await.ok().flatten();
    let text = |index: usize| -> Option<String> { row.as_ref()?.try_get(index).ok().flatten() };
    let application = text(0).filter(|name| !name.is_empty()).unwrap_or_else(|| "unknown".to_owned());
    let address = text(1).unwrap_or_else(|| "the server's own machine".to_owned());
    Error::retry(
        "slot_active",
        format!("slot `{name}` is in use by process {pid} (application `{application}`, from {address})"),
    )
    .with_remedy("stop the other user of the slot; one that is gone is noticed after wal_sender_timeout")
}
