//! Identifiers of transactions and sets of them: what a position is made of. Pure values, no server.
//!
//! MySQL: a source (UUID), perhaps a tag, and a number; a replica holds a *set*, which may have gaps (MY-02).
//! MariaDB: a domain, a server and a sequence number; a replica holds one *position in each domain* (MY-0C).
//!
//! Source: MySQL manual, "GTID Format and Storage" and "GTID Sets"; MariaDB documentation, "Global Transaction ID".

use std::fmt;
use std::sync::Arc;

mod maria;
mod set;
mod text;
mod wire;

pub(crate) use maria::{DomainPositions, MariaGtid};
pub(crate) use set::GtidSet;

/// A transaction of MySQL. Number 0 is none: an anonymous transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Gtid {
    /// UUID of the source, in the order it is written.
    pub(crate) sid: [u8; 16],
    /// Tag, from MySQL 8.3 on; `None` without one.
    pub(crate) tag: Option<Arc<str>>,
    /// Number within source and tag, from 1 to [`LAST_NUMBER`].
    pub(crate) number: u64,
}

/// Greatest number of a transaction of MySQL: 2^63 - 2.
pub(crate) const LAST_NUMBER: u64 = i64::MAX as u64 - 1;

impl fmt::Display for Gtid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid(&self.sid).fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        write!(f, ":{}", self.number)
    }
}

/// Writes a UUID in lower case with its four dashes.
struct Uuid<'a>(&'a [u8; 16]);

impl fmt::Display for Uuid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

/// Whether this is a tag: a lower-case letter or `_`, then up to 31 of these or digits.
pub(crate) fn is_tag(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    first && text.len() <= 32 && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Why text or bytes are no identifier or set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum GtidError {
    /// Text that is no set of MySQL, with what is wrong at which byte.
    #[error("not a gtid set: {problem} at byte {at}")]
    Text {
        /// What is wrong.
        problem: &'static str,
        /// Offset in the text.
        at: usize,
    },
    /// Text that is no position of MariaDB.
    #[error("not a MariaDB gtid position: `{part}` {problem}")]
    Maria {
        /// The part of the list.
        part: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// Bytes of PREVIOUS_GTIDS that are no set.
    #[error("encoded gtid set: {0}")]
    Encoding(&'static str),
    /// A transaction of MariaDB that does not come after the last one of its domain.
    #[error("{next} does not come after {last} in domain {}", .next.domain)]
    NotRising {
        /// Last one.
        last: MariaGtid,
        /// The one that came.
        next: MariaGtid,
    },
}

#[cfg(test)]
mod tests;
