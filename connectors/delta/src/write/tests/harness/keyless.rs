//! Tables without a key, and what `check` says of a table.

use super::{Harness, Logical, text};
use crate::config::Keyless;
use crate::layout::Mode;
use crate::preflight;
use std::sync::Arc;
use tidewire_core::Finding;

/// The `id` of all rows of `Logical::Whole`.
pub(in crate::write::tests) const ID: i64 = 7;

impl Logical {
    pub(in crate::write::tests) fn whole(old: Option<&str>, new: Option<&str>) -> Logical {
        Logical::Whole { old: old.map(text), new: new.map(text) }
    }
}

impl Harness {
    /// The daemon is stopped and goes on so.
    pub(in crate::write::tests) fn without_keys(&mut self, keyless: Keyless) {
        self.settings.keyless = keyless;
        self.crash();
    }

    /// What `check` says of the table at hand.
    pub(in crate::write::tests) fn findings(&self) -> Vec<Finding> {
        let tables = [(Arc::clone(&self.identity.source), Arc::clone(&self.schema))];
        preflight::tables(&Arc::new(self.settings.clone()), &self.identity.sink, &self.store(), &tables).unwrap()
    }

    pub(in crate::write::tests) fn is_history(&self) -> bool {
        self.settings.mode == Mode::History
    }

    /// The last transaction has never been.
    pub(in crate::write::tests) fn forget_last(&mut self) {
        self.log.pop();
    }
}
