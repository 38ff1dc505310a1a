//! The sink's part of the configuration: as written, and checked. Knows no store and opens nothing.

mod keyless;
mod location;
mod retention;
mod together;

pub(crate) use keyless::{Keyless, mode_changed};
pub(crate) use retention::Retention;

use crate::compression::Compression;
use crate::layout::{AddedDefaults, Mode, PartitionBy, Rules, SchemaChanges, TextColumns, Widening, check_template};
use crate::log::ForeignWrites;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tidewire_core::quantity::{Size, Span};
use tidewire_core::secret::SecretRef;
use url::Url;

/// `[sinks.NAME.delta]` as it is written.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the tables live: `file:///srv/lake`, `s3://bucket/prefix`, `az://container/prefix` (also `abfss://`) or
    /// `gs://bucket/prefix`.
    pub location: String,
    /// Settings of the object store (`aws_region`, `azure_storage_account_name`, `google_service_account`, ...); each may
    /// be a secret. The environment's `AWS_*`, `AZURE_*` and `GOOGLE_*` variables count too.
    #[serde(default)]
    pub storage: BTreeMap<String, SecretRef>,
    /// Path of a table under the location, of `{source}`, `{schema}` and `{table}`.
    #[serde(default)]
    pub table: Option<String>,
    /// `mirror` (one row per key, the default), `changelog` (every change, appended) or `history` (every version of a
    /// row, and when it was the row).
    #[serde(default)]
    pub mode: Option<String>,
    /// What becomes of tables without a key in a mirror or a history: `changelog` (they are written as such, the default), `rows`
    /// (their rows are found by all their values; the log must carry old rows whole) or `refuse` (they halt).
    #[serde(default)]
    pub keyless: Option<String>,
    /// Commit at the latest after this time; default 5 s.
    #[serde(default)]
    pub commit_interval: Option<Span>,
    /// Longest time between commits while changes come, for tables whose commits would else write far more deletion vectors
    /// and log than new rows; default 12 times `commit_interval`, but no more than 60 s.
    #[serde(default)]
    pub commit_interval_max: Option<Span>,
    /// Commit at the latest after this many changes; default 100,000.
    #[serde(default)]
    pub commit_rows: Option<u64>,
    /// Commit at the latest after this many bytes; default 64 MiB. Far fewer of them wait in memory.
    #[serde(default)]
    pub commit_bytes: Option<Size>,
    /// Columns, as `schema.table.column`, written as the database's own text: for values that the Delta type
    /// cannot hold (infinity, BC, NaN in a decimal, arrays of several dimensions).
    #[serde(default)]
    pub text_columns: Vec<String>,
    /// What a table does when the source's schema changes: `evolve` (follow what keeps old rows true, halt at the
    /// rest; the default), `lenient` (a column that does not fit goes on in a new one), `ignore` (keep the table's
    /// columns) or `fail` (halt at any change).
    #[serde(default)]
    pub schema_changes: Option<String>,
    /// What a table does when a column's type grows at the source (an `int` becomes a `bigint`): `halt` (the default),
    /// `rewrite` (every data file is written anew with the new type) or `types` (the log says that older files have the
    /// narrower type, which readers must know of).
    #[serde(default)]
    pub widening: Option<String>,
    /// What a table does when another writer changes its rows or files: `pause` (halt, the default) or `adopt` (take the change
    /// in and go on).
    #[serde(default)]
    pub foreign_writes: Option<String>,
    /// What a table does when a column is added at the source with a value for the rows that are there (`ADD COLUMN ...
    /// DEFAULT 5`), of which the log does not tell: `null` (they show null until they change; the default), `fill` (every
    /// data file is written anew with the value; where it is not known for certain, the table halts) or `halt`.
    #[serde(default)]
    pub added_defaults: Option<String>,
    /// How data files are compressed: `zstd` (the smallest files; the default in a bucket), `snappy` or `lz4` (files that are read
    /// faster); by default on a disk `snappy`, and not at all in commits of less than a mebibyte.
    #[serde(default)]
    pub compression: Option<String>,
    /// Rewrite data files in the background when they are many and small or hold many deleted rows; default yes.
    #[serde(default)]
    pub compaction: Option<bool>,
    /// Size that compaction brings data files to; default 256 MiB, 32 MiB without deletion vectors.
    #[serde(default)]
    pub target_file_size: Option<Size>,
    /// Per cent of a data file's rows that may be deleted before it is rewritten; default 20.
    #[serde(default)]
    pub deleted_rows_percent: Option<u64>,
    /// Let readers ask what each commit changed (Delta's change data feed); mirrors only, default no.
    #[serde(default)]
    pub change_data_feed: bool,
    /// Delete rows by deletion vectors, default yes; without them every file that loses a row is rewritten, for readers that
    /// know no deletion vectors. Mirrors only.
    #[serde(default)]
    pub deletion_vectors: Option<bool>,
    /// Columns that tables are partitioned by: `schema.table`, or a pattern of such, to a list of columns.
    #[serde(default)]
    pub partition_by: BTreeMap<String, Vec<String>>,
    /// Longest time that deleted rows stay in a data file, however few they are; default 7 d, `0s` for no such limit.
    #[serde(default)]
    pub deleted_rows_age: Option<Span>,
    /// How long files stay that are no part of a table any more, for queries and time travel; default 24 h in a new table.
    #[serde(default)]
    pub file_retention: Option<Span>,
    /// How long entries of a table's log stay; default 7 d in a new table.
    #[serde(default)]
    pub log_retention: Option<Span>,
    /// Bytes of data files that compaction reads a second, at the most; default no limit.
    #[serde(default)]
    pub compaction_bytes_per_second: Option<Size>,
    /// Keep a table of barriers, which versions of the tables are one picture of the source; default no.
    #[serde(default)]
    pub barriers: bool,
    /// Shortest time between two barriers; default 60 s.
    #[serde(default)]
    pub barrier_interval: Option<Span>,
    /// Create tables whose columns have names of their own in data files: any name is kept, and a column is renamed or
    /// dropped without rewriting a file. Readers must know of it; default no.
    #[serde(default)]
    pub column_mapping: bool,
}

