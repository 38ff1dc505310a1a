//! The names of this crate's metrics. Recorded per commit, never per row.

use ::metrics::{Unit, describe_counter, describe_gauge};

/// Delta commits that became visible.
pub(crate) const COMMITS: &str = "tidewire_delta_commits_total";
/// Bytes of commit entries written to table logs.
pub(crate) const LOG_BYTES: &str = "tidewire_delta_log_bytes_total";
/// Bytes of deletion vector files written.
pub(crate) const DELETION_VECTOR_BYTES: &str = "tidewire_delta_deletion_vector_bytes_total";
/// Checkpoints written.
pub(crate) const CHECKPOINTS: &str = "tidewire_delta_checkpoints_total";
/// Commits whose outcome had to be read back, because the store's answer left it open.
pub(crate) const COMMITS_READ_BACK: &str = "tidewire_delta_commits_read_back_total";
/// Files removed from storage: after their retention had passed, or because no commit ever named them.
pub(crate) const FILES_CLEANED: &str = "tidewire_delta_files_cleaned_total";
/// Times that data files were rewritten and put in the place of others.
pub(crate) const COMPACTIONS: &str = "tidewire_delta_compactions_total";
/// Bytes of the rewritten files.
pub(crate) const COMPACTED_BYTES: &str = "tidewire_delta_compacted_bytes_total";
/// Time that commits of a sink are apart now.
pub(crate) const COMMIT_INTERVAL: &str = "tidewire_delta_commit_interval_seconds";

/// Tells the recorder what the names mean; once per process.
pub fn describe() {
    describe_counter!(COMMITS, "Delta commits that became visible");
    describe_counter!(LOG_BYTES, Unit::Bytes, "Bytes of entries written to the logs of Delta tables");
    describe_counter!(DELETION_VECTOR_BYTES, Unit::Bytes, "Bytes of deletion vectors written");
    describe_counter!(CHECKPOINTS, "Checkpoints of Delta tables written");
    describe_counter!(COMMITS_READ_BACK, "Delta commits whose outcome had to be read back");
    describe_counter!(
        FILES_CLEANED,
        "Files of Delta tables removed after their retention, or because no commit named them"
    );
    describe_gauge!(COMMIT_INTERVAL, Unit::Seconds, "Time that commits of a Delta sink are apart while changes come");
    describe_counter!(COMPACTIONS, "Times that data files of Delta tables were rewritten");
    describe_counter!(COMPACTED_BYTES, Unit::Bytes, "Bytes of data files rewritten by compaction");
}
