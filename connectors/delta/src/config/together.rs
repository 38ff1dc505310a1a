//! Keys of the sink that do not go together. Knows no table.

use crate::layout::Mode;

/// What a change data feed goes with.
pub(super) fn check_feed(mode: Mode, fault: &mut impl FnMut(&str, String)) {
    if mode != Mode::Mirror {
        fault("change_data_feed", "is for `mode = \"mirror\"`: the other modes are feeds themselves".to_owned());
    }
}
