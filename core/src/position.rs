//! Places in a source's log. A position is opaque to all but its source: others may only compare,
//! store and print it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::Arc;

/// The order of a place in its source's log: `major` counts along the log in commit order, `minor`
/// counts the changes of a transaction (0 stands for a transaction's end). Marks of different sources
/// have nothing to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Mark {
    /// Place of the transaction's commit in the log.
    pub major: u64,
    /// Number of changes of that transaction that lie before this place, 0 at its end.
    pub minor: u64,
}

impl Mark {
    /// Beyond every place.
    pub const MAX: Mark = Mark { major: u64::MAX, minor: u64::MAX };
}

impl fmt::Display for Mark {
    /// Fixed-width hexadecimal, so that the text sorts as the marks do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:08x}", self.major, self.minor)
    }
}

/// A place to resume from: its order, and the text by which its source (and a person) knows it,
/// including the identity of the server's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Order within the source.
    pub mark: Mark,
    /// Stable text form.
    pub text: Arc<str>,
}

impl Position {
    /// From its parts.
    pub fn new(mark: Mark, text: impl Into<Arc<str>>) -> Position {
        Position { mark, text: text.into() }
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Position) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Position) -> std::cmp::Ordering {
        self.mark.cmp(&other.mark).then_with(|| self.text.cmp(&other.text))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_of_marks_sorts_as_marks(a: (u64, u32), b: (u64, u32)) {
            let mark = |(major, minor): (u64, u32)| Mark { major, minor: u64::from(minor) };
            prop_assert_eq!(mark(a).cmp(&mark(b)), mark(a).to_string().cmp(&mark(b).to_string()));
        }
    }
}
