//! The promises, each against real servers, one file a promise. Results are read back with readers that are
//! not ours; an unexpected WARN or ERROR line of the daemon fails the test.

#![allow(
    clippy::indexing_slicing,
    reason = "an index into a status document that is not there is null, and a failed test"
)]

mod rig;

mod compression;
mod connect;
mod corpus;
mod crash;
mod defaults;
mod disk;
mod faults;
mod feed;
mod first_flow;
mod foreign;
mod golden;
mod halted;
mod jvm;
mod kafka_sink;
mod keyless;
mod lake_care;
mod leaders;
mod lineage;
mod metrics;
mod mysql;
mod notify;
mod partition;
mod past;
mod plain;
mod schema;
mod snapshot;
mod stores;
mod torture;
mod transactions;
mod versions;
