//! The frontend/backend protocol as bytes: frames in, messages out. Sans-IO: knows no socket and no clock.

pub(crate) mod frame;
pub(crate) mod login_watch;
pub(crate) mod message;
pub(crate) mod pgoutput;
pub(crate) mod replication;
