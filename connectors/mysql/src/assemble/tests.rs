//! Logs in bytes, and the changes that they become.

mod definitions;
mod harness;
mod images;
mod order;
mod places;
mod properties;
mod recorded;
mod renames;
mod tape;
mod xa;
