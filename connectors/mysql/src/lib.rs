//! MySQL and MariaDB as a source: a consistent snapshot, then the binary log, read as a replica reads it. Knows nothing
//! of sinks.
//!
//! Modules stand in layer order; each uses only those above it.

mod error;
mod metrics;
mod model;

mod charset;
mod json;

mod gtid;

mod binlog;

mod ddl;

mod position;

mod typemap;

mod config;

mod wire;

mod connection;
mod control;

mod metadata;
mod shape;
mod table_changes;

mod catalog;
mod history;
mod joined;
mod rivals;

mod assemble;

mod preflight;
mod setup;

mod plan;

mod stream;

mod scan;
mod snapshot;

mod server_log;

mod monitor;

mod connector;

#[doc(hidden)]
pub mod probe;

pub use config::Config;
pub use connector::connector;
pub use metrics::describe as describe_metrics;
