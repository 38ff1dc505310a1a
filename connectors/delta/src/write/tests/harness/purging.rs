//! The operator's `purge`, between two starts.

use super::Harness;
use crate::config::Retention;
use crate::erase::Eraser;
use tidewire_core::Result;
use tidewire_core::sink::PurgeRequest;

impl Harness {
    /// The daemon is stopped and goes on keeping files and entries for so long.
    pub(in crate::write::tests) fn retain(&mut self, retention: Retention) {
        self.settings.retention = retention;
        self.crash();
    }

    /// Stops the daemon, purges, and starts it again; whether all was as asked for, and what was told.
    pub(in crate::write::tests) fn purge(&mut self, request: &PurgeRequest) -> Result<(bool, Vec<String>)> {
        self.sink = None;
        let mut lines = Vec::new();
        let store = self.store();
        let done = Eraser {
            settings: &self.settings,
            identity: &self.identity,
            store: &store,
            request,
            tell: &mut |line| lines.push(line),
        }
        .run();
        self.open();
        Ok((done?, lines))
    }
}
