//! The command line. Names, flags and exit codes are a contract with scripts and units.

use crate::telemetry::LogFormat;
use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Change data capture from PostgreSQL to Kafka and Delta Lake, each change exactly once.
#[derive(Debug, Parser)]
#[command(name = "tidewire", version, about, long_about = None, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Flags that every command has.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that say how this process runs.
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Configuration file.
    #[arg(long, global = true, env = "TIDEWIRE_CONFIG", default_value = crate::config::DEFAULT_PATH, value_name = "FILE")]
    pub config: PathBuf,
    /// Form of log lines; text on a terminal, JSON otherwise.
    #[arg(long, global = true, value_enum)]
    pub log_format: Option<LogFormat>,
    /// What is logged, such as `info` or `info,tidewire_postgres=debug`.
    #[arg(long, global = true, env = "TIDEWIRE_LOG", default_value = "info", value_name = "FILTER")]
    pub log: String,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the daemon in the foreground until SIGTERM or SIGINT.
    Run {
        /// Vouch for this source where it cannot be proved that nothing was lost: for the server's position, and for a
        /// publication or tables that are not what they were.
        #[arg(long, value_name = "SOURCE")]
        accept_slot_position: Vec<String>,
    },
    /// Say what is missing on every source and sink, and what mends it; changes nothing.
    Check {
        /// Only read the configuration, connect to nothing.
        #[arg(long)]
        offline: bool,
    },
    /// Print the SQL that a source's database still needs.
    Setup {
        /// The source; all when absent.
        source: Option<String>,
        /// Run what the configured login may run.
        #[arg(long)]
        apply: bool,
    },
    /// Ask the running daemon how each source, table and sink stands.
    Status {
        /// Print the status document as JSON.
        #[arg(long)]
        json: bool,
        /// Print again every two seconds until interrupted.
        #[arg(long)]
        watch: bool,
    },
    /// Remove deleted rows from a sink's files now; the daemon must not be running.
    Purge {
        /// The sink.
        #[arg(long, value_name = "NAME")]
        sink: String,
        /// Only this table, as schema.table; all of the sink when absent.
        #[arg(long, value_name = "TABLE")]
        table: Option<String>,
        /// Only rows with this key: its column as text, or JSON with all of its columns as a list or an object. Proves
        /// that no file of the table holds the key.
        #[arg(long, value_name = "KEY", requires = "table")]
        key: Option<String>,
        /// Remove replaced files at once instead of after the table's retention: older versions can then no longer be
        /// read, and queries that are running may fail.
        #[arg(long)]
        now: bool,
    },
    /// Give back everything that a source holds on its server.
    Remove {
        /// The source.
        source: String,
        /// Do it; without this flag the command only says what it would do.
        #[arg(long)]
        yes: bool,
    },
}

/// Exit codes, as the manual has them.
pub(crate) mod exit {
    /// Asked to stop, or the command succeeded.
    pub(crate) const OK: u8 = 0;
    /// Failed; trying again may help.
    pub(crate) const FAILED: u8 = 1;
    /// Wrong command line.
    pub(crate) const USAGE: u8 = 2;
    /// A check ran and found something amiss.
    pub(crate) const AMISS: u8 = 3;
    /// The configuration is refused (EX_CONFIG of sysexits.h).
    pub(crate) const CONFIGURATION: u8 = 78;
}
