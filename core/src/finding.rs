//! What a check found: the same words for `tidewire check` and for the preflight at start.

use crate::error::Error;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Works, but the operator should know.
    Warning,
    /// Cannot run like this.
    Error,
}

/// One thing that is missing or odd, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Stable code in snake case.
    pub code: &'static str,
    /// What is wrong, in one sentence.
    pub message: String,
    /// The exact command, SQL or setting that mends it.
    pub remedy: Option<String>,
}

impl Finding {
    /// A finding that stops.
    pub fn error(code: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { severity: Severity::Error, code, message: message.into(), remedy: Some(remedy.into()) }
    }

    /// A finding that only warns.
    pub fn warning(code: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Finding {
        Finding { severity: Severity::Warning, code, message: message.into(), remedy: Some(remedy.into()) }
    }

    /// Of an error that would stop a start.
    pub fn of_error(error: &Error) -> Finding {
        let remedy = error.remedy().map(str::to_owned);
        Finding { severity: Severity::Error, code: error.code(), message: error.chain(), remedy }
    }

    /// The error that stops a start.
    pub fn into_error(self) -> Error {
        let error = Error::operator(self.code, self.message);
        match self.remedy {
            Some(remedy) => error.with_remedy(remedy),
            None => error,
        }
    }
}
