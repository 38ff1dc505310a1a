//! The nouns of Tidewire and its two traits. Knows no database, no broker, no table format, no
//! runtime and no I/O: whatever is specific to one system belongs to its connector.
//!
//! Modules stand in layer order; each uses only those above it.

pub mod batch;
pub mod calendar;
pub mod cell;
pub mod data_type;
pub mod decimal;
pub mod definitions;
pub mod error;
pub mod failpoint;
pub mod finding;
pub mod position;
pub mod progress;
pub mod quantity;
pub mod retry;
pub mod schema;
pub mod secret;

pub mod options;
pub mod tables;

pub mod sink;
pub mod source;

pub use batch::{Batch, BatchBuilder, BatchLimits, Change, Op, Phase, Transaction};
pub use cell::{Cell, Constant, Value};
pub use data_type::DataType;
pub use error::{Error, ErrorKind, Result};
pub use finding::{Finding, Severity};
pub use options::{ConfigFault, SnapshotMode, SourceOptions};
pub use position::{Mark, Position};
pub use progress::{Needs, Progress, TableProgress, TableState};
pub use schema::{ColumnNumber, ColumnSchema, Missing, SchemaVersion, TableName, TableSchema};
pub use sink::{Sink, SinkConnector};
pub use source::{Acknowledger, SourceConnector, SourceDescriptor, SourceReader};
pub use tables::{TableFilter, TablePatternError};
