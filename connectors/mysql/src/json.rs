//! MySQL's binary JSON as the server prints it. The log and the server's files hold documents in the format of
//! `sql-common/json_binary.h`; the text made here equals `CAST(document AS CHAR)` byte for byte, so that a value read
//! from the log and one selected in a snapshot are the same text. No number passes through a float that was none.

mod diff;
mod double;
mod opaque;
mod path;
#[cfg(test)]
mod recorded;
#[cfg(test)]
mod tests;
mod text;
mod tree;
mod value;

use value::{Budget, Value};

/// Nesting of arrays and objects beyond which the server refuses a document (`JSON_DOCUMENT_MAX_DEPTH`).
const MAX_DEPTH: usize = 100;

/// Why a document or a change to it was not understood. The document is not to be used then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum JsonError {
    /// The bytes end before what they announce.
    #[error("binary JSON ends inside {0}")]
    Truncated(&'static str),
    /// A type byte that the format does not have.
    #[error("binary JSON has a value of unknown type 0x{0:02x}")]
    UnknownType(u8),
    /// A literal that is not null, true or false.
    #[error("binary JSON has an unknown literal 0x{0:02x}")]
    UnknownLiteral(u8),
    /// An offset that points into the entries of its own container or beyond the container.
    #[error("binary JSON has {what} at offset {offset}, outside of its container of {length} bytes")]
    Offset {
        /// A key or a value.
        what: &'static str,
        /// As stored.
        offset: usize,
        /// Of the container.
        length: usize,
    },
    /// The values take more bytes than the document has: some of them lie upon each other.
    #[error("binary JSON has values that overlap")]
    Overlap,
    /// Nested deeper than the server allows.
    #[error("binary JSON is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// An infinite or undefined number, which JSON has not and the server does not store.
    #[error("binary JSON has a number that is not finite")]
    NotFinite,
    /// A key or a string that is not UTF-8.
    #[error("binary JSON has a text that is not UTF-8")]
    NotUtf8,
    /// A decimal, date or time that is not well formed.
    #[error("binary JSON has a malformed {0}")]
    Opaque(&'static str),
    /// A list of changes that is not well formed.
    #[error("a partial update of a JSON document is malformed: {0}")]
    Diff(&'static str),
    /// A change that does not fit the document it is applied to.
    #[error("a partial update of a JSON document does not fit the document: {what} at {path}")]
    Misfit {
        /// What was to be changed.
        what: &'static str,
        /// Where, as the log says.
        path: String,
    },
}

/// Appends a binary document as text. An empty one is what the server takes it for, the JSON null (it gets stored when
/// null is inserted into a `NOT NULL` column without strict mode). What was appended is taken back on error.
///
/// # Errors
/// [`JsonError`] when the document is damaged.
pub(crate) fn write_text(document: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut budget = Budget::of(document.len());
    guarded(out, |out| text::write_value(Value::document(document, &mut budget)?, 0, &mut budget, out))
}

/// Appends the document that results from applying a partial update (`PARTIAL_UPDATE_ROWS_EVENT` with
/// `binlog_row_value_options = PARTIAL_JSON`) to a binary document, as text. `diffs` is the column's value in the
/// event: operation, path and value for each change, without the four bytes of length before them (MySQL's
/// `sql/json_diff.cc`). An empty list leaves the document as it is.
///
/// # Errors
/// [`JsonError`] when the document or the changes are damaged, or do not fit together.
pub(crate) fn write_patched(before: &[u8], diffs: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    let mut budget = Budget::of(before.len().saturating_add(diffs.len()));
    let mut root = tree::Node::Plain(Value::document(before, &mut budget)?);
    diff::apply(&mut root, diffs, &mut budget)?;
    guarded(out, |out| root.write(0, &mut budget, out))
}

/// Runs a writer, checks that all it wrote is UTF-8, and takes it back otherwise.
fn guarded(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<(), JsonError>) -> Result<(), JsonError> {
    let start = out.len();
    let result = write(out).and_then(|()| match simdutf8::basic::from_utf8(out.get(start..).unwrap_or_default()) {
        Ok(_) => Ok(()),
        Err(_) => Err(JsonError::NotUtf8),
    });
    if result.is_err() {
        out.truncate(start);
    }
    result
}
