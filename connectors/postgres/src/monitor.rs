//! How the log stands on the server, for metrics and the status page. Its answers steer nothing.

use crate::config::Settings;
use crate::control::Control;
use crate::error::control;
use crate::stream::Feedback;
use std::sync::Arc;
use tidewire_core::source::{BoxFuture, LogMonitor, LogState};
use tidewire_core::{Error, Result};
use tokio::sync::Mutex;

/// Asks over a session of its own, opened when first needed and again when it is lost.
pub(crate) struct Monitor {
    settings: Arc<Settings>,
    feedback: Arc<Feedback>,
    session: Mutex<Option<Control>>,
}

impl Monitor {
    /// For a running source.
    pub(crate) fn new(settings: Arc<Settings>, feedback: Arc<Feedback>) -> Monitor {
        Monitor { settings, feedback, session: Mutex::new(None) }
    }

    async fn ask(&self) -> Result<LogState> {
        // A session that is taken out and lost with a dropped future is opened again.
        let taken = self.session.lock().await.take().filter(|session| !session.client().is_closed());
        let session = match taken {
            Some(session) => session,
            None => Control::connect(&self.settings).await?,
        };
        let state = state(&session, &self.settings.slot, &self.feedback).await?;
        *self.session.lock().await = Some(session);
        Ok(state)
    }
}

impl LogMonitor for Monitor {
    fn log_state(&self) -> BoxFuture<'_, Result<LogState>> {
        Box::pin(async {
            let limit = self.settings.connect_timeout * 2;
            tokio::time::timeout(limit, self.ask())
                .await
                .unwrap_or_else(|_| Err(Error::retry("query_timeout", "ask how the log stands")))
        })
    }
}

async fn state(session: &Control, slot: &str, feedback: &Feedback) -> Result<LogState> {
    let sql = "
        SELECT pg_catalog.pg_wal_lsn_diff(e.lsn, s.restart_lsn)::int8,
               pg_catalog.pg_wal_lsn_diff(e.lsn, greatest(s.confirmed_flush_lsn, $2::text::pg_lsn))::int8,
               s.safe_wal_size, s.wal_status
          FROM pg_catalog.pg_replication_slots s,
               (SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
                            ELSE pg_catalog.pg_current_wal_lsn() END) e(lsn)
         WHERE s.slot_name = $1";
    let failed = |cause| control("ask how the log stands", cause);
    let acknowledged = feedback.acknowledged().to_string();
    let row = session.client().query_opt(sql, &[&slot, &acknowledged]).await.map_err(failed)?;
    let Some(row) = row else {
        return Err(Error::operator("slot_missing", format!("slot `{slot}` does not exist"))
            .with_remedy("run `tidewire check`"));
    };
    let bytes = |value: Option<i64>| value.map(|value| u64::try_from(value).unwrap_or(0));
    Ok(LogState {
        retained_bytes: bytes(row.try_get(0).map_err(failed)?),
        lag_bytes: bytes(row.try_get(1).map_err(failed)?),
        allowance_bytes: row.try_get(2).map_err(failed)?,
        state: row.try_get(3).map_err(failed)?,
    })
}
