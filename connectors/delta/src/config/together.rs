//! Keys of the sink that do not go together yet. Knows no table.

use crate::layout::{AddedDefaults, Mode, Widening};

/// What a change data feed goes with.
pub(super) fn check_feed(mode: Mode, fault: &mut impl FnMut(&str, String)) {
    if mode != Mode::Mirror {
        fault("change_data_feed", "is for `mode = \"mirror\"`: the other modes are feeds themselves".to_owned());
    }
}

/// What changes the shape of files is not written yet where each commit rewrites them.
pub(super) fn check_rewriting(
    column_mapping: bool,
    (widening, added_defaults): (Widening, AddedDefaults),
    fault: &mut impl FnMut(&str, String),
) {
    const KEY: &str = "deletion_vectors = false";
    if added_defaults == AddedDefaults::Fill {
        fault("added_defaults", format!("`fill` is not available yet together with `{KEY}`"));
    }
    if column_mapping {
        fault("column_mapping", format!("is not available yet together with `{KEY}`"));
    }
    if widening != Widening::Halt {
        fault("widening", format!("must be `halt`, or not set, together with `{KEY}`"));
    }
}
