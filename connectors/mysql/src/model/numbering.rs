//! Which column is which, whatever it is called: columns are counted along the log's statements.

use serde::{Deserialize, Serialize};
use tidewire_core::TableName;

/// Neither server numbers its columns, yet the log's statements tell which one got another name. So a definition's columns
/// are counted when it is first known, and those that are added later after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Numbering {
    /// Tells it from all others, of this table too: what was known of the table may get lost, and is then counted anew.
    pub(crate) id: u64,
    /// The highest number that a column has had.
    pub(crate) last: u32,
}

impl Numbering {
    /// That of a definition which came to be known at `origin`. The same place of the log makes the same numbering each time it
    /// is read, on every replica.
    pub(super) fn at(origin: Origin, table: &TableName) -> Numbering {
        // FNV-1a, 64 bits: the same in every release. http://www.isthe.com/chongo/tech/comp/fnv/
        let mut id = 0xcbf2_9ce4_8422_2325_u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                id = (id ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
            }
        };
        let Origin { kind, micros } = origin;
        add(&[kind as u8]);
        add(&micros.to_le_bytes());
        add(table.schema.as_bytes());
        add(&[0]);
        add(table.table.as_bytes());
        // 0 is what tables themselves have as their number.
        Numbering { id: id.max(1), last: 0 }
    }
}

/// Where a definition came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    /// By what.
    pub(crate) kind: OriginKind,
    /// When, in microseconds since 1970: of the commit in the log, or by the clock.
    pub(crate) micros: i64,
}

/// By what a definition came to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum OriginKind {
    /// A statement of the log.
    Statement,
    /// The metadata of the log's rows.
    Metadata,
    /// The server's catalog.
    Catalog,
    /// What an earlier release, which did not count columns, has kept.
    Kept,
}

impl Origin {
    /// The catalog as it is now.
    pub(crate) fn catalog() -> Origin {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Origin { kind: OriginKind::Catalog, micros: i64::try_from(since.as_micros()).unwrap_or(i64::MAX) }
    }
}
