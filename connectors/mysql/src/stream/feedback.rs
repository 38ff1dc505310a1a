//! What flows back: how far every sink holds the log, and how far it has been read. MySQL keeps no place for a replica;
//! the history of definitions does.

use crate::history::History;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tidewire_core::Position;
use tidewire_core::source::Acknowledger;

/// Shared by the reader, the acknowledger and the monitor.
pub(crate) struct Feedback {
    history: History,
    read: Mutex<(Arc<str>, u64)>,
}

impl Feedback {
    /// For a source that starts.
    pub(crate) fn new(history: History) -> Feedback {
        Feedback { history, read: Mutex::new((Arc::from(""), 0)) }
    }

    /// File and offset up to which the log was handed out.
    pub(crate) fn read_up_to(&self, place: (Arc<str>, u64)) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    /// The same.
    pub(crate) fn place(&self) -> (Arc<str>, u64) {
        self.read.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Acknowledger for Feedback {
    fn acknowledge(&self, position: &Position) {
        // What is not written now is found again from the log.
        if let Err(error) = self.history.cover(position) {
            tracing::warn!(code = error.code(), "the schema history is behind: {}", error.chain());
        }
    }
}

/// Microseconds since 1970; 0 when the clock stands before that.
pub(crate) fn now_micros() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}