impl Config {
    /// Where tables lie unless said otherwise.
    pub const TABLE_DEFAULT: &'static str = "{source}/{schema}/{table}";
    /// Long enough that files are worth reading, short enough that a reader sees the source of moments ago.
    pub const COMMIT_INTERVAL_DEFAULT: Duration = Duration::from_secs(5);
    /// A reader who joins tables seldom minds a minute, and each barrier has a row for each table.
    pub const BARRIER_INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
    /// Twelve times less of what does not grow with the time between commits.
    pub const COMMIT_INTERVAL_MAX_DEFAULT: Duration = Duration::from_secs(60);
    /// A commit's fixed cost is small beside so many rows.
    pub const COMMIT_ROWS_DEFAULT: usize = 100_000;
    /// Bounds what is read again after a crash.
    pub const COMMIT_BYTES_DEFAULT: usize = 64 << 20;
    /// Large enough that a commit touches few files, small enough that one is rewritten in seconds.
    pub const TARGET_FILE_SIZE_DEFAULT: u64 = 256 << 20;
    /// Without deletion vectors: a commit rewrites each file that it touches.
    pub const REWRITTEN_FILE_SIZE_DEFAULT: u64 = 32 << 20;
    /// Each deleted row costs four live ones to be copied.
    pub const DELETED_ROWS_PERCENT_DEFAULT: u64 = 20;
    /// A file is rewritten for this at most once in the time; with the day that removed files are kept, what was deleted
    /// is gone well within the month that laws give.
    pub const DELETED_ROWS_AGE_DEFAULT: Duration = Duration::from_hours(7 * 24);
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// The key, below the sink's `delta` table.
    pub key: String,
    /// What is wrong and what is allowed.
    pub message: String,
}

/// How many files, deleted rows and deletion vectors a table may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Budget {
    /// Size that files are brought to, in bytes.
    pub(crate) target_bytes: u64,
    /// Per cent of a file's rows that may be deleted.
    pub(crate) deleted_percent: u64,
    /// Milliseconds that rows may stay after they were deleted; `None`: as long as it happens.
    pub(crate) deleted_age: Option<i64>,
    /// Bytes of files to read a second, at the most.
    pub(crate) bytes_per_second: Option<u64>,
    /// Files that may have a deletion vector: some readers stop working above 512.
    pub(crate) vector_files: usize,
    /// Bytes that all deletion vectors together may take, whatever the table's size.
    pub(crate) vector_bytes: u64,
}

