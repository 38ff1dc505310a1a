//! Keys of the sink that do not go together yet. Knows no table.

use crate::layout::{AddedDefaults, Widening};

/// What changes the shape of files is not written yet where `key` is set.
pub(super) fn check_together(
    key: &str,
    column_mapping: bool,
    (widening, added_defaults): (Widening, AddedDefaults),
    fault: &mut impl FnMut(&str, String),
) {
    added_defaults.check_together(key, fault);
    if column_mapping {
        fault("column_mapping", format!("is not available yet together with `{key}`"));
    }
    if widening != Widening::Halt {
        fault("widening", format!("must be `halt`, or not set, together with `{key}`"));
    }
}
