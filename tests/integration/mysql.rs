//! The promises with MySQL and MariaDB as the source.

pub(crate) mod rig;

mod connect;
mod crash;
mod dates;
mod ddl;
mod defaults;
mod faults;
mod first_flow;
mod forms;
mod golden;
mod lineage;
mod transactions;
mod types;
