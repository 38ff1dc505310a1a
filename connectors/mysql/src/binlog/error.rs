//! Why bytes are no event.

use super::kind;

/// What is wrong with an event. Everything here is final for the bytes at hand: reading them again gives the same
/// answer, reading them anew from the server may not (a flipped bit).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// The event ends before a field.
    #[error("{} event ends inside its {field}", kind::Named(*.kind))]
    Truncated {
        /// Type of the event.
        kind: u8,
        /// The field that is cut.
        field: &'static str,
    },
    /// Bytes after the last field.
    #[error("{} event has {count} bytes after its end", kind::Named(*.kind))]
    Trailing {
        /// Type of the event.
        kind: u8,
        /// Bytes left over.
        count: usize,
    },
    /// The length in the header is not that of the bytes.
    #[error("{} event says that it is {stated} bytes long and has {found}", kind::Named(*.kind))]
    Length {
        /// Type of the event.
        kind: u8,
        /// Length in the header.
        stated: u64,
        /// Bytes at hand.
        found: u64,
    },
    /// The CRC32 does not fit.
    #[error("{} event has checksum {stated:#010x} and its bytes give {found:#010x}", kind::Named(*.kind))]
    Checksum {
        /// Type of the event.
        kind: u8,
        /// What the event says.
        stated: u32,
        /// What its bytes give.
        found: u32,
    },
    /// A type that no supported server sends, without the flag that allows to ignore it.
    #[error("event type {kind} is not known and may not be ignored")]
    UnknownEvent {
        /// Type of the event.
        kind: u8,
    },
    /// A type that is known and cannot be read.
    #[error("{} event is not supported: {reason}", kind::Named(*.kind))]
    Unsupported {
        /// Type of the event.
        kind: u8,
        /// Why not.
        reason: &'static str,
    },
    /// A field holds a value that the format does not define.
    #[error("{} event has {found} as its {field}", kind::Named(*.kind))]
    Undefined {
        /// Type of the event.
        kind: u8,
        /// The field.
        field: &'static str,
        /// What it holds.
        found: u64,
    },
    /// A length beyond what is taken.
    #[error("{} event has a {field} of {length} bytes, more than {limit}", kind::Named(*.kind))]
    TooLong {
        /// Type of the event.
        kind: u8,
        /// The field.
        field: &'static str,
        /// Length as stated.
        length: u64,
        /// Most that is taken.
        limit: u64,
    },
    /// A name that is not UTF-8.
    #[error("{} event has a {field} that is not utf-8", kind::Named(*.kind))]
    NotUtf8 {
        /// Type of the event.
        kind: u8,
        /// The field.
        field: &'static str,
    },
    /// Compressed bytes that cannot be decompressed.
    #[error("{} event cannot be decompressed: {reason}", kind::Named(*.kind))]
    Compression {
        /// Type of the event.
        kind: u8,
        /// What the decompressor says.
        reason: String,
    },
    /// MariaDB put a comment in the place of an event that it thinks we cannot read.
    #[error("the server replaced an event by `{comment}`: it takes us for a replica that cannot read that event")]
    Dummy {
        /// The comment, which names the type.
        comment: String,
    },
    /// A value in a row image that ends early or whose length is not possible.
    #[error("value of wire type {wire} {problem}")]
    Value {
        /// Type in the table map.
        wire: u8,
        /// What is wrong.
        problem: &'static str,
    },
    /// A row image that does not fit the table map.
    #[error("row image does not fit its table map: {problem}")]
    Image {
        /// What is wrong.
        problem: &'static str,
    },
    #[cfg(test)]
    /// A file that does not begin as a binary log.
    #[error("not a binary log: {problem}")]
    NotALog {
        /// What is wrong.
        problem: &'static str,
    },
}