/// The configuration, checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) location: Url,
    pub(crate) storage: BTreeMap<String, SecretRef>,
    pub(crate) table: String,
    pub(crate) mode: Mode,
    pub(crate) keyless: Keyless,
    pub(crate) commit_interval: Duration,
    /// At least `commit_interval`.
    pub(crate) commit_interval_max: Duration,
    pub(crate) commit_rows: usize,
    pub(crate) commit_bytes: usize,
    pub(crate) text_columns: TextColumns,
    pub(crate) schema_changes: SchemaChanges,
    /// Shortest time between two barriers; `None`: there are none.
    pub(crate) barriers: Option<Duration>,
    pub(crate) column_mapping: bool,
    pub(crate) widening: Widening,
    pub(crate) foreign_writes: ForeignWrites,
    pub(crate) added_defaults: AddedDefaults,
    /// Of files from now on.
    pub(crate) compression: Compression,
    pub(crate) retention: Retention,
    /// `None`: data files are left as they are.
    pub(crate) compaction: Option<Budget>,
    /// Whether commits say what they changed.
    pub(crate) change_data_feed: bool,
    pub(crate) partition_by: PartitionBy,
    /// Whether rows are deleted by vectors; else files are rewritten.
    pub(crate) deletion_vectors: bool,
    /// Size that files are brought to, in bytes.
    pub(crate) file_bytes: u64,
}

/// The largest data file that is made on purpose, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = 4 << 30;
/// Half of what delta-rs can read without a deadlock.
const VECTOR_FILES_MAX: usize = 256;
const VECTOR_BYTES_MAX: u64 = 4 << 20;
/// Slower than this a table would never be in order.
const COMPACTION_BYTES_PER_SECOND_MIN: u64 = 64 << 10;
/// A shorter age would rewrite files with every commit.
const DELETED_ROWS_AGE_MIN: Duration = Duration::from_mins(1);

impl Settings {
    /// What is said of a table's columns.
    pub(crate) fn rules(&self) -> Rules<'_> {
        Rules {
            mode: self.mode,
            texts: &self.text_columns,
            changes: self.schema_changes,
            column_mapping: self.column_mapping,
            widening: self.widening,
        }
    }

    /// What a location alone gives.
    #[cfg(test)]
    pub(crate) fn at(location: &Url) -> Settings {
        Settings::check(serde_json::from_value(serde_json::json!({ "location": location.as_str() })).unwrap()).unwrap()
    }

    /// Checks all keys and names every fault.
    pub(crate) fn check(mut config: Config) -> Result<Settings, Vec<ConfigFault>> {
        let mut faults = Vec::new();
        let mut fault = |key: &str, message: String| faults.push(ConfigFault { key: key.to_owned(), message });
        let location = location::parse(&config.location).map_err(|message| fault("location", message)).ok();
        for (key, message) in location.iter().flat_map(|location| location::unknown(location, config.storage.keys())) {
            fault(&format!("storage.{key}"), message);
        }
        let table = config.table.clone().unwrap_or_else(|| Config::TABLE_DEFAULT.to_owned());
        if let Err(message) = check_template(&table) {
            fault("table", message);
        }
        let mode = mode(&config, &mut fault);
        let (commit_interval, commit_interval_max) = intervals(&config, &mut fault);
        let commit_rows =
            config.commit_rows.map_or(Some(Config::COMMIT_ROWS_DEFAULT), |rows| usize::try_from(rows).ok());
        let commit_rows = commit_rows.filter(|rows| (1..=100_000_000).contains(rows));
        if commit_rows.is_none() {
            fault("commit_rows", "must be 1 to 100000000".to_owned());
        }
        let commit_bytes =
            config.commit_bytes.map_or(Some(Config::COMMIT_BYTES_DEFAULT), |size| usize::try_from(size.0).ok());
        let commit_bytes = commit_bytes.filter(|bytes| ((1 << 20)..=(1 << 30)).contains(bytes));
        if commit_bytes.is_none() {
            fault("commit_bytes", "must be 1MiB to 1GiB".to_owned());
        }
        for column in &config.text_columns {
            if column.split('.').count() < 3 {
                fault("text_columns", format!("`{column}` is no column: write `schema.table.column`"));
            }
        }
        let schema_changes = config.schema_changes.as_deref().unwrap_or("evolve");
        let schema_changes = SchemaChanges::parse(schema_changes).unwrap_or_else(|| {
            let message = format!("`{schema_changes}` is no policy: use `evolve`, `lenient`, `ignore` or `fail`");
            fault("schema_changes", message);
            SchemaChanges::default()
        });
        let deletion_vectors = config.deletion_vectors.unwrap_or(true);
        if !deletion_vectors && mode != Mode::Mirror {
            fault("deletion_vectors", "`false` is for `mode = \"mirror\"`".to_owned());
        }
        let widening = Widening::of(config.widening.as_deref(), &mut fault);
        let added_defaults = AddedDefaults::of(config.added_defaults.as_deref(), &mut fault);
        let compression = Compression::of(config.compression.as_deref(), location.as_ref(), &mut fault);
        let retention = Retention::of(&config, &mut fault);
        let (foreign_writes, barriers) = (foreign_writes(&config, &mut fault), barriers(&config, &mut fault));
        let keyless = keyless::keyless(&config, mode, foreign_writes, &mut fault);
        let file_bytes = file_bytes(config.target_file_size, deletion_vectors, &mut fault);
        let budget = budget(&config, file_bytes, &mut fault);
        let partition_by = partition_by(std::mem::take(&mut config.partition_by), &mut fault);
        if config.change_data_feed {
            together::check_feed(mode, &mut fault);
        }
        match (location, commit_rows, commit_bytes, faults.is_empty()) {
            (Some(location), Some(commit_rows), Some(commit_bytes), true) => Ok(Settings {
                location,
                storage: config.storage,
                table,
                mode,
                keyless,
                commit_interval,
                commit_interval_max,
                commit_rows,
                commit_bytes,
                text_columns: config.text_columns.into_iter().collect(),
                schema_changes,
                barriers,
                column_mapping: config.column_mapping,
                widening,
                foreign_writes,
                added_defaults,
                compression,
                retention,
                compaction: budget,
                change_data_feed: config.change_data_feed,
                partition_by,
                deletion_vectors,
                file_bytes,
            }),
            _ => Err(faults),
        }
    }
}

