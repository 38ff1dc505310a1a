//! What the operator is told when a table follows the source's schema. Decides nothing.

use crate::layout::{Evolution, Step};
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
