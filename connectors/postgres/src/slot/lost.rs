//! Why the server gave up a slot, in words, and what keeps it from doing so again. Pure.

/// What is known of the reason.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Loss<'a> {
    /// The server's word; from 17.
    pub(crate) reason: Option<&'a str>,
    /// Whether what a standby replayed was at odds with the slot; from 16, which has no word for it.
    pub(crate) conflicting: bool,
}

impl<'a> Loss<'a> {
    /// The reason.
    pub(crate) fn words(self) -> &'a str {
        match self.reason {
            Some(reason) => reason,
            None if self.conflicting => "in conflict with what the standby replayed",
            None => "log removed",
        }
    }

    /// What prevents it.
    pub(crate) fn prevention(self) -> &'static str {
        match self.reason {
            Some("rows_removed") => {
                "set `hot_standby_feedback = on` on the standby, and let it follow by a slot of the primary \
                 (`primary_slot_name`), so that the primary keeps the rows that the slot needs"
            }
            Some("wal_level_insufficient") => "keep `wal_level = logical` on the primary",
            Some("idle_timeout") => "set `idle_replication_slot_timeout = 0` so that it does not happen again",
            None if self.conflicting => {
                "keep `wal_level = logical` on the primary, set `hot_standby_feedback = on` on the standby, and let it follow by \
                 a slot of the primary (`primary_slot_name`)"
            }
            Some(_) | None => "raise max_slot_wal_keep_size so that it does not happen again",
        }
    }
}
