//! `cargo xtask bench`: how fast the release build is, beside what the server itself can do. Starts throw-away servers,
//! measures, prints one table, ends. Every ratio is of two figures of the same run; docs/benchmarks.md says how to read
//! them.

mod backlog;
mod delta;
mod latency;
mod mysql;
mod sample;
mod snapshot;
mod table;

use crate::build;
use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use table::Row;
use tidewire_testkit::fetch;
use tidewire_testkit::postgres::Client;
use tidewire_testkit::{MysqlVersion, Postgres, PostgresOptions, Version};

/// What may be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Part {
    /// A backlog of transactions of 1,000 rows.
    Drain,
    /// A backlog of one transaction.
    Large,
    /// A first snapshot.
    Snapshot,
    /// Commit to consumer.
    Latency,
    /// A log file in memory into cells; MySQL and MariaDB alone.
    Decode,
}

/// What the benchmark may be asked.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    #[command(subcommand)]
    apart: Option<Apart>,
    /// Parts to measure; all when none is named.
    #[arg(value_enum)]
    parts: Vec<Part>,
    /// Rows of the backlog and the snapshot; the single transaction has twice as many.
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    rows: u64,
    /// Seconds of the latency's load, without its warm-up.
    #[arg(long, value_name = "N", default_value_t = 20)]
    seconds: u64,
    /// A daemon that is built already, instead of the release build.
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// MySQL in place of PostgreSQL.
    #[arg(long, conflicts_with = "mariadb")]
    mysql: bool,
    /// MariaDB in place of PostgreSQL.
    #[arg(long)]
    mariadb: bool,
    /// Only these contestants of a backlog, such as `null,kafka`; the floor is always measured.
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<backlog::Contestant>,
}

/// What is measured only when it is asked for by name.
#[derive(Subcommand)]
enum Apart {
    /// Random upserts into Delta tables of growing size, beside delta-rs, and what readers make of them.
    Delta(delta::Options),
}

/// The publication that every reader of the log uses.
const PUBLICATION: &str = "bench";
/// What the source is called in every configuration.
const SOURCE: &str = "bench";

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(Apart::Delta(options)) = &options.apart {
        return delta::run(options);
    }
    let binary = match &options.binary {
        Some(binary) => binary.canonicalize().with_context(|| format!("find {}", binary.display()))?,
        None => {
            eprintln!("building the daemon (the first time takes minutes)");
            build::release()?
        }
    };
    let mut parts = options.parts.clone();
    parts.sort_unstable();
    parts.dedup();
    if parts.is_empty() {
        parts = Part::value_variants().to_vec();
    }
    let version = match (options.mysql, options.mariadb) {
        (true, _) => Some(MysqlVersion::MySql97),
        (_, true) => Some(MysqlVersion::MariaDb118),
        _ => None,
    };
    let mut rows: Vec<Row> = Vec::new();
    for part in parts {
        if let Some(version) = version {
            let bench = mysql::Bench { version, binary: &binary, options };
            rows.extend(bench.measure(part).with_context(|| format!("measure {part:?}"))?);
            continue;
        }
        let measured = match part {
            Part::Drain => backlog::drain(&binary, options.rows, &options.only),
            Part::Large => backlog::large(&binary, options.rows.saturating_mul(2), &options.only),
            Part::Snapshot => snapshot::run(&binary, options.rows),
            Part::Latency => latency::run(&binary, options.seconds),
            Part::Decode => Ok(Vec::new()),
        };
        rows.extend(measured.with_context(|| format!("measure {part:?}"))?);
    }
    print!("{}", table::show(&rows));
    Ok(())
}

/// The installed server, with settings that keep its own house-keeping out of the measurement.
fn postgres() -> Result<Postgres> {
    let options = PostgresOptions { version: Some(Version::Installed), ..PostgresOptions::default() }
        .set("shared_buffers", "256MB")
        .set("max_wal_size", "16GB")
        .set("checkpoint_timeout", "1h")
        .set("autovacuum", "off");
    Postgres::start(&options)
}

/// A program of the installed server.
fn program(name: &str) -> Result<PathBuf> {
    let folder = fetch::postgres::installed().context("no PostgreSQL is installed: install the package postgresql")?;
    Ok(folder.join("bin").join(name))
}

/// Six columns, about 150 bytes a row.
fn create_rows(client: &Client) -> Result<()> {
    client
        .execute(&format!(
            "CREATE TABLE rows (id bigint PRIMARY KEY, customer int NOT NULL, state text NOT NULL, total numeric(12,2),
               placed_at timestamptz NOT NULL, note text);
             CREATE PUBLICATION {PUBLICATION} FOR TABLE rows"
        ))
        .map(drop)
}

/// The statement that inserts the rows `first` to `last`, both SQL expressions.
fn insert_rows(first: &str, last: &str) -> String {
    format!(
        "INSERT INTO rows SELECT g, g % 50000, 'placed', (g % 100000) / 7.0, now(), 'n' || g || repeat(md5(g::text), 3)
         FROM generate_series({first}, {last}) g"
    )
}

/// The source's part of a configuration.
fn source(server: &Postgres, snapshot: &str, slot: &str) -> String {
    format!(
        "[sources.{SOURCE}]\ntables = [\"public.*\"]\nsnapshot = \"{snapshot}\"\n[sources.{SOURCE}.postgres]\nurl = \"{}\"\n\
         slot = \"{slot}\"\npublication = \"{PUBLICATION}\"\n",
        server.url("postgres")
    )
}
