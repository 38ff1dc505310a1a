//! The one error type that crosses crate borders. Its kind names the next action; its display says
//! its own layer only, the log site prints the chain.

use crate::schema::TableName;
use std::error::Error as StdError;
use std::fmt;

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// Try again, with a growing pause.
    Retry,
    /// Halt the source or sink until a person has acted.
    Operator,
    /// Halt: another instance has taken over.
    Fenced,
    /// Refuse to start: the configuration cannot be right.
    Configuration,
    /// Halt: a belief of ours was wrong; going on could spread bad data.
    Bug,
}

/// Shorthand.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error with a stable code, a sentence, and what resolves it.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    code: &'static str,
    message: String,
    remedy: Option<String>,
    table: Option<TableName>,
    may_pass: bool,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// A new error. `code` is stable and in snake case; `message` is a lower-case sentence without a
    /// full stop, values in backticks.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Error {
        Error { kind, code, message: message.into(), remedy: None, table: None, may_pass: false, cause: None }
    }

    /// Shorthand for [`ErrorKind::Retry`].
    pub fn retry(code: &'static str, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Retry, code, message)
    }

    /// Shorthand for [`ErrorKind::Operator`].
    pub fn operator(code: &'static str, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Operator, code, message)
    }

    /// Shorthand for [`ErrorKind::Configuration`].
    pub fn configuration(code: &'static str, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Configuration, code, message)
    }

    /// Shorthand for [`ErrorKind::Bug`].
    pub fn bug(code: &'static str, message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Bug, code, message)
    }

    /// Adds the command or setting that resolves it.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Error {
        self.remedy = Some(remedy.into());
        self
    }

    /// Adds the table it is about.
    #[must_use]
    pub fn with_table(mut self, table: TableName) -> Error {
        self.table = Some(table);
        self
    }

    /// It waits for a person who may be at it already: a password that is being changed on the server and in its file.
    /// What has worked before is tried some more times before it halts.
    #[must_use]
    pub fn that_may_pass(mut self) -> Error {
        self.may_pass = true;
        self
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Error {
        self.cause = Some(cause.into());
        self
    }

    /// What to do next.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Stable code.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// What resolves it.
    pub fn remedy(&self) -> Option<&str> {
        self.remedy.as_deref()
    }

    /// The table it is about.
    pub fn table(&self) -> Option<&TableName> {
        self.table.as_ref()
    }

    /// See [`Error::that_may_pass`].
    pub fn may_pass(&self) -> bool {
        self.may_pass
    }

    /// The whole chain in one line, for the one place that logs it.
    pub fn chain(&self) -> String {
        let mut out = self.to_string();
        let mut next = self.source();
        while let Some(error) = next {
            out.push_str(": ");
            out.push_str(&error.to_string());
            next = error.source();
        }
        out
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chain_says_each_layer_once() {
        let io = std::io::Error::other("broken pipe");
        let error = Error::retry("connection_lost", "read from the server").with_cause(io);
        assert_eq!(error.to_string(), "read from the server");
        assert_eq!(error.chain(), "read from the server: broken pipe");
    }
}
