//! The Kafka sink: topics, formats, transactions. Knows Kafka and the event model; knows no source
//! and nothing of the daemon.
//!
//! Modules stand in layer order; each uses only those above it.

pub mod format;
mod topics;

pub mod config;

mod client;
mod error;
pub mod metrics;
mod position;

mod facts;

pub mod encode;
mod preflight;
mod write;

mod connector;

pub use config::{Config, ConfigFault, SinkOptions};
pub use connector::connector;
pub use topics::TopicTemplate;
