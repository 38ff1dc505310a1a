//! The names of this crate's metrics. Recorded per commit, never per row.

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram};

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
/// Rewritten files.
pub(crate) const COMPACTED_FILES: &str = "tidewire_delta_compacted_files_total";
/// Files read to be rewritten.
pub(crate) const COMPACTION_READ_FILES: &str = "tidewire_delta_compaction_read_files_total";
/// Bytes of the files read to be rewritten.
pub(crate) const COMPACTION_READ_BYTES: &str = "tidewire_delta_compaction_read_bytes_total";
/// Time from the start of a rewriting until a commit takes its files over.
pub(crate) const COMPACTION_SECONDS: &str = "tidewire_delta_compaction_seconds";
/// Runs of the key indexes of a sink.
pub(crate) const INDEX_RUNS: &str = "tidewire_delta_index_runs";
/// Bytes of these runs.
pub(crate) const INDEX_BYTES: &str = "tidewire_delta_index_bytes";
/// Entries of the key indexes of a sink, in runs and in memory.
pub(crate) const INDEX_ENTRIES: &str = "tidewire_delta_index_entries";

/// Updates and deletes of rows that a mirror or a history did not have.
pub(crate) const UNSEEN_CHANGES: &str = "tidewire_delta_unseen_changes_total";

/// Commits of other writers that were taken in.
pub(crate) const FOREIGN_COMMITS: &str = "tidewire_delta_foreign_commits_total";

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
    describe_counter!(COMPACTED_FILES, "Data files written by compaction");
    describe_counter!(COMPACTION_READ_FILES, "Data files read by compaction");
    describe_counter!(COMPACTION_READ_BYTES, Unit::Bytes, "Bytes of data files read by compaction");
    describe_histogram!(COMPACTION_SECONDS, Unit::Seconds, "Time from the start of a compaction to its commit");
    describe_gauge!(INDEX_RUNS, "Runs of the key indexes of a Delta sink");
    describe_gauge!(INDEX_BYTES, Unit::Bytes, "Bytes of the key indexes of a Delta sink on disk");
    describe_gauge!(INDEX_ENTRIES, "Entries of the key indexes of a Delta sink, superseded ones included");
    describe_counter!(UNSEEN_CHANGES, "Updates and deletes of rows that a Delta table did not have");
    describe_counter!(FOREIGN_COMMITS, "Commits of other writers that Delta tables adopted");
}
