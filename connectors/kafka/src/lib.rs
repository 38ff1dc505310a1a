//! The Kafka sink: topics, formats, transactions. Knows Kafka and the event model; knows no source
//! and nothing of the daemon.
//!
//! Modules stand in layer order; each uses only those above it.

mod error;
mod metrics;
pub mod topics;

pub mod format;

mod encode;

pub use topics::TopicTemplate;
