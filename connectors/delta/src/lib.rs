//! The Delta Lake sink: mirror, changelog and history tables, exactly once. Modules stand in layer order; each uses only
//! those above it. The table layer (`store` to `progress_table`) knows files, versions and row numbers; the data
//! layer (`typemap` to `write`) knows rows, keys and batches.

mod ambient;

mod compression;

mod error;
mod job;
mod metrics;

mod store;

mod deletion_vector;

mod log;

mod progress_table;

mod typemap;

mod encode;

mod index;

mod layout;

mod config;

mod barriers;

mod parts;

mod history;

mod mirror;

mod changelog;

mod compact;

mod purge;

mod rewrite;

mod write;

mod erase;

#[cfg(test)]
mod model;

mod preflight;

mod connector;

#[doc(hidden)]
pub mod probe;

pub use config::{Config, ConfigFault};
pub use connector::{SinkOptions, connector};
pub use metrics::describe as describe_metrics;
