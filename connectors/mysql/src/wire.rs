//! The client/server protocol without I/O: packets and their compression, the login's messages, answers. Knows nothing
//! of the log's events.

pub(crate) mod answer;
pub(crate) mod command;
pub(crate) mod inflate;
pub(crate) mod login;
pub(crate) mod packet;
pub(crate) mod reader;
