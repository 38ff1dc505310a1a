//! The readers, one a file.

pub(crate) mod config;
pub(crate) mod delta_index;
pub(crate) mod delta_log;
pub(crate) mod delta_vector;
pub(crate) mod mysql_ddl;
pub(crate) mod mysql_gtid;
pub(crate) mod mysql_json;
pub(crate) mod mysql_log;
pub(crate) mod pg_copy_binary;
pub(crate) mod pg_copy_line;
pub(crate) mod pg_frames;
pub(crate) mod pg_value;
pub(crate) mod pgoutput;