fn foreign_writes(config: &Config, fault: &mut impl FnMut(&str, String)) -> ForeignWrites {
    match config.foreign_writes.as_deref() {
        None | Some("pause") => ForeignWrites::Pause,
        Some("adopt") => ForeignWrites::Adopt,
        Some(other) => {
            fault("foreign_writes", format!("`{other}` is no policy: use `pause` or `adopt`"));
            ForeignWrites::Pause
        }
    }
}

fn mode(config: &Config, fault: &mut impl FnMut(&str, String)) -> Mode {
    match config.mode.as_deref() {
        None | Some("mirror") => Mode::Mirror,
        Some("changelog") => Mode::Changelog,
        Some("history") => Mode::History,
        Some(other) => {
            fault("mode", format!("`{other}` is no mode: use `mirror`, `changelog` or `history`"));
            Mode::Mirror
        }
    }
}

/// The shortest and the longest time between commits.
fn intervals(config: &Config, fault: &mut impl FnMut(&str, String)) -> (Duration, Duration) {
    let shortest = config.commit_interval.map_or(Config::COMMIT_INTERVAL_DEFAULT, |span| span.0);
    if shortest < Duration::from_millis(10) {
        fault("commit_interval", "must be 10ms or more".to_owned());
    }
    let default = shortest.saturating_mul(12).min(Config::COMMIT_INTERVAL_MAX_DEFAULT).max(shortest);
    let longest = config.commit_interval_max.map_or(default, |span| span.0);
    if longest < shortest {
        fault("commit_interval_max", "must be `commit_interval` or more".to_owned());
    }
    (shortest, longest)
}

/// Size that files are brought to, in bytes.
fn file_bytes(size: Option<Size>, has_vectors: bool, fault: &mut impl FnMut(&str, String)) -> u64 {
    let default = if has_vectors { Config::TARGET_FILE_SIZE_DEFAULT } else { Config::REWRITTEN_FILE_SIZE_DEFAULT };
    let bytes = size.map_or(default, |size| size.0);
    if !((1 << 20)..=FILE_BYTES_MAX).contains(&bytes) {
        fault("target_file_size", "must be 1MiB to 4GiB".to_owned());
    }
    bytes
}

fn partition_by(by: BTreeMap<String, Vec<String>>, fault: &mut impl FnMut(&str, String)) -> PartitionBy {
    PartitionBy::parse(by).unwrap_or_else(|faults| {
        faults.into_iter().for_each(|message| fault("partition_by", message));
        PartitionBy::default()
    })
}

