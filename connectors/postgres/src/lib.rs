//! PostgreSQL as a source: a consistent snapshot, then the log through a logical replication slot with the
//! `pgoutput` plugin. Knows nothing of sinks.
//!
//! Modules stand in layer order; each uses only those above it.

mod error;
mod metrics;
mod position;

mod binding;
mod config;

mod wire;

mod connection;
mod control;

mod typemap;

mod catalog;
mod identities;
mod publication;
mod records;

mod assemble;
mod copy;

mod joined;
mod preflight;
mod setup;
mod slot;

mod snapshot;
mod stream;

mod monitor;
mod partitions;

mod connector;

#[doc(hidden)]
pub mod probe;

pub use config::Config;
pub use connector::connector;
pub use metrics::describe as describe_metrics;
