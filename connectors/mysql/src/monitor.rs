//! How the log stands on the server, for metrics and the status page. Its answers steer nothing.

use crate::config::Settings;
use crate::connection::Connection;
use crate::connection::open_any;
use crate::position::file_number;
use crate::server_log;
use crate::stream::Feedback;
use std::sync::Arc;
use tidewire_core::source::{BoxFuture, LogMonitor, LogState};
use tidewire_core::{Error, Result};
use tokio::sync::Mutex;

/// Asks over a session of its own, opened when first needed and again when it is lost (MY-5C).
pub(crate) struct Monitor {
    settings: Arc<Settings>,
    feedback: Arc<Feedback>,
    session: Mutex<Option<Connection>>,
}

impl Monitor {
    /// For a running source.
    pub(crate) fn new(settings: Arc<Settings>, feedback: Arc<Feedback>) -> Monitor {
        Monitor { settings, feedback, session: Mutex::new(None) }
    }

    async fn ask(&self) -> Result<LogState> {
        // A session that is taken out and lost with a dropped future is opened again.
        let taken = self.session.lock().await.take();
        let mut session = match taken {
            Some(session) => session,
            None => open_any(&self.settings).await?.1,
        };
        let files = server_log::files(&mut session).await?;
        *self.session.lock().await = Some(session);
        let (file, offset) = self.feedback.place();
        Ok(state(&files, &file, offset))
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

/// The server keeps its log for a time, whoever reads it; what lies behind us is what may be purged before it was read.
fn state(files: &[(String, u64)], file: &str, offset: u64) -> LogState {
    let retained = files.iter().map(|(_, size)| *size).sum();
    let Some(number) = file_number(file) else {
        return LogState { retained_bytes: Some(retained), ..LogState::default() };
    };
    let ahead = |(name, size): &(String, u64)| match file_number(name) {
        Some(other) if other > number => *size,
        Some(other) if other == number => size.saturating_sub(offset),
        _ => 0,
    };
    LogState { lag_bytes: Some(files.iter().map(ahead).sum()), retained_bytes: Some(retained), ..LogState::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_lies_between_us_and_the_end() {
        let files = [("b.000001".to_owned(), 100), ("b.000002".to_owned(), 200), ("b.000003".to_owned(), 50)];
        let lag = |file, offset| state(&files, file, offset).lag_bytes;
        assert_eq!(lag("b.000002", 150), Some(100));
        assert_eq!(lag("b.000003", 50), Some(0));
        assert_eq!(lag("", 0), None);
        assert_eq!(state(&files, "", 0).retained_bytes, Some(350));
    }
}