/// The time between barriers; `None`: there are none.
fn barriers(config: &Config, fault: &mut impl FnMut(&str, String)) -> Option<Duration> {
    let interval = config.barrier_interval.map_or(Config::BARRIER_INTERVAL_DEFAULT, |span| span.0);
    if interval < Duration::from_secs(1) {
        fault("barrier_interval", "must be 1s or more".to_owned());
    }
    config.barriers.then_some(interval)
}

/// How data files are rewritten; `None`: they are left as they are.
fn budget(config: &Config, target_bytes: u64, fault: &mut impl FnMut(&str, String)) -> Option<Budget> {
    let deleted_percent = config.deleted_rows_percent.unwrap_or(Config::DELETED_ROWS_PERCENT_DEFAULT);
    if !(1..=90).contains(&deleted_percent) {
        fault("deleted_rows_percent", "must be 1 to 90".to_owned());
    }
    let deleted_age = config.deleted_rows_age.map_or(Config::DELETED_ROWS_AGE_DEFAULT, |span| span.0);
    if !deleted_age.is_zero() && deleted_age < DELETED_ROWS_AGE_MIN {
        fault("deleted_rows_age", "must be 1m or more, or 0s for no limit".to_owned());
    }
    if config.compaction == Some(false) && config.deleted_rows_age.is_some_and(|span| !span.0.is_zero()) {
        fault("deleted_rows_age", "needs `compaction`, which rewrites the files".to_owned());
    }
    let bytes_per_second = config.compaction_bytes_per_second.map(|size| size.0);
    if bytes_per_second.is_some_and(|bytes| bytes < COMPACTION_BYTES_PER_SECOND_MIN) {
        fault("compaction_bytes_per_second", "must be 64KiB or more".to_owned());
    }
    config.compaction.unwrap_or(true).then_some(Budget {
        bytes_per_second,
        target_bytes,
        deleted_percent,
        deleted_age: i64::try_from(deleted_age.as_millis()).ok().filter(|age| *age > 0),
        vector_files: VECTOR_FILES_MAX,
        vector_bytes: VECTOR_BYTES_MAX,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidewire_core::TableName;

    fn parse(json: &str) -> Result<Settings, Vec<ConfigFault>> {
        Settings::check(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn defaults_are_those_of_the_manual() {
        let settings = parse(r#"{"location": "file:///srv/lake"}"#).unwrap();
        assert_eq!(settings.table, "{source}/{schema}/{table}");
        assert_eq!((settings.mode, settings.commit_interval), (Mode::Mirror, Duration::from_secs(5)));
        assert_eq!(settings.commit_interval_max, Duration::from_secs(60));
        let shorter = parse(r#"{"location": "file:///srv/lake", "commit_interval": "200ms"}"#).unwrap();
        assert_eq!(shorter.commit_interval_max, Duration::from_millis(2_400));
        let longer = parse(r#"{"location": "file:///srv/lake", "commit_interval": "2m"}"#).unwrap();
        assert_eq!(longer.commit_interval_max, Duration::from_secs(120));
        assert_eq!((settings.commit_rows, settings.commit_bytes), (100_000, 64 << 20));
        assert_eq!(settings.schema_changes, SchemaChanges::Evolve);
        assert_eq!(settings.foreign_writes, ForeignWrites::Pause);
        assert_eq!((settings.added_defaults, settings.compression), (AddedDefaults::Null, Compression::Fast));
        for bucket in ["s3://lake/a", "az://lake/a", "gs://lake/a"] {
            let settings = parse(&format!(r#"{{"location": "{bucket}"}}"#)).unwrap();
            assert_eq!(settings.compression, Compression::Zstd, "{bucket}");
        }
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let json = r#"{"location": "hdfs://x", "table": "{table}", "mode": "scd2", "keyless": "guess", "commit_interval": "1ms",
            "commit_interval_max": "0s", "commit_rows": 0, "commit_bytes": "1B", "text_columns": ["a.b"], "schema_changes": "follow", "foreign_writes": "merge",
            "compaction_bytes_per_second": "1KiB", "barriers": true, "barrier_interval": "10ms", "widening": "never",
            "added_defaults": "5", "compression": "gzip", "file_retention": "59s", "log_retention": "0s"}"#;
        let faults = parse(json).unwrap_err();
        let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
        let expect = [
            "location",
            "table",
            "mode",
            "commit_interval",
            "commit_interval_max",
            "commit_rows",
            "commit_bytes",
            "text_columns",
            "schema_changes",
            "widening",
            "added_defaults",
            "compression",
            "file_retention",
            "log_retention",
            "foreign_writes",
            "barrier_interval",
            "keyless",
            "compaction_bytes_per_second",
        ];
        assert_eq!(keys, expect);
    }

    #[test]
    fn without_deletion_vectors_files_are_smaller() {
        let with = |more: &str| parse(&format!(r#"{{"location": "file:///srv/lake"{more}}}"#));
        let sizes = |more| with(more).map(|settings| (settings.deletion_vectors, settings.file_bytes)).unwrap();
        assert_eq!(sizes(""), (true, 256 << 20));
        assert_eq!(sizes(r#", "deletion_vectors": false"#), (false, 32 << 20));
        assert_eq!(sizes(r#", "deletion_vectors": false, "target_file_size": "16MiB""#), (false, 16 << 20));
        for mode in ["changelog", "history"] {
            let faults = with(&format!(r#", "deletion_vectors": false, "mode": "{mode}""#)).unwrap_err();
            assert_eq!(faults[0].key, "deletion_vectors", "{mode}");
        }
    }

    #[test]
    fn a_change_data_feed_is_for_mirrors() {
        for (mode, good) in [("mirror", true), ("changelog", false), ("history", false)] {
            let json = format!(r#"{{"location": "file:///srv/lake", "mode": "{mode}", "change_data_feed": true}}"#);
            let faults = parse(&json).err().unwrap_or_default();
            assert!(faults.iter().all(|fault| fault.key == "change_data_feed"));
            assert_eq!(faults.is_empty(), good, "{mode}");
        }
        assert!(!parse(r#"{"location": "file:///srv/lake"}"#).unwrap().change_data_feed);
    }

    #[test]
    fn a_table_has_the_partitions_of_its_best_pattern() {
        let json = r#"{"location": "file:///srv/lake", "partition_by": {"public.*": ["a"], "public.or*": ["b"],
            "public.orders": ["c", "d"]}}"#;
        let by = parse(json).unwrap().partition_by;
        for (table, columns) in [("orders", &["c", "d"][..]), ("order", &["b"]), ("items", &["a"])] {
            assert_eq!(by.of(&TableName::new("public", table)), columns);
        }
        assert!(by.of(&TableName::new("sales", "orders")).is_empty());
        let json = r#"{"location": "file:///srv/lake", "partition_by": {"a.b": [], "!a.c": ["x"], "orders": ["x"],
            "a.d": ["x"]}, "change_data_feed": true}"#;
        let faults = parse(json).unwrap_err();
        assert_eq!(faults.iter().filter(|fault| fault.key == "partition_by").count(), 3, "{faults:?}");
    }

    #[test]
    fn deleted_rows_have_an_age() {
        let age = |keys: &str| {
            let settings = parse(&format!(r#"{{"location": "file:///srv/lake"{keys}}}"#));
            settings.map(|settings| settings.compaction.and_then(|budget| budget.deleted_age)).map_err(|mut faults| {
                assert_eq!(faults.len(), 1);
                faults.remove(0).key
            })
        };
        for (keys, expect) in [
            ("", Ok(Some(7 * 24 * 3_600_000))),
            (r#", "deleted_rows_age": "30d""#, Ok(Some(30 * 24 * 3_600_000))),
            (r#", "deleted_rows_age": "0s""#, Ok(None)),
            (r#", "deleted_rows_age": "1s""#, Err("deleted_rows_age".to_owned())),
            (r#", "deleted_rows_age": "1d", "compaction": false"#, Err("deleted_rows_age".to_owned())),
            (r#", "deleted_rows_age": "0s", "compaction": false"#, Ok(None)),
            (r#", "compaction": false"#, Ok(None)),
        ] {
            assert_eq!(age(keys), expect, "{keys}");
        }
    }

    #[test]
    fn what_shapes_files_goes_together() {
        for special in
            [r#""partition_by": {"public.a": ["b"]}"#, r#""deletion_vectors": false"#, r#""change_data_feed": true"#]
        {
            for more in [
                "",
                r#", "column_mapping": true"#,
                r#", "widening": "types""#,
                r#", "widening": "rewrite""#,
                r#", "added_defaults": "fill""#,
            ] {
                let settings = parse(&format!(r#"{{"location": "file:///srv/lake", {special}{more}}}"#));
                assert!(settings.is_ok(), "{special}{more}: {settings:?}");
            }
        }
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<Config>(r#"{"location": "file:///x", "locaton": ""}"#).is_err());
    }
}
