//! Every reader of outside bytes as a function of those bytes alone: what tests replay (`tests/integration/corpus.rs`) and
//! what `cargo xtask fuzz` searches. Knows neither corpus nor search.

mod readers;

/// One reader.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// That of its file, its folder below `fuzz/corpus`, and its name in `cargo xtask fuzz`.
    pub name: &'static str,
    /// Reads; whether the bytes are what they are taken for. May not panic, whatever they are.
    pub read: fn(&[u8]) -> bool,
    /// How often a test damages each input of the corpus: less where reading one takes long.
    pub damages: u64,
}

/// All of them, sorted by their names.
pub const TARGETS: [Target; 13] = [
    // Each is written to a file and read from there.
    Target { name: "config", read: readers::config::read, damages: 4 },
    Target { name: "delta_index", read: readers::delta_index::read, damages: 100 },
    Target { name: "delta_log", read: readers::delta_log::read, damages: 100 },
    Target { name: "delta_vector", read: readers::delta_vector::read, damages: 100 },
    Target { name: "mysql_ddl", read: readers::mysql_ddl::read, damages: 40 },
    Target { name: "mysql_gtid", read: readers::mysql_gtid::read, damages: 100 },
    Target { name: "mysql_json", read: readers::mysql_json::read, damages: 100 },
    Target { name: "mysql_log", read: readers::mysql_log::read, damages: 40 },
    Target { name: "pg_copy_binary", read: readers::pg_copy_binary::read, damages: 100 },
    Target { name: "pg_copy_line", read: readers::pg_copy_line::read, damages: 100 },
    Target { name: "pg_frames", read: readers::pg_frames::read, damages: 100 },
    Target { name: "pg_value", read: readers::pg_value::read, damages: 40 },
    Target { name: "pgoutput", read: readers::pgoutput::read, damages: 40 },
];

/// The environment variable that tells the search its target.
pub const TARGET_VARIABLE: &str = "FUZZ_TARGET";

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}
