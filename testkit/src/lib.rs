//! Real servers, real faults and an independent oracle for Tidewire's tests and its demo. Everything blocks, so
//! that a test reads from top to bottom; everything started here ends with the test process, even if that is killed.
//! Knows the daemon only from outside: its command line, its configuration file, its status page, its log.
//!
//! Groups of modules stand in layer order; each uses only those above it.

pub mod dice;
pub mod position;
pub mod process;
pub mod wait;

mod server;

mod http;

pub mod cache;
pub mod folder;

pub mod certificate;
pub mod fetch;
pub mod shim;

pub mod azurite;
pub mod daemon;
pub mod gcs;
pub mod mysql;
pub mod postgres;
pub mod proxy;
pub mod s3;

pub mod kafka;

pub mod canonical;

mod standing;

pub mod spark;

pub mod readers;

pub mod oracle;

mod session;

pub mod workload;

pub mod torture;

pub use azurite::Azurite;
pub use daemon::Daemon;
pub use gcs::Gcs;
pub use kafka::{Cluster, Kafka, KafkaOptions};
pub use mysql::{Mysql, MysqlOptions, MysqlVersion};
pub use postgres::{Postgres, PostgresOptions, Version};
pub use proxy::Proxy;
pub use s3::S3;
pub use shim::Shim;
