//! SEC-69: GTID sets in the log's form and as text, and MariaDB's positions.

use tidewire_mysql::probe::gtids;

/// Whether they are GTIDs of any form.
pub(crate) fn read(data: &[u8]) -> bool {
    gtids(data)
}
