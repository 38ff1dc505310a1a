//! Events on constructed bytes, recorded files of real servers, and bytes that are none.

mod broken;
mod events;
mod group;
mod maps;
mod recorded;
mod statements;
pub(crate) mod support;
