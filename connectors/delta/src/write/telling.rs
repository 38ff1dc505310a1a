//! What the operator is told when a table follows the source's schema, and when it lacks rows. Decides nothing.

use super::found::Identity;
use crate::layout::{Evolution, Step};
use crate::metrics;
use std::sync::Arc;
use tidewire_core::TableName;

/// Says once what changed: what is told here is in the table's next commit, and no change after that.
pub(super) fn tell(table: &TableName, evolution: &Evolution) {
    let is_left_out = |step: &&Step| matches!(step, Step::LeftOut(_));
    let (left_out, changes): (Vec<&Step>, Vec<&Step>) = evolution.steps.iter().partition(is_left_out);
    for step in left_out {
        if let Step::LeftOut(column) = step {
            tracing::info!(table = %table, column = &**column, "the source has a new column, which is left out of the table");
        }
    }
    for step in &changes {
        if let Step::Added { column, is_filled: true, .. } = step {
            // The log does not tell what a default made of the rows that were there.
            tracing::info!(
                table = %table, column = &**column,
                "the source gave older rows a value in a new column; they show null until they change or the table is read anew"
            );
        }
    }
    if !changes.is_empty() {
        let changes = changes.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        tracing::info!(table = %table, changes, "table schema changed; dropped and retyped columns stay and are null from here on");
    }
}

/// Counts changes of rows that the table did not have: an update was taken for an insert, a delete for nothing. One such says that
/// changes before it were lost, so the first of a table is told.
pub(super) fn tell_unseen(table: &TableName, identity: &Identity, changes: u64, is_told: &mut bool) {
    if changes == 0 {
        return;
    }
    let Identity { sink, source } = identity;
    let labels = [("sink", Arc::clone(sink)), ("source", Arc::clone(source))];
    ::metrics::counter!(metrics::UNSEEN_CHANGES, &labels).increment(changes);
    if !std::mem::replace(is_told, true) {
        tracing::warn!(
            table = %table, changes, code = "rows_unseen",
            "updates or deletes came of rows that the table did not have: unless it began without a snapshot, or others deleted them, \
             it has missed earlier changes"
        );
    }
}
